//! What controllers, scheduler and kubelets would do: pods get a node, start, and go; workloads get their
//! pods; namespaces empty themselves; what depended on a deleted owner is collected.
//!
//! One task follows the store's changes and keeps a [`queue`] of due steps. Each step reads the object again
//! and does nothing when it has moved on, so it never fights with a client. What would take a look at many
//! objects per change is remembered instead: who belongs to which controller ([`members`]), and how full the
//! nodes are ([`capacity`]).

mod capacity;
mod child;
mod condition;
mod daemon_set;
mod deployment;
mod event;
mod fit;
mod garbage;
mod job;
mod kind;
mod kubelet;
pub(crate) mod kubevirt;
mod members;
mod quantity;
mod queue;
mod replica_set;
mod scheduler;
mod stateful_set;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use self::{
    capacity::{Amount, Nodes},
    event::EventLog,
    members::{Member, Members},
    queue::{Queue, Step, Task},
    scheduler::Unscheduled,
};
use crate::{
    config::Lifecycle,
    faults::mix,
    store::{Changed, EventKind, Object, Query, Store},
};

pub(crate) use self::{
    kind::Kind,
    kubelet::{bind, run_pod},
};

/// Controllers look at their objects so long after a change: one look serves a burst of changes.
const SYNC_DELAY: Duration = Duration::from_millis(5);

/// What of the cluster moves by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Played {
    pub(crate) delays: Lifecycle,
    /// Deployments, Jobs and the like get their pods.
    pub(crate) controllers: bool,
    /// KubeVirt is there.
    pub(crate) kubevirt: bool,
}

/// Runs until `stop`.
pub(crate) async fn run(
    store: Arc<Store>,
    played: Played,
    mut changes: mpsc::UnboundedReceiver<Changed>,
    mut stop: watch::Receiver<bool>,
) {
    let mut worker = Worker::new(store, played);
    while !*stop.borrow() {
        while let Ok(change) = changes.try_recv() {
            worker.follow(&change);
        }
        if let Some(task) = worker.queue.pop(Instant::now()) {
            worker.act(&task);
            continue;
        }
        let next = worker.queue.next();
        tokio::select! {
            _ = stop.changed() => return,
            () = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            } => {}
            change = changes.recv() => {
                let Some(change) = change else { return };
                worker.follow(&change);
            }
        }
    }
}

/// Where a pod takes room.
#[derive(Debug)]
struct Place {
    node: String,
    amount: Amount,
}

struct Worker {
    store: Arc<Store>,
    played: Played,
    queue: Queue,
    members: Members,
    nodes: Nodes,
    /// Pods that take room, by namespace and name.
    places: HashMap<(String, String), Place>,
    /// The same by node.
    pods_on: HashMap<String, BTreeSet<(String, String)>>,
    unscheduled: Unscheduled,
    daemon_sets: BTreeSet<(String, String)>,
    events: EventLog,
    /// State of the generator of names.
    random: u64,
    /// Whether what was there before the first change is known.
    primed: bool,
}

impl Worker {
    fn new(store: Arc<Store>, played: Played) -> Self {
        Self {
            store,
            random: mix(played.delays.seed),
            played,
            queue: Queue::default(),
            members: Members::default(),
            nodes: Nodes::default(),
            places: HashMap::new(),
            pods_on: HashMap::new(),
            unscheduled: Unscheduled::default(),
            daemon_sets: BTreeSet::new(),
            events: EventLog::default(),
            primed: false,
        }
    }

    /// Learns of what was there before: not earlier than needed, for it costs a look at everything.
    fn prime(&mut self) {
        if std::mem::replace(&mut self.primed, true) {
            return;
        }
        for kind in [Kind::Node, Kind::Pod] {
            let Some(resource) = self.resource(kind) else {
                continue;
            };
            let everything = |_: &Object| true;
            let query = Query {
                namespace: None,
                at: None,
                after: None,
                limit: 0,
                matches: &everything,
            };
            let page = resource.collection.page(&|| self.store.revision(), &query);
            for object in page.map(|page| page.items).unwrap_or_default() {
                self.observe(kind, object.namespace(), object.name());
            }
        }
    }

