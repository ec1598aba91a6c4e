//! What to track, as a benchmark says it.

use std::{fmt, str::FromStr};

use kube::core::ApiResource;
use serde_json::Value;

/// Objects to track and the milestones they are to reach.
#[derive(Clone, Debug)]
pub struct TrackSpec {
    /// Name for people; it begins every message.
    pub name: String,
    /// What kind of objects.
    pub resource: ApiResource,
    /// Whether the resource lives in namespaces.
    pub namespaced: bool,
    /// The namespace to look at; `None` is all of them.
    pub namespace: Option<String>,
    /// Kubernetes label selector; empty selects all.
    pub label_selector: String,
    /// Kubernetes field selector; empty selects all.
    pub field_selector: String,
    /// What objects are to reach; 64 at most.
    pub milestones: Vec<Milestone>,
    /// Paths whose latest value is kept with each object, as JSON text.
    pub capture: Vec<String>,
}

impl TrackSpec {
    /// Everything of a resource, without milestones.
    #[must_use]
    pub fn new(name: impl Into<String>, resource: ApiResource, namespaced: bool) -> Self {
        Self {
            name: name.into(),
            resource,
            namespaced,
            namespace: None,
            label_selector: String::new(),
            field_selector: String::new(),
            milestones: Vec::new(),
            capture: Vec::new(),
        }
    }
}

/// A state of an object worth a stamp.
#[derive(Clone, Debug, Default)]
pub struct Milestone {
    /// Name for people.
    pub name: String,
    /// What must hold, all of it. None at all: reached when the object is first seen.
    pub checks: Vec<Check>,
    /// Reached when the object is gone, instead; then there are no checks. Leaving the selection is going,
    /// as it is for the API server's watch.
    pub deleted: bool,
    /// Where the API writes the time of this milestone (RFC 3339).
    pub api_time: Option<String>,
}

/// One condition on one field.
#[derive(Clone, Debug)]
pub struct Check {
    /// Where the field is; see [`super::Path`]. A field that is null is absent.
    pub path: String,
    /// How to compare.
    pub op: Op,
    /// With what; null where the operator needs nothing.
    pub value: Value,
}

impl Check {
    /// A condition.
    #[must_use]
    pub fn new(path: impl Into<String>, op: Op, value: impl Into<Value>) -> Self {
        Self {
            path: path.into(),
            op,
            value: value.into(),
        }
    }
}

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `exists`: the field is there.
    Exists,
    /// `absent`: it is not.
    Absent,
    /// `equals`: the field is the value. Numbers compare by value, the rest as JSON.
    Equals,
    /// `not-equals`: it is not; holds where the field is absent, as Kubernetes selectors have it.
    NotEquals,
    /// `one-of`: the field equals one of an array of values.
    OneOf,
    /// `at-least`: a number not below the value.
    AtLeast,
    /// `at-most`: a number not above the value.
    AtMost,
    /// `equals-field`: equals the field at the path in `value`, which must be there. An absent left side
    /// counts as 0, as `status.readyReplicas` is left out while it is 0.
    EqualsField,
    /// `at-least-field`: not below the number at the path in `value`; absence as in `equals-field`.
    AtLeastField,
}

impl Op {
    /// All operators.
    pub const ALL: [Self; 9] = [
        Self::Exists,
        Self::Absent,
        Self::Equals,
        Self::NotEquals,
        Self::OneOf,
        Self::AtLeast,
        Self::AtMost,
        Self::EqualsField,
        Self::AtLeastField,
    ];

    /// The operator as it is written.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Self::Exists => "exists",
            Self::Absent => "absent",
            Self::Equals => "equals",
            Self::NotEquals => "not-equals",
            Self::OneOf => "one-of",
            Self::AtLeast => "at-least",
            Self::AtMost => "at-most",
            Self::EqualsField => "equals-field",
            Self::AtLeastField => "at-least-field",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

impl FromStr for Op {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|op| op.slug() == text)
            .ok_or_else(|| {
                let known: Vec<_> = Self::ALL.iter().map(|op| op.slug()).collect();
                format!(
                    "operator {text:?} does not exist; there is {}",
                    known.join(", ")
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_read_as_they_are_written() {
        for op in Op::ALL {
            assert_eq!(op.to_string().parse(), Ok(op));
        }
        let error = "eq".parse::<Op>().unwrap_err();
        assert!(
            error.contains("\"eq\"") && error.contains("at-least-field"),
            "{error}"
        );
    }
}
