//! A cluster for commands that work on it and drive no load.

use anyhow::{Context as _, anyhow};
use kperf_cluster::api::{ApiFailure, Cluster, Code};
use kperf_load::Stop;
use tokio::runtime::Runtime;

use crate::{
    cli::TargetArgs,
    exit::{Exit, Failed, OrExit as _},
    signals,
    target::{self, Resolved},
};

/// A cluster, with what it takes to talk to it.
pub struct Opened {
    /// The cluster; its calls want [`Opened::runtime`].
    pub cluster: Cluster,
    /// Raised by Ctrl-C.
    pub stop: Stop,
    /// Where calls run.
    pub runtime: Runtime,
    /// Keeps the simulator, if that is the target.
    pub resolved: Resolved,
}

/// Resolves the target and listens for Ctrl-C. Connects to nothing yet.
///
/// # Errors
/// Flags that make no sense, or a target that cannot be used.
pub fn open(args: &TargetArgs) -> Result<Opened, Failed> {
    let choice = args.choice().or_exit(Exit::Usage)?;
    let resolved = target::resolve(&choice).or_exit(Exit::Target)?;
    for warning in &resolved.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime of the kube client")
        .or_exit(Exit::Failure)?;
    let cluster = {
        let _within = runtime.enter();
        Cluster::new(resolved.config.clone())
            .map_err(|error| anyhow!("{}: {error}", resolved.description))
            .or_exit(Exit::Target)?
    };
    let stop = Stop::new();
    signals::install(&stop);
    Ok(Opened {
        cluster,
        stop,
        runtime,
        resolved,
    })
}

/// The exit code of a call that failed for good.
#[must_use]
pub fn exit_of(failure: &ApiFailure) -> Exit {
    match failure.code {
        Code::Unreachable | Code::Unauthorized => Exit::Target,
        Code::Interrupted => Exit::Interrupted,
        _ => Exit::Failure,
    }
}
