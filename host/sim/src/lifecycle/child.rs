//! How controllers read and write: always the present state, tried again when another writer was faster,
//! and nothing made in a namespace or for an owner that goes away.

use std::{convert::Infallible, sync::Arc};

use serde_json::{Value, json};

use super::{
    Kind, Worker,
    queue::{Step, Task},
};
use crate::{
    registry::Resource,
    store::{Change, Object, Outcome},
    verbs::{self, remove_now},
};

/// Objects a controller makes or deletes in one step, as the real ones do it: others have their turn between.
pub(super) const BURST: u64 = 500;

/// No vowels and nothing that looks like another character, as in the real server.
pub(super) const NAME_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// Longest name with a random end, before that end.
const MAX_PREFIX: usize = 58;

impl Worker {
    pub(super) fn resource(&self, kind: Kind) -> Option<Arc<Resource>> {
        let (group, plural) = kind.resource();
        self.store.resource(group, "v1", plural)
    }

    pub(super) fn read(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.resource(kind)?.collection.get(namespace, name)
    }

    /// The same, unless it is being deleted.
    pub(super) fn read_living(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Object>> {
        self.read(kind, namespace, name)
            .filter(|object| object.value["metadata"]["deletionTimestamp"].is_null())
    }

    /// Changes the object of a task, if it is still the same one and not being deleted; returns it when it
    /// was changed.
    pub(super) fn change(
        &mut self,
        kind: Kind,
        task: &Task,
        change: impl Fn(&Object) -> Option<Value>,
    ) -> Option<Arc<Object>> {
        self.write(kind, &task.namespace, &task.name, |object| {
            let wanted =
                object.uid() == task.uid && object.value["metadata"]["deletionTimestamp"].is_null();
            match change(object).filter(|value| wanted && *value != object.value) {
                Some(value) => Change::Replace(value),
                None => Change::Keep,
            }
        })
    }

    /// Changes an object in whatever state it is; returns it when it was changed.
    pub(super) fn write(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: &str,
        change: impl Fn(&Object) -> Change,
    ) -> Option<Arc<Object>> {
        let resource = self.resource(kind)?;
        let result = self.store.update(&resource, namespace, name, |object| {
            Ok::<_, Infallible>(change(object))
        });
        let outcome = match result {
            Ok(outcome) => outcome?,
            Err(never) => match never {},
        };
        match outcome {
            Outcome::Kept(_) => None,
            Outcome::Replaced(object) | Outcome::Removed(object) => {
                self.observe(kind, namespace, name);
                Some(object)
            }
        }
    }

    /// Writes the status of an object as a function of the object.
    pub(super) fn write_status(
        &mut self,
        kind: Kind,
        object: &Object,
        status: impl Fn(&mut Value),
    ) -> Option<Arc<Object>> {
        let uid = object.uid();
        self.write(kind, object.namespace(), object.name(), |current| {
            if current.uid() != uid {
                return Change::Keep;
            }
            let mut value = current.value.clone();
            crate::defaults::object(&mut value, "status");
            status(&mut value);
            if value == current.value {
                Change::Keep
            } else {
                Change::Replace(value)
            }
        })
    }

    /// Makes an object that an owner controls. `None` when there can be none: its name is taken, it is invalid,
    /// or the owner or the namespace is going away.
    pub(super) fn create_child(
        &mut self,
        kind: Kind,
        owner_kind: Kind,
        owner: &Object,
        name: ChildName<'_>,
        mut value: Value,
    ) -> Option<Arc<Object>> {
        let resource = self.resource(kind)?;
        let namespace = owner.namespace();
        if self.is_leaving_namespace(namespace) {
            return None;
        }
        let metadata = crate::defaults::object(&mut value, "metadata");
        metadata.insert("namespace".to_owned(), json!(namespace));
        metadata.insert(
            "ownerReferences".to_owned(),
            json!([{
                "apiVersion": owner.value["apiVersion"], "kind": owner.value["kind"], "name": owner.name(),
                "uid": owner.uid(), "controller": true, "blockOwnerDeletion": true,
            }]),
        );
        if let ChildName::Prefix(prefix) = name {
            metadata.insert("generateName".to_owned(), json!(prefix));
        }
        // A taken random name is as good as never met; a taken exact name stays taken.
        let tries = if matches!(name, ChildName::Prefix(_)) {
            8
        } else {
            1
        };
        for _ in 0..tries {
            let name = match name {
                ChildName::Exact(name) => name.to_owned(),
                ChildName::Prefix(prefix) => self.random_name(prefix),
            };
            let mut value = value.clone();
            value["metadata"]["name"] = json!(name);
            if verbs::validate::shape(&resource, &value).is_err() {
                return None;
            }
            verbs::prepare(&resource, &mut value);
            if let Err(invalid) = verbs::validate::object(&resource, &value) {
                tracing::debug!(
                    owner = owner.name(),
                    "cannot make {name}: {}",
                    invalid.message
                );
                return None;
            }
            let Ok(object) = self.store.create(&resource, namespace, &name, value) else {
                continue;
            };
            self.observe(kind, namespace, &name);
            // The owner may have gone meanwhile, and with it who would collect this.
            if self
                .read(owner_kind, namespace, owner.name())
                .is_none_or(|now| now.uid() != owner.uid())
            {
                remove_now(&self.store, &resource, namespace, &name, object.uid());
                self.observe(kind, namespace, &name);
                return None;
            }
            return Some(object);
        }
        None
    }

    fn random_name(&mut self, prefix: &str) -> String {
        let mut name: String = prefix.chars().take(MAX_PREFIX).collect();
        let mut random = self.random();
        for _ in 0..5 {
            name.push(letter(random));
            random /= NAME_ALPHABET.len() as u64;
        }
        name
    }

    /// Deletes an object as a client without options does.
    pub(super) fn delete(&mut self, kind: Kind, namespace: &str, name: &str, uid: &str) {
        if let Some(resource) = self.resource(kind) {
            verbs::delete_now_or_gracefully(&self.store, &resource, namespace, name, uid);
            self.observe(kind, namespace, name);
        }
    }

    /// A look again at once, for a controller that did as much as one step may.
    pub(super) fn sync_again(&mut self, kind: Kind, object: &Object) {
        self.at_once(Step::Sync(kind), object.namespace(), object.name());
    }

    /// Whether nothing new may be made in a namespace.
    pub(super) fn is_leaving_namespace(&self, namespace: &str) -> bool {
        self.read_living(Kind::Namespace, "", namespace).is_none()
    }
}

/// How a controller names what it makes.
#[derive(Clone, Copy, Debug)]
pub(super) enum ChildName<'a> {
    Exact(&'a str),
    /// With a random end.
    Prefix(&'a str),
}

/// A letter of names, by a random number.
pub(super) fn letter(random: u64) -> char {
    let at = usize::try_from(random % NAME_ALPHABET.len() as u64).unwrap_or(0);
    NAME_ALPHABET.get(at).copied().map_or('x', char::from)
}

/// An object made of a template: its labels, annotations and spec.
pub(super) fn from_template(template: &Value) -> Value {
    let mut value = json!({"metadata": {}, "spec": template["spec"]});
    for field in ["labels", "annotations", "finalizers"] {
        let given = &template["metadata"][field];
        if !given.is_null() {
            value["metadata"][field] = given.clone();
        }
    }
    value
}

/// Adds labels to an object.
pub(super) fn add_labels(object: &mut Value, labels: &[(&str, &str)]) {
    let metadata = crate::defaults::object(object, "metadata");
    let map = metadata.entry("labels").or_insert_with(|| json!({}));
    if !map.is_object() {
        *map = json!({});
    }
    for (key, value) in labels {
        map[*key] = json!(value);
    }
}

/// A hash of a template that is part of names and labels, as `pod-template-hash` is.
pub(super) fn template_hash(template: &Value) -> String {
    let mut hash = template
        .to_string()
        .bytes()
        .fold(0, |hash, byte| crate::faults::mix(hash ^ u64::from(byte)));
    (0..10)
        .map(|_| {
            let letter = letter(hash);
            hash /= NAME_ALPHABET.len() as u64;
            letter
        })
        .collect()
}

/// A count of the spec; `default` when there is none.
pub(super) fn count(value: &Value, default: u64) -> u64 {
    value.as_u64().unwrap_or(default)
}
