//! The objects that exist from the start. Names and shapes are part of the documentation: load
//! profiles are written against them.
//!
//! A seeded pod is as large as a small real one (about 3 KB of JSON): labels, environment, probes,
//! projected token volume, tolerations, conditions and container status, without managedFields.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    config::Seed,
    defaults, lifecycle,
    store::{Store, new_uid, now_rfc3339},
};

/// Creates the seeded objects.
pub(crate) fn seed(store: &Store, seed: &Seed) {
    let now = now_rfc3339();
    let add = |plural: &str, group: &str, namespace: &str, mut value: Value| {
        let Some(resource) = store.resource(group, "v1", plural) else {
            return;
        };
        let name = value["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let metadata = &mut value["metadata"];
        metadata["uid"] = json!(new_uid());
        metadata["creationTimestamp"] = json!(now);
        if resource.namespaced {
            metadata["namespace"] = json!(namespace);
        }
        // A duplicate could only be a seeded object itself.
        let _ = store.create(&resource, namespace, &name, value);
    };
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        add("namespaces", "", "", namespace(name));
    }
    add("services", "", "default", kubernetes_service());
    if seed.kubevirt {
        for mut definition in lifecycle::kubevirt::definitions() {
            defaults::definition(&mut definition);
            let group = "apiextensions.k8s.io";
            add("customresourcedefinitions", group, "", definition);
        }
    }
    for i in 0..seed.nodes {
        add("nodes", "", "", node(i, &now));
    }
    for i in 0..seed.namespaces {
        let name = format!("ns-{i}");
        let mut value = namespace(&name);
        value["metadata"]["labels"]["app"] = json!("sim");
        add("namespaces", "", "", value);
        for j in 0..seed.configmaps {
            add(
                "configmaps",
                "",
                &name,
                json!({
                    "metadata": {"name": format!("cm-{j}"), "labels": {"app": "sim"}},
                    "data": {"config.yaml": format!("index: {j}\nenabled: true\nreplicas: 3\n"), "payload": "x".repeat(256)},
                }),
            );
        }
        for j in 0..seed.secrets {
            add(
                "secrets",
                "",
                &name,
                json!({
                    "metadata": {"name": format!("secret-{j}"), "labels": {"app": "sim"}},
                    "type": "Opaque",
                    "data": {"value": "c2ltdWxhdGVk"},
                }),
            );
        }
        for j in 0..seed.services {
            add("services", "", &name, service(i, j));
        }
        for j in 0..seed.pods {
            add("pods", "", &name, pod(&name, i, j, seed.nodes, &now));
        }
    }
}

pub(crate) fn namespace(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    })
}

fn kubernetes_service() -> Value {
    json!({
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "clusterIP": "10.96.0.1",
            "clusterIPs": ["10.96.0.1"],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
        "status": {"loadBalancer": {}},
    })
}

fn service(namespace: u32, i: u32) -> Value {
    let ip = format!(
        "10.97.{}.{}",
        (namespace.wrapping_mul(16) + i / 256) % 256,
        i % 256
    );
    json!({
        "metadata": {"name": format!("svc-{i}"), "labels": {"app": "sim"}},
        "spec": {
            "clusterIP": ip,
            "clusterIPs": [ip],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}],
            "selector": {"app": "sim"},
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
        "status": {"loadBalancer": {}},
    })
}

/// Address of node i.
pub(crate) fn node_ip(i: u32) -> String {
    format!("10.{}.{}.{}", i / 65_536 % 64, i / 256 % 256, i % 256)
}

/// Conditions of a node whose kubelet is well.
pub(crate) fn node_conditions(now: &str) -> Value {
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        })
    };
    json!([
        condition(
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available"
        ),
        condition(
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure"
        ),
        condition(
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available"
        ),
        condition(
            "NetworkUnavailable",
            "False",
            "RouteCreated",
            "RouteController created a route"
        ),
        condition(
            "Ready",
            "True",
            "KubeletReady",
            "kubelet is posting ready status"
        ),
    ])
}

