//! Room on the nodes, and the choice of one for a pod.
//!
//! Pods that may run on the same nodes form a class, with its nodes ordered by how full they are: the choice
//! costs a look at the first, not at all of them. There are as many classes as there are different
//! selectors and tolerations in use, which is few; they are forgotten when they become many.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::Value;

use super::{
    fit::{Constraints, NodeFacts},
    quantity,
};

/// Pods, and what they ask for or nodes offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Amount {
    pub(super) pods: u64,
    pub(super) cpu_milli: u64,
    pub(super) memory_bytes: u64,
}

impl Amount {
    /// What a pod asks for: the sum of its containers, or an init container that asks for more.
    pub(super) fn requested(spec: &Value) -> Self {
        let of = |list: &'static str| {
            spec[list]
                .as_array()
                .into_iter()
                .flatten()
                .map(|container| {
                    let resources = &container["resources"];
                    let asked = |key: &str| {
                        let request = &resources["requests"][key];
                        if request.is_null() {
                            resources["limits"][key].clone()
                        } else {
                            request.clone()
                        }
                    };
                    (
                        quantity::milli(&asked("cpu")).unwrap_or(0),
                        quantity::whole(&asked("memory")).unwrap_or(0),
                    )
                })
        };
        let mut amount = Self {
            pods: 1,
            ..Self::default()
        };
        for (cpu, memory) in of("containers") {
            amount.cpu_milli = amount.cpu_milli.saturating_add(cpu);
            amount.memory_bytes = amount.memory_bytes.saturating_add(memory);
        }
        for (cpu, memory) in of("initContainers") {
            amount.cpu_milli = amount.cpu_milli.max(cpu);
            amount.memory_bytes = amount.memory_bytes.max(memory);
        }
        amount
    }

    fn allocatable(node: &Value) -> Self {
        let resources = &node["status"]["allocatable"];
        Self {
            pods: quantity::whole(&resources["pods"]).unwrap_or(0),
            cpu_milli: quantity::milli(&resources["cpu"]).unwrap_or(0),
            memory_bytes: quantity::whole(&resources["memory"]).unwrap_or(0),
        }
    }

    fn combine(self, other: Self, by: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            pods: by(self.pods, other.pods),
            cpu_milli: by(self.cpu_milli, other.cpu_milli),
            memory_bytes: by(self.memory_bytes, other.memory_bytes),
        }
    }

    fn fits(self, capacity: Self) -> bool {
        self.pods <= capacity.pods
            && self.cpu_milli <= capacity.cpu_milli
            && self.memory_bytes <= capacity.memory_bytes
    }
}

#[derive(Debug)]
struct Node {
    facts: NodeFacts,
    ready: bool,
    capacity: Amount,
}

/// How full a node is, by what it has least of, in billionths.
fn fullness(used: Amount, capacity: Amount) -> u64 {
    let share = |used: u64, capacity: u64| match (used, capacity) {
        (0, _) => 0,
        (_, 0) => FULL,
        (used, capacity) => {
            u64::try_from(u128::from(used) * u128::from(FULL) / u128::from(capacity))
                .unwrap_or(u64::MAX)
        }
    };
    if capacity.pods == 0 {
        return FULL;
    }
    share(used.pods, capacity.pods)
        .max(share(used.cpu_milli, capacity.cpu_milli))
        .max(share(used.memory_bytes, capacity.memory_bytes))
}

const FULL: u64 = 1_000_000_000;
/// Classes kept; each costs a look at every change of a node's room.
const MAX_CLASSES: usize = 64;

#[derive(Debug)]
struct Class {
    constraints: Constraints,
    /// Nodes its pods may run on, the emptiest first.
    order: BTreeSet<(u64, Arc<str>)>,
}

/// All nodes.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: HashMap<Arc<str>, Node>,
    /// Also of nodes that are not there (any more).
    used: HashMap<Arc<str>, Amount>,
    classes: HashMap<String, Class>,
}

