//! One change of one object: checked against the grants, labelled, sent, tried again, stamped.

use std::{borrow::Cow, sync::Arc, time::Instant};

use bytes::Bytes;
use kperf_load::Stop;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    api::{
        ApiFailure, Code, DeleteOptions, Manifest, PatchType, Prepared, Resource,
        retry::{Repeatable, with_retries},
    },
    grant::{Request, Verb},
    run::{RUN_LABEL, RunId, mentions_label},
    session::Session,
    stamps::Stamp,
};

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new object; to be there already is a failure.
    Create,
    /// Server-side apply, by force.
    Apply,
    /// The whole object anew.
    Update,
    /// A part of it.
    Patch(PatchType),
    /// Deletion in the background; not to be there is a success.
    Delete,
}

/// One change of one object. For changes with a manifest, kind, namespace and name stand in there; given
/// here as well, they must be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What to do.
    pub change: Change,
    /// For example `apps/v1`.
    pub api_version: String,
    /// For example `Deployment`.
    pub kind: String,
    /// Empty for kinds without one.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Of `Update` and `Patch`; empty for the object itself.
    pub subresource: String,
    /// The manifest or the patch, JSON; empty for `Delete`.
    pub body: String,
}

impl Operation {
    /// One that is all in its manifest.
    #[must_use]
    pub fn of_manifest(change: Change, manifest: impl Into<String>) -> Self {
        Self {
            change,
            api_version: String::new(),
            kind: String::new(),
            namespace: String::new(),
            name: String::new(),
            subresource: String::new(),
            body: manifest.into(),
        }
    }
}

/// What became of an operation that was sent.
#[derive(Debug)]
pub(crate) struct Performed {
    /// As reports name it.
    pub(crate) series: String,
    /// First send.
    pub(crate) sent: Instant,
    /// Last answer.
    pub(crate) answered: Instant,
    pub(crate) retries: u32,
    pub(crate) result: Result<Bytes, ApiFailure>,
}

/// What is looked at of an object as stored.
#[derive(Default, Deserialize)]
struct Stored<'a> {
    #[serde(borrow, default)]
    metadata: StoredMetadata<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredMetadata<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    uid: Cow<'a, str>,
}

/// An operation that may be sent.
struct Ready {
    prepared: Prepared,
    resource: Arc<Resource>,
    namespace: String,
    name: String,
    change: Change,
    repeatable: Repeatable,
    /// Whether the object may come to be by this.
    creates: bool,
}

impl Session {
    /// Does it. Fails without a trace in a report when it could not be sent at all: a malformed
    /// manifest, an unknown kind, a missing grant.
    pub(crate) async fn perform(&self, operation: &Operation) -> Result<Performed, ApiFailure> {
        let stop = self.stop();
        if stop.is_stopped() {
            return Err(ApiFailure::interrupted());
        }
        let ready = tokio::select! {
            biased;
            () = stop.aborted() => return Err(ApiFailure::interrupted()),
            ready = self.prepare(operation) => ready?,
        };
        let is_kept = ready.creates && !self.is_upkeep();
        if is_kept {
            // Before it is sent: what is in flight when the run ends is then looked for as well.
            self.record(&ready.resource, &ready.namespace, &ready.name);
            self.objects_mut().ask();
        }
        let sent = Instant::now();
        let (result, retries) = tokio::select! {
            biased;
            () = stop.aborted() => (Err(ApiFailure::interrupted()), 0),
            sent = self.send(&ready, stop) => sent,
        };
        let answered = Instant::now();
        let is_answered = match &result {
            Ok(_) => true,
            Err(failure) => !failure.may_have_happened && failure.code != Code::Interrupted,
        };
        if is_kept && is_answered {
            self.objects_mut().answer();
        }
        if let Ok(body) = &result
            && is_kept
        {
            self.note_created(&ready, body, sent, answered);
        }
        Ok(Performed {
            series: ready.prepared.series().to_owned(),
            sent,
            answered,
            retries,
            result,
        })
    }

