//! Nodes: registered once, kept alive by their leases.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use kperf_control_plane::Client;
use serde_json::{Value, json};

use crate::{
    address::Block,
    api::{self, Patch},
};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

const USABLE_WITHIN: Duration = Duration::from_secs(60);

/// The nodes of a kubelet: how many, what is written on them, what is installed on them.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    pub(crate) count: u8,
    pub(crate) prefix: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) taints: Vec<Value>,
    pub(crate) programs: BTreeMap<String, PathBuf>,
}

impl Nodes {
    /// `node-0`, `node-1`, …, each in a zone of its own: `zone-a`, `zone-b`, `zone-c`, and again `zone-a`.
    #[must_use]
    pub fn new(count: u8) -> Self {
        Self {
            count,
            prefix: "node".to_owned(),
            ..Self::default()
        }
    }

    /// Another beginning of their names.
    #[must_use]
    pub fn named(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// A label of all of them.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// A taint of all of them that keeps pods off which do not tolerate it.
    #[must_use]
    pub fn taint(mut self, key: &str, value: &str) -> Self {
        let taint = json!({"key": key, "value": value, "effect": "NoSchedule"});
        self.taints.push(taint);
        self
    }

    /// What a name as the first word of a command means, as if it were in every image. All else is looked up as in
    /// the process of the test.
    #[must_use]
    pub fn program(mut self, name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.programs.insert(name.into(), path.into());
        self
    }

    fn name(&self, index: u8) -> String {
        format!("{}-{index}", self.prefix)
    }
}

/// A node that is registered.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
}

/// Registers all nodes.
pub(crate) fn register(client: &Client, nodes: &Nodes, block: &Block) -> anyhow::Result<Vec<Node>> {
    (0..nodes.count)
        .map(|index| {
            let node = Node {
                name: nodes.name(index),
                address: block.node(index)?,
            };
            let object = object(
                &node,
                nodes,
                ["zone-a", "zone-b", "zone-c"][usize::from(index % 3)],
            );
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": node.name},
                "spec": {
                    "holderIdentity": node.name,
                    "leaseDurationSeconds": 40,
                    "renewTime": api::now_micro(),
                },
            });
            for (path, object) in [(LEASES, &lease), ("/api/v1/nodes", &object)] {
                client
                    .post(path, object)?
                    .success()
                    .with_context(|| format!("registering {}", node.name))?;
            }
            Ok(node)
        })
        .collect()
}

/// Waits until the scheduler may use all nodes: new ones have a taint until a controller has seen that they are ready.
pub(crate) fn until_usable(client: &Client, nodes: &[Node]) -> anyhow::Result<()> {
    let end = Instant::now() + USABLE_WITHIN;
    for node in nodes {
        let path = format!("/api/v1/nodes/{}", node.name);
        loop {
            let object = client.get(&path)?.success()?.json();
            let is_new = api::list(&object["spec"]["taints"])
                .iter()
                .any(|taint| taint["key"] == "node.kubernetes.io/not-ready");
            if !is_new {
                break;
            }
            ensure!(
                Instant::now() < end,
                "{} keeps its taint of new nodes; is there a controller manager?",
                node.name
            );
            thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(())
}

/// Says that all nodes are still there.
pub(crate) fn renew(client: &Client, nodes: &[Node]) -> anyhow::Result<()> {
    for node in nodes {
        let renewed = json!({"spec": {"renewTime": api::now_micro()}});
        let path = format!("{LEASES}/{}", node.name);
        api::patch(client, &path, Patch::Merge, &renewed)?.success()?;
    }
    Ok(())
}

fn object(node: &Node, nodes: &Nodes, zone: &str) -> Value {
    let resources =
        json!({"cpu": "32", "memory": "256Gi", "ephemeral-storage": "100Gi", "pods": "110"});
    let mut labels = json!({
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        "topology.kubernetes.io/region": "region",
        "topology.kubernetes.io/zone": zone,
    });
    for (key, value) in &nodes.labels {
        labels[key.as_str()] = json!(value);
    }
    let now = api::now();
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({
            "type": kind, "status": status, "reason": reason,
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        })
    };
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels},
        "spec": {"taints": nodes.taints},
        "status": {
            "allocatable": resources,
            "capacity": resources,
            "addresses": [
                {"type": "InternalIP", "address": node.address},
                {"type": "Hostname", "address": node.name},
            ],
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID"),
                condition("Ready", "True", "KubeletReady"),
            ],
        },
    })
}
