//! `meta.k8s.io/v1` Table: the columns `kubectl get` prints.

use serde_json::{Map, Value, json};

use crate::{registry::Resource, store::Object, verbs::list_metadata};

/// Name, type, priority (1 = only with `-o wide`).
type Column = (&'static str, &'static str, u8);

const NAME: Column = ("Name", "string", 0);
const AGE: Column = ("Age", "string", 0);

/// A table of objects; `columns` off leaves the definitions out (later events of a watch).
pub(crate) fn render<'a>(
    resource: &Resource,
    objects: impl Iterator<Item = &'a Object>,
    columns: bool,
    include_object: &str,
) -> Value {
    let definitions: Vec<Value> = if columns {
        columns_of(resource)
            .iter()
            .map(|(name, kind, priority)| {
                let format = if *name == "Name" { "name" } else { "" };
                json!({"name": name, "type": kind, "format": format, "description": "", "priority": priority})
            })
            .collect()
    } else {
        Vec::new()
    };
    let rows: Vec<Value> = objects
        .map(|object| {
            let mut row = Map::new();
            row.insert("cells".to_owned(), Value::Array(cells(resource, object)));
            match include_object {
                "None" => {
                    row.insert("object".to_owned(), Value::Null);
                }
                "Object" => {
                    row.insert("object".to_owned(), object.value.clone());
                }
                _ => {
                    row.insert(
                        "object".to_owned(),
                        json!({
                            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                            "metadata": object.value["metadata"],
                        }),
                    );
                }
            }
            Value::Object(row)
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": definitions, "rows": rows,
    })
}

/// Fills in the list metadata.
pub(crate) fn with_metadata(
    mut table: Value,
    revision: u64,
    next: Option<String>,
    remaining: Option<usize>,
) -> Value {
    table["metadata"] = list_metadata(revision, next, remaining);
    table
}

fn columns_of(resource: &Resource) -> Vec<Column> {
    const S: &str = "string";
    const I: &str = "integer";
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => vec![
            NAME,
            ("Ready", S, 0),
            ("Status", S, 0),
            ("Restarts", S, 0),
            AGE,
            ("IP", S, 1),
            ("Node", S, 1),
            ("Nominated Node", S, 1),
            ("Readiness Gates", S, 1),
        ],
        ("", "nodes") => vec![
            NAME,
            ("Status", S, 0),
            ("Roles", S, 0),
            AGE,
            ("Version", S, 0),
            ("Internal-IP", S, 1),
            ("External-IP", S, 1),
            ("OS-Image", S, 1),
            ("Kernel-Version", S, 1),
            ("Container-Runtime", S, 1),
        ],
        ("", "namespaces") => vec![NAME, ("Status", S, 0), AGE],
        ("", "configmaps") => vec![NAME, ("Data", S, 0), AGE],
        ("", "secrets") => vec![NAME, ("Type", S, 0), ("Data", S, 0), AGE],
        ("", "services") => vec![
            NAME,
            ("Type", S, 0),
            ("Cluster-IP", S, 0),
            ("External-IP", S, 0),
            ("Port(s)", S, 0),
            AGE,
            ("Selector", S, 1),
        ],
        ("", "events") => vec![
            ("Last Seen", S, 0),
            ("Type", S, 0),
            ("Reason", S, 0),
            ("Object", S, 0),
            ("Message", S, 0),
            ("Name", S, 1),
        ],
        ("apps", "deployments") => vec![
            NAME,
            ("Ready", S, 0),
            ("Up-to-date", S, 0),
            ("Available", S, 0),
            AGE,
            ("Containers", S, 1),
            ("Images", S, 1),
            ("Selector", S, 1),
        ],
        ("apps", "replicasets") | ("", "replicationcontrollers") => vec![
            NAME,
            ("Desired", I, 0),
            ("Current", I, 0),
            ("Ready", I, 0),
            AGE,
            ("Containers", S, 1),
            ("Images", S, 1),
            ("Selector", S, 1),
        ],
        ("apps", "statefulsets") => vec![
            NAME,
            ("Ready", S, 0),
            AGE,
            ("Containers", S, 1),
            ("Images", S, 1),
        ],
        ("apps", "daemonsets") => vec![
            NAME,
            ("Desired", I, 0),
            ("Current", I, 0),
            ("Ready", I, 0),
            ("Up-to-date", I, 0),
            ("Available", I, 0),
            ("Node Selector", S, 0),
            AGE,
            ("Containers", S, 1),
            ("Images", S, 1),
            ("Selector", S, 1),
        ],
        ("batch", "jobs") => vec![
            NAME,
            ("Status", S, 0),
            ("Completions", S, 0),
            ("Duration", S, 0),
            AGE,
            ("Containers", S, 1),
            ("Images", S, 1),
            ("Selector", S, 1),
        ],
        ("coordination.k8s.io", "leases") => vec![NAME, ("Holder", S, 0), AGE],
        ("", "serviceaccounts") => vec![NAME, ("Secrets", I, 0), AGE],
        ("apiextensions.k8s.io", _) => vec![NAME, ("Created At", "date", 0)],
        _ => vec![NAME, AGE],
    }
}

