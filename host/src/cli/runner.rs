//! `kperf-host runner run`: kperf's command with kperf's flags and kperf's output.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kperf_runners::Place;
use serde_json::json;

use crate::{
    cli::{
        EngineArgs, LoadArgs, TargetArgs,
        run::{self, limits},
    },
    exit::{Exit, Failed, OrExit as _},
    export::Output,
    live::Live,
    plugins::Plugins,
    runner_group::pod,
    sink::Destination,
};

/// kperf's runner commands.
#[derive(Debug, Subcommand)]
pub enum RunnerCommand {
    /// Run a load profile and print kperf's result.
    Run(Box<RunnerRunArgs>),
    /// Be one runner of a group: what its pods and processes run.
    #[command(hide = true)]
    Pod(Box<RunnerPodArgs>),
}

/// Arguments of `runner pod`.
#[derive(Debug, Args)]
pub struct RunnerPodArgs {
    /// Folder with what the runner is given.
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// Folder of its own, made if need be.
    #[arg(long, value_name = "DIR")]
    pub work: PathBuf,
    /// Where it leaves word: kube:NAMESPACE/GROUP or dir:PATH.
    #[arg(long, value_name = "PLACE")]
    pub store: Place,
    /// Its number, from 0.
    #[arg(long, value_name = "N", env = "JOB_COMPLETION_INDEX")]
    pub index: u32,
    /// Its name, also its user agent.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub name: String,
    /// Where it runs.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub node: String,
    /// The process that it is for: when that is gone, the runner ends, and removes the folder of its store.
    #[arg(long, value_name = "PID", hide = true)]
    pub parent: Option<u32>,
    /// Target flags.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Engine flags.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// Arguments of `runner run`.
#[derive(Debug, Args)]
pub struct RunnerRunArgs {
    /// Load profile, YAML.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Ignore unknown keys of the profile, as kperf does, with a warning.
    #[arg(long)]
    pub lenient: bool,
    /// File for the result; its folder is made [default: stdout].
    #[arg(long, value_name = "FILE")]
    pub result: Option<PathBuf>,
    /// Add every latency and every error to the result.
    #[arg(long)]
    pub raw_data: bool,
    /// Print one flat report, as kperf did before 0.3.5.
    #[arg(long)]
    pub flat: bool,
    /// Print errorStats as the object it was until December 2024.
    #[arg(long)]
    pub classic_error_stats: bool,
    /// Load flags.
    #[command(flatten)]
    pub load: LoadArgs,
    /// Target flags.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Engine flags.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// Runs the command.
///
/// # Errors
/// Bad input, a plugin or a target that cannot be used.
pub fn run(command: RunnerCommand, live: Live) -> Result<Exit, Failed> {
    let mut args = match command {
        RunnerCommand::Run(args) => args,
        RunnerCommand::Pod(args) => return pod(*args, live),
    };
    args.target.empty_kubeconfig_is_in_cluster();
    let mut plugins = Plugins::new(limits(256)).or_exit(Exit::Failure)?;
    let profile = run::read_profile(&args.config, args.lenient, &live)?;
    let plugin = plugins.load("kperf_json").or_exit(Exit::Plugin)?;
    let config = plugin
        .resolve_config(Some(json!({
            "format": if args.flat { "flat" } else { "envelope" },
            "errorStats": if args.classic_error_stats { "classic" } else { "map" },
        })))
        .or_exit(Exit::Failure)?;
    let (mut job, specs) = run::job(
        &profile,
        &args.load,
        &args.engine,
        args.target.choice().or_exit(Exit::Usage)?,
        &mut plugins,
        &live,
    )?;
    job.load.raw = args.raw_data;
    job.summary_on_stderr = true;
    job.outputs = vec![Output {
        name: "kperf-json".to_owned(),
        plugin,
        config,
        destination: args
            .result
            .clone()
            .map_or(Destination::Stdout, Destination::File),
    }];
    crate::run::run(job, &specs, live)
}

fn pod(args: RunnerPodArgs, live: Live) -> Result<Exit, Failed> {
    let runner = pod::Runner {
        from: args.from,
        work: args.work,
        store: args.store,
        index: args.index,
        name: args.name,
        node: args.node,
        parent: args.parent,
        target: args.target.choice().or_exit(Exit::Usage)?,
        engine: args.engine,
    };
    pod::run(runner, live)
}
