//! `kperf-host net run`: orchestrator and workers as processes on this machine, real tools, no cluster.

use std::{path::PathBuf, process::Command, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use clap::Args;
use kperf_load::Stop;
use kperf_network::{
    AllowList, NetworkRun, RunEnd, TaskState, local,
    orchestrator::{OrchestratorOptions, Progress, Variant},
};
use serde_json::{Map, Value};

use crate::{
    cli::{
        net::load_tool,
        output::{self, OutputArgs},
    },
    exit::{Exit, Failed, OrExit as _},
    export::Exports,
    live::Live,
    network,
    plugins::Plugins,
    run, signals,
    threshold::ThresholdSpec,
};

/// Arguments of `net run`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  kperf-host net run --benchmark iperf3-tcp --workers 3 --set durationSeconds=1
  kperf-host net run --benchmark qperf-tcp --workers 2 --samples 5 --output json=net.json
  kperf-host net run --benchmark iperf3-tcp --vary streams=1,4 --results results.json
  kperf-host net run --benchmark ./nuttcp.wasm --allow nuttcp
")]
pub struct RunArgs {
    /// The tool: iperf3-tcp, netperf-tcp-rr, netperf-tcp-stream, qperf-tcp, fortio-tcp, fortio-http, or a plugin file.
    #[arg(long, value_name = "TOOL")]
    pub benchmark: String,
    /// Worker processes; every ordered pair of them is measured.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=100))]
    pub workers: u8,
    /// How often each pair is measured; from two on, results have a 95 % confidence interval.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub samples: u32,
    /// Set one parameter of the tool (see `plugin inspect`). Repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Measure every pair with each of these values of a parameter; several make a matrix. Repeatable.
    #[arg(long = "vary", value_name = "KEY=A,B,…")]
    pub vary: Vec<String>,
    /// How long workers may take to register.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::cli::seconds_or_duration)]
    pub timeout: Duration,
    /// Longest run in all.
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = crate::cli::seconds_or_duration)]
    pub deadline: Duration,
    /// Least time limit of one task; the tool may ask for more.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = crate::cli::seconds_or_duration)]
    pub task_limit: Duration,
    /// Keep journal and results here; a run that was cut short goes on where it was.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Write the results file, task by task, with everything the tools wrote.
    #[arg(long, value_name = "FILE")]
    pub results: Option<PathBuf>,
    /// A further program that workers may run, by its bare name, for tools of third parties. Repeatable.
    #[arg(long = "allow", value_name = "PROGRAM")]
    pub allow: Vec<String>,
    /// A limit that decides about the exit code: METRIC OP LIMIT. Repeatable.
    #[arg(long = "threshold", value_name = "EXPRESSION")]
    pub thresholds: Vec<String>,
    /// Result flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// Bad input, a plugin that cannot be used, too few workers.
pub fn run(args: RunArgs, live: &Live) -> Result<Exit, Failed> {
    let mut plugins = Plugins::new(kperf_runtime::Limits::default()).or_exit(Exit::Failure)?;
    let plugin = load_tool(&mut plugins, &args.benchmark)?;
    let mut config = plugin.default_config();
    let keys = config
        .as_object_mut()
        .ok_or_else(|| anyhow!("{} takes no parameters", args.benchmark))
        .or_exit(Exit::Usage)?;
    for set in &args.sets {
        output::assign(keys, set)
            .with_context(|| format!("--set {set}"))
            .or_exit(Exit::Usage)?;
    }
    let axes = args
        .vary
        .iter()
        .map(|text| axis(text))
        .collect::<anyhow::Result<Vec<_>>>()
        .or_exit(Exit::Usage)?;
    let variants = network::variants(&plugin, &config, &axes).or_exit(Exit::Usage)?;
    let main_metric = variants
        .first()
        .map(|variant| variant.tool.plan("127.0.0.1"))
        .transpose()
        .map_err(|error| anyhow!("{}", error.message))
        .or_exit(Exit::Usage)?
        .map_or_else(String::new, |plan| plan.main_metric);
    let thresholds = args
        .thresholds
        .iter()
        .map(|text| ThresholdSpec::parse(text).with_context(|| format!("--threshold {text}")))
        .collect::<anyhow::Result<Vec<_>>>()
        .or_exit(Exit::Usage)?;
    let outputs = output::prepare(&args.output, &mut plugins)?;
    let on_stderr = outputs.iter().any(|output| output.destination.is_stdout());

    let stop = Stop::new();
    signals::install(&stop);
    let start = std::time::SystemTime::now();
    let run_id = run::run_id(start, run::drawn_seed());
    let exports = Exports::begin(outputs, &run_id)?;
    let temporary = tempfile::tempdir()
        .context("cannot make a folder for the run")
        .or_exit(Exit::Failure)?;
    let directory = args
        .state
        .clone()
        .unwrap_or_else(|| temporary.path().to_owned());
    let benchmark = plugin.info().name.replace('_', "-");
    let mut facts = network::facts(run_id, &plugin, "this machine", Vec::new());
    facts.start = start;
    let result = measure(
        &args,
        benchmark,
        directory.clone(),
        variants,
        stop.clone(),
        live,
    );
    let run = result.or_exit(Exit::Failure)?;
    if let Some(path) = &args.results {
        kperf_network::ResultsFile::of(&run)
            .write(path)
            .or_exit(Exit::Output)?;
    }
    let whole = network::summary(&facts, &run, &thresholds);
    let missed = whole.thresholds.iter().any(|threshold| !threshold.passed);
    let table = network::table(&run, &main_metric);
    let undelivered = deliver(&table, whole, exports, on_stderr, live);
    let failed = run
        .tasks
        .iter()
        .any(|task| task.state != TaskState::Done || task.error.is_some());
    Ok(match run.end {
        RunEnd::Stopped => Exit::Interrupted,
        _ if failed => Exit::Failure,
        _ if missed => Exit::Missed,
        _ if undelivered => Exit::Output,
        _ => Exit::Success,
    })
}

