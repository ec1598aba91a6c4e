//! Exporter `json`: the versioned report document.
//!
//! Enters: the typed report, and intervals if asked for. Leaves: one JSON document, described by
//! `report-v1.schema.json` in this crate, on a file or standard output. Memory is bounded: the report is written as
//! it is serialised, and intervals are kept as text up to `maxIntervalBytes`.

mod convert;
mod document;

use std::io::Write;

use kperf_sdk::exporter::prelude::*;
use serde_json::value::{RawValue, to_raw_value};

/// The words of the typed report.
mod wit {
    pub(crate) use kperf_sdk::{
        exporter::{
            Counter, Distribution, FailedExchange, Finding, Histogram, Interval, Metric, ObjectRow,
            ObjectTable, Phase, PluginUse, Samples, Series, Summary, Threshold,
        },
        failure::Label,
    };
}

/// Writes the versioned report document (`kperf-host/report/v1`) to a file or standard output.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Config {
    /// One line without spaces, instead of an indented document.
    compact: bool,
    /// Include what each interval of the run measured, under `intervals`.
    intervals: bool,
    /// Include the whole histograms of every series in every interval. Without it intervals carry percentiles only.
    interval_histograms: bool,
    /// Include the whole histograms of what is a sum of others: `overall`, `series` of the run and `overall` of its
    /// phases. Without them a document has half the size, and `kperf-host merge` takes it all the same.
    derived_histograms: bool,
    /// Most bytes of intervals that are kept, as JSON text. Later ones are left out and counted in
    /// `intervals_dropped`.
    #[schemars(range(max = 134_217_728))]
    max_interval_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            compact: false,
            intervals: false,
            interval_histograms: false,
            derived_histograms: true,
            max_interval_bytes: 32 << 20,
        }
    }
}

struct Json {
    sink: String,
    config: Config,
    intervals: Vec<Box<RawValue>>,
    interval_bytes: u64,
    intervals_dropped: u64,
}

impl Exporter for Json {
    type Config = Config;

    fn begin(context: BeginContext, config: Config) -> Result<Self, Failure> {
        if !matches!(context.sink_kind.as_str(), "file" | "stdout") {
            let message = "json writes a file or standard output, neither a URL nor a directory";
            return Err(Failure::new("wrong-kind", message)
                .hint("next", "use `--output json=PATH` or `--output json`"));
        }
        Ok(Self {
            sink: context.sink,
            config,
            intervals: Vec::new(),
            interval_bytes: 0,
            intervals_dropped: 0,
        })
    }

    fn intervals(&mut self, batch: Vec<Interval>) -> Result<(), Failure> {
        if !self.config.intervals {
            return Ok(());
        }
        for interval in batch {
            // Once one is dropped all later ones are: a gap in the middle would read as a pause of the run.
            if self.intervals_dropped > 0 {
                self.intervals_dropped = self.intervals_dropped.saturating_add(1);
                continue;
            }
            let text = to_raw_value(&convert::interval(
                interval,
                self.config.interval_histograms,
            ))?;
            let bytes = self.interval_bytes.saturating_add(text.get().len() as u64);
            if bytes > self.config.max_interval_bytes {
                kperf_sdk::warn!(
                    "intervals are left out from here on: maxIntervalBytes is reached"
                );
                self.intervals_dropped = 1;
                continue;
            }
            self.interval_bytes = bytes;
            self.intervals.push(text);
        }
        Ok(())
    }

    fn finish(self, whole: Summary) -> Result<(), Failure> {
        let mut report = convert::report(whole, self.config.derived_histograms)?;
        if self.config.intervals {
            report.intervals = Some(self.intervals);
            report.intervals_dropped = Some(self.intervals_dropped);
        }
        let mut output = Output::open(&self.sink)?;
        if self.config.compact {
            serde_json::to_writer(&mut output, &report)?;
        } else {
            serde_json::to_writer_pretty(&mut output, &report)?;
        }
        output.write_all(b"\n")?;
        output.finish()
    }
}

kperf_sdk::export_exporter!(Json, name = "json");

#[cfg(test)]
mod tests;
