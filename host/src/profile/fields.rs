//! Keys of a mapping as values of a type: strict about names and types, lenient where kperf's YAML 1.1 is.

use serde_yaml::{Mapping, Value as Yaml};

use super::{document::Document, locate, problem::Problem};

/// Takes values out of mappings, and collects what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) document: &'a Document,
    pub(super) lenient: bool,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

impl Reader<'_> {
    pub(super) fn problem(&mut self, path: &str, message: impl Into<String>) {
        self.problems.push(self.document.problem(path, message));
    }

    /// Reports unknown keys; returns whether there were none.
    pub(super) fn known_keys(&mut self, path: &str, map: &Mapping, known: &[&str]) -> bool {
        let mut all_known = true;
        for key in map.keys() {
            let name = match key {
                Yaml::String(name) => name.clone(),
                other => serde_yaml::to_string(other)
                    .unwrap_or_default()
                    .trim()
                    .to_owned(),
            };
            if known.contains(&name.as_str()) {
                continue;
            }
            all_known = false;
            let meant = closest(&name, known).map_or_else(
                || format!("known are {}", known.join(", ")),
                |meant| format!("did you mean `{meant}`?"),
            );
            let path = locate::child(path, &name);
            if self.lenient {
                let warning = self
                    .document
                    .problem(&path, format!("unknown key, ignored; {meant}"));
                self.warnings.push(warning);
            } else {
                self.problem(&path, format!("unknown key; {meant}"));
            }
        }
        all_known
    }

    /// Text; of a number or truth value without quotes, what was written, as in kperf.
    pub(super) fn text(&mut self, path: &str, map: &Mapping, key: &str) -> Option<String> {
        let value = given(map, key)?;
        let path = locate::child(path, key);
        match value {
            Yaml::String(text) => Some(text.clone()),
            Yaml::Number(_) | Yaml::Bool(_) => {
                let written = self.document.plain_text(&path).map(str::to_owned);
                written.or_else(|| {
                    serde_yaml::to_string(value)
                        .ok()
                        .map(|text| text.trim().to_owned())
                })
            }
            other => {
                self.problem(&path, format!("must be text, not {}", what(other)));
                None
            }
        }
    }

    pub(super) fn whole(&mut self, path: &str, map: &Mapping, key: &str) -> Option<i64> {
        let value = given(map, key)?;
        let path = locate::child(path, key);
        let whole = match value {
            Yaml::Number(number) => number.as_i64().or_else(|| {
                // 1e3 is a whole number too; beyond 2^53 a float no longer says which.
                let float = number.as_f64()?;
                (float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0)
                    .then_some(float as i64)
            }),
            _ => None,
        };
        if whole.is_none() {
            self.problem(
                &path,
                format!("must be a whole number, not {}", what(value)),
            );
        }
        whole
    }

    pub(super) fn number(&mut self, path: &str, map: &Mapping, key: &str) -> Option<f64> {
        let value = given(map, key)?;
        let number = match value {
            Yaml::Number(number) => number.as_f64().filter(|number| number.is_finite()),
            _ => None,
        };
        if number.is_none() {
            self.problem(
                &locate::child(path, key),
                format!("must be a finite number, not {}", what(value)),
            );
        }
        number
    }

    pub(super) fn boolean(&mut self, path: &str, map: &Mapping, key: &str) -> Option<bool> {
        let value = given(map, key)?;
        let path = locate::child(path, key);
        // kperf reads YAML 1.1, where these words are truth values too.
        let words = self.document.plain_text(&path).map(str::to_ascii_lowercase);
        match (value, words.as_deref()) {
            (Yaml::Bool(value), _) => Some(*value),
            (Yaml::String(_), Some("yes" | "on" | "y")) => Some(true),
            (Yaml::String(_), Some("no" | "off" | "n")) => Some(false),
            _ => {
                self.problem(&path, format!("must be true or false, not {}", what(value)));
                None
            }
        }
    }
}

/// The value of a key; null is as good as absent.
pub(super) fn given<'a>(map: &'a Mapping, key: &str) -> Option<&'a Yaml> {
    map.get(key).filter(|value| !value.is_null())
}

fn what(value: &Yaml) -> String {
    match value {
        Yaml::Null => "nothing".into(),
        Yaml::Bool(value) => value.to_string(),
        Yaml::Number(number) => number.to_string(),
        Yaml::String(text) => format!("the text {:?}", text.chars().take(40).collect::<String>()),
        Yaml::Sequence(_) => "a list".into(),
        Yaml::Mapping(_) => "a mapping".into(),
        Yaml::Tagged(tagged) => format!("something tagged {}", tagged.tag),
    }
}

/// The known key a misspelt one most likely stands for.
fn closest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .iter()
        .map(|key| {
            (
                strsim::damerau_levenshtein(&name, &key.to_lowercase()),
                *key,
            )
        })
        .filter(|(distance, key)| *distance <= 1.max(key.len() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, key)| key)
}
