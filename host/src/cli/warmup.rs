//! `kperf-host warmup`: makes a control plane that grows with its load grow, before something is measured on it.

use std::{io::Write as _, time::Duration};

use anyhow::Context as _;
use clap::Args;
use kperf_cluster::nodepool::{KWOK_IMAGE, PoolSpec};

use crate::{
    cli::{EngineArgs, TargetArgs, run::load_config, runners::RunnersArgs, table::ListFormat, vc},
    exit::{Exit, Failed, OrExit as _},
    live::Live,
    runner_group::Placement,
    warmup::{self, JobSpec, Warmed, Warmup},
};

/// Connections and clients of one of kperf's runners.
const CONNS: u32 = 10;
const CLIENTS: u32 = 100;

/// Arguments of `warmup`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Makes a pool `warmup` of virtual nodes, runs a Job of many pods on it again and again, and lists pods and
events meanwhile; then removes all of it. Nothing is done if an API server has enough cores already.

Examples:
  kperf-host warmup --kubeconfig ~/.kube/config
  kperf-host warmup --kubeconfig ~/.kube/config --runner-image IMAGE --rg-affinity pool=load
  kperf-host warmup --sim --nodes 5 --pods 100 --total 50
"
)]
pub struct WarmupArgs {
    /// Requests a second of each runner, 0 = closed loop.
    #[arg(long, value_name = "PER_SECOND", default_value_t = 20.0, allow_negative_numbers = true, value_parser = super::rate)]
    pub rate: f64,
    /// Requests of each runner.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub total: u64,
    /// Runners, each with 10 connections and 100 clients.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runners: u32,
    /// Virtual nodes.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub nodes: u32,
    /// Pods of each Job.
    #[arg(long, value_name = "N", default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..))]
    pub pods: u32,
    /// Pods of a Job at once.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub parallelism: u32,
    /// Cores that an API server needs to be ready.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub core_warmup_ready_threshold: u32,
    /// Where the controllers of the virtual nodes may run; repeatable.
    #[arg(long, value_name = "KEY=V[,V]", value_parser = vc::key_values)]
    pub vc_affinity: Vec<(String, Vec<String>)>,
    /// Image of the controllers.
    #[arg(long, value_name = "IMAGE", default_value = KWOK_IMAGE)]
    pub kwok_image: String,
    /// On EKS: make its DaemonSets leave virtual nodes alone, and give those the identity of a real one.
    #[arg(long, hide = true)]
    pub eks: bool,
    /// Longest time until the virtual nodes are ready, and until they are gone.
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = super::seconds_or_duration)]
    pub timeout: Duration,
    /// How to print what it came to.
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub output: ListFormat,
    /// Flags about runners.
    #[command(flatten)]
    pub runners_at: RunnersArgs,
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
/// Bad flags, or a target, a pool or a load that cannot be used.
pub fn run(args: &WarmupArgs, live: &mut Live) -> Result<Exit, Failed> {
    let pool = PoolSpec {
        nodes: args.nodes,
        cpu: 32,
        memory_gib: 96,
        affinity: vc::affinity(&args.vc_affinity),
        kwok_image: args.kwok_image.clone(),
        ..PoolSpec::new("warmup")
    };
    pool.validate().or_exit(Exit::Usage)?;
    let placement = args.runners_at.placement(&args.target)?;
    let plan = Warmup {
        pool,
        job: JobSpec {
            pods: args.pods,
            parallelism: args.parallelism,
            ..JobSpec::default()
        },
        rate: args.rate,
        total: args.total,
        conns: CONNS,
        clients: CLIENTS,
        runners: args.runners,
        threshold: args.core_warmup_ready_threshold,
        eks: args.eks,
        timeout: args.timeout,
    };
    let config = load_config(&args.engine, None)?;
    let target = match &placement {
        Some(Placement::Locally(local)) => local.choice().clone(),
        _ => args.target.choice().or_exit(Exit::Usage)?,
    };
    let (warmed, exit) = warmup::run(&plan, &target, config, placement.as_ref(), live)?;
    let text = match args.output {
        ListFormat::Table => text(&warmed),
        ListFormat::Json => format!("{:#}\n", warmed.to_json()),
        ListFormat::Yaml => serde_yaml::to_string(&warmed.to_json()).or_exit(Exit::Failure)?,
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")
        .or_exit(Exit::Failure)?;
    Ok(exit)
}

fn text(warmed: &Warmed) -> String {
    let mut text = String::new();
    for (when, cores) in [("before", &warmed.before), ("after", &warmed.after)] {
        if warmed.skipped && when == "after" {
            continue;
        }
        let each: Vec<String> = cores
            .iter()
            .map(|(instance, cores)| match cores {
                Some(cores) => format!("{instance} {cores}"),
                None => format!("{instance} unknown"),
            })
            .collect();
        text.push_str(&format!("cores {when}: {}\n", each.join(", ")));
    }
    if !warmed.skipped {
        text.push_str(&format!(
            "{} nodes, {} Jobs with {} pods, {} requests in {:.0} s\n",
            warmed.nodes, warmed.jobs, warmed.pods, warmed.requests, warmed.seconds
        ));
    }
    let threshold = warmed.threshold;
    text.push_str(&match (warmed.ready, warmed.skipped) {
        (true, true) => format!("ready: there are {threshold} cores already; nothing was done\n"),
        (true, false) => format!("ready: there are {threshold} cores now\n"),
        (false, _) => format!("not ready: {threshold} cores were not reached, and will never be where the size of the server is fixed\n"),
    });
    text
}
