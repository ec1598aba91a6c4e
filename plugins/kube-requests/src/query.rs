//! Queries as Go's `url.Values.Encode` writes them: sorted by key, `+` for a space, upper-case hexadecimal.

use std::fmt::Write as _;

/// The parameters of a query; setting one to an empty text leaves it out, as kperf does.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Sets a parameter.
    pub fn set(&mut self, key: &'static str, value: impl Into<String>) -> &mut Self {
        let value = value.into();
        self.0.retain(|(other, _)| *other != key);
        if !value.is_empty() {
            self.0.push((key, value));
        }
        self
    }

    /// The encoded query with its `?`; empty without parameters.
    pub fn suffix(&self) -> String {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort();
        let mut text = String::new();
        for (key, value) in sorted {
            text.push(if text.is_empty() { '?' } else { '&' });
            escape(key, &mut text);
            text.push('=');
            escape(value, &mut text);
        }
        text
    }
}

/// Go's `url.QueryEscape`.
fn escape(value: &str, into: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                into.push(char::from(byte));
            }
            b' ' => into.push('+'),
            // Writing to a String can't fail.
            _ => drop(write!(into, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_and_escaped_as_go_does() {
        let mut query = Query::default();
        assert_eq!(query.suffix(), "");
        query
            .set("watch", "true")
            .set("labelSelector", "app=a,tier in (x, y)")
            .set("fieldSelector", "spec.nodeName!=n1/ü")
            .set("container", "")
            .set("limit", "1")
            .set("limit", "500");
        assert_eq!(
            query.suffix(),
            "?fieldSelector=spec.nodeName%21%3Dn1%2F%C3%BC&labelSelector=app%3Da%2Ctier+in+%28x%2C+y%29\
             &limit=500&watch=true"
        );
        query.set("limit", "");
        assert!(!query.suffix().contains("limit"));
    }
}
