//! A plugin's configuration: from its JSON Schema to a document that the plugin may be given.

use std::{fmt, sync::OnceLock};

use jsonschema::{Validator, error::ValidationErrorKind};
use serde_json::{Map, Value, json};

/// A configuration that a plugin's schema does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Name of the plugin.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// At least one, in the order of the document.
    pub problems: Vec<ConfigProblem>,
}

/// One thing that is wrong with a configuration. Values are never repeated: they may be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// JSON pointer of the offending value; of the offending key itself if it is unknown or missing.
    pub pointer: String,
    /// What is wrong with it, without a full stop.
    pub message: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            write!(f, "{}", self.message)
        } else {
            write!(f, "`{}`: {}", self.pointer, self.message)
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "configuration of plugin {} {}: ",
            self.plugin, self.version
        )?;
        for (i, problem) in self.problems.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// A plugin's schema; compiled when first needed.
pub(crate) struct Schema {
    document: Value,
    validator: OnceLock<Result<Validator, String>>,
}

impl Schema {
    /// Reads the text of `plugin-info.config-schema`; empty means that nothing can be configured.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let document = if text.trim().is_empty() {
            json!({"type": "object", "additionalProperties": false})
        } else {
            serde_json::from_str::<Value>(text).map_err(|error| format!("not JSON: {error}"))?
        };
        if !document.is_object() {
            return Err("not a JSON object".to_owned());
        }
        Ok(Self {
            document,
            validator: OnceLock::new(),
        })
    }

    pub(crate) fn document(&self) -> &Value {
        &self.document
    }

    /// The compiled schema. References out of the document are not followed.
    pub(crate) fn validator(&self) -> Result<&Validator, String> {
        self.validator
            .get_or_init(|| {
                jsonschema::draft202012::options()
                    .should_validate_formats(true)
                    .build(&self.document)
                    .map_err(|error| error.to_string())
            })
            .as_ref()
            .map_err(Clone::clone)
    }

    /// The configuration to use when the user gave none.
    pub(crate) fn default_config(&self) -> Value {
        self.document
            .get("default")
            .cloned()
            .unwrap_or_else(|| Value::Object(Map::new()))
    }

    /// What is wrong with `config`; nothing if it may be used.
    pub(crate) fn problems(&self, config: &Value) -> Result<Vec<ConfigProblem>, String> {
        let mut problems = Vec::new();
        for error in self.validator()?.iter_errors(config) {
            let pointer = error.instance_path().to_string();
            match error.kind() {
                ValidationErrorKind::AdditionalProperties { unexpected }
                | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                    let known = self.known_keys(&error.schema_path().to_string());
                    problems.extend(unexpected.iter().map(|key| ConfigProblem {
                        pointer: format!("{pointer}/{}", escape(key)),
                        message: unknown_key(key, &known),
                    }));
                }
                ValidationErrorKind::Required { property } => {
                    let key = property.as_str().unwrap_or_default();
                    problems.push(ConfigProblem {
                        pointer: format!("{pointer}/{}", escape(key)),
                        message: "is required".to_owned(),
                    });
                }
                _ => {
                    let choices = self.choices_of(&error.schema_path().to_string());
                    problems.push(ConfigProblem {
                        pointer,
                        message: if choices.is_empty() {
                            error.masked_with("the value").to_string()
                        } else {
                            format!("must be one of {}", choices.join(", "))
                        },
                    });
                }
            }
        }
        Ok(problems)
    }

    /// The values to choose from, if the keyword (its last segment) that refused a value lists them.
    fn choices_of(&self, keyword: &str) -> Vec<String> {
        match keyword.rsplit_once('/') {
            Some((schema, "oneOf" | "anyOf" | "enum" | "const")) => self
                .document
                .pointer(schema)
                .map(|schema| choices(&self.document, schema))
                .unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// Keys of the object schema whose keyword (its last segment) refused a key.
    fn known_keys(&self, keyword: &str) -> Vec<&str> {
        keyword
            .rsplit_once('/')
            .and_then(|(object, _)| self.document.pointer(object))
            .and_then(|object| object.get("properties"))
            .and_then(Value::as_object)
            .map(|properties| properties.keys().map(String::as_str).collect())
            .unwrap_or_default()
    }
}

/// The values that a schema lets one choose from, as one would write them; none if it lists none.
///
/// Enums of Rust arrive as `enum`, or as `oneOf` with a `const` and a description for each value; optional
/// ones as `anyOf` of a reference and `null`. Null is left out: it is a value not given.
#[must_use]
pub fn choices(document: &Value, schema: &Value) -> Vec<String> {
    // A reference may lead to itself; nobody nests choices deeper than this.
    let mut found = Vec::new();
    if collect_choices(document, schema, 8, &mut found) {
        found
    } else {
        Vec::new()
    }
}

/// Whether the schema allows nothing but the choices it lists.
fn collect_choices(document: &Value, schema: &Value, depth: u8, found: &mut Vec<String>) -> bool {
    let Some(depth) = depth.checked_sub(1) else {
        return false;
    };
    let branches = |key: &str| schema.get(key).and_then(Value::as_array);
    if let Some(value) = schema.get("const") {
        found.push(plain(value));
        true
    } else if let Some(values) = branches("enum") {
        found.extend(values.iter().filter(|value| !value.is_null()).map(plain));
        true
    } else if let Some(branches) = branches("oneOf").or_else(|| branches("anyOf")) {
        branches
            .iter()
            .all(|branch| collect_choices(document, branch, depth, found))
    } else if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        reference
            .strip_prefix('#')
            .and_then(|pointer| document.pointer(pointer))
            .is_some_and(|schema| collect_choices(document, schema, depth, found))
    } else {
        schema.get("type").and_then(Value::as_str) == Some("null")
    }
}

