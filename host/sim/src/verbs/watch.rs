//! `watch`: a stream of events, from a revision, from now, or from a consistent start.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use super::list::{Selection, invalid_options, namespace_of, revision_of};
use crate::{
    answer::{Accept, Answer, JSON, Shape},
    body::{Body, ChunkSource},
    faults::{FaultState, mix},
    handle::Call,
    registry::Resource,
    status::{FieldError, Status},
    store::{Event, EventKind, Object, Query, Store},
    table,
};

/// Bookmarks come so often, as in the real server.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// Events written in one chunk at most, so that a long history does not sit in memory as text.
const MAX_CHUNK_BYTES: usize = 256 * 1024;

pub(super) fn run(call: &Call<'_>) -> Result<Answer, Status> {
    check_options(call)?;
    let selection = Selection::parse(call)?;
    let asked = revision_of(call)?;
    let store = &call.shared.store;
    let collection = &call.resource.collection;
    let changed = collection.subscribe();
    let current = store.revision();
    let wants_initial = match call.params.send_initial_events {
        Some(initial) => {
            if let Some(asked) = asked.filter(|asked| *asked > current) {
                let status = Status::too_large_revision(asked, current);
                return Ok(Answer::new(
                    StatusCode::OK,
                    JSON,
                    Body::Whole(error_event(&status).into()),
                ));
            }
            initial
        }
        // Without a revision, or with 0, a watch begins with what there is.
        None => asked.unwrap_or(0) == 0,
    };
    let (initial, since) = if wants_initial {
        let query = Query {
            namespace: namespace_of(call),
            at: None,
            after: None,
            limit: 0,
            matches: &|object| selection.matches(object),
        };
        let page = collection.page(&|| store.revision(), &query).map_err(|_| {
            Status::expired("The resourceVersion for the provided watch is too old.")
        })?;
        (page.items, page.revision)
    } else {
        // `sendInitialEvents=false` without a revision starts from now.
        (
            Vec::new(),
            asked.filter(|asked| *asked > 0).unwrap_or(current),
        )
    };
    let timeout = call.params.timeout_seconds.map_or_else(
        // 30 to 60 minutes, spread so that clients do not all come back at once.
        || Duration::from_secs(1800 + mix(current) % 1800),
        Duration::from_secs,
    );
    let now = Instant::now();
    let source = Watch {
        store: Arc::clone(store),
        faults: Arc::clone(&call.shared.faults),
        resource: Arc::clone(&call.resource),
        namespace: namespace_of(call).map(str::to_owned),
        selection,
        accept: call.accept,
        include_object: call.params.include_object.clone(),
        bookmarks: call.params.allow_watch_bookmarks,
        initial: initial.into_iter(),
        initial_end: wants_initial && call.params.send_initial_events == Some(true),
        columns_sent: false,
        since,
        changed,
        ends: now + timeout,
        next_bookmark: now
            + BOOKMARK_EVERY.min(
                timeout
                    .saturating_sub(Duration::from_secs(2))
                    .max(Duration::from_secs(1)),
            ),
        failed: false,
    };
    Ok(Answer::new(
        StatusCode::OK,
        JSON,
        Body::stream(Box::new(source)),
    ))
}