/// `KEY=A,B,…`; values are JSON where they read as such.
fn axis(text: &str) -> anyhow::Result<(String, Vec<Value>)> {
    let (key, values) = text
        .split_once('=')
        .with_context(|| format!("--vary {text}: not KEY=A,B,…"))?;
    let values = values
        .split(',')
        .map(|value| {
            let mut parsed = Map::new();
            output::assign(&mut parsed, &format!("{key}={value}"))
                .with_context(|| format!("--vary {text}"))?;
            Ok(parsed.remove(key).unwrap_or(Value::Null))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok((key.to_owned(), values))
}

fn measure(
    args: &RunArgs,
    benchmark: String,
    directory: PathBuf,
    variants: Vec<Variant>,
    stop: Stop,
    live: &Live,
) -> anyhow::Result<NetworkRun> {
    let binary = std::env::current_exe().context("cannot find this program")?;
    // Checked here as well, so that a mistake is known before anything is started.
    let allow = AllowList {
        further: args.allow.clone(),
    };
    for variant in &variants {
        if let Ok(plan) = variant.tool.plan("127.0.0.1") {
            allow
                .check_client(&plan.client, "127.0.0.1")
                .and_then(|()| allow.check_server(&plan.server))
                .map_err(|error| anyhow!("{}", error.message))?;
        }
    }
    let plain = live.is_plain();
    let options = OrchestratorOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        certificates: None,
        benchmark,
        workers: usize::from(args.workers),
        samples: args.samples,
        timeout: args.timeout,
        replacement: Duration::from_secs(10),
        task_limit: args.task_limit,
        server_limit: Duration::from_secs(10),
        deadline: args.deadline,
        directory,
        progress: Arc::new(move |progress| show(progress, plain)),
    };
    let allowed = args.allow.clone();
    let deadline = args.deadline;
    let worker = move |launch: &local::WorkerLaunch| {
        let mut command = Command::new(&binary);
        command
            .args(["net", "worker", "--no-rejoin", "--orchestrator"])
            .arg(launch.orchestrator.to_string())
            .arg("--name")
            .arg(&launch.info.name)
            .arg("--node")
            .arg(&launch.info.hostname)
            .arg("--tls")
            .arg(launch.certificates.directory())
            .arg("--deadline")
            .arg(format!("{}s", deadline.as_secs() + 30));
        for address in &launch.info.addresses {
            command
                .arg("--address")
                .arg(format!("{}={}", address.path, address.host));
        }
        for program in &allowed {
            command.arg("--allow").arg(program);
        }
        command
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime of the orchestrator")?;
    Ok(
        runtime.block_on(local::run(options, variants, worker, async move {
            stop.stopped().await;
        }))?,
    )
}

fn show(progress: Progress<'_>, plain: bool) {
    match progress {
        Progress::Registered { workers, expected } if plain => {
            eprintln!("{workers} of {expected} workers");
        }
        Progress::Registered { .. } => {}
        Progress::Begins { task, done, total } => eprintln!("[{}/{total}] {task}", done + 1),
        Progress::Ended { task, .. } => {
            if let Some(error) = &task.error {
                eprintln!("  {}: {}", error.class, error.message);
            }
        }
        Progress::Lost { worker } => eprintln!("worker {worker} is lost"),
    }
}

fn deliver(
    table: &str,
    whole: kperf_runtime::report::Summary,
    exports: Exports,
    on_stderr: bool,
    live: &Live,
) -> bool {
    use std::io::Write as _;
    // A closed pipe is the reader's choice.
    if on_stderr {
        std::io::stderr().write_all(table.as_bytes()).ok();
    } else {
        std::io::stdout().write_all(table.as_bytes()).ok();
    }
    for threshold in &whole.thresholds {
        let sign = if threshold.passed { "kept" } else { "MISSED" };
        live.say(&format!("threshold {sign}: {}", threshold.expression));
    }
    let failures = exports.finish(whole);
    for failure in &failures {
        live.say(&format!("output {}: {}", failure.name, failure.message));
    }
    !failures.is_empty()
}
