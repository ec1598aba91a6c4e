//! Loads that a benchmark starts: the same engine as everywhere, each on a thread of its own, while the benchmark
//! goes on.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicU32},
    thread::JoinHandle,
    time::Duration,
};

use kperf_cluster::Session;
use kperf_load::{
    Stop, measure,
    plan::{PhasePlan, Target},
    request::SourceError,
    result::{Ended, Interval},
};
use kperf_runtime::{
    BoxFuture, Failure,
    benchmark::{LoadHandle, LoadOutcome},
    failure,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    reported::{LoadUse, Reported},
    room::Room,
};
use crate::{
    export::Feed,
    load::{Load, LoadConfig, Spec, Watcher},
    plugins::Plugins,
    profile::{self, Overrides},
    report::{self, MeasuredPhase},
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
    pub(crate) plugins: Mutex<Plugins>,
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
    ) -> Self {
        Self {
            target,
            description,
            in_process_server,
            config,
            run_id,
            seed,
            session,
            plugins: Mutex::new(plugins),
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
        let (specs, config) = self.prepare(&name, profile, runners)?;
        let clients = specs.iter().map(|spec| spec.clients).max().unwrap_or(0);
        let taken = self.room.take(&name, runners, config.conns, clients)?;
        self.reported.load(LoadUse {
            // It has been read as YAML, of which JSON is a part; what is more than JSON is shown as it was written.
            profile: serde_json::from_str(profile).unwrap_or_else(|_| profile.into()),
            runners,
        });
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
        let handle = Running {
            stop,
            outcome,
            ended: None,
            session: Arc::clone(&self.session),
        };
        match has_begun.await {
            Ok(()) => {
                // A load that nobody waits for ends with the run all the same.
                let (ends, session) = (handle.stop.clone(), Arc::clone(&self.session));
                tokio::spawn(async move {
                    session.stop().stopped().await;
                    ends.stop();
                });
                Ok(Box::new(handle))
            }
            // It ended before it began, and says why.
            Err(_) => match handle.end().await {
                Ok(_) => Err(failure("failed", "the load ended before it began")),
                Err(failure) => Err(failure),
            },
        }
    }

    fn prepare(
        &self,
        name: &str,
        text: &str,
        runners: u32,
    ) -> Result<(Vec<Spec>, LoadConfig), Failure> {
        let wrong =
            |message: String| failure("invalid", format!("load `{name}`: {}", message.trim_end()));
        let read = profile::parse(text, Path::new("profile"), false)
            .map_err(|error| wrong(error.to_string()))?;
        let resolved = read
            .profile
            .resolve(&Overrides::default())
            .map_err(|error| wrong(error.to_string()))?;
        if !read.profile.thresholds.is_empty() {
            return Err(wrong(
                "thresholds belong to the run: give them in the benchmark's configuration"
                    .to_owned(),
            ));
        }
        let mut specs = specs(&read.profile, &resolved, &mut self.plugins.lock())
            .map_err(|failed| wrong(failed.to_string()))?;
        let several = specs.len() > 1;
        for (number, spec) in specs.iter_mut().enumerate() {
            spec.name = if several {
                format!("{name}-{}", number + 1)
            } else {
                name.to_owned()
            };
            multiply(spec, runners);
        }
        let mut config = self.config.clone();
        config.take(&resolved);
        config.conns = config.conns.saturating_mul(runners);
        Ok((specs, config))
    }

    /// Stops what still runs, and waits for it.
    pub(crate) fn finish(&self) {
        let running = std::mem::take(&mut *self.running.lock());
        for (stop, _) in &running {
            stop.abort();
        }
        for (_, thread) in running {
            // A panic of the thread has been printed; the phase is lost.
            thread.join().ok();
        }
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

/// What all phases of a load came to.
fn outcome(phases: &[MeasuredPhase]) -> LoadOutcome {
    let mut response = measure::time_histogram();
    let (mut sent, mut succeeded, mut failed) = (0, 0, 0);
    let mut length = Duration::ZERO;
    let mut ended = &Ended::Completed;
    for phase in phases {
        for series in &phase.result.series {
            // Same bounds by construction.
            response.add(&series.response_time).ok();
            sent += series.sent;
            succeeded += series.succeeded;
            failed += series.failed;
        }
        length += phase.result.length;
        // A phase that does not complete is the last.
        ended = &phase.result.ended;
    }
    let seconds = length.as_secs_f64();
    LoadOutcome {
        sent,
        succeeded,
        failed,
        length_ns: u64::try_from(length.as_nanos()).unwrap_or(u64::MAX),
        achieved_rate: if seconds > 0.0 {
            sent as f64 / seconds
        } else {
            0.0
        },
        response_p50_ns: measure::quantile(&response, 0.5).unwrap_or(0),
        response_p99_ns: measure::quantile(&response, 0.99).unwrap_or(0),
        reason: match ended {
            Ended::Failed(error) => error.message.clone(),
            _ => String::new(),
        },
        ended: match ended {
            Ended::Completed => "completed",
            Ended::Interrupted => "interrupted",
            Ended::Failed(_) => "failed",
        }
        .to_owned(),
    }
}

/// A load that was started.
struct Running {
    stop: Stop,
    outcome: oneshot::Receiver<Result<LoadOutcome, Failure>>,
    /// What it came to, once somebody has looked.
    ended: Option<Result<LoadOutcome, Failure>>,
    session: Arc<Session>,
}

impl Running {
    /// Its end, or that of the run, which is then the load's too.
    async fn end(mut self) -> Result<LoadOutcome, Failure> {
        if let Some(ended) = self.ended.take() {
            return ended;
        }
        tokio::select! {
            biased;
            ended = &mut self.outcome => of_thread(ended),
            () = self.session.stop().stopped() => {
                self.stop.stop();
                Err(super::interrupted())
            }
        }
    }

    async fn ended_within(&mut self, timeout: Duration) -> Result<bool, Failure> {
        if self.ended.is_some() {
            return Ok(true);
        }
        tokio::select! {
            biased;
            ended = &mut self.outcome => {
                self.ended = Some(of_thread(ended));
                Ok(true)
            }
            () = self.session.stop().stopped() => Err(super::interrupted()),
            () = tokio::time::sleep(timeout) => Ok(false),
        }
    }
}

fn of_thread(
    ended: Result<Result<LoadOutcome, Failure>, oneshot::error::RecvError>,
) -> Result<LoadOutcome, Failure> {
    ended.unwrap_or_else(|_| Err(failure("failed", "the load's thread panicked")))
}

impl Drop for Running {
    fn drop(&mut self) {
        // Of a load that has ended this means nothing.
        self.stop.abort();
    }
}

impl LoadHandle for Running {
    fn ended_within(&mut self, timeout_ms: u64) -> BoxFuture<'_, Result<bool, Failure>> {
        Box::pin(self.ended_within(Duration::from_millis(timeout_ms)))
    }

    fn wait(self: Box<Self>) -> BoxFuture<'static, Result<LoadOutcome, Failure>> {
        Box::pin(self.end())
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<LoadOutcome, Failure>> {
        self.stop.stop();
        Box::pin(self.end())
    }
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
