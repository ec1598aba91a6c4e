//! Assembly of a benchmark run: target → plugin with its powers → clean-up → report → exporters → exit code.
//!
//! Whatever the plugin does (returns, fails, traps, loops, is interrupted), what it reported is kept and what it
//! created is deleted, within a bounded time.

mod board;
mod bulks;
mod files;
mod groups;
mod kperf;
mod load_handle;
mod loads;
mod merged;
mod pools;
mod powers;
mod reported;
mod room;
mod trackers;

use std::{
    future::Future,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU32},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, anyhow};
use kperf_cluster::{
    RunId, Session,
    api::Cluster,
    cleanup::{self, CleanReport},
    grant::Grant,
    server_metrics::Scraper,
};
use kperf_load::{Stop, request::SourceError, result::Ended};
use kperf_runtime::{
    Failure, Plugin, PluginError,
    benchmark::{RunContext, Verdict},
    failure, report as doc,
};
use parking_lot::Mutex;
use serde_json::Value;

use self::{
    board::Board,
    groups::Groups,
    kperf::Cores,
    loads::Loads,
    pools::Pools,
    powers::Powers,
    reported::{Reported, Told},
};
pub use self::{kperf::KperfResult, pools::PoolPlacement};
use crate::{
    exit::{Exit, Failed, OrExit as _},
    export::Exports,
    live::Live,
    plugins::Plugins,
    prometheus,
    report::{self, MeasuredPhase, Results, RunFacts},
    run::{self, Job},
    runner_group::Placement,
    server_side::{self, Observer, Sent},
    signals, target,
};

/// How long a benchmark may take to return after it was told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// What is asked of a benchmark run beyond [`Job`].
pub struct Benchmark {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// Validated configuration.
    pub config: Value,
    /// Directory below which it may read files.
    pub files: PathBuf,
    /// What it may do beyond its own namespaces.
    pub grants: Vec<Grant>,
    /// Leave what it created.
    pub keep: bool,
    /// Change nothing.
    pub dry_run: bool,
    /// Longest run; none = as long as it takes.
    pub timeout: Option<Duration>,
    /// Longest clean-up.
    pub cleanup_timeout: Duration,
    /// No bars.
    pub plain: bool,
    /// Where what plays its virtual nodes may run.
    pub pools: PoolPlacement,
    /// Where loads come from; none = this process.
    pub runners: Option<Placement>,
    /// Whether every exchange of runners is kept, however many.
    pub raw_data: bool,
    /// Whether kperf's result is written too.
    pub kperf: Option<KperfResult>,
}

/// What a host call says once the run is being stopped.
fn interrupted() -> Failure {
    failure("interrupted", "the run is being stopped")
}

/// How the plugin's part of the run ended.
enum End {
    Verdict(Verdict),
    Failed(PluginError),
    TimedOut(Duration),
    Interrupted,
}

