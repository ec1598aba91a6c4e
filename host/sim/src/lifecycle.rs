//! What controllers and kubelets would do: pods get a node, start, and go; namespaces empty themselves;
//! what depended on a deleted owner is collected.
//!
//! One task follows the store's changes and keeps a queue of due steps. Each step reads the object again
//! and does nothing when it has moved on, so it never fights with a client.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    config::Lifecycle,
    registry::Resource,
    seed,
    store::{Change, Changed, Dependent, EventKind, Object, Outcome, Query, Store, now_rfc3339},
    verbs::remove_now,
};

/// What is to be done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Schedule,
    Start,
    Terminate,
    EmptyNamespace,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    step: Step,
    namespace: String,
    name: String,
    uid: String,
}

/// Runs until `stop`.
pub(crate) async fn run(
    store: Arc<Store>,
    delays: Lifecycle,
    mut changes: mpsc::UnboundedReceiver<Changed>,
    mut stop: watch::Receiver<bool>,
) {
    let mut due: BinaryHeap<Reverse<Due>> = BinaryHeap::new();
    let worker = Worker {
        store,
        turn: AtomicU32::new(0),
    };
    loop {
        let next = due.peek().map(|Reverse(d)| d.at);
        tokio::select! {
            biased;
            _ = stop.changed() => return,
            () = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            } => {
                while due.peek().is_some_and(|Reverse(d)| d.at <= Instant::now()) {
                    if let Some(Reverse(step)) = due.pop() {
                        worker.act(&step);
                    }
                }
            }
            change = changes.recv() => {
                let Some(change) = change else { return };
                for dependent in &change.dependents {
                    worker.collect(dependent, change.object.uid());
                }
                if let Some(step) = follow_up(&change, &delays) {
                    due.push(Reverse(step));
                }
            }
        }
    }
}

/// The step a change calls for.
fn follow_up(change: &Changed, delays: &Lifecycle) -> Option<Due> {
    let object = &change.object;
    let value = &object.value;
    let leaving = !value["metadata"]["deletionTimestamp"].is_null();
    let (step, delay) = match (change.resource.plural.as_str(), change.kind) {
        _ if !change.resource.group.is_empty() => return None,
        (_, EventKind::Deleted) => return None,
        ("namespaces", _) if leaving => (Step::EmptyNamespace, delays.terminate),
        ("pods", _) if leaving => (Step::Terminate, delays.terminate),
        ("pods", EventKind::Added)
            if value["spec"]["nodeName"].as_str().is_none_or(str::is_empty) =>
        {
            (Step::Schedule, delays.schedule)
        }
        ("pods", _)
            if value["status"]["phase"] == "Pending" && value["spec"]["nodeName"].is_string() =>
        {
            (Step::Start, delays.start)
        }
        _ => return None,
    };
    Some(Due {
        at: Instant::now() + delay,
        step,
        namespace: object.namespace().to_owned(),
        name: object.name().to_owned(),
        uid: object.uid().to_owned(),
    })
}

struct Worker {
    store: Arc<Store>,
    turn: AtomicU32,
}

impl Worker {
    fn act(&self, due: &Due) {
        match due.step {
            Step::Schedule => self.schedule(due),
            Step::Start => self.start(due),
            Step::Terminate => {
                if let Some(pods) = self.store.resource("", "v1", "pods") {
                    remove_now(&self.store, &pods, &due.namespace, &due.name, &due.uid);
                }
            }
            Step::EmptyNamespace => self.empty_namespace(due),
        }
    }

    fn change_pod(&self, due: &Due, change: impl Fn(&Object) -> Option<Value>) {
        let Some(pods) = self.store.resource("", "v1", "pods") else {
            return;
        };
        let result = self.store.update(&pods, &due.namespace, &due.name, |pod| {
            let wanted =
                pod.uid() == due.uid && pod.value["metadata"]["deletionTimestamp"].is_null();
            Ok::<_, std::convert::Infallible>(
                change(pod)
                    .filter(|_| wanted)
                    .map_or(Change::Keep, Change::Replace),
            )
        });
        match result {
            Ok(_) => {}
            Err(never) => match never {},
        }
    }

    /// Deletes what depended on an owner that is gone; what has other owners only loses this one.
    fn collect(&self, dependent: &Dependent, owner_uid: &str) {
        let Dependent {
            resource,
            namespace,
            name,
        } = dependent;
        let Some(object) = resource.collection.get(namespace, name) else {
            return;
        };
        let is_owner = |owner: &Value| owner["uid"] == owner_uid;
        let owners = object.value["metadata"]["ownerReferences"].as_array();
        if !owners.is_some_and(|owners| owners.iter().any(is_owner)) {
            return;
        }
        if owners.is_some_and(|owners| owners.iter().all(is_owner)) {
            remove_now(&self.store, resource, namespace, name, object.uid());
            return;
        }
        let result = self.store.update(resource, namespace, name, |current| {
            let mut value = current.value.clone();
            if let Some(owners) = value["metadata"]["ownerReferences"].as_array_mut() {
                owners.retain(|owner| !is_owner(owner));
            }
            Ok::<_, std::convert::Infallible>(Change::Replace(value))
        });
        match result {
            Ok(_) => {}
            Err(never) => match never {},
        }
    }

