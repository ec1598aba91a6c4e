//! Object templates: a manifest for every index.

use go_template::Template;
use kperf_sdk::Failure;
use kperf_sdk::benchmark::cluster::Kind;
use serde_json::{Map, Value};

use super::model::ObjectSpec;
use super::source::{Sources, parse, render};

/// A member of a bundle, ready to be rendered.
#[derive(Clone, Debug)]
pub struct ObjectTemplate {
    basename: String,
    template: Template,
    /// Of its documents, in their order; at least one.
    kinds: Vec<Kind>,
    variables: Map<String, Value>,
}

impl ObjectTemplate {
    /// Reads the template of `spec`.
    ///
    /// # Errors
    /// It cannot be read, or does not say literally which kinds it describes.
    pub fn new(sources: &Sources, spec: &ObjectSpec) -> Result<Self, Failure> {
        let (template, text) = sources.template(&spec.template_path)?;
        let kinds = literal_kinds(&text);
        if kinds.is_empty() {
            return Err(Failure::invalid_config(
                "testConfig",
                format!(
                    "{}: no document has a literal `apiVersion` and `kind`, which deleting needs",
                    spec.template_path
                ),
            ));
        }
        let mut variables = sources.variables.clone();
        variables.extend(spec.fill_map.clone());
        Ok(Self {
            basename: spec.basename.clone(),
            template,
            kinds,
            variables,
        })
    }

    /// What objects are named before their index.
    pub fn basename(&self) -> &str {
        &self.basename
    }

    /// The kinds it describes.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// `<basename>-<index>`.
    pub fn name(&self, index: u32) -> String {
        format!("{}-{index}", self.basename)
    }

    /// The manifests of one index; `namespace` is empty for objects without one. Name and namespace are set
    /// whatever the template says, as ClusterLoader2 does. What had no value is added to `notes`.
    ///
    /// # Errors
    /// The template fails, or what it makes is not a manifest.
    pub fn manifests(
        &self,
        namespace: &str,
        index: u32,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Value>, Failure> {
        let mut variables = self.variables.clone();
        let name = self.name(index);
        for (key, value) in [
            ("BaseName", Value::from(self.basename.clone())),
            ("Index", Value::from(index)),
            ("Name", Value::from(name.clone())),
            ("Namespace", Value::from(namespace)),
        ] {
            variables.insert(key.to_owned(), value);
        }
        let mut manifests = render(&self.template, &Value::Object(variables), notes)?;
        for manifest in &mut manifests {
            self.adopt(manifest, namespace, &name)?;
        }
        Ok(manifests)
    }

    fn adopt(&self, manifest: &mut Value, namespace: &str, name: &str) -> Result<(), Failure> {
        let is_text = |key: &str| manifest.get(key).is_some_and(Value::is_string);
        if !is_text("apiVersion") || !is_text("kind") {
            return Err(Failure::invalid_config(
                "testConfig",
                format!(
                    "{}, when rendered: a document lacks apiVersion or kind",
                    self.template.name()
                ),
            ));
        }
        let metadata = manifest
            .as_object_mut()
            .map(|manifest| manifest.entry("metadata").or_insert(Value::Null));
        let Some(metadata) = metadata else {
            return Ok(());
        };
        if !metadata.is_object() {
            *metadata = Value::Object(Map::new());
        }
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("name".to_owned(), Value::from(name));
            metadata.remove("generateName");
            if namespace.is_empty() {
                metadata.remove("namespace");
            } else {
                metadata.insert("namespace".to_owned(), Value::from(namespace));
            }
        }
        Ok(())
    }
}

/// What a manifest is.
pub fn kind_of(manifest: &Value) -> Kind {
    let text = |key: &str| manifest.get(key).and_then(Value::as_str).unwrap_or("");
    Kind::new(text("apiVersion"), text("kind"))
}

