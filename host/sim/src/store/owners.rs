//! Who depends on whom, by `metadata.ownerReferences`: what garbage collection needs to know.
//!
//! Only objects with owners cost anything here.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::object::Object;
use crate::registry::Resource;

/// An object that names an owner.
#[derive(Clone, Debug)]
pub(crate) struct Dependent {
    pub(crate) resource: Arc<Resource>,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// Resource, namespace and name: what makes a dependent one.
type Key = (String, String, String);

/// Dependents by the uid of their owner.
#[derive(Debug, Default)]
pub(super) struct Owners(HashMap<String, BTreeMap<Key, Dependent>>);

fn owners_of(object: &Object) -> impl Iterator<Item = &str> {
    object.value["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|owner| owner["uid"].as_str())
}

fn key(resource: &Resource, object: &Object) -> Key {
    (
        resource.qualified(),
        object.namespace().to_owned(),
        object.name().to_owned(),
    )
}

impl Owners {
    pub(super) fn add(&mut self, resource: &Arc<Resource>, object: &Object) {
        for uid in owners_of(object) {
            self.0.entry(uid.to_owned()).or_default().insert(
                key(resource, object),
                Dependent {
                    resource: Arc::clone(resource),
                    namespace: object.namespace().to_owned(),
                    name: object.name().to_owned(),
                },
            );
        }
    }

    pub(super) fn remove(&mut self, resource: &Resource, object: &Object) {
        for uid in owners_of(object) {
            if let Some(dependents) = self.0.get_mut(uid) {
                dependents.remove(&key(resource, object));
                if dependents.is_empty() {
                    self.0.remove(uid);
                }
            }
        }
    }

    pub(super) fn of(&self, uid: &str) -> Vec<Dependent> {
        self.0
            .get(uid)
            .map(|dependents| dependents.values().cloned().collect())
            .unwrap_or_default()
    }

    /// The dependents of an owner that is gone.
    pub(super) fn take(&mut self, uid: &str) -> Vec<Dependent> {
        self.0
            .remove(uid)
            .map(|dependents| dependents.into_values().collect())
            .unwrap_or_default()
    }
}
