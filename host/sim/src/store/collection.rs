//! The objects of one resource, by namespace and name, with the recent history of changes.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use tokio::sync::watch;

use super::{
    cached_list::{CachedItems, ListChunks},
    object::Object,
};
use crate::registry::Resource;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    Added,
    Modified,
    Deleted,
}

/// One entry of the history. Its revision is `object.revision`.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) kind: EventKind,
    /// The new state; of a deletion the last state, stamped with the deletion's revision.
    pub(crate) object: Arc<Object>,
    pub(crate) previous: Option<Arc<Object>>,
}

/// What an update function decides.
#[derive(Debug)]
pub(crate) enum Change {
    /// Leave the object and its revision alone.
    Keep,
    Replace(Value),
    /// Remove it; the value is its last state.
    Remove(Value),
}

/// What an update did.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Kept(Arc<Object>),
    Replaced(Arc<Object>),
    Removed(Arc<Object>),
}

impl Outcome {
    pub(crate) fn object(&self) -> &Arc<Object> {
        match self {
            Self::Kept(object) | Self::Replaced(object) | Self::Removed(object) => object,
        }
    }
}

/// What a writer brings along.
#[derive(Clone, Copy)]
pub(super) struct Writer<'a> {
    pub(super) resource: &'a Resource,
    pub(super) revision: &'a AtomicU64,
    pub(super) history_events: usize,
}

impl Writer<'_> {
    fn next_revision(&self) -> u64 {
        self.revision.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// A selection of objects.
pub(crate) struct Query<'a> {
    /// `None` = all namespaces (or a cluster-scoped resource).
    pub(crate) namespace: Option<&'a str>,
    /// State as of this revision; `None` = now.
    pub(crate) at: Option<u64>,
    /// Start behind this namespace and name.
    pub(crate) after: Option<(&'a str, &'a str)>,
    /// At most so many; 0 = no limit.
    pub(crate) limit: usize,
    pub(crate) matches: &'a dyn Fn(&Object) -> bool,
}

/// A page of objects.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) items: Vec<Arc<Object>>,
    /// The revision the whole list is consistent with.
    pub(crate) revision: u64,
    /// Objects behind the last item, before selection; 0 = the list is complete.
    pub(crate) remaining: usize,
}

#[derive(Debug, Default)]
struct Objects {
    namespaces: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<Object>>>,
    history: VecDeque<Event>,
    /// Changes up to and including this revision are no longer in `history`.
    compacted: u64,
}

/// The objects of one resource.
#[derive(Debug)]
pub(crate) struct Collection {
    objects: RwLock<Objects>,
    /// Encoded list items by namespace.
    cached: Mutex<CachedItems>,
    changed: watch::Sender<u64>,
}

impl Default for Collection {
    fn default() -> Self {
        Self {
            objects: RwLock::default(),
            cached: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }
}

impl Collection {
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.objects
            .read()
            .namespaces
            .get(namespace)?
            .get(name)
            .cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.objects
            .read()
            .namespaces
            .values()
            .map(BTreeMap::len)
            .sum()
    }