/// Text without quotes, everything else as JSON.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn unknown_key(key: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(key, known), known))
        .min();
    match nearest {
        Some((distance, known)) if distance <= 2.max(key.len() / 3) => {
            format!("unknown key, did you mean `{known}`?")
        }
        _ if known.is_empty() => "unknown key; this object takes none".to_owned(),
        _ => format!("unknown key; known are {}", known.join(", ")),
    }
}

/// RFC 6901, section 3.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema::parse(
            &json!({
                "type": "object",
                "default": {"resource": "pods"},
                "properties": {
                    "resource": {"type": "string"},
                    "limit": {"type": "integer", "minimum": 0},
                    "nested": {"$ref": "#/$defs/nested"}
                },
                "required": ["resource"],
                "additionalProperties": false,
                "$defs": {"nested": {
                    "type": "object", "properties": {"token": {"type": "integer"}}, "additionalProperties": false
                }}
            })
            .to_string(),
        )
        .unwrap()
    }

    fn said(config: &Value) -> Vec<String> {
        let mut said = schema()
            .problems(config)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        said.sort();
        said
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_neighbour() {
        assert_eq!(
            said(&json!({"resource": "pods", "limti": 1})),
            ["`/limti`: unknown key, did you mean `limit`?"]
        );
        assert_eq!(
            said(&json!({"resource": "pods", "nested": {"tokn": 1}})),
            ["`/nested/tokn`: unknown key, did you mean `token`?"]
        );
    }

    #[test]
    fn missing_and_wrong_values_name_the_key_but_not_the_value() {
        assert_eq!(said(&json!({})), ["`/resource`: is required"]);
        let wrong = said(&json!({"resource": "pods", "nested": {"token": "s3cret"}}));
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].starts_with("`/nested/token`: "), "{wrong:?}");
        assert!(!wrong[0].contains("s3cret"), "{wrong:?}");
        assert!(said(&json!({"resource": "pods", "limit": -1}))[0].contains("`/limit`"));
    }

    #[test]
    fn a_wrong_choice_is_told_which_there_are() {
        let schema = Schema::parse(
            &json!({
                "type": "object",
                "properties": {
                    "shape": {"oneOf": [
                        {"const": "histogram", "type": "string", "description": "Counts."},
                        {"const": "summary", "type": "string"}
                    ]},
                    "method": {"enum": ["PUT", "POST", null]},
                    "style": {"anyOf": [{"$ref": "#/$defs/style"}, {"type": "null"}]},
                    "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                },
                "$defs": {"style": {"oneOf": [{"enum": ["map", "list"]}, {"const": "classic"}]}}
            })
            .to_string(),
        )
        .unwrap();
        let said = |config: Value| schema.problems(&config).unwrap()[0].to_string();
        assert_eq!(
            said(json!({"shape": "s3cret"})),
            "`/shape`: must be one of histogram, summary"
        );
        assert_eq!(
            said(json!({"method": "GET"})),
            "`/method`: must be one of PUT, POST"
        );
        assert_eq!(
            said(json!({"style": 7})),
            "`/style`: must be one of map, list, classic"
        );
        assert!(!said(json!({"either": true})).contains("one of "));
        let endless = json!({"$ref": "#"});
        assert!(choices(&endless, &endless).is_empty());
    }

    #[test]
    fn the_default_stands_in_and_is_valid() {
        let default = schema().default_config();
        assert_eq!(default, json!({"resource": "pods"}));
        assert!(schema().problems(&default).unwrap().is_empty());
    }

    #[test]
    fn an_empty_schema_takes_no_key() {
        let schema = Schema::parse("").unwrap();
        assert!(schema.problems(&json!({})).unwrap().is_empty());
        assert_eq!(schema.problems(&json!({"a": 1})).unwrap().len(), 1);
    }

    #[test]
    fn a_schema_must_be_one_and_stand_alone() {
        assert!(Schema::parse("{").is_err());
        assert!(Schema::parse("true").is_err());
        let wrong = Schema::parse(r#"{"type": "objekt"}"#).unwrap();
        assert!(wrong.validator().is_err());
        let remote = Schema::parse(r#"{"$ref": "http://127.0.0.1:1/schema.json"}"#).unwrap();
        assert!(remote.validator().is_err());
        let file = Schema::parse(r#"{"$ref": "file:///etc/passwd"}"#).unwrap();
        assert!(file.validator().is_err());
    }
}
