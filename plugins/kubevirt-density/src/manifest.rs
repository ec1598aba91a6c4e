//! Rendered text into an object that carries the label of its run.

use std::fmt;

use go_template::MissingValue;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// On every namespace and object of a run; its value is the id of the run.
pub const WORKLOAD_LABEL: &str = "kubevirt-load-generator-workload";

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
}