    /// Told the newest revision after each change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn create(
        &self,
        writer: Writer<'_>,
        namespace: &str,
        name: &str,
        value: Value,
    ) -> Result<Arc<Object>, Arc<Object>> {
        let mut objects = self.objects.write();
        let in_namespace = match objects.namespaces.get_mut(namespace) {
            Some(map) => map,
            None => objects.namespaces.entry(namespace.into()).or_default(),
        };
        if let Some(existing) = in_namespace.get(name) {
            return Err(Arc::clone(existing));
        }
        let object = Arc::new(Object::new(writer.resource, writer.next_revision(), value));
        in_namespace.insert(name.into(), Arc::clone(&object));
        self.record(
            &mut objects,
            writer,
            namespace,
            Event {
                kind: EventKind::Added,
                object: Arc::clone(&object),
                previous: None,
            },
        );
        Ok(object)
    }

    pub(super) fn update<E>(
        &self,
        writer: Writer<'_>,
        namespace: &str,
        name: &str,
        mut change: impl FnMut(&Arc<Object>) -> Result<Change, E>,
    ) -> Result<Option<Outcome>, E> {
        loop {
            let Some(current) = self.get(namespace, name) else {
                return Ok(None);
            };
            // Outside the lock: a patch may take long.
            let decided = change(&current)?;
            let (value, removed) = match decided {
                Change::Keep => return Ok(Some(Outcome::Kept(current))),
                Change::Replace(value) => (value, false),
                Change::Remove(value) => (value, true),
            };
            let mut objects = self.objects.write();
            let Some(in_namespace) = objects.namespaces.get_mut(namespace) else {
                continue;
            };
            if !in_namespace
                .get(name)
                .is_some_and(|o| Arc::ptr_eq(o, &current))
            {
                continue;
            }
            let object = Arc::new(Object::new(writer.resource, writer.next_revision(), value));
            if removed {
                in_namespace.remove(name);
                if in_namespace.is_empty() {
                    objects.namespaces.remove(namespace);
                }
            } else {
                in_namespace.insert(name.into(), Arc::clone(&object));
            }
            let kind = if removed {
                EventKind::Deleted
            } else {
                EventKind::Modified
            };
            self.record(
                &mut objects,
                writer,
                namespace,
                Event {
                    kind,
                    object: Arc::clone(&object),
                    previous: Some(current),
                },
            );
            return Ok(Some(if removed {
                Outcome::Removed(object)
            } else {
                Outcome::Replaced(object)
            }));
        }
    }

    fn record(&self, objects: &mut Objects, writer: Writer<'_>, namespace: &str, event: Event) {
        let revision = event.object.revision;
        objects.history.push_back(event);
        while objects.history.len() > writer.history_events {
            if let Some(dropped) = objects.history.pop_front() {
                objects.compacted = dropped.object.revision;
            }
        }
        self.cached.lock().forget(namespace);
        self.changed.send_replace(revision);
    }

    pub(crate) fn compact(&self) {
        let mut objects = self.objects.write();
        if let Some(last) = objects.history.back().map(|e| e.object.revision) {
            objects.compacted = last;
        }
        objects.history.clear();
    }

    /// The changes after `revision`, oldest first.
    ///
    /// # Errors
    /// The oldest revision a watch can start from, when `revision` is older.
    pub(crate) fn events_since(&self, revision: u64) -> Result<Vec<Event>, u64> {
        let objects = self.objects.read();
        if revision < objects.compacted {
            return Err(objects.compacted);
        }
        let start = objects
            .history
            .partition_point(|e| e.object.revision <= revision);
        Ok(objects.history.range(start..).cloned().collect())
    }

    /// A page of the objects as of `query.at`.
    ///
    /// # Errors
    /// The oldest revision that is still known, when `query.at` is older.
    pub(crate) fn page(&self, revision: &dyn Fn() -> u64, query: &Query<'_>) -> Result<Page, u64> {
        let objects = self.objects.read();
        let now = revision();
        let at = query.at.unwrap_or(now).min(now);
        if at < objects.compacted {
            return Err(objects.compacted);
        }
        // Undo what happened after `at`: the first later change of a key knows the state before it.
        let later = objects.history.partition_point(|e| e.object.revision <= at);
        let mut before: HashMap<(&str, &str), Option<&Arc<Object>>> = HashMap::new();
        for event in objects.history.range(later..) {
            before
                .entry((event.object.namespace(), event.object.name()))
                .or_insert(event.previous.as_ref());
        }
        let mut page = Page {
            items: Vec::new(),
            revision: at,
            remaining: 0,
        };
        if before.is_empty() {
            take(
                &mut page,
                query,
                objects.range(query).map(|(_, _, object)| object),
            );
        } else {
            let mut state: BTreeMap<(&str, &str), &Arc<Object>> = objects
                .range(query)
                .filter(|(namespace, name, _)| !before.contains_key(&(*namespace, *name)))
                .map(|(namespace, name, object)| ((namespace, name), object))
                .collect();
            state.extend(
                before
                    .into_iter()
                    .filter_map(|(key, object)| Some((key, object?)))
                    .filter(|((namespace, name), _)| {
                        query.namespace.is_none_or(|wanted| wanted == *namespace)
                            && query.after.is_none_or(|after| (*namespace, *name) > after)
                    }),
            );
            take(&mut page, query, state.into_values());
        }
        Ok(page)
    }

    /// All items of one or all namespaces as they are now, encoded; parts are shared between calls.
    pub(crate) fn encoded_items(
        &self,
        revision: &dyn Fn() -> u64,
        namespace: Option<&str>,
    ) -> (ListChunks, u64) {
        let objects = self.objects.read();
        let now = revision();
        let mut cached = self.cached.lock();
        let chunks = match namespace {
            Some(namespace) => {
                cached.collect(objects.namespaces.get_key_value(namespace).into_iter())
            }
            None => cached.collect(objects.namespaces.iter()),
        };
        (chunks, now)
    }
}

