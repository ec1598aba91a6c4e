//! What pools there are, and how many of their nodes are ready.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use kperf_load::Stop;
use serde::Serialize;
use serde_json::Value;

use super::{
    controller::recorded,
    error::PoolError,
    names::{CLAIM_RUN_LABEL, NAMESPACE, OWNER, OWNER_LABEL, POOL_LABEL, TYPE, TYPE_LABEL},
    node::is_ready,
    spec::PoolSpec,
};
use crate::{
    api::{ApiFailure, Cluster, Scope},
    cleanup::age,
    run::RunId,
    session::Session,
};

/// How a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolStatus {
    /// All nodes it is to have are ready.
    Ready,
    /// Some are missing, or not ready.
    NotReady,
    /// There are nodes of it, and no record: kperf made it, or its removal was interrupted.
    NotManaged,
}

impl PoolStatus {
    /// As in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NotReady => "not-ready",
            Self::NotManaged => "not-managed",
        }
    }
}

/// A pool as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Nodes it is to have.
    pub nodes: u32,
    /// Nodes that are there.
    pub present: u32,
    /// Nodes that are ready.
    pub ready: u32,
    /// CPUs of each.
    pub cpu: u32,
    /// Memory of each, GiB.
    pub memory_gib: u32,
    /// Pods each takes.
    pub max_pods: u32,
    /// Extra labels of the nodes.
    pub node_labels: BTreeMap<String, String>,
    /// Controllers that run.
    pub controllers_ready: u32,
    /// Controllers there are to be.
    pub controllers: u32,
    /// How it is.
    pub status: PoolStatus,
}

/// What nodes say of a pool.
#[derive(Default)]
struct Counted {
    names: HashSet<String>,
    ready: u32,
    cpu: u32,
    memory_gib: u32,
    max_pods: u32,
}

/// All pools, by name, kperf's too.
///
/// # Errors
/// All that lists can meet.
pub async fn list(cluster: &Cluster, stop: &Stop) -> Result<Vec<Pool>, PoolError> {
    let session = Session::upkeep(cluster.clone(), stop.clone());
    let mut specs: BTreeMap<String, PoolSpec> = BTreeMap::new();
    let ours = Scope {
        namespace: NAMESPACE.to_owned(),
        label_selector: format!("{POOL_LABEL},{OWNER_LABEL}={OWNER}"),
        ..Scope::default()
    };
    each(&session, "v1", "ConfigMap", &ours, |config_map| {
        if let Some(spec) = recorded(config_map) {
            specs.insert(spec.name.clone(), spec);
        }
    })
    .await?;
    let mut running: BTreeMap<String, u32> = BTreeMap::new();
    each(&session, "apps/v1", "StatefulSet", &ours, |set| {
        running.insert(pool_of(set), number(&set["status"]["readyReplicas"]));
    })
    .await?;
    let mut counted: BTreeMap<String, Counted> = BTreeMap::new();
    let virtual_nodes = Scope {
        label_selector: format!("{TYPE_LABEL}={TYPE},{POOL_LABEL}"),
        ..Scope::default()
    };
    each(&session, "v1", "Node", &virtual_nodes, |node| {
        let of_pool = counted.entry(pool_of(node)).or_default();
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        if of_pool.names.insert(name.to_owned()) {
            of_pool.ready += u32::from(is_ready(node));
        }
        let room = &node["status"]["capacity"];
        of_pool.cpu = quantity(&room["cpu"]);
        of_pool.memory_gib = quantity(&room["memory"]);
        of_pool.max_pods = quantity(&room["pods"]);
    })
    .await?;
    let names: BTreeSet<String> = specs.keys().chain(counted.keys()).cloned().collect();
    Ok(names
        .into_iter()
        .map(|name| {
            let controllers_ready = running.get(&name).copied().unwrap_or_default();
            let seen = counted.remove(&name).unwrap_or_default();
            pool(name.clone(), specs.get(&name), &seen, controllers_ready)
        })
        .collect())
}

/// A pool that a run has claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The run.
    pub run: RunId,
    /// Its pool.
    pub pool: String,
    /// How long ago.
    pub age: Option<Duration>,
}

