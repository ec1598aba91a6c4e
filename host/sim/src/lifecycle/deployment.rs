//! Deployments: one ReplicaSet per template, and the way from the old ones to the new.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Kind, Worker,
    child::{ChildName, add_labels, count, from_template, template_hash},
    condition::{self, Condition},
    queue::{Step, Task},
};
use crate::{
    defaults,
    store::{Object, now_rfc3339},
};

const HASH: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";

/// How many pods there may be more, and fewer, than asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slack {
    surge: u64,
    unavailable: u64,
}

impl Slack {
    fn read(deployment: &Value, wanted: u64) -> Self {
        let strategy = &deployment["spec"]["strategy"];
        if strategy["type"] == "Recreate" {
            return Self {
                surge: 0,
                unavailable: wanted,
            };
        }
        let rolling = &strategy["rollingUpdate"];
        let surge = share(&rolling["maxSurge"], wanted, u64::div_ceil);
        let unavailable = share(&rolling["maxUnavailable"], wanted, |n, d| n / d);
        // Nothing could ever move with neither.
        let stuck = surge == 0 && unavailable == 0;
        Self {
            surge,
            unavailable: if stuck { 1 } else { unavailable },
        }
    }
}

/// A count, or a percentage of `whole`; a quarter when it is not given.
fn share(value: &Value, whole: u64, divide: fn(u64, u64) -> u64) -> u64 {
    if let Some(count) = value.as_u64() {
        return count;
    }
    let percent = value
        .as_str()
        .and_then(|text| text.strip_suffix('%')?.parse().ok())
        .unwrap_or(25);
    divide(whole.saturating_mul(percent), 100)
}

fn replicas(set: &Object) -> u64 {
    count(&set.value["spec"]["replicas"], 1)
}