impl Nodes {
    /// Takes note of a node, or that it is gone; whether that matters to pods.
    pub(super) fn set(&mut self, name: &str, value: Option<&Value>) -> bool {
        let next = value.map(|value| Node {
            facts: NodeFacts::read(value),
            ready: value["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|c| c["type"] == "Ready" && c["status"] == "True"),
            capacity: Amount::allocatable(value),
        });
        let same = match (self.nodes.get(name), &next) {
            (Some(old), Some(new)) => {
                old.facts == new.facts && old.ready == new.ready && old.capacity == new.capacity
            }
            (None, None) => true,
            _ => false,
        };
        if same {
            return false;
        }
        let key: Arc<str> = name.into();
        let used = self.used.get(name).copied().unwrap_or_default();
        if let Some(old) = self.nodes.remove(name) {
            let at = (fullness(used, old.capacity), Arc::clone(&key));
            for class in self.classes.values_mut() {
                class.order.remove(&at);
            }
        }
        if let Some(node) = next {
            for class in self.classes.values_mut() {
                if node.ready && class.constraints.refusal(&node.facts).is_none() {
                    let at = (fullness(used, node.capacity), Arc::clone(&key));
                    class.order.insert(at);
                }
            }
            self.nodes.insert(key, node);
        }
        true
    }

    /// A pod takes its place on a node.
    pub(super) fn occupy(&mut self, name: &str, amount: Amount) {
        self.change(name, |used| used.combine(amount, u64::saturating_add));
    }

    /// A pod leaves its place.
    pub(super) fn vacate(&mut self, name: &str, amount: Amount) {
        self.change(name, |used| used.combine(amount, u64::saturating_sub));
    }

    fn change(&mut self, name: &str, change: impl Fn(Amount) -> Amount) {
        let before = self.used.get(name).copied().unwrap_or_default();
        let after = change(before);
        let key: Arc<str> = name.into();
        if after == Amount::default() {
            self.used.remove(name);
        } else {
            self.used.insert(Arc::clone(&key), after);
        }
        let Some(node) = self.nodes.get(name) else {
            return;
        };
        let from = (fullness(before, node.capacity), Arc::clone(&key));
        let to = (fullness(after, node.capacity), key);
        if from == to {
            return;
        }
        for class in self.classes.values_mut() {
            if class.order.remove(&from) {
                class.order.insert(to.clone());
            }
        }
    }

    /// The emptiest node that takes a pod.
    ///
    /// # Errors
    /// Why there is none, as the scheduler says it.
    pub(super) fn place(
        &mut self,
        constraints: &Constraints,
        pinned: Option<&str>,
        amount: Amount,
    ) -> Result<Arc<str>, String> {
        if let Some(name) = pinned {
            let found = self.nodes.get_key_value(name).filter(|(_, node)| {
                node.ready
                    && constraints.refusal(&node.facts).is_none()
                    && self.has_room(name, amount)
            });
            return match found {
                Some((name, _)) => Ok(Arc::clone(name)),
                None => Err(self.why_not(constraints, amount)),
            };
        }
        let signature = constraints.signature();
        if !self.classes.contains_key(&signature) && self.classes.len() >= MAX_CLASSES {
            self.classes.clear();
        }
        let (nodes, used) = (&self.nodes, &self.used);
        let class = self.classes.entry(signature).or_insert_with(|| Class {
            order: nodes
                .iter()
                .filter(|(_, node)| node.ready && constraints.refusal(&node.facts).is_none())
                .map(|(name, node)| {
                    let used = used.get(name).copied().unwrap_or_default();
                    (fullness(used, node.capacity), Arc::clone(name))
                })
                .collect(),
            constraints: constraints.clone(),
        });
        // Behind the first full node there are only full ones.
        let chosen = class
            .order
            .iter()
            .take_while(|(fullness, _)| *fullness < FULL)
            .map(|(_, name)| name)
            .find(|name| room(nodes, used, name, amount))
            .cloned();
        chosen.ok_or_else(|| self.why_not(constraints, amount))
    }

    fn has_room(&self, name: &str, amount: Amount) -> bool {
        room(&self.nodes, &self.used, name, amount)
    }

    fn why_not(&self, constraints: &Constraints, amount: Amount) -> String {
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, node) in &self.nodes {
            let reason = match constraints.refusal(&node.facts) {
                Some(reason) => reason,
                None if !node.ready => "node(s) were not ready",
                None if !self.has_room(name, amount) => "node(s) had no room",
                None => "node(s) didn't satisfy plugin(s) [NodeAffinity]",
            };
            *reasons.entry(reason).or_default() += 1;
        }
        let reasons: Vec<String> = reasons
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        let all = self.nodes.len();
        if reasons.is_empty() {
            return "no nodes available to schedule pods".to_owned();
        }
        format!("0/{all} nodes are available: {}.", reasons.join(", "))
    }

