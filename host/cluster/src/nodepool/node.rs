//! A virtual node as an object.

use serde_json::{Value, json};

use super::{
    names::{CONTROLLER_LABEL, POOL_LABEL, TAINT_KEY, TAINT_VALUE, TYPE, TYPE_LABEL},
    spec::PoolSpec,
};

/// The i-th node: kperf's, and a label that says which controller plays it.
pub(super) fn node(spec: &PoolSpec, index: u32) -> Value {
    let name = spec.node(index);
    let mut labels = json!({
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/role": "agent",
        "node-role.kubernetes.io/agent": "",
        "node.kubernetes.io/exclude-from-external-load-balancers": "true",
        "kubernetes.azure.com/managed": "false",
    });
    for (key, value) in &spec.node_labels {
        labels[key.as_str()] = json!(value);
    }
    // Last: whatever else is asked for, it is found by these.
    labels[TYPE_LABEL] = json!(TYPE);
    labels[POOL_LABEL] = json!(spec.name);
    labels[CONTROLLER_LABEL] = json!(spec.controller_of(index));
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {
                "node.alpha.kubernetes.io/ttl": "0",
                "kwok.x-k8s.io/node": "fake",
                "kwok.x-k8s.io/manage": name,
            },
            "labels": labels,
        },
        "spec": {"taints": [{"key": TAINT_KEY, "value": TAINT_VALUE, "effect": "NoSchedule"}]},
        "status": status(spec),
    });
    if !spec.shared_provider_id.is_empty() {
        object["spec"]["providerID"] = json!(spec.shared_provider_id);
    }
    object
}

fn status(spec: &PoolSpec) -> Value {
    let room = json!({
        "cpu": spec.cpu.to_string(),
        "memory": format!("{}Gi", spec.memory_gib),
        "pods": spec.max_pods.to_string(),
    });
    json!({
        "allocatable": room,
        "capacity": room,
        "nodeInfo": {
            "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "kwok", "kernelVersion": "",
            "kubeProxyVersion": "fake", "kubeletVersion": "fake", "machineID": "", "operatingSystem": "linux",
            "osImage": "", "systemUUID": "",
        },
    })
}

/// Whether a node says that it is ready.
pub(super) fn is_ready(node: &Value) -> bool {
    node["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_kperfs() {
        let mut spec = PoolSpec::new("example");
        spec.shared_provider_id = "cloud://x".into();
        spec.node_labels.insert("team".into(), "blue".into());
        let node = node(&spec, 7);
        assert_eq!(
            node,
            json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {
                    "name": "example-7",
                    "annotations": {
                        "node.alpha.kubernetes.io/ttl": "0",
                        "kwok.x-k8s.io/node": "fake",
                        "kwok.x-k8s.io/manage": "example-7",
                    },
                    "labels": {
                        "beta.kubernetes.io/arch": "amd64",
                        "beta.kubernetes.io/os": "linux",
                        "kubernetes.io/arch": "amd64",
                        "kubernetes.io/os": "linux",
                        "kubernetes.io/hostname": "example-7",
                        "kubernetes.io/role": "agent",
                        "node-role.kubernetes.io/agent": "",
                        "node.kubernetes.io/exclude-from-external-load-balancers": "true",
                        "kubernetes.azure.com/managed": "false",
                        "type": "kperf-virtualnodes",
                        "alpha.kperf.io/nodepool": "example",
                        "kperf-host.io/nodepool-controller": "example-0",
                        "team": "blue",
                    },
                },
                "spec": {
                    "taints": [{"key": "kperf.io/nodepool", "value": "fake", "effect": "NoSchedule"}],
                    "providerID": "cloud://x",
                },
                "status": {
                    "allocatable": {"cpu": "8", "memory": "16Gi", "pods": "110"},
                    "capacity": {"cpu": "8", "memory": "16Gi", "pods": "110"},
                    "nodeInfo": {
                        "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "kwok",
                        "kernelVersion": "", "kubeProxyVersion": "fake", "kubeletVersion": "fake",
                        "machineID": "", "operatingSystem": "linux", "osImage": "", "systemUUID": "",
                    },
                },
            })
        );
    }

    #[test]
    fn ready_is_what_the_condition_says() {
        let with =
            |status: &str| json!({"status": {"conditions": [{"type": "Ready", "status": status}]}});
        assert!(is_ready(&with("True")));
        assert!(!is_ready(&with("Unknown")));
        assert!(!is_ready(&json!({})));
    }
}
