//! Pods and VirtualMachineInstances by the controller that owns them, with counts kept up to date: a
//! controller of ten thousand pods learns from one change without looking at all of them.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{fit, kind::Kind};

/// What controllers ask of one of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) uid: String,
    /// It is being deleted.
    pub(super) leaving: bool,
    pub(super) phase: Phase,
    pub(super) ready: bool,
    /// It has a node, or can have but this one.
    pub(super) node: Option<String>,
    pub(super) bound: bool,
    /// `controller-revision-hash` or `pod-template-hash`.
    pub(super) revision: String,
    /// Completion index of a Job's pod.
    pub(super) index: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Underway,
    Succeeded,
    Failed,
}

/// How many members are what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) all: u64,
    /// Neither finished nor leaving.
    pub(super) active: u64,
    /// Active and ready.
    pub(super) ready: u64,
    /// Being deleted and not finished.
    pub(super) leaving: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
}

impl Counts {
    fn change(&mut self, member: &Member, by: impl Fn(u64) -> u64) {
        self.all = by(self.all);
        let count = match (member.phase, member.leaving) {
            (Phase::Succeeded, _) => &mut self.succeeded,
            (Phase::Failed, _) => &mut self.failed,
            (Phase::Underway, true) => &mut self.leaving,
            (Phase::Underway, false) => &mut self.active,
        };
        *count = by(*count);
        if member.is_active() && member.ready {
            self.ready = by(self.ready);
        }
    }
}

impl Member {
    pub(super) fn is_active(&self) -> bool {
        self.phase == Phase::Underway && !self.leaving
    }

    /// Reads a pod or VirtualMachineInstance.
    pub(super) fn read(value: &Value) -> Self {
        let metadata = &value["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let ready = value["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "Ready" && c["status"] == "True");
        let labels = &metadata["labels"];
        let bound = value["spec"]["nodeName"].as_str().filter(|n| !n.is_empty());
        Self {
            uid: text(&metadata["uid"]),
            leaving: !metadata["deletionTimestamp"].is_null(),
            phase: match value["status"]["phase"].as_str() {
                Some("Succeeded") => Phase::Succeeded,
                Some("Failed") => Phase::Failed,
                _ => Phase::Underway,
            },
            ready,
            node: bound
                .map(str::to_owned)
                .or_else(|| fit::pinned_to(&value["spec"])),
            bound: bound.is_some(),
            revision: labels["controller-revision-hash"]
                .as_str()
                .or_else(|| labels["pod-template-hash"].as_str())
                .unwrap_or_default()
                .to_owned(),
            index: labels["batch.kubernetes.io/job-completion-index"]
                .as_str()
                .and_then(|index| index.parse().ok()),
        }
    }
}

/// The members of one owner.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) members: BTreeMap<String, Member>,
    pub(super) counts: Counts,
}

impl Group {
    /// The names and uids of those a controller would rather lose: without a node first, then not ready.
    pub(super) fn least_wanted(&self, count: usize) -> Vec<(String, String)> {
        let mut active: Vec<(&String, &Member)> = self
            .members
            .iter()
            .filter(|(_, member)| member.is_active())
            .collect();
        active.sort_by_key(|(_, member)| (member.bound, member.ready));
        active
            .into_iter()
            .take(count)
            .map(|(name, member)| (name.clone(), member.uid.clone()))
            .collect()
    }
}

/// All groups, by the uid of their owner.
#[derive(Debug, Default)]
pub(super) struct Members {
    groups: HashMap<String, Group>,
    owner_of: HashMap<(Kind, String, String), String>,
}

impl Members {
    /// Takes note of the present state of an object; `None` when it is gone or has no controller.
    pub(super) fn set(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: &str,
        state: Option<(String, Member)>,
    ) {
        let key = (kind, namespace.to_owned(), name.to_owned());
        let before = match &state {
            Some((owner, _)) => self.owner_of.insert(key, owner.clone()),
            None => self.owner_of.remove(&key),
        };
        if let Some(owner) = before
            && let Some(group) = self.groups.get_mut(&owner)
        {
            if let Some(member) = group.members.remove(name) {
                group.counts.change(&member, |n| n.saturating_sub(1));
            }
            if group.members.is_empty() {
                self.groups.remove(&owner);
            }
        }
        if let Some((owner, member)) = state {
            let group = self.groups.entry(owner).or_default();
            group.counts.change(&member, |n| n + 1);
            group.members.insert(name.to_owned(), member);
        }
    }

    pub(super) fn group(&self, owner_uid: &str) -> Option<&Group> {
        self.groups.get(owner_uid)
    }

    pub(super) fn counts(&self, owner_uid: &str) -> Counts {
        self.group(owner_uid)
            .map_or_else(Counts::default, |g| g.counts)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(phase: &str, ready: bool, leaving: bool) -> Member {
        let mut value = json!({
            "metadata": {"uid": "u"},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": if ready {"True"} else {"False"}}]},
        });
        if leaving {
            value["metadata"]["deletionTimestamp"] = json!("2001-01-01T00:00:00Z");
        }
        Member::read(&value)
    }

    #[test]
    fn counts_follow_the_members() {
        let mut members = Members::default();
        let mut set = |name: &str, member: Option<Member>| {
            members.set(
                Kind::Pod,
                "ns",
                name,
                member.map(|m| ("owner".to_owned(), m)),
            );
            members.counts("owner")
        };
        set("a", Some(pod("Pending", false, false)));
        set("b", Some(pod("Running", true, false)));
        set("c", Some(pod("Running", true, true)));
        let counts = set("d", Some(pod("Succeeded", false, false)));
        let expected = Counts {
            all: 4,
            active: 2,
            ready: 1,
            leaving: 1,
            succeeded: 1,
            failed: 0,
        };
        assert_eq!(counts, expected);
        // The same again changes nothing.
        assert_eq!(set("b", Some(pod("Running", true, false))), expected);
        for name in ["a", "b", "c"] {
            set(name, None);
        }
        assert_eq!(set("d", None), Counts::default());
    }
}
