//! The front of the crate: opens connections on all shards, runs phases, merges what they measured.
//!
//! Blocking, called from one plain thread. The shards live as long as the engine, and so do their
//! connections: phases of one run share them.

mod merge;

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc as std_mpsc},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use hdrhistogram::Histogram;
use tokio::sync::{mpsc, oneshot};

use crate::{
    measure::histogram::time_histogram,
    net::{
        dial::{ConnectError, Stage},
        failure::Failure,
    },
    pace::clock::as_ns,
    plan::{EngineConfig, Pace, PhasePlan, Protocol, Target},
    request::{ShardContext, SourceError, SourceFactory},
    result::{Interval, PhaseResult},
    shard::run::{Command, Report, Run, spawn},
    stop::Stop,
};
use merge::Merge;

/// The shards and their connections.
#[derive(Debug)]
pub struct Engine {
    shards: Vec<Shard>,
    config: EngineConfig,
    report: ConnectReport,
}

#[derive(Debug)]
struct Shard {
    commands: Option<mpsc::UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
}

/// What was opened before the first phase.
#[derive(Clone, Debug)]
pub struct ConnectReport {
    /// Connections.
    pub count: u32,
    /// Shards in use: never more than connections.
    pub shards: u32,
    /// HTTP version.
    pub protocol: Protocol,
    /// Time from dial to the end of the last handshake, nanoseconds.
    pub connect_time: Histogram<u64>,
}

/// All shards start so much after the last of them is ready, so that they start together.
const START_MARGIN: Duration = Duration::from_millis(1);
/// Who waits for the start looks so often whether it is stopped.
const STOP_CHECK: Duration = Duration::from_millis(50);
/// A shard that says nothing is looked after so often.
const HEALTH_CHECK: Duration = Duration::from_millis(500);

impl Engine {
    /// Opens all connections, each to the end of its handshakes.
    ///
    /// # Errors
    /// The first connection that could not be opened, with its address and stage.
    pub fn connect(target: Target, config: EngineConfig) -> Result<Self, ConnectError> {
        let target = Arc::new(target);
        let conns = config.conns.max(1);
        let shards = config.shards.clamp(1, conns);
        let config = EngineConfig {
            conns,
            shards,
            ..config
        };
        let failed = |what: &dyn std::fmt::Display| {
            ConnectError::new(
                target.url(),
                Stage::Dial,
                what,
                Failure::unknown("no shard"),
            )
        };
        let mut engine = Self {
            shards: Vec::with_capacity(shards as usize),
            report: ConnectReport {
                count: conns,
                shards,
                protocol: config.protocol,
                connect_time: time_histogram(),
            },
            config,
        };
        let (reply, replies) = std_mpsc::channel();
        for shard in 0..shards {
            let (commands, receiver) = mpsc::unbounded_channel();
            let thread = spawn(shard, receiver).map_err(|error| failed(&error))?;
            // Connection c belongs to shard c mod shards.
            let connections = (shard..conns).step_by(shards as usize).collect();
            let sent = commands.send(Command::Connect {
                target: Arc::clone(&target),
                config: engine.config.clone(),
                connections,
                reply: reply.clone(),
            });
            engine.shards.push(Shard {
                commands: Some(commands),
                thread: Some(thread),
            });
            sent.map_err(|_| failed(&"a shard ended at once"))?;
        }
        drop(reply);
        for _ in 0..shards {
            let took = replies
                .recv()
                .map_err(|_| failed(&"a shard ended while it connected"))??;
            for time in took {
                engine.report.connect_time.saturating_record(as_ns(time));
            }
        }
        Ok(engine)
    }

    /// What was opened.
    #[must_use]
    pub fn connections(&self) -> ConnectReport {
        self.report.clone()
    }

    /// Runs one phase to its end. There is always a result; how it ended is part of it.
    pub fn run(
        &mut self,
        plan: &PhasePlan,
        source: &SourceFactory,
        stop: &Stop,
        on_interval: &mut dyn FnMut(Interval),
    ) -> PhaseResult {
        self.run_at(None, plan, source, stop, on_interval)
    }