    /// Takes note of a change, and of the steps it calls for.
    fn follow(&mut self, change: &Changed) {
        self.prime();
        for dependent in &change.dependents {
            self.collect(dependent, change.object.uid());
        }
        let Some(kind) = Kind::of(&change.resource) else {
            return;
        };
        let object = &change.object;
        let (namespace, name) = (object.namespace(), object.name());
        self.observe(kind, namespace, name);
        let leaving = !object.value["metadata"]["deletionTimestamp"].is_null();
        match kind {
            Kind::Pod => {
                self.follow_pod(change, leaving);
                self.sync_owner(object);
            }
            Kind::Namespace => {
                if leaving && change.kind != EventKind::Deleted {
                    self.after(self.played.delays.terminate, Step::EmptyNamespace, object);
                }
            }
            Kind::Node => {
                if change.kind == EventKind::Added {
                    self.initialize_node(name);
                }
            }
            _ => {
                self.sync(kind, namespace, name);
                self.sync_owner(object);
            }
        }
    }

    fn follow_pod(&mut self, change: &Changed, leaving: bool) {
        if change.kind == EventKind::Deleted {
            return;
        }
        let pod = &change.object;
        let delays = self.played.delays;
        let bound = is_bound(&pod.value);
        match pod.value["status"]["phase"].as_str() {
            _ if leaving => self.after(delays.terminate, Step::Terminate, pod),
            _ if !bound => self.after(delays.schedule, Step::Schedule, pod),
            Some("Pending") => {
                let delay = delays.start + self.jitter(pod);
                self.after(delay, Step::Start, pod);
            }
            Some("Running") if controller_of(&pod.value).is_some_and(|o| o["kind"] == "Job") => {
                self.after(delays.complete, Step::Complete, pod);
            }
            _ => {}
        }
    }

    fn act(&mut self, task: &Task) {
        let (namespace, name) = (task.namespace.as_str(), task.name.as_str());
        match task.step {
            Step::Schedule => self.schedule(namespace, name),
            Step::Start => self.start(task),
            Step::Complete => self.complete(task),
            Step::Terminate => self.terminate(task),
            Step::Reschedule => self.reschedule(),
            Step::Evict => self.evict(name),
            Step::EmptyNamespace => self.empty_namespace(task),
            Step::Boot => self.boot(task),
            Step::Expire => self.delete(Kind::Job, namespace, name, &task.uid),
            Step::Sync(kind) => match kind {
                Kind::Namespace | Kind::Node | Kind::Pod => {}
                Kind::Deployment => self.sync_deployment(namespace, name),
                Kind::ReplicaSet | Kind::VirtualMachineInstanceReplicaSet => {
                    self.sync_replica_set(kind, namespace, name);
                }
                Kind::StatefulSet => self.sync_stateful_set(namespace, name),
                Kind::DaemonSet => self.sync_daemon_set(namespace, name),
                Kind::Job => self.sync_job(namespace, name),
                Kind::VirtualMachine => self.sync_machine(namespace, name),
                Kind::VirtualMachineInstance => self.sync_instance(namespace, name),
            },
        }
    }

    /// Takes note of an object as it is now: also when changes arrive late or twice, the last look is right.
    fn observe(&mut self, kind: Kind, namespace: &str, name: &str) {
        let object = self.read(kind, namespace, name);
        let value = object.as_ref().map(|object| &object.value);
        match kind {
            Kind::Pod => {
                self.observe_place(namespace, name, value);
                self.observe_member(kind, namespace, name, value);
            }
            Kind::VirtualMachineInstance => self.observe_member(kind, namespace, name, value),
            Kind::Node => self.observe_node(name, value),
            Kind::DaemonSet => {
                let key = (namespace.to_owned(), name.to_owned());
                if object.is_some() {
                    self.daemon_sets.insert(key);
                } else {
                    self.daemon_sets.remove(&key);
                }
            }
            _ => {}
        }
    }

    fn observe_node(&mut self, name: &str, value: Option<&Value>) {
        if !self.nodes.set(name, value) {
            return;
        }
        self.at_once(Step::Evict, "", name);
        self.reschedule_soon();
        for (namespace, name) in self.daemon_sets.clone() {
            self.sync(Kind::DaemonSet, &namespace, &name);
        }
    }

    fn observe_member(&mut self, kind: Kind, namespace: &str, name: &str, value: Option<&Value>) {
        let member = value.and_then(|value| {
            let owner = controller_of(value)?["uid"].as_str()?.to_owned();
            Some((owner, Member::read(value)))
        });
        self.members.set(kind, namespace, name, member);
    }

