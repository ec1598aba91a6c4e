//! Removes a pool: nodes, then the pods that were on them, then what played them, then what no pool uses any more.
//!
//! Nodes first: what a controller makes anew for a deleted pod finds no place here then. The pods are removed without
//! grace, since there is no kubelet that could take leave of them, and by their identity, so that a namesake that
//! runs elsewhere meanwhile is safe.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use kperf_load::Stop;
use serde_json::Value;
use tokio::{task::JoinSet, time::Instant};

use super::{
    PoolEvent, PoolOptions, Progress,
    controller::recorded,
    error::PoolError,
    names::{
        CLUSTER_WIDE, MAX_NODES, NAMESPACE, OWNER, OWNER_LABEL, POOL_LABEL, cluster_wide,
        is_node_of, is_of, is_unserved, nodes_of, ours_of,
    },
    shared,
    spec::check_name,
};
use crate::{
    api::{ApiFailure, Cluster, Code, DeleteOptions, Resource, Scope},
    session::Session,
};

const POLL: Duration = Duration::from_millis(300);
/// The longest between two looks: the server tells of which node a pod is with the whole pod only.
const SLOWEST_POLL: Duration = Duration::from_secs(3);
/// Pods deleted at once.
const AT_ONCE: usize = 50;

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Whether there was anything of the pool.
    pub existed: bool,
    /// Nodes.
    pub nodes: u64,
    /// Pods that were on them.
    pub pods: u64,
}

/// Removes a pool and waits until it is gone. One that is not there is fine. Needs a tokio runtime.
///
/// # Errors
/// See [`PoolError`]; a pool that kperf made is not removed.
pub async fn delete(
    cluster: &Cluster,
    name: &str,
    options: &PoolOptions,
    stop: &Stop,
    progress: Progress<'_>,
) -> Result<Deleted, PoolError> {
    check_name(name)?;
    let deleting = Deleting {
        session: Arc::new(Session::upkeep(cluster.clone(), stop.clone())),
        name,
        options,
        progress,
        deadline: Instant::now() + options.timeout,
    };
    deleting.run().await
}

struct Deleting<'a> {
    session: Arc<Session>,
    name: &'a str,
    options: &'a PoolOptions,
    progress: Progress<'a>,
    deadline: Instant,
}

