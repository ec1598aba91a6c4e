//! A group that was started.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::anyhow;
use kperf_cluster::{
    api::{Cluster, DeleteOptions, Scope},
    cleanup::CleanReport,
};
use kperf_load::Stop;
use kperf_runners::{
    ClusterStore, End, Found, GROUP_LABEL, GroupError, Plan, Store, create, delete, finished,
    why_missing,
};

use super::{Group, Outcome, local::Locally, outcome::Why};
use crate::exit::{Exit, Failed};

/// Images are pulled and nodes found by then.
const BEGINS_WITHIN: Duration = Duration::from_secs(15 * 60);
/// Runners that were told to end have reported by then: their grace period and some more.
const REPORTS_WITHIN: Duration = Duration::from_secs(45);
/// Between two looks whether the runners of a group in a cluster, and of this machine, have agreed on a start: several
/// before it comes.
const LOOK: Duration = Duration::from_millis(250);
const LOOK_LOCALLY: Duration = Duration::from_millis(25);

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
    /// Waits until all runners are over; whether they are. `within` none = however long it takes; a group in a cluster that
    /// is not over in time goes on, local runners are stopped then. `stop` ends local runners, which then report what they
    /// have, and gives up waiting for others. `say` is told what happens.
    ///
    /// # Errors
    /// The group cannot be asked. Runners that failed are no error.
    pub async fn until_over(
        &mut self,
        within: Option<Duration>,
        stop: &Stop,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<bool, Failed> {
        match self {
            // It is asked for what there is by now.
            Self::Cluster { .. } if within == Some(Duration::ZERO) => Ok(false),
            Self::Cluster { cluster, group } => {
                let (namespace, name) = (&group.namespace, &group.name);
                match finished(cluster, namespace, name, within, stop, say).await {
                    Ok(_) => Ok(true),
                    Err(late @ GroupError::TimedOut { .. }) => {
                        say(&format!("{late}; what there is by now is merged"));
                        Ok(false)
                    }
                    Err(error) => Err(failed(error)),
                }
            }
            Self::Local(local) => local.until_over(within, stop, say).await.map(|()| true),
        }
    }

    /// Merges what the runners reported; whoever is missing may still come unless all are over.
    ///
    /// # Errors
    /// The group cannot be asked.
    pub async fn merged(&mut self, is_over: bool, stop: &Stop) -> Result<Outcome, Failed> {
        match self {
            Self::Cluster { cluster, group } => {
                let plan = group.plan(cluster).await.map_err(failed)?;
                let (namespace, name) = (&group.namespace, &group.name);
                let store = ClusterStore::new(cluster.clone(), namespace, name, stop.clone());
                let why = || why_missing(cluster, namespace, name);
                gather(&Store::Cluster(store), plan, is_over, why).await
            }
            Self::Local(local) => {
                let why = local.why();
                gather(&local.store(), local.plan().clone(), is_over, || async {
                    Ok(why)
                })
                .await
            }
        }
    }

    /// Waits until all runners are over, however long it takes, and merges what they reported; calls `begun` once they
    /// send. On `stop` they end early and report what they have.
    ///
    /// # Errors
    /// They do not begin in time, or cannot be asked.
    pub async fn to_the_end(
        &mut self,
        stop: &Stop,
        begun: &mut (dyn FnMut() + Send),
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Outcome, Failed> {
        let name = self.name().to_owned();
        let agreed = self.agreed();
        let has_begun = async {
            let ahead = agreed.await.duration_since(SystemTime::now());
            tokio::time::sleep(ahead.unwrap_or_default()).await;
        };
        let over = self.over(stop, say);
        tokio::pin!(has_begun, over);
        tokio::select! {
            biased;
            outcome = &mut over => {
                // It was shorter than the time between two looks.
                if outcome.as_ref().is_ok_and(|outcome| outcome.start.is_some()) {
                    begun();
                }
                return outcome;
            }
            () = &mut has_begun => begun(),
            () = tokio::time::sleep(BEGINS_WITHIN) => {
                return Err(Failed {
                    exit: Exit::Failure,
                    error: anyhow!(
                        "runner group {name} has not begun within {} minutes",
                        BEGINS_WITHIN.as_secs() / 60
                    ),
                });
            }
        }
        over.await
    }

    async fn over(&mut self, stop: &Stop, say: &(dyn Fn(&str) + Sync)) -> Result<Outcome, Failed> {
        // It ends runners, not the waiting for them.
        let patient = Stop::new();
        if let Self::Local(_) = self {
            self.until_over(None, stop, say).await?;
            return self.merged(true, &patient).await;
        }
        let is_over = tokio::select! {
            over = self.until_over(None, &patient, say) => over?,
            () = stop.stopped() => false,
        };
        if !is_over && let Self::Cluster { cluster, group } = self {
            end_pods(cluster, group).await?;
            tokio::select! {
                // Whoever has not reported by then is missing.
                _ = self.until_over(Some(REPORTS_WITHIN), &patient, say) => {}
                () = stop.aborted() => {}
            }
        }
        self.merged(is_over, &patient).await
    }

    /// The start that its runners agree on, once they do. It may be a moment ahead, or over.
    pub fn agreed(&self) -> impl Future<Output = SystemTime> + Send + use<> {
        let store = self.store();
        let pause = match self {
            Self::Cluster { .. } => LOOK,
            Self::Local(_) => LOOK_LOCALLY,
        };
        async move {
            loop {
                // That it cannot be read now is said by whoever waits for the end.
                if let Ok(Some(start)) = store.start().await {
                    return UNIX_EPOCH + Duration::from_micros(start.start_unix_us);
                }
                tokio::time::sleep(pause).await;
            }
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Cluster { group, .. } => &group.name,
            Self::Local(local) => local.name(),
        }
    }

    fn store(&self) -> Store {
        match self {
            Self::Cluster { cluster, group } => Store::Cluster(ClusterStore::new(
                cluster.clone(),
                &group.namespace,
                &group.name,
                Stop::new(),
            )),
            Self::Local(local) => local.store(),
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

/// Ends the runners of a group: a pod that is deleted reports what it has, and its Job makes no other one.
async fn end_pods(cluster: &Cluster, group: &Found) -> Result<(), Failed> {
    let what = || format!("ending the runners of group {}", group.name);
    let ended = async {
        let pods = cluster.kind("v1", "Pod").await?;
        let scope = Scope {
            namespace: group.namespace.clone(),
            label_selector: format!("{GROUP_LABEL}={}", group.name),
            ..Scope::default()
        };
        cluster
            .delete_collection(&pods, &scope, &DeleteOptions::default())
            .await
    };
    ended.await.map_err(|failure| {
        failed(GroupError::Api {
            what: what(),
            failure,
        })
    })
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

/// Merges what there is. Why others are missing is only asked when there are some. Whoever is missing may still come
/// unless it is over.
async fn gather<F>(
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
