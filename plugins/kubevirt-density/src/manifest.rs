//! Rendered text into an object that carries the labels of its run and of its entry in the workload.

use std::fmt;

use go_template::MissingValue;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// On every namespace and object of a run; its value is the id of the run.
pub const WORKLOAD_LABEL: &str = "kubevirt-load-generator-workload";

/// Tells the objects of one entry and iteration from all others of the run.
pub(crate) const ENTRY_LABEL: &str = "kubevirt-density/entry";

/// What an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// `v1`, `kubevirt.io/v1`.
    pub api_version: String,
    /// `VirtualMachineInstance`.
    pub kind: String,
}

impl Kind {
    /// Empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version
            .split_once('/')
            .map_or("", |(group, _)| group)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.api_version, self.kind)
    }
}

/// An object to create.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// From 1.
    pub iteration: u64,
    /// From 1.
    pub replica: u64,
    /// Where the workload creates it.
    pub namespace: String,
    /// The object, labelled.
    pub object: Value,
    /// What the template printed and nobody set.
    pub missing: Vec<MissingValue>,
}

impl Manifest {
    /// `metadata.name`; `None` when the server is to make one.
    pub fn name(&self) -> Option<&str> {
        self.object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
    }

    /// Its kind, which every manifest has.
    pub fn kind(&self) -> Kind {
        let text = |pointer| {
            let value = self.object.get(pointer).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        Kind {
            api_version: text("apiVersion"),
            kind: text("kind"),
        }
    }
}

/// A namespace of a run.
pub(crate) fn namespace(name: &str, run_id: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {WORKLOAD_LABEL: run_id}}
    })
}

/// The one object in a YAML text, with the run's label added to its own labels.
pub(crate) fn read(text: &str, run_id: &str) -> Result<Value, String> {
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let document =
            Value::deserialize(document).map_err(|error| format!("is not YAML: {error}"))?;
        if !document.is_null() {
            documents.push(document);
        }
    }
    let count = documents.len();
    let mut documents = documents.into_iter();
    let mut object = match (documents.next(), count) {
        (None, _) => return Err("renders to nothing".to_owned()),
        (Some(only), 1) => only,
        _ => {
            return Err(format!(
                "renders to {count} documents: a template makes one object, so write an entry in objects for each"
            ));
        }
    };
    let Value::Object(fields) = &mut object else {
        return Err("does not render to an object".to_owned());
    };
    for field in ["apiVersion", "kind"] {
        let text = fields.get(field).and_then(Value::as_str);
        if text.is_none_or(str::is_empty) {
            return Err(format!("renders to an object without {field}"));
        }
    }
    let metadata = object_in(fields, "metadata")?;
    let named = ["name", "generateName"].iter().any(|key| {
        metadata
            .get(*key)
            .and_then(Value::as_str)
            .is_some_and(|name| !name.is_empty())
    });
    if !named {
        return Err(
            "renders to an object without metadata.name (a text) and without generateName"
                .to_owned(),
        );
    }
    let labels = object_in(metadata, "labels").map_err(|reason| format!("{reason} in metadata"))?;
    labels.insert(WORKLOAD_LABEL.to_owned(), Value::from(run_id));
    Ok(object)
}

/// The object under `key`, made when absent.
fn object_in<'o>(
    fields: &'o mut Map<String, Value>,
    key: &str,
) -> Result<&'o mut Map<String, Value>, String> {
    let value = fields.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value
        .as_object_mut()
        .ok_or_else(|| format!("renders to an object whose {key} is not an object"))
}

/// A label value: what is not allowed in one becomes `-`, and it is no longer than 63. The places of the workload and
/// of the object in it tell apart what the name does not.
pub(crate) fn entry_name(
    workload: &str,
    workload_index: usize,
    index: usize,
    iteration: u64,
) -> String {
    let name: String = workload
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(24)
        .collect();
    format!(
        "{}-w{workload_index}-o{index}-i{iteration}",
        name.trim_matches('-')
    )
    .trim_start_matches('-')
    .to_owned()
}

