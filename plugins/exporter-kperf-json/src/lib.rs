//! Exporter `kperf_json`: results as kperf writes them, for scripts and pipelines made for kperf.
//!
//! Enters: the typed report. Leaves: kperf's JSON on a file or standard output: the envelope of `runner run`, or the
//! single report of versions before 0.3.5. [`report`] says where our numbers differ on purpose.

mod error_stats;
mod percentiles;
mod report;

use kperf_sdk::exporter::prelude::*;

use error_stats::Style;
use serde::Serialize;

/// The words of the typed report.
mod wit {
    pub(crate) use kperf_sdk::exporter::{Counter, Histogram, Metric, Phase, Series, Summary};
    #[cfg(test)]
    pub(crate) use kperf_sdk::exporter::{FailedExchange, Quantile, Samples};
}

/// Writes results in the JSON of kperf: latencies are service time (from the actual send), as kperf measures them.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Config {
    /// `envelope` writes `perSpecResults` and `aggregated` as `kperf runner run` does since 0.3.5; `flat` writes the
    /// single report of earlier versions, `group` that of `kperf runnergroup result` and `runkperf bench`.
    format: Format,
    /// `map` writes failures as one map from class to count; `classic` writes the object with `responseCodes`,
    /// `netErrors`, `http2Errors` and `unknownErrors` that kperf used until December 2024.
    error_stats: Style,
}

#[derive(Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// One report for each spec and one for all.
    #[default]
    Envelope,
    /// One report.
    Flat,
    /// One report, with kperf's rules for merged ones: `total` counts what succeeded, and single latencies are not
    /// written, only errors.
    Group,
}

struct KperfJson {
    sink: String,
    format: Format,
    style: Style,
}

impl Exporter for KperfJson {
    type Config = Config;

    fn begin(context: BeginContext, config: Config) -> Result<Self, Failure> {
        if !matches!(context.sink_kind.as_str(), "file" | "stdout") {
            let message =
                "kperf_json writes a file or standard output, neither a URL nor a directory";
            return Err(Failure::new("wrong-kind", message).hint(
                "next",
                "use `--output kperf_json=PATH` or `--output kperf_json`",
            ));
        }
        Ok(Self {
            sink: context.sink,
            format: config.format,
            style: config.error_stats,
        })
    }

    fn finish(self, whole: Summary) -> Result<(), Failure> {
        let mut output = Output::open(&self.sink)?;
        match self.format {
            Format::Envelope => go_json::write(&mut output, &report::envelope(&whole, self.style))?,
            Format::Flat => go_json::write(&mut output, &report::flat(&whole, self.style))?,
            Format::Group => go_json::write(&mut output, &report::group(&whole, self.style))?,
        }
        output.finish()
    }
}

kperf_sdk::export_exporter!(KperfJson, name = "kperf_json");

#[cfg(test)]
mod tests;
