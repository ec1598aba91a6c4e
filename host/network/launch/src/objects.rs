//! The objects of a run, as manifests. Nothing here talks to anybody.
//!
//! | object | why |
//! | --- | --- |
//! | Namespace | everything is in it, and goes with it; `restricted` unless sidecars or the nodes' network forbid that |
//! | ServiceAccounts of orchestrator and workers | workers get no token at all |
//! | Role and RoleBinding of the orchestrator | `patch` of the ConfigMaps for results, by name; nothing else |
//! | Secrets of orchestrator and workers | certificates; each side has its own key only |
//! | ConfigMap | the benchmark's configuration |
//! | ConfigMaps for results, empty | made here, so that nobody in the namespace needs to create anything |
//! | Service of the orchestrator, headless | the name that workers call |
//! | Services of workers | only when the tool's ports are known beforehand |
//! | Pod of the orchestrator, one Pod per node | plain ones: a lost worker is the orchestrator's to cope with |

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::{
    nodes::ChosenNode,
    results::{self, PREFIX},
    spec::{LaunchSpec, TaskPath},
};

/// Name of the orchestrator's pod, account, secret and service.
pub(crate) const ORCHESTRATOR: &str = "kperf-orchestrator";
/// Name of the workers' account and secret, and the beginning of their pods' names.
pub(crate) const WORKER: &str = "kperf-worker";
/// Name of the configuration.
const CONFIG: &str = "kperf-config";
const CONFIG_FILE: &str = "config.yaml";

const RBAC: &str = "rbac.authorization.k8s.io";
const ROLE_LABEL: &str = "kperf-host.io/role";
const WORKER_LABEL: &str = "kperf-host.io/worker";
const TLS_FOLDER: &str = "/etc/kperf-host/tls";
const CONFIG_FOLDER: &str = "/etc/kperf-host/config";
const STATE_FOLDER: &str = "/var/lib/kperf-host";
/// The `nonroot` user of distroless images; any will do but root.
const USER: u32 = 65532;
/// Longer than the orchestrator needs to write down what it has.
const GRACE_SECONDS: u32 = 30;

/// Everything of a run, in the order in which it is created.
#[must_use]
pub fn objects(spec: &LaunchSpec) -> Vec<Value> {
    let mut objects = vec![namespace(spec)];
    for name in [ORCHESTRATOR, WORKER] {
        objects.push(account(spec, name));
    }
    objects.extend([role(spec), role_binding(spec)]);
    for (name, who) in [(ORCHESTRATOR, "orchestrator"), (WORKER, "worker")] {
        objects.push(secret(spec, name, who));
    }
    objects.push(config(spec));
    for name in results::names(PREFIX) {
        objects.push(object(spec, "ConfigMap", &name));
    }
    objects.push(orchestrator_service(spec));
    if !spec.ports.is_empty() {
        objects.extend((0..spec.nodes.len()).map(|index| worker_service(spec, index)));
    }
    objects.push(orchestrator(spec));
    objects.extend(
        spec.nodes
            .iter()
            .enumerate()
            .map(|(index, node)| worker(spec, index, node)),
    );
    objects
}

fn object(spec: &LaunchSpec, kind: &str, name: &str) -> Value {
    let mut labels = spec_labels(spec);
    labels.insert("app.kubernetes.io/name".to_owned(), json!("kperf-host"));
    json!({
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": spec.namespace, "labels": labels},
    })
}

fn spec_labels(spec: &LaunchSpec) -> Map<String, Value> {
    let run = json!(spec.run.as_str());
    Map::from_iter([(kperf_cluster::RUN_LABEL.to_owned(), run)])
}

fn namespace(spec: &LaunchSpec) -> Value {
    let mut object = object(spec, "Namespace", &spec.namespace);
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("namespace");
    }
    // Istio's containers change the network of their pod, and the network of a node is not a pod's own.
    let level = if spec.inject || spec.host_network {
        "privileged"
    } else {
        "restricted"
    };
    let labels = &mut object["metadata"]["labels"];
    labels["pod-security.kubernetes.io/enforce"] = json!(level);
    if spec.inject {
        labels["istio-injection"] = json!("enabled");
    }
    object
}

fn account(spec: &LaunchSpec, name: &str) -> Value {
    let mut object = object(spec, "ServiceAccount", name);
    object["automountServiceAccountToken"] = json!(false);
    object
}

