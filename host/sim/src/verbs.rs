//! The verbs: what each does to the store and how it answers.

mod create;
mod delete;
mod get;
mod list;
mod log;
mod patch;
mod scale;
mod update;
pub(crate) mod validate;
mod watch;

use bytes::Bytes;
use http::{StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};

use crate::{
    answer::{Accept, Answer, JSON, Shape},
    body::Body,
    handle::Call,
    protobuf,
    registry::Resource,
    route::ResourcePath,
    status::{FieldError, Status},
    store::Object,
    table,
};

pub(crate) use create::prepare;
pub(crate) use delete::{delete_now_or_gracefully, remove_now};
pub(crate) use list::list_metadata;

/// Runs a verb.
///
/// # Errors
/// The Status to answer with.
pub(crate) fn run(verb: &str, call: &Call<'_>, body: &Bytes) -> Result<Answer, Status> {
    check_params(verb, call)?;
    if !call.subresource.is_empty() {
        if !call.resource.has_subresource(call.subresource) {
            return Err(Status::nothing_there());
        }
        match (call.subresource, verb) {
            ("log", "get") => return log::run(call),
            ("scale", "get") => return scale::get(call),
            ("scale", "update" | "patch") => return scale::change(call, verb, body),
            ("binding", "create") => return create::binding(call, body),
            ("eviction", "create") => return create::eviction(call, body),
            ("finalize", "update") => return update::finalize(call, body),
            ("status", "get" | "update" | "patch") => {}
            _ => return Err(Status::method_not_allowed()),
        }
    }
    // Nobody deletes all namespaces with one request.
    if (call.resource.is("", "bindings") && verb != "create")
        || (call.resource.is("", "namespaces") && verb == "deletecollection")
    {
        return Err(Status::method_not_allowed());
    }
    match verb {
        "get" => get::run(call),
        "list" => list::run(call),
        "watch" => watch::run(call),
        "create" => create::run(call, body),
        "update" => update::run(call, body),
        "patch" => patch::run(call, body),
        "delete" => delete::run(call, body),
        "deletecollection" => delete::collection(call, body),
        _ => Err(Status::method_not_allowed()),
    }
}

/// Parameters that are wrong whatever they are used for.
fn check_params(verb: &str, call: &Call<'_>) -> Result<(), Status> {
    let include = call.params.include_object.as_str();
    if call.accept.shape == Shape::Table && !matches!(include, "" | "None" | "Metadata" | "Object")
    {
        return Err(Status::bad_request(format!(
            "unrecognized includeObject value: {include:?}"
        )));
    }
    let options = match verb {
        "create" => "CreateOptions",
        "update" => "UpdateOptions",
        "patch" => "PatchOptions",
        "delete" | "deletecollection" => "DeleteOptions",
        _ => return Ok(()),
    };
    match &call.params.bad_dry_run {
        Some(value) => Err(Status::invalid(
            "meta.k8s.io",
            options,
            "",
            &[FieldError::unsupported("dryRun", value, &["All"])],
        )),
        None => Ok(()),
    }
}

/// What `system:anonymous` is told.
pub(crate) fn forbidden_anonymous(
    verb: &str,
    resource: &Resource,
    asked: &ResourcePath<'_>,
) -> Status {
    let place = asked.namespace.as_deref().map_or_else(
        || "at the cluster scope".to_owned(),
        |ns| format!("in the namespace {ns:?}"),
    );
    let sub = asked
        .subresource
        .as_deref()
        .map_or_else(String::new, |s| format!("/{s}"));
    Status::forbidden(
        resource,
        asked.name.as_deref().unwrap_or_default(),
        &format!(
            "User \"system:anonymous\" cannot {verb} resource \"{}{sub}\" in API group {:?} {place}",
            resource.plural, resource.group
        ),
    )
}

