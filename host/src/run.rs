//! Assembly of a load run: it knows every room and does little itself.
//!
//! Plan → target → connections → phases, one after the other → report → exporters → exit code. From the
//! first phase on nothing that was measured is lost: whatever fails later, the report is built and delivered.

use std::{
    num::NonZero,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use kperf_load::{
    Stop,
    plan::PhasePlan,
    result::{Ended, Interval},
};
use kperf_runtime::{Plugin, report as doc};

pub use crate::load::{LoadConfig, Spec};
use crate::{
    exit::{Exit, Failed, OrExit as _},
    export::{Exports, Output},
    live::Live,
    load::{Load, Watcher},
    prometheus::{self, Source},
    report::{self, Results, RunFacts},
    server_side::{self, Observer, Sent, ServerMetrics, classify::Classes},
    signals, summary,
    target::{self, TargetChoice},
    threshold::ThresholdSpec,
};

/// What is asked of every run, whatever it does.
pub struct Job {
    /// Free text.
    pub description: String,
    /// The user's labels.
    pub labels: Vec<(String, String)>,
    /// Where to.
    pub target: TargetChoice,
    /// Seed below 2^53; none = drawn.
    pub seed: Option<u64>,
    /// How loads use their connections.
    pub load: LoadConfig,
    /// When the server is asked for its own numbers.
    pub server: ServerMetrics,
    /// What is asked of a Prometheus about the run.
    pub prometheus: Option<Source>,
    /// Limits that decide about the exit code.
    pub thresholds: Vec<ThresholdSpec>,
    /// Where results go.
    pub outputs: Vec<Output>,
    /// Whether the terminal summary goes to stderr because stdout carries data.
    pub summary_on_stderr: bool,
}

/// Runs phases of load to their end, whatever the end is.
///
/// # Errors
/// Nothing was measured: the plan, a plugin, the target or an output was not usable.
pub fn run(job: Job, specs: &[Spec], live: Live) -> Result<Exit, Failed> {
    let stop = Stop::new();
    signals::install(&stop);
    run_with(job, specs, live, &stop, None)
}

/// After so long without a request a server may close its connections; they are opened anew before the start.
const STALE: Duration = Duration::from_secs(45);

/// What is different in a run that is one of several.
pub struct OneOfMany<'a> {
    /// Unlike that of any other run.
    pub run_id: String,
    /// What else is to be known of it.
    pub environment: Vec<(String, String)>,
    /// Called once all connections stand; says when to begin, and may wait for others before that.
    pub ready: &'a mut dyn FnMut() -> Result<SystemTime, Failed>,
}

/// The same for a run that is stopped by `stop`, and may be one of several that begin together.
///
/// # Errors
/// As [`run`]; and what it means to be ready.
pub fn run_with(
    job: Job,
    specs: &[Spec],
    mut live: Live,
    stop: &Stop,
    one: Option<OneOfMany<'_>>,
) -> Result<Exit, Failed> {
    let mut start = SystemTime::now();
    let seed = job.seed.unwrap_or_else(drawn_seed);
    let (mut ready, mut environment_of_run) = (None, Vec::new());
    let run_id = match one {
        Some(one) => {
            ready = Some(one.ready);
            environment_of_run = one.environment;
            one.run_id
        }
        None => run_id(start, seed),
    };

    let resolved = target::resolve(&job.target).or_exit(Exit::Target)?;
    for warning in &resolved.warnings {
        live.say(&format!("warning: {warning}"));
    }
    if let Some(source) = &job.prometheus {
        source.check()?;
    }
    let exports = Exports::begin(job.outputs, &run_id)?;
    // The first look goes on while connections are opened, and is over before the first phase.
    let mut observer = Observer::begin(&resolved.target, resolved.in_process_server(), job.server);
    let connect = || {
        Load::connect(
            &resolved.target,
            &resolved.description,
            resolved.in_process_server(),
            specs,
            job.load.clone(),
            &run_id,
            seed,
        )
    };
    let mut load = connect()?;
    let connected = Instant::now();
    if let Some(observer) = &mut observer {
        observer.ready();
    }
    let agreed = ready.as_mut().map(|ready| ready()).transpose()?;
    if let Some(agreed) = agreed {
        start = agreed;
        if connected.elapsed() > STALE {
            load = connect()?;
        }
    }
    let classes = Arc::new(Classes::default());
    if observer.is_some() {
        load = load.classified(Arc::clone(&classes));
    }
    let mut load = load.starting_at(agreed);
    let mut watcher = Shown {
        live: &mut live,
        exports: &exports,
        observer: observer.as_ref(),
        intervals: 0,
    };
    let begin = SystemTime::now();
    let phases = load.run(specs, stop, &mut watcher);
    let end = SystemTime::now();
    let server = observer.map_or_else(Default::default, |observer| {
        let mut sent = Sent::default();
        sent.add_phases(&phases, &classes);
        server_side::results(&observer.finish(stop), &sent)
    });

    let answers = job.prometheus.map_or_else(Default::default, |source| {
        source.about_run(begin, end, stop, |text| live.say(text))
    });

    let facts = RunFacts {
        run_id,
        description: job.description,
        labels: job.labels,
        server: resolved.target.url(),
        environment: environment(&resolved.description)
            .into_iter()
            .chain(environment_of_run)
            .collect(),
        plugins: plugin_uses(
            specs
                .iter()
                .flat_map(|spec| &spec.entries)
                .map(|entry| &*entry.plugin),
        ),
        start,
    };
    let results = Results {
        metrics: server.metrics,
        ..Results::default()
    };
    let mut whole = prometheus::with_answers(&facts, &phases, results, &job.thresholds, answers);
    // Behind what the client found: a refusal of everything explains a refusal of the metrics.
    whole.findings.extend(server.findings);
    let missed = whole.thresholds.iter().any(|threshold| !threshold.passed);
    let ended = phases.last().map(|phase| phase.result.ended.clone());
    let failures = deliver(whole, exports, job.summary_on_stderr, &live);
    Ok(match ended {
        Some(Ended::Failed(_)) => Exit::Plugin,
        Some(Ended::Interrupted) => Exit::Interrupted,
        _ if missed => Exit::Missed,
        _ if failures => Exit::Output,
        _ => Exit::Success,
    })
}