    async fn send(&self, ready: &Ready, stop: &Stop) -> (Result<Bytes, ApiFailure>, u32) {
        let tried = with_retries(self.limits(), ready.repeatable, stop, || {
            self.cluster().send(&ready.prepared)
        })
        .await;
        let result = match tried.result {
            Err(failure) if failure.code == Code::NotFound && ready.change == Change::Delete => {
                Ok(Bytes::new())
            }
            // A try whose answer was lost may have done it. Whose object it is, the label says.
            Err(failure)
                if failure.code == Code::AlreadyExists
                    && ready.change == Change::Create
                    && tried.may_have_happened =>
            {
                let object = self
                    .read(|| {
                        let Ready {
                            resource,
                            namespace,
                            name,
                            ..
                        } = ready;
                        self.cluster().get(resource, namespace, name)
                    })
                    .await;
                match object {
                    Ok(object) if self.is_upkeep() || self.run().owns(&object["metadata"]) => {
                        Ok(object.to_string().into())
                    }
                    _ => Err(failure),
                }
            }
            other => other,
        };
        (result, tried.retries)
    }

    fn note_created(&self, ready: &Ready, body: &[u8], sent: Instant, answered: Instant) {
        let Stored { metadata } = serde_json::from_slice(body).unwrap_or_default();
        // A generated name stands in the answer alone.
        let name = match ready.name.as_str() {
            "" => &*metadata.name,
            given => given,
        };
        if ready.resource.is("", "namespaces") {
            self.own_namespace(name);
        }
        let stamp = Stamp {
            sent_ns: self.ns_at(sent),
            answered_ns: self.ns_at(answered),
        };
        let (resource, namespace) = (&ready.resource, &ready.namespace);
        self.stamps()
            .put(resource, namespace, name, &metadata.uid, stamp);
    }

    async fn prepare(&self, operation: &Operation) -> Result<Ready, ApiFailure> {
        match operation.change {
            Change::Create | Change::Apply | Change::Update => {
                let mut manifest = Manifest::parse(&operation.body)?;
                agree(operation, &manifest)?;
                let resource = self.resource(&manifest.api_version, &manifest.kind).await?;
                match operation.change {
                    Change::Create => self.prepare_create(resource, &mut manifest),
                    Change::Apply => self.prepare_apply(resource, &mut manifest).await,
                    _ => {
                        self.prepare_update(resource, &mut manifest, &operation.subresource)
                            .await
                    }
                }
            }
            Change::Patch(_) | Change::Delete => {
                let resource = self
                    .resource(&operation.api_version, &operation.kind)
                    .await?;
                match operation.change {
                    Change::Patch(patch_type) => {
                        self.prepare_patch(resource, operation, patch_type)
                    }
                    _ => self.prepare_delete(resource, operation),
                }
            }
        }
    }

    fn allow(
        &self,
        verb: Verb,
        resource: &Resource,
        subresource: &str,
        namespace: &str,
        name: &str,
    ) -> Result<(), ApiFailure> {
        self.decide(&Request {
            verb,
            group: &resource.group,
            resource: &resource.plural,
            subresource,
            namespace: Some(namespace),
            name: Some(name),
        })
    }

    fn prepare_create(
        &self,
        resource: Arc<Resource>,
        manifest: &mut Manifest,
    ) -> Result<Ready, ApiFailure> {
        let (namespace, name) = (&manifest.namespace, &manifest.name);
        self.allow(Verb::Create, &resource, "", namespace, name)?;
        if !self.is_upkeep() {
            self.run().label(&mut manifest.value);
        }
        let body = manifest.value.to_string();
        Ok(Ready {
            prepared: Prepared::create(&resource, namespace, body)?,
            namespace: namespace.clone(),
            name: name.clone(),
            change: Change::Create,
            // A generated name would be generated again.
            repeatable: if name.is_empty() {
                Repeatable::No
            } else {
                Repeatable::Yes
            },
            creates: true,
            resource,
        })
    }

    /// Outside the run's namespaces an apply must not put the run's label on what is somebody else's:
    /// the clean-up would delete it.
    async fn prepare_apply(
        &self,
        resource: Arc<Resource>,
        manifest: &mut Manifest,
    ) -> Result<Ready, ApiFailure> {
        let (namespace, name) = (manifest.namespace.clone(), manifest.name.clone());
        self.allow(Verb::Patch, &resource, "", &namespace, &name)?;
        let mut creates = true;
        if !self.is_upkeep() && !self.owns_namespace(&namespace) {
            let object = self
                .read(|| self.cluster().get(&resource, &namespace, &name))
                .await;
            match object {
                Ok(object) => creates = self.run().owns(&object["metadata"]),
                Err(failure) if failure.code == Code::NotFound => {
                    return self.prepare_create(resource, manifest);
                }
                Err(failure) => return Err(failure),
            }
        }
        if self.is_upkeep() {
            // As it was given.
        } else if creates {
            self.run().label(&mut manifest.value);
        } else {
            RunId::unlabel(&mut manifest.value);
        }
        let body = manifest.value.to_string();
        Ok(Ready {
            prepared: Prepared::apply(&resource, &namespace, &name, body)?,
            resource,
            namespace,
            name,
            change: Change::Apply,
            repeatable: Repeatable::Yes,
            creates,
        })
    }

