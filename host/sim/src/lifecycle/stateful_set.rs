//! StatefulSets: pods `<name>-<ordinal>`, one after another unless they are to come in parallel.

use serde_json::{Value, json};

use super::{
    Kind, Worker,
    child::{BURST, ChildName, add_labels, count, from_template, template_hash},
};
use crate::{defaults, store::Object};

impl Worker {
    pub(super) fn sync_stateful_set(&mut self, namespace: &str, name: &str) {
        let Some(set) = self.read_living(Kind::StatefulSet, namespace, name) else {
            return;
        };
        let wanted = count(&set.value["spec"]["replicas"], 1);
        let revision = format!("{name}-{}", template_hash(&set.value["spec"]["template"]));
        let parallel = set.value["spec"]["podManagementPolicy"] == "Parallel";
        self.move_ordinals(&set, wanted, &revision, parallel);
        let counts = self.members.counts(set.uid());
        let updated = self.members.group(set.uid()).map_or(0, |group| {
            let members = group.members.values();
            members
                .filter(|member| member.is_active() && member.revision == revision)
                .count()
        });
        let all_updated = updated as u64 == wanted && counts.ready == wanted;
        self.write_status(Kind::StatefulSet, &set, |value| {
            let generation = value["metadata"]["generation"].clone();
            let status = defaults::object(value, "status");
            let current = status
                .get("currentRevision")
                .filter(|current| current.is_string() && !all_updated)
                .cloned()
                .unwrap_or_else(|| json!(revision));
            for (field, value) in [
                ("observedGeneration", generation),
                ("replicas", json!(counts.active)),
                ("readyReplicas", json!(counts.ready)),
                ("availableReplicas", json!(counts.ready)),
                ("currentReplicas", json!(counts.active)),
                ("updatedReplicas", json!(updated)),
                ("currentRevision", current),
                ("updateRevision", json!(revision)),
                ("collisionCount", json!(0)),
            ] {
                status.insert(field.to_owned(), value);
            }
        });
    }

    /// One step towards the pods of the set; each change of them brings the next.
    fn move_ordinals(&mut self, set: &Object, wanted: u64, revision: &str, parallel: bool) {
        let counts = self.members.counts(set.uid());
        // In order, nothing moves until what moved before has arrived.
        if !parallel && counts.ready < counts.all {
            self.replace_ended(set);
            return;
        }
        let mut made = 0;
        if counts.all < wanted || self.has_gap(set, counts.all) {
            for ordinal in 0..wanted {
                if self.has(set, ordinal) {
                    continue;
                }
                if made == if parallel { BURST } else { 1 } {
                    self.sync_again(Kind::StatefulSet, set);
                    return;
                }
                if !self.create_ordinal(set, ordinal, revision) {
                    return;
                }
                made += 1;
            }
        }
        if made > 0 {
            return;
        }
        let mut surplus: Vec<(u64, String, String)> = Vec::new();
        let mut outdated: Vec<(u64, String, String)> = Vec::new();
        let rolls = set.value["spec"]["updateStrategy"]["type"] != "OnDelete";
        for (name, member) in self
            .members
            .group(set.uid())
            .into_iter()
            .flat_map(|group| &group.members)
            .filter(|(_, member)| !member.leaving)
        {
            let ordinal = name.rsplit('-').next().and_then(|end| end.parse().ok());
            let entry = (
                ordinal.unwrap_or(u64::MAX),
                name.clone(),
                member.uid.clone(),
            );
            if entry.0 >= wanted {
                surplus.push(entry);
            } else if rolls && member.revision != revision {
                outdated.push(entry);
            }
        }
        // The highest first.
        surplus.sort_by(|a, b| b.cmp(a));
        outdated.sort_by(|a, b| b.cmp(a));
        let at_once = if parallel { usize::MAX } else { 1 };
        let going = if surplus.is_empty() {
            outdated.into_iter().take(1)
        } else {
            surplus.into_iter().take(at_once)
        };
        for (_, name, uid) in going {
            self.delete(Kind::Pod, set.namespace(), &name, &uid);
        }
    }

    /// Pods of a StatefulSet never end for good.
    fn replace_ended(&mut self, set: &Object) {
        let counts = self.members.counts(set.uid());
        if counts.succeeded + counts.failed == 0 {
            return;
        }
        let ended: Vec<(String, String)> = self
            .members
            .group(set.uid())
            .into_iter()
            .flat_map(|group| &group.members)
            .filter(|(_, member)| !member.is_active() && !member.leaving)
            .map(|(name, member)| (name.clone(), member.uid.clone()))
            .collect();
        for (name, uid) in ended {
            self.delete(Kind::Pod, set.namespace(), &name, &uid);
        }
    }

    fn has(&self, set: &Object, ordinal: u64) -> bool {
        let name = format!("{}-{ordinal}", set.name());
        self.members
            .group(set.uid())
            .is_some_and(|group| group.members.contains_key(&name))
    }

    /// Whether the last of `count` ordinals is not there: then one before is missing, or one behind is left.
    fn has_gap(&self, set: &Object, count: u64) -> bool {
        count > 0 && !self.has(set, count - 1)
    }

    fn create_ordinal(&mut self, set: &Object, ordinal: u64, revision: &str) -> bool {
        let name = format!("{}-{ordinal}", set.name());
        let mut value = from_template(&set.value["spec"]["template"]);
        add_labels(
            &mut value,
            &[
                ("statefulset.kubernetes.io/pod-name", &name),
                ("apps.kubernetes.io/pod-index", &ordinal.to_string()),
                ("controller-revision-hash", revision),
            ],
        );
        let spec = defaults::object(&mut value, "spec");
        spec.insert("hostname".to_owned(), json!(name));
        if let Value::String(service) = &set.value["spec"]["serviceName"] {
            spec.insert("subdomain".to_owned(), json!(service));
        }
        let name = ChildName::Exact(&name);
        self.create_child(Kind::Pod, Kind::StatefulSet, set, name, value)
            .is_some()
    }
}
