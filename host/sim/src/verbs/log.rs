//! `pods/log`: the log of a container.

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use crate::{answer::Answer, handle::Call, status::Status};

pub(super) fn run(call: &Call<'_>) -> Result<Answer, Status> {
    let params = &call.params;
    let pod = call
        .resource
        .collection
        .get(call.namespace, call.name)
        .ok_or_else(|| Status::not_found(&call.resource, call.name))?;
    for (field, value) in [
        ("tailLines", params.tail_lines),
        ("limitBytes", params.limit_bytes),
    ] {
        let least = i64::from(field == "limitBytes");
        if let Some(value) = value.filter(|v| *v < least) {
            let why = if least == 0 {
                "must be greater than or equal to 0"
            } else {
                "must be greater than 0"
            };
            return Err(Status::invalid(
                "",
                "PodLogOptions",
                call.name,
                &[crate::status::FieldError::invalid(
                    field,
                    &Value::from(value),
                    why,
                )],
            ));
        }
    }
    let containers: Vec<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| pod.value["spec"][list].as_array().into_iter().flatten())
        .filter_map(|c| c["name"].as_str())
        .collect();
    let container = match (params.container.as_str(), containers.as_slice()) {
        ("", [only]) => only,
        ("", []) => "",
        ("", many) => {
            return Err(Status::bad_request(format!(
                "a container name must be specified for pod {}, choose one of: [{}]",
                call.name,
                many.join(" ")
            )));
        }
        (name, all) if all.contains(&name) => name,
        (name, _) => {
            return Err(Status::bad_request(format!(
                "container {name} is not valid for pod {}",
                call.name
            )));
        }
    };
    if params.previous {
        return Err(Status::bad_request(format!(
            "previous terminated container {container:?} in pod {:?} not found",
            call.name
        )));
    }
    if pod.value["spec"]["nodeName"]
        .as_str()
        .unwrap_or_default()
        .is_empty()
    {
        // Nothing has run yet; the real server answers empty for an unscheduled pod.
        return Ok(Answer::text(StatusCode::NO_CONTENT, Bytes::new()));
    }
    if pod.value["status"]["phase"] == "Pending" {
        return Err(Status::bad_request(format!(
            "container {container:?} in pod {:?} is waiting to start: ContainerCreating",
            call.name
        )));
    }
    let log = &call.shared.log;
    let lines = log.starts.len();
    let skip = params.tail_lines.map_or(0, |tail| {
        lines.saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX))
    });
    let from = log.starts.get(skip).copied().unwrap_or(log.text.len());
    let mut text = log.text.slice(from..);
    if params.timestamps {
        let at = pod.value["metadata"]["creationTimestamp"]
            .as_str()
            .unwrap_or_default()
            .trim_end_matches('Z');
        let stamped: Vec<u8> = text
            .split_inclusive(|b| *b == b'\n')
            .enumerate()
            .flat_map(|(i, line)| {
                [
                    format!("{at}.{:09}Z ", (skip + i) % 1_000_000_000).as_bytes(),
                    line,
                ]
                .concat()
            })
            .collect();
        text = stamped.into();
    }
    if let Some(limit) = params.limit_bytes.and_then(|n| usize::try_from(n).ok()) {
        text.truncate(limit);
    }
    Ok(Answer::new(
        StatusCode::OK,
        "text/plain",
        crate::body::Body::Whole(text),
    ))
}
