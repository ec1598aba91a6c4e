//! On which nodes workers are to run.

use kperf_cluster::api::{Cluster, ListBounds, Scope};
use serde_json::Value;

use crate::error::LaunchError;

const ZONE: &str = "topology.kubernetes.io/zone";
/// Nodes named in a message.
const MAX_NAMED: usize = 10;

/// A node that gets a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenNode {
    /// Its name.
    pub name: String,
    /// Its zone; empty when the cluster has none.
    pub zone: String,
}

/// A node that matches, but cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// For people: `not ready`, `cordoned`, `tainted KEY=VALUE:NoSchedule`.
    pub reason: String,
}

/// What [`choose`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeChoice {
    /// By name.
    pub nodes: Vec<ChosenNode>,
    /// Those that match, but cannot be used, by name.
    pub left_out: Vec<LeftOut>,
}

/// Looks for nodes with a label selector (empty = every node) and chooses among them. Ask [`NodeChoice::enough`] next.
///
/// # Errors
/// The server cannot be asked, or the selector is none.
pub async fn find_nodes(
    cluster: &Cluster,
    selector: &str,
    tolerations: &[Value],
) -> Result<NodeChoice, LaunchError> {
    let what = || LaunchError::api("looking for nodes");
    let nodes = cluster.kind("v1", "Node").await.map_err(what())?;
    let scope = Scope {
        label_selector: selector.to_owned(),
        ..Scope::default()
    };
    let found = cluster
        .list(&nodes, &scope, ListBounds::default())
        .await
        .map_err(what())?;
    Ok(choose(&found, tolerations))
}

/// Chooses among nodes, as the API has them; `tolerations` are those of the pods.
#[must_use]
pub fn choose(nodes: &[Value], tolerations: &[Value]) -> NodeChoice {
    let mut choice = NodeChoice::default();
    for node in nodes {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = text(&node["metadata"]["name"]);
        match unusable(node, tolerations) {
            Some(reason) => choice.left_out.push(LeftOut { name, reason }),
            None => choice.nodes.push(ChosenNode {
                name,
                zone: text(&node["metadata"]["labels"][ZONE]),
            }),
        }
    }
    choice.nodes.sort_by(|a, b| a.name.cmp(&b.name));
    choice.left_out.sort_by(|a, b| a.name.cmp(&b.name));
    choice
}

impl NodeChoice {
    /// Whether there are at least so many; `selector` is the one they were looked for with.
    ///
    /// # Errors
    /// There are fewer, with the labels and with what is wrong with the others.
    pub fn enough(&self, least: usize, selector: &str) -> Result<(), LaunchError> {
        if self.nodes.len() >= least {
            return Ok(());
        }
        let which = if selector.is_empty() {
            "in the cluster".to_owned()
        } else {
            format!("with the labels {selector:?}")
        };
        let mut message = format!(
            "a network benchmark needs at least {least} node{}, and {} {which} can be used",
            if least == 1 { "" } else { "s" },
            match self.nodes.first() {
                None => "none".to_owned(),
                Some(node) => format!("only {}", node.name),
            }
        );
        for node in self.left_out.iter().take(MAX_NAMED) {
            message.push_str(&format!("; {} is {}", node.name, node.reason));
        }
        if self.left_out.len() > MAX_NAMED {
            message.push_str(&format!(
                "; and {} more cannot",
                self.left_out.len() - MAX_NAMED
            ));
        }
        message.push_str(if selector.is_empty() {
            "; add nodes or tolerations"
        } else {
            "; label nodes so, or choose others with --node-labels (empty means every node)"
        });
        Err(LaunchError::Nodes(message))
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn unusable(node: &Value, tolerations: &[Value]) -> Option<String> {
    let is_ready = items(&node["status"]["conditions"])
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    if !is_ready {
        return Some("not ready".to_owned());
    }
    if node["spec"]["unschedulable"] == true {
        return Some("cordoned".to_owned());
    }
    items(&node["spec"]["taints"])
        .iter()
        .filter(|taint| taint["effect"] != "PreferNoSchedule")
        .find(|taint| {
            !tolerations
                .iter()
                .any(|toleration| tolerates(toleration, taint))
        })
        .map(|taint| {
            let text = |key: &str| taint[key].as_str().unwrap_or_default();
            format!(
                "tainted {}={}:{}",
                text("key"),
                text("value"),
                text("effect")
            )
        })
}

/// As the scheduler decides it.
fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (key, effect) = (text(&toleration["key"]), text(&toleration["effect"]));
    let exists = toleration["operator"] == "Exists";
    (effect.is_empty() || taint["effect"] == effect.as_str())
        && (taint["key"] == key.as_str() || (key.is_empty() && exists))
        && (exists || text(&toleration["value"]) == text(&taint["value"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, ready: &str, spec: Value) -> Value {
        json!({
            "metadata": {"name": name, "labels": {ZONE: "z1"}},
            "spec": spec,
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        })
    }

    #[test]
    fn nodes_that_cannot_be_used_say_why() {
        let taint = json!({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]});
        let soft = json!({"taints": [{"key": "old", "effect": "PreferNoSchedule"}]});
        let nodes = [
            node("d", "True", taint.clone()),
            node("b", "True", json!({"unschedulable": true})),
            node("c", "Unknown", json!({})),
            node("a", "True", soft),
        ];
        let choice = choose(&nodes, &[]);
        assert_eq!(
            choice.nodes,
            [ChosenNode {
                name: "a".into(),
                zone: "z1".into()
            }]
        );
        let message = choice.enough(2, "pool=x").unwrap_err().to_string();
        assert_eq!(
            message,
            "a network benchmark needs at least 2 nodes, and only a with the labels \"pool=x\" can be used; \
             b is cordoned; c is not ready; d is tainted gpu=yes:NoSchedule; \
             label nodes so, or choose others with --node-labels (empty means every node)"
        );
        for (toleration, expected) in [
            (json!({"operator": "Exists"}), 2),
            (json!({"key": "gpu", "operator": "Exists"}), 2),
            (
                json!({"key": "gpu", "value": "yes", "effect": "NoSchedule"}),
                2,
            ),
            (json!({"key": "gpu", "value": "no"}), 1),
            (
                json!({"key": "gpu", "value": "yes", "effect": "NoExecute"}),
                1,
            ),
            (json!({"value": "yes"}), 1),
        ] {
            let choice = choose(&nodes, std::slice::from_ref(&toleration));
            assert_eq!(choice.nodes.len(), expected, "{toleration}");
        }
        let none = choose(&[], &[]).enough(1, "").unwrap_err().to_string();
        assert!(none.contains("none in the cluster"), "{none}");
    }
}