fn node(i: u32, now: &str) -> Value {
    let name = format!("node-{i}");
    let resources = json!({
        "cpu": "32", "ephemeral-storage": "100Gi", "hugepages-1Gi": "0", "hugepages-2Mi": "0",
        "memory": "256Gi", "pods": "110",
    });
    json!({
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
            "labels": {
                "app": "sim",
                "beta.kubernetes.io/arch": "amd64",
                "beta.kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/role": "agent",
                "node-role.kubernetes.io/agent": "",
                "type": "kwok",
            },
        },
        "spec": {"podCIDR": format!("10.{}.{}.0/24", 128 + i / 256 % 128, i % 256), "podCIDRs": [format!("10.{}.{}.0/24", 128 + i / 256 % 128, i % 256)], "providerID": format!("kwok://{name}")},
        "status": {
            "addresses": [{"address": node_ip(i), "type": "InternalIP"}, {"address": name, "type": "Hostname"}],
            "allocatable": resources,
            "capacity": resources,
            "conditions": node_conditions(now),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10247}},
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": "",
                "containerRuntimeVersion": "kwok",
                "kernelVersion": "kwok",
                "kubeProxyVersion": crate::discovery::GIT_VERSION,
                "kubeletVersion": crate::discovery::GIT_VERSION,
                "machineID": "",
                "operatingSystem": "linux",
                "osImage": "kwok",
                "systemUUID": "",
            },
            "phase": "Running",
        },
    })
}

fn pod(namespace: &str, namespace_index: u32, i: u32, nodes: u32, now: &str) -> Value {
    let mut value = json!({
        "metadata": {
            "name": format!("pod-{i}"),
            "labels": {"app": "sim", "app.kubernetes.io/name": "sim", "app.kubernetes.io/instance": namespace, "index": i.to_string()},
            "annotations": {"kubernetes.io/config.source": "api", "sim/description": "a pod of the simulator, running nothing"},
        },
        "spec": {
            "containers": [{
                "name": "app",
                "image": "registry.example/sim/app:1.0",
                "imagePullPolicy": "IfNotPresent",
                "args": ["--listen=:8080", "--log-level=info"],
                "env": [
                    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
                    {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}},
                    {"name": "MODE", "value": "simulated"},
                ],
                "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
                "livenessProbe": {"failureThreshold": 3, "httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTP"}, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1},
                "readinessProbe": {"failureThreshold": 3, "httpGet": {"path": "/readyz", "port": "http", "scheme": "HTTP"}, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1},
                "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "volumeMounts": [{"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "name": "kube-api-access", "readOnly": true}],
            }],
            "volumes": [{
                "name": "kube-api-access",
                "projected": {
                    "defaultMode": 420,
                    "sources": [
                        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                        {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
                        {"downwardAPI": {"items": [{"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"}]}},
                    ],
                },
            }],
            "tolerations": [
                {"effect": "NoExecute", "key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 300},
                {"effect": "NoExecute", "key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 300},
            ],
        },
    });
    crate::defaults::pod(&mut value);
    value["status"]["qosClass"] = json!("Burstable");
    if nodes > 0 {
        let node = i % nodes;
        crate::lifecycle::bind(&mut value, &format!("node-{node}"), now);
        let host = namespace_index.wrapping_mul(65_536).wrapping_add(i);
        crate::lifecycle::run_pod(&mut value, &node_ip(node), &pod_ip(host), now);
    }
    value
}

/// Address number n of the pods' network.
pub(crate) fn pod_ip(n: u32) -> String {
    format!("10.{}.{}.{}", 64 + n / 65_536 % 64, n / 256 % 256, n % 256)
}

/// The log of every container: numbered lines, the same for all.
#[derive(Clone, Debug)]
pub(crate) struct ContainerLog {
    pub(crate) text: bytes::Bytes,
    /// Where each line begins.
    pub(crate) starts: Arc<[usize]>,
}

impl ContainerLog {
    pub(crate) fn new(lines: usize) -> Self {
        let mut text = Vec::new();
        let mut starts = Vec::with_capacity(lines);
        for i in 0..lines {
            starts.push(text.len());
            text.extend_from_slice(
                format!(
                    "level=info line={i} msg=\"request served\" path=/items/{} status=200\n",
                    i % 97
                )
                .as_bytes(),
            );
        }
        Self {
            text: text.into(),
            starts: starts.into(),
        }
    }
}
