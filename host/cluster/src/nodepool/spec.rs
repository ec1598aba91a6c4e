//! What a pool is to be like.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    error::PoolError,
    names::{
        CONTROLLER_LABEL, KWOK_IMAGE, MAX_NODES, NODES_PER_CONTROLLER, OWNER_LABEL, POOL_LABEL,
        TYPE_LABEL,
    },
};
use crate::api::request::is_namespace;

/// Longest name: what StatefulSets append to it must still be a label's value.
const MAX_NAME: usize = 50;

/// A pool of virtual nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolSpec {
    /// Its name; nodes are `<name>-<i>`.
    pub name: String,
    /// How many.
    pub nodes: u32,
    /// CPUs of each.
    pub cpu: u32,
    /// Memory of each, GiB.
    pub memory_gib: u32,
    /// Pods each takes.
    pub max_pods: u32,
    /// More labels of the nodes.
    pub node_labels: BTreeMap<String, String>,
    /// `spec.providerID` of every node; empty = none.
    pub shared_provider_id: String,
    /// Where the controllers may run: each key's value must be one of these.
    pub affinity: BTreeMap<String, Vec<String>>,
    /// What plays the nodes.
    pub kwok_image: String,
    /// Most nodes that one controller plays.
    pub nodes_per_controller: u32,
}

impl PoolSpec {
    /// With kperf's defaults: 10 nodes of 8 CPUs, 16 GiB and 110 pods.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            nodes: 10,
            cpu: 8,
            memory_gib: 16,
            max_pods: 110,
            node_labels: BTreeMap::new(),
            shared_provider_id: String::new(),
            affinity: BTreeMap::new(),
            kwok_image: KWOK_IMAGE.to_owned(),
            nodes_per_controller: NODES_PER_CONTROLLER,
        }
    }

    /// The name of the i-th node.
    #[must_use]
    pub fn node(&self, index: u32) -> String {
        format!("{}-{index}", self.name)
    }

    /// How many controllers share the nodes.
    #[must_use]
    pub fn controllers(&self) -> u32 {
        self.nodes.div_ceil(self.nodes_per_controller.max(1))
    }

    /// The pod of the controller that plays the i-th node, in [`super::NAMESPACE`]. Nodes stay with their controller
    /// however many there are.
    #[must_use]
    pub fn controller_of(&self, index: u32) -> String {
        format!("{}-{}", self.name, index / self.nodes_per_controller.max(1))
    }

    /// What cannot be is said before anything is sent.
    ///
    /// # Errors
    /// [`PoolError::Invalid`], in kperf's words where kperf has some.
    pub fn validate(&self) -> Result<(), PoolError> {
        let invalid = |text: String| Err(PoolError::Invalid(text));
        check_name(&self.name)?;
        if self.nodes == 0 || self.cpu == 0 || self.memory_gib == 0 {
            return invalid(format!(
                "invalid count={} or cpu={} or memory={}; each must be at least 1",
                self.nodes, self.cpu, self.memory_gib
            ));
        }
        if self.nodes > MAX_NODES {
            return invalid(format!(
                "invalid count={}; at most {MAX_NODES} nodes in a pool",
                self.nodes
            ));
        }
        if self.max_pods == 0 {
            return invalid(format!("required max pods > 0, but got {}", self.max_pods));
        }
        if self.nodes_per_controller == 0 {
            return invalid("a controller must play at least one node, but got 0".to_owned());
        }
        if self.kwok_image.is_empty() {
            return invalid("the image of the controllers is empty".to_owned());
        }
        for (key, value) in &self.node_labels {
            check_label(key, value)
                .map_err(|why| PoolError::Invalid(format!("node label {key}={value}: {why}")))?;
            if [TYPE_LABEL, POOL_LABEL, CONTROLLER_LABEL, OWNER_LABEL].contains(&key.as_str()) {
                return invalid(format!(
                    "node label {key}={value}: the label is what pools are found by"
                ));
            }
        }
        for (key, values) in &self.affinity {
            if values.is_empty() {
                return invalid(format!("affinity {key}: no value is given"));
            }
            for value in values {
                check_label(key, value)
                    .map_err(|why| PoolError::Invalid(format!("affinity {key}={value}: {why}")))?;
            }
        }
        Ok(())
    }

    /// What differs from `other`, as `nodes=10 (not 20)`; where controllers run and what they are does not count.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let labels = |labels: &BTreeMap<String, String>| {
            let pairs: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("[{}]", pairs.join(","))
        };
        let provider = |id: &str| if id.is_empty() { "none" } else { id }.to_owned();
        let number = |n: u32| n.to_string();
        let differences: Vec<String> = [
            ("nodes", number(self.nodes), number(other.nodes)),
            ("cpu", number(self.cpu), number(other.cpu)),
            ("memory", number(self.memory_gib), number(other.memory_gib)),
            ("max-pods", number(self.max_pods), number(other.max_pods)),
            (
                "node-labels",
                labels(&self.node_labels),
                labels(&other.node_labels),
            ),
            (
                "provider-id",
                provider(&self.shared_provider_id),
                provider(&other.shared_provider_id),
            ),
            (
                "nodes-per-controller",
                number(self.nodes_per_controller),
                number(other.nodes_per_controller),
            ),
        ]
        .into_iter()
        .filter(|(_, is, wanted)| is != wanted)
        .map(|(name, is, wanted)| format!("{name}={is} (not {wanted})"))
        .collect();
        (!differences.is_empty()).then(|| differences.join(", "))
    }
}