/// One object, in the shape the client asked for.
fn answer_object(code: StatusCode, call: &Call<'_>, object: &Object) -> Answer {
    match call.accept {
        Accept {
            shape: Shape::Object,
            yaml: false,
        } => {
            let mut text = Vec::with_capacity(object.json().len() + 1);
            text.extend_from_slice(object.json());
            text.push(b'\n');
            Answer::new(code, JSON, Body::Whole(text.into()))
        }
        Accept {
            shape: Shape::Object,
            ..
        } => Answer::value(code, &object.value, &call.accept),
        Accept {
            shape: Shape::Table,
            ..
        } => {
            let table = table::render(
                &call.resource,
                std::iter::once(object),
                true,
                &call.params.include_object,
            );
            Answer::value(
                code,
                &table::with_metadata(table, object.revision, None, None),
                &call.accept,
            )
        }
        Accept {
            shape: Shape::Metadata,
            ..
        } => Answer::value(code, &partial(object), &call.accept),
    }
}

/// `meta.k8s.io/v1` PartialObjectMetadata.
fn partial(object: &Object) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.value["metadata"]})
}

/// An object that was not stored (dry run), in the shape the client asked for.
fn answer_unstored(code: StatusCode, call: &Call<'_>, value: Value, revision: u64) -> Answer {
    answer_object(
        code,
        call,
        &Object::unstored(&call.resource, revision, value),
    )
}

/// Media types a body of a new object may have.
const OBJECT_TYPES: &str = "application/json, application/yaml";

/// The body as a value: JSON, or YAML when the content type says so. No content type means JSON.
fn decode(call: &Call<'_>, body: &Bytes) -> Result<Value, Status> {
    match media_type(call).as_str() {
        "" | "application/json" | "*/*" => decode_as(call, body, false),
        "application/yaml" => decode_as(call, body, true),
        protobuf::MEDIA_TYPE => protobuf::decode(body).map_err(|e| match e {
            protobuf::DecodeError::Malformed => Status::bad_request(format!(
                "the object provided is unrecognized (must be of type {}): provided data does not appear to be a protobuf message ({})",
                call.resource.kind,
                preview(body)
            )),
            protobuf::DecodeError::Unsupported => Status::unsupported_media_type(OBJECT_TYPES),
        }),
        _ => Err(Status::unsupported_media_type(OBJECT_TYPES)),
    }
}

fn decode_as(call: &Call<'_>, body: &Bytes, yaml: bool) -> Result<Value, Status> {
    let unrecognized = |e: String| {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: {e} ({})",
            call.resource.kind,
            preview(body)
        ))
    };
    let value: Value = if yaml {
        serde_yaml::from_slice(body).map_err(|e| unrecognized(e.to_string()))?
    } else {
        serde_json::from_slice(body).map_err(|e| unrecognized(e.to_string()))?
    };
    if value.is_object() {
        Ok(value)
    } else {
        Err(unrecognized("the body is no object".to_owned()))
    }
}

/// The start of a body in hexadecimal, as the real server shows it.
fn preview(body: &[u8]) -> String {
    body.iter()
        .take(25)
        .map(|b| format!("{b:02x}"))
        .collect::<String>()
        + if body.len() > 25 { " ..." } else { "" }
}

/// The content type without its parameters, lower case; empty when there is none.
fn media_type(call: &Call<'_>) -> String {
    call.headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_lowercase()
}

/// Refuses a body of another kind, version, name or namespace than the URL's.
fn check_identity(call: &Call<'_>, value: &mut Value) -> Result<(), Status> {
    let resource = &call.resource;
    let kind = value["kind"].as_str().unwrap_or_default();
    let version = value["apiVersion"].as_str().unwrap_or_default();
    let expected = resource.api_version();
    if !version.is_empty() && version != expected {
        return Err(Status::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        )));
    }
    if !kind.is_empty() && kind != resource.kind.as_str() {
        return Err(Status::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {}",
            resource.version, resource.kind
        )));
    }
    let metadata = crate::defaults::object(value, "metadata");
    if resource.namespaced {
        match metadata
            .get("namespace")
            .and_then(Value::as_str)
            .unwrap_or_default()
        {
            "" => {
                metadata.insert("namespace".to_owned(), json!(call.namespace));
            }
            namespace if namespace != call.namespace => {
                return Err(Status::bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
            _ => {}
        }
    } else {
        metadata.remove("namespace");
    }
    if !call.name.is_empty() {
        match metadata
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
        {
            "" => {
                metadata.insert("name".to_owned(), json!(call.name));
            }
            name if name != call.name => {
                return Err(Status::bad_request(format!(
                    "the name of the object ({name}) does not match the name on the URL ({})",
                    call.name
                )));
            }
            _ => {}
        }
    }
    Ok(())
}
