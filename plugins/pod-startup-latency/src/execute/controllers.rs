//! `WaitForControlledPodsRunning`.

use std::collections::BTreeSet;

use kperf_sdk::benchmark::prelude::*;

use super::Trouble;
use super::follow::Followed;
use crate::cl2::calls::Selector;
use crate::controlled::{CAPTURES, Controller, Wanted};

/// The tracker is asked this often; it costs the cluster nothing.
const PAUSE_MS: u64 = 500;

/// So many names at most in a message.
const MAX_NAMED: usize = 10;

/// Controllers that are followed from `start` on.
pub(super) struct ControllersFollowed {
    kind: Kind,
    objects: Followed,
    operation_timeout_ns: u64,
    wanted: Wanted,
    /// Deleted ones whose pods are known to be gone, by uid.
    gone: BTreeSet<String>,
}

/// A controller as last seen.
struct Seen {
    namespace: String,
    name: String,
    uid: String,
    deleted: bool,
    controller: Controller,
}

impl ControllersFollowed {
    pub(super) fn start(
        kind: Kind,
        selector: &Selector,
        test_namespaces: &[String],
        operation_timeout_ns: u64,
        wanted: Wanted,
    ) -> Result<Self, Failure> {
        let objects = Followed::start(selector, test_namespaces, |scope| {
            let options = TrackerOptions::new("WaitForControlledPodsRunning", kind.clone(), scope)
                .milestone(Milestone::new("deleted").on_deletion());
            CAPTURES.into_iter().fold(options, TrackerOptions::capture)
        })?;
        Ok(Self {
            kind,
            objects,
            operation_timeout_ns,
            wanted,
            gone: BTreeSet::new(),
        })
    }

    pub(super) fn stop(&self) {
        self.objects.stop();
    }

    /// Waits until every controller that is there has all its pods, and the pods of deleted ones are gone.
    ///
    /// The timeout counts from the last change of objects (ClusterLoader2: of each controller), and twice when
    /// something was deleted.
    pub(super) fn gather(
        &mut self,
        place: &str,
        sync_timeout_ns: u64,
        changed_ns: u64,
        deleted: bool,
    ) -> Result<(), Trouble> {
        self.sync(place, sync_timeout_ns)?;
        let factor = if deleted { 2 } else { 1 };
        let deadline_ns =
            changed_ns.saturating_add(self.operation_timeout_ns.saturating_mul(factor));
        loop {
            let seen = self.seen();
            let mut there = 0;
            let mut unfinished = Vec::new();
            for object in seen.iter().filter(|object| !object.deleted) {
                there += 1;
                let shortfall = object.controller.shortfall(&self.kind.kind, self.wanted);
                if let Some(shortfall) = shortfall {
                    unfinished.push(format!("{}/{}: {shortfall}", object.namespace, object.name));
                }
            }
            run::progress(place, there - unfinished.len() as u64, there);
            if unfinished.is_empty() {
                return self.pods_of_deleted_are_gone(place, &seen, deadline_ns);
            }
            if run::now_ns() >= deadline_ns {
                let named = unfinished.iter().take(MAX_NAMED).cloned();
                return Err(Trouble::Step(format!(
                    "timed out; {} of {there} {}s lack pods: {}",
                    unfinished.len(),
                    self.kind.kind,
                    named.collect::<Vec<_>>().join("; ")
                )));
            }
            run::sleep(PAUSE_MS)?;
        }
    }

    fn seen(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        self.objects.for_each(|object| {
            seen.push(Seen {
                namespace: object.namespace.clone(),
                name: object.name.clone(),
                uid: object.uid.clone(),
                deleted: object
                    .stamps
                    .first()
                    .is_some_and(|stamp| stamp.received_ns > 0),
                controller: Controller::new(&object.captures),
            });
        });
        seen
    }

    /// Waits until the watch shows what a list shows, so that nothing just created is overlooked.
    fn sync(&self, place: &str, timeout_ns: u64) -> Result<(), Trouble> {
        let mut expected = BTreeSet::new();
        for scope in self.objects.scopes() {
            let listed = match cluster::list(&self.kind, scope) {
                Ok(listed) => listed,
                // So many that only the watch can follow them: give it the time that it usually needs.
                Err(failure) if failure.code == "too-large" => {
                    return Ok(run::sleep(2_000)?);
                }
                Err(failure) => return Err(failure.into()),
            };
            for object in listed {
                let object: Value = serde_json::from_str(&object).map_err(Failure::from)?;
                let text = |pointer: &str| {
                    object
                        .pointer(pointer)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned()
                };
                if self.objects.includes(&text("/metadata/namespace")) {
                    expected.insert(text("/metadata/uid"));
                }
            }
        }
        let deadline_ns = run::now_ns().saturating_add(timeout_ns);
        loop {
            let mut there = BTreeSet::new();
            for object in self.seen() {
                if !object.deleted {
                    there.insert(object.uid);
                }
            }
            if there == expected {
                return Ok(());
            }
            run::progress(place, there.len() as u64, expected.len() as u64);
            if run::now_ns() >= deadline_ns {
                return Err(Trouble::Step(format!(
                    "timed out; the watch shows {} {}s, a list {}",
                    there.len(),
                    self.kind.kind,
                    expected.len()
                )));
            }
            run::sleep(PAUSE_MS.min(100))?;
        }
    }

    fn pods_of_deleted_are_gone(
        &mut self,
        place: &str,
        seen: &[Seen],
        deadline_ns: u64,
    ) -> Result<(), Trouble> {
        for object in seen.iter().filter(|object| object.deleted) {
            // A successor of the same name has pods of the same labels, which are not to go.
            let has_successor = seen.iter().any(|other| {
                !other.deleted && other.namespace == object.namespace && other.name == object.name
            });
            if !has_successor && !self.gone.contains(&object.uid) {
                self.pods_are_gone(place, object, deadline_ns)?;
                self.gone.insert(object.uid.clone());
            }
        }
        Ok(())
    }

    /// Waits until no pod has the labels of a controller.
    fn pods_are_gone(&self, place: &str, of: &Seen, deadline_ns: u64) -> Result<(), Trouble> {
        let kind = &self.kind.kind;
        let Some(selector) = of.controller.pod_selector(kind) else {
            return Ok(());
        };
        let scope = Scope::namespace(&of.namespace).labels(selector);
        loop {
            let left = cluster::list(&Kind::new("v1", "Pod"), &scope)?.len();
            if left == 0 {
                return Ok(());
            }
            run::progress(place, 0, left as u64);
            if run::now_ns() >= deadline_ns {
                return Err(Trouble::Step(format!(
                    "timed out; {left} pods of the deleted {kind} {}/{} are still there",
                    of.namespace, of.name
                )));
            }
            run::sleep(PAUSE_MS)?;
        }
    }
}
