//! Virtual nodes of a scenario, and pods for them.

use kperf_sdk::benchmark::prelude::*;

/// The shape of the virtual nodes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(crate = "kperf_sdk::serde", rename_all = "camelCase", default)]
pub struct NodeShape {
    /// How many virtual nodes; as many as the scenario's name says if absent.
    #[schemars(range(min = 1, max = 100_000))]
    pub nodes: Option<u32>,
    /// CPUs of each node.
    #[schemars(range(min = 1))]
    pub cpu: u32,
    /// Memory of each node, in GiB.
    #[schemars(range(min = 1))]
    pub memory: u32,
    /// Most pods on each node.
    #[schemars(range(min = 1))]
    pub max_pods: u32,
}

impl Default for NodeShape {
    fn default() -> Self {
        Self {
            nodes: None,
            cpu: 32,
            memory: 96,
            max_pods: 110,
        }
    }
}

/// The namespace of what plays virtual nodes.
pub const KWOK_NAMESPACE: &str = "virtualnodes-kperf-io";

/// On every virtual node: the name of its pool.
const POOL_LABEL: &str = "alpha.kperf.io/nodepool";

impl NodeShape {
    /// Adds the pool; its nodes are ready when this returns.
    ///
    /// # Errors
    /// As `nodes.add-pool`: without the grant, or with a pool of that name in the cluster.
    pub fn add(&self, name: &str, nodes: u32) -> Result<(), Failure> {
        nodes::add_pool(&nodes::Pool {
            name: name.to_owned(),
            nodes: self.nodes.unwrap_or(nodes),
            cpu: self.cpu,
            memory_gib: self.memory,
            max_pods: self.max_pods,
            labels: Vec::new(),
        })
    }
}

/// A pod of the scenario's: it runs on nodes of this pool only, and nothing of it runs.
pub fn pod_spec(pool: &str) -> Value {
    json!({
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [
                {"key": POOL_LABEL, "operator": "In", "values": [pool]},
            ]}],
        }}},
        "tolerations": [{"key": "kperf.io/nodepool", "operator": "Exists", "effect": "NoSchedule"}],
        "containers": [{"name": "fake-container", "image": "fake-image"}],
    })
}
