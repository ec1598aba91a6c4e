//! `update`: an object is replaced, whole or its status.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::create::has_generation;
use crate::{
    answer::Answer,
    defaults,
    handle::Call,
    registry::Resource,
    status::{FieldError, Status},
    store::{Change, Object},
};

pub(super) fn run(call: &Call<'_>, body: &Bytes) -> Result<Answer, Status> {
    let mut submitted = super::decode(call, body)?;
    super::check_identity(call, &mut submitted)?;
    if call.resource.is("", "secrets") {
        defaults::secret(&mut submitted);
    }
    let outcome = change(call, |_| Ok(submitted.clone()))?;
    match outcome {
        Some(answer) => Ok(answer),
        None if creates_on_update(&call.resource) && call.subresource.is_empty() => {
            super::create::create(call, submitted)
        }
        None => Err(Status::not_found(&call.resource, call.name)),
    }
}

/// Kinds for which PUT makes what is not there.
fn creates_on_update(resource: &Resource) -> bool {
    matches!(
        (resource.group.as_str(), resource.plural.as_str()),
        ("", "endpoints" | "events" | "services" | "limitranges")
            | ("coordination.k8s.io", "leases")
            | ("rbac.authorization.k8s.io", _)
    )
}

/// Changes an object by a function of its current value; `None` when there is none.
pub(super) fn change(
    call: &Call<'_>,
    mut next: impl FnMut(&Object) -> Result<Value, Status>,
) -> Result<Option<Answer>, Status> {
    let store = &call.shared.store;
    let resource = &call.resource;
    let mut dry = None;
    let outcome = store.update(resource, call.namespace, call.name, |current| {
        let value = settle(call, current, next(current)?)?;
        if value == current.value {
            return Ok(Change::Keep);
        }
        if call.params.dry_run {
            dry = Some(value);
            return Ok(Change::Keep);
        }
        let metadata = &value["metadata"];
        let no_finalizers = metadata["finalizers"].as_array().is_none_or(Vec::is_empty);
        // The last finalizer is gone: so is the object. Namespaces and pods wait for their own ends.
        if !metadata["deletionTimestamp"].is_null()
            && no_finalizers
            && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
            && !resource.is("", "namespaces")
        {
            return Ok(Change::Remove(value));
        }
        Ok(Change::Replace(value))
    })?;
    let Some(outcome) = outcome else {
        return Ok(None);
    };
    if let Some(value) = dry {
        return Ok(Some(super::answer_unstored(
            StatusCode::OK,
            call,
            value,
            outcome.object().revision,
        )));
    }
    Ok(Some(super::answer_object(
        StatusCode::OK,
        call,
        outcome.object(),
    )))
}

