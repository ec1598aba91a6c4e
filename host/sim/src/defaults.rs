//! Defaults the real server fills in on creation, for the kinds where clients rely on them.

use serde_json::{Map, Value, json};

use crate::{registry::Resource, store::now_rfc3339};

/// Fills in the defaults of the kind. Objects of unknown kinds stay as they are.
pub(crate) fn apply(resource: &Resource, value: &mut Value) {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => pod(value),
        ("", "namespaces") => {
            let name = value["metadata"]["name"].clone();
            object(value, "metadata")
                .entry("labels")
                .or_insert_with(|| json!({}));
            if let Value::Object(labels) = &mut value["metadata"]["labels"] {
                labels.insert("kubernetes.io/metadata.name".to_owned(), name);
            }
            object(value, "spec")
                .entry("finalizers")
                .or_insert_with(|| json!(["kubernetes"]));
            object(value, "status")
                .entry("phase")
                .or_insert_with(|| json!("Active"));
        }
        ("", "services") => service(value),
        ("", "secrets") => {
            secret(value);
        }
        ("", "persistentvolumeclaims" | "persistentvolumes") => {
            object(value, "status")
                .entry("phase")
                .or_insert_with(|| json!("Pending"));
        }
        ("apps", "deployments") => {
            fill(
                object(value, "spec"),
                &json!({
                    "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
                    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
                }),
            );
            template(value);
        }
        ("apps", "replicasets" | "statefulsets") | ("", "replicationcontrollers") => {
            fill(object(value, "spec"), &json!({"replicas": 1}));
            template(value);
        }
        ("apps", "daemonsets") => {
            fill(
                object(value, "spec"),
                &json!({
                    "revisionHistoryLimit": 10,
                    "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
                }),
            );
            template(value);
        }
        ("batch", "jobs") => {
            fill(
                object(value, "spec"),
                &json!({
                    "backoffLimit": 6, "completionMode": "NonIndexed", "completions": 1, "parallelism": 1,
                    "podReplacementPolicy": "TerminatingOrFailed", "suspend": false,
                }),
            );
            template(value);
            job_selector(value);
        }
        ("apiextensions.k8s.io", _) => definition(value),
        _ => {}
    }
}

/// Defaults of a pod: those of its spec, and phase Pending.
pub(crate) fn pod(value: &mut Value) {
    pod_spec(object(value, "spec"));
    let guaranteed = qos_class(&value["spec"]);
    fill(
        object(value, "status"),
        &json!({"phase": "Pending", "qosClass": guaranteed}),
    );
}

fn qos_class(spec: &Value) -> &'static str {
    let mut any = false;
    let mut all = true;
    for container in spec["containers"].as_array().into_iter().flatten() {
        let resources = &container["resources"];
        let limits = &resources["limits"];
        any |= resources["requests"].is_object() || limits.is_object();
        all &= ["cpu", "memory"].iter().all(|key| {
            !limits[key].is_null()
                && (resources["requests"][key].is_null()
                    || resources["requests"][key] == limits[key])
        });
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// A job selects its pods by its uid, unless it says otherwise.
fn job_selector(job: &mut Value) {
    let (uid, name) = (
        job["metadata"]["uid"].clone(),
        job["metadata"]["name"].clone(),
    );
    if job["spec"]["manualSelector"] == true || !job["spec"]["selector"].is_null() {
        return;
    }
    let spec = object(job, "spec");
    spec.insert(
        "selector".to_owned(),
        json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}),
    );
    let template = spec.entry("template").or_insert_with(|| json!({}));
    let labels = member(member(template, "metadata"), "labels");
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        static_map(labels).insert(key.to_owned(), value.clone());
    }
}

fn template(value: &mut Value) {
    if value["spec"]["template"]["spec"].is_object() {
        pod_spec(object(&mut value["spec"]["template"], "spec"));
    }
}