    /// The same, begun at a time of the wall clock if that is ahead: sources are open before it, and only then is waited.
    pub fn run_at(
        &mut self,
        at: Option<SystemTime>,
        plan: &PhasePlan,
        source: &SourceFactory,
        stop: &Stop,
        on_interval: &mut dyn FnMut(Interval),
    ) -> PhaseResult {
        // Client i works on connection i mod conns, so the first clients are spread over all shards.
        let shards = self.config.shards.min(plan.clients.max(1));
        let mut merge = Merge::new(plan, shards);
        if let Err(error) = check(plan) {
            merge.fail(error);
            return merge.finish();
        }
        let (reports, received) = std_mpsc::channel();
        let plan = Arc::new(plan.clone());
        let mut starts = Vec::new();
        for (number, shard) in (0..shards).zip(&self.shards) {
            let (start, go) = oneshot::channel();
            starts.push(start);
            let clients = (0..plan.clients)
                .filter(|client| client % self.config.conns % self.config.shards == number)
                .collect();
            let run = Run {
                plan: Arc::clone(&plan),
                factory: Arc::clone(source),
                context: ShardContext {
                    shard: number,
                    shards,
                    seed: plan.seed,
                },
                clients,
                pile_up: self.config.pile_up,
                user_agent: self.config.user_agent.clone(),
                stop: stop.subscribe(),
                go,
                reports: reports.clone(),
            };
            let is_sent = shard
                .commands
                .as_ref()
                .is_some_and(|commands| commands.send(Command::Run(Box::new(run))).is_ok());
            if !is_sent {
                merge.fail(shard_died(number));
            }
        }
        drop(reports);
        // Each shard opens its source before any of them sends.
        let mut ready = BTreeMap::new();
        while ready.len() < shards as usize && !merge.has_failed() {
            let Some(report) = self.next_report(&received, shards, &mut merge) else {
                break;
            };
            if let Report::Ready {
                result,
                shard,
                recycle,
            } = report
            {
                match result {
                    Ok(names) => {
                        ready.insert(shard, (names, recycle));
                    }
                    Err(error) => merge.fail(error),
                }
            }
        }
        if merge.has_failed() {
            // Dropping the starts sends the others home.
            return merge.finish();
        }
        for (shard, (names, recycle)) in ready {
            merge.add_shard(shard, &names, recycle);
        }
        if let Some(at) = at {
            wait_until(at, stop);
        }
        let start = Instant::now() + START_MARGIN;
        merge.started(SystemTime::now() + START_MARGIN);
        for sender in starts {
            // A shard that is gone is noticed below.
            let _ = sender.send(start);
        }
        while !merge.is_complete() {
            let Some(report) = self.next_report(&received, shards, &mut merge) else {
                break;
            };
            merge.take(report, on_interval);
        }
        merge.finish()
    }

    /// The next word of a shard; none when a shard died, which the merge is told.
    fn next_report(
        &self,
        received: &std_mpsc::Receiver<Report>,
        shards: u32,
        merge: &mut Merge,
    ) -> Option<Report> {
        loop {
            match received.recv_timeout(HEALTH_CHECK) {
                Ok(report) => return Some(report),
                Err(std_mpsc::RecvTimeoutError::Disconnected) => {
                    merge.fail(shard_died(0));
                    return None;
                }
                Err(std_mpsc::RecvTimeoutError::Timeout) => {
                    for (number, shard) in (0..shards).zip(&self.shards) {
                        if shard.thread.as_ref().is_none_or(JoinHandle::is_finished)
                            && !merge.is_done(number)
                        {
                            merge.fail(shard_died(number));
                            return None;
                        }
                    }
                }
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for shard in &mut self.shards {
            shard.commands = None;
        }
        for shard in &mut self.shards {
            if let Some(thread) = shard.thread.take()
                && thread.join().is_err()
            {
                tracing::error!("a shard ended in a panic");
            }
        }
    }
}

fn shard_died(shard: u32) -> SourceError {
    SourceError {
        code: "internal".to_owned(),
        message: format!(
            "shard {shard} ended unexpectedly, which is a fault of kperf-host; what the others measured is kept"
        ),
    }
}

/// Sleeps until a margin before a time of the wall clock, or until the phase is stopped.
fn wait_until(at: SystemTime, stop: &Stop) {
    while !stop.is_stopped() {
        // A clock that is set meanwhile is followed.
        let left = at
            .duration_since(SystemTime::now())
            .unwrap_or_default()
            .saturating_sub(START_MARGIN);
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(STOP_CHECK));
    }
}

/// What no phase can be run with.
fn check(plan: &PhasePlan) -> Result<(), SourceError> {
    let invalid = |what: &str| {
        Err(SourceError {
            code: "invalid-plan".to_owned(),
            message: format!("phase {:?}: {what}", plan.name),
        })
    };
    if plan.clients == 0 {
        return invalid("there are no clients; at least one is needed");
    }
    if let Pace::Open { rate_per_sec } = plan.pace
        && !(rate_per_sec.is_finite() && rate_per_sec > 0.0)
    {
        return invalid("the rate must be a number above 0; use a closed loop for none");
    }
    Ok(())
}
