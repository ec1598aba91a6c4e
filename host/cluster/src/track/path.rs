//! Where a value stands in an object: a JSON pointer (RFC 6901) that can also pick array elements by key.

use std::{fmt, str::FromStr};

/// A parsed path, such as `/status/conditions/[type=Ready]/status`.
///
/// Each step is a field of an object (or, if it is a number, an element of an array), with `~1` for `/` and
/// `~0` for `~`; or `[key=value]`, the first element of an array whose `key` is the text `value`. The value
/// is taken as it stands, `/` included. The empty path is the whole object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    pub(crate) text: String,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A field, or an element by number.
    Field(String),
    /// An element by the value of one of its fields.
    Pick { key: String, value: String },
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path {path:?}: {reason}")]
pub struct PathError {
    /// The text.
    pub path: String,
    /// What is wrong and how it should look.
    pub reason: String,
}

/// Steps of one path at most: parsers stop at a depth of 128.
const MAX_STEPS: usize = 64;

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let fail = |reason: String| PathError {
            path: text.to_owned(),
            reason,
        };
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let Some(step) = rest.strip_prefix('/') else {
                return Err(fail(
                    "must be empty or begin with '/', as in /status/phase".into(),
                ));
            };
            if let Some(pick) = step.strip_prefix('[') {
                // The value may hold '/' and ']': the bracket that counts is followed by '/' or nothing.
                let (inside, after) = match pick.split_once("]/") {
                    Some((inside, _)) => (inside, pick.get(inside.len() + 1..).unwrap_or_default()),
                    None => (
                        pick.strip_suffix(']').ok_or_else(|| {
                            fail(format!("\"[{pick}\" has no closing ']'; write [key=value]"))
                        })?,
                        "",
                    ),
                };
                let (key, value) = inside
                    .split_once('=')
                    .filter(|(key, _)| !key.is_empty())
                    .ok_or_else(|| {
                        fail(format!(
                            "\"[{inside}]\" is not of the form [key=value], as in [type=Ready]"
                        ))
                    })?;
                steps.push(Step::Pick {
                    key: key.to_owned(),
                    value: value.to_owned(),
                });
                rest = after;
            } else {
                let end = step.find('/').unwrap_or(step.len());
                let (token, after) = step.split_at_checked(end).unwrap_or((step, ""));
                steps.push(Step::Field(unescape(token).ok_or_else(|| {
                    fail(format!(
                        "in {token:?} a '~' is not followed by 0 or 1; write ~0 for '~' and ~1 for '/'"
                    ))
                })?));
                rest = after;
            }
            if steps.len() > MAX_STEPS {
                return Err(fail(format!("has more than {MAX_STEPS} steps")));
            }
        }
        Ok(Self {
            text: text.to_owned(),
            steps,
        })
    }
}

fn unescape(token: &str) -> Option<String> {
    let mut out = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str) -> Step {
        Step::Field(name.into())
    }

    fn pick(key: &str, value: &str) -> Step {
        Step::Pick {
            key: key.into(),
            value: value.into(),
        }
    }

    #[test]
    fn fields_and_picks() {
        for (text, steps) in [
            ("", vec![]),
            ("/", vec![field("")]),
            ("/status/phase", vec![field("status"), field("phase")]),
            ("/a~1b/c~0d", vec![field("a/b"), field("c~d")]),
            (
                "/status/conditions/[type=Ready]/status",
                vec![
                    field("status"),
                    field("conditions"),
                    pick("type", "Ready"),
                    field("status"),
                ],
            ),
            ("/[k=a/b=c]", vec![pick("k", "a/b=c")]),
            ("/[k=a]b]/x", vec![pick("k", "a]b"), field("x")]),
            ("/[k=]", vec![pick("k", "")]),
            ("/items/0", vec![field("items"), field("0")]),
        ] {
            let path: Path = text.parse().unwrap();
            assert_eq!(path.steps, steps, "{text}");
            assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn errors_name_the_path_and_the_form() {
        for (text, part) in [
            ("status/phase", "begin with '/'"),
            ("/a~2b", "~0"),
            ("/a~", "~0"),
            ("/c/[type=Ready", "closing"),
            ("/c/[Ready]/x", "[key=value]"),
            ("/c/[=Ready]", "[key=value]"),
        ] {
            let error = text.parse::<Path>().expect_err(text).to_string();
            assert!(
                error.contains(part) && error.contains(&format!("{text:?}")),
                "{error}"
            );
        }
        assert!("/a".repeat(65).parse::<Path>().is_err());
    }
}
