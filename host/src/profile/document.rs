//! A YAML text as values, with the lines they stand on.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Number, Value};
use serde_yaml::Value as Yaml;

use super::{
    locate::{self, Node, Position},
    problem::{Problem, ProfileError},
};

/// A document and where everything stands in it.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) file: PathBuf,
    pub(super) value: Yaml,
    root: Option<Arc<Node>>,
}

impl Document {
    pub(super) fn parse(text: &str, file: &Path) -> Result<Self, ProfileError> {
        let text = text.trim_start_matches('\u{feff}');
        let malformed = |error: &serde_yaml::Error| {
            let mut problem = Problem::of_file(file, message(error));
            problem.position = error.location().map(|at| (at.line(), at.column()));
            problem
        };
        let mut value: Yaml = serde_yaml::from_str(text).map_err(|error| malformed(&error))?;
        value.apply_merge().map_err(|error| malformed(&error))?;
        Ok(Self {
            file: file.to_owned(),
            value,
            root: locate::locate(text),
        })
    }

    /// What stands under a key of this document, as a document of the same file; positions stay.
    pub(super) fn below(&self, key: &str) -> Option<Self> {
        Some(Self {
            file: self.file.clone(),
            value: self.value.get(key)?.clone(),
            root: self.root.as_ref().and_then(|root| root.child(key)),
        })
    }

    pub(super) fn position(&self, path: &str) -> Option<Position> {
        self.root.as_ref()?.find(path).map(|found| found.0)
    }

    pub(super) fn is_list(&self, path: &str) -> bool {
        self.root
            .as_ref()
            .and_then(|root| root.find(path))
            .is_some_and(|(_, node)| node.is_list())
    }

    /// A scalar as it was written, if without quotes.
    pub(super) fn plain_text(&self, path: &str) -> Option<&str> {
        self.root.as_ref()?.find(path)?.1.plain_text()
    }

    /// A problem at a path, or where the path's nearest existing part stands.
    pub(super) fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        let mut nearest = Some(path);
        let mut position = None;
        while let Some(at) = nearest {
            position = self.position(at);
            if position.is_some() {
                break;
            }
            nearest = locate::parent(at);
        }
        Problem {
            file: Some(self.file.clone()),
            position,
            path: path.to_owned(),
            message: message.into(),
        }
    }
}

/// A YAML text as JSON values, for configurations.
///
/// # Errors
/// No YAML, or something JSON does not have.
pub fn yaml_value(text: &str) -> Result<Value, ProfileError> {
    let mut value: Yaml =
        serde_yaml::from_str(text).map_err(|error| Problem::of_flags("", error.to_string()))?;
    value
        .apply_merge()
        .map_err(|error| Problem::of_flags("", error.to_string()))?;
    to_json("", &value).map_err(|(path, message)| Problem::of_flags(&path, message).into())
}

/// The same value in JSON, or the path of what JSON does not have.
pub(super) fn to_json(path: &str, value: &Yaml) -> Result<Value, (String, String)> {
    Ok(match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(*value),
        Yaml::String(text) => Value::String(text.clone()),
        Yaml::Number(number) => {
            let json = if let Some(value) = number.as_u64() {
                Some(Number::from(value))
            } else if let Some(value) = number.as_i64() {
                Some(Number::from(value))
            } else {
                number.as_f64().and_then(Number::from_f64)
            };
            Value::Number(json.ok_or((path.to_owned(), "must be a finite number".to_owned()))?)
        }
        Yaml::Sequence(items) => Value::Array(
            items
                .iter()
                .enumerate()
                .map(|(index, value)| to_json(&locate::item(path, index), value))
                .collect::<Result<_, _>>()?,
        ),
        Yaml::Mapping(entries) => {
            let mut object = Map::new();
            for (key, value) in entries {
                let Yaml::String(key) = key else {
                    return Err((
                        path.to_owned(),
                        "has a key that is no text; put it in quotes".to_owned(),
                    ));
                };
                object.insert(key.clone(), to_json(&locate::child(path, key), value)?);
            }
            Value::Object(object)
        }
        Yaml::Tagged(tagged) => {
            return Err((
                path.to_owned(),
                format!("has the tag {}; tags are not supported", tagged.tag),
            ));
        }
    })
}

/// The parser's words without the position, which stands in front already.
fn message(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}
