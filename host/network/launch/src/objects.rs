//! The objects of a run, as manifests. Nothing here talks to anybody.
//!
//! | object | why |
//! | --- | --- |
//! | Namespace | everything is in it, and goes with it; `restricted` unless sidecars or the nodes' network forbid that |
//! | ServiceAccounts of orchestrator and workers | workers get no token at all |
//! | Role and RoleBinding of the orchestrator | `patch` of the ConfigMaps for results, by name; nothing else |
//! | Secrets of orchestrator and workers | certificates; each side has its own key only |
//! | ConfigMap | what is to be measured, and with whose plugin |
//! | ConfigMaps for results, empty | made here, so that nobody in the namespace needs to create anything |
//! | Service of the orchestrator, headless | the name that workers call |
//! | Services of workers | only when the tool's ports are known beforehand |
//! | Pod of the orchestrator, Pods of workers on each node | plain ones: a lost worker is the orchestrator's to cope with |

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
const WORKER: &str = "kperf-worker";
/// The beginning of the names of pods in the network of their node.
const HOST_WORKER: &str = "kperf-host-worker";
/// Name of the configuration.
const CONFIG: &str = "kperf-config";
const CONFIG_FILE: &str = "config.yaml";
const PLUGIN_FILE: &str = "tool.wasm";

const RBAC: &str = "rbac.authorization.k8s.io";
const ROLE_LABEL: &str = "kperf-host.io/role";
const WORKER_LABEL: &str = "kperf-host.io/worker";
const TLS_FOLDER: &str = "/etc/kperf-host/tls";
const CONFIG_FOLDER: &str = "/etc/kperf-host/config";
const STATE_FOLDER: &str = "/var/lib/kperf-host";
/// The `nonroot` user of distroless images; any will do but root.
const USER: u32 = 65532;
/// Longer than the orchestrator needs to hand over what it has.
pub(crate) const GRACE_SECONDS: u64 = 30;

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
    let planned = planned_workers(spec);
    if !spec.ports.is_empty() {
        let pods = planned.iter().filter(|worker| !worker.is_in_host_network());
        objects.extend(pods.map(|planned| worker_service(spec, &planned.name)));
    }
    objects.push(orchestrator(spec));
    objects.extend(planned.iter().map(|planned| worker(spec, planned)));
    objects
}

/// A worker that a run is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedWorker {
    /// Name of its pod.
    pub name: String,
    /// Where it is.
    pub node: ChosenNode,
    /// The ways to it; the first is its own address.
    pub paths: Vec<TaskPath>,
}

impl PlannedWorker {
    fn is_in_host_network(&self) -> bool {
        self.paths.contains(&TaskPath::Host)
    }
}

/// The workers of a run. In the pod network and in that of the nodes they are others, and share no path.
#[must_use]
pub fn planned_workers(spec: &LaunchSpec) -> Vec<PlannedWorker> {
    let mut pod_paths = vec![TaskPath::Pod];
    if spec.paths.contains(&TaskPath::Service) {
        pod_paths.push(TaskPath::Service);
    }
    let pods = spec.has_pod_network().then_some((WORKER, pod_paths));
    let hosts = spec.has_host_network();
    let hosts = hosts.then_some((HOST_WORKER, vec![TaskPath::Host]));
    let mut planned = Vec::new();
    for (prefix, paths) in pods.into_iter().chain(hosts) {
        // The first of each node, then the second of each.
        let nodes = spec.nodes.iter().cycle().take(spec.workers_of_network());
        planned.extend(nodes.enumerate().map(|(index, node)| PlannedWorker {
            name: format!("{prefix}-{index}"),
            node: node.clone(),
            paths: paths.clone(),
        }));
    }
    planned
}

