//! Virtual nodes: objects that kwok plays the kubelet of.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::Client;

/// The name of the i-th virtual node: as in the simulator, so that one profile fits both.
pub(crate) fn name(index: u32) -> String {
    format!("node-{index}")
}

/// Makes `count` virtual nodes.
pub(crate) fn create(client: &Client, count: u32) -> anyhow::Result<()> {
    for index in 0..count {
        client
            .post("/api/v1/nodes", &node(&name(index)))?
            .success()
            .with_context(|| format!("making the virtual node {}", name(index)))?;
    }
    Ok(())
}

/// How many nodes are ready.
pub(crate) fn ready(client: &Client) -> anyhow::Result<usize> {
    let nodes = client.get("/api/v1/nodes")?.success()?.json();
    let items = nodes["items"].as_array().into_iter().flatten();
    Ok(items.filter(|node| is_ready(node)).count())
}

fn is_ready(node: &Value) -> bool {
    node["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// As kwok documents it. No taint: there are no real nodes here to keep pods on.
fn node(name: &str) -> Value {
    let resources = json!({ "cpu": "32", "memory": "256Gi", "pods": "110" });
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {
                "kwok.x-k8s.io/node": "fake",
                "node.alpha.kubernetes.io/ttl": "0",
            },
            "labels": {
                "type": "kwok",
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/role": "agent",
                "node-role.kubernetes.io/agent": "",
            },
        },
        "status": { "allocatable": resources, "capacity": resources },
    })
}
