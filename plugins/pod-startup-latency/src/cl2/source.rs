//! Files of a test: read, rendered as Go templates, parsed as YAML.

use std::sync::Arc;

use go_template::functions::cluster_loader::{self, ReadFile};
use go_template::{Functions, RenderOptions, Template};
use kperf_sdk::Failure;
use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::decode::invalid;

/// Where files come from, and what templates know.
#[derive(Clone)]
pub struct Sources {
    read: Arc<ReadFile>,
    directory: String,
    functions: Functions,
    /// Variables of every template.
    pub variables: Map<String, Value>,
}

impl Sources {
    /// `read` gives a file by its path; templates' random functions draw from `seed`; paths in the test are
    /// relative to `directory`, which is empty or has no `/` at its end.
    pub fn new(
        read: Arc<ReadFile>,
        directory: &str,
        seed: u64,
        variables: Map<String, Value>,
    ) -> Self {
        Self {
            functions: cluster_loader::functions(seed, Arc::clone(&read)),
            read,
            directory: directory.to_owned(),
            variables,
        }
    }

    /// The text of a file of the test.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn text(&self, path: &str) -> Result<String, Failure> {
        let path = join(&self.directory, path);
        (self.read)(&path)
            .map_err(|reason| Failure::invalid_config("testConfig", format!("{path}: {reason}")))
    }

    /// Parses a file as a template.
    ///
    /// # Errors
    /// It cannot be read, or is not a template.
    pub fn template(&self, path: &str) -> Result<(Template, String), Failure> {
        let text = self.text(path)?;
        let template = Template::parse(path, &text, &self.functions)
            .map_err(|error| Failure::invalid_config("testConfig", error.to_string()))?;
        Ok((template, text))
    }

    /// A file with one document, rendered with more variables; what had no value is added to `notes`.
    ///
    /// # Errors
    /// It cannot be read, rendered or parsed.
    pub fn document(
        &self,
        path: &str,
        more: &Map<String, Value>,
        notes: &mut Vec<String>,
    ) -> Result<Value, Failure> {
        let (template, _) = self.template(path)?;
        let mut variables = self.variables.clone();
        variables.extend(more.clone());
        let mut documents = render(&template, &Value::Object(variables), notes)?.into_iter();
        match (documents.next(), documents.next()) {
            (Some(document), None) => Ok(document),
            (None, _) => Err(invalid("", format!("{path} is empty when rendered"))),
            (Some(_), Some(_)) => Err(invalid("", format!("{path} has several documents"))),
        }
    }
}

/// Renders a template into YAML documents; empty ones are left out.
///
/// # Errors
/// It cannot be rendered, or the result is not YAML.
pub fn render(
    template: &Template,
    variables: &Value,
    notes: &mut Vec<String>,
) -> Result<Vec<Value>, Failure> {
    let rendered = template
        .render_with_notes(variables, &RenderOptions::default())
        .map_err(|error| Failure::invalid_config("testConfig", error.to_string()))?;
    for missing in rendered.missing {
        notes.push(format!(
            "{}:{}:{}: {} has no value",
            template.name(),
            missing.line,
            missing.column,
            missing.expression
        ));
    }
    parse(&rendered.text).map_err(|error| {
        Failure::invalid_config(
            "testConfig",
            format!("{}, when rendered: {error}", template.name()),
        )
    })
}

/// YAML documents; empty ones are left out.
pub(super) fn parse(text: &str) -> Result<Vec<Value>, serde_yaml::Error> {
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = Value::deserialize(document)?;
        if !value.is_null() {
            documents.push(value);
        }
    }
    Ok(documents)
}

/// `path` below `directory`, without `.` and `..` where they can be resolved.
pub fn join(directory: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let root = if directory.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

/// The directory of a path; empty if it is a bare name.
pub fn directory_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_are_relative_to_the_test_config() {
        assert_eq!(join("", "a.yaml"), "a.yaml");
        assert_eq!(join("x/y", "../m/a.yaml"), "x/m/a.yaml");
        assert_eq!(join("x", "../../a.yaml"), "../a.yaml");
        assert_eq!(join("x", "/etc/a.yaml"), "/etc/a.yaml");
        assert_eq!(join("/x", "./a.yaml"), "/x/a.yaml");
        assert_eq!(directory_of("x/y/config.yaml"), "x/y");
        assert_eq!(directory_of("config.yaml"), "");
    }

    #[test]
    fn a_document_is_rendered_and_parsed() {
        let read = |path: &str| match path {
            "t/a.yaml" => Ok("n: {{AddInt .Nodes .more}}\nmissing: \"{{.CL2_NONE}}\"".to_owned()),
            "t/two.yaml" => Ok("a: 1\n---\n---\nb: 2".to_owned()),
            _ => Err("there is no such file".to_owned()),
        };
        let variables = json!({"Nodes": 3}).as_object().unwrap().clone();
        let sources = Sources::new(Arc::new(read), "t", 1, variables);
        let more = json!({"more": 4}).as_object().unwrap().clone();
        let mut notes = Vec::new();
        let document = sources.document("a.yaml", &more, &mut notes).unwrap();
        assert_eq!(document["n"], 7);
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains("a.yaml:2:"), "{notes:?}");
        assert!(sources.document("two.yaml", &more, &mut notes).is_err());
        let error = sources
            .document("none.yaml", &more, &mut notes)
            .unwrap_err();
        assert!(error.message.contains("t/none.yaml"), "{}", error.message);
    }
}
