//! Exporter `pushgateway`: results as Prometheus metrics, pushed to a Pushgateway.
//!
//! Enters: the typed report and, with `perInterval`, intervals on the way. Leaves: one push of text exposition 0.0.4
//! to the group named by `job` and `grouping` (and, for network benchmarks, by the benchmark), or the same text in a file. The host delivers, with its deadline and
//! retries; both PUT and POST of one body are idempotent at a Pushgateway, so both may be sent again.
//!
//! A failed push on the way is a warning (the next one brings more), the last one is a failure of the exporter.

mod config;
mod exposition;
mod grouping;
mod latency;
mod metrics;
mod totals;

use kperf_sdk::exporter::prelude::*;

use config::{Config, Shape};
use exposition::Exposition;
use totals::Totals;

/// The words of the typed report.
mod wit {
    #[cfg(test)]
    pub(crate) use kperf_sdk::exporter::Quantile;
    pub(crate) use kperf_sdk::{
        exporter::{
            Counter, Distribution, Histogram, Interval, Metric, Phase, Series, Summary, Threshold,
        },
        failure::Label,
    };
}

struct Pushgateway {
    sink: String,
    is_url: bool,
    run_id: String,
    config: Config,
    path: String,
    so_far: Totals,
}

impl Exporter for Pushgateway {
    type Config = Config;

    fn begin(context: BeginContext, config: Config) -> Result<Self, Failure> {
        config.validate()?;
        if context.sink_kind == "directory" {
            let message = "pushgateway writes to a URL, a file or standard output, not a directory";
            return Err(Failure::new("wrong-kind", message)
                .hint("next", "use `--output pushgateway=http://HOST:9091`"));
        }
        Ok(Self {
            path: grouping::path(&config.job, &config.grouping),
            is_url: context.sink_kind == "http",
            sink: context.sink,
            run_id: context.run_id,
            config,
            so_far: Totals::new(),
        })
    }

    fn intervals(&mut self, batch: Vec<Interval>) -> Result<(), Failure> {
        if !self.config.per_interval || !self.is_url || batch.is_empty() {
            return Ok(());
        }
        let bounds = self.bounds();
        for interval in &batch {
            totals::add_interval(&mut self.so_far, interval, &bounds)?;
        }
        let exposition = metrics::in_progress(&self.run_id, &self.so_far, self.config.latency);
        // Not repeated: by the time a retry is through there is something newer to push.
        if let Err(failure) = self.push(&exposition, false) {
            kperf_sdk::warn!("the results so far were not pushed: {}", failure.message);
        }
        Ok(())
    }

    fn finish(mut self, whole: Summary) -> Result<(), Failure> {
        let bounds = self.bounds();
        if let Some(benchmark) = metrics::network_benchmark(&whole) {
            self.path = grouping::path(
                &self.config.job,
                &grouping::with_default(&self.config.grouping, "benchmark", benchmark),
            );
        }
        let totals = totals::of_phases(&whole.phases, &bounds)?;
        let exposition = metrics::finished(&whole, &totals, self.config.latency, &bounds)?;
        if self.is_url {
            self.push(&exposition, true)
        } else {
            sink::write(&self.sink, exposition.text().as_bytes())
        }
    }
}

impl Pushgateway {
    /// Bucket bounds in seconds; none for summaries, which need no decoding.
    fn bounds(&self) -> Vec<f64> {
        match self.config.latency {
            Shape::Histogram => self.config.buckets.clone(),
            Shape::Summary => Vec::new(),
        }
    }

    fn push(&self, exposition: &Exposition, retry: bool) -> Result<(), Failure> {
        let mut delivery = Delivery::new(self.config.method.as_str(), &self.path)
            .header("content-type", exposition::CONTENT_TYPE)
            .body(exposition.text());
        delivery.retry = retry;
        let receipt = sink::send(&self.sink, &delivery)?;
        if (200..300).contains(&receipt.status) {
            return Ok(());
        }
        let said: String = String::from_utf8_lossy(&receipt.body)
            .chars()
            .take(1_000)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let message = match said.trim() {
            "" => format!(
                "the Pushgateway answered {} to {} {}",
                receipt.status, delivery.method, self.path
            ),
            said => format!(
                "the Pushgateway answered {} to {} {}: {said}",
                receipt.status, delivery.method, self.path
            ),
        };
        Err(Failure::new("refused", message).hint("status", receipt.status.to_string()))
    }
}

kperf_sdk::export_exporter!(Pushgateway, name = "pushgateway");

#[cfg(test)]
mod tests;
