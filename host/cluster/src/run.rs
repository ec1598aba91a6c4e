//! What ties objects to a run: an id in a label.

use std::{fmt, str::FromStr};

use serde_json::{Map, Value};

/// Label of everything a run creates; its value is the run's id.
pub const RUN_LABEL: &str = "kperf-host.io/run";

/// Label of the Job of a runner group that another run has started for its load, and of its pods: the id of that other
/// run. All of the group has an id of its own, by which it is deleted.
pub const OUTER_RUN_LABEL: &str = "kperf-host.io/outer-run";

/// The id of a run: a valid, non-empty label value, so that a selector made of it selects that run
/// and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(String);

/// Why a text is no id of a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be the id of a run: 1 to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"
)]
pub struct RunIdError(String);

impl FromStr for RunId {
    type Err = RunIdError;

    fn from_str(text: &str) -> Result<Self, RunIdError> {
        let end = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        let is_valid = text.len() <= 63
            && end(text.bytes().next())
            && end(text.bytes().last())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if is_valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(RunIdError(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RunId {
    /// In the place of an id where there is no run.
    pub(crate) fn none() -> Self {
        Self("none".to_owned())
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Selects what the run created.
    #[must_use]
    pub fn selector(&self) -> String {
        format!("{RUN_LABEL}={}", self.0)
    }

    /// Whether an object's `metadata` carries the run's label.
    pub(crate) fn owns(&self, metadata: &Value) -> bool {
        metadata["labels"][RUN_LABEL] == self.0.as_str()
    }

    /// Adds the run's label to an object; its other labels stay.
    pub(crate) fn label(&self, object: &mut Value) {
        if let Some(metadata) = child(object, "metadata")
            && let Some(labels) = child_of(metadata, "labels")
        {
            labels.insert(RUN_LABEL.to_owned(), self.0.clone().into());
        }
    }

    /// Removes the run's label (whatever its value) from an object.
    pub(crate) fn unlabel(object: &mut Value) {
        if let Some(labels) = object
            .get_mut("metadata")
            .and_then(|metadata| metadata.get_mut("labels"))
            .and_then(Value::as_object_mut)
        {
            labels.remove(RUN_LABEL);
        }
    }
}

fn child<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Map<String, Value>> {
    child_of(value.as_object_mut()?, key)
}

/// The map under a key, made if it is not there.
fn child_of<'a>(map: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    let value = map.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut()
}

/// Whether a patch speaks of the run's label, as a key, a value or a JSON pointer.
pub(crate) fn mentions_label(patch: &Value) -> bool {
    let is_label = |text: &str| text.replace("~1", "/").contains(RUN_LABEL);
    match patch {
        Value::String(text) => is_label(text),
        Value::Array(items) => items.iter().any(mentions_label),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| is_label(key) || mentions_label(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_label_values() {
        for good in ["a", "2026-11-25t17-00-00-ab12", "A_b.c", &"x".repeat(63)] {
            let id: RunId = good.parse().unwrap();
            assert_eq!(id.selector(), format!("kperf-host.io/run={good}"));
        }
        for bad in [
            "",
            " ",
            "-a",
            "a-",
            "a b",
            "a,b",
            "a=b",
            "!a",
            "a)",
            "ü",
            "a\n",
            &"x".repeat(64),
        ] {
            assert!(bad.parse::<RunId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn labels_are_merged() {
        let id: RunId = "r1".parse().unwrap();
        for (mut object, labels) in [
            (json!({}), json!({RUN_LABEL: "r1"})),
            (
                json!({"metadata": {"labels": null}}),
                json!({RUN_LABEL: "r1"}),
            ),
            (
                json!({"metadata": {"labels": {"a": "b"}}}),
                json!({"a": "b", RUN_LABEL: "r1"}),
            ),
            (
                json!({"metadata": {"labels": {RUN_LABEL: "other"}}}),
                json!({RUN_LABEL: "r1"}),
            ),
        ] {
            id.label(&mut object);
            assert_eq!(object["metadata"]["labels"], labels);
            assert!(id.owns(&object["metadata"]));
            RunId::unlabel(&mut object);
            assert!(!id.owns(&object["metadata"]));
        }
    }

    #[test]
    fn the_label_is_found_wherever_it_hides() {
        for patch in [
            json!({"metadata": {"labels": {"kperf-host.io/run": null}}}),
            json!([{"op": "remove", "path": "/metadata/labels/kperf-host.io~1run"}]),
            json!([{"op": "add", "path": "/metadata/labels", "value": {"kperf-host.io/run": "x"}}]),
        ] {
            assert!(mentions_label(&patch), "{patch}");
        }
        assert!(!mentions_label(
            &json!({"metadata": {"labels": {"run": "x"}}})
        ));
    }
}
