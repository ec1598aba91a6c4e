//! What a warm-up stands on: the namespace of its Job and its node pool, both made by it and by nobody else. What was
//! there before is somebody's, so that it is an error, and nothing of it is removed.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::anyhow;
use kperf_cluster::{
    RunId, Session,
    api::{Cluster, Code},
    cleanup,
    nodepool::{self, PoolEvent, PoolOptions, PoolSpec},
};
use kperf_load::Stop;
use tokio::runtime::Runtime;

use crate::{
    benchmark::say_clean,
    cli::vc,
    exit::{Exit, Failed, OrExit as _},
    live::Live,
    run,
};

/// Longest that removing the Job's namespace may take.
const CLEAN_WITHIN: Duration = Duration::from_secs(300);

pub(super) struct Ground<'a> {
    runtime: &'a Runtime,
    cluster: &'a Cluster,
    pool: &'a PoolSpec,
    options: PoolOptions,
    pub(super) id: RunId,
    /// The Job's, which owns its namespace.
    pub(super) session: Arc<Session>,
    /// Ends the Job.
    pub(super) job_stop: Stop,
}

impl<'a> Ground<'a> {
    /// Makes the namespace and claims the pool. After an error nothing of it is left.
    pub(super) fn take(
        runtime: &'a Runtime,
        cluster: &'a Cluster,
        namespace: &str,
        pool: &'a PoolSpec,
        options: PoolOptions,
        stop: &Stop,
        live: &Live,
    ) -> Result<Self, Failed> {
        let id: RunId = run::run_id(SystemTime::now(), run::drawn_seed())
            .parse()
            .or_exit(Exit::Failure)?;
        let job_stop = Stop::new();
        let session = Arc::new(Session::new(
            cluster.clone(),
            id.clone(),
            Vec::new(),
            Instant::now(),
            job_stop.clone(),
        ));
        let ground = Self {
            runtime,
            cluster,
            pool,
            options,
            id,
            session,
            job_stop,
        };
        let made = runtime
            .block_on(ground.session.create_namespace(namespace, &[]))
            .map_err(|failure| {
                let why = match failure.code {
                    Code::AlreadyExists => "it is there already, of another warm-up perhaps (`kperf-host cleanup --list`); remove it first".to_owned(),
                    _ => failure.to_string(),
                };
                Failed {
                    exit: crate::cli::opened::exit_of(&failure),
                    error: anyhow!("the Job's namespace {namespace}: {why}"),
                }
            })
            .and_then(|()| {
                runtime
                    .block_on(nodepool::claim(
                        cluster,
                        pool,
                        &ground.id,
                        &ground.options,
                        stop,
                    ))
                    .map_err(vc::failed)
            });
        match made {
            Ok(()) => Ok(ground),
            Err(failed) => {
                ground.clean(live);
                Err(failed)
            }
        }
    }

    /// Makes the pool's nodes.
    pub(super) fn add(&self, stop: &Stop, live: &Live) -> Result<(), Failed> {
        let steps = live.steps();
        let news = |event: &PoolEvent| steps.now(vc::describe(&self.pool.name, event));
        self.runtime
            .block_on(nodepool::add(
                self.cluster,
                self.pool,
                &self.options,
                stop,
                &news,
            ))
            .map(drop)
            .map_err(vc::failed)
    }

    /// Removes all of it; whether something is left, which has been said then. Hears no stop: a signal asks for an end,
    /// not for what was made to stay.
    pub(super) fn leave(self, live: &Live) -> bool {
        let is_clean = self.clean(live);
        let deleted = {
            let steps = live.steps();
            let news = |event: &PoolEvent| steps.now(vc::describe(&self.pool.name, event));
            self.runtime.block_on(nodepool::delete(
                self.cluster,
                &self.pool.name,
                &self.options,
                &Stop::new(),
                &news,
            ))
        };
        if let Err(error) = &deleted {
            live.say(&format!(
                "{error}; `kperf-host vc nodepool delete {}` tries again",
                self.pool.name
            ));
        }
        !is_clean || deleted.is_err()
    }

    /// Removes the Job and its namespace; whether they are gone.
    fn clean(&self, live: &Live) -> bool {
        let objects = self.session.objects();
        if objects.is_empty() {
            return true;
        }
        let report = self.runtime.block_on(cleanup::clean(
            self.cluster,
            &self.id,
            Some(&objects),
            CLEAN_WITHIN,
            |_| {},
        ));
        say_clean(&report, &self.id, live);
        report.is_complete()
    }
}