    /// The room a pod takes on its node, until it has finished.
    fn observe_place(&mut self, namespace: &str, name: &str, value: Option<&Value>) {
        let key = (namespace.to_owned(), name.to_owned());
        let place = value.and_then(|pod| {
            let finished = matches!(
                pod["status"]["phase"].as_str(),
                Some("Succeeded" | "Failed")
            );
            let node = pod["spec"]["nodeName"].as_str().filter(|n| !n.is_empty());
            node.filter(|_| !finished).map(|node| Place {
                node: node.to_owned(),
                amount: Amount::requested(&pod["spec"]),
            })
        });
        let before = self.places.remove(&key);
        if let Some(before) = &before {
            self.nodes.vacate(&before.node, before.amount);
            if let Some(pods) = self.pods_on.get_mut(&before.node) {
                pods.remove(&key);
                if pods.is_empty() {
                    self.pods_on.remove(&before.node);
                }
            }
        }
        match place {
            Some(place) => {
                self.nodes.occupy(&place.node, place.amount);
                let pods = self.pods_on.entry(place.node.clone()).or_default();
                pods.insert(key.clone());
                self.places.insert(key, place);
            }
            None if before.is_some() => self.reschedule_soon(),
            None => {}
        }
    }

    /// A look of the controller of an object, soon.
    fn sync(&mut self, kind: Kind, namespace: &str, name: &str) {
        if !self.played.controllers || (kind.is_kubevirt() && !self.played.kubevirt) {
            return;
        }
        let task = Task {
            step: Step::Sync(kind),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: String::new(),
        };
        self.queue.push(Instant::now() + SYNC_DELAY, task);
    }

    /// The same for the controller of an object's owner.
    fn sync_owner(&mut self, object: &Object) {
        let Some(owner) = controller_of(&object.value) else {
            return;
        };
        if let (Some(kind), Some(name)) = (Kind::of_reference(owner), owner["name"].as_str()) {
            self.sync(kind, object.namespace(), name);
        }
    }

    fn after(&mut self, delay: Duration, step: Step, object: &Object) {
        let task = Task {
            step,
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            uid: object.uid().to_owned(),
        };
        self.queue.push(Instant::now() + delay, task);
    }

    fn at_once(&mut self, step: Step, namespace: &str, name: &str) {
        let task = Task {
            step,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: String::new(),
        };
        self.queue.push(Instant::now(), task);
    }

    /// The random part of an object's delay: the same in every run for the same seed and name.
    fn jitter(&self, object: &Object) -> Duration {
        let most = u64::try_from(self.played.delays.jitter.as_nanos()).unwrap_or(u64::MAX);
        if most == 0 {
            return Duration::ZERO;
        }
        let drawn = [object.namespace(), "/", object.name()]
            .iter()
            .flat_map(|part| part.bytes())
            .fold(mix(self.played.delays.seed), |state, byte| {
                mix(state ^ u64::from(byte))
            });
        Duration::from_nanos(drawn % most)
    }

    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(1);
        mix(self.random)
    }
}

/// The owner reference of the controller.
fn controller_of(value: &Value) -> Option<&Value> {
    value["metadata"]["ownerReferences"]
        .as_array()?
        .iter()
        .find(|owner| owner["controller"] == true)
}

fn is_bound(pod: &Value) -> bool {
    pod["spec"]["nodeName"]
        .as_str()
        .is_some_and(|node| !node.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn jitter(seed: u64, name: &str) -> Duration {
        let delays = Lifecycle {
            jitter: Duration::from_millis(100),
            seed,
            ..Lifecycle::default()
        };
        let played = Played {
            delays,
            controllers: true,
            kubevirt: false,
        };
        let store = Arc::new(Store::new(1));
        let pods = store.resource("", "v1", "pods").unwrap();
        let pod = json!({"metadata": {"namespace": "ns", "name": name}});
        Worker::new(store, played).jitter(&Object::new(&pods, 1, pod))
    }

    #[test]
    fn waits_are_drawn_by_seed_and_name() {
        let of = |seed: u64| -> Vec<Duration> {
            (0..100)
                .map(|i| jitter(seed, &format!("pod-{i}")))
                .collect()
        };
        let waits = of(1);
        assert_eq!(waits, of(1));
        assert_ne!(waits, of(2));
        assert!(waits.iter().all(|wait| *wait < Duration::from_millis(100)));
        // Drawn evenly, so the mean of so many is in the middle.
        let mean = waits.iter().sum::<Duration>() / 100;
        assert!(mean.abs_diff(Duration::from_millis(50)) < Duration::from_millis(12));
    }
}
