//! The server's own numbers beside the client's, and Prometheus as a source of limits.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

mod fake;
mod prometheus;
mod real;
mod simulator;

use std::path::Path;

use kperf_control_plane::{ControlPlane, Options};
use serde_json::Value;

fn started(what: &str, options: Options) -> Option<ControlPlane> {
    ControlPlane::start_or_skip(what, options).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A metric of a report by name and labels; in JSON, names have underscores.
fn metric(report: &Value, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let name = name.replace('-', "_");
    let metrics = report["metrics"].as_array().unwrap();
    metrics
        .iter()
        .find(|metric| {
            metric["name"] == name.as_str()
                && labels
                    .iter()
                    .all(|(key, value)| metric["labels"][key] == *value)
        })
        .and_then(|metric| metric["value"].as_f64())
}

/// The message of a finding.
fn finding<'a>(report: &'a Value, code: &str) -> Option<&'a str> {
    let findings = report["findings"].as_array().unwrap();
    findings
        .iter()
        .find(|finding| finding["code"] == code)
        .and_then(|finding| finding["message"].as_str())
}