/// The pools that runs have claimed and that are there, of one run or of all: what is left of those that were killed,
/// and what those that go on use.
///
/// # Errors
/// All that a list can meet.
pub async fn claimed(
    cluster: &Cluster,
    run: Option<&RunId>,
    stop: &Stop,
) -> Result<Vec<Claimed>, ApiFailure> {
    let session = Session::upkeep(cluster.clone(), stop.clone());
    let of_run = run.map_or_else(String::new, |run| format!("={}", run.as_str()));
    let scope = Scope {
        namespace: NAMESPACE.to_owned(),
        label_selector: format!("{POOL_LABEL},{OWNER_LABEL}={OWNER},{CLAIM_RUN_LABEL}{of_run}"),
        ..Scope::default()
    };
    let mut found = Vec::new();
    let resource = session.resource("v1", "ConfigMap").await?;
    session
        .for_each_metadata(&resource, &scope, |metadata| {
            let label = |key: &str| metadata["labels"][key].as_str();
            // Ids that are none are nobody's, as with namespaces.
            let run = label(CLAIM_RUN_LABEL).and_then(|text| text.parse().ok());
            if let (Some(run), Some(pool)) = (run, label(POOL_LABEL)) {
                found.push(Claimed {
                    run,
                    pool: pool.to_owned(),
                    age: age(&metadata["creationTimestamp"]),
                });
            }
        })
        .await?;
    Ok(found)
}

fn pool(name: String, spec: Option<&PoolSpec>, seen: &Counted, controllers_ready: u32) -> Pool {
    let present = u32::try_from(seen.names.len()).unwrap_or(u32::MAX);
    match spec {
        Some(spec) => Pool {
            name,
            nodes: spec.nodes,
            present,
            ready: seen.ready,
            cpu: spec.cpu,
            memory_gib: spec.memory_gib,
            max_pods: spec.max_pods,
            node_labels: spec.node_labels.clone(),
            controllers_ready,
            controllers: spec.controllers(),
            status: if seen.ready >= spec.nodes {
                PoolStatus::Ready
            } else {
                PoolStatus::NotReady
            },
        },
        None => Pool {
            name,
            nodes: present,
            present,
            ready: seen.ready,
            cpu: seen.cpu,
            memory_gib: seen.memory_gib,
            max_pods: seen.max_pods,
            node_labels: BTreeMap::new(),
            controllers_ready,
            controllers: controllers_ready,
            status: PoolStatus::NotManaged,
        },
    }
}

async fn each(
    session: &Session,
    api_version: &str,
    kind: &str,
    scope: &Scope,
    look: impl FnMut(&Value),
) -> Result<(), PoolError> {
    let failed = |failure: ApiFailure| PoolError::api(format!("listing {kind}s"))(failure);
    let resource = session.resource(api_version, kind).await.map_err(failed)?;
    session
        .for_each(&resource, scope, look)
        .await
        .map_err(failed)
}

fn pool_of(object: &Value) -> String {
    object["metadata"]["labels"][POOL_LABEL]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn number(value: &Value) -> u32 {
    value
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or_default()
}

/// Of the quantities that pools are made with: `8`, `16Gi`.
fn quantity(value: &Value) -> u32 {
    let text = value.as_str().unwrap_or_default();
    text.trim_end_matches("Gi").parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_as_many_as_were_asked_for() {
        let mut spec = PoolSpec::new("a");
        spec.nodes = 2;
        let mut seen = Counted {
            names: ["a-0", "a-1"].map(str::to_owned).into(),
            ready: 1,
            ..Counted::default()
        };
        let of = |spec, seen: &Counted| pool("a".into(), spec, seen, 1);
        assert_eq!(of(Some(&spec), &seen).status, PoolStatus::NotReady);
        seen.ready = 2;
        assert_eq!(of(Some(&spec), &seen).status, PoolStatus::Ready);
        assert_eq!(of(None, &seen).status, PoolStatus::NotManaged);
        assert_eq!(of(None, &seen).nodes, 2);
    }
}
