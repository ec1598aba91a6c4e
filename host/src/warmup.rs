//! Makes a managed control plane grow before something is measured on it: virtual nodes, a large Job again and again,
//! and lists of everything meanwhile; kperf's `warmup`.
//!
//! cores → enough? → [`ground`]: namespace, pool → [`job`] beside a load → all of it removed → cores. Nothing is
//! reported of the load but that it ran: it is to be felt, not measured.

mod cloud;
mod ground;
mod job;
mod runners;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use kperf_cluster::{
    api::Cluster,
    nodepool::{PoolOptions, PoolSpec},
    server_metrics::Scraper,
};
use kperf_load::{
    Stop,
    plan::PhasePlan,
    result::{Ended, Interval},
};
use serde_json::{Value, json};

use ground::Ground;
pub use job::JobSpec;

use crate::{
    eks,
    exit::{Exit, Failed, OrExit as _},
    live::Live,
    load::{Load, LoadConfig, Watcher},
    plugins::Plugins,
    profile, run,
    runner_group::Placement,
    signals,
    specs::specs,
    target::{self, TargetChoice},
};

/// Longest that removing objects may take.
const CLEAN_UP: Duration = Duration::from_secs(300);

/// What to do.
#[derive(Clone)]
pub struct Warmup {
    /// The virtual nodes.
    pub pool: PoolSpec,
    /// What runs on them.
    pub job: JobSpec,
    /// Requests a second of each runner; 0 = closed loop.
    pub rate: f64,
    /// Requests of each runner.
    pub total: u64,
    /// Connections of each runner.
    pub conns: u32,
    /// Clients of each runner.
    pub clients: u32,
    /// Runners.
    pub runners: u32,
    /// Cores that make an instance ready.
    pub threshold: u32,
    /// On EKS: what the cloud needs to leave the nodes alone.
    pub eks: bool,
    /// Longest time until the nodes are ready.
    pub timeout: Duration,
}

/// What it came to.
#[derive(Clone, Debug)]
pub struct Warmed {
    /// Cores an instance needs to be ready.
    pub threshold: u32,
    /// Whether enough instances have them now.
    pub ready: bool,
    /// Whether that was so before, and nothing was done.
    pub skipped: bool,
    /// Cores by instance, before; none where one does not say.
    pub before: BTreeMap<String, Option<u32>>,
    /// The same after.
    pub after: BTreeMap<String, Option<u32>>,
    /// Virtual nodes there were.
    pub nodes: u32,
    /// Jobs that were completed.
    pub jobs: u64,
    /// Their pods.
    pub pods: u64,
    /// Requests of the load that were sent.
    pub requests: u64,
    /// How long it took.
    pub seconds: f64,
}

impl Warmed {
    /// For programs; the cores are where the results of kperf's scenarios have them in `info`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "coreWarmupReadyThreshold": self.threshold,
            "ready": self.ready,
            "skipped": self.skipped,
            "apiserver": {"cores": {"before": self.before, "after": self.after}},
            "nodes": self.nodes,
            "jobs": self.jobs,
            "pods": self.pods,
            "requests": self.requests,
            "seconds": self.seconds,
        })
    }
}

