//! Configuration: JSON from the host becomes the plugin's own type, whose JSON Schema is derived.
//!
//! Enters: the configuration object as JSON, already valid against the schema. Leaves: a typed value, or a
//! [`Failure`] with code `invalid-config` whose hint `key` names the place.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Failure;

/// The configuration of a plugin that takes none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// The JSON Schema (2020-12) of `C`, with `default` at its root if there is one.
///
/// `#[serde(deny_unknown_fields)]` becomes `additionalProperties: false`, doc comments become descriptions,
/// `#[schemars(range(min = 1))]` and its like become rules.
pub fn schema<C: JsonSchema>(default: Option<Value>) -> Value {
    let mut schema = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<C>();
    if let Some(default) = default {
        schema.insert("default".to_owned(), default);
    }
    schema.to_value()
}

/// Reads a configuration; an empty text means `{}`.
pub fn parse<C: DeserializeOwned>(json: &str) -> Result<C, Failure> {
    let json = if json.trim().is_empty() { "{}" } else { json };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let config = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let key = error.path().to_string();
        // `.` is the path of the whole object: the message then names the key itself.
        if key == "." {
            return Failure::invalid_config("", error.inner().to_string());
        }
        let message = format!("{key}: {}", error.inner());
        Failure::invalid_config(key, message)
    })?;
    deserializer
        .end()
        .map_err(|error| Failure::invalid_config("", error.to_string()))?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Pods to read.
    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Sample {
        /// How many.
        #[schemars(range(min = 1))]
        key_space_size: i64,
        #[serde(default)]
        nested: Option<Nested>,
    }

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Nested {
        on: bool,
    }

    #[test]
    fn schema_carries_rules_descriptions_and_default() {
        let schema = schema::<Sample>(Some(json!({"keySpaceSize": 3})));
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["description"], "Pods to read.");
        assert_eq!(schema["required"], json!(["keySpaceSize"]));
        let key = &schema["properties"]["keySpaceSize"];
        assert_eq!(key["minimum"], json!(1));
        assert_eq!(key["description"], "How many.");
        assert_eq!(schema["default"], json!({"keySpaceSize": 3}));
        assert_eq!(super::schema::<Sample>(None).get("default"), None);
    }

    #[test]
    fn errors_name_the_key() {
        let key = |json: &str| {
            let failure = parse::<Sample>(json).unwrap_err();
            assert_eq!(failure.code, "invalid-config");
            (
                failure.find_hint("key").unwrap().to_owned(),
                failure.message,
            )
        };
        let (path, message) = key(r#"{"keySpaceSize": "a"}"#);
        assert_eq!(path, "keySpaceSize");
        assert!(
            message.starts_with("keySpaceSize: invalid type"),
            "{message}"
        );
        let (path, _) = key(r#"{"keySpaceSize": 1, "nested": {"on": 3}}"#);
        assert_eq!(path, "nested.on");
        let (_, message) = key(r#"{"keySpaceSize": 1, "keyspace": 2}"#);
        assert!(message.contains("keyspace"), "{message}");
        let (_, message) = key("{}");
        assert!(message.contains("keySpaceSize"), "{message}");
        key("{} {}");
        key("[1");
    }

    #[test]
    fn no_config_takes_nothing() {
        assert_eq!(parse::<NoConfig>(""), Ok(NoConfig {}));
        assert_eq!(parse::<NoConfig>("{}"), Ok(NoConfig {}));
        assert!(parse::<NoConfig>(r#"{"a": 1}"#).is_err());
    }
}