/// Names cannot be given for `create` and `list`, so the orchestrator has neither.
fn role(spec: &LaunchSpec) -> Value {
    let mut object = object(spec, "Role", ORCHESTRATOR);
    object["apiVersion"] = json!(format!("{RBAC}/v1"));
    object["rules"] = json!([{
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": results::names(PREFIX),
        "verbs": ["patch"],
    }]);
    object
}

fn role_binding(spec: &LaunchSpec) -> Value {
    let mut object = object(spec, "RoleBinding", ORCHESTRATOR);
    object["apiVersion"] = json!(format!("{RBAC}/v1"));
    object["roleRef"] = json!({"apiGroup": RBAC, "kind": "Role", "name": ORCHESTRATOR});
    object["subjects"] = json!([
        {"kind": "ServiceAccount", "name": ORCHESTRATOR, "namespace": spec.namespace},
    ]);
    object
}

fn secret(spec: &LaunchSpec, name: &str, who: &str) -> Value {
    let data: BTreeMap<_, _> = spec
        .credentials
        .of(who)
        .map(|(file, bytes)| (file, STANDARD.encode(bytes)))
        .collect();
    let mut object = object(spec, "Secret", name);
    object["type"] = json!("Opaque");
    object["immutable"] = json!(true);
    object["data"] = json!(data);
    object
}

fn config(spec: &LaunchSpec) -> Value {
    let mut object = object(spec, "ConfigMap", CONFIG);
    object["immutable"] = json!(true);
    object["data"] = json!({CONFIG_FILE: spec.config});
    object
}

fn orchestrator_service(spec: &LaunchSpec) -> Value {
    let mut object = object(spec, "Service", ORCHESTRATOR);
    object["spec"] = json!({
        "clusterIP": "None",
        "selector": {ROLE_LABEL: "orchestrator"},
        // TLS is between our own ends: `tcp` keeps sidecars from reading it as gRPC.
        "ports": [{"name": "tcp-orchestrator", "port": spec.orchestrator_port}],
    });
    object
}

fn worker_name(index: usize) -> String {
    format!("{WORKER}-{index}")
}

fn worker_service(spec: &LaunchSpec, index: usize) -> Value {
    let ports: Vec<Value> = spec
        .ports
        .iter()
        .map(|port| json!({"name": port.name, "port": port.port, "targetPort": port.port}))
        .collect();
    let mut object = object(spec, "Service", &worker_name(index));
    object["spec"] = json!({"selector": {WORKER_LABEL: worker_name(index)}, "ports": ports});
    object
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs())
}

fn orchestrator(spec: &LaunchSpec) -> Value {
    let args = json!([
        "orchestrator",
        "--benchmark",
        spec.benchmark,
        "--config",
        format!("{CONFIG_FOLDER}/{CONFIG_FILE}"),
        "--listen",
        format!("0.0.0.0:{}", spec.orchestrator_port),
        "--tls",
        TLS_FOLDER,
        "--state",
        STATE_FOLDER,
        "--workers",
        spec.nodes.len().to_string(),
        "--deadline",
        seconds(spec.deadline),
        "--timeout",
        seconds(spec.timeout),
        "--results-to",
        format!("kube:{}/{PREFIX}", spec.namespace),
    ]);
    let mut pod = pod(spec, ORCHESTRATOR, &spec.orchestrator_image, args);
    pod["metadata"]["labels"][ROLE_LABEL] = json!("orchestrator");
    let inner = &mut pod["spec"];
    inner["serviceAccountName"] = json!(ORCHESTRATOR);
    inner["automountServiceAccountToken"] = json!(true);
    let names: Vec<&str> = spec.nodes.iter().map(|node| node.name.as_str()).collect();
    inner["affinity"] = on_nodes(&names);
    let files = [
        (
            TLS_FOLDER,
            "tls",
            json!({"secret": {"secretName": ORCHESTRATOR, "defaultMode": 0o440}}),
            true,
        ),
        (
            CONFIG_FOLDER,
            "config",
            json!({"configMap": {"name": CONFIG}}),
            true,
        ),
        // Survives a new start of the container, so that the run goes on where it was.
        (STATE_FOLDER, "state", json!({"emptyDir": {}}), false),
    ];
    mount(inner, &files);
    inner["containers"][0]["ports"] =
        json!([{"name": "tcp-orch", "containerPort": spec.orchestrator_port}]);
    pod
}

