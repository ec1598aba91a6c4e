//! The scheduler: pods get the emptiest node that takes them, or wait until nodes or pods change.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

use super::{
    Worker,
    capacity::Amount,
    event::Report,
    fit::{self, Constraints},
    is_bound,
    kind::Kind,
    kubelet,
    queue::{Step, Task},
};
use crate::store::{Object, now_rfc3339};

const NAME: &str = "default-scheduler";
/// Pods that wait try again so long after a change that may help: one try serves many changes.
const RESCHEDULE_DELAY: Duration = Duration::from_millis(10);

type Key = (String, String);

/// Pods without a node. Those that ask for the same wait in one line: where the first finds no node, the
/// others need not try.
#[derive(Debug, Default)]
pub(super) struct Unscheduled {
    lines: HashMap<String, Line>,
    /// The line a pod stands in.
    line_of: HashMap<Key, String>,
}

#[derive(Debug, Default)]
struct Line {
    pods: VecDeque<Key>,
    /// Why the first found none.
    message: String,
}

/// What a pod asks of a node.
struct Demand {
    constraints: Constraints,
    pinned: Option<String>,
    amount: Amount,
}

impl Demand {
    fn read(spec: &Value) -> Self {
        Self {
            constraints: Constraints::read(spec),
            pinned: fit::pinned_to(spec),
            amount: Amount::requested(spec),
        }
    }

    /// The line to wait in.
    fn line(&self) -> String {
        let Amount {
            cpu_milli,
            memory_bytes,
            ..
        } = self.amount;
        format!(
            "{}\n{cpu_milli} {memory_bytes}",
            self.constraints.signature()
        )
    }
}

/// Whether a pod is the scheduler's to place.
fn is_ours(pod: &Object) -> bool {
    let spec = &pod.value["spec"];
    !is_bound(&pod.value)
        && spec["schedulerName"] == NAME
        && spec["schedulingGates"].as_array().is_none_or(Vec::is_empty)
        && pod.value["metadata"]["deletionTimestamp"].is_null()
}

impl Worker {
    pub(super) fn schedule(&mut self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        let pod = self
            .read(Kind::Pod, namespace, name)
            .filter(|pod| is_ours(pod));
        let Some(pod) = pod else {
            self.unscheduled.line_of.remove(&key);
            return;
        };
        let demand = Demand::read(&pod.value["spec"]);
        let line = demand.line();
        if self.unscheduled.line_of.get(&key) == Some(&line) {
            return;
        }
        self.unscheduled.line_of.remove(&key);
        let refused = match self.unscheduled.lines.get(&line) {
            Some(waiting) => Some(waiting.message.clone()),
            None => self.place(&pod, &demand).err(),
        };
        if let Some(message) = refused {
            self.wait(&pod, &line, &message);
        }
    }

    /// Binds a pod to a node.
    ///
    /// # Errors
    /// Why there is none for it.
    fn place(&mut self, pod: &Object, demand: &Demand) -> Result<(), String> {
        let node =
            self.nodes
                .place(&demand.constraints, demand.pinned.as_deref(), demand.amount)?;
        let task = Task {
            step: Step::Schedule,
            namespace: pod.namespace().to_owned(),
            name: pod.name().to_owned(),
            uid: pod.uid().to_owned(),
        };
        let bound = self.change(Kind::Pod, &task, |pod| {
            is_ours(pod).then(|| {
                let mut value = pod.value.clone();
                kubelet::bind(&mut value, &node, &now_rfc3339());
                value
            })
        });
        if let Some(pod) = bound {
            let message = format!(
                "Successfully assigned {}/{} to {node}",
                pod.namespace(),
                pod.name()
            );
            let report = Report {
                component: NAME,
                kind: "Normal",
                reason: "Scheduled",
                action: "Binding",
                message: &message,
            };
            self.report(&pod, report);
        }
        Ok(())
    }

    fn wait(&mut self, pod: &Object, line: &str, message: &str) {
        let key = (pod.namespace().to_owned(), pod.name().to_owned());
        let waiting = self.unscheduled.lines.entry(line.to_owned()).or_default();
        message.clone_into(&mut waiting.message);
        waiting.pods.push_back(key.clone());
        self.unscheduled.line_of.insert(key, line.to_owned());
        let task = Task {
            step: Step::Schedule,
            namespace: pod.namespace().to_owned(),
            name: pod.name().to_owned(),
            uid: pod.uid().to_owned(),
        };
        let written = self.change(Kind::Pod, &task, |pod| {
            is_ours(pod).then(|| {
                let mut value = pod.value.clone();
                kubelet::leave_unscheduled(&mut value, message, &now_rfc3339());
                value
            })
        });
        if let Some(pod) = written {
            let report = Report {
                component: NAME,
                kind: "Warning",
                reason: "FailedScheduling",
                action: "Scheduling",
                message,
            };
            self.report(&pod, report);
        }
    }

    /// Room may have come about: those that wait try again soon.
    pub(super) fn reschedule_soon(&mut self) {
        if self.unscheduled.lines.is_empty() {
            return;
        }
        let task = Task {
            step: Step::Reschedule,
            namespace: String::new(),
            name: String::new(),
            uid: String::new(),
        };
        self.queue.push(Instant::now() + RESCHEDULE_DELAY, task);
    }

    /// Each line moves up until its first pod finds no node.
    pub(super) fn reschedule(&mut self) {
        for (line, mut waiting) in std::mem::take(&mut self.unscheduled.lines) {
            while let Some(key) = waiting.pods.pop_front() {
                if self.unscheduled.line_of.get(&key) != Some(&line) {
                    continue;
                }
                let pod = self
                    .read(Kind::Pod, &key.0, &key.1)
                    .filter(|pod| is_ours(pod));
                let Some(pod) = pod else {
                    self.unscheduled.line_of.remove(&key);
                    continue;
                };
                let demand = Demand::read(&pod.value["spec"]);
                // A pod of the same name that asks for something else has its own step.
                if demand.line() != line {
                    self.unscheduled.line_of.remove(&key);
                    self.at_once(Step::Schedule, &key.0, &key.1);
                    continue;
                }
                match self.place(&pod, &demand) {
                    Ok(()) => {
                        self.unscheduled.line_of.remove(&key);
                    }
                    Err(message) => {
                        waiting.message = message;
                        waiting.pods.push_front(key);
                        break;
                    }
                }
            }
            if !waiting.pods.is_empty() {
                self.unscheduled.lines.insert(line, waiting);
            }
        }
    }
}
