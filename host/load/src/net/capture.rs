//! Values read from the start of a JSON answer by JSON pointer, without building the document.
//!
//! The text may be cut off (only the first MiB of an answer is looked at): what was found before the
//! cut counts. The result is one JSON array with a value per pointer, null where there was none.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// The pointers of one template.
#[derive(Debug, Default)]
pub(crate) struct Pointers {
    /// Unescaped tokens of each pointer.
    tokens: Vec<Vec<String>>,
}

/// Pointers of one template; more are refused.
pub(crate) const MAX_POINTERS: usize = 32;

impl Pointers {
    /// Parses RFC 6901 pointers; the error is the bad one.
    pub(crate) fn parse(pointers: &[String]) -> Result<Self, String> {
        let parse = |pointer: &String| {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                return Err(pointer.clone());
            }
            Ok(pointer
                .split('/')
                .skip(1)
                .map(|token| token.replace("~1", "/").replace("~0", "~"))
                .collect())
        };
        Ok(Self {
            tokens: pointers.iter().map(parse).collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Appends the array of values to `out`; returns its length in bytes.
    pub(crate) fn read(&self, text: &[u8], out: &mut Vec<u8>) -> usize {
        let mut found = vec![Value::Null; self.tokens.len()];
        let wanted: Vec<Wanted<'_>> = self
            .tokens
            .iter()
            .enumerate()
            .map(|(index, tokens)| Wanted {
                index,
                tokens: tokens.as_slice(),
            })
            .collect();
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        // An error is the end of the text: cut off, or not JSON.
        let _ = Walk {
            wanted,
            found: &mut found,
        }
        .deserialize(&mut deserializer);
        let before = out.len();
        // Writing values into memory cannot fail.
        let _ = serde_json::to_writer(&mut *out, &found);
        out.len() - before
    }
}

/// A pointer, and what is left of it here.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    index: usize,
    tokens: &'a [String],
}

struct Walk<'a, 'f> {
    wanted: Vec<Wanted<'a>>,
    found: &'f mut Vec<Value>,
}

impl<'a> Walk<'a, '_> {
    /// What is wanted below a member.
    fn below(&self, key: &str) -> Vec<Wanted<'a>> {
        self.wanted
            .iter()
            .filter_map(|wanted| match wanted.tokens.split_first() {
                Some((first, rest)) if first == key => Some(Wanted {
                    index: wanted.index,
                    tokens: rest,
                }),
                _ => None,
            })
            .collect()
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.wanted.is_empty() {
            return serde::Deserialize::deserialize(deserializer).map(|IgnoredAny| ());
        }
        if self.wanted.iter().any(|wanted| wanted.tokens.is_empty()) {
            // A whole value is wanted here: then longer pointers are looked up in it.
            let value: Value = serde::Deserialize::deserialize(deserializer)?;
            for wanted in &self.wanted {
                let mut at = Some(&value);
                for token in wanted.tokens {
                    at = at.and_then(|value| match value {
                        Value::Object(map) => map.get(token),
                        Value::Array(list) => list.get(token.parse::<usize>().ok()?),
                        _ => None,
                    });
                }
                if let (Some(slot), Some(value)) = (self.found.get_mut(wanted.index), at) {
                    *slot = value.clone();
                }
            }
            return Ok(());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let wanted = self.below(&key);
            map.next_value_seed(Walk {
                wanted,
                found: &mut *self.found,
            })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0_usize.. {
            let wanted = self.below(&index.to_string());
            let walk = Walk {
                wanted,
                found: &mut *self.found,
            };
            if seq.next_element_seed(walk)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pointers: &[&str], text: &str) -> String {
        let pointers: Vec<String> = pointers.iter().map(ToString::to_string).collect();
        let mut out = Vec::new();
        let length = Pointers::parse(&pointers)
            .unwrap()
            .read(text.as_bytes(), &mut out);
        assert_eq!(length, out.len());
        String::from_utf8(out).unwrap()
    }

    const LIST: &str = r#"{"kind":"PodList","metadata":{"resourceVersion":"7","continue":"abc"},"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b/c","x~y":1}}]}"#;

    #[test]
    fn values_are_found_and_missing_ones_are_null() {
        assert_eq!(
            read(
                &[
                    "/metadata/continue",
                    "/nope",
                    "/items/1/metadata/name",
                    "/items/1/metadata/x~0y"
                ],
                LIST
            ),
            r#"["abc",null,"b/c",1]"#
        );
        assert_eq!(
            read(&["/metadata", "/metadata/continue"], LIST),
            r#"[{"continue":"abc","resourceVersion":"7"},"abc"]"#
        );
    }

    #[test]
    fn a_cut_off_text_gives_what_came_before_the_cut() {
        let cut = &LIST[..LIST.len() - 30];
        assert_eq!(
            read(
                &["/metadata/resourceVersion", "/items/1/metadata/x~0y"],
                cut
            ),
            r#"["7",null]"#
        );
        assert_eq!(read(&["/a"], "not json"), "[null]");
        assert_eq!(read(&["/a"], ""), "[null]");
        let deep = "[".repeat(100_000);
        assert_eq!(read(&["/0/0"], &deep), "[null]");
    }

    #[test]
    fn a_pointer_must_start_with_a_slash() {
        assert_eq!(
            Pointers::parse(&["metadata".to_owned()]).unwrap_err(),
            "metadata"
        );
    }
}
