//! Virtual nodes of a benchmark: made by the host, for a plugin that may create nodes, and deleted with the run.
//!
//! A pool reaches outside of the run's namespaces: its nodes are the cluster's, and what plays them has an account of
//! its own. So the plugin only says how many and of what shape; names, images and rights are the host's.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kperf_cluster::{
    Session,
    grant::{Request, Verb},
    nodepool::{self, KWOK_IMAGE, PoolError, PoolEvent, PoolOptions, PoolSpec},
};
use kperf_load::Stop;
use kperf_runtime::{Failure, benchmark::NodePool, failure};
use parking_lot::Mutex;

use super::{Benchmark, board::Board, interrupted, powers::of_api, reported::Reported};
use crate::{eks, live::Live};

/// What the user says about pools, and the benchmark does not know.
#[derive(Clone, Debug)]
pub struct PoolPlacement {
    /// Where what plays the nodes may run, by label of the real nodes.
    pub affinity: BTreeMap<String, Vec<String>>,
    /// What plays the nodes.
    pub kwok_image: String,
    /// Longest time until the nodes of a pool are ready.
    pub timeout: Duration,
    /// Whether nodes get the provider ID of a real one.
    pub eks: bool,
}

impl Default for PoolPlacement {
    fn default() -> Self {
        Self {
            affinity: BTreeMap::new(),
            kwok_image: KWOK_IMAGE.to_owned(),
            timeout: PoolOptions::default().timeout,
            eks: false,
        }
    }
}

/// The pools that a run added.
pub(crate) struct Pools {
    session: Arc<Session>,
    board: Arc<Board>,
    placement: PoolPlacement,
    added: Mutex<Vec<String>>,
}

fn of_pool(error: &PoolError) -> Failure {
    match error {
        _ if error.is_interrupted() => interrupted(),
        PoolError::Invalid(_) => failure("invalid", error.to_string()),
        PoolError::Exists { .. } | PoolError::Taken { .. } | PoolError::Foreign { .. } => {
            failure("already-exists", error.to_string())
        }
        PoolError::NotReady { .. } | PoolError::Left { .. } => {
            failure("timeout", error.to_string())
        }
        PoolError::Api { source, .. } => failure(source.code.as_str(), error.to_string()),
        PoolError::Interrupted { .. } => interrupted(),
    }
}

impl Pools {
    pub(crate) fn new(session: Arc<Session>, board: Arc<Board>, placement: PoolPlacement) -> Self {
        Self {
            session,
            board,
            placement,
            added: Mutex::default(),
        }
    }

    pub(crate) async fn add(&self, pool: NodePool) -> Result<(), Failure> {
        self.session
            .decide(&Request {
                verb: Verb::Create,
                group: "",
                resource: "nodes",
                subresource: "",
                namespace: None,
                name: None,
            })
            .map_err(|error| of_api(&error))?;
        let cluster = self.session.cluster();
        let spec = PoolSpec {
            nodes: pool.nodes,
            cpu: pool.cpu,
            memory_gib: pool.memory_gib,
            max_pods: pool.max_pods,
            node_labels: pool
                .labels
                .into_iter()
                .map(|label| (label.key, label.value))
                .collect(),
            kwok_image: self.placement.kwok_image.clone(),
            affinity: self.placement.affinity.clone(),
            shared_provider_id: self.provider_id().await?,
            ..PoolSpec::new(pool.name)
        };
        spec.validate().map_err(|error| of_pool(&error))?;
        let options = PoolOptions {
            timeout: self.placement.timeout,
            ..PoolOptions::default()
        };
        let (run, stop) = (self.session.run(), self.session.stop());
        // A pool of the same shape would be completed, and deleted with the run: it is somebody's.
        nodepool::claim(cluster, &spec, run, &options, stop)
            .await
            .map_err(|error| of_pool(&error))?;
        // Also when it fails half-way, there is something of it.
        self.added.lock().push(spec.name.clone());
        nodepool::add(cluster, &spec, &options, stop, &|event: &PoolEvent| {
            self.show(&spec.name, event)
        })
        .await
        .map(drop)
        .map_err(|error| of_pool(&error))
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<(), Failure> {
        if !self.added.lock().iter().any(|added| added == name) {
            return Err(failure(
                "denied",
                format!("the run has added no node pool {name:?}, and may delete no other"),
            ));
        }
        let stop = self.session.stop();
        nodepool::delete(
            self.session.cluster(),
            name,
            &PoolOptions::default(),
            stop,
            &|event: &PoolEvent| self.show(name, event),
        )
        .await
        .map_err(|error| of_pool(&error))?;
        self.added.lock().retain(|added| added != name);
        Ok(())
    }

    /// Deletes the pools that are left; whether one remains that should not.
    pub(super) async fn clean_up(
        &self,
        benchmark: &Benchmark,
        reported: &Reported,
        live: &Live,
    ) -> bool {
        let added = std::mem::take(&mut *self.added.lock());
        let mut left = false;
        for name in added {
            if benchmark.keep {
                reported.finding(
                    "info",
                    "cleanup/kept".to_owned(),
                    format!("node pool {name} was kept; `kperf-host vc nodepool delete {name}` deletes it"),
                );
                continue;
            }
            let options = PoolOptions {
                timeout: benchmark.cleanup_timeout,
                ..PoolOptions::default()
            };
            // The run's own stop has been given when it was interrupted.
            let stop = Stop::new();
            let cluster = self.session.cluster();
            match nodepool::delete(cluster, &name, &options, &stop, &|_: &PoolEvent| {}).await {
                Ok(_) => live.say(&format!("deleted node pool {name}")),
                Err(error) => {
                    let message =
                        format!("{error}; `kperf-host vc nodepool delete {name}` tries again");
                    live.say(&message);
                    reported.finding("error", "cleanup/left".to_owned(), message);
                    left = true;
                }
            }
        }
        left
    }

    async fn provider_id(&self) -> Result<String, Failure> {
        if !self.placement.eks {
            return Ok(String::new());
        }
        eks::provider_id(self.session.cluster())
            .await
            .map_err(|error| of_api(&error))?
            .ok_or_else(|| failure("not-found", eks::no_provider_id()))
    }

    fn show(&self, name: &str, event: &PoolEvent) {
        let (what, done, total) = match event {
            PoolEvent::Controllers { count } => (
                format!("node pool {name}: start kwok"),
                0,
                u64::from(*count),
            ),
            PoolEvent::Creating { done, total } => {
                (format!("node pool {name}: create nodes"), *done, *total)
            }
            PoolEvent::Waiting { ready, total } => (
                format!("node pool {name}: ready nodes"),
                u64::from(*ready),
                u64::from(*total),
            ),
            PoolEvent::Trouble { why } => {
                (format!("node pool {name}: no node gets ready; {why}"), 0, 0)
            }
            PoolEvent::Deleting { left } => (format!("node pool {name}: {left} to go"), 0, 0),
        };
        self.board.step(what, done, total);
    }
}