fn worker(spec: &LaunchSpec, index: usize, node: &ChosenNode) -> Value {
    let mut args = vec![
        "worker".to_owned(),
        "--orchestrator".to_owned(),
        format!(
            "{ORCHESTRATOR}.{}.svc:{}",
            spec.namespace, spec.orchestrator_port
        ),
    ];
    let mut flag = |name: &str, value: &str| args.extend([name.to_owned(), value.to_owned()]);
    flag("--name", "$(POD_NAME)");
    flag("--node", "$(NODE_NAME)");
    // The downward API does not have labels of nodes.
    flag("--zone", &node.zone);
    flag("--ip", "$(POD_IP)");
    if spec.path == TaskPath::Service {
        flag(
            "--advertise",
            &format!("{}.{}.svc", worker_name(index), spec.namespace),
        );
    }
    flag("--tls", TLS_FOLDER);
    flag("--deadline", &seconds(spec.deadline));
    let mut pod = pod(spec, &worker_name(index), &spec.worker_image, json!(args));
    pod["metadata"]["labels"][ROLE_LABEL] = json!("worker");
    pod["metadata"]["labels"][WORKER_LABEL] = json!(worker_name(index));
    let inner = &mut pod["spec"];
    inner["serviceAccountName"] = json!(WORKER);
    inner["automountServiceAccountToken"] = json!(false);
    inner["affinity"] = on_nodes(&[&node.name]);
    if spec.host_network {
        inner["hostNetwork"] = json!(true);
        inner["dnsPolicy"] = json!("ClusterFirstWithHostNet");
    }
    let files = [
        (
            TLS_FOLDER,
            "tls",
            json!({"secret": {"secretName": WORKER, "defaultMode": 0o440}}),
            true,
        ),
        // Some tools need a place for what they have in flight.
        ("/tmp", "tmp", json!({"emptyDir": {}}), false),
    ];
    mount(inner, &files);
    let container = &mut inner["containers"][0];
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    container["env"] = json!([
        field("POD_NAME", "metadata.name"),
        field("NODE_NAME", "spec.nodeName"),
        field("POD_IP", "status.podIP"),
        {"name": "TMPDIR", "value": "/tmp"},
    ]);
    let ports: Vec<Value> = spec
        .ports
        .iter()
        .map(|port| json!({"name": port.name, "containerPort": port.port}))
        .collect();
    if !ports.is_empty() {
        container["ports"] = json!(ports);
    }
    for (name, amount) in [("cpu", &spec.worker_cpu), ("memory", &spec.worker_memory)] {
        if !amount.is_empty() {
            container["resources"]["requests"][name] = json!(amount);
        }
    }
    pod
}

/// What both kinds of pods have in common.
fn pod(spec: &LaunchSpec, name: &str, image: &str, args: Value) -> Value {
    let mut container = json!({
        "name": "kperf-host",
        "image": image,
        "command": ["kperf-host", "net"],
        "args": args,
        // What it said last, if it fails, is then in the pod's status.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
    });
    if !spec.image_pull_policy.is_empty() {
        container["imagePullPolicy"] = json!(spec.image_pull_policy);
    }
    let mut pod = object(spec, "Pod", name);
    if spec.inject {
        pod["metadata"]["labels"]["sidecar.istio.io/inject"] = json!("true");
        // Neither side can do anything before its sidecar can.
        pod["metadata"]["annotations"] = json!({
            "proxy.istio.io/config": r#"{"holdApplicationUntilProxyStarts": true}"#,
        });
    }
    pod["spec"] = json!({
        "restartPolicy": "OnFailure",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    });
    if !spec.tolerations.is_empty() {
        pod["spec"]["tolerations"] = json!(spec.tolerations);
    }
    pod
}

/// By the node's name, as DaemonSets do it: the scheduler still looks at what is free there.
fn on_nodes(names: &[&str]) -> Value {
    // A field takes one value; terms are alternatives.
    let terms: Vec<Value> = names
        .iter()
        .map(|name| json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}))
        .collect();
    json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}})
}

fn mount(pod: &mut Value, files: &[(&str, &str, Value, bool)]) {
    let mut volumes = Vec::new();
    let mut mounts = Vec::new();
    for (path, name, source, read_only) in files {
        let mut volume = source.clone();
        volume["name"] = json!(name);
        volumes.push(volume);
        mounts.push(json!({"name": name, "mountPath": path, "readOnly": read_only}));
    }
    pod["volumes"] = json!(volumes);
    pod["containers"][0]["volumeMounts"] = json!(mounts);
}
