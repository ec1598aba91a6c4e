//! `kperf-host net worker`: takes commands from an orchestrator; what it may run stands in the allow list.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, anyhow};
use clap::Args;
use kperf_load::Stop;
use kperf_network::{
    Address, AllowList, RunCertificates, WorkerInfo,
    worker::{self, WorkerOptions},
};

use crate::{
    exit::{Exit, Failed, OrExit as _},
    signals,
};

/// Arguments of `net worker`.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Host and port of the orchestrator.
    #[arg(long, value_name = "HOST:PORT")]
    pub orchestrator: String,
    /// Name of this worker, unique in the run: that of its pod.
    #[arg(long, value_name = "NAME", env = "KPERF_WORKER_NAME")]
    pub name: String,
    /// A way to this worker's servers: `pod=10.0.0.7`, `service=NAME`. The first is its own address. Repeatable.
    #[arg(long = "address", value_name = "PATH=HOST", required = true)]
    pub addresses: Vec<String>,
    /// Name of its node.
    #[arg(long, value_name = "NAME", default_value = "", env = "KPERF_NODE_NAME")]
    pub node: String,
    /// Zone of its node.
    #[arg(long, value_name = "NAME", default_value = "", env = "KPERF_ZONE")]
    pub zone: String,
    /// Directory with the run's certificates.
    #[arg(long, value_name = "DIR")]
    pub tls: PathBuf,
    /// A further program that may be run, by its bare name, for tools of third parties. Repeatable.
    #[arg(long = "allow", value_name = "PROGRAM")]
    pub allow: Vec<String>,
    /// How long to look for the orchestrator.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::cli::seconds_or_duration)]
    pub timeout: Duration,
    /// End after this long, whatever the orchestrator says.
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = crate::cli::seconds_or_duration)]
    pub deadline: Duration,
    /// End when the orchestrator is lost, instead of looking for it again.
    #[arg(long)]
    pub no_rejoin: bool,
}

/// Runs the command.
///
/// # Errors
/// No orchestrator, or one that does not take this worker.
pub fn run(args: WorkerArgs) -> Result<Exit, Failed> {
    let (host, port) = args
        .orchestrator
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)))
        .with_context(|| format!("--orchestrator {}: not HOST:PORT", args.orchestrator))
        .or_exit(Exit::Usage)?;
    let addresses = args
        .addresses
        .iter()
        .map(|text| {
            let (path, host) = text
                .split_once('=')
                .with_context(|| format!("--address {text}: not PATH=HOST"))?;
            Ok(Address {
                path: path.to_owned(),
                host: host.to_owned(),
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()
        .or_exit(Exit::Usage)?;
    let allow = AllowList::with(args.allow)
        .map_err(|error| anyhow!("--allow: {}", error.message))
        .or_exit(Exit::Usage)?;
    let stop = Stop::new();
    signals::install(&stop);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime of the worker")
        .or_exit(Exit::Failure)?;
    let options = WorkerOptions {
        host,
        port,
        certificates: Some(RunCertificates::in_directory(&args.tls)),
        info: WorkerInfo {
            name: args.name,
            addresses,
            hostname: args.node,
            zone: args.zone,
            network_namespace: worker::network_namespace(),
        },
        allow,
        timeout: args.timeout,
        deadline: args.deadline,
        rejoin: !args.no_rejoin,
    };
    runtime
        .block_on(worker::run(options, async move { stop.stopped().await }))
        .or_exit(Exit::Failure)?;
    Ok(Exit::Success)
}
