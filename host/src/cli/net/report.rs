//! `kperf-host net report`: the results file of an earlier run, judged, shown and exported.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::anyhow;
use clap::Args;
use kperf_network::{NetworkRun, ResultsFile, TaskState, Tool as _};

use crate::{
    cli::{
        net::{
            deliver::{Outputs, plugins},
            measure::{LimitArgs, TOLERANCES},
        },
        output::OutputArgs,
    },
    exit::{Exit, Failed, OrExit as _},
    live::Live,
    network::{self, Limits, PluginTool, load_tool, result_name},
    run,
};

/// Arguments of `net report`.
#[derive(Debug, Args)]
#[command(after_long_help = format!("{TOLERANCES}
Examples:
  kperf-host net report results.json
  kperf-host net report results.json --tolerance 'pod within 10% of host' --output pushgateway=http://127.0.0.1:9091
  kperf-host net report theirs.json --benchmark netperf-tcp-rr --output json
"))]
pub struct ReportArgs {
    /// The results file.
    #[arg(value_name = "RESULTS_FILE")]
    pub results: PathBuf,
    /// The tool that made the outputs, by name or plugin file, for files that do not say what was measured; without a
    /// need for it, it must be the tool of the file.
    #[arg(long, value_name = "TOOL")]
    pub benchmark: Option<String>,
    /// What is good enough.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Result flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// No results file, a tool that is needed and not named, a plugin that cannot be used.
pub fn run(args: &ReportArgs, live: &Live) -> Result<Exit, Failed> {
    let mut plugins = plugins()?;
    let limits = Limits::new(&args.limits.thresholds, args.limits.tolerances.clone())
        .or_exit(Exit::Usage)?;
    let file = ResultsFile::read(&args.results).or_exit(Exit::Usage)?;
    if file.results.is_empty() {
        return Err(anyhow!(
            "{}: there are no tasks in it",
            args.results.display()
        ))
        .or_exit(Exit::Usage);
    }
    let plugin = args
        .benchmark
        .as_deref()
        .map(|name| load_tool(&mut plugins, name))
        .transpose()?;
    let mut measured = file.run();
    match &plugin {
        Some(plugin) => {
            let name = result_name(plugin);
            if !measured.benchmark.is_empty() && measured.benchmark != name {
                return Err(anyhow!(
                    "--benchmark {name}: {} is of {}",
                    args.results.display(),
                    measured.benchmark
                ))
                .or_exit(Exit::Usage);
            }
            measured.benchmark = name;
            let config = plugin.resolve_config(None).or_exit(Exit::Failure)?;
            let tool = PluginTool(plugin.open_tool(&config).or_exit(Exit::Plugin)?);
            if measured.main_metric.is_empty() {
                let plan = tool
                    .plan("127.0.0.1")
                    .map_err(|error| {
                        anyhow!("--benchmark {}: {}", measured.benchmark, error.message)
                    })
                    .or_exit(Exit::Plugin)?;
                measured.main_metric = plan.main_metric;
            }
            if file.is_foreign() {
                read_outputs(&mut measured, &file, &tool);
            }
        }
        None if file.is_foreign() => {
            return Err(anyhow!(
                "{}: it does not say what its outputs mean; name their tool with --benchmark",
                args.results.display()
            ))
            .or_exit(Exit::Usage);
        }
        None => {}
    }
    let outputs = Outputs::prepare(&args.output, &mut plugins)?;
    let start = began(&measured).unwrap_or_else(SystemTime::now);
    let run_id = run::run_id(start, run::drawn_seed());
    let delivery = outputs.begin(&run_id)?;
    let mut facts = network::facts(run_id, plugin.as_deref(), "a results file", Vec::new());
    facts.start = start;
    let conclusion = network::conclude(&facts, &measured, &limits);
    Ok(match delivery.finish(conclusion, live) {
        // That run was stopped; this command was not.
        Exit::Interrupted => Exit::Failure,
        exit => exit,
    })
}

/// When the first task began.
fn began(measured: &NetworkRun) -> Option<SystemTime> {
    let first = measured
        .tasks
        .iter()
        .filter_map(|task| task.started_unix_ms)
        .min()?;
    UNIX_EPOCH.checked_add(Duration::from_millis(first))
}

/// What tools of other writers' files have to say. Their numbers of states are not documented, so the outputs decide.
fn read_outputs(measured: &mut NetworkRun, file: &ResultsFile, tool: &PluginTool) {
    for (task, result) in measured.tasks.iter_mut().zip(&file.results) {
        match tool.parse(result.tool_output()) {
            Ok(readings) => {
                task.readings = readings;
                task.state = TaskState::Done;
            }
            Err(error) => {
                task.state = if error.class == "timed_out" {
                    TaskState::TimedOut
                } else {
                    TaskState::Failed
                };
                task.error = Some(error);
            }
        }
    }
}