/// Shows progress and hands intervals to the exporters.
struct Shown<'a> {
    live: &'a mut Live,
    exports: &'a Exports,
    observer: Option<&'a Observer>,
    intervals: u32,
}

impl Watcher for Shown<'_> {
    fn begin(&mut self, plan: &PhasePlan) {
        self.live.begin(plan);
    }

    fn interval(&mut self, plan: &PhasePlan, interval: Interval) {
        self.live.interval(plan, &interval);
        for point in self.observer.iter().flat_map(|observer| observer.news()) {
            self.live.server(&point);
        }
        self.exports
            .interval(report::interval(&interval, self.intervals));
        self.intervals += 1;
    }

    fn end(&mut self) {
        self.live.end();
    }
}

/// Prints the summary and hands the report to the exporters; whether one of them failed.
#[must_use]
pub fn deliver(whole: doc::Summary, exports: Exports, on_stderr: bool, live: &Live) -> bool {
    use std::io::Write as _;
    let text = summary::render(&whole);
    let failures = exports.finish(whole);
    // A closed pipe is the reader's choice, not a failure of the run.
    if on_stderr {
        std::io::stderr().write_all(text.as_bytes()).ok();
    } else {
        std::io::stdout().write_all(text.as_bytes()).ok();
    }
    for failure in &failures {
        live.say(&format!("output {}: {}", failure.name, failure.message));
    }
    !failures.is_empty()
}

/// Facts about machine and target.
#[must_use]
pub fn environment(target: &str) -> Vec<(String, String)> {
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

/// Each plugin once.
#[must_use]
pub fn plugin_uses<'a>(plugins: impl Iterator<Item = &'a Plugin>) -> Vec<doc::PluginUse> {
    let mut uses: Vec<doc::PluginUse> = Vec::new();
    for plugin in plugins {
        let sha256 = plugin.sha256();
        if uses.iter().all(|known| known.sha256 != sha256) {
            uses.push(doc::PluginUse {
                name: plugin.info().name.clone(),
                version: plugin.info().version.clone(),
                sha256: sha256.to_owned(),
                world: plugin.world().to_string(),
            });
        }
    }
    uses
}

/// From the clock: differs from run to run, and is printed so that the run can be repeated.
#[must_use]
pub fn drawn_seed() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    (now.as_nanos() as u64 ^ u64::from(std::process::id()).rotate_left(32)) & ((1 << 53) - 1)
}

/// Sorts by time, is a valid label value and unlike any other.
#[must_use]
pub fn run_id(start: SystemTime, seed: u64) -> String {
    let seconds = start
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let noise = drawn_seed() ^ seed.rotate_left(17);
    format!("r{seconds:x}-{:06x}", noise & 0xff_ffff)
}
