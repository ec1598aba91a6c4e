//! When the run asked for each object, and when it had the answer.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
};

use parking_lot::Mutex;

use crate::api::Resource;

/// When an object was asked for. Nanoseconds from the start of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The request (the first, if it was tried again) was sent.
    pub sent_ns: u64,
    /// The answer was read to its end.
    pub answered_ns: u64,
}

/// Stamps of everything a run created, by resource, namespace, name and UID: what is deleted and created
/// anew under the same name is another object.
///
/// These are kept as 128 bits of keyed hash, so that an object costs at most 75 bytes however long its
/// name is; two of a million objects share a hash with a probability of 10^-27.
#[derive(Debug, Default)]
pub struct Stamps {
    keys: [RandomState; 2],
    stamps: Mutex<HashMap<u128, Stamp>>,
}

impl Stamps {
    /// The stamp of an object; `namespace` is empty for kinds without one. `uid` is the tracker's: of an object
    /// that has none, namespace and name.
    #[must_use]
    pub fn get(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Option<Stamp> {
        let key = self.key(resource, namespace, name, uid);
        self.stamps.lock().get(&key).copied()
    }

    /// Keeps the stamp unless there is one: the first change brought the object into being, an apply that finds
    /// it there did not. `uid` is empty where the server gives none.
    pub(crate) fn put(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        uid: &str,
        stamp: Stamp,
    ) {
        let key = if uid.is_empty() {
            let uid = uid_by_name(namespace, name);
            self.key(resource, namespace, name, &uid)
        } else {
            self.key(resource, namespace, name, uid)
        };
        self.stamps.lock().entry(key).or_insert(stamp);
    }

    /// Objects stamped.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stamps.lock().len()
    }

    /// Whether nothing was created yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn key(&self, resource: &Resource, namespace: &str, name: &str, uid: &str) -> u128 {
        let object = (&resource.group, &resource.plural, namespace, name, uid);
        let [high, low] = [&self.keys[0], &self.keys[1]].map(|key| key.hash_one(object));
        u128::from(high) << 64 | u128::from(low)
    }
}

/// What stands for the UID of an object that has none, as some aggregated APIs serve them.
pub(crate) fn uid_by_name(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(plural: &str) -> Resource {
        Resource {
            group: String::new(),
            version: "v1".into(),
            plural: plural.into(),
            kind: String::new(),
            namespaced: true,
            verbs: Vec::new(),
            subresources: Vec::new(),
        }
    }

    #[test]
    fn objects_are_told_apart() {
        let stamps = Stamps::default();
        let (pods, jobs) = (resource("pods"), resource("jobs"));
        let at = |sent_ns| Stamp {
            sent_ns,
            answered_ns: sent_ns + 1,
        };
        stamps.put(&pods, "a", "bc", "u", at(1));
        stamps.put(&pods, "ab", "c", "u", at(2));
        stamps.put(&jobs, "a", "bc", "u", at(3));
        stamps.put(&jobs, "a", "bc", "v", at(4));
        // The same one, applied later.
        stamps.put(&jobs, "a", "bc", "u", at(5));
        assert_eq!(stamps.get(&pods, "a", "bc", "u"), Some(at(1)));
        assert_eq!(stamps.get(&pods, "ab", "c", "u"), Some(at(2)));
        assert_eq!(stamps.get(&jobs, "a", "bc", "u"), Some(at(3)));
        assert_eq!(stamps.get(&jobs, "a", "bc", "v"), Some(at(4)));
        assert_eq!(stamps.get(&jobs, "a", "bc", "w"), None);
        assert_eq!(stamps.get(&jobs, "ab", "c", "u"), None);
        assert_eq!(stamps.len(), 4);
    }

    #[test]
    fn without_a_uid_the_name_has_to_do() {
        let (stamps, pods) = (Stamps::default(), resource("pods"));
        let stamp = Stamp {
            sent_ns: 1,
            answered_ns: 2,
        };
        stamps.put(&pods, "a", "b", "", stamp);
        assert_eq!(stamps.get(&pods, "a", "b", "a/b"), Some(stamp));
    }

    #[test]
    fn an_entry_is_small() {
        // A table is never emptier than 7/16 after it grew, and has one byte of its own an entry.
        let entry = size_of::<(u128, Stamp)>() + 1;
        assert!(entry * 16 / 7 <= 100, "{entry}");
    }
}
