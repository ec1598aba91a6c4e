//! What kubelets do, as KWOK plays them: pods run once they have a node, pods of Jobs end, deleted pods go;
//! nodes that say nothing of themselves become ready.

use serde_json::{Value, json};

use super::{
    Worker,
    kind::Kind,
    queue::{Step, Task},
};
use crate::{defaults, discovery, seed, store::now_rfc3339, verbs::remove_now};

impl Worker {
    pub(super) fn start(&mut self, task: &Task) {
        let Some(node) = self
            .read(Kind::Pod, &task.namespace, &task.name)
            .and_then(|pod| pod.value["spec"]["nodeName"].as_str().map(str::to_owned))
        else {
            return;
        };
        let host_ip = self
            .read(Kind::Node, "", &node)
            .and_then(|node| {
                let addresses = node.value["status"]["addresses"].as_array()?;
                let internal = addresses.iter().find(|a| a["type"] == "InternalIP")?;
                internal["address"].as_str().map(str::to_owned)
            })
            .unwrap_or_else(|| "10.0.0.1".to_owned());
        self.change(Kind::Pod, task, |pod| {
            if pod.value["status"]["phase"] != "Pending" || pod.value["spec"]["nodeName"] != *node {
                return None;
            }
            let mut value = pod.value.clone();
            let number = u32::try_from(pod.revision % 0x3f_ffff).unwrap_or(0);
            run_pod(&mut value, &host_ip, &seed::pod_ip(number), &now_rfc3339());
            Some(value)
        });
    }

    /// KWOK's pod-complete stage.
    pub(super) fn complete(&mut self, task: &Task) {
        self.change(Kind::Pod, task, |pod| {
            if pod.value["status"]["phase"] != "Running" {
                return None;
            }
            let mut value = pod.value.clone();
            end_pod(&mut value, &now_rfc3339());
            Some(value)
        });
    }

    /// KWOK's pod-delete stage.
    pub(super) fn terminate(&mut self, task: &Task) {
        if let Some(pods) = self.resource(Kind::Pod) {
            remove_now(&self.store, &pods, &task.namespace, &task.name, &task.uid);
            self.observe(Kind::Pod, &task.namespace, &task.name);
        }
    }

