//! `kperf-host net orchestrator`: waits for workers, runs every task between them, keeps and hands over the results.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use clap::Args;
use kperf_cluster::api::Cluster;
use kperf_launch::{ResultsTarget, State, fits};
use kperf_load::Stop;
use kperf_network::{
    NetworkRun, ResultsFile, RunCertificates, RunEnd, TaskState, orchestrator::Orchestrator,
};

use crate::{
    cli::{
        net::{
            deliver::{self, Outputs},
            progress::TaskProgress,
        },
        output::OutputArgs,
    },
    exit::{Exit, Failed, OrExit as _},
    live::Live,
    network::{self, Herald, Measurement, Prepared, Voice, conclude},
    run, signals,
};

/// Arguments of `net orchestrator`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "`net launch` starts this in a cluster. By hand, on machines of your own:
  kperf-host net orchestrator --config measurement.yaml --listen 0.0.0.0:6000 --tls certificates --state state \\
      --workers 3 --results results.json
  kperf-host net worker --orchestrator HOST:6000 --name $(hostname) --node $(hostname) --address host=ADDRESS \\
      --tls certificates                # ca.pem, worker.pem and worker.key from the orchestrator's folder

What is measured, as a file (YAML or JSON; only `benchmark` has to be there):
  benchmark: iperf3-tcp
  parameters: {durationSeconds: 5}
  vary: [{parameter: streams, values: [1, 4]}]
  samples: 3
  pairs: {placements: [other-node], paths: [host]}
  thresholds: [network-bandwidth_bits_per_second >= 1000000000]

With --results-to the exit code is 0 when everything was handed over, whatever came out: who gets it judges.
"
)]
pub struct OrchestratorArgs {
    /// What is measured (see below).
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The tool, in place of the one in the file: a name or a plugin file.
    #[arg(long, value_name = "TOOL")]
    pub benchmark: Option<String>,
    /// Where workers reach it.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:6000")]
    pub listen: SocketAddr,
    /// Directory with the run's certificates; made there if there are none.
    #[arg(long, value_name = "DIR")]
    pub tls: PathBuf,
    /// Keep journal and results here; a run that was cut short goes on where it was.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// How many workers are to come.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub workers: u32,
    /// How long workers may take to register, and lost ones to come back.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::cli::seconds_or_duration)]
    pub timeout: Duration,
    /// Longest run in all.
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = crate::cli::seconds_or_duration)]
    pub deadline: Duration,
    /// Write the results file at the end: every task, with everything the tools wrote.
    #[arg(long, value_name = "FILE")]
    pub results: Option<PathBuf>,
    /// Tell ConfigMaps of the cluster that this runs in how far it is, and hand the results over in them:
    /// kube:NAMESPACE/PREFIX. They have to be there.
    #[arg(long, value_name = "TARGET")]
    pub results_to: Option<ResultsTarget>,
    /// Result flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// Bad input, a plugin that cannot be used, too few workers, results that cannot be written or handed over.
pub fn run(args: &OrchestratorArgs, live: &Live) -> Result<Exit, Failed> {
    let stop = Stop::new();
    signals::install(&stop);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime of the orchestrator")
        .or_exit(Exit::Failure)?;
    let Some(target) = &args.results_to else {
        let (_, exit) = measured(args, &runtime, stop, None, live)?;
        return Ok(exit);
    };
    let cluster = runtime.block_on(cluster()).or_exit(Exit::Target)?;
    let herald = {
        let _within = runtime.enter();
        Herald::start(cluster, target.clone())
    };
    let voice = herald.voice();
    // From here on whoever waits at the other end hears what it comes to, whatever that is.
    let (state, message, results) = match measured(args, &runtime, stop, Some(voice), live) {
        Ok((run, _)) => {
            let (results, is_whole) = fitting(&run, fits);
            let mut message = sentence(&run);
            if !is_whole {
                message.push_str(
                    "; all that the tools wrote is too much to hand over, so it is left out where it was read",
                );
            }
            (state(&run), message, Some(results))
        }
        Err(failed) => (State::Failed, format!("{:#}", failed.error), None),
    };
    live.say(&message);
    runtime
        .block_on(herald.finish(state, &message, results.as_deref()))
        .or_exit(Exit::Output)?;
    live.say(&format!("handed over to {target}"));
    Ok(Exit::Success)
}

/// The cluster that this runs in, by the pod's service account or what the environment says.
async fn cluster() -> anyhow::Result<Cluster> {
    let source = kperf_cluster::detect(None, None)?;
    let config = kperf_cluster::kube_config(&source).await?;
    Cluster::new(config).map_err(|failure| anyhow!("{failure}"))
}

