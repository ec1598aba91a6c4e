//! Reading a test config as ClusterLoader2 does: keys in any case, unknown ones ignored, but noted.

use kperf_sdk::Failure;
use serde_json::{Map, Value};

use super::duration::parse_go_duration;

/// Paths of keys that nothing reads: `steps[2].phases[0].tuningset2`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnknownKeys(pub Vec<String>);

/// The fields of one object. Every field is taken by name, whatever its case; [`Fields::finish`] notes the rest.
#[derive(Debug)]
pub struct Fields<'a> {
    path: String,
    entries: Vec<(&'a str, &'a Value)>,
}

/// A failure that names the place in the test config.
pub fn invalid(path: &str, message: impl std::fmt::Display) -> Failure {
    let shown = if path.is_empty() { "the root" } else { path };
    Failure::invalid_config("testConfig", format!("test config, {shown}: {message}"))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl<'a> Fields<'a> {
    /// `value` must be an object.
    pub fn of(value: &'a Value, path: impl Into<String>) -> Result<Self, Failure> {
        let path = path.into();
        match value {
            Value::Object(map) => Ok(Self::of_map(map, path)),
            other => Err(invalid(
                &path,
                format!("an object is needed, not {}", kind_of(other)),
            )),
        }
    }

    /// The fields of a map.
    pub fn of_map(map: &'a Map<String, Value>, path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            entries: map
                .iter()
                .map(|(key, value)| (key.as_str(), value))
                .collect(),
        }
    }

    /// Where a field stands, for messages.
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Where these fields stand.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The field, the spelling as it is first; `null` counts as absent.
    pub fn take(&mut self, key: &str) -> Option<&'a Value> {
        let at = self
            .entries
            .iter()
            .position(|(name, _)| *name == key)
            .or_else(|| {
                self.entries
                    .iter()
                    .position(|(name, _)| name.eq_ignore_ascii_case(key))
            })?;
        let (_, value) = self.entries.swap_remove(at);
        (!value.is_null()).then_some(value)
    }

    /// The field, converted; `None` if absent.
    fn converted<T>(
        &mut self,
        key: &str,
        needed: &str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        match convert(value) {
            Some(converted) => Ok(Some(converted)),
            None => Err(invalid(
                &self.path_of(key),
                format!("{needed} is needed, not {value}"),
            )),
        }
    }

    /// A string. A number or a boolean is taken as its text, which is what a template's author meant.
    pub fn string(&mut self, key: &str) -> Result<Option<String>, Failure> {
        self.converted(key, "a string", |value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => None,
        })
    }

    /// A string that must be there and not be empty.
    pub fn required_string(&mut self, key: &str) -> Result<String, Failure> {
        match self.string(key)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(invalid(&self.path_of(key), "is required")),
        }
    }

    /// A whole number that is not negative. What a template divides may come as `10.0`.
    pub fn count(&mut self, key: &str) -> Result<Option<u32>, Failure> {
        self.converted(key, "a whole number from 0", |value| {
            if let Some(number) = value.as_u64() {
                return u32::try_from(number).ok();
            }
            let number = match value {
                Value::String(text) => text.parse().ok()?,
                other => other.as_f64()?,
            };
            let whole = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
            whole.then_some(number as u32)
        })
    }

    /// A number above 0.
    pub fn positive(&mut self, key: &str) -> Result<Option<f64>, Failure> {
        self.converted(key, "a number above 0", |value| {
            let number = match value {
                Value::String(text) => text.parse().ok()?,
                other => other.as_f64()?,
            };
            (number.is_finite() && number > 0.0).then_some(number)
        })
    }

    /// A boolean.
    pub fn boolean(&mut self, key: &str) -> Result<Option<bool>, Failure> {
        self.converted(key, "true or false", |value| match value {
            Value::String(text) => text.parse().ok(),
            other => other.as_bool(),
        })
    }

    /// A duration as Go writes it, in nanoseconds.
    pub fn duration_ns(&mut self, key: &str) -> Result<Option<u64>, Failure> {
        self.converted(
            key,
            "a duration such as 1m30s or 500ms, not negative,",
            |value| parse_go_duration(value.as_str()?).ok(),
        )
    }

    /// An object; empty if absent.
    pub fn object(&mut self, key: &str) -> Result<Map<String, Value>, Failure> {
        Ok(self
            .converted(key, "an object", |value| value.as_object().cloned())?
            .unwrap_or_default())
    }

    /// A list; empty if absent.
    pub fn list(&mut self, key: &str) -> Result<&'a [Value], Failure> {
        match self.take(key) {
            None => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(other) => Err(invalid(
                &self.path_of(key),
                format!("a list is needed, not {}", kind_of(other)),
            )),
        }
    }

    /// A list of strings; empty if absent.
    pub fn strings(&mut self, key: &str) -> Result<Vec<String>, Failure> {
        let path = self.path_of(key);
        self.list(key)?
            .iter()
            .map(|value| match value {
                Value::String(text) => Ok(text.clone()),
                other => Err(invalid(
                    &path,
                    format!("strings are needed, not {}", kind_of(other)),
                )),
            })
            .collect()
    }

    /// Notes every field that was not taken.
    pub fn finish(self, unknown: &mut UnknownKeys) {
        for (key, value) in &self.entries {
            if !value.is_null() {
                unknown.0.push(self.path_of(key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_match_in_any_case_and_the_rest_is_noted() {
        let value = json!({
            "Identifier": "a", "identifier": "b", "PARAMS": {"x": 1}, "gone": null, "extra": 1
        });
        let mut fields = Fields::of(&value, "steps[0]").unwrap();
        assert_eq!(fields.required_string("identifier").unwrap(), "b");
        assert_eq!(fields.object("params").unwrap()["x"], 1);
        assert_eq!(fields.count("gone").unwrap(), None);
        let mut unknown = UnknownKeys::default();
        fields.finish(&mut unknown);
        unknown.0.sort();
        assert_eq!(unknown.0, ["steps[0].Identifier", "steps[0].extra"]);
    }

    #[test]
    fn wrong_values_name_their_place() {
        let value = json!({"n": -1, "d": "5", "l": {}, "f": 0});
        let mut fields = Fields::of(&value, "namespace").unwrap();
        for message in [
            fields.count("n").unwrap_err().message,
            fields.duration_ns("d").unwrap_err().message,
            fields.list("l").unwrap_err().message,
            fields.positive("f").unwrap_err().message,
        ] {
            assert!(message.starts_with("test config, namespace."), "{message}");
        }
        assert!(Fields::of(&json!([]), "").is_err());
    }

    #[test]
    fn numbers_come_as_templates_write_them() {
        let value = json!({"n": 10.0, "s": "7", "b": "true", "h": 1.5});
        let mut fields = Fields::of(&value, "").unwrap();
        assert_eq!(fields.count("n").unwrap(), Some(10));
        assert_eq!(fields.count("s").unwrap(), Some(7));
        assert_eq!(fields.boolean("b").unwrap(), Some(true));
        assert!(fields.count("h").is_err());
    }
}
