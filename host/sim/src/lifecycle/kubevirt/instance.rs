//! VirtualMachineInstances: Pending, Scheduling with a launcher pod, Scheduled once that runs, Running once the
//! node has taken over; and Succeeded before they vanish.

use serde_json::{Value, json};

use super::{add_finalizer, launcher, remove_finalizer};
use crate::{
    defaults,
    lifecycle::{
        Kind, Worker,
        child::ChildName,
        condition::{self, Condition},
        members::{Member, Phase},
        queue::{Step, Task},
    },
    store::{Change, Object, now_rfc3339},
};

const FINALIZER: &str = "foregroundDeleteVirtualMachine";

impl Worker {
    pub(in crate::lifecycle) fn sync_instance(&mut self, namespace: &str, name: &str) {
        let Some(instance) = self.read(Kind::VirtualMachineInstance, namespace, name) else {
            return;
        };
        if !instance.value["metadata"]["deletionTimestamp"].is_null() {
            self.end_instance(&instance);
            return;
        }
        let pod = self.launcher_of(&instance);
        let phase = instance.value["status"]["phase"].as_str();
        match (phase.unwrap_or_default(), pod) {
            ("", _) => self.enter(&instance, "Pending", |value| {
                add_finalizer(value, FINALIZER);
                set_ready(value, false, "PodNotExists");
            }),
            ("Pending", None) => {
                let prefix = format!("virt-launcher-{name}-");
                let made = self.create_child(
                    Kind::Pod,
                    Kind::VirtualMachineInstance,
                    &instance,
                    ChildName::Prefix(&prefix),
                    launcher::launcher(&instance),
                );
                if made.is_some() {
                    self.enter(&instance, "Scheduling", |value| {
                        set_ready(value, false, "GuestNotRunning");
                    });
                }
            }
            ("Pending", Some(_)) => self.enter(&instance, "Scheduling", |_| {}),
            ("Scheduling", Some((pod, member))) if member.ready => {
                let node = member.node.unwrap_or_default();
                self.enter(&instance, "Scheduled", |value| {
                    add_node(value, &node, &member.uid);
                    take_addresses(value, &pod.value);
                });
            }
            ("Scheduled", Some((_, member))) if member.phase == Phase::Underway => {
                let delay = self.played.delays.boot + self.jitter(&instance);
                self.after(delay, Step::Boot, &instance);
            }
            ("Scheduling" | "Scheduled" | "Running", None) => {
                self.enter(&instance, "Failed", |value| {
                    set_ready(value, false, "PodTerminating");
                });
            }
            ("Scheduling" | "Scheduled" | "Running", Some((_, member)))
                if member.phase != Phase::Underway =>
            {
                let phase = match member.phase {
                    Phase::Succeeded => "Succeeded",
                    Phase::Failed | Phase::Underway => "Failed",
                };
                self.enter(&instance, phase, |value| {
                    set_ready(value, false, "PodTerminating");
                });
            }
            _ => {}
        }
    }

    /// The node's virt-handler reports the machine up.
    pub(in crate::lifecycle) fn boot(&mut self, task: &Task) {
        let instance = self.read_living(Kind::VirtualMachineInstance, &task.namespace, &task.name);
        if let Some(instance) = instance.filter(|instance| {
            instance.uid() == task.uid && instance.value["status"]["phase"] == "Scheduled"
        }) {
            self.enter(&instance, "Running", |value| {
                set_ready(value, true, "");
                let migratable = Condition {
                    kind: "LiveMigratable",
                    status: true,
                    reason: "",
                    message: "",
                };
                condition::set(value, migratable, &now_rfc3339());
            });
        }
    }

    /// The launcher goes first, then the instance has succeeded, then it goes.
    fn end_instance(&mut self, instance: &Object) {
        if let Some((pod, member)) = self.launcher_of(instance) {
            if !member.leaving {
                self.delete(Kind::Pod, pod.namespace(), pod.name(), pod.uid());
            }
            return;
        }
        let finished = matches!(
            instance.value["status"]["phase"].as_str(),
            Some("Succeeded" | "Failed")
        );
        if !finished {
            self.enter(instance, "Succeeded", |value| {
                set_ready(value, false, "PodTerminating");
            });
            return;
        }
        let uid = instance.uid();
        self.write(
            Kind::VirtualMachineInstance,
            instance.namespace(),
            instance.name(),
            |current| {
                let mut value = current.value.clone();
                let none_left = remove_finalizer(&mut value, FINALIZER);
                if current.uid() != uid || value["metadata"]["deletionTimestamp"].is_null() {
                    Change::Keep
                } else if none_left {
                    Change::Remove(value)
                } else if value == current.value {
                    Change::Keep
                } else {
                    Change::Replace(value)
                }
            },
        );
    }

    fn launcher_of(&self, instance: &Object) -> Option<(std::sync::Arc<Object>, Member)> {
        let group = self.members.group(instance.uid())?;
        let (name, member) = group.members.iter().next()?;
        let pod = self.read(Kind::Pod, instance.namespace(), name)?;
        Some((pod, member.clone()))
    }

    /// Moves an instance to a phase, if it is in the one it was.
    fn enter(&mut self, instance: &Object, phase: &str, also: impl Fn(&mut Value)) {
        let before = &instance.value["status"]["phase"];
        self.write_status(Kind::VirtualMachineInstance, instance, |value| {
            if value["status"]["phase"] != *before {
                return;
            }
            let now = now_rfc3339();
            let status = defaults::object(value, "status");
            status.insert("phase".to_owned(), json!(phase));
            let transitions = status
                .entry("phaseTransitionTimestamps")
                .or_insert_with(|| json!([]));
            if let Value::Array(list) = transitions {
                list.push(json!({"phase": phase, "phaseTransitionTimestamp": now}));
            }
            also(value);
        });
    }
}

fn set_ready(instance: &mut Value, ready: bool, reason: &str) {
    let condition = Condition {
        kind: "Ready",
        status: ready,
        reason,
        message: "",
    };
    condition::set(instance, condition, &now_rfc3339());
}

fn add_node(instance: &mut Value, node: &str, pod_uid: &str) {
    crate::lifecycle::child::add_labels(instance, &[("kubevirt.io/nodeName", node)]);
    let status = defaults::object(instance, "status");
    status.insert("nodeName".to_owned(), json!(node));
    status.insert("activePods".to_owned(), json!({pod_uid: node}));
    status.insert("qosClass".to_owned(), json!("Burstable"));
    status.insert("guestOSInfo".to_owned(), json!({}));
}

fn take_addresses(instance: &mut Value, pod: &Value) {
    let ip = pod["status"]["podIP"].clone();
    defaults::object(instance, "status").insert(
        "interfaces".to_owned(),
        json!([{"name": "default", "infoSource": "domain", "ipAddress": ip, "ipAddresses": [ip]}]),
    );
}
