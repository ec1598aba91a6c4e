//! What plays a pool's nodes: KWOK in a StatefulSet whose pods share the nodes out by a label, with an account that may
//! do what that takes, and the stages in its configuration.
//!
//! The stages are the pool's own, in its ConfigMap. As objects of a CustomResourceDefinition, as kperf has them, they
//! would be the cluster's: pools would share them with each other and with any other KWOK there is.

use serde_json::{Value, json};

use super::{
    error::PoolError,
    names::{
        CONTROLLER_LABEL, MANAGED_LABEL, NAMESPACE, OWNER, OWNER_LABEL, POOL_LABEL, PRIORITY_LEVEL,
        cluster_wide,
    },
    spec::PoolSpec,
};

/// Where KWOK serves what kubelets serve, and says that it is well.
const PORT: u16 = 10247;
const CONFIG_FILE: &str = "kwok-config.yaml";
/// The pool as it was asked for, in its ConfigMap.
const SPEC_FILE: &str = "nodepool.json";
const STAGES: &str = include_str!("stages.yaml");
/// KWOK's defaults of four are for a node or a few.
const CONFIG: &str = "\
apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokConfiguration
options:
  enableProfilingHandler: false
  enablePodsOnNodeSyncListPager: false
  enablePodsOnNodeSyncStreamWatch: true
  podsOnNodeSyncParallelism: 4
  nodeLeaseParallelism: 8
  nodePlayStageParallelism: 16
  podPlayStageParallelism: 32
---
";

fn metadata(spec: &PoolSpec) -> Value {
    json!({
        "name": spec.name,
        "namespace": NAMESPACE,
        "labels": labels(spec),
    })
}

fn metadata_of_cluster(spec: &PoolSpec) -> Value {
    json!({"name": cluster_wide(&spec.name), "labels": labels(spec)})
}

fn labels(spec: &PoolSpec) -> Value {
    json!({POOL_LABEL: spec.name, MANAGED_LABEL: "true", OWNER_LABEL: OWNER})
}

/// The pool's record, and the configuration of its controllers.
pub(super) fn record(spec: &PoolSpec) -> Result<Value, PoolError> {
    let text = serde_json::to_string(spec).map_err(|error| {
        PoolError::Invalid(format!(
            "nodepool {} cannot be written down: {error}",
            spec.name
        ))
    })?;
    Ok(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(spec),
        "data": {CONFIG_FILE: format!("{CONFIG}{STAGES}"), SPEC_FILE: text},
    }))
}

/// The pool that a ConfigMap records, if it does.
pub(super) fn recorded(config_map: &Value) -> Option<PoolSpec> {
    serde_json::from_str(config_map["data"][SPEC_FILE].as_str()?).ok()
}

/// Everything else, in the order in which it is needed.
pub(super) fn objects(spec: &PoolSpec) -> Vec<Value> {
    vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(spec)}),
        cluster_role(spec),
        cluster_role_binding(spec),
        flow_schema(spec),
        stateful_set(spec),
    ]
}

fn cluster_role(spec: &PoolSpec) -> Value {
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    let all = &["create", "update", "patch", "watch", "list", "get"];
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": metadata_of_cluster(spec),
        "rules": [
            rule("", &["events"], all),
            rule("", &["nodes"], &["watch", "list", "get"]),
            rule("", &["nodes/status"], &["update", "patch"]),
            rule("", &["pods"], &["watch", "list", "get", "delete", "update", "patch"]),
            rule("", &["pods/status"], &["update", "patch"]),
            rule("coordination.k8s.io", &["leases"], all),
        ],
    })
}

fn cluster_role_binding(spec: &PoolSpec) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": metadata_of_cluster(spec),
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": cluster_wide(&spec.name),
        },
        "subjects": [{"kind": "ServiceAccount", "name": spec.name, "namespace": NAMESPACE}],
    })
}

/// Keeps the controllers apart from the load: nodes must not be lost because a benchmark fills the server.
fn flow_schema(spec: &PoolSpec) -> Value {
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": metadata_of_cluster(spec),
        "spec": {
            "matchingPrecedence": 500,
            "priorityLevelConfiguration": {"name": PRIORITY_LEVEL},
            "rules": [{
                "subjects": [{
                    "kind": "ServiceAccount",
                    "serviceAccount": {"name": spec.name, "namespace": NAMESPACE},
                }],
                "resourceRules": [{
                    "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"], "namespaces": ["*"], "clusterScope": true,
                }],
                "nonResourceRules": [{"nonResourceURLs": ["*"], "verbs": ["*"]}],
            }],
        },
    })
}