/// Runs the benchmark to its end, whatever the end is.
///
/// # Errors
/// Nothing was run: the target, an output or the cluster was not usable.
pub fn run(job: Job, benchmark: Benchmark, plugins: Plugins, live: &Live) -> Result<Exit, Failed> {
    let start = SystemTime::now();
    let epoch = Instant::now();
    let seed = job.seed.unwrap_or_else(run::drawn_seed);
    let run_id = run::run_id(start, seed);
    let id: RunId = run_id.parse().or_exit(Exit::Failure)?;
    let stop = Stop::new();
    signals::install(&stop);

    let resolved = target::resolve(&job.target).or_exit(Exit::Target)?;
    for warning in &resolved.warnings {
        live.say(&format!("warning: {warning}"));
    }
    if let Some(source) = &job.prometheus {
        source.check()?;
    }
    let exports = Exports::begin(job.outputs, &run_id)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("benchmark")
        .enable_all()
        .build()
        .context("cannot start the runtime of the benchmark")
        .or_exit(Exit::Failure)?;
    let _within = runtime.enter();
    let cluster = Cluster::new(resolved.config.clone())
        .map_err(|error| anyhow!("{}: {error}", resolved.description))
        .or_exit(Exit::Target)?;
    runtime
        .block_on(cluster.kind("v1", "Namespace"))
        .map_err(|error| anyhow!("cannot use {}: {error}", resolved.description))
        .or_exit(Exit::Target)?;

    let reported = Arc::new(Reported::default());
    let session = Arc::new(Session::new(
        cluster.clone(),
        id.clone(),
        benchmark.grants.clone(),
        epoch,
        stop.clone(),
    ));
    let board = Arc::new(Board::new(benchmark.plain));
    let groups = benchmark.runners.clone().map(|placement| Groups {
        placement,
        session: Arc::clone(&session),
        reported: Arc::clone(&reported),
        feed: exports.feed(),
        intervals: Arc::default(),
        board: Arc::clone(&board),
        seed,
        raw_data: benchmark.raw_data,
        keep: benchmark.keep,
        cleanup_timeout: benchmark.cleanup_timeout,
        started: Mutex::default(),
        count: AtomicU32::new(0),
    });
    let loads = Arc::new(Loads::new(
        resolved.target.clone(),
        resolved.description.clone(),
        resolved.in_process_server(),
        job.load,
        run_id.clone(),
        seed,
        Arc::clone(&session),
        plugins,
        Arc::clone(&reported),
        exports.feed(),
        groups,
    ));
    let pools = Arc::new(Pools::new(
        Arc::clone(&session),
        Arc::clone(&board),
        benchmark.pools.clone(),
    ));
    let powers = Powers {
        session: Arc::clone(&session),
        pools: Arc::clone(&pools),
        config: resolved.config.clone(),
        reported: Arc::clone(&reported),
        loads: Arc::clone(&loads),
        board: Arc::clone(&board),
        files: benchmark.files.clone(),
        epoch,
        dry_run: benchmark.dry_run,
    };
    let context = RunContext {
        run_id: run_id.clone(),
        seed,
        start_unix_us: start
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0)),
        dry_run: benchmark.dry_run,
        labels: report::labels(&job.labels),
    };
    live.say(&format!("run {run_id}: {}", benchmark.plugin.info().name));
    let grants: Vec<String> = benchmark.grants.iter().map(Grant::to_string).collect();
    if !grants.is_empty() {
        let message = format!("granted beyond its own namespaces: {}", grants.join(", "));
        live.say(&format!("run {run_id}: {message}"));
        reported.finding("info", "benchmark/granted".to_owned(), message);
    }
    let mut observer = Observer::begin(&resolved.target, resolved.in_process_server(), job.server);
    if let Some(observer) = &mut observer {
        observer.ready();
    }
    let scraper = benchmark
        .kperf
        .as_ref()
        .map(|_| runtime.block_on(Scraper::find(&resolved.target)));
    let cores = || {
        let scraper = scraper.as_ref()?;
        runtime.block_on(kperf::cores(scraper))
    };
    let cores_before = cores();
    let end = runtime.block_on(async {
        let plugin = benchmark
            .plugin
            .run_benchmark(context, &benchmark.config, Arc::new(powers));
        tokio::select! {
            end = until_its_end(plugin, &stop, benchmark.timeout) => end,
            () = board.show() => End::Interrupted,
        }
    });
    board.clear();
    let groups_left = loads.finish(&runtime, live);
    let measured = epoch.elapsed();
    // Before the clean-up, which is none of the benchmark's work.
    let server = observer.map_or_else(Default::default, |observer| {
        server_side::results(&observer.finish(&stop), &Sent::default())
    });

    let end_of_plugin = SystemTime::now();

    let left = clean_up(&runtime, &session, &benchmark, &reported, live);
    // Pods that are being deleted are gone only once what plays their nodes has said so: nodes go last.
    let left = runtime.block_on(pools.clean_up(&benchmark, &reported, live)) || left || groups_left;
    let (exit, ended) = judge(&end, &reported, &benchmark);
    let (phases, mut results, told) = reported.take(measured, ended);
    results.metrics.extend(server.metrics);
    results.findings.extend(server.findings);
    let mut environment = run::environment(&resolved.description);
    told.add_to(&mut environment);
    let facts = RunFacts {
        run_id,
        description: if told.description.is_empty() {
            job.description
        } else {
            told.description.clone()
        },
        labels: job.labels,
        server: resolved.target.url(),
        environment,
        plugins: run::plugin_uses([&*benchmark.plugin].into_iter()),
        start,
    };
    // After the clean-up, which is time that Prometheus has to look.
    let answers = job.prometheus.map_or_else(Default::default, |source| {
        source.about_run(start, end_of_plugin, &stop, |text| live.say(text))
    });
    let mut whole = prometheus::with_answers(&facts, &phases, results, &job.thresholds, answers);
    let missed = whole.thresholds.iter().any(|threshold| !threshold.passed);
    if benchmark
        .kperf
        .as_ref()
        .is_some_and(|kperf| !kperf.raw_data)
    {
        forget_raw(&mut whole);
    }
    let mut undelivered = run::deliver(whole, exports, job.summary_on_stderr, live);
    if let Some(kperf) = &benchmark.kperf
        && let Err(error) = write_kperf(
            &runtime,
            kperf,
            &facts,
            phases,
            &told,
            (&cores_before, &cores()),
        )
    {
        live.say(&format!("kperf's result: {error:#}"));
        undelivered = true;
    }
    let verdict = if missed && exit == Exit::Success {
        Exit::Missed
    } else {
        exit
    };
    Ok(Exit::of_measurement(verdict, !undelivered, left))
}

/// kperf's result lists errors one by one; the other outputs have asked for no raw data.
fn forget_raw(whole: &mut doc::Summary) {
    for phase in &mut whole.phases {
        phase.raw = None;
        phase.failures = Vec::new();
    }
}

/// kperf's result, of the loads and nothing else.
fn write_kperf(
    runtime: &tokio::runtime::Runtime,
    kperf: &KperfResult,
    facts: &RunFacts,
    mut phases: Vec<MeasuredPhase>,
    told: &Told,
    cores: (&Cores, &Cores),
) -> anyhow::Result<()> {
    phases.retain(MeasuredPhase::is_load);
    let loads = report::summary(facts, &phases, Results::default(), &[]);
    runtime.block_on(kperf.write(loads, told, cores))
}