fn cells(resource: &Resource, object: &Object) -> Vec<Value> {
    let value = &object.value;
    let (spec, status) = (&value["spec"], &value["status"]);
    let name = json!(object.name());
    let age = json!(age(&value["metadata"]["creationTimestamp"]));
    let count = |value: &Value| json!(value.as_i64().unwrap_or(0));
    let size = |value: &Value| value.as_object().map_or(0, Map::len);
    let images = || {
        [
            joined(&spec["template"]["spec"]["containers"], "name"),
            joined(&spec["template"]["spec"]["containers"], "image"),
        ]
    };
    let [containers, image] = images();
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => pod(value, name, age),
        ("", "nodes") => node(value, name, age),
        ("", "namespaces") => vec![name, text(&status["phase"]), age],
        ("", "configmaps") => vec![
            name,
            json!(size(&value["data"]) + size(&value["binaryData"])),
            age,
        ],
        ("", "secrets") => vec![name, text(&value["type"]), json!(size(&value["data"])), age],
        ("", "services") => vec![
            name,
            text(&spec["type"]),
            or_none(&spec["clusterIP"]),
            json!("<none>"),
            json!(ports(&spec["ports"])),
            age,
            json!(labels(&spec["selector"])),
        ],
        ("", "events") => vec![
            json!(crate::table::age(&value["lastTimestamp"])),
            text(&value["type"]),
            text(&value["reason"]),
            json!(format!(
                "{}/{}",
                value["involvedObject"]["kind"]
                    .as_str()
                    .unwrap_or_default()
                    .to_lowercase(),
                value["involvedObject"]["name"].as_str().unwrap_or_default()
            )),
            text(&value["message"]),
            name,
        ],
        ("apps", "deployments") => vec![
            name,
            json!(format!(
                "{}/{}",
                count(&status["readyReplicas"]),
                count(&spec["replicas"])
            )),
            count(&status["updatedReplicas"]),
            count(&status["availableReplicas"]),
            age,
            containers,
            image,
            json!(labels(&spec["selector"]["matchLabels"])),
        ],
        ("apps", "replicasets") | ("", "replicationcontrollers") => vec![
            name,
            count(&spec["replicas"]),
            count(&status["replicas"]),
            count(&status["readyReplicas"]),
            age,
            containers,
            image,
            json!(labels(&spec["selector"]["matchLabels"])),
        ],
        ("apps", "statefulsets") => vec![
            name,
            json!(format!(
                "{}/{}",
                count(&status["readyReplicas"]),
                count(&spec["replicas"])
            )),
            age,
            containers,
            image,
        ],
        ("apps", "daemonsets") => vec![
            name,
            count(&status["desiredNumberScheduled"]),
            count(&status["currentNumberScheduled"]),
            count(&status["numberReady"]),
            count(&status["updatedNumberScheduled"]),
            count(&status["numberAvailable"]),
            json!(labels(&spec["template"]["spec"]["nodeSelector"])),
            age,
            containers,
            image,
            json!(labels(&spec["selector"]["matchLabels"])),
        ],
        ("batch", "jobs") => vec![
            name,
            json!(job_status(status)),
            json!(format!(
                "{}/{}",
                count(&status["succeeded"]),
                spec["completions"].as_i64().unwrap_or(1)
            )),
            json!(if status["startTime"].is_null() {
                String::new()
            } else {
                crate::table::age(&status["startTime"])
            }),
            age,
            containers,
            image,
            json!(labels(&spec["selector"]["matchLabels"])),
        ],
        ("coordination.k8s.io", "leases") => vec![name, text(&spec["holderIdentity"]), age],
        ("", "serviceaccounts") => vec![
            name,
            json!(value["secrets"].as_array().map_or(0, Vec::len)),
            age,
        ],
        ("apiextensions.k8s.io", _) => vec![name, text(&value["metadata"]["creationTimestamp"])],
        _ => vec![name, age],
    }
}

fn pod(value: &Value, name: Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&value["spec"], &value["status"]);
    let all = spec["containers"].as_array().map_or(0, Vec::len);
    let statuses = || status["containerStatuses"].as_array().into_iter().flatten();
    let ready = statuses().filter(|c| c["ready"] == true).count();
    let restarts: i64 = statuses().filter_map(|c| c["restartCount"].as_i64()).sum();
    let waiting = statuses().find_map(|c| c["state"]["waiting"]["reason"].as_str());
    let phase = if !value["metadata"]["deletionTimestamp"].is_null() {
        "Terminating"
    } else if let Some(reason) = waiting.or(status["reason"].as_str()) {
        reason
    } else if status["phase"] == "Succeeded" {
        "Completed"
    } else if status["phase"] == "Pending" && spec["nodeName"].is_string() {
        "ContainerCreating"
    } else {
        status["phase"].as_str().unwrap_or_default()
    };
    vec![
        name,
        json!(format!("{ready}/{all}")),
        json!(phase),
        json!(restarts.to_string()),
        age,
        or_none(&status["podIP"]),
        or_none(&spec["nodeName"]),
        or_none(&status["nominatedNodeName"]),
        json!("<none>"),
    ]
}