/// What to merge into an object for it to become as the manifest says.
pub fn merge_patch_of(manifest: &Value) -> Value {
    let mut patch = manifest.clone();
    if let Some(patch) = patch.as_object_mut() {
        patch.remove("apiVersion");
        patch.remove("kind");
        patch.remove("status");
        if let Some(metadata) = patch.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("name");
            metadata.remove("namespace");
        }
    }
    patch
}

/// `apiVersion` and `kind` of every document of a template, read without rendering: an object is deleted when the
/// variables of its template may not be there.
fn literal_kinds(text: &str) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for document in text.split("\n---") {
        let field = |key: &str| {
            document.lines().find_map(|line| {
                let value = line.strip_prefix(key)?.strip_prefix(':')?;
                let value = value.split(" #").next()?.trim().trim_matches(['"', '\'']);
                (!value.is_empty() && !value.contains("{{")).then(|| value.to_owned())
            })
        };
        if let (Some(api_version), Some(kind)) = (field("apiVersion"), field("kind")) {
            kinds.push(Kind::new(api_version, kind));
        }
    }
    if kinds.is_empty() {
        // A template in JSON: without its placeholders it may still be one document.
        let documents = parse(&without_placeholders(text)).unwrap_or_default();
        kinds.extend(
            documents
                .iter()
                .map(kind_of)
                .filter(|kind| !kind.kind.is_empty() && !kind.api_version.is_empty()),
        );
    }
    kinds
}

fn without_placeholders(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        kept.push_str(before);
        rest = after.split_once("}}").map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn template(text: &'static str) -> Result<ObjectTemplate, Failure> {
        let variables = serde_json::json!({"Nodes": 2}).as_object().unwrap().clone();
        let sources = Sources::new(Arc::new(move |_| Ok(text.to_owned())), "", 1, variables);
        let fill_map = serde_json::json!({"Replicas": 10})
            .as_object()
            .unwrap()
            .clone();
        ObjectTemplate::new(
            &sources,
            &ObjectSpec {
                basename: "web".to_owned(),
                template_path: "web.yaml".to_owned(),
                fill_map,
                list_unknown: None,
            },
        )
    }

    #[test]
    fn every_index_has_its_manifests() {
        let template = template(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{.Name}}\n  labels:\n    group: {{.BaseName}}\n\
             spec:\n  replicas: {{MultiplyInt .Replicas .Nodes}}\n  index: {{.Index}}\n\
             ---\napiVersion: v1 # core\nkind: \"Service\"\n",
        )
        .unwrap();
        assert_eq!(
            template.kinds(),
            [
                Kind::new("apps/v1", "Deployment"),
                Kind::new("v1", "Service")
            ]
        );
        let mut notes = Vec::new();
        let manifests = template.manifests("test-1", 3, &mut notes).unwrap();
        assert_eq!(manifests.len(), 2);
        assert_eq!(manifests[0]["metadata"]["name"], "web-3");
        assert_eq!(manifests[0]["metadata"]["namespace"], "test-1");
        assert_eq!(manifests[0]["spec"]["replicas"], 20);
        assert_eq!(manifests[0]["spec"]["index"], 3);
        assert_eq!(manifests[1]["metadata"]["name"], "web-3");
        assert!(notes.is_empty(), "{notes:?}");
        let of_cluster = template.manifests("", 0, &mut notes).unwrap();
        assert_eq!(of_cluster[0]["metadata"].get("namespace"), None);
        let patch = merge_patch_of(&manifests[0]);
        assert_eq!(
            patch,
            serde_json::json!({
                "metadata": {"labels": {"group": "web"}},
                "spec": {"replicas": 20, "index": 3},
            })
        );
    }

    #[test]
    fn a_template_must_say_its_kind() {
        assert!(template("apiVersion: v1\nkind: {{.Kind}}\n").is_err());
        let json = template("{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"n\": \"{{.Index}}\"}");
        assert_eq!(json.unwrap().kinds(), [Kind::new("v1", "Pod")]);
    }
}
