//! Conditions on values that stand as JSON text.

use serde_json::Value;

/// A condition on one slot.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) slot: usize,
    pub(crate) test: Test,
}

#[derive(Debug)]
pub(crate) enum Test {
    Exists,
    Absent,
    Equals(Expected),
    NotEquals(Expected),
    OneOf(Vec<Expected>),
    AtLeast(f64),
    AtMost(f64),
    /// The other side is this slot.
    EqualsField(usize),
    AtLeastField(usize),
}

/// A value, and its text for a quick look.
#[derive(Debug)]
pub(crate) struct Expected {
    text: String,
    value: Value,
}

impl Expected {
    pub(crate) fn new(value: &Value) -> Self {
        Self {
            text: value.to_string(),
            value: value.clone(),
        }
    }

    fn equals(&self, text: &str) -> bool {
        if self.text == text {
            return true;
        }
        match plain(text) {
            // Texts without escapes that differ are different.
            Some(_) if !self.text.contains('\\') => false,
            _ => serde_json::from_str(text).is_ok_and(|value| same(&self.value, &value)),
        }
    }
}

impl Compiled {
    /// Whether it holds for these slots. What is absent or no number fails a comparison of numbers.
    pub(crate) fn holds(&self, slots: &[Option<&str>]) -> bool {
        let left = value(slots, self.slot);
        match &self.test {
            Test::Exists => left.is_some(),
            Test::Absent => left.is_none(),
            Test::Equals(expected) => left.is_some_and(|text| expected.equals(text)),
            Test::NotEquals(expected) => !left.is_some_and(|text| expected.equals(text)),
            Test::OneOf(values) => {
                left.is_some_and(|text| values.iter().any(|expected| expected.equals(text)))
            }
            Test::AtLeast(least) => left.and_then(number).is_some_and(|n| n >= *least),
            Test::AtMost(most) => left.and_then(number).is_some_and(|n| n <= *most),
            Test::EqualsField(right) => {
                value(slots, *right).is_some_and(|right| same_text(left.unwrap_or("0"), right))
            }
            Test::AtLeastField(right) => value(slots, *right)
                .and_then(number)
                .zip(number(left.unwrap_or("0")))
                .is_some_and(|(right, left)| left >= right),
        }
    }
}

/// The text in a slot; null is absent, as everywhere in the Kubernetes API.
pub(crate) fn value<'a>(slots: &[Option<&'a str>], slot: usize) -> Option<&'a str> {
    slots
        .get(slot)
        .copied()
        .flatten()
        .filter(|text| *text != "null")
}

/// What stands between the quotes of a JSON string without escapes.
pub(crate) fn plain(text: &str) -> Option<&str> {
    text.strip_prefix('"')?
        .strip_suffix('"')
        .filter(|inside| !inside.contains('\\'))
}

fn number(text: &str) -> Option<f64> {
    // JSON numbers begin so; Rust would also read `inf`.
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn same_text(left: &str, right: &str) -> bool {
    left == right
        || match (serde_json::from_str(left), serde_json::from_str(right)) {
            (Ok(left), Ok(right)) => same(&left, &right),
            _ => false,
        }
}

/// Equality of JSON; numbers by value, so that 1 is 1.0.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || a.as_f64() == b.as_f64() && !(a.is_i64() && b.is_i64())
        }
        _ => left == right,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(test: Test, left: Option<&str>, right: Option<&str>) -> bool {
        Compiled { slot: 0, test }.holds(&[left, right])
    }

    #[test]
    fn presence() {
        for (text, there) in [
            (Some("1"), true),
            (Some("{}"), true),
            (Some("null"), false),
            (None, false),
        ] {
            assert_eq!(holds(Test::Exists, text, None), there);
            assert_eq!(holds(Test::Absent, text, None), !there);
        }
    }

    #[test]
    fn equality() {
        let equals = |value: Value, text| holds(Test::Equals(Expected::new(&value)), text, None);
        assert!(equals(json!("True"), Some("\"True\"")));
        assert!(equals(json!("a/b"), Some("\"a\\/b\"")));
        assert!(equals(json!("ü\n"), Some("\"\\u00fc\\n\"")));
        assert!(equals(json!(1), Some("1.0")));
        assert!(equals(
            json!({"a": 1, "b": [2]}),
            Some("{ \"b\": [2], \"a\":1}")
        ));
        for (value, text) in [
            (json!("True"), Some("\"False\"")),
            (json!("1"), Some("1")),
            (json!(1), Some("\"1\"")),
            (json!(9_007_199_254_740_993_u64), Some("9007199254740992")),
            (json!("x"), None),
            (json!("x"), Some("null")),
        ] {
            assert!(!equals(value.clone(), text), "{value} {text:?}");
            assert!(holds(Test::NotEquals(Expected::new(&value)), text, None));
        }
        let any = || Test::OneOf(vec![Expected::new(&json!("a")), Expected::new(&json!(2))]);
        assert!(holds(any(), Some("\"a\""), None) && holds(any(), Some("2"), None));
        assert!(!holds(any(), Some("\"b\""), None) && !holds(any(), None, None));
    }

    #[test]
    fn numbers() {
        for (text, least, most) in [
            (Some("3"), true, true),
            (Some("4.5"), true, false),
            (Some("-7"), false, true),
            (Some("\"3\""), false, false),
            (None, false, false),
        ] {
            assert_eq!(holds(Test::AtLeast(3.0), text, None), least, "{text:?}");
            assert_eq!(holds(Test::AtMost(3.0), text, None), most, "{text:?}");
        }
    }

    #[test]
    fn two_fields() {
        for (left, right, equal, at_least) in [
            (Some("3"), Some("3"), true, true),
            (Some("4"), Some("3"), false, true),
            (Some("2"), Some("3"), false, false),
            (None, Some("0"), true, true),
            (None, Some("3"), false, false),
            (Some("3"), None, false, false),
            (None, None, false, false),
            (Some("null"), Some("0"), true, true),
            (Some("\"a\""), Some("\"a\""), true, false),
            (None, Some("\"a\""), false, false),
        ] {
            assert_eq!(
                holds(Test::EqualsField(1), left, right),
                equal,
                "{left:?} {right:?}"
            );
            assert_eq!(
                holds(Test::AtLeastField(1), left, right),
                at_least,
                "{left:?} {right:?}"
            );
        }
    }
}