impl Deleting<'_> {
    async fn run(&self) -> Result<Deleted, PoolError> {
        let mut names = self.recorded_names().await?;
        let had_record = !names.is_empty();
        let nodes = self.nodes(&mut names).await?;
        let pods = if names.is_empty() {
            0
        } else {
            self.pods(names).await?
        };
        let had_controllers = self.controllers().await?;
        let existed = had_record || had_controllers || nodes > 0;
        // Also when nothing of the pool is there: an earlier deletion may have been cut off before this.
        shared::release(&self.session).await?;
        Ok(Deleted {
            existed,
            nodes,
            pods,
        })
    }

    /// Names of the nodes that the pool was to have, from its record.
    async fn recorded_names(&self) -> Result<HashSet<String>, PoolError> {
        let record = self
            .session
            .get("v1", "ConfigMap", NAMESPACE, self.name)
            .await;
        match record {
            Ok(record) if record["metadata"]["labels"][OWNER_LABEL] == OWNER => {
                Ok(recorded(&record).map_or_else(HashSet::new, |spec| {
                    (0..spec.nodes.min(MAX_NODES))
                        .map(|index| format!("{}-{index}", self.name))
                        .collect()
                }))
            }
            Ok(_) => Err(self.foreign(format!("ConfigMap {NAMESPACE}/{}", self.name))),
            Err(failure) if failure.code == Code::NotFound => Ok(HashSet::new()),
            Err(failure) => Err(self.failed("reading the record", failure)),
        }
    }

    /// Removes the nodes, and adds their names. Nodes that kperf made are reported.
    async fn nodes(&self, names: &mut HashSet<String>) -> Result<u64, PoolError> {
        let what = "deleting nodes";
        let resource = self.resource("v1", "Node").await?;
        let all = Scope {
            label_selector: format!("{POOL_LABEL}={}", self.name),
            ..Scope::default()
        };
        let ours = Scope {
            label_selector: nodes_of(self.name),
            ..Scope::default()
        };
        let mut seen = HashSet::new();
        loop {
            let mut left = 0_u64;
            let mut stranger = None;
            self.session
                .for_each_metadata(&resource, &all, |metadata| {
                    let name = metadata["name"].as_str().unwrap_or_default();
                    if is_node_of(self.name, metadata) {
                        left += 1;
                        seen.insert(name.to_owned());
                    } else {
                        stranger.get_or_insert_with(|| name.to_owned());
                    }
                })
                .await
                .map_err(|failure| self.failed(what, failure))?;
            if let Some(name) = stranger {
                return Err(self.foreign(format!("node {name}")));
            }
            if left == 0 {
                names.extend(seen.iter().cloned());
                return Ok(seen.len() as u64);
            }
            self.tell(left, "nodes");
            self.delete_collection(&resource, &ours, what).await?;
            self.pause(left, "nodes").await?;
        }
    }

    /// Takes the names out that a node has which is not the pool's: a record says what was to be, and a pool that was
    /// refused, or is long gone, has no say about the pods of a real node.
    async fn without_strangers(&self, names: &mut HashSet<String>) -> Result<(), PoolError> {
        let resource = self.resource("v1", "Node").await?;
        self.session
            .for_each_metadata(&resource, &Scope::default(), |metadata| {
                if !is_node_of(self.name, metadata) {
                    names.remove(metadata["name"].as_str().unwrap_or_default());
                }
            })
            .await
            .map_err(|failure| self.failed("looking at nodes", failure))
    }

    /// Removes the pods that are bound to nodes of these names; looks again until there are none, for the scheduler
    /// may have been about to bind one.
    async fn pods(&self, mut names: HashSet<String>) -> Result<u64, PoolError> {
        let what = "deleting pods";
        let resource = self.resource("v1", "Pod").await?;
        // By identity: one that hangs on a finalizer for a while is seen more than once.
        let mut removed = HashSet::new();
        let mut poll = POLL;
        loop {
            self.without_strangers(&mut names).await?;
            let mut found: BTreeMap<String, (String, String)> = BTreeMap::new();
            let bound = Scope {
                field_selector: "spec.nodeName!=".to_owned(),
                ..Scope::default()
            };
            self.session
                .for_each(&resource, &bound, |pod| {
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    if names.contains(pod["spec"]["nodeName"].as_str().unwrap_or_default()) {
                        let metadata = &pod["metadata"];
                        let place = (text(&metadata["namespace"]), text(&metadata["name"]));
                        found.insert(text(&metadata["uid"]), place);
                    }
                })
                .await
                .map_err(|failure| self.failed(what, failure))?;
            if found.is_empty() {
                return Ok(removed.len() as u64);
            }
            let left = found.len() as u64;
            self.tell(left, "pods");
            removed.extend(found.keys().cloned());
            self.kill(&resource, found).await?;
            self.pause_for(poll, left, "pods").await?;
            poll = (poll * 2).min(SLOWEST_POLL);
        }
    }

    async fn kill(
        &self,
        resource: &Arc<Resource>,
        pods: BTreeMap<String, (String, String)>,
    ) -> Result<(), PoolError> {
        let mut running: JoinSet<Result<(), ApiFailure>> = JoinSet::new();
        for (uid, (namespace, name)) in pods {
            if running.len() >= AT_ONCE
                && let Some(done) = running.join_next().await
            {
                self.killed(done)?;
            }
            let (session, resource) = (Arc::clone(&self.session), Arc::clone(resource));
            running.spawn(async move {
                let options = DeleteOptions {
                    grace_period_seconds: Some(0),
                    uid: Some(uid),
                };
                let cluster = session.cluster();
                session
                    .read(|| cluster.delete(&resource, &namespace, &name, &options))
                    .await
            });
        }
        while let Some(done) = running.join_next().await {
            self.killed(done)?;
        }
        Ok(())
    }

    fn killed(
        &self,
        done: Result<Result<(), ApiFailure>, tokio::task::JoinError>,
    ) -> Result<(), PoolError> {
        match done {
            // It went by itself, or somebody else has its name now.
            Ok(Err(failure)) if !matches!(failure.code, Code::NotFound | Code::Conflict) => {
                Err(self.failed("deleting pods", failure))
            }
            _ => Ok(()),
        }
    }

    /// Removes everything else of the pool, the record last; whether there was any.
    async fn controllers(&self) -> Result<bool, PoolError> {
        let what = "deleting the controllers";
        let here = Scope {
            namespace: NAMESPACE.to_owned(),
            label_selector: ours_of(self.name),
            ..Scope::default()
        };
        let mut existed = false;
        for (api_version, kind) in CLUSTER_WIDE {
            let resource = match self.session.resource(api_version, kind).await {
                Err(failure) if is_unserved(&failure) => continue,
                resource => resource.map_err(|failure| self.failed(what, failure))?,
            };
            let name = cluster_wide(self.name);
            let cluster = self.session.cluster();
            let there = match self
                .session
                .read(|| cluster.get(&resource, "", &name))
                .await
            {
                Err(failure) if failure.code == Code::NotFound => continue,
                there => there.map_err(|failure| self.failed(what, failure))?,
            };
            if !is_of(self.name, &there["metadata"]) {
                tracing::warn!("{kind} {name} stays: it was not made by kperf-host");
                continue;
            }
            let options = DeleteOptions {
                uid: there["metadata"]["uid"].as_str().map(str::to_owned),
                ..DeleteOptions::default()
            };
            match self
                .session
                .read(|| cluster.delete(&resource, "", &name, &options))
                .await
            {
                Ok(()) => existed = true,
                Err(failure) if failure.code == Code::NotFound => {}
                Err(failure) => return Err(self.failed(what, failure)),
            }
        }
        for (api_version, kind) in [
            ("apps/v1", "StatefulSet"),
            ("v1", "Pod"),
            ("v1", "ServiceAccount"),
            ("v1", "ConfigMap"),
        ] {
            let resource = self.resource(api_version, kind).await?;
            loop {
                let mut left = 0_u64;
                self.session
                    .for_each_metadata(&resource, &here, |_| left += 1)
                    .await
                    .map_err(|failure| self.failed(what, failure))?;
                if left == 0 {
                    break;
                }
                existed = true;
                self.tell(left, "objects of its controllers");
                self.delete_collection(&resource, &here, what).await?;
                self.pause(left, "objects of its controllers").await?;
            }
        }
        Ok(existed)
    }

    /// What takes so long that there is no answer goes on; the next look tells.
    async fn delete_collection(
        &self,
        resource: &Resource,
        scope: &Scope,
        what: &str,
    ) -> Result<(), PoolError> {
        let cluster = self.session.cluster();
        let options = DeleteOptions::default();
        let asked = self
            .session
            .read(|| cluster.delete_collection(resource, scope, &options))
            .await;
        match asked {
            Err(failure) if failure.code != Code::Timeout => Err(self.failed(what, failure)),
            _ => Ok(()),
        }
    }

    async fn resource(&self, api_version: &str, kind: &str) -> Result<Arc<Resource>, PoolError> {
        self.session
            .resource(api_version, kind)
            .await
            .map_err(|failure| self.failed("asking what the server serves", failure))
    }

    fn tell(&self, left: u64, what: &str) {
        (self.progress)(&PoolEvent::Deleting {
            left: format!("{left} {what}"),
        });
    }

    fn foreign(&self, what: String) -> PoolError {
        PoolError::Foreign {
            name: self.name.to_owned(),
            what,
            advice: "remove it with what made it (`kperf vc nodepool delete`)",
        }
    }

    fn failed(&self, what: &str, failure: ApiFailure) -> PoolError {
        if failure.code == Code::Interrupted {
            PoolError::Interrupted {
                name: self.name.to_owned(),
            }
        } else {
            PoolError::api(format!("nodepool {}: {what}", self.name))(failure)
        }
    }

    async fn pause(&self, left: u64, what: &str) -> Result<(), PoolError> {
        self.pause_for(POLL, left, what).await
    }

    async fn pause_for(&self, time: Duration, left: u64, what: &str) -> Result<(), PoolError> {
        if Instant::now() >= self.deadline {
            return Err(PoolError::Left {
                name: self.name.to_owned(),
                left: format!("{left} {what}"),
                within: self.options.timeout,
            });
        }
        tokio::select! {
            () = self.session.stop().stopped() => Err(PoolError::Interrupted {
                name: self.name.to_owned(),
            }),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }
}