/// Whether a pool can have this name.
///
/// # Errors
/// [`PoolError::Invalid`].
pub(super) fn check_name(name: &str) -> Result<(), PoolError> {
    let why = if name.is_empty() {
        "required non-empty name".to_owned()
    } else if name.ends_with("-controller") {
        "name can't contain -controller as suffix".to_owned()
    } else if name.len() > MAX_NAME || !is_namespace(name) {
        format!(
            "{name:?} cannot be the name of a nodepool: at most {MAX_NAME} lower-case letters, digits and '-', with a letter or digit at both ends"
        )
    } else {
        return Ok(());
    };
    Err(PoolError::Invalid(why))
}

fn check_label(key: &str, value: &str) -> Result<(), &'static str> {
    let is_name = |text: &str| {
        let end = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        text.len() <= 63
            && end(text.bytes().next())
            && end(text.bytes().last())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    let (prefix, name) = key.rsplit_once('/').unwrap_or(("example.io", key));
    let is_domain = prefix.len() <= 253 && prefix.split('.').all(is_namespace);
    if !is_domain || !is_name(name) {
        Err("the key is no label's")
    } else if !value.is_empty() && !is_name(value) {
        Err("the value is no label's")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(change: impl FnOnce(&mut PoolSpec)) -> String {
        let mut spec = PoolSpec::new("a");
        change(&mut spec);
        spec.validate().unwrap_err().to_string()
    }

    #[test]
    fn kperfs_words_for_what_cannot_be() {
        PoolSpec::new("a").validate().unwrap();
        assert!(why(|s| s.nodes = 0).starts_with("invalid count=0 or cpu=8 or memory=16"));
        assert_eq!(why(|s| s.max_pods = 0), "required max pods > 0, but got 0");
        assert_eq!(why(|s| s.name.clear()), "required non-empty name");
        assert_eq!(
            why(|s| s.name = "a-controller".into()),
            "name can't contain -controller as suffix"
        );
        for name in ["A", "a_b", "-a", "a.b", "../x", &"a".repeat(51)] {
            assert!(why(|s| s.name = name.to_owned()).contains("cannot be the name"));
        }
    }

    #[test]
    fn labels_are_labels_and_not_ours() {
        let with = |key: &str, value: &str| {
            why(|s| {
                s.node_labels.insert(key.to_owned(), value.to_owned());
            })
        };
        assert!(with("a b", "c").contains("the key"));
        assert!(with("UP.io/a", "c").contains("the key"));
        assert!(with("a", "b c").contains("the value"));
        assert!(with("type", "x").contains("found by"));
        let mut spec = PoolSpec::new("a");
        spec.node_labels
            .insert("example.io/a".into(), String::new());
        spec.validate().unwrap();
    }

    #[test]
    fn every_node_has_one_controller() {
        let mut spec = PoolSpec::new("a");
        for (nodes, controllers) in [(1, 1), (1000, 1), (1001, 2), (2500, 3)] {
            spec.nodes = nodes;
            assert_eq!(spec.controllers(), controllers);
            assert_eq!(
                spec.controller_of(nodes - 1),
                format!("a-{}", controllers - 1)
            );
        }
        assert_eq!(spec.controller_of(999), "a-0");
        assert_eq!(spec.controller_of(1000), "a-1");
    }

    #[test]
    fn differences_are_named() {
        let a = PoolSpec::new("a");
        let mut b = a.clone();
        b.affinity.insert("zone".into(), vec!["x".into()]);
        b.kwok_image = "other".into();
        assert_eq!(a.difference(&b), None);
        b.nodes = 20;
        b.node_labels.insert("k".into(), "v".into());
        assert_eq!(
            a.difference(&b).unwrap(),
            "nodes=10 (not 20), node-labels=[] (not [k=v])"
        );
    }
}
