//! `patch`: the patch types by content type.

use bytes::Bytes;
use serde_json::Value;

use crate::{answer::Answer, handle::Call, patch, status::Status};

const CUSTOM_TYPES: &str =
    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

pub(super) fn run(call: &Call<'_>, body: &Bytes) -> Result<Answer, Status> {
    let custom = call.resource.custom;
    let media_type = super::media_type(call);
    if call.params.force.is_some() && media_type != "application/apply-patch+yaml" {
        return Err(Status::invalid(
            "meta.k8s.io",
            "PatchOptions",
            "",
            &[crate::status::FieldError::forbidden(
                "force",
                "may not be specified for non-apply patch",
            )],
        ));
    }
    let answer = match media_type.as_str() {
        "application/json-patch+json" => {
            super::update::change(call, |o| patch::json(o.value.clone(), body))
        }
        "application/merge-patch+json" => {
            super::update::change(call, |o| patch::merge(o.value.clone(), body))
        }
        "application/strategic-merge-patch+json" if !custom => {
            super::update::change(call, |o| patch::strategic::apply(o.value.clone(), body))
        }
        "application/apply-patch+yaml" => return apply(call, body),
        _ if custom => return Err(Status::unsupported_media_type(CUSTOM_TYPES)),
        _ => return Err(Status::no_such_patch()),
    }?;
    answer.ok_or_else(|| Status::not_found(&call.resource, call.name))
}

fn apply(call: &Call<'_>, body: &Bytes) -> Result<Answer, Status> {
    let manager = call.params.field_manager.as_str();
    if manager.is_empty() {
        return Err(Status::invalid(
            "meta.k8s.io",
            "PatchOptions",
            "",
            &[crate::status::FieldError::required(
                "fieldManager",
                "is required for apply patch",
            )],
        ));
    }
    let mut wanted = super::decode_as(call, body, true)?;
    if wanted["apiVersion"].is_null() || wanted["kind"].is_null() {
        return Err(Status::bad_request(
            "error decoding YAML: Object 'Kind' and 'apiVersion' must be set",
        ));
    }
    super::check_identity(call, &mut wanted)?;
    if !wanted["metadata"]["managedFields"].is_null() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let force = call.params.force.unwrap_or(false);
    let version = call.resource.api_version();
    // A namespace the URL implies is not part of the configuration.
    let changed = super::update::change(call, |object| {
        patch::apply::apply(&object.value, &wanted, manager, force, &version)
    })?;
    if let Some(answer) = changed {
        return Ok(answer);
    }
    if !call.subresource.is_empty() {
        return Err(Status::not_found(&call.resource, call.name));
    }
    let fresh = patch::apply::apply(&Value::Null, &wanted, manager, force, &version)?;
    super::create::create(call, fresh)
}
