//! Loads that a benchmark starts: the same engine as everywhere, each on a thread of its own, while the benchmark
//! goes on.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicU32},
    thread::JoinHandle,
};

use kperf_cluster::Session;
use kperf_load::{
    Stop,
    plan::{PhasePlan, Target},
    request::SourceError,
    result::Interval,
};
use kperf_runtime::{
    Failure,
    benchmark::{LoadHandle, LoadOutcome},
    failure,
};
use parking_lot::Mutex;
use tokio::{runtime::Runtime, sync::oneshot};

use super::{
    groups::Groups,
    load_handle::{Running, outcome},
    reported::{LoadUse, Reported},
    room::{Room, Senders},
};
use crate::{
    export::Feed,
    live::Live,
    load::{Load, LoadConfig, Spec, Watcher},
    plugins::Plugins,
    profile::{self, Overrides, Profile, Resolved},
    report,
    runner_group::Placement,
    source::Gate,
    specs::specs,
};

/// Starts loads and waits for them at the end of the run.
pub(crate) struct Loads {
    pub(crate) target: Target,
    pub(crate) description: String,
    pub(crate) in_process_server: bool,
    pub(crate) config: LoadConfig,
    pub(crate) run_id: String,
    pub(crate) seed: u64,
    pub(crate) session: Arc<Session>,
    pub(crate) plugins: Arc<Mutex<Plugins>>,
    /// Where the load comes from if not from this process.
    groups: Option<Groups>,
    pub(crate) reported: Arc<Reported>,
    pub(crate) feed: Feed,
    /// Intervals handed to the exporters, over all loads.
    pub(crate) intervals: Arc<AtomicU32>,
    running: Mutex<Vec<(Stop, JoinHandle<()>)>>,
    room: Room,
}

impl Loads {
    #[allow(
        clippy::too_many_arguments,
        reason = "each is a different thing, and there is one caller"
    )]
    pub(crate) fn new(
        target: Target,
        description: String,
        in_process_server: bool,
        config: LoadConfig,
        run_id: String,
        seed: u64,
        session: Arc<Session>,
        plugins: Plugins,
        reported: Arc<Reported>,
        feed: Feed,
        groups: Option<Groups>,
    ) -> Self {
        Self {
            target,
            description,
            in_process_server,
            config,
            run_id,
            seed,
            session,
            plugins: Arc::new(Mutex::new(plugins)),
            groups,
            reported,
            feed,
            intervals: Arc::default(),
            running: Mutex::default(),
            room: Room::default(),
        }
    }

    /// Checks the profile, connects, and returns once the first phase has begun.
    pub(crate) async fn start(
        &self,
        name: String,
        profile: &str,
        runners: u32,
    ) -> Result<Box<dyn LoadHandle>, Failure> {
        let runners = runners.max(1);
        if let Some(groups) = &self.groups {
            let senders = match groups.placement {
                Placement::Locally(_) => Senders::Processes,
                Placement::Cluster { .. } => Senders::Pods,
            };
            let taken = self.room.take(&name, runners, senders)?;
            return groups
                .start(&self.plugins, name, profile, runners, taken)
                .await;
        }
        let (specs, config) = self.prepare(&name, profile, runners)?;
        let clients = specs.iter().map(|spec| spec.clients).max().unwrap_or(0);
        let conns = config.conns;
        let senders = Senders::Own { conns, clients };
        let taken = self.room.take(&name, runners, senders)?;
        self.reported.load(LoadUse::new(profile, runners));
        let stop = Stop::new();
        let (begun, has_begun) = oneshot::channel();
        let (done, outcome) = oneshot::channel();
        let run = Run {
            target: self.target.clone(),
            description: self.description.clone(),
            in_process_server: self.in_process_server,
            specs,
            config,
            run_id: self.run_id.clone(),
            seed: self.seed,
            stop: stop.clone(),
            session: Arc::clone(&self.session),
            reported: Arc::clone(&self.reported),
            watcher: Intervals {
                feed: self.feed.clone(),
                intervals: Arc::clone(&self.intervals),
                begun: Some(begun),
            },
        };
        let thread = std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || {
                run.run(done);
                drop(taken);
            })
            .map_err(|error| failure("failed", format!("no thread for the load: {error}")))?;
        self.running.lock().push((stop.clone(), thread));
        Running::begun(stop, has_begun, outcome, &self.session, Stop::abort).await
    }

    fn prepare(
        &self,
        name: &str,
        text: &str,
        runners: u32,
    ) -> Result<(Vec<Spec>, LoadConfig), Failure> {
        let (profile, resolved) = read(name, text)?;
        let mut specs = specs(&profile, &resolved, &mut self.plugins.lock())
            .map_err(|failed| wrong(name, failed))?;
        let several = specs.len() > 1;
        for (number, spec) in specs.iter_mut().enumerate() {
            spec.name = phase_name(name, number, several);
            multiply(spec, runners);
        }
        let mut config = self.config.clone();
        config.take(&resolved);
        config.conns = config.conns.saturating_mul(runners);
        Ok((specs, config))
    }

    /// Stops what still runs, and waits for it. Runners are removed; whether something of them is left that should not.
    pub(crate) fn finish(&self, runtime: &Runtime, live: &Live) -> bool {
        let running = std::mem::take(&mut *self.running.lock());
        for (stop, _) in &running {
            stop.abort();
        }
        for (_, thread) in running {
            // A panic of the thread has been printed; the phase is lost.
            thread.join().ok();
        }
        let Some(groups) = &self.groups else {
            return false;
        };
        runtime.block_on(groups.finish(live))
    }
}

