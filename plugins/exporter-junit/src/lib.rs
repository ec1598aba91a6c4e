//! Exporter `junit`: the run as test cases, for what shows test results.
//!
//! Enters: the typed report. Leaves: one XML document, `junit.xml` in a directory. Cases are the run as a whole, each
//! phase or step, and each threshold. A run of ClusterLoader2's measurements has ClusterLoader2's names.

mod cases;
mod xml;

use kperf_sdk::exporter::prelude::*;

/// The words of the typed report.
mod wit {
    pub(crate) use kperf_sdk::exporter::{Finding, Phase, Summary, Threshold};
    #[cfg(test)]
    pub(crate) use kperf_sdk::{
        exporter::{Distribution, Histogram, Series},
        failure::Label,
    };
}

/// What ClusterLoader2 calls its report, and what a directory gets.
const FILE: &str = "junit.xml";

/// Writes JUnit XML: the run, its phases and its thresholds as test cases. In a directory the file is `junit.xml`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Config {
    /// Name of the suite and class of its cases. `kperf-host` when empty, `ClusterLoaderV2` for a run of
    /// ClusterLoader2's measurements.
    suite: String,
    /// Name of the test, in front of every case. When empty the one of the measurements, else the benchmark's, else
    /// `run`.
    test: String,
}

struct JUnit {
    sink: String,
    to_directory: bool,
    config: Config,
}

impl Exporter for JUnit {
    type Config = Config;

    fn begin(context: BeginContext, config: Config) -> Result<Self, Failure> {
        if context.sink_kind == "http" {
            let message = "junit writes a file, a directory or standard output, not a URL";
            return Err(Failure::new("wrong-kind", message)
                .hint("next", "use `--output junit=PATH` or `--output junit`"));
        }
        Ok(Self {
            sink: context.sink,
            to_directory: context.sink_kind == "directory",
            config,
        })
    }

    fn finish(self, whole: Summary) -> Result<(), Failure> {
        let suite = cases::suite(&whole, &self.config.suite, &self.config.test);
        let mut output = if self.to_directory {
            Output::open_in(&self.sink, FILE)?
        } else {
            Output::open(&self.sink)?
        };
        output.write_all(xml::document(&suite).as_bytes())?;
        output.finish()
    }
}

kperf_sdk::export_exporter!(JUnit, name = "junit");

#[cfg(test)]
mod tests;