fn pod_spec(spec: &mut Map<String, Value>) {
    fill(
        spec,
        &json!({
            "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "preemptionPolicy": "PreemptLowerPriority",
            "priority": 0, "restartPolicy": "Always", "schedulerName": "default-scheduler", "securityContext": {},
            "serviceAccount": "default", "serviceAccountName": "default", "terminationGracePeriodSeconds": 30,
        }),
    );
    for list in ["containers", "initContainers"] {
        for container in spec
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let Value::Object(container) = container else {
                continue;
            };
            let image = container
                .get("image")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let latest = !image
                .rsplit('/')
                .next()
                .is_some_and(|tag| tag.contains(':') && !tag.ends_with(":latest"));
            fill(
                container,
                &json!({
                    "imagePullPolicy": if latest { "Always" } else { "IfNotPresent" },
                    "resources": {}, "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                }),
            );
            for port in container
                .get_mut("ports")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                if let Value::Object(port) = port {
                    fill(port, &json!({"protocol": "TCP"}));
                }
            }
        }
    }
}

fn service(value: &mut Value) {
    let spec = object(value, "spec");
    fill(
        spec,
        &json!({"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"}),
    );
    for port in spec
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Value::Object(port) = port {
            let target = port.get("port").cloned().unwrap_or(Value::Null);
            fill(port, &json!({"protocol": "TCP", "targetPort": target}));
        }
    }
    if spec.get("type").is_some_and(|t| t != "ExternalName") && !spec.contains_key("clusterIP") {
        let n = crate::faults::mix(
            crate::store::new_uid()
                .bytes()
                .fold(7, |a, b| a * 31 % 65_521 + u64::from(b)),
        );
        let ip = json!(format!(
            "10.{}.{}.{}",
            96 + n % 16,
            (n >> 8) % 256,
            1 + (n >> 16) % 254
        ));
        fill(
            spec,
            &json!({"clusterIPs": [ip], "clusterIP": ip, "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}),
        );
    }
    fill(object(value, "status"), &json!({"loadBalancer": {}}));
}

/// `stringData` is written into `data` and vanishes.
pub(crate) fn secret(value: &mut Value) {
    use base64::Engine as _;
    let Value::Object(map) = value else { return };
    map.entry("type").or_insert_with(|| json!("Opaque"));
    if let Some(Value::Object(plain)) = map.remove("stringData") {
        let data = map.entry("data").or_insert_with(|| json!({}));
        if !data.is_object() {
            *data = json!({});
        }
        for (key, text) in plain {
            let encoded =
                base64::engine::general_purpose::STANDARD.encode(text.as_str().unwrap_or_default());
            data[&key] = json!(encoded);
        }
    }
}

pub(crate) fn definition(value: &mut Value) {
    let now = now_rfc3339();
    let spec = object(value, "spec");
    fill(spec, &json!({"conversion": {"strategy": "None"}}));
    if let Some(Value::Object(names)) = spec.get_mut("names") {
        let kind = names
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        fill(
            names,
            &json!({"listKind": format!("{kind}List"), "singular": kind.to_lowercase()}),
        );
    }
    let names = spec.get("names").cloned().unwrap_or_default();
    let stored: Vec<Value> = spec
        .get("versions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|v| v["storage"] == true)
        .map(|v| v["name"].clone())
        .collect();
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now});
    value["status"] = json!({
        "acceptedNames": names,
        "storedVersions": stored,
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
    });
}

/// The object under `key`, made when it is missing or something else.
pub(crate) fn object<'a>(value: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    static_map(member(value, key))
}

fn member<'a>(value: &'a mut Value, key: &str) -> &'a mut Value {
    static_map(value).entry(key).or_insert_with(|| json!({}))
}

fn static_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}

fn fill(map: &mut Map<String, Value>, defaults: &Value) {
    for (key, default) in defaults.as_object().into_iter().flatten() {
        if !map.contains_key(key) {
            map.insert(key.clone(), default.clone());
        }
    }
}
