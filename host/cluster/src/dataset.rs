//! Sets of objects that fill a server: ConfigMaps, Secrets, DaemonSets and Events under kperf's names and labels.
//!
//! ```text
//! DataSpec → kind (names, labels) → object → add, delete: at a pace      list: sets by the names of their objects
//! ```
//!
//! Members of a set are known by their names: labels may be gone, since a PUT replaces them.

mod kind;
mod list;
mod object;
mod work;

use std::collections::BTreeMap;

pub use kind::DataKind;
pub use list::{DataSet, list};
pub use work::{DataError, add, delete};

use crate::api::request::is_namespace;

/// Most that the payload of one object may be: the server takes no objects much larger than this.
const MAX_SIZE: u64 = 1 << 20;
/// Longest name of a set: it is the value of a label, and a part of names.
const MAX_NAME: usize = 50;

/// A set to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSpec {
    /// Of what.
    pub kind: DataKind,
    /// Where; made if it is not there.
    pub namespace: String,
    /// Name of the set.
    pub name: String,
    /// Objects.
    pub total: u64,
    /// Bytes of payload of each; DaemonSets have none.
    pub size: u64,
    /// Objects with the same `ownerID`, at most this many of which are created at the same time.
    pub group_size: u64,
    /// Events only: `reason`.
    pub reason: String,
    /// Events only: `type`.
    pub event_type: String,
    /// Events only: kind and name of what they are about, in the same namespace.
    pub involved: (String, String),
}

impl DataSpec {
    /// A set with kperf's defaults.
    #[must_use]
    pub fn new(kind: DataKind, name: impl Into<String>) -> Self {
        Self {
            kind,
            namespace: "default".to_owned(),
            name: name.into(),
            total: match kind {
                DataKind::DaemonSet => 1,
                _ => 10,
            },
            size: match kind {
                DataKind::DaemonSet => 0,
                DataKind::Event => 5000,
                _ => 100,
            },
            group_size: 30,
            reason: "KperfGenerated".to_owned(),
            event_type: "Normal".to_owned(),
            involved: ("Pod".to_owned(), "fake-pod".to_owned()),
        }
    }

    /// What cannot be is said before anything is sent.
    ///
    /// # Errors
    /// [`DataError::Invalid`].
    pub fn validate(&self) -> Result<(), DataError> {
        check_name(&self.name)?;
        check_namespace(&self.namespace)?;
        let why = if self.total == 0 {
            "total must be greater than 0".to_owned()
        } else if self.group_size == 0 {
            "group-size must be greater than 0".to_owned()
        } else if self.size == 0 && self.kind != DataKind::DaemonSet {
            "size must be greater than 0".to_owned()
        } else if self.size > MAX_SIZE {
            format!(
                "size {} is too large: servers take no objects beyond {MAX_SIZE} bytes or so",
                self.size
            )
        } else if !matches!(self.event_type.as_str(), "Normal" | "Warning") {
            format!(
                "{:?} is no type of events; there are Normal and Warning",
                self.event_type
            )
        } else if self.involved.0.is_empty() || self.involved.1.is_empty() {
            "the involved object needs a kind and a name".to_owned()
        } else {
            return Ok(());
        };
        Err(DataError::Invalid(why))
    }

    /// Labels of the i-th object.
    fn labels(&self, index: u64) -> BTreeMap<&'static str, String> {
        let mut labels = BTreeMap::from([
            ("app", self.kind.app().to_owned()),
            (self.kind.set_label(), self.name.clone()),
        ]);
        match self.kind {
            DataKind::DaemonSet => labels.insert("idx", index.to_string()),
            _ => labels.insert(
                "ownerID",
                (index - index % self.group_size.max(1)).to_string(),
            ),
        };
        labels
    }
}

/// Whether a set can have this name.
fn check_name(name: &str) -> Result<(), DataError> {
    if name.is_empty() {
        Err(DataError::Invalid("required non-empty name".to_owned()))
    } else if name.len() > MAX_NAME || !is_namespace(name) {
        Err(DataError::Invalid(format!(
            "{name:?} cannot be the name of a set: at most {MAX_NAME} lower-case letters, digits and '-', with a letter or digit at both ends"
        )))
    } else {
        Ok(())
    }
}

/// Whether there can be such a namespace.
fn check_namespace(namespace: &str) -> Result<(), DataError> {
    if is_namespace(namespace) {
        Ok(())
    } else {
        Err(DataError::Invalid(format!(
            "{namespace:?} cannot be a namespace"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_made() {
        for kind in DataKind::ALL {
            DataSpec::new(kind, "x").validate().unwrap();
        }
        // kperf refuses a group that is larger than the whole.
        let spec = DataSpec::new(DataKind::ConfigMap, "x");
        assert!(spec.group_size > spec.total);
    }

    #[test]
    fn what_cannot_be_is_said() {
        let why = |change: fn(&mut DataSpec)| {
            let mut spec = DataSpec::new(DataKind::Event, "x");
            change(&mut spec);
            spec.validate().unwrap_err().to_string()
        };
        assert!(why(|s| s.name = "A".into()).contains("cannot be the name"));
        assert!(why(|s| s.total = 0).contains("total"));
        assert!(why(|s| s.size = 0).contains("size"));
        assert!(why(|s| s.size = 2 << 20).contains("too large"));
        assert!(why(|s| s.group_size = 0).contains("group-size"));
        assert!(why(|s| s.namespace = "a/b".into()).contains("namespace"));
        assert!(why(|s| s.event_type = "Odd".into()).contains("Warning"));
        assert!(why(|s| s.involved.1.clear()).contains("involved"));
    }

    #[test]
    fn groups_are_named_by_their_first_index() {
        let mut spec = DataSpec::new(DataKind::ConfigMap, "x");
        spec.group_size = 4;
        let owner = |index| spec.labels(index)["ownerID"].clone();
        assert_eq!(
            [owner(0), owner(3), owner(4), owner(9)],
            ["0", "0", "4", "8"]
        );
        assert_eq!(spec.labels(0)["cmName"], "x");
        let sets = DataSpec::new(DataKind::DaemonSet, "d");
        assert_eq!(
            sets.labels(2),
            BTreeMap::from([
                ("app", "fake-daemonset".to_owned()),
                ("dsName", "d".to_owned()),
                ("idx", "2".to_owned()),
            ])
        );
    }
}
