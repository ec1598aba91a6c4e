//! The objects, their history, and the one counter all of them share.
//!
//! A [`Collection`] holds the objects of one resource with its own lock; writers take the next
//! resourceVersion from the [`Store`]'s counter while they hold that lock, so within a collection
//! revisions only grow and a reader that holds the lock sees every change up to the counter.

mod cached_list;
mod collection;
mod continue_token;
mod object;
mod owners;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;

pub(crate) use collection::{Change, Collection, Event, EventKind, Outcome, Page, Query};
pub(crate) use continue_token::ContinueToken;
pub(crate) use object::{Object, new_uid, now_rfc3339};

pub(crate) use owners::Dependent;

use self::owners::Owners;
use crate::{
    lifecycle::Kind,
    registry::{Registry, Resource},
};

/// A change of an object that background work may have to follow up.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    pub(crate) resource: Arc<Resource>,
    pub(crate) object: Arc<Object>,
    pub(crate) kind: EventKind,
    /// What a deleted object leaves behind.
    pub(crate) dependents: Vec<Dependent>,
}

/// Everything the server remembers.
#[derive(Debug)]
pub(crate) struct Store {
    revision: AtomicU64,
    registry: RwLock<Arc<Registry>>,
    /// Events a collection keeps for watches and continued lists.
    history_events: usize,
    owners: Mutex<Owners>,
    /// Who follows up on changes: of the kinds that [`Kind`] lists, and of owners that are gone.
    follower: Mutex<Option<mpsc::UnboundedSender<Changed>>>,
}

impl Store {
    pub(crate) fn new(history_events: usize) -> Self {
        Self {
            revision: AtomicU64::new(1),
            registry: RwLock::new(Arc::new(Registry::builtin())),
            history_events,
            owners: Mutex::default(),
            follower: Mutex::new(None),
        }
    }

    /// The newest resourceVersion.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::SeqCst)
    }

    pub(crate) fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry.read())
    }

    pub(crate) fn change_registry(&self, change: impl FnOnce(&Registry) -> Registry) {
        let mut registry = self.registry.write();
        *registry = Arc::new(change(&registry));
    }

    pub(crate) fn resource(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Option<Arc<Resource>> {
        self.registry.read().find(group, version, plural)
    }

    /// Changes of resources with background work are sent here from now on.
    pub(crate) fn follow(&self, sender: mpsc::UnboundedSender<Changed>) {
        *self.follower.lock() = Some(sender);
    }

    /// Forgets all history: older watches and continued lists get 410.
    pub(crate) fn compact(&self) {
        for resource in self.registry().resources() {
            resource.collection.compact();
        }
    }

    /// Stores a new object.
    ///
    /// # Errors
    /// The object that already has the name.
    pub(crate) fn create(
        &self,
        resource: &Arc<Resource>,
        namespace: &str,
        name: &str,
        value: serde_json::Value,
    ) -> Result<Arc<Object>, Arc<Object>> {
        let object = resource
            .collection
            .create(self.writer(resource), namespace, name, value)?;
        self.tell(resource, &object, EventKind::Added);
        Ok(object)
    }

    /// Changes an object by a function of its current state, tried again when another writer was faster.
    ///
    /// # Errors
    /// What `change` returned. `Ok(None)` when there is no such object.
    pub(crate) fn update<E>(
        &self,
        resource: &Arc<Resource>,
        namespace: &str,
        name: &str,
        change: impl FnMut(&Arc<Object>) -> Result<Change, E>,
    ) -> Result<Option<Outcome>, E> {
        let outcome = resource
            .collection
            .update(self.writer(resource), namespace, name, change)?;
        match &outcome {
            Some(Outcome::Replaced(object)) => self.tell(resource, object, EventKind::Modified),
            Some(Outcome::Removed(object)) => self.tell(resource, object, EventKind::Deleted),
            Some(Outcome::Kept(_)) | None => {}
        }
        Ok(outcome)
    }

    fn writer<'a>(&'a self, resource: &'a Resource) -> collection::Writer<'a> {
        collection::Writer {
            resource,
            revision: &self.revision,
            history_events: self.history_events,
        }
    }

    /// The objects that name an owner.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<Dependent> {
        self.owners.lock().of(uid)
    }

    /// Lets the dependents of an object outlive it.
    pub(crate) fn orphan(&self, uid: &str) {
        let _ = self.owners.lock().take(uid);
    }

    fn tell(&self, resource: &Arc<Resource>, object: &Arc<Object>, kind: EventKind) {
        if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
            let spec = &object.value["spec"];
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            self.change_registry(|registry| match kind {
                EventKind::Deleted => {
                    registry.without_custom(&text(&spec["group"]), &text(&spec["names"]["plural"]))
                }
                EventKind::Added | EventKind::Modified => registry.with_custom(&object.value),
            });
        }
        let dependents = {
            let mut owners = self.owners.lock();
            match kind {
                EventKind::Added | EventKind::Modified => {
                    owners.add(resource, object);
                    Vec::new()
                }
                EventKind::Deleted => {
                    owners.remove(resource, object);
                    owners.take(object.uid())
                }
            }
        };
        let followed = Kind::of(resource).is_some();
        if (followed || !dependents.is_empty())
            && let Some(follower) = self.follower.lock().as_ref()
        {
            // Fails only while the server stops.
            let _ = follower.send(Changed {
                resource: Arc::clone(resource),
                object: Arc::clone(object),
                kind,
                dependents,
            });
        }
    }
}
