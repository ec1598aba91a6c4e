//! Why a call failed: one type in both directions, so that `?` carries a host's failure to the user unchanged.

pub use crate::bindings::kperf::core::vocabulary::{Failure, Label};

impl Failure {
    /// A failure with a code (a short lower-case slug, for example `unreachable`) and one sentence for the user.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            hints: Vec::new(),
        }
    }

    /// The configuration passed the schema and is wrong all the same; `key` says where.
    pub fn invalid_config(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new("invalid-config", message).hint("key", key)
    }

    /// Adds what to do next, or a fact that helps.
    #[must_use]
    pub fn hint(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.hints.push(Label {
            key: key.into(),
            value: value.into(),
        });
        self
    }

    /// The first hint of this name.
    pub fn find_hint(&self, key: &str) -> Option<&str> {
        find_label(&self.hints, key)
    }
}

/// The value of the first label with this key.
pub fn find_label<'a>(labels: &'a [Label], key: &str) -> Option<&'a str> {
    labels
        .iter()
        .find(|label| label.key == key)
        .map(|label| label.value.as_str())
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::new("failed", message)
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Self::new("failed", message)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // An `Output` wraps the host's failure into an `io::Error`; this is the way back.
        match error.downcast::<Failure>() {
            Ok(failure) => failure,
            Err(error) => Self::new("io", error.to_string()),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        if error.is_io() {
            return std::io::Error::from(error).into();
        }
        Self::new("json", error.to_string())
    }
}

impl From<std::fmt::Error> for Failure {
    fn from(error: std::fmt::Error) -> Self {
        Self::new("failed", error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_way_through_io() {
        let failure = Failure::new("no-such-sink", "there is no sink `a`").hint("key", "a");
        let error = std::io::Error::other(failure.clone());
        assert_eq!(Failure::from(error), failure);
        let plain = std::io::Error::other("disk full");
        assert_eq!(Failure::from(plain), Failure::new("io", "disk full"));
    }

    #[test]
    fn invalid_config_names_its_key() {
        let failure = Failure::invalid_config("limit", "limit must >= 0");
        assert_eq!(failure.code, "invalid-config");
        assert_eq!(failure.find_hint("key"), Some("limit"));
        assert_eq!(failure.find_hint("other"), None);
    }
}