    /// Nodes by name, ready or not.
    pub(super) fn facts(&self) -> impl Iterator<Item = &NodeFacts> {
        self.nodes.values().map(|node| &node.facts)
    }

    pub(super) fn get(&self, name: &str) -> Option<&NodeFacts> {
        self.nodes.get(name).map(|node| &node.facts)
    }
}

fn room(
    nodes: &HashMap<Arc<str>, Node>,
    used: &HashMap<Arc<str>, Amount>,
    name: &str,
    amount: Amount,
) -> bool {
    let used = used.get(name).copied().unwrap_or_default();
    nodes.get(name).is_some_and(|node| {
        used.combine(amount, u64::saturating_add)
            .fits(node.capacity)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, pods: u64) -> Value {
        json!({
            "metadata": {"name": name, "labels": {"name": name}},
            "status": {
                "allocatable": {"pods": pods.to_string(), "cpu": "10", "memory": "1Gi"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        })
    }

    fn one(cpu_milli: u64) -> Amount {
        Amount {
            pods: 1,
            cpu_milli,
            memory_bytes: 0,
        }
    }

    #[test]
    fn pods_spread_by_room() {
        let mut nodes = Nodes::default();
        for (name, pods) in [("small", 10), ("big", 30)] {
            assert!(nodes.set(name, Some(&node(name, pods))));
        }
        let any = Constraints::default();
        let mut on: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..20 {
            let name = nodes.place(&any, None, one(0)).unwrap();
            nodes.occupy(&name, one(0));
            *on.entry(name.to_string()).or_default() += 1;
        }
        assert_eq!((on["small"], on["big"]), (5, 15));
        for _ in 20..40 {
            let name = nodes.place(&any, None, one(0)).unwrap();
            nodes.occupy(&name, one(0));
        }
        let why = nodes.place(&any, None, one(0)).unwrap_err();
        assert_eq!(why, "0/2 nodes are available: 2 node(s) had no room.");
        nodes.vacate("big", one(0));
        assert_eq!(&*nodes.place(&any, None, one(0)).unwrap(), "big");
        assert!(nodes.place(&any, Some("small"), one(0)).is_err());
    }

    #[test]
    fn classes_follow_changes_of_nodes() {
        let mut nodes = Nodes::default();
        let picky = Constraints::read(&json!({"nodeSelector": {"name": "b"}}));
        nodes.set("a", Some(&node("a", 10)));
        assert!(nodes.place(&picky, None, one(0)).is_err());
        nodes.set("b", Some(&node("b", 10)));
        assert_eq!(&*nodes.place(&picky, None, one(0)).unwrap(), "b");
        assert!(nodes.place(&picky, None, one(10_001)).is_err());
        // A heartbeat changes nothing.
        assert!(!nodes.set("b", Some(&node("b", 10))));
        let mut cordoned = node("b", 10);
        cordoned["spec"]["unschedulable"] = json!(true);
        assert!(nodes.set("b", Some(&cordoned)));
        assert!(nodes.place(&picky, None, one(0)).is_err());
        assert!(nodes.set("b", None));
        assert!(nodes.place(&picky, Some("b"), one(0)).is_err());
    }

    #[test]
    fn requests_add_up() {
        let spec = json!({
            "containers": [
                {"resources": {"requests": {"cpu": "100m", "memory": "1Ki"}}},
                {"resources": {"limits": {"cpu": "1"}}},
            ],
            "initContainers": [{"resources": {"requests": {"memory": "4Ki"}}}],
        });
        let expected = Amount {
            pods: 1,
            cpu_milli: 1100,
            memory_bytes: 4096,
        };
        assert_eq!(Amount::requested(&spec), expected);
    }
}