fn stateful_set(spec: &PoolSpec) -> Value {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let probe = |period: u32, failures: u32| {
        json!({
            "httpGet": {"path": "/healthz", "port": PORT, "scheme": "HTTP"},
            "initialDelaySeconds": 2, "timeoutSeconds": 10, "periodSeconds": period, "failureThreshold": failures,
        })
    };
    let container = json!({
        "name": "kwok-controller",
        "image": spec.kwok_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["kwok"],
        "args": [
            format!("--config=/data/{CONFIG_FILE}"),
            "--manage-all-nodes=false",
            format!("--manage-nodes-with-label-selector={POOL_LABEL}={},{CONTROLLER_LABEL}=$(POD_NAME)", spec.name),
            "--disregard-status-with-annotation-selector=kwok.x-k8s.io/status=custom",
            "--disregard-status-with-label-selector=",
            "--node-ip=$(POD_IP)",
            format!("--node-port={PORT}"),
            // In brackets an address of IPv6 is told from the port, and one of IPv4 may stand there too.
            format!("--server-address=[$(POD_IP)]:{PORT}"),
            // As many pods as there are; kperf's /24 is for one node's.
            "--cidr=10.0.0.1/8",
            "--node-lease-duration-seconds=40",
        ],
        "env": [field("POD_NAME", "metadata.name"), field("POD_IP", "status.podIP")],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": probe(5, 5),
        "livenessProbe": probe(60, 10),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "4"}},
        "volumeMounts": [{"name": "config", "mountPath": "/data", "readOnly": true}],
    });
    let mut pod = json!({
        "serviceAccountName": spec.name,
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": spec.name}}],
    });
    if !spec.affinity.is_empty() {
        let expressions: Vec<Value> = spec
            .affinity
            .iter()
            .map(|(key, values)| json!({"key": key, "operator": "In", "values": values}))
            .collect();
        pod["affinity"] = json!({"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": expressions}],
            },
        }});
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(spec),
        "spec": {
            "replicas": spec.controllers(),
            "podManagementPolicy": "Parallel",
            "serviceName": spec.name,
            "selector": {"matchLabels": {POOL_LABEL: spec.name}},
            "template": {"metadata": {"labels": labels(spec)}, "spec": pod},
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_record_brings_the_pool_back() {
        let mut spec = PoolSpec::new("example");
        spec.node_labels.insert("team".into(), "blue".into());
        spec.affinity
            .insert("zone".into(), vec!["a".into(), "b".into()]);
        let record = record(&spec).unwrap();
        assert_eq!(recorded(&record), Some(spec));
        assert_eq!(recorded(&json!({"data": {SPEC_FILE: "{"}})), None);
        assert_eq!(recorded(&json!({})), None);
    }

    /// Which delays and effects they have is KWOK's text; here, that none is lost and each is a Stage.
    #[test]
    fn the_stages_are_those_of_kperf() {
        let names: Vec<&str> = STAGES
            .split("\n---\n")
            .map(|stage| {
                assert!(stage.contains("kind: Stage\n"), "{stage}");
                let name = stage.split("  name: ").nth(1).unwrap();
                name.lines().next().unwrap()
            })
            .collect();
        assert_eq!(
            names,
            [
                "node-initialize",
                "node-heartbeat-with-lease",
                "pod-create",
                "pod-init-container-running",
                "pod-init-container-completed",
                "pod-ready",
                "pod-complete",
                "pod-delete",
            ]
        );
    }

    #[test]
    fn controllers_share_the_nodes_and_nothing_of_two_pools_is_the_same_object() {
        let mut a = PoolSpec::new("a");
        a.nodes = 2500;
        let key = |object: &Value| {
            let metadata = &object["metadata"];
            (
                object["kind"].as_str().unwrap().to_owned(),
                metadata["namespace"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                metadata["name"].as_str().unwrap().to_owned(),
            )
        };
        let of = |spec: &PoolSpec| {
            let mut all = objects(spec);
            all.push(record(spec).unwrap());
            all.iter().map(key).collect::<BTreeSet<_>>()
        };
        assert_eq!(of(&a).len(), 6);
        assert!(of(&a).is_disjoint(&of(&PoolSpec::new("b"))));
        for object in objects(&a) {
            let labels = &object["metadata"]["labels"];
            assert_eq!(labels[POOL_LABEL], "a", "{object}");
            assert_eq!(labels[OWNER_LABEL], OWNER, "{object}");
        }
        let set = stateful_set(&a);
        assert_eq!(set["spec"]["replicas"], 3);
        let args = set["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
        assert!(
            args.contains("--manage-nodes-with-label-selector=alpha.kperf.io/nodepool=a,kperf-host.io/nodepool-controller=$(POD_NAME)"),
            "{args}"
        );
        assert!(set["spec"]["template"]["spec"]["affinity"].is_null());
        a.affinity.insert("k".into(), vec!["x".into(), "y".into()]);
        let affinity = &stateful_set(&a)["spec"]["template"]["spec"]["affinity"];
        assert_eq!(
            affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"],
            json!([{"matchExpressions": [{"key": "k", "operator": "In", "values": ["x", "y"]}]}])
        );
    }
}
