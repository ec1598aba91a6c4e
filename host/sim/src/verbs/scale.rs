//! The `scale` subresource: `autoscaling/v1` Scale of anything with replicas.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    handle::Call,
    patch,
    status::{FieldError, Status},
    store::{Change, Object},
};

pub(super) fn get(call: &Call<'_>) -> Result<Answer, Status> {
    let object = call
        .resource
        .collection
        .get(call.namespace, call.name)
        .ok_or_else(|| Status::not_found(&call.resource, call.name))?;
    Ok(Answer::value(
        StatusCode::OK,
        &scale_of(&object),
        &call.accept,
    ))
}

pub(super) fn change(call: &Call<'_>, verb: &str, body: &Bytes) -> Result<Answer, Status> {
    let submitted = if verb == "update" {
        super::decode(call, body)?
    } else {
        Value::Null
    };
    let outcome =
        call.shared
            .store
            .update(&call.resource, call.namespace, call.name, |current| {
                let scale = scale_of(current);
                let next = match (verb, super::media_type(call).as_str()) {
                    ("update", _) => submitted.clone(),
                    (_, "application/json-patch+json") => patch::json(scale, body)?,
                    (_, "application/merge-patch+json") => patch::merge(scale, body)?,
                    (_, "application/strategic-merge-patch+json") => {
                        patch::strategic::apply(scale, body)?
                    }
                    _ => {
                        return Err(Status::unsupported_media_type(
                            "application/json-patch+json, application/merge-patch+json",
                        ));
                    }
                };
                let rv = next["metadata"]["resourceVersion"]
                    .as_str()
                    .unwrap_or_default();
                if !rv.is_empty() && rv.parse() != Ok(current.revision) {
                    return Err(Status::stale(&call.resource, call.name));
                }
                let replicas = next["spec"]["replicas"].as_i64().unwrap_or(0);
                if replicas < 0 {
                    return Err(Status::invalid(
                        "autoscaling",
                        "Scale",
                        call.name,
                        &[FieldError::invalid(
                            "spec.replicas",
                            &json!(replicas),
                            "must be greater than or equal to 0",
                        )],
                    ));
                }
                if current.value["spec"]["replicas"] == replicas || call.params.dry_run {
                    return Ok(Change::Keep);
                }
                let mut value = current.value.clone();
                value["spec"]["replicas"] = json!(replicas);
                let generation = value["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
                value["metadata"]["generation"] = json!(generation);
                Ok(Change::Replace(value))
            })?;
    let outcome = outcome.ok_or_else(|| Status::not_found(&call.resource, call.name))?;
    Ok(Answer::value(
        StatusCode::OK,
        &scale_of(outcome.object()),
        &call.accept,
    ))
}

fn scale_of(object: &Object) -> Value {
    let value = &object.value;
    let metadata = &value["metadata"];
    let labels = value["spec"]["selector"]["matchLabels"]
        .as_object()
        .or_else(|| value["spec"]["selector"].as_object())
        .into_iter()
        .flatten();
    let selector: Vec<String> = labels
        .filter_map(|(k, v)| Some(format!("{k}={}", v.as_str()?)))
        .collect();
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {"replicas": value["spec"]["replicas"].as_i64().unwrap_or(0)},
        "status": {"replicas": value["status"]["replicas"].as_i64().unwrap_or(0), "selector": selector.join(",")},
    })
}
