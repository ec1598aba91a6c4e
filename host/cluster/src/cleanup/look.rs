//! One look at one kind: list what carries the label, ask it to go.

use std::{collections::BTreeSet, sync::Arc};

use tokio::time::Instant;

use super::{RunObjects, found::Found};
use crate::{
    api::{ApiFailure, Cluster, Code, DeleteOptions, Resource, Scope},
    run::RunId,
};

/// Objects in one page of a list.
pub(super) const PAGE: u32 = 500;

/// A kind, and where the run says it created it; empty = anywhere.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) resource: Arc<Resource>,
    pub(super) namespaces: BTreeSet<String>,
    /// Of namespaces, which cannot be looked for in namespaces: what to ask for one by one.
    pub(super) names: BTreeSet<String>,
}

impl Target {
    /// Whether the run created it in its own namespaces only.
    pub(super) fn is_within_own(&self, recorded: &RunObjects) -> bool {
        let mut namespaces = self.namespaces.iter();
        namespaces.all(|namespace| recorded.created_namespace(namespace))
    }
}

/// One look at one kind: what there is, after it was asked to go.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// `None` when it could not be listed.
    pub(super) found: Option<Vec<Found>>,
    pub(super) error: Option<ApiFailure>,
    /// Another look would meet the same.
    pub(super) hopeless: bool,
}

impl Look {
    pub(super) async fn at(
        cluster: &Cluster,
        run: &RunId,
        target: &Target,
        until: Instant,
    ) -> Self {
        let found = match list(cluster, run, target, until).await {
            Ok(found) => found,
            // The kind itself is gone, and its objects with it.
            Err(failure) if failure.code == Code::NotFound => Vec::new(),
            Err(failure) => {
                return Self {
                    hopeless: !is_passing(&failure),
                    error: Some(failure),
                    found: None,
                };
            }
        };
        let mut look = Self::default();
        if let Err(failure) = ask_to_go(cluster, run, &target.resource, &found, until).await {
            look.hopeless = !is_passing(&failure);
            look.error = Some(failure);
        }
        look.found = Some(found);
        look
    }
}

/// Whether a failure may be gone the next time.
pub(super) fn is_passing(failure: &ApiFailure) -> bool {
    matches!(
        failure.code,
        Code::Throttled | Code::Timeout | Code::Unreachable | Code::Conflict
    ) || failure.status >= 500
        || failure.status == 410
}

pub(super) async fn timely<T>(
    until: Instant,
    call: impl Future<Output = Result<T, ApiFailure>>,
) -> Result<T, ApiFailure> {
    match tokio::time::timeout_at(until, call).await {
        Ok(result) => result,
        Err(_) => Err(ApiFailure::own(
            Code::Timeout,
            "the time for cleaning up was over before the server answered",
        )),
    }
}

/// Everything of a kind that carries the label: in the whole cluster or, where that is forbidden, in the
/// namespaces (or, of namespaces, under the names) the run says.
async fn list(
    cluster: &Cluster,
    run: &RunId,
    target: &Target,
    until: Instant,
) -> Result<Vec<Found>, ApiFailure> {
    match list_in(cluster, run, &target.resource, "", until).await {
        Err(failure)
            if failure.code == Code::Forbidden
                && target.resource.namespaced
                && !target.namespaces.is_empty() =>
        {
            let mut all = Vec::new();
            for namespace in &target.namespaces {
                match list_in(cluster, run, &target.resource, namespace, until).await {
                    // Where a namespace is gone, rights in it can be gone as well.
                    Err(gone) if gone.code == Code::NotFound => {}
                    result => all.extend(result?),
                }
            }
            Ok(all)
        }
        Err(failure) if failure.code == Code::Forbidden && !target.names.is_empty() => {
            let mut all = Vec::new();
            for name in &target.names {
                match timely(until, cluster.get(&target.resource, "", name)).await {
                    Ok(object) if run.owns(&object["metadata"]) => {
                        all.push(Found::new(&object["metadata"]));
                    }
                    // Somebody else's, whom the run asked for by the same name.
                    Ok(_) => {}
                    Err(gone) if gone.code == Code::NotFound => {}
                    Err(failure) => return Err(failure),
                }
            }
            Ok(all)
        }
        result => result,
    }
}

async fn list_in(
    cluster: &Cluster,
    run: &RunId,
    resource: &Resource,
    namespace: &str,
    until: Instant,
) -> Result<Vec<Found>, ApiFailure> {
    let scope = Scope {
        namespace: namespace.to_owned(),
        label_selector: run.selector(),
        ..Scope::default()
    };
    let mut found = Vec::new();
    let mut continue_token = String::new();
    loop {
        let page = timely(
            until,
            cluster.list_metadata(resource, &scope, PAGE, &continue_token),
        )
        .await?;
        // What the server selected is looked at again: nothing else must ever be deleted.
        let ours = page.items.iter().filter(|metadata| run.owns(metadata));
        found.extend(ours.map(Found::new));
        continue_token = page.continue_token;
        if continue_token.is_empty() {
            return Ok(found);
        }
    }
}

async fn ask_to_go(
    cluster: &Cluster,
    run: &RunId,
    resource: &Resource,
    found: &[Found],
    until: Instant,
) -> Result<(), ApiFailure> {
    let staying = || found.iter().filter(|object| !object.leaving);
    let mut first_failure = Ok(());
    if resource.can("deletecollection") && !resource.is("", "namespaces") {
        let namespaces: BTreeSet<&str> = staying().map(|o| o.namespace.as_str()).collect();
        let options = DeleteOptions::default();
        for namespace in namespaces {
            let scope = Scope {
                namespace: namespace.to_owned(),
                label_selector: run.selector(),
                ..Scope::default()
            };
            let call = cluster.delete_collection(resource, &scope, &options);
            let result = timely(until, call).await;
            first_failure = first_failure.and(tolerate_gone(result));
        }
        return first_failure;
    }
    for object in staying() {
        let options = DeleteOptions {
            // Not one that came after it under the same name.
            uid: Some(object.uid.clone()),
            ..DeleteOptions::default()
        };
        let call = cluster.delete(resource, &object.namespace, &object.name, &options);
        let result = timely(until, call).await;
        first_failure = first_failure.and(tolerate_gone(result));
    }
    first_failure
}

fn tolerate_gone(result: Result<(), ApiFailure>) -> Result<(), ApiFailure> {
    match result {
        Err(failure) if failure.code == Code::NotFound => Ok(()),
        result => result,
    }
}