fn check_options(call: &Call<'_>) -> Result<(), Status> {
    let params = &call.params;
    let how = params.resource_version_match.as_str();
    let field = "resourceVersionMatch";
    let mut errors = Vec::new();
    if params.send_initial_events.is_some() && how != "NotOlderThan" {
        errors.push(FieldError::forbidden(
            field,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
    }
    if !how.is_empty() {
        if params.send_initial_events.is_none() {
            errors.push(FieldError::forbidden(
                field,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        if how != "NotOlderThan" {
            errors.push(FieldError::unsupported(field, how, &["NotOlderThan"]));
        }
        if !params.continue_token.is_empty() {
            errors.push(FieldError::forbidden(
                field,
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
    }
    invalid_options(&errors)
}

/// How a watch that has begun says no.
fn error_event(status: &Status) -> String {
    format!("{{\"type\":\"ERROR\",\"object\":{}}}\n", status.to_value())
}

/// The state of one watch.
struct Watch {
    store: Arc<Store>,
    faults: Arc<FaultState>,
    resource: Arc<Resource>,
    namespace: Option<String>,
    selection: Selection,
    accept: Accept,
    include_object: String,
    bookmarks: bool,
    initial: std::vec::IntoIter<Arc<Object>>,
    /// The bookmark that closes the initial events is still due.
    initial_end: bool,
    columns_sent: bool,
    since: u64,
    changed: watch::Receiver<u64>,
    ends: Instant,
    next_bookmark: Instant,
    failed: bool,
}

type Chunk = Option<(Bytes, Box<dyn ChunkSource>)>;

impl ChunkSource for Watch {
    fn next(mut self: Box<Self>) -> Pin<Box<dyn Future<Output = Chunk> + Send>> {
        Box::pin(async move {
            let chunk = self.chunk().await?;
            while let Some(until) = self.faults.stalled_until() {
                tokio::time::sleep_until(until.into()).await;
            }
            Some((chunk.into(), self as Box<dyn ChunkSource>))
        })
    }
}

impl Watch {
    /// The next events; `None` ends the watch.
    async fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        while out.len() < MAX_CHUNK_BYTES {
            let Some(object) = self.initial.next() else {
                break;
            };
            self.write(&mut out, "ADDED", &object);
        }
        if !out.is_empty() {
            return Some(out);
        }
        if std::mem::take(&mut self.initial_end) && self.bookmarks {
            self.write_bookmark(&mut out, self.since, true);
            return Some(out);
        }
        if self.failed {
            return None;
        }
        loop {
            self.changed.borrow_and_update();
            match self.resource.collection.events_since(self.since) {
                Ok(events) => {
                    for event in &events {
                        self.since = event.object.revision;
                        self.translate(&mut out, event);
                        if out.len() >= MAX_CHUNK_BYTES {
                            break;
                        }
                    }
                }
                Err(oldest) => {
                    self.failed = true;
                    let status = Status::expired(format!(
                        "too old resource version: {} ({oldest})",
                        self.since
                    ));
                    out.extend_from_slice(error_event(&status).as_bytes());
                }
            }
            if !out.is_empty() {
                return Some(out);
            }
            let wake = self.ends.min(if self.bookmarks {
                self.next_bookmark
            } else {
                self.ends
            });
            tokio::select! {
                changed = self.changed.changed() => {
                    // The resource is gone when the sender is.
                    changed.ok()?;
                }
                () = tokio::time::sleep_until(wake) => {
                    let now = Instant::now();
                    if now >= self.ends {
                        return None;
                    }
                    self.next_bookmark = now + BOOKMARK_EVERY;
                    // Every event up to here has been read: what is missing is other resources' revisions.
                    let current = self.store.revision();
                    if self.resource.collection.events_since(self.since).is_ok_and(|e| e.is_empty()) {
                        self.write_bookmark(&mut out, current.max(self.since), false);
                        return Some(out);
                    }
                }
            }
        }
    }

    /// An event as this watch sees it: objects enter and leave its selection.
    fn translate(&mut self, out: &mut Vec<u8>, event: &Event) {
        if self
            .namespace
            .as_deref()
            .is_some_and(|ns| ns != event.object.namespace())
        {
            return;
        }
        let everything = self.selection.is_everything();
        let now = event.kind != EventKind::Deleted
            && (everything || self.selection.matches(&event.object));
        let before = event
            .previous
            .as_ref()
            .is_some_and(|o| everything || self.selection.matches(o));
        match (before, now) {
            (false, true) => self.write(out, "ADDED", &event.object),
            (true, true) => self.write(out, "MODIFIED", &event.object),
            (true, false) if event.kind == EventKind::Deleted => {
                self.write(out, "DELETED", &event.object)
            }
            (true, false) => {
                // It left the selection: its last state inside, with the revision at which it left.
                let value = event
                    .previous
                    .as_ref()
                    .map(|o| o.value.clone())
                    .unwrap_or_default();
                let last = Object::new(&self.resource, event.object.revision, value);
                self.write(out, "DELETED", &last);
            }
            (false, false) => {}
        }
    }

    fn write(&mut self, out: &mut Vec<u8>, kind: &str, object: &Object) {
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        match self.accept.shape {
            Shape::Object => out.extend_from_slice(object.json()),
            Shape::Metadata => out.extend_from_slice(super::partial(object).to_string().as_bytes()),
            Shape::Table => {
                let table = table::render(
                    &self.resource,
                    std::iter::once(object),
                    !std::mem::replace(&mut self.columns_sent, true),
                    &self.include_object,
                );
                let table = table::with_metadata(table, object.revision, None, None);
                out.extend_from_slice(table.to_string().as_bytes());
            }
        }
        out.extend_from_slice(b"}\n");
    }

    fn write_bookmark(&mut self, out: &mut Vec<u8>, revision: u64, initial_end: bool) {
        let mut metadata =
            json!({"resourceVersion": revision.to_string(), "creationTimestamp": Value::Null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let mut object = json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(), "metadata": metadata});
        match self.accept.shape {
            Shape::Object => {}
            Shape::Metadata => {
                object["kind"] = json!("PartialObjectMetadata");
                object["apiVersion"] = json!("meta.k8s.io/v1");
            }
            Shape::Table => {
                object = json!({
                    "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": revision.to_string()},
                    "columnDefinitions": [], "rows": [{"cells": [], "object": object}],
                });
            }
        }
        // The type first, as the real server writes it: clients may look at the start of a line only.
        out.extend_from_slice(
            format!("{{\"type\":\"BOOKMARK\",\"object\":{object}}}\n").as_bytes(),
        );
    }
}
