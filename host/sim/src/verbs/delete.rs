//! `delete` and `deletecollection`: at once, gracefully, or when the last finalizer is gone.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::list::{Selection, namespace_of};
use crate::{
    answer::Answer,
    handle::Call,
    registry::Resource,
    status::{self, Status},
    store::{Change, Object, Outcome, Query, Store, now_rfc3339},
};

/// `metav1.DeleteOptions`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Options {
    grace_period_seconds: Option<i64>,
    uid: Option<String>,
    resource_version: Option<String>,
    orphan: bool,
}

impl Options {
    pub(super) fn from_value(value: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            grace_period_seconds: value["gracePeriodSeconds"].as_i64(),
            uid: text(&value["preconditions"]["uid"]),
            resource_version: text(&value["preconditions"]["resourceVersion"]),
            orphan: value["propagationPolicy"] == "Orphan",
        }
    }

    fn read(call: &Call<'_>, body: &Bytes) -> Result<(Self, bool), Status> {
        let value = if body.is_empty() {
            json!({})
        } else {
            super::decode(call, body)?
        };
        let mut options = Self::from_value(&value);
        if call.params.grace_period_seconds.is_some() {
            options.grace_period_seconds = call.params.grace_period_seconds;
        }
        let policy = value["propagationPolicy"]
            .as_str()
            .unwrap_or(&call.params.propagation_policy);
        if !matches!(policy, "" | "Foreground" | "Background" | "Orphan") {
            return Err(Status::invalid(
                "meta.k8s.io",
                "DeleteOptions",
                "",
                &[crate::status::FieldError::unsupported(
                    "propagationPolicy",
                    policy,
                    &["Foreground", "Background", "Orphan"],
                )],
            ));
        }
        options.orphan = policy == "Orphan";
        let dry_run = call.params.dry_run
            || value["dryRun"]
                .as_array()
                .is_some_and(|d| d.iter().any(|v| v == "All"));
        Ok((options, dry_run))
    }
}

pub(super) fn run(call: &Call<'_>, body: &Bytes) -> Result<Answer, Status> {
    let (options, dry_run) = Options::read(call, body)?;
    if dry_run {
        let object = call
            .resource
            .collection
            .get(call.namespace, call.name)
            .ok_or_else(|| Status::not_found(&call.resource, call.name))?;
        return Ok(Answer::value(
            StatusCode::OK,
            &status::deleted(&call.resource, call.name, object.uid()),
            &call.accept,
        ));
    }
    Ok(match delete(call, call.namespace, call.name, &options)? {
        // Pods answer with the pod; other kinds that are gone with a Status.
        Outcome::Removed(object) if !call.resource.is("", "pods") => Answer::value(
            StatusCode::OK,
            &status::deleted(&call.resource, call.name, object.uid()),
            &call.accept,
        ),
        outcome => super::answer_object(StatusCode::OK, call, outcome.object()),
    })
}

/// Deletes one object.
pub(super) fn delete(
    call: &Call<'_>,
    namespace: &str,
    name: &str,
    options: &Options,
) -> Result<Outcome, Status> {
    let resource = &call.resource;
    let outcome = call
        .shared
        .store
        .update(resource, namespace, name, |current| {
            check_preconditions(call, name, current, options)?;
            if options.orphan {
                call.shared.store.orphan(current.uid());
            }
            Ok(decide(resource, current, options.grace_period_seconds))
        })?;
    outcome.ok_or_else(|| Status::not_found(resource, name))
}

fn check_preconditions(
    call: &Call<'_>,
    name: &str,
    current: &Object,
    options: &Options,
) -> Result<(), Status> {
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != current.uid()) {
        return Err(Status::precondition(
            &call.resource,
            name,
            &format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
                current.uid()
            ),
        ));
    }
    if let Some(rv) = options
        .resource_version
        .as_deref()
        .filter(|rv| rv.parse() != Ok(current.revision))
    {
        return Err(Status::precondition(
            &call.resource,
            name,
            &format!(
                "the ResourceVersion in the precondition ({rv}) does not match the ResourceVersion in record ({}). The object might have been modified",
                current.revision
            ),
        ));
    }
    Ok(())
}