    /// Keeps the run's label on what has it, and off what has it not.
    async fn prepare_update(
        &self,
        resource: Arc<Resource>,
        manifest: &mut Manifest,
        subresource: &str,
    ) -> Result<Ready, ApiFailure> {
        let (namespace, name) = (manifest.namespace.clone(), manifest.name.clone());
        self.allow(Verb::Update, &resource, subresource, &namespace, &name)?;
        if subresource.is_empty() && !self.is_upkeep() {
            let ours = self.owns_namespace(&namespace) || {
                let object = self
                    .read(|| self.cluster().get(&resource, &namespace, &name))
                    .await?;
                self.run().owns(&object["metadata"])
            };
            if ours {
                self.run().label(&mut manifest.value);
            } else {
                RunId::unlabel(&mut manifest.value);
            }
        }
        let body = manifest.value.to_string();
        Ok(Ready {
            prepared: Prepared::update(&resource, &namespace, &name, subresource, body)?,
            resource,
            namespace,
            name,
            change: Change::Update,
            repeatable: Repeatable::Yes,
            creates: false,
        })
    }

    fn prepare_patch(
        &self,
        resource: Arc<Resource>,
        operation: &Operation,
        patch_type: PatchType,
    ) -> Result<Ready, ApiFailure> {
        let (namespace, name) = (&operation.namespace, &operation.name);
        let subresource = &operation.subresource;
        self.allow(Verb::Patch, &resource, subresource, namespace, name)?;
        let patch: Value = serde_json::from_str(&operation.body)
            .map_err(|error| ApiFailure::invalid(format!("a patch is not JSON: {error}")))?;
        if !self.is_upkeep() && !self.owns_namespace(namespace) && mentions_label(&patch) {
            return Err(ApiFailure::invalid(format!(
                "a patch of {resource} {name:?} speaks of the label {RUN_LABEL}, which is the host's; leave it alone"
            )));
        }
        Ok(Ready {
            // As it was checked, not as it was written: keys that come twice are read in more than one way.
            prepared: Prepared::patch(
                &resource,
                namespace,
                name,
                subresource,
                patch_type,
                patch.to_string(),
            )?,
            namespace: namespace.clone(),
            name: name.clone(),
            change: operation.change,
            // Steps like "append" do more the second time.
            repeatable: if patch_type == PatchType::Json {
                Repeatable::No
            } else {
                Repeatable::Yes
            },
            creates: false,
            resource,
        })
    }

    fn prepare_delete(
        &self,
        resource: Arc<Resource>,
        operation: &Operation,
    ) -> Result<Ready, ApiFailure> {
        let (namespace, name) = (&operation.namespace, &operation.name);
        self.allow(Verb::Delete, &resource, "", namespace, name)?;
        Ok(Ready {
            prepared: Prepared::delete(&resource, namespace, name, &DeleteOptions::default())?,
            namespace: namespace.clone(),
            name: name.clone(),
            change: Change::Delete,
            repeatable: Repeatable::Yes,
            creates: false,
            resource,
        })
    }
}

/// Refuses an operation that says one thing and carries another.
fn agree(operation: &Operation, manifest: &Manifest) -> Result<(), ApiFailure> {
    for (field, said, carried) in [
        ("apiVersion", &operation.api_version, &manifest.api_version),
        ("kind", &operation.kind, &manifest.kind),
        (
            "metadata.namespace",
            &operation.namespace,
            &manifest.namespace,
        ),
        ("metadata.name", &operation.name, &manifest.name),
    ] {
        if !said.is_empty() && said != carried {
            return Err(ApiFailure::invalid(format!(
                "the operation says {said:?}, but its manifest's {field} is {carried:?}"
            )));
        }
    }
    Ok(())
}
