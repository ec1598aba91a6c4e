//! ReplicaSets, of pods and of VirtualMachineInstances: as many as asked for.

use serde_json::{Value, json};

use super::{
    Kind, Worker,
    child::{BURST, ChildName, count, from_template},
    members::Phase,
};
use crate::{defaults, store::Object};

impl Worker {
    pub(super) fn sync_replica_set(&mut self, kind: Kind, namespace: &str, name: &str) {
        let Some(set) = self.read_living(kind, namespace, name) else {
            return;
        };
        let child = match kind {
            Kind::VirtualMachineInstanceReplicaSet => Kind::VirtualMachineInstance,
            _ => Kind::Pod,
        };
        if set.value["spec"]["paused"] != true {
            self.replace_finished(child, &set);
            let wanted = count(&set.value["spec"]["replicas"], 1);
            let active = self.members.counts(set.uid()).active;
            if active < wanted {
                self.create_replicas(kind, child, &set, wanted - active);
            } else if active > wanted {
                self.delete_replicas(child, &set, active - wanted);
            }
        }
        let counts = self.members.counts(set.uid());
        self.write_status(kind, &set, |value| {
            let generation = value["metadata"]["generation"].clone();
            let selector = selector_text(&value["spec"]["selector"]);
            let status = defaults::object(value, "status");
            status.insert("replicas".to_owned(), json!(counts.active));
            status.insert("readyReplicas".to_owned(), json!(counts.ready));
            if child == Kind::Pod {
                status.insert("fullyLabeledReplicas".to_owned(), json!(counts.active));
                status.insert("availableReplicas".to_owned(), json!(counts.ready));
                status.insert("observedGeneration".to_owned(), generation);
            } else {
                status.insert("labelSelector".to_owned(), json!(selector));
            }
        });
    }

    fn create_replicas(&mut self, kind: Kind, child: Kind, set: &Object, missing: u64) {
        let value = from_template(&set.value["spec"]["template"]);
        // KubeVirt puts no dash between the set's name and the random end.
        let prefix = match child {
            Kind::VirtualMachineInstance => set.name().to_owned(),
            _ => format!("{}-", set.name()),
        };
        for _ in 0..missing.min(BURST) {
            let name = ChildName::Prefix(&prefix);
            if self
                .create_child(child, kind, set, name, value.clone())
                .is_none()
            {
                return;
            }
        }
        if missing > BURST {
            self.sync_again(kind, set);
        }
    }

    fn delete_replicas(&mut self, child: Kind, set: &Object, surplus: u64) {
        let surplus = usize::try_from(surplus).unwrap_or(usize::MAX);
        let unwanted = self
            .members
            .group(set.uid())
            .map(|group| group.least_wanted(surplus))
            .unwrap_or_default();
        for (name, uid) in unwanted {
            self.delete(child, set.namespace(), &name, &uid);
        }
    }

    /// Finished VirtualMachineInstances make room for new ones; finished pods stay to be looked at.
    fn replace_finished(&mut self, child: Kind, set: &Object) {
        let counts = self.members.counts(set.uid());
        if child != Kind::VirtualMachineInstance || counts.succeeded + counts.failed == 0 {
            return;
        }
        let finished: Vec<(String, String)> = self
            .members
            .group(set.uid())
            .into_iter()
            .flat_map(|group| &group.members)
            .filter(|(_, member)| member.phase != Phase::Underway && !member.leaving)
            .map(|(name, member)| (name.clone(), member.uid.clone()))
            .collect();
        for (name, uid) in finished {
            self.delete(child, set.namespace(), &name, &uid);
        }
    }
}

/// A label selector as the text that queries use.
fn selector_text(selector: &Value) -> String {
    let labels: Vec<String> = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
        .collect();
    labels.join(",")
}
