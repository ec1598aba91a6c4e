//! `list`: a consistent set of objects, whole or page by page.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::{
    answer::{Accept, Answer, JSON, Shape},
    body::Body,
    handle::Call,
    selector::{FieldSelector, LabelSelector},
    status::{FieldError, Status},
    store::{ContinueToken, Object, Page, Query},
    table,
};

/// What the real server says when a token outlived its revision; the new token in the answer goes on
/// without consistency.
const EXPIRED_CONTINUE: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// Selectors of a list or watch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    pub(crate) fn parse(call: &Call<'_>) -> Result<Self, Status> {
        Ok(Self {
            labels: LabelSelector::parse(&call.params.label_selector)?,
            fields: FieldSelector::parse(&call.params.field_selector, &call.resource)?,
        })
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, object: &Object) -> bool {
        self.labels.matches(&object.value) && self.fields.matches(&object.value)
    }
}

/// The namespace a list is restricted to.
pub(super) fn namespace_of<'a>(call: &'a Call<'_>) -> Option<&'a str> {
    (call.resource.namespaced && !call.namespace.is_empty()).then_some(call.namespace)
}

/// `resourceVersion` as a number; `None` when unset.
pub(super) fn revision_of(call: &Call<'_>) -> Result<Option<u64>, Status> {
    let text = &call.params.resource_version;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Status::unclassified(format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}

/// Refuses revisions that do not exist yet: "not older than" could never be met.
pub(super) fn check_not_older(call: &Call<'_>) -> Result<Option<u64>, Status> {
    let asked = revision_of(call)?;
    let current = call.shared.store.revision();
    match asked {
        Some(asked) if asked > current => Err(Status::too_large_revision(asked, current)),
        asked => Ok(asked),
    }
}

fn check_options(call: &Call<'_>) -> Result<(), Status> {
    let params = &call.params;
    let mut errors = Vec::new();
    let field = "resourceVersionMatch";
    if !params.resource_version_match.is_empty() {
        let how = params.resource_version_match.as_str();
        if params.resource_version.is_empty() {
            errors.push(FieldError::forbidden(
                field,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        if !params.continue_token.is_empty() {
            errors.push(FieldError::forbidden(
                field,
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        if !matches!(how, "Exact" | "NotOlderThan") {
            errors.push(FieldError::unsupported(
                field,
                how,
                &["Exact", "NotOlderThan", ""],
            ));
        }
        if how == "Exact" && params.resource_version == "0" {
            errors.push(FieldError::forbidden(
                field,
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
    }
    if params.send_initial_events.is_some() {
        errors.push(FieldError::forbidden(
            "sendInitialEvents",
            "sendInitialEvents is forbidden for list",
        ));
    }
    invalid_options(&errors)
}

pub(super) fn invalid_options(errors: &[FieldError]) -> Result<(), Status> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Status::invalid("meta.k8s.io", "ListOptions", "", errors))
    }
}

pub(super) fn run(call: &Call<'_>) -> Result<Answer, Status> {
    check_options(call)?;
    let selection = Selection::parse(call)?;
    let asked = check_not_older(call).map_err(|mut status| {
        // A list words it for the client; a watch and a get pass on what the parser said.
        if status.code == 500 {
            status = Status::bad_request(format!("invalid resource version: {}", status.message));
        }
        status
    })?;
    let params = &call.params;
    if params.limit == 0
        && params.continue_token.is_empty()
        && params.resource_version_match != "Exact"
        && selection.is_everything()
        && call.accept == Accept::default()
    {
        return Ok(whole(call));
    }
    let page = page(call, &selection, asked)?;
    let next = page
        .items
        .last()
        .filter(|_| page.remaining > 0)
        .map(|last| {
            ContinueToken {
                revision: Some(page.revision),
                namespace: last.namespace().to_owned(),
                name: last.name().to_owned(),
            }
            .encode()
        });
    // As in the real server, only a list without selectors knows how much is left.
    let remaining = (next.is_some() && selection.is_everything()).then_some(page.remaining);
    Ok(render(call, &page, next, remaining))
}

/// The fast path: everything there is, from encoded parts.
fn whole(call: &Call<'_>) -> Answer {
    let store = &call.shared.store;
    let (mut parts, revision) = call
        .resource
        .collection
        .encoded_items(&|| store.revision(), namespace_of(call));
    let head = format!(
        "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{{\"resourceVersion\":\"{revision}\"}},\"items\":[",
        call.resource.list_kind,
        call.resource.api_version()
    );
    match parts.first_mut() {
        // Small lists go out in one piece.
        Some(only) if only.len() < 16 * 1024 => {
            *only = Bytes::from([head.as_bytes(), only].concat());
        }
        _ => parts.insert(0, head.into()),
    }
    match parts.last_mut() {
        Some(last) if last.len() < 16 * 1024 => *last = Bytes::from([last, &b"]}\n"[..]].concat()),
        _ => parts.push(Bytes::from_static(b"]}\n")),
    }
    Answer::new(StatusCode::OK, JSON, Body::parts(parts))
}

fn page(call: &Call<'_>, selection: &Selection, asked: Option<u64>) -> Result<Page, Status> {
    let params = &call.params;
    let store = &call.shared.store;
    let token = if params.continue_token.is_empty() {
        None
    } else if asked.is_some_and(|rv| rv != 0) {
        return Err(Status::bad_request(
            "specifying resource version is not allowed when using continue",
        ));
    } else {
        Some(ContinueToken::decode(&params.continue_token)?)
    };
    let exact = params.resource_version_match == "Exact"
        // A limit with a revision and no match rule means exactly that revision, for old clients.
        || (params.limit > 0 && params.resource_version_match.is_empty() && asked.is_some_and(|rv| rv != 0));
    let query = Query {
        namespace: namespace_of(call),
        at: token
            .as_ref()
            .map_or(asked.filter(|_| exact), |t| t.revision),
        after: token
            .as_ref()
            .map(|t| (t.namespace.as_str(), t.name.as_str())),
        // From the cache (revision 0) the list is whole, whatever the limit.
        limit: if token.is_none() && asked == Some(0) {
            0
        } else {
            params.limit
        },
        matches: &|object| selection.matches(object),
    };
    call.resource
        .collection
        .page(&|| store.revision(), &query)
        .map_err(|_| match token {
            Some(token) => {
                let mut status = Status::expired(EXPIRED_CONTINUE);
                status.continue_token = Some(
                    ContinueToken {
                        revision: None,
                        ..token
                    }
                    .encode(),
                );
                status
            }
            None => Status::expired("The resourceVersion for the provided list is too old."),
        })
}

fn render(call: &Call<'_>, page: &Page, next: Option<String>, remaining: Option<usize>) -> Answer {
    let accept = call.accept;
    let objects = page.items.iter().map(AsRef::as_ref);
    if accept.shape == Shape::Table {
        let table = table::render(&call.resource, objects, true, &call.params.include_object);
        let table = table::with_metadata(table, page.revision, next, remaining);
        return Answer::value(StatusCode::OK, &table, &accept);
    }
    let metadata = list_metadata(page.revision, next, remaining);
    if accept.shape == Shape::Metadata {
        let items: Vec<Value> = objects.map(super::partial).collect();
        let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items});
        return Answer::value(StatusCode::OK, &list, &accept);
    }
    let (kind, version) = (&call.resource.list_kind, call.resource.api_version());
    if accept.yaml {
        let items: Vec<&Value> = objects.map(|o| &o.value).collect();
        let list =
            json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items});
        return Answer::value(StatusCode::OK, &list, &accept);
    }
    let size: usize = page.items.iter().map(|o| o.json().len() + 1).sum();
    let mut out = Vec::with_capacity(size + 256);
    out.extend_from_slice(
        format!(
            "{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":{metadata},\"items\":["
        )
        .as_bytes(),
    );
    for (i, object) in objects.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        object.write_item(&mut out);
    }
    out.extend_from_slice(b"]}\n");
    Answer::new(StatusCode::OK, JSON, Body::Whole(out.into()))
}

/// `ListMeta`.
pub(crate) fn list_metadata(
    revision: u64,
    next: Option<String>,
    remaining: Option<usize>,
) -> Value {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".to_owned(), json!(revision.to_string()));
    if let Some(next) = next {
        metadata.insert("continue".to_owned(), json!(next));
    }
    if let Some(remaining) = remaining {
        metadata.insert("remainingItemCount".to_owned(), json!(remaining));
    }
    Value::Object(metadata)
}
