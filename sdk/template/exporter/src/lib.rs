//! Writes one line per series: its name, successes, failures, and the 99th percentile of its response time.

use kperf_sdk::exporter::prelude::*;

/// How to write it.
#[derive(Deserialize, JsonSchema)]
#[serde(
    crate = "kperf_sdk::serde",
    rename_all = "camelCase",
    deny_unknown_fields
)]
struct Config {
    /// What stands between two columns.
    #[serde(default = "tab")]
    separator: String,
}

fn tab() -> String {
    "\t".to_owned()
}

struct Plugin {
    sink: String,
    separator: String,
}

impl Plugin {
    fn line(&self, series: &Series) -> String {
        let p99_ns = series.response_time.quantile_ns(0.99).unwrap_or(0);
        [
            series.name.clone(),
            series.succeeded.to_string(),
            series.failed.to_string(),
            format!("{:.6}", p99_ns as f64 / 1e9),
        ]
        .join(&self.separator)
    }
}

impl Exporter for Plugin {
    type Config = Config;

    fn begin(context: BeginContext, config: Config) -> Result<Self, Failure> {
        Ok(Self {
            sink: context.sink,
            separator: config.separator,
        })
    }

    fn finish(self, whole: Summary) -> Result<(), Failure> {
        let mut output = Output::open(&self.sink)?;
        for series in &whole.series {
            writeln!(output, "{}", self.line(series))?;
        }
        output.finish()
    }
}

kperf_sdk::export_exporter!(Plugin);