fn decide(resource: &Resource, current: &Object, grace_period_seconds: Option<i64>) -> Change {
    let mut value = current.value.clone();
    let finalizers = value["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|f| !f.is_empty());
    let leaving = !value["metadata"]["deletionTimestamp"].is_null();
    if resource.is("", "namespaces") {
        if leaving {
            return Change::Keep;
        }
        value["metadata"]["deletionTimestamp"] = json!(now_rfc3339());
        value["status"]["phase"] = json!("Terminating");
        return Change::Replace(value);
    }
    let running_pod = resource.is("", "pods")
        && value["spec"]["nodeName"]
            .as_str()
            .is_some_and(|n| !n.is_empty())
        && !matches!(
            value["status"]["phase"].as_str(),
            Some("Succeeded" | "Failed")
        );
    let grace = if running_pod {
        grace_period_seconds
            .or_else(|| value["spec"]["terminationGracePeriodSeconds"].as_i64())
            .map_or(30, |seconds| if seconds < 0 { 1 } else { seconds })
    } else {
        0
    };
    if grace == 0 && !finalizers {
        // Kinds that can go gracefully say so even when they go at once.
        if resource.is("", "pods") {
            value["metadata"]["deletionTimestamp"] = json!(now_rfc3339());
            value["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        }
        return Change::Remove(value);
    }
    if leaving
        && value["metadata"]["deletionGracePeriodSeconds"]
            .as_i64()
            .unwrap_or(0)
            <= grace
    {
        return Change::Keep;
    }
    let at = jiff::Timestamp::now()
        + std::time::Duration::from_secs(u64::try_from(grace).unwrap_or(0).min(1 << 30));
    value["metadata"]["deletionTimestamp"] = json!(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    value["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
    Change::Replace(value)
}

/// Deletes an object as a client without options does.
pub(crate) fn delete_now_or_gracefully(
    store: &Store,
    resource: &Arc<Resource>,
    namespace: &str,
    name: &str,
    uid: &str,
) {
    let result = store.update(resource, namespace, name, |current| {
        Ok::<_, std::convert::Infallible>(if current.uid() == uid {
            decide(resource, current, None)
        } else {
            Change::Keep
        })
    });
    match result {
        Ok(_) => {}
        Err(never) => match never {},
    }
}

/// Removes an object whatever its grace period; finalizers still hold it.
pub(crate) fn remove_now(
    store: &Store,
    resource: &Arc<Resource>,
    namespace: &str,
    name: &str,
    uid: &str,
) {
    let result = store.update(resource, namespace, name, |current| {
        if current.uid() != uid {
            return Ok::<_, std::convert::Infallible>(Change::Keep);
        }
        let mut value = current.value.clone();
        let metadata = &mut value["metadata"];
        if metadata["finalizers"].as_array().is_none_or(Vec::is_empty) {
            return Ok(Change::Remove(value));
        }
        if !metadata["deletionTimestamp"].is_null() && metadata["deletionGracePeriodSeconds"] == 0 {
            return Ok(Change::Keep);
        }
        metadata["deletionTimestamp"] = json!(now_rfc3339());
        metadata["deletionGracePeriodSeconds"] = json!(0);
        Ok(Change::Replace(value))
    });
    match result {
        Ok(_) => {}
        Err(never) => match never {},
    }
}

pub(super) fn collection(call: &Call<'_>, body: &Bytes) -> Result<Answer, Status> {
    let (options, dry_run) = Options::read(call, body)?;
    let selection = Selection::parse(call)?;
    let store = &call.shared.store;
    let query = Query {
        namespace: namespace_of(call),
        at: None,
        after: None,
        limit: 0,
        matches: &|object| selection.matches(object),
    };
    let page = call
        .resource
        .collection
        .page(&|| store.revision(), &query)
        .map_err(|_| Status::expired("The resourceVersion for the provided list is too old."))?;
    let mut items = Vec::with_capacity(page.items.len());
    for object in &page.items {
        if dry_run {
            items.push(object.value.clone());
            continue;
        }
        match delete(call, object.namespace(), object.name(), &options) {
            Ok(outcome) => items.push(outcome.object().value.clone()),
            // Someone else was faster.
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    let list = json!({
        "kind": call.resource.list_kind,
        "apiVersion": call.resource.api_version(),
        "metadata": super::list::list_metadata(store.revision(), None, None),
        "items": items,
    });
    Ok(Answer::value(StatusCode::OK, &list, &call.accept))
}
