//! DaemonSets: one pod on every node that fits.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::{
    Kind, Worker,
    child::{BURST, ChildName, add_labels, count, from_template, template_hash},
    fit::{self, Constraints},
};
use crate::{defaults, store::Object};

/// Pods of a DaemonSet compared with its nodes.
#[derive(Debug, Default)]
struct Plan {
    /// Nodes that shall have a pod.
    wanted: u64,
    /// Of those, without.
    missing: Vec<String>,
    /// Pods too many, ended, or where none belongs.
    unwanted: Vec<(String, String)>,
    misplaced: u64,
    /// Pods of another template.
    outdated: Vec<(String, String)>,
    updated: u64,
}

impl Worker {
    pub(super) fn sync_daemon_set(&mut self, namespace: &str, name: &str) {
        let Some(set) = self.read_living(Kind::DaemonSet, namespace, name) else {
            return;
        };
        let template = daemon_template(&set.value["spec"]["template"]);
        let revision = template_hash(&set.value["spec"]["template"]);
        let constraints = Constraints::read(&template["spec"]);
        let plan = self.plan(&set, &constraints, &revision);
        for (name, uid) in &plan.unwanted {
            self.delete(Kind::Pod, namespace, name, uid);
        }
        let mut created = 0;
        for node in &plan.missing {
            if created == BURST {
                self.sync_again(Kind::DaemonSet, &set);
                break;
            }
            if !self.create_daemon(&set, &template, &revision, node) {
                break;
            }
            created += 1;
        }
        let counts = self.members.counts(set.uid());
        if set.value["spec"]["updateStrategy"]["type"] != "OnDelete" {
            let limit = &set.value["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"];
            let missing = plan.wanted.saturating_sub(counts.ready);
            let room = count(limit, 1).max(1).saturating_sub(missing);
            for (name, uid) in plan
                .outdated
                .iter()
                .take(usize::try_from(room).unwrap_or(usize::MAX))
            {
                self.delete(Kind::Pod, namespace, name, uid);
            }
        }
        let counts = self.members.counts(set.uid());
        self.write_status(Kind::DaemonSet, &set, |value| {
            let generation = value["metadata"]["generation"].clone();
            let status = defaults::object(value, "status");
            for (field, value) in [
                ("observedGeneration", generation),
                ("desiredNumberScheduled", json!(plan.wanted)),
                (
                    "currentNumberScheduled",
                    json!(counts.active.min(plan.wanted)),
                ),
                ("updatedNumberScheduled", json!(plan.updated + created)),
                ("numberMisscheduled", json!(plan.misplaced)),
                ("numberReady", json!(counts.ready)),
                ("numberAvailable", json!(counts.ready)),
                (
                    "numberUnavailable",
                    json!(plan.wanted.saturating_sub(counts.ready)),
                ),
            ] {
                status.insert(field.to_owned(), value);
            }
        });
    }

    fn plan(&self, set: &Object, constraints: &Constraints, revision: &str) -> Plan {
        let mut plan = Plan::default();
        let wanted: HashSet<&str> = self
            .nodes
            .facts()
            .filter(|node| constraints.refusal(node).is_none())
            .map(|node| node.name.as_str())
            .collect();
        let mut on: HashMap<&str, &str> = HashMap::new();
        for (name, member) in self
            .members
            .group(set.uid())
            .into_iter()
            .flat_map(|group| &group.members)
        {
            let node = member.node.as_deref().unwrap_or_default();
            let entry = || (name.clone(), member.uid.clone());
            let belongs = wanted.contains(node);
            if !belongs {
                plan.misplaced += 1;
            }
            // What is on its way out still has its place.
            let first = !belongs || on.insert(node, name).is_none();
            if member.leaving {
                continue;
            }
            if !belongs || !first || !member.is_active() {
                plan.unwanted.push(entry());
            } else if member.revision == revision {
                plan.updated += 1;
            } else {
                plan.outdated.push(entry());
            }
        }
        plan.missing = wanted
            .iter()
            .filter(|node| !on.contains_key(**node))
            .map(|node| (*node).to_owned())
            .collect();
        plan.missing.sort();
        plan.wanted = wanted.len() as u64;
        plan
    }

    fn create_daemon(
        &mut self,
        set: &Object,
        template: &Value,
        revision: &str,
        node: &str,
    ) -> bool {
        let mut value = template.clone();
        add_labels(
            &mut value,
            &[
                ("controller-revision-hash", revision),
                ("pod-template-generation", "1"),
            ],
        );
        pin(defaults::object(&mut value, "spec"), node);
        let prefix = format!("{}-", set.name());
        let name = ChildName::Prefix(&prefix);
        self.create_child(Kind::Pod, Kind::DaemonSet, set, name, value)
            .is_some()
    }
}

/// The template with the tolerations every daemon has.
fn daemon_template(template: &Value) -> Value {
    let mut value = from_template(template);
    let tolerations = defaults::object(&mut value, "spec")
        .entry("tolerations")
        .or_insert_with(|| json!([]));
    if !tolerations.is_array() {
        *tolerations = json!([]);
    }
    if let Value::Array(list) = tolerations {
        list.extend(fit::daemon_tolerations());
    }
    value
}

/// The scheduler shall take this node and no other.
fn pin(spec: &mut serde_json::Map<String, Value>, node: &str) {
    let affinity = spec.entry("affinity").or_insert_with(|| json!({}));
    defaults::object(affinity, "nodeAffinity").insert(
        "requiredDuringSchedulingIgnoredDuringExecution".to_owned(),
        json!({"nodeSelectorTerms": [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]},
        ]}),
    );
}
