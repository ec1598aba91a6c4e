//! What the fixture's client does not do by itself: patches, and deletions of exactly one object.

use std::time::Duration;

use anyhow::Context as _;
use kperf_control_plane::{Answer, Client};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(15);

/// How a patch is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patch {
    Merge,
    Strategic,
}

pub(crate) fn patch(
    client: &Client,
    path: &str,
    kind: Patch,
    body: &Value,
) -> anyhow::Result<Answer> {
    let media = match kind {
        Patch::Merge => "application/merge-patch+json",
        Patch::Strategic => "application/strategic-merge-patch+json",
    };
    send(client, "PATCH", path, media, body)
}

pub(crate) fn delete(client: &Client, path: &str, options: &Value) -> anyhow::Result<Answer> {
    send(client, "DELETE", path, "application/json", options)
}

fn send(
    client: &Client,
    method: &str,
    path: &str,
    media: &str,
    body: &Value,
) -> anyhow::Result<Answer> {
    let headers = [("content-type", media), ("accept", "application/json")];
    let body = body.to_string();
    let mut opened = client.open(method, path, &headers, Some(body.as_bytes()), LIMIT)?;
    let mut text = String::new();
    opened
        .body
        .read_to_string(&mut text)
        .with_context(|| format!("{method} {path}"))?;
    Ok(Answer {
        status: opened.status,
        text,
    })
}

/// Now, as the API writes it.
pub(crate) fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// Now, as leases write it.
pub(crate) fn now_micro() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%S.%6fZ")
        .to_string()
}

/// A text of an object, empty when there is none.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A list of an object, empty when there is none.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