impl Objects {
    fn range<'a>(
        &'a self,
        query: &Query<'a>,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a Arc<Object>)> {
        let after = query.after;
        let namespaces: (Bound<&str>, Bound<&str>) = match (query.namespace, after) {
            (Some(namespace), _) => (Bound::Included(namespace), Bound::Included(namespace)),
            (None, Some((namespace, _))) => (Bound::Included(namespace), Bound::Unbounded),
            (None, None) => (Bound::Unbounded, Bound::Unbounded),
        };
        self.namespaces
            .range::<str, _>(namespaces)
            .flat_map(move |(namespace, objects)| {
                let from: Bound<&str> = match after {
                    Some((after_namespace, name)) if after_namespace == namespace.as_ref() => {
                        Bound::Excluded(name)
                    }
                    _ => Bound::Unbounded,
                };
                objects
                    .range::<str, _>((from, Bound::Unbounded))
                    .map(move |(name, object)| (namespace.as_ref(), name.as_ref(), object))
            })
    }
}

fn take<'a>(
    page: &mut Page,
    query: &Query<'_>,
    mut objects: impl Iterator<Item = &'a Arc<Object>>,
) {
    for object in objects.by_ref() {
        if query.limit > 0 && page.items.len() == query.limit {
            page.remaining = 1 + objects.count();
            return;
        }
        if (query.matches)(object) {
            page.items.push(Arc::clone(object));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::Store;

    fn names(page: &Page) -> Vec<String> {
        page.items
            .iter()
            .map(|o| format!("{}/{}", o.namespace(), o.name()))
            .collect()
    }

    fn configmap(namespace: &str, name: &str) -> Value {
        json!({"metadata": {"namespace": namespace, "name": name}})
    }

    fn everything(_: &Object) -> bool {
        true
    }

    #[test]
    fn pages_stay_consistent_while_objects_change() {
        let store = Store::new(100);
        let resource = store.resource("", "v1", "configmaps").unwrap();
        for (namespace, name) in [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")] {
            store
                .create(&resource, namespace, name, configmap(namespace, name))
                .unwrap();
        }
        let query = Query {
            namespace: None,
            at: None,
            after: None,
            limit: 2,
            matches: &everything,
        };
        let first = resource
            .collection
            .page(&|| store.revision(), &query)
            .unwrap();
        assert_eq!(names(&first), ["a/1", "a/2"]);
        assert_eq!(first.remaining, 2);
        store
            .create(&resource, "a", "3", configmap("a", "3"))
            .unwrap();
        store
            .update(&resource, "b", "1", |o| {
                Ok::<_, ()>(Change::Remove(o.value.clone()))
            })
            .unwrap();
        let query = Query {
            at: Some(first.revision),
            after: Some(("a", "2")),
            ..query
        };
        let second = resource
            .collection
            .page(&|| store.revision(), &query)
            .unwrap();
        assert_eq!(names(&second), ["b/1", "b/2"]);
        assert_eq!((second.remaining, second.revision), (0, first.revision));
        let now = Query {
            at: None,
            after: None,
            limit: 0,
            ..query
        };
        let now = resource
            .collection
            .page(&|| store.revision(), &now)
            .unwrap();
        assert_eq!(names(&now), ["a/1", "a/2", "a/3", "b/2"]);
    }

    #[test]
    fn history_is_bounded_and_says_what_it_lost() {
        let store = Store::new(2);
        let resource = store.resource("", "v1", "configmaps").unwrap();
        for name in ["1", "2", "3"] {
            store
                .create(&resource, "a", name, configmap("a", name))
                .unwrap();
        }
        assert_eq!(resource.collection.events_since(1).unwrap_err(), 2);
        assert_eq!(resource.collection.events_since(2).unwrap().len(), 2);
        let query = Query {
            namespace: Some("a"),
            at: Some(1),
            after: None,
            limit: 0,
            matches: &everything,
        };
        assert!(
            resource
                .collection
                .page(&|| store.revision(), &query)
                .is_err()
        );
    }

    #[test]
    fn an_update_is_tried_again_when_another_was_faster() {
        let store = Store::new(10);
        let resource = store.resource("", "v1", "configmaps").unwrap();
        store
            .create(&resource, "a", "1", configmap("a", "1"))
            .unwrap();
        let mut calls = 0;
        let outcome = store
            .update(&resource, "a", "1", |current| {
                calls += 1;
                if calls == 1 {
                    let mut other = current.value.clone();
                    other["data"] = json!({"other": "x"});
                    store.update(&resource, "a", "1", |_| {
                        Ok::<_, ()>(Change::Replace(other.clone()))
                    })?;
                }
                let mut value = current.value.clone();
                value["data"]["mine"] = json!("y");
                Ok::<_, ()>(Change::Replace(value))
            })
            .unwrap()
            .unwrap();
        assert_eq!(calls, 2);
        assert_eq!(
            outcome.object().value["data"],
            json!({"other": "x", "mine": "y"})
        );
    }
}
