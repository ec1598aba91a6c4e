//! `create`: new objects, bindings and evictions.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    defaults,
    faults::mix,
    handle::Call,
    registry::Resource,
    status::Status,
    store::{Change, Store, new_uid, now_rfc3339},
};

pub(super) fn run(call: &Call<'_>, body: &Bytes) -> Result<Answer, Status> {
    let mut value = super::decode(call, body)?;
    super::check_identity(call, &mut value)?;
    if call.resource.is("", "bindings") {
        let name = value["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        return bind(call, &name, &value);
    }
    create(call, value)
}

/// Stores a new object (also for an apply that found none).
pub(super) fn create(call: &Call<'_>, mut value: Value) -> Result<Answer, Status> {
    let resource = &call.resource;
    super::validate::shape(resource, &value)?;
    if value["metadata"]["resourceVersion"]
        .as_str()
        .is_some_and(|rv| !rv.is_empty())
    {
        return Err(Status::unclassified(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    generate_name(&mut value);
    let name = value["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if resource.namespaced {
        check_namespace(&call.shared.store, resource, call.namespace, &name)?;
    }
    prepare(resource, &mut value);
    super::validate::object(resource, &value)?;
    if call.params.dry_run {
        if resource.collection.get(call.namespace, &name).is_some() {
            return Err(Status::already_exists(resource, &name));
        }
        return Ok(super::answer_unstored(
            StatusCode::CREATED,
            call,
            value,
            call.shared.store.revision(),
        ));
    }
    let namespace = if resource.namespaced {
        call.namespace
    } else {
        ""
    };
    let object = call
        .shared
        .store
        .create(resource, namespace, &name, value)
        .map_err(|_| Status::already_exists(resource, &name))?;
    Ok(super::answer_object(StatusCode::CREATED, call, &object))
}

/// Metadata the server owns, status the client does not set, defaults.
pub(crate) fn prepare(resource: &Resource, value: &mut Value) {
    let metadata = defaults::object(value, "metadata");
    for owned in [
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
    ] {
        metadata.remove(owned);
    }
    metadata.insert("uid".to_owned(), json!(new_uid()));
    metadata.insert("creationTimestamp".to_owned(), json!(now_rfc3339()));
    if has_generation(resource) {
        metadata.insert("generation".to_owned(), json!(1));
    }
    // Nodes register themselves with their status.
    if resource.has_subresource("status")
        && !resource.is("", "nodes")
        && let Value::Object(map) = value
    {
        map.remove("status");
        if !resource.custom {
            map.insert("status".to_owned(), json!({}));
        }
    }
    defaults::apply(resource, value);
}

/// Kinds whose `metadata.generation` counts changes of the spec.
pub(super) fn has_generation(resource: &Resource) -> bool {
    resource.custom
        || !matches!(
            (resource.group.as_str(), resource.plural.as_str()),
            (
                "",
                "configmaps"
                    | "endpoints"
                    | "events"
                    | "limitranges"
                    | "namespaces"
                    | "nodes"
                    | "persistentvolumeclaims"
                    | "persistentvolumes"
                    | "resourcequotas"
                    | "secrets"
                    | "serviceaccounts"
                    | "services"
            ) | (
                "rbac.authorization.k8s.io" | "coordination.k8s.io" | "storage.k8s.io",
                _
            )
        )
}

fn generate_name(value: &mut Value) {
    let metadata = defaults::object(value, "metadata");
    if metadata
        .get("name")
        .and_then(Value::as_str)
        .is_some_and(|n| !n.is_empty())
    {
        return;
    }
    let Some(prefix) = metadata
        .get("generateName")
        .and_then(Value::as_str)
        .filter(|p| !p.is_empty())
    else {
        return;
    };
    // No vowels and nothing that looks like another character, as in the real server.
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut random = new_uid()
        .bytes()
        .fold(0, |state, b| mix(state ^ u64::from(b)));
    let mut name: String = prefix.chars().take(58).collect();
    for _ in 0..5 {
        let at = usize::try_from(random % ALPHABET.len() as u64).unwrap_or(0);
        name.push(ALPHABET.get(at).copied().map_or('x', char::from));
        random = mix(random);
    }
    metadata.insert("name".to_owned(), json!(name));
}

/// The namespace must exist and not be going away.
fn check_namespace(
    store: &Store,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Result<(), Status> {
    let Some(namespaces) = store.resource("", "v1", "namespaces") else {
        return Ok(());
    };
    let Some(found) = namespaces.collection.get("", namespace) else {
        return Err(Status::not_found(&namespaces, namespace));
    };
    if found.value["metadata"]["deletionTimestamp"].is_null() {
        return Ok(());
    }
    Err(Status::forbidden(
        resource,
        name,
        &format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        ),
    )
    .with_cause(
        "NamespaceTerminating",
        &format!("namespace {namespace} is being terminated"),
        "metadata.namespace",
    ))
}

/// `pods/binding`: a scheduler names the node.
pub(super) fn binding(call: &Call<'_>, body: &Bytes) -> Result<Answer, Status> {
    let value = super::decode(call, body)?;
    bind(call, call.name, &value)
}

fn bind(call: &Call<'_>, name: &str, binding: &Value) -> Result<Answer, Status> {
    let store = &call.shared.store;
    let pods = store
        .resource("", "v1", "pods")
        .ok_or_else(Status::method_not_allowed)?;
    let node = binding["target"]["name"].as_str().unwrap_or_default();
    if node.is_empty() {
        return Err(Status::invalid(
            "",
            "Binding",
            name,
            &[crate::status::FieldError::required("target.name", "")],
        ));
    }
    let outcome = store.update(&pods, call.namespace, name, |pod| {
        let assigned = pod.value["spec"]["nodeName"].as_str().unwrap_or_default();
        if !assigned.is_empty() {
            return Err(Status::conflict_about(
                "",
                "pods/binding",
                name,
                &format!("pod {name} is already assigned to node {assigned:?}"),
            ));
        }
        if call.params.dry_run {
            return Ok(Change::Keep);
        }
        let mut value = pod.value.clone();
        crate::lifecycle::bind(&mut value, node, &now_rfc3339());
        Ok(Change::Replace(value))
    })?;
    outcome
        .map(|_| created())
        .ok_or_else(|| Status::not_found(&pods, name))
}

/// `pods/eviction`: no budgets stand in the way here.
pub(super) fn eviction(call: &Call<'_>, body: &Bytes) -> Result<Answer, Status> {
    let value = super::decode(call, body)?;
    super::delete::delete(
        call,
        call.namespace,
        call.name,
        &super::delete::Options::from_value(&value["deleteOptions"]),
    )?;
    Ok(created())
}

fn created() -> Answer {
    let mut answer = Answer::json(
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    );
    answer.code = StatusCode::CREATED;
    answer
}
