//! `kperf-host cleanup`: deletes what a run left behind, because it was killed, kept it, or could not delete it.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use kperf_cluster::{RunId, api::Cluster, cleanup};

use crate::{
    benchmark::say_clean,
    cli::TargetArgs,
    exit::{Exit, Failed, OrExit as _},
    live::Live,
    target,
};

/// Arguments of `cleanup`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  kperf-host cleanup --list
  kperf-host cleanup --run r6926ab12-3f00aa
")]
pub struct CleanupArgs {
    /// The run, by the id in its report and in the label `kperf-host.io/run` of its objects.
    #[arg(long, value_name = "ID", required_unless_present = "list")]
    pub run: Option<String>,
    /// Show the runs that left namespaces behind, and delete nothing.
    #[arg(long, conflicts_with = "run")]
    pub list: bool,
    /// Longest time for deleting.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = super::seconds_or_duration)]
    pub timeout: Duration,
    /// Target flags.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Runs the command.
///
/// # Errors
/// A target that cannot be used, or an id that is none.
pub fn run(args: &CleanupArgs, live: &Live) -> Result<Exit, Failed> {
    let id = args
        .run
        .as_deref()
        .map(str::parse::<RunId>)
        .transpose()
        .or_exit(Exit::Usage)?;
    let choice = args.target.choice().or_exit(Exit::Usage)?;
    let resolved = target::resolve(&choice).or_exit(Exit::Target)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime of the kube client")
        .or_exit(Exit::Failure)?;
    let _within = runtime.enter();
    let cluster = Cluster::new(resolved.config.clone())
        .map_err(|error| anyhow!("{}: {error}", resolved.description))
        .or_exit(Exit::Target)?;
    let Some(id) = id else {
        return runtime.block_on(list(&cluster));
    };
    let report = runtime.block_on(cleanup::clean(&cluster, &id, None, args.timeout, |_| {}));
    say_clean(&report, &id, live);
    if report.deleted.is_empty() && report.is_complete() {
        live.say(&format!("run {id}: nothing of it is there"));
    }
    Ok(if report.is_complete() {
        Exit::Success
    } else {
        Exit::LeftBehind
    })
}

async fn list(cluster: &Cluster) -> Result<Exit, Failed> {
    use std::io::Write as _;
    let runs = cleanup::runs(cluster)
        .await
        .map_err(|error| anyhow!("cannot list namespaces: {error}"))
        .or_exit(Exit::Target)?;
    let mut out = std::io::stdout().lock();
    for found in runs {
        let age = found.age.map_or_else(
            || "?".to_owned(),
            |age| format!("{} min", age.as_secs() / 60),
        );
        writeln!(out, "{}\t{age}\t{}", found.run, found.namespaces.join(","))
            .context("cannot write to standard output")
            .or_exit(Exit::Failure)?;
    }
    Ok(Exit::Success)
}