fn node(value: &Value, name: Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&value["spec"], &value["status"]);
    let ready = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|c| c["type"] == "Ready");
    let mut state = match ready.map(|c| c["status"] == "True") {
        Some(true) => "Ready".to_owned(),
        Some(false) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if spec["unschedulable"] == true {
        state.push_str(",SchedulingDisabled");
    }
    let roles: Vec<&str> = value["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    let address = |kind: &str| {
        status["addresses"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|a| a["type"] == kind)
            .map_or_else(|| json!("<none>"), |a| a["address"].clone())
    };
    let info = &status["nodeInfo"];
    vec![
        name,
        json!(state),
        json!(if roles.is_empty() {
            "<none>".to_owned()
        } else {
            roles.join(",")
        }),
        age,
        text(&info["kubeletVersion"]),
        address("InternalIP"),
        address("ExternalIP"),
        or_unknown(&info["osImage"]),
        or_unknown(&info["kernelVersion"]),
        or_unknown(&info["containerRuntimeVersion"]),
    ]
}

fn job_status(status: &Value) -> &'static str {
    let is = |kind: &str| {
        status["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|c| c["type"] == kind && c["status"] == "True")
    };
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if is("Suspended") => "Suspended",
        () => "Running",
    }
}

fn text(value: &Value) -> Value {
    json!(value.as_str().unwrap_or_default())
}

fn or_none(value: &Value) -> Value {
    json!(value.as_str().filter(|s| !s.is_empty()).unwrap_or("<none>"))
}

fn or_unknown(value: &Value) -> Value {
    json!(
        value
            .as_str()
            .filter(|s| !s.is_empty())
            .unwrap_or("<unknown>")
    )
}

fn joined(list: &Value, field: &str) -> Value {
    let parts: Vec<&str> = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|c| c[field].as_str())
        .collect();
    json!(parts.join(","))
}

fn labels(map: &Value) -> String {
    let parts: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(k, v)| Some(format!("{k}={}", v.as_str()?)))
        .collect();
    if parts.is_empty() {
        "<none>".to_owned()
    } else {
        parts.join(",")
    }
}

fn ports(list: &Value) -> String {
    let parts: Vec<String> = list
        .as_array()
        .into_iter()
        .flatten()
        .map(|p| {
            let node = p["nodePort"]
                .as_i64()
                .map_or_else(String::new, |n| format!(":{n}"));
            format!(
                "{}{node}/{}",
                p["port"],
                p["protocol"].as_str().unwrap_or("TCP")
            )
        })
        .collect();
    if parts.is_empty() {
        "<none>".to_owned()
    } else {
        parts.join(",")
    }
}

/// Time since a timestamp, as kubectl shows it: `5s`, `3m20s`, `2d4h`.
fn age(timestamp: &Value) -> String {
    let Some(then) = timestamp
        .as_str()
        .and_then(|t| t.parse::<jiff::Timestamp>().ok())
    else {
        return "<unknown>".to_owned();
    };
    human(jiff::Timestamp::now().as_second() - then.as_second())
}

fn human(seconds: i64) -> String {
    let s = seconds.max(0);
    let two = |big: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 {
            format!("{big}{unit}")
        } else {
            format!("{big}{unit}{small}{small_unit}")
        }
    };
    let (minutes, hours, days) = (s / 60, s / 3600, s / 86_400);
    match s {
        _ if s < 120 => format!("{s}s"),
        _ if minutes < 10 => two(minutes, "m", s % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if days < 8 => two(days, "d", hours % 24, "h"),
        _ if days < 730 => format!("{days}d"),
        _ => two(days / 365, "y", days % 365, "d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_in_kubectl() {
        for (seconds, text) in [
            (-1, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (12_060, "3h21m"),
            (100_000, "27h"),
            (187_200, "2d4h"),
            (86_400 * 30, "30d"),
            (86_400 * 800, "2y70d"),
        ] {
            assert_eq!(human(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn every_row_has_a_cell_for_each_column() {
        for resource in crate::registry::Registry::builtin().resources() {
            let object = Object::new(resource, 1, json!({"metadata": {"name": "a"}}));
            assert_eq!(
                cells(resource, &object).len(),
                columns_of(resource).len(),
                "{}",
                resource.plural
            );
        }
    }
}
