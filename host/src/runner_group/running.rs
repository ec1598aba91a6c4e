//! A group that was started.

use std::{collections::BTreeMap, time::Duration};

use anyhow::anyhow;
use kperf_cluster::{api::Cluster, cleanup::CleanReport};
use kperf_load::Stop;
use kperf_runners::{
    ClusterStore, End, Found, GroupError, Plan, Store, create, delete, finished, why_missing,
};

use super::{Group, Outcome, local::Locally, outcome::Why};
use crate::exit::{Exit, Failed};

/// A group at work, in a cluster or on this machine.
pub enum Running {
    /// In a cluster; goes on whatever becomes of this process.
    Cluster {
        /// Where.
        cluster: Cluster,
        /// Which.
        group: Found,
    },
    /// On this machine; ends with this process.
    Local(Box<Locally>),
}

impl Running {
    /// Waits until all runners are over, and merges what they reported. `within` none = however
    /// long it takes; for a group in a cluster zero = merge what there is by now, and one that is not over in time goes
    /// on; local runners are stopped then. `stop` ends local runners, which then report what they have, and gives up
    /// waiting for others. `say` is told what happens.
    ///
    /// # Errors
    /// The group cannot be asked, or is not over in time. Runners that failed are no error.
    pub async fn wait(
        &mut self,
        within: Option<Duration>,
        stop: &Stop,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Outcome, Failed> {
        match self {
            Self::Cluster { cluster, group } => {
                wait_in_cluster(cluster, group, within, stop, say).await
            }
            Self::Local(local) => local.wait(within, stop, say).await,
        }
    }

    /// Removes everything of it.
    pub async fn delete(self, within: Duration) -> CleanReport {
        match self {
            Self::Cluster { cluster, group } => delete(&cluster, &group, within).await,
            // Its processes and files go with it.
            Self::Local(_) => CleanReport::default(),
        }
    }
}

/// Makes a group in a cluster.
///
/// # Errors
/// It could not be made; what was made of it is gone, or named.
pub async fn start_in_cluster(
    group: &Group,
    cluster: &Cluster,
    namespace: &str,
    stop: &Stop,
) -> Result<Running, Failed> {
    let spec = group.in_namespace(namespace)?;
    match create(cluster, &spec, stop).await {
        Ok(()) => Ok(Running::Cluster {
            cluster: cluster.clone(),
            group: Found {
                name: spec.name,
                namespace: spec.namespace,
                run: spec.run,
            },
        }),
        Err((error, clean)) if clean.is_complete() => Err(failed(error)),
        Err((error, clean)) => Err(Failed {
            exit: Exit::LeftBehind,
            error: anyhow!(
                "{error}; and of run {} there are {} objects left: {}",
                spec.run,
                clean.left_count,
                clean
                    .left
                    .iter()
                    .map(ToString::to_string)
                    .chain(clean.errors.iter().cloned())
                    .collect::<Vec<_>>()
                    .join("; ")
            ),
        }),
    }
}

/// Waits until all runners of a group are over, and merges what they reported.
///
/// # Errors
/// See [`Running::wait`].
pub async fn wait_in_cluster(
    cluster: &Cluster,
    group: &Found,
    within: Option<Duration>,
    stop: &Stop,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Outcome, Failed> {
    let plan = group.plan(cluster).await.map_err(failed)?;
    let (namespace, name) = (&group.namespace, &group.name);
    let is_over = within != Some(Duration::ZERO);
    if is_over {
        finished(cluster, namespace, name, within, stop, say)
            .await
            .map_err(failed)?;
    }
    let store = Store::Cluster(ClusterStore::new(
        cluster.clone(),
        namespace,
        name,
        stop.clone(),
    ));
    let why = || async { why_missing(cluster, namespace, name).await };
    gather(&store, plan, is_over, why).await
}

/// Merges what there is. Why others are missing is only asked when there are some. Whoever is missing may still come
/// unless it is over.
pub(super) async fn gather<F>(
    store: &Store,
    plan: Plan,
    is_over: bool,
    why: impl FnOnce() -> F,
) -> Result<Outcome, Failed>
where
    F: Future<Output = Result<BTreeMap<u32, Why>, GroupError>>,
{
    let start = store.start().await.map_err(|error| failed(error.into()))?;
    let mut outcome = super::outcome::Gathering::new(&plan);
    let mut silent = Vec::new();
    kperf_runners::collect(store, &plan, &mut |runner| {
        if let End::Silent { .. } = runner.end {
            silent.push(runner);
        } else {
            outcome.take(runner);
        }
    })
    .await
    .map_err(failed)?;
    if !silent.is_empty() {
        let why = why().await.map_err(failed)?;
        for runner in silent {
            let of_runner = why.get(&runner.index);
            outcome.miss(runner, of_runner, is_over);
        }
    }
    Ok(outcome.finish(plan, start))
}

pub(super) fn failed(error: GroupError) -> Failed {
    let exit = match &error {
        GroupError::Spec(_)
        | GroupError::Bundle(_)
        | GroupError::NoAccount { .. }
        | GroupError::Exists { .. } => Exit::Usage,
        GroupError::Rights(_) | GroupError::Api { .. } => Exit::Target,
        GroupError::Stopped => Exit::Interrupted,
        GroupError::Store(_) | GroupError::TimedOut { .. } => Exit::Failure,
    };
    Failed {
        exit,
        error: error.into(),
    }
}