/// What of a submitted object is taken: not the metadata the server owns, and only spec or only status.
fn settle(call: &Call<'_>, current: &Object, mut next: Value) -> Result<Value, Status> {
    let resource = &call.resource;
    let old = &current.value;
    super::validate::shape(resource, &next)?;
    let name = next["metadata"]["name"].as_str().unwrap_or_default();
    if !name.is_empty() && name != call.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.name
        )));
    }
    let rv = next["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default();
    if rv.is_empty() || rv == "0" {
        if resource.is("apiextensions.k8s.io", "customresourcedefinitions") || resource.custom {
            return Err(Status::invalid(
                &resource.group,
                &resource.kind,
                call.name,
                &[FieldError::invalid(
                    "metadata.resourceVersion",
                    &json!(0),
                    "must be specified for an update",
                )],
            ));
        }
    } else if rv.parse() != Ok(current.revision) {
        return Err(Status::stale(resource, call.name));
    }
    let uid = next["metadata"]["uid"].as_str().unwrap_or_default();
    if !uid.is_empty() && uid != current.uid() {
        return Err(Status::conflict(
            resource,
            call.name,
            &format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                current.uid()
            ),
        ));
    }
    super::validate::metadata_change(resource, old, &next)?;
    if let Value::Object(map) = &mut next {
        map.insert("kind".to_owned(), json!(resource.kind));
        map.insert("apiVersion".to_owned(), json!(resource.api_version()));
    }
    let status_only = call.subresource == "status";
    if status_only {
        let mut taken = old.clone();
        if let (Value::Object(taken), Value::Object(next)) = (&mut taken, &mut next) {
            match next.remove("status") {
                Some(status) => taken.insert("status".to_owned(), status),
                None => taken.remove("status"),
            };
        }
        let mut metadata = next["metadata"].take();
        if let (Value::Object(metadata), Some(owners)) =
            (&mut metadata, old["metadata"].get("ownerReferences"))
        {
            metadata.insert("ownerReferences".to_owned(), owners.clone());
        }
        taken["metadata"] = metadata;
        next = taken;
    } else if resource.has_subresource("status")
        && let Value::Object(map) = &mut next
    {
        match old.get("status") {
            Some(status) => map.insert("status".to_owned(), status.clone()),
            None => map.remove("status"),
        };
    }
    let metadata = defaults::object(&mut next, "metadata");
    for owned in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
        "resourceVersion",
    ] {
        match old["metadata"].get(owned) {
            Some(value) => metadata.insert(owned.to_owned(), value.clone()),
            None => metadata.remove(owned),
        };
    }
    if !metadata.contains_key("managedFields")
        && let Some(managed) = old["metadata"].get("managedFields")
    {
        metadata.insert("managedFields".to_owned(), managed.clone());
    }
    if !status_only {
        // What the server filled in stays when the client leaves it out.
        if resource.is("", "pods") {
            if next["spec"]["nodeName"].is_null() && !old["spec"]["nodeName"].is_null() {
                next["spec"]["nodeName"] = old["spec"]["nodeName"].clone();
            }
            let status = next["status"].clone();
            defaults::pod(&mut next);
            next["status"] = status;
            super::validate::pod_change(resource, old, &next)?;
        }
        if resource.is("", "services") {
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if next["spec"][field].is_null() && !old["spec"][field].is_null() {
                    defaults::object(&mut next, "spec")
                        .insert(field.to_owned(), old["spec"][field].clone());
                }
            }
            defaults::apply(resource, &mut next);
        } else if resource.group.as_str() == "apps" || resource.is("", "namespaces") {
            defaults::apply(resource, &mut next);
        }
        if resource.is("", "configmaps") && old["immutable"] == true && next["data"] != old["data"]
        {
            return Err(Status::invalid(
                "",
                "ConfigMap",
                call.name,
                &[FieldError::forbidden(
                    "data",
                    "field is immutable when `immutable` is set",
                )],
            ));
        }
        if has_generation(resource) && next["spec"] != old["spec"] {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            next["metadata"]["generation"] = json!(generation);
        }
        super::validate::selector_change(resource, old, &next)?;
        super::validate::object(resource, &next)?;
    }
    Ok(next)
}

/// `namespaces/finalize`: the finalizers of the spec.
pub(super) fn finalize(call: &Call<'_>, body: &Bytes) -> Result<Answer, Status> {
    let submitted = super::decode(call, body)?;
    let finalizers = submitted["spec"]["finalizers"].clone();
    let outcome =
        call.shared
            .store
            .update(&call.resource, call.namespace, call.name, |current| {
                let mut value = current.value.clone();
                value["spec"]["finalizers"] = finalizers.clone();
                let done = finalizers.as_array().is_none_or(Vec::is_empty)
                    && !value["metadata"]["deletionTimestamp"].is_null();
                Ok::<_, Status>(if done {
                    Change::Remove(value)
                } else {
                    Change::Replace(value)
                })
            })?;
    match outcome {
        Some(outcome) => Ok(super::answer_object(StatusCode::OK, call, outcome.object())),
        None => Err(Status::not_found(&call.resource, call.name)),
    }
}
