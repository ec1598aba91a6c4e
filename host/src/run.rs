//! Assembly of a run: it knows every room and does little itself.
//!
//! Plan → target → connections → phases, one after the other → report → exporters → exit code. From the
//! first phase on nothing that was measured is lost: whatever fails later, the report is built and delivered.

use std::{
    num::NonZero,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use http::HeaderValue;
use kperf_load::{
    Engine, Stop,
    measure::self_check,
    plan::{EngineConfig, Pace, PhasePlan, Protocol},
    result::Ended,
};
use kperf_runtime::report as doc;

use crate::{
    exit::{Exit, Failed, OrExit as _},
    export::{Exports, Output},
    live::Live,
    report::{self, MeasuredPhase, RunFacts},
    signals,
    source::{self, Entry, PhaseContext},
    summary,
    target::{self, TargetChoice},
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

/// Everything that is asked of a run.
pub struct Job {
    /// Free text.
    pub description: String,
    /// The user's labels.
    pub labels: Vec<(String, String)>,
    /// Phases in order; at least one.
    pub specs: Vec<Spec>,
    /// Where to.
    pub target: TargetChoice,
    /// Connections.
    pub conns: u32,
    /// `json` or `protobuf`.
    pub protobuf: bool,
    /// HTTP version.
    pub protocol: Protocol,
    /// `user-agent`.
    pub user_agent: HeaderValue,
    /// Seed below 2^53; none = drawn.
    pub seed: Option<u64>,
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
    /// Where results go.
    pub outputs: Vec<Output>,
    /// Whether the terminal summary goes to stderr because stdout carries data.
    pub summary_on_stderr: bool,
}

/// Runs the job to its end, whatever the end is.
///
/// # Errors
/// Nothing was measured: the plan, a plugin, the target or an output was not usable.
pub fn run(job: Job, mut live: Live) -> Result<Exit, Failed> {
    let start = SystemTime::now();
    let seed = job.seed.unwrap_or_else(drawn_seed);
    let run_id = run_id(start, seed);
    let stop = Stop::new();
    signals::install(&stop);

    let resolved = target::resolve(&job.target).or_exit(Exit::Target)?;
    for warning in &resolved.warnings {
        live.say(&format!("warning: {warning}"));
    }
    let exports = Exports::begin(job.outputs, &run_id)?;

    let (shards, shards_reason) = shards(
        job.shards,
        job.conns,
        &job.specs,
        resolved.in_process_server(),
    );
    let mut engine = Engine::connect(
        resolved.target.clone(),
        EngineConfig {
            shards,
            conns: job.conns,
            protocol: job.protocol,
            connect_timeout: Duration::from_secs(30),
            pile_up: job.pile_up,
            kernel_timestamps: job.kernel_timestamps,
            user_agent: job.user_agent,
        },
    )
    .with_context(|| format!("cannot connect to {}", resolved.description))
    .or_exit(Exit::Target)?;

    let accept = if job.protobuf {
        HeaderValue::from_static("application/vnd.kubernetes.protobuf, */*")
    } else {
        HeaderValue::from_static("application/json, */*")
    };
    let mut phases: Vec<MeasuredPhase> = Vec::new();
    let mut intervals_before = 0;
    for spec in &job.specs {
        let plan = PhasePlan {
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
            deadline: job.deadline,
            max_backlog: job
                .max_backlog
                .unwrap_or_else(|| ((spec.rate_per_sec * 10.0) as u64).max(10_000)),
            tick: job.tick,
            accept: accept.clone(),
            seed,
            interval: job.interval,
            raw: job.raw,
        };
        let factory = source::factory(
            spec.entries.clone(),
            PhaseContext {
                run_id: run_id.clone(),
                phase: spec.name.clone(),
                deadline: job.deadline,
            },
        );
        live.begin(&plan);
        let mut intervals = 0;
        let result = engine.run(&plan, &factory, &stop, &mut |interval| {
            live.interval(&plan, &interval);
            exports.interval(report::interval(&interval, intervals_before + intervals));
            intervals += 1;
        });
        live.end();
        intervals_before += intervals;
        let verdict = self_check(&result, &plan);
        let ended = result.ended.clone();
        phases.push(MeasuredPhase {
            settings: settings(
                &plan,
                job.conns,
                job.protocol,
                job.protobuf,
                (shards, &shards_reason),
                (job.pile_up, job.kernel_timestamps),
            ),
            verdict,
            result,
        });
        if ended != Ended::Completed {
            break;
        }
    }

    let facts = RunFacts {
        run_id,
        description: job.description,
        labels: job.labels,
        server: resolved.target.url(),
        environment: environment(&resolved.description),
        plugins: plugin_uses(&job.specs),
        start,
    };
    let whole = report::summary(&facts, &phases, Vec::new());
    let ended = phases.last().map(|phase| phase.result.ended.clone());
    let text = summary::render(&whole);
    let failures = exports.finish(whole);
    show(&text, job.summary_on_stderr);
    for failure in &failures {
        live.say(&format!("output {}: {}", failure.name, failure.message));
    }
    Ok(match ended {
        Some(Ended::Failed(_)) => Exit::Plugin,
        Some(Ended::Interrupted) => Exit::Interrupted,
        _ if !failures.is_empty() => Exit::Output,
        _ => Exit::Success,
    })
}

fn show(text: &str, on_stderr: bool) {
    use std::io::Write as _;
    // A closed pipe is the reader's choice, not a failure of the run.
    if on_stderr {
        std::io::stderr().write_all(text.as_bytes()).ok();
    } else {
        std::io::stdout().write_all(text.as_bytes()).ok();
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

fn settings(
    plan: &PhasePlan,
    conns: u32,
    protocol: Protocol,
    protobuf: bool,
    shards: (u32, &str),
    (pile_up, kernel_timestamps): (Duration, bool),
) -> Vec<(String, String)> {
    let time =
        |duration: Duration| summary::time(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    let mut settings = vec![
        (
            "rate",
            match plan.pace {
                Pace::Closed => "0".to_owned(),
                Pace::Open { rate_per_sec } => rate_per_sec.to_string(),
            },
        ),
        ("conns", conns.to_string()),
        ("clients", plan.clients.to_string()),
        ("shards", shards.0.to_string()),
        ("shards-reason", shards.1.to_owned()),
        (
            "http",
            match protocol {
                Protocol::Http2 => "HTTP/2",
                Protocol::Http1 => "HTTP/1.1",
            }
            .to_owned(),
        ),
        (
            "content-type",
            if protobuf { "protobuf" } else { "json" }.to_owned(),
        ),
        ("max-retries", plan.max_retries.to_string()),
        ("max-backlog", plan.max_backlog.to_string()),
        (
            "deadline",
            plan.deadline.map_or_else(|| "none".to_owned(), time),
        ),
        ("tick", time(plan.tick)),
        ("pile-up", time(pile_up)),
        (
            "receive-stamps",
            if kernel_timestamps { "kernel" } else { "read" }.to_owned(),
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

fn environment(target: &str) -> Vec<(String, String)> {
    let mut facts = vec![
        ("target".to_owned(), target.to_owned()),
        ("os".to_owned(), std::env::consts::OS.to_owned()),
        ("arch".to_owned(), std::env::consts::ARCH.to_owned()),
        (
            "cores".to_owned(),
            std::thread::available_parallelism()
                .map_or(0, NonZero::get)
                .to_string(),
        ),
    ];
    if let Ok(release) = std::fs::read_to_string("/proc/sys/kernel/osrelease") {
        facts.push(("kernel".to_owned(), release.trim().to_owned()));
    }
    facts
}

fn plugin_uses(specs: &[Spec]) -> Vec<doc::PluginUse> {
    let mut uses: Vec<doc::PluginUse> = Vec::new();
    for entry in specs.iter().flat_map(|spec| &spec.entries) {
        let sha256 = entry.plugin.sha256();
        if uses.iter().all(|known| known.sha256 != sha256) {
            uses.push(doc::PluginUse {
                name: entry.plugin.info().name.clone(),
                version: entry.plugin.info().version.clone(),
                sha256: sha256.to_owned(),
                world: entry.plugin.world().to_string(),
            });
        }
    }
    uses
}

/// From the clock: differs from run to run, and is printed so that the run can be repeated.
fn drawn_seed() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    (now.as_nanos() as u64 ^ u64::from(std::process::id()).rotate_left(32)) & ((1 << 53) - 1)
}

/// Sorts by time, is a valid label value and unlike any other.
fn run_id(start: SystemTime, seed: u64) -> String {
    let seconds = start
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let noise = drawn_seed() ^ seed.rotate_left(17);
    format!("r{seconds:x}-{:06x}", noise & 0xff_ffff)
}
