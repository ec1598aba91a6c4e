//! A stored object: its value for patches and selectors, its bytes for answers.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::registry::Resource;

/// One immutable version of an object.
#[derive(Debug)]
pub(crate) struct Object {
    /// With kind, apiVersion and `metadata.resourceVersion`.
    pub(crate) value: Value,
    pub(crate) revision: u64,
    json: Bytes,
    /// Where the fields after kind and apiVersion begin in `json`.
    body_at: usize,
    custom: bool,
}

impl Object {
    /// Stamps the value with kind, apiVersion and resourceVersion and encodes it once.
    pub(crate) fn new(resource: &Resource, revision: u64, mut value: Value) -> Self {
        if let Value::Object(map) = &mut value {
            let metadata = map.entry("metadata").or_insert_with(|| json!({}));
            if let Value::Object(metadata) = metadata {
                metadata.insert("resourceVersion".to_owned(), json!(revision.to_string()));
            }
        }
        Self::unstored(resource, revision, value)
    }

    /// The same of an object that is only shown: its resourceVersion is what it is.
    pub(crate) fn unstored(resource: &Resource, revision: u64, mut value: Value) -> Self {
        if let Value::Object(map) = &mut value {
            map.insert("kind".to_owned(), json!(resource.kind));
            map.insert("apiVersion".to_owned(), json!(resource.api_version()));
        }
        let (json, body_at) = encode(&value);
        Self {
            value,
            revision,
            json,
            body_at,
            custom: resource.custom,
        }
    }

    /// The whole object as JSON, without a trailing newline.
    pub(crate) fn json(&self) -> &Bytes {
        &self.json
    }

    /// Appends the object as a list item. Items of built-in kinds carry no kind and apiVersion,
    /// as the list's own says it; custom ones do.
    pub(crate) fn write_item(&self, out: &mut Vec<u8>) {
        if self.custom {
            out.extend_from_slice(&self.json);
        } else {
            out.push(b'{');
            out.extend_from_slice(self.json.get(self.body_at..).unwrap_or_default());
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }

    pub(crate) fn namespace(&self) -> &str {
        self.value["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default()
    }

    pub(crate) fn uid(&self) -> &str {
        self.value["metadata"]["uid"].as_str().unwrap_or_default()
    }
}

/// Kind and apiVersion first, then metadata, then the rest: the order readers expect, and it lets
/// list items drop the first two by slicing.
fn encode(value: &Value) -> (Bytes, usize) {
    let mut out = Vec::with_capacity(1024);
    let Value::Object(map) = value else {
        return (Bytes::from(value.to_string()), 0);
    };
    out.extend_from_slice(b"{\"kind\":");
    out.extend_from_slice(
        map.get("kind")
            .unwrap_or(&Value::Null)
            .to_string()
            .as_bytes(),
    );
    out.extend_from_slice(b",\"apiVersion\":");
    out.extend_from_slice(
        map.get("apiVersion")
            .unwrap_or(&Value::Null)
            .to_string()
            .as_bytes(),
    );
    out.push(b',');
    let body_at = out.len();
    out.extend_from_slice(b"\"metadata\":");
    // Writing JSON values to memory cannot fail.
    let _ = serde_json::to_writer(&mut out, map.get("metadata").unwrap_or(&Value::Null));
    for (key, value) in map {
        if !matches!(key.as_str(), "kind" | "apiVersion" | "metadata") {
            out.push(b',');
            let _ = serde_json::to_writer(&mut out, key);
            out.push(b':');
            let _ = serde_json::to_writer(&mut out, value);
        }
    }
    out.push(b'}');
    (Bytes::from(out), body_at)
}

/// The time now as the API writes it: whole seconds, UTC.
pub(crate) fn now_rfc3339() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// A fresh version 4 UUID. Unique within the process; not meant to be unguessable.
pub(crate) fn new_uid() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let (a, b) = (
        crate::faults::mix(n),
        crate::faults::mix(n ^ 0x5bd1_e995_9e37_79b9),
    );
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        0x8000 | ((b >> 48) & 0x3fff),
        b & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_leave_out_kind_and_version() {
        let registry = crate::registry::Registry::builtin();
        let configmaps = registry.find("", "v1", "configmaps").unwrap();
        let object = Object::new(
            &configmaps,
            7,
            json!({"metadata": {"name": "a"}, "data": {"k": "v"}}),
        );
        assert_eq!(
            object.json().as_ref(),
            br#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"7"},"data":{"k":"v"}}"#
        );
        let mut item = Vec::new();
        object.write_item(&mut item);
        assert_eq!(
            item,
            br#"{"metadata":{"name":"a","resourceVersion":"7"},"data":{"k":"v"}}"#
        );
    }

    #[test]
    fn uids_are_distinct_version_4() {
        let (a, b) = (new_uid(), new_uid());
        assert_ne!(a, b);
        assert_eq!(a.len(), 36);
        assert_eq!(&a[14..15], "4");
    }
}