/// The plugin's end, or ours for it: on a signal it gets a while to return, then none.
async fn until_its_end(
    plugin: impl Future<Output = Result<Verdict, PluginError>>,
    stop: &Stop,
    timeout: Option<Duration>,
) -> End {
    tokio::pin!(plugin);
    let limit = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        result = &mut plugin => result,
        () = stop.stopped() => {
            tokio::select! {
                // What it says now is about having been interrupted.
                _ = &mut plugin => {}
                () = stop.aborted() => {}
                () = tokio::time::sleep(GRACE) => {}
            }
            return End::Interrupted;
        }
        () = limit => {
            // What is in flight is waited for and reported, as after a signal; a guest that loops hears nothing.
            stop.stop();
            tokio::select! {
                _ = &mut plugin => {}
                () = stop.aborted() => {}
                () = tokio::time::sleep(GRACE) => {}
            }
            return End::TimedOut(timeout.unwrap_or_default());
        }
    };
    match result {
        Ok(_) | Err(_) if stop.is_stopped() => End::Interrupted,
        Ok(verdict) => End::Verdict(verdict),
        Err(error) => End::Failed(error),
    }
}

/// What the end means for exit code and report.
fn judge(end: &End, reported: &Reported, benchmark: &Benchmark) -> (Exit, Ended) {
    let failed = |code: &str, message: String| {
        Ended::Failed(SourceError {
            code: code.to_owned(),
            message,
        })
    };
    let name = &benchmark.plugin.info().name;
    match end {
        End::Verdict(verdict) => {
            let severity = if verdict.passed { "info" } else { "error" };
            if !verdict.message.is_empty() || !verdict.passed {
                reported.finding(
                    severity,
                    format!(
                        "benchmark/{}",
                        if verdict.passed { "passed" } else { "failed" }
                    ),
                    format!("{name}: {}", verdict.message),
                );
            }
            let exit = if verdict.passed {
                Exit::Success
            } else {
                Exit::Missed
            };
            (exit, Ended::Completed)
        }
        End::Failed(error) => {
            let message = error.to_string();
            reported.finding(
                "error",
                format!("plugin/{}", error.details().code),
                message.clone(),
            );
            let exit = match error.details().plugin_code.as_deref() {
                Some("invalid-config") => Exit::Usage,
                _ => Exit::Plugin,
            };
            (exit, failed(error.details().code, message))
        }
        End::TimedOut(timeout) => {
            let message = format!(
                "{name} was ended after {:.0} s, the limit of --timeout",
                timeout.as_secs_f64()
            );
            reported.finding("error", "plugin/timeout".to_owned(), message.clone());
            (Exit::Plugin, failed("timeout", message))
        }
        End::Interrupted => (Exit::Interrupted, Ended::Interrupted),
    }
}

/// Deletes what the run created; whether something is left that should not be.
fn clean_up(
    runtime: &tokio::runtime::Runtime,
    session: &Session,
    benchmark: &Benchmark,
    reported: &Reported,
    live: &Live,
) -> bool {
    let objects = session.objects();
    if objects.is_empty() {
        return false;
    }
    let run = session.run();
    if benchmark.keep {
        reported.finding(
            "info",
            "cleanup/kept".to_owned(),
            format!("what the run created was kept; `kperf-host cleanup --run {run}` deletes it"),
        );
        return false;
    }
    let report = runtime.block_on(cleanup::clean(
        session.cluster(),
        run,
        Some(&objects),
        benchmark.cleanup_timeout,
        |_| {},
    ));
    say_clean(&report, run, live);
    for error in &report.errors {
        reported.finding("error", "cleanup/error".to_owned(), error.clone());
    }
    for note in &report.notes {
        reported.finding("info", "cleanup/note".to_owned(), note.clone());
    }
    if report.left_count > 0 {
        reported.finding(
            "error",
            "cleanup/left".to_owned(),
            format!(
                "{} objects of the run could not be deleted within {:.0} s; \
                 `kperf-host cleanup --run {run}` tries again",
                report.left_count,
                benchmark.cleanup_timeout.as_secs_f64()
            ),
        );
    }
    !report.is_complete()
}

/// Tells a person what a clean-up did.
pub fn say_clean(report: &CleanReport, run: &RunId, live: &Live) {
    let deleted: Vec<String> = report
        .deleted
        .iter()
        .map(|(resource, count)| format!("{count} {resource}"))
        .collect();
    if !deleted.is_empty() {
        live.say(&format!("run {run}: deleted {}", deleted.join(", ")));
    }
    for left in &report.left {
        live.say(&format!("run {run}: left {left}"));
    }
    for error in &report.errors {
        live.say(&format!("run {run}: {error}"));
    }
    for note in &report.notes {
        live.say(&format!("run {run}: note: {note}"));
    }
}
