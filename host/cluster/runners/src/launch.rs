//! A group's objects from the first to the last, and their removal.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use kperf_cluster::{
    RUN_LABEL, RunId, Session,
    api::{ApiFailure, Cluster, Code, DeleteOptions, Scope, patiently},
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
    plan::{Plan, Reach},
    rights::check_reach,
};

/// Objects that are created at once.
const PARALLEL: usize = 16;
/// Longest that the objects of a group that could not be made may take to be gone.
const CLEAN_UP: Duration = Duration::from_secs(60);
/// Between two looks at a namespace that is to vanish.
const POLL: Duration = Duration::from_millis(500);

/// Longest that the last ConfigMaps may take, if all the time went before them.
const LAST_OBJECTS: Duration = Duration::from_secs(10);

/// Where objects of a kind are.
#[derive(Clone, Copy)]
enum Place {
    /// In the group's namespace.
    Group,
    /// In the namespaces of the load, too.
    Load,
    /// In none, and only if the load goes everywhere.
    Everywhere,
    /// In none.
    Cluster,
}

/// Kinds of a group's objects, but for ConfigMaps, which go last.
const KINDS: &[(&str, &str, Place)] = &[
    ("batch/v1", "Job", Place::Group),
    ("v1", "Pod", Place::Group),
    ("v1", "ServiceAccount", Place::Group),
    ("rbac.authorization.k8s.io/v1", "Role", Place::Load),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", Place::Load),
    (
        "rbac.authorization.k8s.io/v1",
        "ClusterRole",
        Place::Everywhere,
    ),
    (
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        Place::Everywhere,
    ),
    (
        "flowcontrol.apiserver.k8s.io/v1",
        "FlowSchema",
        Place::Cluster,
    ),
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
    check_account(cluster, spec, stop).await.map_err(nothing)?;
    check_reach(cluster, &spec.namespace, &Reach::of(&spec.grants))
        .await
        .map_err(nothing)?;
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

/// Without its account no pod can be made, and the Job would go on trying.
async fn check_account(cluster: &Cluster, spec: &GroupSpec, stop: &Stop) -> Result<(), GroupError> {
    // Every namespace gets `default`, a new one a little later.
    let Some(account) = spec
        .service_account
        .as_deref()
        .filter(|name| *name != "default")
    else {
        return Ok(());
    };
    let asked = async {
        let accounts = patiently(stop, || cluster.kind("v1", "ServiceAccount")).await?;
        patiently(stop, || cluster.get(&accounts, &spec.namespace, account)).await
    };
    match asked.await {
        Err(failure) if failure.code == Code::NotFound => Err(GroupError::NoAccount {
            account: account.to_owned(),
            namespace: spec.namespace.clone(),
        }),
        // Who may not see it may be allowed to use it all the same.
        Ok(_) => Ok(()),
        Err(failure) if failure.code == Code::Forbidden => Ok(()),
        Err(failure) => Err(GroupError::api(format!(
            "looking for service account {account}"
        ))(failure)),
    }
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

/// Removes everything of a group, wherever it is, and waits until it is gone. Its plan goes last: as long as anything is
/// left, the group is found again and its removal can be repeated.
pub async fn delete(cluster: &Cluster, group: &Found, within: Duration) -> CleanReport {
    let deadline = Instant::now() + within;
    let failed = |what: &str, error: String| CleanReport {
        errors: vec![format!("{what}: {error}")],
        ..CleanReport::default()
    };
    let reach = match reach(cluster, group).await {
        Ok(reach) => reach,
        Err(error) => return failed("nothing was deleted", error.to_string()),
    };
    let mut kinds = Vec::new();
    for (api_version, kind, place) in KINDS {
        let namespaces = match place {
            Place::Group => BTreeSet::from([group.namespace.clone()]),
            Place::Load => {
                let mut namespaces = reach.namespaces.clone();
                namespaces.insert(group.namespace.clone());
                namespaces
            }
            // Not everybody may look for what was never made.
            Place::Everywhere if !reach.everywhere => continue,
            Place::Everywhere | Place::Cluster => BTreeSet::new(),
        };
        match cluster.kind(api_version, kind).await {
            Ok(resource) => kinds.push((resource, namespaces)),
            // A server without the kind has no objects of it.
            Err(failure) if failure.code == Code::NoSuchKind => {}
            Err(failure) => return failed("nothing was deleted", format!("{kind}: {failure}")),
        }
    }
    let objects = RunObjects::of_kinds(kinds);
    let clean = cleanup::clean(cluster, &group.run, Some(&objects), within, |_| {}).await;
    if !clean.is_complete() {
        return clean;
    }
    let left = deadline
        .saturating_duration_since(Instant::now())
        .max(LAST_OBJECTS);
    match delete_config_maps(cluster, group, left).await {
        Ok(last) => joined(clean, last),
        Err(failure) => joined(clean, failed("configmaps", failure.to_string())),
    }
}

/// Where the rights of the load are. Without a plan it is only known that it was somewhere.
async fn reach(cluster: &Cluster, group: &Found) -> Result<Reach, GroupError> {
    match group.plan(cluster).await {
        Ok(plan) => Ok(plan.reach),
        Err(GroupError::Api { failure, .. }) if failure.code != Code::NotFound => {
            Err(GroupError::Api {
                what: format!("reading the plan of runner group {}", group.name),
                failure,
            })
        }
        Err(GroupError::Stopped) => Err(GroupError::Stopped),
        Err(_) => Ok(Reach {
            everywhere: true,
            ..Reach::default()
        }),
    }
}

/// All but the plan, then the plan.
async fn delete_config_maps(
    cluster: &Cluster,
    group: &Found,
    within: Duration,
) -> Result<CleanReport, ApiFailure> {
    let never = Stop::new();
    let config_maps = patiently(&never, || cluster.kind("v1", "ConfigMap")).await?;
    let others = Scope {
        namespace: group.namespace.clone(),
        label_selector: format!("{},{PART_LABEL}!={PLAN_PART}", group.run.selector()),
        ..Scope::default()
    };
    let there = patiently(&never, || cluster.metadata(&config_maps, &others)).await?;
    if !there.is_empty() {
        let options = DeleteOptions::default();
        patiently(&never, || {
            cluster.delete_collection(&config_maps, &others, &options)
        })
        .await?;
    }
    let namespaces = BTreeSet::from([group.namespace.clone()]);
    let objects = RunObjects::of_kinds([(config_maps, namespaces)]);
    let mut last = cleanup::clean(cluster, &group.run, Some(&objects), within, |_| {}).await;
    if last.is_complete() && !there.is_empty() {
        // Those that were gone before it looked.
        let deleted = last.deleted.entry("configmaps".to_owned()).or_default();
        *deleted = (*deleted).max(there.len() as u64 + 1);
    }
    Ok(last)
}

fn joined(mut one: CleanReport, other: CleanReport) -> CleanReport {
    one.deleted.extend(other.deleted);
    one.left.extend(other.left);
    one.left_count += other.left_count;
    one.errors.extend(other.errors);
    one.notes.extend(other.notes);
    one
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
    match cluster.delete(&namespaces, "", name, &options).await {
        Ok(()) => {}
        // It is left to whoever may; another group finds it, as this one did.
        Err(failure) if failure.code == Code::Forbidden => {
            tracing::warn!("namespace {name} stays: {failure}");
            return Ok(false);
        }
        Err(failure) => return Err(what()(failure)),
    }
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
