//! VirtualMachines: an instance of the same name, as long as they are to run.

use serde_json::{Value, json};

use super::{add_finalizer, remove_finalizer};
use crate::{
    defaults,
    lifecycle::{
        Kind, Worker,
        child::{ChildName, add_labels, from_template},
        condition::{self, Condition},
    },
    store::{Change, Object, now_rfc3339},
};

const FINALIZER: &str = "kubevirt.io/virtualMachineControllerFinalize";

/// What a machine is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strategy {
    /// Run, again whenever the instance ends.
    Run,
    /// Run, again when the instance failed.
    RerunOnFailure,
    /// Run once.
    Once,
    /// Whatever the instance does.
    Manual,
    Halt,
}

impl Strategy {
    fn read(machine: &Value) -> Self {
        let spec = &machine["spec"];
        match spec["runStrategy"].as_str() {
            Some("Always") => Self::Run,
            Some("RerunOnFailure") => Self::RerunOnFailure,
            Some("Once") => Self::Once,
            Some("Manual") => Self::Manual,
            Some(_) => Self::Halt,
            None if spec["running"] == true => Self::Run,
            None => Self::Halt,
        }
    }
}

impl Worker {
    pub(in crate::lifecycle) fn sync_machine(&mut self, namespace: &str, name: &str) {
        let Some(machine) = self.read(Kind::VirtualMachine, namespace, name) else {
            return;
        };
        let instance = self
            .read(Kind::VirtualMachineInstance, namespace, name)
            .filter(|instance| is_of(instance, &machine));
        let leaving = !machine.value["metadata"]["deletionTimestamp"].is_null();
        let phase = instance
            .as_ref()
            .and_then(|instance| instance.value["status"]["phase"].as_str())
            .unwrap_or_default();
        let strategy = Strategy::read(&machine.value);
        let ended = match strategy {
            Strategy::Run => matches!(phase, "Succeeded" | "Failed"),
            Strategy::RerunOnFailure => phase == "Failed",
            Strategy::Halt => true,
            Strategy::Once | Strategy::Manual => false,
        };
        let living = |instance: &Object| instance.value["metadata"]["deletionTimestamp"].is_null();
        match &instance {
            Some(instance) if (leaving || ended) && living(instance) => {
                let kind = Kind::VirtualMachineInstance;
                self.delete(kind, namespace, name, instance.uid());
            }
            None if leaving => {
                self.release_machine(&machine);
                return;
            }
            None if wants_instance(strategy, &machine.value) => self.create_instance(&machine),
            _ => {}
        }
        self.write_machine_status(&machine, leaving, strategy);
    }

    fn create_instance(&mut self, machine: &Object) {
        let mut value = from_template(&machine.value["spec"]["template"]);
        add_labels(&mut value, &[("kubevirt.io/vm", machine.name())]);
        self.create_child(
            Kind::VirtualMachineInstance,
            Kind::VirtualMachine,
            machine,
            ChildName::Exact(machine.name()),
            value,
        );
    }

    /// The instance is gone: so is the machine.
    fn release_machine(&mut self, machine: &Object) {
        let uid = machine.uid();
        self.write(
            Kind::VirtualMachine,
            machine.namespace(),
            machine.name(),
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

    fn write_machine_status(&mut self, machine: &Object, leaving: bool, strategy: Strategy) {
        let instance = self
            .read(
                Kind::VirtualMachineInstance,
                machine.namespace(),
                machine.name(),
            )
            .filter(|instance| is_of(instance, machine));
        let ready = instance.as_ref().is_some_and(|instance| {
            instance.value["status"]["phase"] == "Running"
                && condition::is_true(&instance.value, "Ready")
        });
        let stopping = instance
            .as_ref()
            .is_some_and(|instance| !instance.value["metadata"]["deletionTimestamp"].is_null());
        let printable = match (&instance, stopping) {
            _ if leaving => "Terminating",
            (None, _) if strategy == Strategy::Run => "Starting",
            (None, _) => "Stopped",
            (Some(_), true) => "Stopping",
            (Some(_), false) if ready => "Running",
            (Some(_), false) => "Starting",
        };
        self.write_status(Kind::VirtualMachine, machine, |value| {
            if !leaving {
                add_finalizer(value, FINALIZER);
            }
            let generation = value["metadata"]["generation"].clone();
            let status = defaults::object(value, "status");
            status.insert("created".to_owned(), json!(instance.is_some()));
            status.insert("ready".to_owned(), json!(ready));
            status.insert("printableStatus".to_owned(), json!(printable));
            status.insert("observedGeneration".to_owned(), generation.clone());
            status.insert("desiredGeneration".to_owned(), generation);
            let condition = Condition {
                kind: "Ready",
                status: ready,
                reason: match (&instance, ready) {
                    (_, true) => "",
                    (None, _) => "VMINotExists",
                    (Some(_), false) => "GuestNotRunning",
                },
                message: "",
            };
            condition::set(value, condition, &now_rfc3339());
        });
    }
}

/// Whether an instance that is not there shall be.
fn wants_instance(strategy: Strategy, machine: &Value) -> bool {
    let first = machine["status"]["created"].is_null();
    match strategy {
        Strategy::Run | Strategy::RerunOnFailure => true,
        Strategy::Once => first,
        Strategy::Manual | Strategy::Halt => false,
    }
}

fn is_of(instance: &Object, machine: &Object) -> bool {
    crate::lifecycle::controller_of(&instance.value)
        .is_some_and(|owner| owner["uid"] == machine.uid())
}