/// Why a load cannot be run.
pub(super) fn wrong(name: &str, why: impl std::fmt::Display) -> Failure {
    failure(
        "invalid",
        format!("load `{name}`: {}", why.to_string().trim_end()),
    )
}

/// Reads the profile of a load.
pub(super) fn read(name: &str, text: &str) -> Result<(Profile, Resolved), Failure> {
    let read =
        profile::parse(text, Path::new("profile"), false).map_err(|error| wrong(name, error))?;
    let resolved = read
        .profile
        .resolve(&Overrides::default())
        .map_err(|error| wrong(name, error))?;
    if !read.profile.thresholds.is_empty() {
        return Err(wrong(
            name,
            "thresholds belong to the run: give them in the benchmark's configuration",
        ));
    }
    Ok((read.profile, resolved))
}

/// Of a load with one phase, that of the load.
pub(super) fn phase_name(load: &str, number: usize, several: bool) -> String {
    if several {
        format!("{load}-{}", number + 1)
    } else {
        load.to_owned()
    }
}

/// One load does what so many runners would do.
fn multiply(spec: &mut Spec, runners: u32) {
    spec.rate_per_sec *= f64::from(runners);
    spec.total = spec.total.map(|total| total.saturating_mul(runners.into()));
    spec.clients = spec.clients.saturating_mul(runners);
}

struct Run {
    target: Target,
    description: String,
    in_process_server: bool,
    specs: Vec<Spec>,
    config: LoadConfig,
    run_id: String,
    seed: u64,
    stop: Stop,
    session: Arc<Session>,
    reported: Arc<Reported>,
    watcher: Intervals,
}

impl Run {
    fn run(mut self, done: oneshot::Sender<Result<LoadOutcome, Failure>>) {
        let connected = Load::connect(
            &self.target,
            &self.description,
            self.in_process_server,
            &self.specs,
            self.config,
            &self.run_id,
            self.seed,
        );
        let result = match connected {
            Ok(load) => {
                let mut load = load.gated(gate(self.session));
                let phases = load.run(&self.specs, &self.stop, &mut self.watcher);
                let outcome = outcome(&phases);
                for phase in phases {
                    self.reported.phase(phase);
                }
                Ok(outcome)
            }
            Err(failed) => Err(failure("unreachable", failed.to_string())),
        };
        // Whoever started it may be gone.
        done.send(result).ok();
    }
}

/// A load's requests are checked as every other call of the benchmark is.
fn gate(session: Arc<Session>) -> Gate {
    Arc::new(move |method, path| {
        session
            .gate(method.as_str(), path)
            .map_err(|refused| SourceError {
                code: refused.code.to_string(),
                message: refused.message,
            })
    })
}

struct Intervals {
    feed: Feed,
    intervals: Arc<AtomicU32>,
    begun: Option<oneshot::Sender<()>>,
}

impl Watcher for Intervals {
    fn begin(&mut self, _: &PhasePlan) {
        if let Some(begun) = self.begun.take() {
            begun.send(()).ok();
        }
    }

    fn interval(&mut self, _: &PhasePlan, interval: Interval) {
        let index = self
            .intervals
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.feed.interval(report::interval(&interval, index));
    }

    fn end(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_load_does_the_work_of_all_runners() {
        let mut spec = Spec {
            name: "load".to_owned(),
            rate_per_sec: 2.5,
            total: Some(1000),
            duration: None,
            clients: 4,
            max_retries: 1,
            entries: Vec::new(),
        };
        multiply(&mut spec, 10);
        assert_eq!(spec.rate_per_sec, 25.0);
        assert_eq!((spec.total, spec.clients), (Some(10_000), 40));
        assert_eq!(spec.max_retries, 1);
    }
}