/// The beginning of the workers' names, and how many there are, for each network.
pub(crate) fn workers(spec: &LaunchSpec) -> Vec<(&'static str, usize)> {
    let pods = spec.has_pod_network().then_some(WORKER);
    let hosts = spec.has_host_network().then_some(HOST_WORKER);
    let prefixes = pods.into_iter().chain(hosts);
    prefixes
        .map(|prefix| (prefix, spec.workers_of_network()))
        .collect()
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
    let level = if spec.inject || spec.has_host_network() {
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
    if let Some(plugin) = &spec.plugin {
        object["binaryData"] = json!({PLUGIN_FILE: STANDARD.encode(plugin)});
    }
    object
}

fn orchestrator_service(spec: &LaunchSpec) -> Value {
    let mut object = object(spec, "Service", ORCHESTRATOR);
    object["spec"] = json!({
        "clusterIP": "None",
        // Workers ask again and again; whether it is ready is between them.
        "publishNotReadyAddresses": true,
        "selector": {ROLE_LABEL: "orchestrator"},
        // TLS is between our own ends: `tcp` keeps sidecars from reading it as gRPC.
        "ports": [{"name": "tcp-orchestrator", "port": spec.orchestrator_port}],
    });
    object
}

fn worker_service(spec: &LaunchSpec, name: &str) -> Value {
    let ports: Vec<Value> = spec
        .ports
        .iter()
        .map(|port| {
            json!({
                "name": port.name,
                "port": port.port,
                "targetPort": port.port,
                "protocol": port.protocol,
            })
        })
        .collect();
    let mut object = object(spec, "Service", name);
    object["spec"] = json!({"selector": {WORKER_LABEL: name}, "ports": ports});
    object
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs())
}

fn orchestrator(spec: &LaunchSpec) -> Value {
    let benchmark = match spec.plugin {
        Some(_) => format!("{CONFIG_FOLDER}/{PLUGIN_FILE}"),
        None => spec.benchmark.clone(),
    };
    let args = json!([
        "orchestrator",
        "--benchmark",
        benchmark,
        "--config",
        format!("{CONFIG_FOLDER}/{CONFIG_FILE}"),
        "--listen",
        // Of both families: clusters may have only IPv6.
        format!("[::]:{}", spec.orchestrator_port),
        "--tls",
        TLS_FOLDER,
        "--state",
        STATE_FOLDER,
        "--workers",
        workers(spec)
            .iter()
            .map(|(_, count)| count)
            .sum::<usize>()
            .to_string(),
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
    let container = &mut inner["containers"][0];
    container["ports"] = json!([{"name": "tcp-orch", "containerPort": spec.orchestrator_port}]);
    // The rest of its file system cannot be written.
    container["env"] =
        json!([{"name": "KPERF_CACHE_DIR", "value": format!("{STATE_FOLDER}/cache")}]);
    pod
}

fn worker(spec: &LaunchSpec, planned: &PlannedWorker) -> Value {
    let PlannedWorker { name, node, paths } = planned;
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
    // The first is where it looks whether its own server is there, so it is always its own.
    for path in paths {
        let host = match path {
            TaskPath::Pod | TaskPath::Host => "$(POD_IP)".to_owned(),
            TaskPath::Service => format!("{name}.{}.svc", spec.namespace),
        };
        flag("--address", &format!("{path}={host}"));
    }
    flag("--tls", TLS_FOLDER);
    // Its image may be there long before the orchestrator's: it looks as long as there may be a run.
    let longest = seconds(spec.deadline + spec.timeout * 3);
    flag("--timeout", &longest);
    flag("--deadline", &longest);
    for program in &spec.programs {
        flag("--allow", program);
    }
    let mut pod = pod(spec, name, &spec.worker_image, json!(args));
    pod["metadata"]["labels"][ROLE_LABEL] = json!("worker");
    pod["metadata"]["labels"][WORKER_LABEL] = json!(name);
    let inner = &mut pod["spec"];
    inner["serviceAccountName"] = json!(WORKER);
    inner["automountServiceAccountToken"] = json!(false);
    inner["affinity"] = on_nodes(&[&node.name]);
    if planned.is_in_host_network() {
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
        .map(|port| json!({"name": port.name, "containerPort": port.port, "protocol": port.protocol}))
        .collect();
    // In the network of a node they would be taken from all other pods, of this run and of others.
    if !ports.is_empty() && !planned.is_in_host_network() {
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