/// With the label of its entry, and in the namespace if the template names none; in none if that is empty.
pub(crate) fn labelled(mut object: Value, entry: &str, namespace: &str) -> Value {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return object;
    };
    if namespace.is_empty() {
        metadata.remove("namespace");
    } else {
        metadata
            .entry("namespace")
            .or_insert_with(|| Value::from(namespace));
    }
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if let Some(labels) = labels.as_object_mut() {
        labels.insert(ENTRY_LABEL.to_owned(), Value::from(entry));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_merged() {
        let text = "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: {app: x}\n";
        let object = read(text, "run-1").unwrap();
        let labels = json!({"app": "x", WORKLOAD_LABEL: "run-1"});
        assert_eq!(object["metadata"]["labels"], labels);
        let object = read(
            "{apiVersion: v1, kind: Pod, metadata: {generateName: a-, labels: }}",
            "r",
        );
        assert_eq!(
            object.unwrap()["metadata"]["labels"],
            json!({WORKLOAD_LABEL: "r"})
        );
    }

    #[test]
    fn what_is_no_single_object_is_refused() {
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n";
        let two = format!("{pod}---\n{pod}");
        for (text, reason) in [
            ("", "renders to nothing"),
            ("# comment\n---\n", "renders to nothing"),
            (two.as_str(), "renders to 2 documents"),
            ("- a", "does not render to an object"),
            ("a: [", "is not YAML"),
            ("a: b\n  c: d", "is not YAML"),
            ("kind: Pod\nmetadata: {name: a}", "without apiVersion"),
            ("apiVersion: v1\nmetadata: {name: a}", "without kind"),
            ("apiVersion: v1\nkind: Pod", "without metadata.name"),
            (
                "apiVersion: v1\nkind: Pod\nmetadata: {name: 3}",
                "without metadata.name",
            ),
            (
                "apiVersion: v1\nkind: Pod\nmetadata: x",
                "metadata is not an object",
            ),
            (
                "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: 1}",
                "labels is not an object",
            ),
        ] {
            let error = read(text, "r").unwrap_err();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn an_entry_is_a_label_value() {
        assert_eq!(
            entry_name("kubevirt-density-100", 0, 0, 1),
            "kubevirt-density-100-w0-o0-i1"
        );
        assert_eq!(entry_name("", 0, 2, 3), "w0-o2-i3");
        assert_eq!(entry_name("ä b/c", 0, 0, 1), "b-c-w0-o0-i1");
        assert!(entry_name(&"x".repeat(200), 1000, 1000, u64::MAX).len() <= 63);
    }

    #[test]
    fn entries_of_workloads_alike_are_told_apart() {
        for name in ["", "a", "a b"] {
            assert_ne!(entry_name(name, 0, 0, 1), entry_name(name, 1, 0, 1));
        }
        assert_ne!(entry_name("a b", 0, 0, 1), entry_name("a-b", 1, 0, 1));
    }

    #[test]
    fn an_object_gets_its_label_and_keeps_its_own() {
        let object = json!({"metadata": {"name": "a", "labels": {"mine": "1"}}});
        let object = labelled(object, "e", "ns");
        assert_eq!(
            object["metadata"],
            json!({"name": "a", "namespace": "ns", "labels": {"mine": "1", ENTRY_LABEL: "e"}})
        );
        let elsewhere = labelled(json!({"metadata": {"namespace": "other"}}), "e", "ns");
        assert_eq!(elsewhere["metadata"]["namespace"], "other");
        let node = json!({"metadata": {"name": "n", "namespace": "ns"}});
        assert_eq!(
            labelled(node, "e", "")["metadata"],
            json!({"name": "n", "labels": {ENTRY_LABEL: "e"}})
        );
    }
}
