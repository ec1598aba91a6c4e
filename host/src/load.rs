//! One load after the other on connections that stand: what a profile, or a benchmark, asks the engine for.

use std::{
    num::NonZero,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use http::HeaderValue;
use kperf_load::{
    Engine, Stop,
    measure::self_check,
    plan::{EngineConfig, Pace, PhasePlan, Protocol, Target},
    result::{Ended, Interval},
};

use crate::{
    exit::{Exit, Failed, OrExit as _},
    profile,
    report::MeasuredPhase,
    server_side::classify::{self, Classes},
    source::{self, Entry, Gate, PhaseContext},
    summary,
};

/// One phase as asked for, defaults resolved.
#[derive(Clone)]
pub struct Spec {
    /// Name in reports.
    pub name: String,
    /// Requests per second; 0 = closed loop.
    pub rate_per_sec: f64,
    /// Requests in all.
    pub total: Option<u64>,
    /// How long to send.
    pub duration: Option<Duration>,
    /// Clients.
    pub clients: u32,
    /// How often a 429 or 5xx with Retry-After is tried again.
    pub max_retries: u32,
    /// The mix.
    pub entries: Vec<Entry>,
}

/// What holds for all phases on the same connections.
#[derive(Clone)]
pub struct LoadConfig {
    /// Connections.
    pub conns: u32,
    /// `json` or `protobuf`.
    pub protobuf: bool,
    /// HTTP version.
    pub protocol: Protocol,
    /// `user-agent`.
    pub user_agent: HeaderValue,
    /// Threads; none = by cores, connections and rate.
    pub shards: Option<u32>,
    /// Longest wait for an answer; none = forever.
    pub deadline: Option<Duration>,
    /// Arrivals within one tick are released together.
    pub tick: Duration,
    /// Longest pile-up.
    pub pile_up: Duration,
    /// Receive stamps from the kernel.
    pub kernel_timestamps: bool,
    /// Backlog; none = ten seconds of arrivals, at least 10 000.
    pub max_backlog: Option<u64>,
    /// Length of an interval.
    pub interval: Duration,
    /// Keep every exchange.
    pub raw: bool,
    /// Keep failed exchanges, as far as there is room, also without `raw`.
    pub failures: bool,
}

impl LoadConfig {
    /// Takes over what a profile says.
    pub fn take(&mut self, profile: &profile::Resolved) {
        self.conns = profile.conns;
        self.protobuf = profile.content_type == profile::ContentType::Protobuf;
        self.protocol = if profile.disable_http2 {
            Protocol::Http1
        } else {
            Protocol::Http2
        };
    }
}

/// Follows a load while it runs.
pub trait Watcher {
    /// A phase begins.
    fn begin(&mut self, plan: &PhasePlan);
    /// An interval of it is over.
    fn interval(&mut self, plan: &PhasePlan, interval: Interval);
    /// It is over.
    fn end(&mut self);
}

/// Connections that stand, and how they are used.
pub struct Load {
    engine: Engine,
    config: LoadConfig,
    shards: u32,
    shards_reason: String,
    run_id: String,
    seed: u64,
    gate: Option<Gate>,
    classes: Option<Arc<Classes>>,
    start_at: Option<SystemTime>,
}

impl Load {
    /// Opens the connections. `in_process_server` leaves half of the cores to the simulator.
    ///
    /// # Errors
    /// The target cannot be connected to.
    pub fn connect(
        target: &Target,
        description: &str,
        in_process_server: bool,
        specs: &[Spec],
        config: LoadConfig,
        run_id: &str,
        seed: u64,
    ) -> Result<Self, Failed> {
        let (shards, shards_reason) = shards(config.shards, config.conns, specs, in_process_server);
        let engine = Engine::connect(
            target.clone(),
            EngineConfig {
                shards,
                conns: config.conns,
                protocol: config.protocol,
                connect_timeout: Duration::from_secs(30),
                pile_up: config.pile_up,
                kernel_timestamps: config.kernel_timestamps,
                user_agent: config.user_agent.clone(),
            },
        )
        .with_context(|| format!("cannot connect to {description}"))
        .or_exit(Exit::Target)?;
        Ok(Self {
            engine,
            config,
            shards,
            shards_reason,
            run_id: run_id.to_owned(),
            seed,
            gate: None,
            classes: None,
            start_at: None,
        })
    }

    /// Lets every request pass a gate first.
    #[must_use]
    pub fn gated(mut self, gate: Gate) -> Self {
        self.gate = Some(gate);
        self
    }

    /// Learns what each series is for, in the server's words.
    #[must_use]
    pub fn classified(mut self, classes: Arc<Classes>) -> Self {
        self.classes = Some(classes);
        self
    }

    /// Begins the next phase at a time of the wall clock, if that is ahead.
    #[must_use]
    pub fn starting_at(mut self, at: Option<SystemTime>) -> Self {
        self.start_at = at;
        self
    }

    /// Runs phases in their order; one that does not complete is the last.
    pub fn run(
        &mut self,
        specs: &[Spec],
        stop: &Stop,
        watcher: &mut dyn Watcher,
    ) -> Vec<MeasuredPhase> {
        let mut phases = Vec::with_capacity(specs.len());
        for spec in specs {
            let phase = self.phase(spec, stop, watcher);
            let completed = phase.result.ended == Ended::Completed;
            phases.push(phase);
            if !completed {
                break;
            }
        }
        phases
    }

    fn phase(&mut self, spec: &Spec, stop: &Stop, watcher: &mut dyn Watcher) -> MeasuredPhase {
        let plan = self.plan(spec);
        let mut factory = source::factory(
            spec.entries.clone(),
            PhaseContext {
                run_id: self.run_id.clone(),
                phase: spec.name.clone(),
                deadline: self.config.deadline,
            },
        );
        if let Some(gate) = &self.gate {
            factory = source::gated(factory, Arc::clone(gate));
        }
        if let Some(classes) = &self.classes {
            factory = classify::classified(factory, Arc::clone(classes));
        }
        watcher.begin(&plan);
        let at = self.start_at.take();
        let result = self
            .engine
            .run_at(at, &plan, &factory, stop, &mut |interval| {
                watcher.interval(&plan, interval);
            });
        watcher.end();
        let verdict = self_check(&result, &plan);
        MeasuredPhase {
            settings: self.settings(&plan),
            verdict,
            metrics: None,
            result,
        }
    }

    fn plan(&self, spec: &Spec) -> PhasePlan {
        let config = &self.config;
        PhasePlan {
            name: spec.name.clone(),
            pace: if spec.rate_per_sec > 0.0 {
                Pace::Open {
                    rate_per_sec: spec.rate_per_sec,
                }
            } else {
                Pace::Closed
            },
            total: spec.total,
            duration: spec.duration,
            clients: spec.clients,
            max_retries: spec.max_retries,
            deadline: config.deadline,
            max_backlog: config
                .max_backlog
                .unwrap_or_else(|| ((spec.rate_per_sec * 10.0) as u64).max(10_000)),
            tick: config.tick,
            accept: if config.protobuf {
                HeaderValue::from_static("application/vnd.kubernetes.protobuf, */*")
            } else {
                HeaderValue::from_static("application/json, */*")
            },
            seed: self.seed,
            interval: config.interval,
            raw: config.raw,
            failures: config.failures,
        }
    }

    fn settings(&self, plan: &PhasePlan) -> Vec<(String, String)> {
        let config = &self.config;
        let time = |duration: Duration| {
            summary::time(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
        };
        let mut settings = vec![
            (
                "rate",
                match plan.pace {
                    Pace::Closed => "0".to_owned(),
                    Pace::Open { rate_per_sec } => rate_per_sec.to_string(),
                },
            ),
            ("conns", config.conns.to_string()),
            ("clients", plan.clients.to_string()),
            ("shards", self.shards.to_string()),
            ("shards-reason", self.shards_reason.clone()),
            (
                "http",
                match config.protocol {
                    Protocol::Http2 => "HTTP/2",
                    Protocol::Http1 => "HTTP/1.1",
                }
                .to_owned(),
            ),
            (
                "content-type",
                if config.protobuf { "protobuf" } else { "json" }.to_owned(),
            ),
            ("max-retries", plan.max_retries.to_string()),
            ("max-backlog", plan.max_backlog.to_string()),
            (
                "deadline",
                plan.deadline.map_or_else(|| "none".to_owned(), time),
            ),
            ("tick", time(plan.tick)),
            ("pile-up", time(config.pile_up)),
            (
                "receive-stamps",
                if config.kernel_timestamps {
                    "kernel"
                } else {
                    "read"
                }
                .to_owned(),
            ),
            ("seed", plan.seed.to_string()),
        ];
        if let Some(total) = plan.total {
            settings.push(("total", total.to_string()));
        }
        if let Some(duration) = plan.duration {
            settings.push(("duration-ns", duration.as_nanos().to_string()));
        }
        settings
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

/// How many threads send, and why.
fn shards(
    asked: Option<u32>,
    conns: u32,
    specs: &[Spec],
    in_process_server: bool,
) -> (u32, String) {
    /// What one shard is trusted with before a second one is worth its connections: a guess on
    /// the safe side, not a measured limit.
    const RATE_PER_SHARD: f64 = 10_000.0;
    let conns = conns.max(1);
    if let Some(asked) = asked {
        let shards = asked.min(conns);
        let reason = if shards < asked {
            "asked for more, but each needs a connection"
        } else {
            "as asked"
        };
        return (shards, reason.to_owned());
    }
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let usable = if in_process_server {
        (cores / 2).max(1)
    } else {
        cores
    };
    let usable = u32::try_from(usable).unwrap_or(1);
    let fastest = specs
        .iter()
        .map(|spec| spec.rate_per_sec)
        .fold(0.0, f64::max);
    let closed = specs.iter().any(|spec| spec.rate_per_sec <= 0.0);
    let by_rate = if closed {
        u32::MAX
    } else {
        (fastest / RATE_PER_SHARD).ceil().max(1.0) as u32
    };
    let shards = usable.min(conns).min(by_rate).max(1);
    let reason = if shards == by_rate {
        format!("enough for {fastest}/s")
    } else if shards == conns {
        "one per connection".to_owned()
    } else if in_process_server {
        "half of the cores, the simulator has the others".to_owned()
    } else {
        "one per core".to_owned()
    };
    (shards, reason)
}