    /// Nodes in turn, leaving out those that are cordoned; `nodeSelector` by name and labels is honoured.
    fn schedule(&self, due: &Due) {
        let Some(nodes) = self.store.resource("", "v1", "nodes") else {
            return;
        };
        self.change_pod(due, |pod| {
            if pod.value["spec"]["nodeName"]
                .as_str()
                .is_some_and(|n| !n.is_empty())
                || pod.value["spec"]["schedulerName"] != "default-scheduler"
            {
                return None;
            }
            let wanted = &pod.value["spec"]["nodeSelector"];
            let query = Query {
                namespace: None,
                at: None,
                after: None,
                limit: 0,
                matches: &|node| {
                    node.value["spec"]["unschedulable"] != true
                        && wanted.as_object().is_none_or(|wanted| {
                            wanted
                                .iter()
                                .all(|(k, v)| node.value["metadata"]["labels"].get(k) == Some(v))
                        })
                },
            };
            let fitting = nodes
                .collection
                .page(&|| self.store.revision(), &query)
                .ok()?
                .items;
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
            let node = fitting.get(turn.checked_rem(fitting.len())?)?;
            let mut value = pod.value.clone();
            bind(&mut value, node.name(), &now_rfc3339());
            Some(value)
        });
    }

    fn start(&self, due: &Due) {
        self.change_pod(due, |pod| {
            let node = pod.value["spec"]["nodeName"].as_str()?;
            if pod.value["status"]["phase"] != "Pending" {
                return None;
            }
            let host_ip = self
                .store
                .resource("", "v1", "nodes")
                .and_then(|nodes| nodes.collection.get("", node))
                .and_then(|node| {
                    let addresses = node.value["status"]["addresses"].as_array()?;
                    let internal = addresses.iter().find(|a| a["type"] == "InternalIP")?;
                    internal["address"].as_str().map(str::to_owned)
                })
                .unwrap_or_else(|| "10.0.0.1".to_owned());
            let mut value = pod.value.clone();
            let number = u32::try_from(pod.revision % 0x3f_ffff).unwrap_or(0);
            run_pod(&mut value, &host_ip, &seed::pod_ip(number), &now_rfc3339());
            Some(value)
        });
    }

    /// Deletes what is in a namespace, then the namespace; tries again while something holds on.
    fn empty_namespace(&self, due: &Due) {
        let Some(namespaces) = self.store.resource("", "v1", "namespaces") else {
            return;
        };
        let mut left = false;
        for resource in self
            .store
            .registry()
            .resources()
            .iter()
            .filter(|r| r.namespaced)
        {
            left |= !self.empty(resource, &due.name);
        }
        let result = self.store.update(&namespaces, "", &due.name, |namespace| {
            let mut value = namespace.value.clone();
            if namespace.uid() != due.uid {
                return Ok::<_, std::convert::Infallible>(Change::Keep);
            }
            let finalizers = value["metadata"]["finalizers"]
                .as_array()
                .is_some_and(|f| !f.is_empty());
            if left || finalizers {
                // Writing the wait down makes the change that brings this step back.
                let waits = value["status"]["waits"].as_u64().unwrap_or(0) + 1;
                crate::defaults::object(&mut value, "status")
                    .insert("waits".to_owned(), json!(waits));
                return Ok(Change::Replace(value));
            }
            value["spec"]["finalizers"] = json!([]);
            Ok(Change::Remove(value))
        });
        match result {
            Ok(Some(Outcome::Removed(_) | Outcome::Replaced(_) | Outcome::Kept(_)) | None) => {}
            Err(never) => match never {},
        }
    }

    /// Whether nothing is left.
    fn empty(&self, resource: &Arc<Resource>, namespace: &str) -> bool {
        let everything = |_: &Object| true;
        let query = Query {
            namespace: Some(namespace),
            at: None,
            after: None,
            limit: 0,
            matches: &everything,
        };
        let Ok(page) = resource.collection.page(&|| self.store.revision(), &query) else {
            return true;
        };
        page.items.iter().fold(true, |empty, object| {
            remove_now(
                &self.store,
                resource,
                namespace,
                object.name(),
                object.uid(),
            );
            empty && resource.collection.get(namespace, object.name()).is_none()
        })
    }
}

fn set_condition(pod: &mut Value, kind: &str, now: &str) {
    let status = crate::defaults::object(pod, "status");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let condition =
        json!({"type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": now});
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
    crate::defaults::object(pod, "spec").insert("nodeName".to_owned(), json!(node));
    set_condition(pod, "PodScheduled", now);
}

/// What the kubelet does to a pod once its containers are up: KWOK's pod-ready stage.
pub(crate) fn run_pod(pod: &mut Value, host_ip: &str, pod_ip: &str, now: &str) {
    for kind in ["Initialized", "Ready", "ContainersReady"] {
        set_condition(pod, kind, now);
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
    let status = crate::defaults::object(pod, "status");
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
