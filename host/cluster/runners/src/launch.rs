//! A group's objects from the first to the last, and their removal.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use kperf_cluster::{
    RUN_LABEL, RunId, Session,
    api::{Cluster, Code, DeleteOptions, Scope, patiently},
    cleanup::{self, CleanReport, RunObjects},
    grant::Grant,
};
use kperf_load::Stop;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    bundle::PLAN_FILE,
    error::GroupError,
    group::GroupSpec,
    objects::{self, GROUP_LABEL, NAMESPACE_LABEL, PART_LABEL, PLAN_PART},
    plan::Plan,
};

/// Objects that are created at once.
const PARALLEL: usize = 16;
/// Longest that the objects of a group that could not be made may take to be gone.
const CLEAN_UP: Duration = Duration::from_secs(60);
/// Between two looks at a namespace that is to vanish.
const POLL: Duration = Duration::from_millis(500);

/// Kinds of a group's objects, and whether they are in namespaces.
const KINDS: &[(&str, &str, bool)] = &[
    ("batch/v1", "Job", true),
    ("v1", "Pod", true),
    ("v1", "ConfigMap", true),
    ("v1", "ServiceAccount", true),
    ("rbac.authorization.k8s.io/v1", "Role", true),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", true),
    ("rbac.authorization.k8s.io/v1", "ClusterRole", false),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", false),
    ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema", false),
];

/// Makes everything of a group; its pods run from then on, whatever becomes of this process. If something cannot be made,
/// what was made is removed.
///
/// # Errors
/// What could not be made, and what became of the rest.
pub async fn create(
    cluster: &Cluster,
    spec: &GroupSpec,
    stop: &Stop,
) -> Result<(), (GroupError, CleanReport)> {
    let nothing = |error| (error, CleanReport::default());
    spec.check().map_err(|error| nothing(error.into()))?;
    ensure_namespace(cluster, &spec.namespace, stop)
        .await
        .map_err(nothing)?;
    let session = Arc::new(Session::new(
        cluster.clone(),
        spec.run.clone(),
        grants(),
        Instant::now(),
        stop.clone(),
    ));
    match create_all(&session, spec).await {
        Ok(()) => Ok(()),
        Err(error) => {
            let recorded = session.objects();
            let clean = cleanup::clean(cluster, &spec.run, Some(&recorded), CLEAN_UP, |_| {}).await;
            Err((error, clean))
        }
    }
}

/// The session creates these kinds and nothing else.
fn grants() -> Vec<Grant> {
    let texts = [
        "create:jobs.batch",
        "create:configmaps",
        "create:serviceaccounts",
        "create:roles.rbac.authorization.k8s.io",
        "create:rolebindings.rbac.authorization.k8s.io",
        "create:clusterroles.rbac.authorization.k8s.io",
        "create:clusterrolebindings.rbac.authorization.k8s.io",
        "create:flowschemas.flowcontrol.apiserver.k8s.io",
    ];
    // They are constants; a test holds them to be grants.
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

async fn ensure_namespace(cluster: &Cluster, name: &str, stop: &Stop) -> Result<(), GroupError> {
    let what = || GroupError::api(format!("creating namespace {name}"));
    let namespaces = patiently(stop, || cluster.kind("v1", "Namespace"))
        .await
        .map_err(what())?;
    let deadline = Instant::now() + CLEAN_UP;
    loop {
        let there = patiently(stop, || cluster.get(&namespaces, "", name)).await;
        match there {
            Ok(namespace) if namespace["metadata"]["deletionTimestamp"].is_null() => return Ok(()),
            // The last groups are being removed.
            Ok(_) if Instant::now() < deadline && !stop.is_stopped() => {
                tokio::time::sleep(POLL).await;
            }
            Err(failure) if failure.code == Code::NotFound => {
                let object = objects::namespace(name);
                match patiently(stop, || cluster.create(&namespaces, "", &object)).await {
                    Ok(_) => return Ok(()),
                    // Another group of the same moment made it.
                    Err(failure) if failure.code == Code::AlreadyExists => {}
                    Err(failure) => return Err(what()(failure)),
                }
            }
            // Who may not see whether it is there may still be allowed to work in it.
            Err(failure) if failure.code == Code::Forbidden => return Ok(()),
            Err(failure) => return Err(what()(failure)),
            Ok(_) => return Ok(()),
        }
    }
}

async fn create_all(session: &Arc<Session>, spec: &GroupSpec) -> Result<(), GroupError> {
    let mut objects = objects::objects(spec);
    let job = objects.pop();
    let mut objects = objects.into_iter();
    if let Some(first) = objects.next() {
        match create_one(session, first).await {
            Err(GroupError::Api { failure, .. }) if failure.code == Code::AlreadyExists => {
                return Err(GroupError::Exists {
                    name: spec.name.clone(),
                    namespace: spec.namespace.clone(),
                });
            }
            result => result?,
        }
    }
    let mut creating: JoinSet<Result<(), GroupError>> = JoinSet::new();
    loop {
        while creating.len() < PARALLEL
            && let Some(object) = objects.next()
        {
            let session = Arc::clone(session);
            creating.spawn(async move { create_one(&session, object).await });
        }
        match creating.join_next().await {
            None => break,
            Some(Ok(result)) => result?,
            // Only a panic of ours ends here.
            Some(Err(error)) => tracing::error!(%error, "an object was lost"),
        }
    }
    // Pods find everything else there.
    match job {
        Some(job) => create_one(session, job).await,
        None => Ok(()),
    }
}

async fn create_one(session: &Session, object: Value) -> Result<(), GroupError> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let what = format!(
        "creating {} {}",
        text(&object["kind"]),
        text(&object["metadata"]["name"])
    );
    match session.create(&object.to_string()).await {
        Err(failure) if failure.code == Code::NoSuchKind && object["kind"] == "FlowSchema" => {
            tracing::warn!("no priority for the runners' requests: {failure}");
            Ok(())
        }
        result => result.map(drop).map_err(GroupError::api(what)),
    }
}

