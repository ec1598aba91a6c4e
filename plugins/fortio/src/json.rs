//! The result of `-json -`.

use std::collections::BTreeMap;

use net_tool::number::go_duration_seconds;
use net_tool::{ErrorClass, ToolError, json::Scan};
use serde::Deserialize;

use crate::Kind;
use crate::run::{Asked, Run};

/// Told apart from log lines by `RunType`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Probe {
    run_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    requested_duration: String,
    #[serde(rename = "ActualQPS")]
    actual_qps: f64,
    /// Nanoseconds.
    actual_duration: u64,
    duration_histogram: Histogram,
    #[serde(default)]
    exactly: u64,
    /// How calls ended, and how many of them.
    ret_codes: BTreeMap<String, u64>,
    socket_count: Option<u64>,
    bytes_sent: Option<u64>,
    bytes_received: Option<u64>,
}

/// Seconds.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Histogram {
    count: u64,
    min: f64,
    max: f64,
    avg: f64,
    std_dev: f64,
    /// Absent where there is no data.
    #[serde(default)]
    percentiles: Option<Vec<Percentile>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Percentile {
    percentile: f64,
    value: f64,
}

/// The one result among the objects of a text; `None` if there is none.
///
/// # Errors
/// `truncated` if an object is cut, `malformed` if one is spoilt, is no result of fortio, or there are several.
pub(crate) fn result(found: &Scan<'_>) -> Result<Option<Run>, ToolError> {
    let mut results = Vec::new();
    for object in &found.objects {
        let probe = serde_json::from_str::<Probe>(object);
        if let Ok(Probe {
            run_type: Some(run_type),
        }) = probe
        {
            results.push((run_type, *object));
        }
    }
    if let Some(broken) = &found.broken {
        let class = if broken.cut {
            ErrorClass::Truncated
        } else {
            ErrorClass::Malformed
        };
        let message = format!("the JSON is not whole: {}", broken.reason);
        return Err(ToolError::new(class, message));
    }
    let (run_type, object) = match results.as_slice() {
        [] => return Ok(None),
        [(run_type, object)] => (run_type.as_str(), object),
        _ => return Err(ToolError::malformed("more than one result")),
    };
    let kind = match run_type {
        "TCP" => Kind::Tcp,
        "HTTP" => Kind::Http,
        other => return Err(ToolError::malformed(format!("a run over {other}"))),
    };
    let document: Document = serde_json::from_str(object)
        .map_err(|error| ToolError::malformed(format!("not fortio's result: {error}")))?;
    document.run(kind).map(Some)
}

impl Document {
    fn run(self, kind: Kind) -> Result<Run, ToolError> {
        let Self {
            requested_duration,
            duration_histogram: calls,
            ..
        } = self;
        let asked = if requested_duration.contains("interrupted") {
            Asked::Interrupted(requested_duration)
        } else if self.exactly > 0 {
            Asked::Calls(self.exactly)
        } else {
            match go_duration_seconds(&requested_duration) {
                Some(seconds) => Asked::Seconds(seconds),
                None => Asked::Unknown,
            }
        };
        let percentiles = calls.percentiles.unwrap_or_default();
        #[expect(
            clippy::cast_precision_loss,
            reason = "runs are shorter than 2^53 ns, which is 104 days"
        )]
        let duration_seconds = self.actual_duration as f64 / 1e9;
        Ok(Run {
            kind,
            asked,
            duration_seconds,
            calls: calls.count,
            calls_per_second: self.actual_qps,
            min_seconds: calls.min,
            mean_seconds: calls.avg,
            max_seconds: calls.max,
            stddev_seconds: calls.std_dev,
            percentiles: percentiles
                .iter()
                .map(|one| (one.percentile, one.value))
                .collect(),
            endings: self.ret_codes.into_iter().collect(),
            sent_bytes: self.bytes_sent,
            received_bytes: self.bytes_received,
            connections: self.socket_count,
        })
    }
}