/// Measures, writes the results file, and delivers to the exporters.
fn measured(
    args: &OrchestratorArgs,
    runtime: &tokio::runtime::Runtime,
    stop: Stop,
    voice: Option<Voice>,
    live: &Live,
) -> Result<(NetworkRun, Exit), Failed> {
    let mut plugins = deliver::plugins()?;
    let mut measurement = Measurement::read(&args.config).or_exit(Exit::Usage)?;
    if let Some(benchmark) = &args.benchmark {
        measurement.benchmark.clone_from(benchmark);
    }
    let prepared = measurement.prepare(&mut plugins)?;
    let outputs = Outputs::prepare(&args.output, &mut plugins)?;
    deliver::check_results(args.results.as_deref()).or_exit(Exit::Usage)?;
    let certificates = certificates(&args.tls, live)?;
    let start = std::time::SystemTime::now();
    let run_id = run::run_id(start, run::drawn_seed());
    let delivery = outputs.begin(&run_id)?;
    let mut facts = network::facts(run_id, Some(&prepared.plugin), "its workers", Vec::new());
    facts.start = start;
    let mut options = prepared.options(
        usize::try_from(args.workers).unwrap_or(usize::MAX),
        &args.state,
    );
    options.listen = args.listen;
    options.certificates = Some(certificates);
    options.timeout = args.timeout;
    options.replacement = args.timeout;
    options.deadline = args.deadline;
    options.abort = deliver::abort(&stop);
    let shown = TaskProgress::new(live, &prepared.main_metric);
    let callback = shown.callback();
    options.progress = Arc::new(move |progress| {
        callback(progress);
        if let (Some(voice), Some(line)) = (&voice, network::progress_line(progress)) {
            voice.say(&line);
        }
    });
    let Prepared {
        benchmark,
        main_metric,
        variants,
        limits,
        ..
    } = prepared;
    let result = runtime.block_on(async {
        let orchestrator = Orchestrator::bind(options).await?;
        // With port 0 nobody knows it otherwise.
        live.say(&format!("listening on {}", orchestrator.address()));
        let stopped = async move { stop.stopped().await };
        orchestrator.run(variants, stopped).await
    });
    shown.end();
    let run = deliver::measured(result, &benchmark, &main_metric)?;
    let is_written = deliver::write_results(&run, args.results.as_deref(), live);
    let exit = delivery.finish(conclude(&facts, &run, &limits), live);
    Ok((run, Exit::of_measurement(exit, is_written, false)))
}

/// Those of the directory; a directory without any gets some.
fn certificates(directory: &Path, live: &Live) -> Result<RunCertificates, Failed> {
    let is_empty = match std::fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => {
            return Err(error)
                .with_context(|| format!("--tls {}", directory.display()))
                .or_exit(Exit::Usage);
        }
    };
    if !is_empty {
        return Ok(RunCertificates::in_directory(directory));
    }
    let made = RunCertificates::create(directory).or_exit(Exit::Usage)?;
    live.say(&format!(
        "made certificates in {}; workers need ca.pem, worker.pem and worker.key of it",
        directory.display()
    ));
    Ok(made)
}

/// The results file, and whether everything is in it. Readings are not lost with outputs that are too large.
fn fitting(run: &NetworkRun, fits: impl Fn(&[u8]) -> bool) -> (Vec<u8>, bool) {
    let file = ResultsFile::of(run);
    let whole = file.to_bytes();
    if fits(&whole) {
        return (whole, true);
    }
    (file.without_read_outputs().to_bytes(), false)
}

fn state(run: &NetworkRun) -> State {
    match run.end {
        RunEnd::Complete => State::Done,
        RunEnd::Deadline | RunEnd::Stopped => State::Failed,
    }
}

/// What a run came to, in a line.
fn sentence(run: &NetworkRun) -> String {
    let done = run
        .tasks
        .iter()
        .filter(|task| task.state == TaskState::Done && task.error.is_none())
        .count();
    let why = match run.end {
        RunEnd::Complete => "",
        RunEnd::Deadline => "the total time was over: ",
        RunEnd::Stopped => "stopped: ",
    };
    let mut text = format!("{why}{done} of {} tasks done", run.tasks.len());
    if !run.lost.is_empty() {
        text.push_str(&format!("; lost {}", run.lost.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use kperf_network::{Reading, TaskKey, TaskRecord, ToolError};

    use super::*;

    fn run(errors: [Option<ToolError>; 2]) -> NetworkRun {
        let task = |(sample, error)| TaskRecord {
            state: TaskState::Done,
            error,
            ..TaskRecord::pending(TaskKey {
                client: "a".to_owned(),
                server: "b".to_owned(),
                path: "pod".to_owned(),
                variant: String::new(),
                sample,
            })
        };
        NetworkRun {
            benchmark: "iperf3-tcp".to_owned(),
            main_metric: String::new(),
            workers: Vec::new(),
            lost: vec!["c".to_owned()],
            tasks: (1..).zip(errors).map(task).collect(),
            end: RunEnd::Complete,
        }
    }

    #[test]
    fn only_what_was_measured_counts_as_done() {
        let run = run([None, Some(ToolError::new("malformed", "x"))]);
        assert_eq!(sentence(&run), "1 of 2 tasks done; lost c");
    }

    #[test]
    fn readings_go_without_outputs_that_are_too_large() {
        let mut run = run([None, Some(ToolError::new("malformed", "x"))]);
        for task in &mut run.tasks {
            task.stdout = "wordy ".repeat(100);
            task.stderr = "more".to_owned();
        }
        run.tasks[0].readings.push(Reading {
            name: "bandwidth_bits_per_second".to_owned(),
            value: 1.0,
            unit: "bit/s".to_owned(),
            labels: Default::default(),
        });
        let (whole, is_whole) = fitting(&run, |_| true);
        assert!(is_whole);
        assert_eq!(ResultsFile::parse(&whole).unwrap().run().tasks, run.tasks);
        let (less, is_whole) = fitting(&run, |_| false);
        assert!(!is_whole);
        let tasks = ResultsFile::parse(&less).unwrap().run().tasks;
        assert_eq!(tasks[0].readings, run.tasks[0].readings);
        assert!(tasks[0].stdout.is_empty() && tasks[0].stderr.is_empty());
        assert!(tasks[0].clipped);
        // Where nothing was read the output says why.
        assert_eq!(tasks[1], run.tasks[1]);
    }
}