/// A group that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Where.
    pub namespace: String,
    /// Id of its run.
    pub run: RunId,
}

/// Groups of a namespace, by name.
///
/// # Errors
/// The server cannot be asked.
pub async fn find(cluster: &Cluster, namespace: &str) -> Result<Vec<Found>, GroupError> {
    let what = || GroupError::api("looking for runner groups");
    let config_maps = cluster.kind("v1", "ConfigMap").await.map_err(what())?;
    let scope = Scope {
        namespace: namespace.to_owned(),
        label_selector: format!("{PART_LABEL}={PLAN_PART},{GROUP_LABEL},{RUN_LABEL}"),
        ..Scope::default()
    };
    let found = cluster
        .metadata(&config_maps, &scope)
        .await
        .map_err(what())?;
    let mut groups: Vec<Found> = found
        .iter()
        .filter_map(|metadata| {
            let label = |key: &str| metadata["labels"][key].as_str();
            Some(Found {
                name: label(GROUP_LABEL)?.to_owned(),
                namespace: namespace.to_owned(),
                run: label(RUN_LABEL)?.parse().ok()?,
            })
        })
        .collect();
    groups.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(groups)
}

impl Found {
    /// What its runners agreed on.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn plan(&self, cluster: &Cluster) -> Result<Plan, GroupError> {
        let what = || GroupError::api(format!("reading the plan of runner group {}", self.name));
        let config_maps = cluster.kind("v1", "ConfigMap").await.map_err(what())?;
        let object = cluster
            .get(&config_maps, &self.namespace, &self.name)
            .await
            .map_err(what())?;
        let text = object["data"][PLAN_FILE].as_str().unwrap_or_default();
        serde_json::from_str(text).map_err(|error| {
            crate::store::StoreError::new(
                format!("reading the plan of runner group {}", self.name),
                error,
            )
            .into()
        })
    }
}

/// Removes everything of a group, wherever it is, and waits until it is gone.
pub async fn delete(cluster: &Cluster, group: &Found, within: Duration) -> CleanReport {
    let mut kinds = Vec::new();
    for (api_version, kind, namespaced) in KINDS {
        match cluster.kind(api_version, kind).await {
            Ok(resource) => {
                let namespaces = if *namespaced {
                    BTreeSet::from([group.namespace.clone()])
                } else {
                    BTreeSet::new()
                };
                kinds.push((resource, namespaces));
            }
            // A server without the kind has no objects of it.
            Err(failure) if failure.code == Code::NoSuchKind => {}
            Err(failure) => {
                return CleanReport {
                    errors: vec![format!("nothing was deleted: {kind}: {failure}")],
                    ..CleanReport::default()
                };
            }
        }
    }
    let objects = RunObjects::of_kinds(kinds);
    cleanup::clean(cluster, &group.run, Some(&objects), within, |_| {}).await
}

/// Removes a namespace that was made for groups, if there are none any more; whether it did.
///
/// # Errors
/// It cannot be asked for, or does not go in time.
pub async fn delete_namespace(
    cluster: &Cluster,
    name: &str,
    within: Duration,
) -> Result<bool, GroupError> {
    let what = || GroupError::api(format!("deleting namespace {name}"));
    let namespaces = cluster.kind("v1", "Namespace").await.map_err(what())?;
    let namespace = match cluster.get(&namespaces, "", name).await {
        Ok(namespace) => namespace,
        // What cannot be seen was not made here.
        Err(failure) if matches!(failure.code, Code::NotFound | Code::Forbidden) => {
            return Ok(false);
        }
        Err(failure) => return Err(what()(failure)),
    };
    if namespace["metadata"]["labels"][NAMESPACE_LABEL] != "true"
        || !find(cluster, name).await?.is_empty()
    {
        return Ok(false);
    }
    let options = DeleteOptions {
        uid: namespace["metadata"]["uid"].as_str().map(str::to_owned),
        ..DeleteOptions::default()
    };
    cluster
        .delete(&namespaces, "", name, &options)
        .await
        .map_err(what())?;
    let deadline = Instant::now() + within;
    loop {
        match cluster.get(&namespaces, "", name).await {
            Err(failure) if failure.code == Code::NotFound => return Ok(true),
            Err(failure) => return Err(what()(failure)),
            Ok(_) if Instant::now() >= deadline => {
                return Err(crate::store::StoreError::new(
                    format!("deleting namespace {name}"),
                    format!("it is still there after {} s", within.as_secs()),
                )
                .into());
            }
            Ok(_) => tokio::time::sleep(POLL).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_of_a_group_may_be_created() {
        assert_eq!(grants().len(), 8);
    }
}
