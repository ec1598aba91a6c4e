//! Exporter `perf_data`: results as ClusterLoader2 writes its summaries, for perfdash and what else reads them.
//!
//! Enters: the typed report; its distributions, or its series of requests when it has none. Leaves: one JSON document
//! for each summary, in a directory under ClusterLoader2's file names, or a single one in a file or on standard output.

mod file_name;
mod perf_data;
mod summaries;

use kperf_sdk::exporter::prelude::*;

use summaries::Named;

/// The words of the typed report.
mod wit {
    pub(crate) use kperf_sdk::exporter::{Distribution, Histogram, Series, Summary};
    #[cfg(test)]
    pub(crate) use kperf_sdk::{
        exporter::{PluginUse, Quantile},
        failure::Label,
    };
}

/// Writes ClusterLoader2's perf-data JSON: percentiles 50, 90 and 99 in milliseconds. To a directory
/// (`perf-data=results/`) one file for each summary, `<summary>_<test>_<time>.json`; to a file or standard output a
/// single summary.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Config {
    /// Write this summary only, for example `StatelessPodStartupLatency_PodStartupLatency`. Needed for a file or
    /// standard output when the run has several summaries.
    summary: Option<String>,
}

struct PerfData {
    sink: String,
    to_directory: bool,
    only: Option<String>,
}

impl Exporter for PerfData {
    type Config = Config;

    fn begin(context: BeginContext, config: Config) -> Result<Self, Failure> {
        if context.sink_kind == "http" {
            let message = "perf_data writes files, not to a URL";
            return Err(Failure::new("wrong-kind", message).hint(
                "next",
                "use `--output perf-data=DIRECTORY/` or `--output perf-data=FILE`",
            ));
        }
        Ok(Self {
            sink: context.sink,
            to_directory: context.sink_kind == "directory",
            only: config.summary,
        })
    }

    fn finish(self, whole: Summary) -> Result<(), Failure> {
        let mut all = summaries::of(&whole)?;
        if let Some(only) = &self.only {
            let names = names(&all);
            all.retain(|one| one.name == *only);
            if all.is_empty() {
                let message = format!("the run has no summary `{only}`; it has {names}");
                return Err(Failure::new("no-such-summary", message).hint("key", "summary"));
            }
        }
        if self.to_directory {
            return self.write_directory(&all, &whole);
        }
        let [one] = all.as_slice() else {
            return Err(not_exactly_one(&all));
        };
        write(Output::open(&self.sink)?, one)
    }
}

impl PerfData {
    fn write_directory(&self, all: &[Named], whole: &Summary) -> Result<(), Failure> {
        if all.is_empty() {
            kperf_sdk::warn!("perf_data wrote no file: the run measured no latencies");
        }
        let files = file_name::of(all, file_name::end_of_run(whole));
        for (one, file) in all.iter().zip(files) {
            write(Output::open_in(&self.sink, &file)?, one)?;
        }
        Ok(())
    }
}

fn write(mut output: Output, one: &Named) -> Result<(), Failure> {
    go_json::write(&mut output, &one.data)?;
    output.finish()
}

fn not_exactly_one(all: &[Named]) -> Failure {
    if all.is_empty() {
        return Failure::new(
            "empty",
            "the run measured no latencies: there is no summary",
        );
    }
    let message = format!(
        "the run has {} summaries, and a file or standard output holds one: {}",
        all.len(),
        names(all)
    );
    Failure::new("several-summaries", message).hint(
        "next",
        "give a directory, `--output perf-data=DIRECTORY/`, or choose one with `--output-set perf-data.summary=NAME`",
    )
}

fn names(all: &[Named]) -> String {
    if all.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<String> = all.iter().map(|one| format!("`{}`", one.name)).collect();
    names.join(", ")
}

kperf_sdk::export_exporter!(PerfData, name = "perf_data");

#[cfg(test)]
mod tests;