fn revision(object: &Object) -> u64 {
    object.value["metadata"]["annotations"][REVISION]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

impl Worker {
    pub(super) fn sync_deployment(&mut self, namespace: &str, name: &str) {
        let Some(deployment) = self.read_living(Kind::Deployment, namespace, name) else {
            return;
        };
        let wanted = count(&deployment.value["spec"]["replicas"], 1);
        let slack = Slack::read(&deployment.value, wanted);
        let hash = template_hash(&deployment.value["spec"]["template"]);
        let (mut new, old) = self.replica_sets(&deployment, &hash);
        if deployment.value["spec"]["paused"] != true {
            if new.is_none() {
                new = self.create_replica_set(&deployment, &hash, &old, wanted, slack);
            }
            if let Some(new) = &new {
                self.roll(&deployment, new, &old, wanted, slack);
                self.forget_old(&deployment, &old);
            }
        }
        let (new, old) = self.replica_sets(&deployment, &hash);
        self.write_deployment_status(&deployment, new.as_deref(), &old, wanted, slack);
    }

    /// The set of the present template, and the others from the oldest on.
    fn replica_sets(
        &self,
        deployment: &Object,
        hash: &str,
    ) -> (Option<Arc<Object>>, Vec<Arc<Object>>) {
        let mut sets: Vec<Arc<Object>> = self
            .store
            .dependents(deployment.uid())
            .iter()
            .filter(|dependent| dependent.resource.is("apps", "replicasets"))
            .filter_map(|d| d.resource.collection.get(&d.namespace, &d.name))
            .filter(|set| set.value["metadata"]["deletionTimestamp"].is_null())
            .collect();
        sets.sort_by_key(|set| revision(set));
        let new = sets
            .iter()
            .position(|set| set.value["metadata"]["labels"][HASH] == hash)
            .map(|at| sets.remove(at));
        (new, sets)
    }

    fn create_replica_set(
        &mut self,
        deployment: &Object,
        hash: &str,
        old: &[Arc<Object>],
        wanted: u64,
        slack: Slack,
    ) -> Option<Arc<Object>> {
        let spec = &deployment.value["spec"];
        let mut template = from_template(&spec["template"]);
        add_labels(&mut template, &[(HASH, hash)]);
        let mut selector = spec["selector"].clone();
        defaults::object(&mut selector, "matchLabels").insert(HASH.to_owned(), json!(hash));
        let revision = old.iter().map(|set| revision(set)).max().unwrap_or(0) + 1;
        let value = json!({
            "metadata": {
                "labels": template["metadata"]["labels"],
                "annotations": {
                    REVISION: revision.to_string(),
                    "deployment.kubernetes.io/desired-replicas": wanted.to_string(),
                    "deployment.kubernetes.io/max-replicas": (wanted + slack.surge).to_string(),
                },
            },
            "spec": {
                "replicas": if old.iter().all(|set| replicas(set) == 0) { wanted } else { 0 },
                "selector": selector,
                "template": template,
            },
        });
        let name = format!("{}-{hash}", deployment.name());
        let name = ChildName::Exact(&name);
        self.create_child(Kind::ReplicaSet, Kind::Deployment, deployment, name, value)
    }

    /// One step from the old sets to the new; each change of their pods brings the next.
    fn roll(
        &mut self,
        deployment: &Object,
        new: &Arc<Object>,
        old: &[Arc<Object>],
        wanted: u64,
        slack: Slack,
    ) {
        let of_old: u64 = old.iter().map(|set| replicas(set)).sum();
        if of_old == 0 {
            // With Recreate, the last old pod has to be gone.
            let lingering = old.iter().any(|set| self.members.counts(set.uid()).all > 0);
            if deployment.value["spec"]["strategy"]["type"] != "Recreate" || !lingering {
                self.scale(new, wanted);
            }
            return;
        }
        let room = (wanted + slack.surge).saturating_sub(of_old + replicas(new));
        let recreate = deployment.value["spec"]["strategy"]["type"] == "Recreate";
        let up = if recreate {
            replicas(new)
        } else {
            (replicas(new) + room).min(wanted)
        };
        self.scale(new, up);
        let available: u64 = old
            .iter()
            .chain([new])
            .map(|set| self.members.counts(set.uid()).ready)
            .sum();
        let mut spare = available.saturating_sub(wanted.saturating_sub(slack.unavailable));
        for set in old {
            let counts = self.members.counts(set.uid());
            // Pods that are not ready serve nobody: they go first, and for free.
            let idle = counts.active.saturating_sub(counts.ready);
            let idle = idle.min(replicas(set));
            let down = spare.min(replicas(set) - idle);
            spare -= down;
            self.scale(set, replicas(set) - idle - down);
        }
    }

    fn scale(&mut self, set: &Object, to: u64) {
        if replicas(set) == to {
            return;
        }
        let task = Task {
            step: Step::Sync(Kind::ReplicaSet),
            namespace: set.namespace().to_owned(),
            name: set.name().to_owned(),
            uid: set.uid().to_owned(),
        };
        self.change(Kind::ReplicaSet, &task, |set| {
            (replicas(set) != to).then(|| {
                let mut value = set.value.clone();
                value["spec"]["replicas"] = json!(to);
                let generation = value["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
                value["metadata"]["generation"] = json!(generation);
                value
            })
        });
    }

    /// Deletes empty old sets beyond the limit.
    fn forget_old(&mut self, deployment: &Object, old: &[Arc<Object>]) {
        let limit = count(&deployment.value["spec"]["revisionHistoryLimit"], 10);
        let surplus = old
            .len()
            .saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        for set in old.iter().take(surplus) {
            if replicas(set) == 0 && self.members.counts(set.uid()).all == 0 {
                self.delete(Kind::ReplicaSet, set.namespace(), set.name(), set.uid());
            }
        }
    }

    fn write_deployment_status(
        &mut self,
        deployment: &Object,
        new: Option<&Object>,
        old: &[Arc<Object>],
        wanted: u64,
        slack: Slack,
    ) {
        let of_new = new.map(|set| self.members.counts(set.uid()));
        let of_new = of_new.unwrap_or_default();
        let (mut all, mut ready) = (of_new.active, of_new.ready);
        for set in old {
            let counts = self.members.counts(set.uid());
            all += counts.active;
            ready += counts.ready;
        }
        let available = ready >= wanted.saturating_sub(slack.unavailable);
        let complete = of_new.ready >= wanted && all == of_new.active;
        let of_revision = new.map(revision);
        let new_name = new.map(|set| set.name().to_owned()).unwrap_or_default();
        self.write_status(Kind::Deployment, deployment, |value| {
            let now = now_rfc3339();
            let generation = value["metadata"]["generation"].clone();
            let mut status = serde_json::Map::new();
            status.insert("observedGeneration".to_owned(), generation);
            // As with the real one, nought is not written.
            for (field, count) in [
                ("replicas", all),
                ("updatedReplicas", of_new.active),
                ("readyReplicas", ready),
                ("availableReplicas", ready),
                ("unavailableReplicas", all.max(wanted) - ready.min(wanted)),
            ] {
                if count > 0 {
                    status.insert(field.to_owned(), json!(count));
                }
            }
            if let Some(conditions) = value["status"].get("conditions") {
                status.insert("conditions".to_owned(), conditions.clone());
            }
            value["status"] = Value::Object(status);
            let (reason, message) = if available {
                (
                    "MinimumReplicasAvailable",
                    "Deployment has minimum availability.",
                )
            } else {
                (
                    "MinimumReplicasUnavailable",
                    "Deployment does not have minimum availability.",
                )
            };
            let condition = Condition {
                kind: "Available",
                status: available,
                reason,
                message,
            };
            condition::set(value, condition, &now);
            if of_revision.is_some() {
                let (reason, message) = if complete {
                    (
                        "NewReplicaSetAvailable",
                        format!("ReplicaSet \"{new_name}\" has successfully progressed."),
                    )
                } else {
                    (
                        "ReplicaSetUpdated",
                        format!("ReplicaSet \"{new_name}\" is progressing."),
                    )
                };
                let condition = Condition {
                    kind: "Progressing",
                    status: true,
                    reason,
                    message: &message,
                };
                condition::set(value, condition, &now);
            }
            if let Some(revision) = of_revision {
                let metadata = defaults::object(value, "metadata");
                let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
                if let Value::Object(annotations) = annotations {
                    annotations.insert(REVISION.to_owned(), json!(revision.to_string()));
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surge_rounds_up_and_unavailable_down() {
        let of = |spec: Value, wanted| Slack::read(&json!({"spec": {"strategy": spec}}), wanted);
        let slack = |surge, unavailable| Slack { surge, unavailable };
        assert_eq!(of(json!({}), 10), slack(3, 2));
        assert_eq!(of(json!({"type": "Recreate"}), 10), slack(0, 10));
        assert_eq!(
            of(
                json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "1%"}}),
                10
            ),
            slack(0, 1)
        );
    }
}