/// Warms up, and removes what that took, whatever the end is. The load comes from runners at `placement`, or all of it
/// from this process. What goes wrong once something was made is said on standard error, and decides about the exit
/// code.
///
/// # Errors
/// The target was not usable, or the namespace or the pool is there already; nothing was made.
pub fn run(
    plan: &Warmup,
    target: &TargetChoice,
    config: LoadConfig,
    placement: Option<&Placement>,
    live: &mut Live,
) -> Result<(Warmed, Exit), Failed> {
    let start = Instant::now();
    let stop = Stop::new();
    signals::install(&stop);
    let resolved = target::resolve(target).or_exit(Exit::Target)?;
    for warning in &resolved.warnings {
        live.say(&format!("warning: {warning}"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("warmup")
        .enable_all()
        .build()
        .context("cannot start the runtime of the warm-up")
        .or_exit(Exit::Failure)?;
    let _within = runtime.enter();
    let cluster = Cluster::new(resolved.config.clone())
        .map_err(|error| anyhow!("{}: {error}", resolved.description))
        .or_exit(Exit::Target)?;
    let scraper = runtime.block_on(Scraper::find(&resolved.target));
    let before = cores(&runtime, &scraper, live);
    let mut warmed = Warmed {
        threshold: plan.threshold,
        ready: is_ready(&before, plan),
        skipped: false,
        after: before.clone(),
        before,
        nodes: 0,
        jobs: 0,
        pods: 0,
        requests: 0,
        seconds: 0.0,
    };
    if warmed.ready {
        warmed.skipped = true;
        warmed.seconds = start.elapsed().as_secs_f64();
        return Ok((warmed, Exit::Success));
    }

    let mut pool = plan.pool.clone();
    if plan.eks && pool.shared_provider_id.is_empty() {
        pool.shared_provider_id = runtime
            .block_on(eks::provider_id(&cluster))
            .map_err(|error| anyhow!("--eks: {error}"))
            .and_then(|id| id.ok_or_else(|| anyhow!(eks::no_provider_id())))
            .or_exit(Exit::Failure)?;
    }
    let options = PoolOptions {
        timeout: plan.timeout,
        ..PoolOptions::default()
    };
    let namespace = &plan.job.namespace;
    let ground = Ground::take(&runtime, &cluster, namespace, &pool, options, &stop, live)?;
    let prepared = if plan.eks {
        runtime
            .block_on(cloud::prepare_eks(&cluster))
            .map_err(|error| anyhow!("--eks: {error}"))
            .or_exit(Exit::Failure)
    } else {
        Ok(())
    };
    let done = match prepared.and_then(|()| ground.add(&stop, live)) {
        Ok(()) => {
            warmed.nodes = pool.nodes;
            load_and_job(
                plan,
                &runtime,
                &ground,
                |live: &mut Live| match placement {
                    Some(placement) => {
                        runners::load(plan, placement, &ground.id, &runtime, &cluster, &stop, live)
                    }
                    None => load(plan, &resolved, config, &ground.id, &stop, live),
                },
                &stop,
                live,
                &mut warmed,
            )
        }
        Err(failed) => Err(failed),
    };
    let is_left = ground.leave(live);
    warmed.after = cores(&runtime, &scraper, live);
    warmed.ready = is_ready(&warmed.after, plan);
    warmed.seconds = start.elapsed().as_secs_f64();
    let exit = done.unwrap_or_else(|failed| {
        live.say(&format!("error: {failed}"));
        failed.exit
    });
    Ok((warmed, with_left(exit, is_left)))
}

/// What is left has a code of its own, and most other ends say more than that.
fn with_left(exit: Exit, is_left: bool) -> Exit {
    match exit {
        Exit::Success | Exit::Failure if is_left => Exit::LeftBehind,
        exit => exit,
    }
}

fn is_ready(cores: &BTreeMap<String, Option<u32>>, plan: &Warmup) -> bool {
    // EKS has two instances and puts clients on either.
    let needed = if plan.eks { 2 } else { 1 };
    let ready = cores
        .values()
        .filter(|cores| cores.is_some_and(|cores| cores >= plan.threshold))
        .count();
    ready >= needed
}

fn cores(
    runtime: &tokio::runtime::Runtime,
    scraper: &Scraper,
    live: &Live,
) -> BTreeMap<String, Option<u32>> {
    let scrape = runtime.block_on(scraper.scrape());
    for failure in &scrape.failures {
        live.say(&format!(
            "warning: cores of {}: {}",
            failure.instance, failure.error
        ));
    }
    scrape.cores().into_iter().collect()
}

/// What a load came to.
struct Loaded {
    requests: u64,
    exit: Exit,
}

/// The Job again and again on its own thread, as long as the load lasts.
fn load_and_job(
    plan: &Warmup,
    runtime: &tokio::runtime::Runtime,
    ground: &Ground<'_>,
    load: impl FnOnce(&mut Live) -> Result<Loaded, Failed>,
    stop: &Stop,
    live: &mut Live,
    warmed: &mut Warmed,
) -> Result<Exit, Failed> {
    let (session, spec, ends) = (Arc::clone(&ground.session), plan.job.clone(), stop.clone());
    let job = runtime.spawn(async move {
        let repeated = job::repeat(session, spec).await;
        if repeated.failure.is_some() {
            // A load alone makes nothing grow.
            ends.stop();
        }
        repeated
    });
    let loaded = load(live);
    ground.job_stop.stop();
    let repeated = runtime.block_on(job).unwrap_or_else(|error| job::Repeated {
        failure: Some(error.to_string()),
        ..job::Repeated::default()
    });
    warmed.jobs = repeated.jobs;
    warmed.pods = repeated.jobs * u64::from(plan.job.pods);
    if let Ok(loaded) = &loaded {
        warmed.requests = loaded.requests;
    }
    // First: it has ended the load, which may have failed of that alone.
    if let Some(failure) = repeated.failure {
        return Err(Failed {
            exit: Exit::Failure,
            error: anyhow!("the Job in namespace {}: {failure}", plan.job.namespace),
        });
    }
    loaded.map(|loaded| loaded.exit)
}

/// The load of all runners, from this process.
fn load(
    plan: &Warmup,
    resolved: &target::Resolved,
    config: LoadConfig,
    run_id: &kperf_cluster::RunId,
    stop: &Stop,
    live: &mut Live,
) -> Result<Loaded, Failed> {
    let text = profile_text(plan, plan.runners)?;
    let profile = profile::parse(&text, Path::new("warmup.yaml"), false)
        .or_exit(Exit::Failure)?
        .profile;
    let resolved_profile = profile
        .resolve(&profile::Overrides::default())
        .or_exit(Exit::Failure)?;
    let mut plugins = Plugins::new(kperf_runtime::Limits::default()).or_exit(Exit::Failure)?;
    let specs = specs(&profile, &resolved_profile, &mut plugins)?;
    let mut config = config;
    config.take(&resolved_profile);
    let mut load = Load::connect(
        &resolved.target,
        &resolved.description,
        resolved.in_process_server(),
        &specs,
        config,
        run_id.as_str(),
        run::drawn_seed(),
    )?;
    let phases = load.run(&specs, stop, &mut Shown { live: &mut *live });
    Ok(Loaded {
        requests: phases
            .iter()
            .flat_map(|phase| &phase.result.series)
            .map(|series| series.sent)
            .sum(),
        exit: match phases.last().map(|phase| &phase.result.ended) {
            Some(Ended::Failed(error)) => {
                live.say(&format!("the load ended early: {}", error.message));
                Exit::Plugin
            }
            Some(Ended::Interrupted) => Exit::Interrupted,
            _ => Exit::Success,
        },
    })
}

/// kperf's mix: cheap lists from the cache, and some that go through to etcd. So many runners do it at once.
fn profile_text(plan: &Warmup, runners: u32) -> Result<String, Failed> {
    let total = plan
        .total
        .checked_mul(u64::from(runners))
        .ok_or_else(|| anyhow!("--total {}: too many for {runners} runners", plan.total))
        .or_exit(Exit::Usage)?;
    Ok(format!(
        "version: 1\ndescription: warm-up\nspecs:\n- rate: {}\n  total: {total}\n  conns: {}\n  client: {}\n  \
         contentType: json\n  requests:\n  \
         - {{shares: 1000, staleList: {{version: v1, resource: pods}}}}\n  \
         - {{shares: 100, quorumList: {{version: v1, resource: pods, limit: 1000}}}}\n  \
         - {{shares: 100, quorumList: {{version: v1, resource: events, limit: 1000}}}}\n",
        plan.rate * f64::from(runners),
        plan.conns.saturating_mul(runners),
        plan.clients.saturating_mul(runners)
    ))
}

struct Shown<'a> {
    live: &'a mut Live,
}

impl Watcher for Shown<'_> {
    fn begin(&mut self, plan: &PhasePlan) {
        self.live.begin(plan);
    }

    fn interval(&mut self, plan: &PhasePlan, interval: Interval) {
        self.live.interval(plan, &interval);
    }

    fn end(&mut self) {
        self.live.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Warmup {
        Warmup {
            pool: PoolSpec::new("warmup"),
            job: JobSpec::default(),
            rate: 20.0,
            total: 10_000,
            conns: 10,
            clients: 100,
            runners: 10,
            threshold: 8,
            eks: false,
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn the_profile_is_one() {
        let text = profile_text(&plan(), 10).unwrap();
        let read = profile::parse(&text, Path::new("w"), false).unwrap();
        let resolved = read
            .profile
            .resolve(&profile::Overrides::default())
            .unwrap();
        assert_eq!(resolved.conns, 100);
        let spec = &resolved.specs[0];
        assert_eq!(
            (spec.rate, spec.total, spec.client),
            (200.0, Some(100_000), 1000)
        );
        assert_eq!(spec.entries.len(), 3);
    }

    #[test]
    fn what_is_left_is_told_by_the_exit_code() {
        assert_eq!(with_left(Exit::Success, true), Exit::LeftBehind);
        assert_eq!(with_left(Exit::Failure, true), Exit::LeftBehind);
        assert_eq!(with_left(Exit::Interrupted, true), Exit::Interrupted);
        assert_eq!(with_left(Exit::Success, false), Exit::Success);
    }

    #[test]
    fn one_instance_is_enough_but_on_eks() {
        let cores = |all: &[Option<u32>]| {
            all.iter()
                .enumerate()
                .map(|(index, cores)| (format!("10.0.0.{index}:443"), *cores))
                .collect::<BTreeMap<_, _>>()
        };
        let mut plan = plan();
        assert!(is_ready(&cores(&[Some(2), Some(8)]), &plan));
        assert!(!is_ready(&cores(&[Some(7), None]), &plan));
        assert!(!is_ready(&cores(&[]), &plan));
        plan.eks = true;
        assert!(!is_ready(&cores(&[Some(2), Some(8)]), &plan));
        assert!(is_ready(&cores(&[Some(9), Some(8)]), &plan));
    }
}