    /// KWOK's node-initialize stage, for nodes that were made without a word of their condition.
    pub(super) fn initialize_node(&mut self, name: &str) {
        let Some(node) = self.read(Kind::Node, "", name) else {
            return;
        };
        let silent = |node: &Value| {
            !node["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|c| c["type"] == "Ready")
        };
        if !silent(&node.value) || !node.value["metadata"]["deletionTimestamp"].is_null() {
            return;
        }
        let number = u32::try_from(node.revision & 0x3f_ffff).unwrap_or(0);
        let task = Task {
            step: Step::Sync(Kind::Node),
            namespace: String::new(),
            name: name.to_owned(),
            uid: node.uid().to_owned(),
        };
        self.change(Kind::Node, &task, |node| {
            silent(&node.value).then(|| {
                let mut value = node.value.clone();
                ready_node(&mut value, number, &now_rfc3339());
                value
            })
        });
    }

    /// Pods that may not stay where they are: the node is gone, or has a taint they do not tolerate.
    pub(super) fn evict(&mut self, node: &str) {
        let facts = self.nodes.get(node).cloned();
        if facts.as_ref().is_some_and(|facts| !facts.evicts()) {
            return;
        }
        let there: Vec<(String, String)> = self
            .pods_on
            .get(node)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        for (namespace, name) in there {
            let Some(pod) = self.read(Kind::Pod, &namespace, &name) else {
                continue;
            };
            match &facts {
                Some(facts) => {
                    if !super::fit::Constraints::read(&pod.value["spec"]).endures(facts) {
                        self.delete(Kind::Pod, &namespace, &name, pod.uid());
                    }
                }
                None => {
                    if let Some(pods) = self.resource(Kind::Pod) {
                        remove_now(&self.store, &pods, &namespace, &name, pod.uid());
                        self.observe(Kind::Pod, &namespace, &name);
                    }
                }
            }
        }
    }
}

fn set_condition(
    pod: &mut Value,
    kind: &str,
    status: &str,
    reason: Option<(&str, &str)>,
    now: &str,
) {
    let status_map = defaults::object(pod, "status");
    let conditions = status_map.entry("conditions").or_insert_with(|| json!([]));
    let mut condition =
        json!({"type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": now});
    if let Some((reason, message)) = reason {
        condition["reason"] = json!(reason);
        if !message.is_empty() {
            condition["message"] = json!(message);
        }
    }
    match conditions {
        Value::Array(list) => match list.iter_mut().find(|c| c["type"] == kind) {
            Some(existing) => *existing = condition,
            None => list.push(condition),
        },
        other => *other = json!([condition]),
    }
}

/// What the scheduler does to a pod.
pub(crate) fn bind(pod: &mut Value, node: &str, now: &str) {
    defaults::object(pod, "spec").insert("nodeName".to_owned(), json!(node));
    set_condition(pod, "PodScheduled", "True", None, now);
}

/// What the scheduler says of a pod it finds no node for.
pub(super) fn leave_unscheduled(pod: &mut Value, message: &str, now: &str) {
    let reason = Some(("Unschedulable", message));
    set_condition(pod, "PodScheduled", "False", reason, now);
}

/// What the kubelet does to a pod once its containers are up: KWOK's pod-ready stage.
pub(crate) fn run_pod(pod: &mut Value, host_ip: &str, pod_ip: &str, now: &str) {
    for kind in ["Initialized", "Ready", "ContainersReady"] {
        set_condition(pod, kind, "True", None, now);
    }
    let statuses = |list: &Value, state: &Value, ready: bool| -> Value {
        list.as_array()
            .into_iter()
            .flatten()
            .map(|c| {
                json!({
                    "name": c["name"], "image": c["image"], "imageID": "", "ready": ready, "started": ready,
                    "restartCount": 0, "lastState": {}, "state": state,
                })
            })
            .collect()
    };
    let running = statuses(
        &pod["spec"]["containers"],
        &json!({"running": {"startedAt": now}}),
        true,
    );
    let completed = json!({"terminated": {"exitCode": 0, "finishedAt": now, "reason": "Completed", "startedAt": now}});
    let init = statuses(&pod["spec"]["initContainers"], &completed, true);
    let status = defaults::object(pod, "status");
    status.insert("phase".to_owned(), json!("Running"));
    status.insert("startTime".to_owned(), json!(now));
    status.insert("hostIP".to_owned(), json!(host_ip));
    status.insert("hostIPs".to_owned(), json!([{ "ip": host_ip }]));
    status.insert("podIP".to_owned(), json!(pod_ip));
    status.insert("podIPs".to_owned(), json!([{ "ip": pod_ip }]));
    status.insert("containerStatuses".to_owned(), running);
    if init.as_array().is_some_and(|i| !i.is_empty()) {
        status.insert("initContainerStatuses".to_owned(), init);
    }
}

/// What becomes of a pod whose containers ended well.
fn end_pod(pod: &mut Value, now: &str) {
    for kind in ["Ready", "ContainersReady"] {
        set_condition(pod, kind, "False", Some(("PodCompleted", "")), now);
    }
    let status = defaults::object(pod, "status");
    status.insert("phase".to_owned(), json!("Succeeded"));
    for container in status
        .get_mut("containerStatuses")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        let started = container
            .get("state")
            .and_then(|state| state.pointer("/running/startedAt"))
            .cloned();
        container.insert("ready".to_owned(), json!(false));
        container.insert("started".to_owned(), json!(false));
        container.insert(
            "state".to_owned(),
            json!({"terminated": {
                "exitCode": 0, "reason": "Completed", "startedAt": started.unwrap_or_else(|| json!(now)), "finishedAt": now,
            }}),
        );
    }
}

fn ready_node(node: &mut Value, number: u32, now: &str) {
    let name = node["metadata"]["name"].clone();
    let status = defaults::object(node, "status");
    let mut fill = |key: &str, value: Value| {
        if status.get(key).is_none_or(Value::is_null) {
            status.insert(key.to_owned(), value);
        }
    };
    let room = json!({"cpu": "1k", "memory": "1Ti", "pods": "1M"});
    fill("allocatable", room.clone());
    fill("capacity", room);
    fill(
        "addresses",
        json!([{"address": seed::node_ip(number), "type": "InternalIP"}, {"address": name, "type": "Hostname"}]),
    );
    fill(
        "daemonEndpoints",
        json!({"kubeletEndpoint": {"Port": 10247}}),
    );
    fill("phase", json!("Running"));
    fill(
        "nodeInfo",
        json!({
            "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "kwok", "kernelVersion": "kwok",
            "kubeProxyVersion": discovery::GIT_VERSION, "kubeletVersion": discovery::GIT_VERSION, "machineID": "",
            "operatingSystem": "linux", "osImage": "kwok", "systemUUID": "",
        }),
    );
    status.insert("conditions".to_owned(), seed::node_conditions(now));
}
