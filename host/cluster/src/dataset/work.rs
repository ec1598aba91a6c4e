//! Makes and removes sets at a pace.

use std::sync::Arc;

use serde_json::json;

use super::{DataKind, DataSpec, check_name, check_namespace, object::object};
use crate::{
    api::{ApiFailure, Cluster, Code, Scope},
    bulk::{self, BulkOptions, BulkOutcome},
    operation::{Change, Operation},
    session::Session,
};
use kperf_load::Stop;

/// Why a set could not be made, removed or found.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// What was asked for makes no sense; nothing was sent.
    #[error("{0}")]
    Invalid(String),
    /// The API server said no, or nothing.
    #[error("{what}: {source}")]
    Api {
        /// What was being done.
        what: String,
        /// Why not.
        source: ApiFailure,
    },
}

impl DataError {
    pub(super) fn api(what: impl Into<String>) -> impl FnOnce(ApiFailure) -> Self {
        let what = what.into();
        |source| Self::Api { what, source }
    }
}

/// Makes a set, and its namespace if there is none; what is there of it is brought to the same content. The first
/// failure ends it. `progress` is told how many are there. Needs a tokio runtime.
///
/// # Errors
/// See [`DataError`].
pub async fn add(
    cluster: &Cluster,
    spec: &DataSpec,
    rate_per_sec: f64,
    burst: u32,
    stop: &Stop,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), DataError> {
    spec.validate()?;
    let session = Arc::new(Session::upkeep(cluster.clone(), stop.clone()));
    ensure_namespace(&session, &spec.namespace).await?;
    let what = format!("creating {}", spec.kind.plural());
    let options = BulkOptions {
        name: what.clone(),
        rate_per_sec,
        burst,
        in_flight: u32::try_from(spec.group_size).unwrap_or(100).clamp(1, 100),
        scheduled: false,
        stop_on_failure: true,
    };
    let operations = (0..spec.total)
        .map(|index| Operation::of_manifest(Change::Apply, object(spec, index).to_string()));
    let outcome = bulk::perform_each(&session, &options, operations, &|done, _| progress(done))
        .await
        .map_err(DataError::api(&what))?;
    finished(outcome, &what).map(drop)
}

fn finished(outcome: BulkOutcome, what: &str) -> Result<u64, DataError> {
    match outcome.error {
        Some(failure) => Err(DataError::api(format!(
            "{what}: {} are done, then",
            outcome.succeeded
        ))(failure)),
        None => Ok(outcome.succeeded),
    }
}

/// Removes a set; how many objects it had. `progress` is told how many are gone and how many there were. Needs a tokio
/// runtime.
///
/// # Errors
/// See [`DataError`].
#[allow(clippy::too_many_arguments, reason = "whose, where, which, how fast")]
pub async fn delete(
    cluster: &Cluster,
    kind: DataKind,
    namespace: &str,
    name: &str,
    rate_per_sec: f64,
    burst: u32,
    stop: &Stop,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<u64, DataError> {
    check_name(name)?;
    check_namespace(namespace)?;
    let session = Arc::new(Session::upkeep(cluster.clone(), stop.clone()));
    let what = format!("deleting {}", kind.plural());
    let mut members = Vec::new();
    each_member(&session, kind, namespace, |set, _, metadata| {
        if set == name {
            members.push(metadata["name"].as_str().unwrap_or_default().to_owned());
        }
    })
    .await
    .map_err(DataError::api(&what))?;
    let total = members.len() as u64;
    let options = BulkOptions {
        name: what.clone(),
        rate_per_sec,
        burst,
        in_flight: 50,
        scheduled: false,
        stop_on_failure: true,
    };
    let operations = members.into_iter().map(|member| Operation {
        change: Change::Delete,
        api_version: kind.api_version().to_owned(),
        kind: kind.kind().to_owned(),
        namespace: namespace.to_owned(),
        name: member,
        subresource: String::new(),
        body: String::new(),
    });
    let outcome = bulk::perform_each(&session, &options, operations, &|done, _| {
        progress(done, total);
    })
    .await
    .map_err(DataError::api(&what))?;
    finished(outcome, &what)
}

/// Looks at the metadata of all members of sets: set, index, metadata.
pub(super) async fn each_member(
    session: &Session,
    kind: DataKind,
    namespace: &str,
    mut look: impl FnMut(&str, u64, &serde_json::Value),
) -> Result<(), ApiFailure> {
    let resource = session.resource(kind.api_version(), kind.kind()).await?;
    let scope = Scope {
        namespace: namespace.to_owned(),
        ..Scope::default()
    };
    session
        .for_each_metadata(&resource, &scope, |metadata| {
            let name = metadata["name"].as_str().unwrap_or_default();
            let Some((set, index)) = kind.parse(name) else {
                return;
            };
            let label = metadata["labels"][kind.set_label()].as_str();
            let is_member = match label {
                Some(label) => label == set,
                None => kind.is_known_by_name(),
            };
            if is_member {
                look(set, index, metadata);
            }
        })
        .await
}

async fn ensure_namespace(session: &Session, name: &str) -> Result<(), DataError> {
    let failed = DataError::api(format!("namespace {name}"));
    match session.get("v1", "Namespace", "", name).await {
        Ok(_) => return Ok(()),
        Err(failure) if failure.code == Code::NotFound => {}
        Err(failure) => return Err(failed(failure)),
    }
    let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    match session.create(&manifest.to_string()).await {
        Err(failure) if failure.code != Code::AlreadyExists => Err(failed(failure)),
        _ => Ok(()),
    }
}
