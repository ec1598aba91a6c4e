//! What goes because something else went: dependents of deleted owners, contents of deleted namespaces.

use std::{convert::Infallible, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Kind, Worker, queue::Task};
use crate::{
    registry::Resource,
    store::{Change, Dependent, Object, Query},
    verbs::{self, remove_now},
};

/// A namespace that something holds on to is looked at again no sooner than this.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);

impl Worker {
    /// Deletes what depended on an owner that is gone; what has other owners only loses this one.
    pub(super) fn collect(&mut self, dependent: &Dependent, owner_uid: &str) {
        let Dependent {
            resource,
            namespace,
            name,
        } = dependent;
        let Some(object) = resource.collection.get(namespace, name) else {
            return;
        };
        let is_owner = |owner: &Value| owner["uid"] == owner_uid;
        let owners = object.value["metadata"]["ownerReferences"].as_array();
        if !owners.is_some_and(|owners| owners.iter().any(is_owner)) {
            return;
        }
        if owners.is_some_and(|owners| owners.iter().all(is_owner)) {
            verbs::delete_now_or_gracefully(&self.store, resource, namespace, name, object.uid());
        } else {
            let result = self.store.update(resource, namespace, name, |current| {
                let mut value = current.value.clone();
                if let Some(owners) = value["metadata"]["ownerReferences"].as_array_mut() {
                    owners.retain(|owner| !is_owner(owner));
                }
                Ok::<_, Infallible>(Change::Replace(value))
            });
            match result {
                Ok(_) => {}
                Err(never) => match never {},
            }
        }
        if let Some(kind) = Kind::of(resource) {
            self.observe(kind, namespace, name);
        }
    }

    /// Deletes what is in a namespace, then the namespace; tries again while something holds on.
    pub(super) fn empty_namespace(&mut self, task: &Task) {
        let mut left = false;
        let registry = self.store.registry();
        for resource in registry.resources().iter().filter(|r| r.namespaced) {
            left |= !self.empty(resource, &task.name);
        }
        let gone = self.write(Kind::Namespace, "", &task.name, |namespace| {
            let finalizers = namespace.value["metadata"]["finalizers"]
                .as_array()
                .is_some_and(|f| !f.is_empty());
            if namespace.uid() != task.uid || left || finalizers {
                return Change::Keep;
            }
            let mut value = namespace.value.clone();
            value["spec"]["finalizers"] = json!([]);
            Change::Remove(value)
        });
        let still_there = || {
            self.read(Kind::Namespace, "", &task.name)
                .is_some_and(|namespace| namespace.uid() == task.uid)
        };
        if gone.is_none() && still_there() {
            let wait = self.played.delays.terminate.max(SHORTEST_WAIT);
            self.queue.push(Instant::now() + wait, task.clone());
        }
    }

    /// Whether nothing is left.
    fn empty(&mut self, resource: &Arc<Resource>, namespace: &str) -> bool {
        let everything = |_: &Object| true;
        let query = Query {
            namespace: Some(namespace),
            at: None,
            after: None,
            limit: 0,
            matches: &everything,
        };
        let Ok(page) = resource.collection.page(&|| self.store.revision(), &query) else {
            return true;
        };
        let kind = Kind::of(resource);
        page.items.iter().fold(true, |empty, object| {
            let name = object.name();
            remove_now(&self.store, resource, namespace, name, object.uid());
            if let Some(kind) = kind {
                self.observe(kind, namespace, name);
            }
            empty && resource.collection.get(namespace, name).is_none()
        })
    }
}
