//! Captured outputs of network tools (`network/`), what each must parse to (`network/expected.json`), and checks for
//! their parsers: over all samples, and over many damaged ones.
//!
//! The expectations were not made with the parsers: where the output is JSON or key=value lines a script took the
//! numbers out of it, elsewhere they were read by eye.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    reason = "support of tests: whatever goes wrong here is a failed test, and tests print how much they tried"
)]

mod check;
mod damage;
mod fuzz;

pub use check::{assert_samples, assert_strangers};
pub use fuzz::{assert_bounded, assert_survives};

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use net_tool::{Exit, Output};
use serde::Deserialize;

/// One captured run.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Tool and case, such as `iperf3/tcp_json_t2`; with `.server` for the server's side.
    pub case: String,
    /// The benchmark whose parser it is for.
    pub benchmark: String,
    /// What was captured.
    pub output: Output,
    /// What it must parse to.
    pub expected: Expected,
}

/// What an output must parse to.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Expected {
    /// Exactly these, in any order.
    Metrics {
        /// All of them.
        metrics: Vec<ExpectedMetric>,
    },
    /// This class, with a message that contains these words.
    Error {
        /// As `ErrorClass::as_str` spells it.
        error: String,
        /// Part of the message.
        says: String,
    },
}

/// One metric of an expectation.
#[derive(Clone, Debug, Deserialize)]
pub struct ExpectedMetric {
    /// Without prefix.
    pub name: String,
    /// In the base unit.
    pub value: f64,
    /// The base unit.
    pub unit: String,
    /// Name to value.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Row {
    benchmark: String,
    #[serde(flatten)]
    expected: Expected,
}

#[derive(Deserialize)]
struct Captured {
    case: String,
    command: String,
    exit_code: Option<i32>,
    signal: Option<String>,
    killed_after_seconds: Option<f64>,
}

/// The folder of the samples.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("network")
}

/// Every sample that has an expectation, by name.
pub fn samples() -> Vec<Sample> {
    let manifest: Vec<Captured> = read_json("manifest.json");
    let rows: BTreeMap<String, Row> = read_json("expected.json");
    let runs: BTreeMap<_, _> = manifest
        .into_iter()
        .map(|run| (run.case.clone(), run))
        .collect();
    rows.into_iter()
        .map(|(case, row)| {
            let path = |ending: &str| folder().join(format!("{case}.{ending}"));
            let read = |ending: &str| fs::read_to_string(path(ending)).unwrap_or_default();
            let merged = path("combined").exists();
            let run = runs.get(&case);
            assert!(
                run.is_some() || case.ends_with(".server"),
                "{case} is not in the manifest"
            );
            let output = Output {
                stdout: read(if merged { "combined" } else { "stdout" }),
                stderr: read("stderr"),
                exit: run.map(exit).unwrap_or_default(),
                args: run.map(args).unwrap_or_default(),
                clipped: false,
            };
            Sample {
                case,
                benchmark: row.benchmark,
                output,
                expected: row.expected,
            }
        })
        .collect()
}

fn read_json<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    let path = folder().join(name);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn exit(run: &Captured) -> Exit {
    if run.killed_after_seconds.is_some() {
        return Exit::TimedOut;
    }
    match (&run.signal, run.exit_code) {
        (Some(signal), _) => Exit::Signal(signal.clone()),
        (None, Some(code)) => Exit::Code(code),
        (None, None) => Exit::Unknown,
    }
}

/// The arguments in a command line with single quotes.
fn args(run: &Captured) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in run.command.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words.remove(0);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_file_belongs_to_a_sample_with_an_expectation() {
        let cases: BTreeSet<_> = samples().into_iter().map(|sample| sample.case).collect();
        let mut files = 0;
        for tool in ["iperf3", "netperf", "qperf", "fortio"] {
            for entry in fs::read_dir(folder().join(tool)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let (case, _) = name.rsplit_once('.').unwrap();
                let case = format!("{tool}/{case}");
                assert!(cases.contains(&case), "{name} has no expectation");
                files += 1;
            }
        }
        let manifest: Vec<Captured> = read_json("manifest.json");
        for run in &manifest {
            assert!(cases.contains(&run.case), "{} has no expectation", run.case);
        }
        println!("{files} files, {} samples", cases.len());
    }

    #[test]
    fn classes_of_expectations_exist() {
        for sample in samples() {
            if let Expected::Error { error, .. } = &sample.expected {
                let known = net_tool::ErrorClass::ALL.map(|class| class.as_str());
                assert!(known.contains(&error.as_str()), "{}: {error}", sample.case);
            }
        }
    }

    #[test]
    fn quoted_arguments_are_one() {
        let run = Captured {
            case: String::new(),
            command: "fortio load -labels 'pair-0 zone-a' -c 1".to_owned(),
            exit_code: None,
            signal: None,
            killed_after_seconds: None,
        };
        assert_eq!(args(&run), ["load", "-labels", "pair-0 zone-a", "-c", "1"]);
    }
}
