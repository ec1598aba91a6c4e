//! `kperf-host net run`: orchestrator and workers as processes on this machine, real tools, no cluster.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use clap::Args;
use kperf_load::Stop;
use kperf_network::{NetworkRun, local, orchestrator::OrchestratorOptions};

use crate::{
    cli::{
        net::{
            deliver::{self, Outputs, abort, check_results, plugins},
            measure::{MeasureArgs, TOLERANCES},
            progress::TaskProgress,
        },
        output::OutputArgs,
    },
    exit::{Exit, Failed, OrExit as _},
    live::Live,
    network::{self, Prepared},
    run, signals,
};

/// Arguments of `net run`.
#[derive(Debug, Args)]
#[command(after_long_help = format!("Paths on this machine: loopback (IPv4, the default) and loopback6 (IPv6).

{TOLERANCES}
Examples:
  kperf-host net run --benchmark iperf3-tcp --workers 3 --set durationSeconds=1
  kperf-host net run --benchmark qperf-tcp --samples 5 --output json=net.json
  kperf-host net run --benchmark iperf3-tcp --vary streams=1,4 --vary writeSizeBytes=1024,131072
  kperf-host net run --benchmark iperf3-tcp --path loopback,loopback6 --samples 3 \\
      --tolerance 'loopback6 within 10% of loopback'
  kperf-host net run --benchmark ./nuttcp.wasm --allow nuttcp
"))]
pub struct RunArgs {
    /// Worker processes; every ordered pair of them is measured.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=100))]
    pub workers: u8,
    /// How long workers may take to register.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::cli::seconds_or_duration)]
    pub timeout: Duration,
    /// Longest run in all.
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = crate::cli::seconds_or_duration)]
    pub deadline: Duration,
    /// Keep journal and results here; a run that was cut short goes on where it was.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Write the results file at the end: every task, with everything the tools wrote; `net report` reads it. What is
    /// measured until then is in the journal of --state.
    #[arg(long, value_name = "FILE")]
    pub results: Option<PathBuf>,
    /// What is measured.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// Result flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// Bad input, a plugin that cannot be used, too few workers.
pub fn run(args: RunArgs, live: &Live) -> Result<Exit, Failed> {
    let mut plugins = plugins()?;
    let mut measurement = args.measure.measurement()?;
    if measurement.pairs.paths.is_empty() {
        measurement.pairs.paths.push(local::LOOPBACK.to_owned());
    }
    let prepared = measurement.prepare(&mut plugins)?;
    local::workers(usize::from(args.workers), &prepared.selection).or_exit(Exit::Usage)?;
    let outputs = Outputs::prepare(&args.output, &mut plugins)?;
    check_results(args.results.as_deref()).or_exit(Exit::Usage)?;

    let stop = Stop::new();
    signals::install(&stop);
    let start = SystemTime::now();
    let run_id = run::run_id(start, run::drawn_seed());
    let delivery = outputs.begin(&run_id)?;
    let temporary = tempfile::tempdir()
        .context("cannot make a folder for the run")
        .or_exit(Exit::Failure)?;
    let directory = args.state.as_deref().unwrap_or(temporary.path());
    let mut facts = network::facts(run_id, Some(&prepared.plugin), "this machine", Vec::new());
    facts.start = start;
    let limits = prepared.limits.clone();
    let run = measure(&args, prepared, directory, stop, live)?;
    let is_written = deliver::write_results(&run, args.results.as_deref(), live);
    let exit = delivery.finish(network::conclude(&facts, &run, &limits), live);
    Ok(Exit::of_measurement(exit, is_written, false))
}

fn measure(
    args: &RunArgs,
    prepared: Prepared,
    directory: &Path,
    stop: Stop,
    live: &Live,
) -> Result<NetworkRun, Failed> {
    let binary = std::env::current_exe()
        .context("cannot find this program")
        .or_exit(Exit::Failure)?;
    let shown = TaskProgress::new(live, &prepared.main_metric);
    let options = OrchestratorOptions {
        timeout: args.timeout,
        deadline: args.deadline,
        progress: shown.callback(),
        abort: abort(&stop),
        ..prepared.options(usize::from(args.workers), directory)
    };
    let allowed = prepared.allow.further;
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
        .context("cannot start the runtime of the orchestrator")
        .or_exit(Exit::Failure)?;
    let run = local::run(options, prepared.variants, worker, async move {
        stop.stopped().await;
    });
    let result = runtime.block_on(run);
    shown.end();
    deliver::measured(result, &prepared.benchmark, &prepared.main_metric)
}
