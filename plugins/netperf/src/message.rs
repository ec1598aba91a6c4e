//! What netperf says when it fails. Some of it goes to standard output.

use net_tool::{ErrorClass, Output, ToolError};

/// The message with which netperf ended, if it has one of the known kinds.
pub(crate) fn message(output: &Output) -> Option<ToolError> {
    output
        .lines()
        .filter(|line| !crate::fields::is_key_value(line))
        .filter_map(|line| {
            let class = ErrorClass::of_message(line)?;
            let words = line.strip_prefix("netperf: ").unwrap_or(line);
            Some(ToolError::new(class, words))
        })
        .min_by_key(|error| error.class)
}

/// Lines that are part of no result: interim reports, the remark about confidence, blank ones.
pub(crate) fn is_remark(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with("Interim result: ") || line.starts_with("!!!")
}

/// The first line of a run with titles, such as `MIGRATED TCP STREAM TEST from …`.
pub(crate) fn is_banner(line: &str) -> bool {
    line.contains(" TEST from ")
}
