//! kperf's count of failures, in its two forms.
//!
//! Enters: failures by class (`http/429`, `connection/…`, `http2-protocol/…`, `unknown/…`). Leaves: the flat map of
//! today, or the object of versions up to December 2024.
//!
//! The old object cannot be had back in full: it kept connection and stream errors of HTTP/2 apart, the classes do
//! not. Here a GOAWAY and a lost connection are connection errors and a bare error code is a stream error.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::wit;

/// Which form to write.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Style {
    /// Class to count.
    #[default]
    Map,
    /// The object of older versions.
    Classic,
}

/// `errorStats` in either form.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum ErrorStats {
    Map(BTreeMap<String, u64>),
    Classic(Classic),
}

/// The old object: the four outer keys are always there.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Classic {
    unknown_errors: Vec<String>,
    net_errors: BTreeMap<String, u64>,
    response_codes: BTreeMap<String, u64>,
    http2_errors: Http2Errors,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Http2Errors {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    connection_errors: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    stream_errors: BTreeMap<String, u64>,
}

/// The old form lists every unknown error anew; a million of one kind would say no more than this many.
const MAX_UNKNOWN_ERRORS: u64 = 1_000;

impl ErrorStats {
    pub(crate) fn is_omitted(&self) -> bool {
        matches!(self, Self::Map(map) if map.is_empty())
    }
}

pub(crate) fn error_stats(classes: &[wit::Counter], style: Style) -> ErrorStats {
    match style {
        Style::Map => {
            let mut map = BTreeMap::new();
            for class in classes.iter().filter(|class| class.value > 0) {
                add(&mut map, &class.name, class.value);
            }
            ErrorStats::Map(map)
        }
        Style::Classic => ErrorStats::Classic(classic(classes)),
    }
}

fn classic(classes: &[wit::Counter]) -> Classic {
    let mut stats = Classic::default();
    for class in classes.iter().filter(|class| class.value > 0) {
        match class.name.split_once('/') {
            Some(("http", code)) => add(&mut stats.response_codes, code, class.value),
            Some(("connection", message)) => add(&mut stats.net_errors, message, class.value),
            Some(("http2-protocol", message)) if is_of_connection(message) => {
                add(
                    &mut stats.http2_errors.connection_errors,
                    message,
                    class.value,
                );
            }
            Some(("http2-protocol", message)) => {
                add(&mut stats.http2_errors.stream_errors, message, class.value)
            }
            Some(("unknown", message)) => list(&mut stats.unknown_errors, message, class.value),
            _ => list(&mut stats.unknown_errors, &class.name, class.value),
        }
    }
    stats
}

fn is_of_connection(message: &str) -> bool {
    message.contains("GOAWAY") || message.contains("connection lost")
}

fn add(map: &mut BTreeMap<String, u64>, key: &str, value: u64) {
    let total = map.entry(key.to_owned()).or_default();
    *total = total.saturating_add(value);
}

fn list(errors: &mut Vec<String>, message: &str, times: u64) {
    let room = MAX_UNKNOWN_ERRORS.saturating_sub(errors.len() as u64);
    errors.extend((0..times.min(room)).map(|_| message.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes() -> Vec<wit::Counter> {
        [
            ("http/429", 3),
            ("http/500", 1),
            ("connection/connection refused", 2),
            ("http2-protocol/PROTOCOL_ERROR", 4),
            ("http2-protocol/http2: server sent GOAWAY and closed the connection; ErrCode=NO_ERROR, debug=", 5),
            ("unknown/what/ever", 2),
            ("odd", 1),
            ("http/503", 0),
        ]
        .map(|(name, value)| wit::Counter { name: name.to_owned(), value })
        .to_vec()
    }

    #[test]
    fn the_map_has_every_class_once() {
        let json = serde_json::to_value(error_stats(&classes(), Style::Map)).unwrap();
        assert_eq!(json["http/429"], 3);
        assert_eq!(json["unknown/what/ever"], 2);
        assert_eq!(json.as_object().unwrap().len(), 7);
        assert!(error_stats(&[], Style::Map).is_omitted());
    }

    #[test]
    fn the_old_object_sorts_classes_into_its_keys() {
        let json = serde_json::to_value(error_stats(&classes(), Style::Classic)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "unknownErrors": ["what/ever", "what/ever", "odd"],
                "netErrors": { "connection refused": 2 },
                "responseCodes": { "429": 3, "500": 1 },
                "http2Errors": {
                    "connectionErrors":
                        { "http2: server sent GOAWAY and closed the connection; ErrCode=NO_ERROR, debug=": 5 },
                    "streamErrors": { "PROTOCOL_ERROR": 4 },
                },
            })
        );
    }

    #[test]
    fn the_old_object_is_there_without_errors_and_bounded_with_many() {
        let empty = error_stats(&[], Style::Classic);
        assert!(!empty.is_omitted());
        assert_eq!(
            serde_json::to_string(&empty).unwrap(),
            r#"{"unknownErrors":[],"netErrors":{},"responseCodes":{},"http2Errors":{}}"#
        );
        let many = [wit::Counter {
            name: "unknown/x".to_owned(),
            value: u64::MAX,
        }];
        let ErrorStats::Classic(stats) = error_stats(&many, Style::Classic) else {
            panic!("asked for the old form")
        };
        assert_eq!(stats.unknown_errors.len(), 1_000);
    }
}
