//! Orchestrator and workers on one machine, without a cluster: this process is the orchestrator, the workers are
//! processes of their own.
//!
//! Every worker has its own loopback address. The ports of tools are fixed and their servers listen on all addresses,
//! so a server is started for each task and ended after it; the orchestrator does so whenever workers share a network
//! namespace.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    pin::pin,
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    process::Child,
    time::{sleep, timeout},
};
use tracing::warn;

use crate::{
    error::NetworkError,
    orchestrator::{Orchestrator, OrchestratorOptions, Progress, Variant},
    pairs::Selection,
    run::NetworkRun,
    schedule::{Address, WorkerInfo},
    tls::RunCertificates,
    worker::network_namespace,
};

/// The path that is measured when none is chosen: IPv4, each worker with an address of its own.
pub const LOOPBACK: &str = "loopback";
/// The other path there is: IPv6, where this machine has one address for all.
pub const LOOPBACK6: &str = "loopback6";
/// How long workers may take to end after the run.
const FAREWELL: Duration = Duration::from_secs(5);
/// Between two looks at the worker processes.
const POLL: Duration = Duration::from_millis(100);
/// More would only share the same two busy workers.
const MOST_WORKERS: usize = 100;

/// What the command of a worker process has to be told.
#[derive(Clone, Debug)]
pub struct WorkerLaunch {
    /// Who it is to be.
    pub info: WorkerInfo,
    /// Where the orchestrator listens.
    pub orchestrator: SocketAddr,
    /// Certificates of the run.
    pub certificates: RunCertificates,
}

/// Starts `options.workers` workers by the commands that `worker_command` makes, and runs all tasks between them. Of
/// the options `listen` and `certificates` are set here.
///
/// The worker processes must not join again when they lose the orchestrator ([`crate::worker::WorkerOptions::rejoin`]).
///
/// # Errors
/// See [`Orchestrator::run`]; or a worker cannot be started.
pub async fn run(
    mut options: OrchestratorOptions,
    variants: Vec<Variant>,
    worker_command: impl Fn(&WorkerLaunch) -> std::process::Command,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<NetworkRun, NetworkError> {
    let infos = workers(options.workers, &options.selection)?;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    // Not in the directory of the run, which may be another run's as long as its journal is not open. They go with
    // everything that ends this function.
    let folder = tempfile::tempdir().map_err(|error| NetworkError::Certificates {
        path: std::env::temp_dir(),
        reason: error.to_string(),
    })?;
    let certificates = RunCertificates::create(folder.path())?;
    options.listen = listen;
    options.certificates = Some(certificates.clone());
    let began = Arc::new(AtomicBool::new(false));
    options.progress = noting_the_first_task(options.progress, Arc::clone(&began));
    // Nobody starts a worker again.
    options.replacement = Duration::ZERO;
    let mut aborted = (options.abort)();
    let orchestrator = Orchestrator::bind(options).await?;
    let address = orchestrator.address();
    let opened = orchestrator.open(variants).await?;
    // It has results, which are not to be lost with a worker.
    began.fetch_or(opened.is_resumed(), Ordering::AcqRel);
    let mut started = Vec::new();
    if !opened.is_complete() {
        for info in infos {
            let launch = WorkerLaunch {
                info,
                orchestrator: address,
                certificates: certificates.clone(),
            };
            started.push(start(worker_command(&launch), &launch.info.name)?);
        }
    }
    let mut running = pin!(opened.run(stop));
    let result = tokio::select! {
        result = &mut running => result,
        // Later it is a lost worker, which the run copes with. One that ends in order was told to: the run is about to
        // say why.
        (name, status) = first_end(&mut started) => if began.load(Ordering::Acquire) || status.success() {
            running.await
        } else {
            Err(NetworkError::WorkerEnded { name, how: status.to_string() })
        },
    };
    // Nobody can use them any more. That they cannot be removed is no reason to withhold the results.
    if let Err(error) = folder.close() {
        warn!("certificates: {error}");
    }
    // Dropped with an error, the workers are killed.
    let run = result?;
    let mut is_aborted = false;
    for (name, mut child) in started {
        let ended = tokio::select! {
            ended = timeout(FAREWELL, child.wait()) => ended.ok(),
            () = &mut aborted, if !is_aborted => {
                is_aborted = true;
                None
            }
            () = std::future::ready(()), if is_aborted => None,
        };
        match ended {
            Some(Ok(status)) if status.success() => {}
            Some(Ok(status)) => warn!(worker = name, "{status}"),
            Some(Err(error)) => warn!(worker = name, "{error}"),
            None => {
                warn!(worker = name, "does not end, so it is killed");
                // It is a child of ours that has not been waited for, so it is the right one.
                let _ = child.kill().await;
            }
        }
    }
    Ok(run)
}

type ToldProgress = Arc<dyn Fn(Progress<'_>) + Send + Sync>;

fn noting_the_first_task(inner: ToldProgress, began: Arc<AtomicBool>) -> ToldProgress {
    Arc::new(move |progress| {
        if matches!(progress, Progress::Begins { .. }) {
            began.store(true, Ordering::Release);
        }
        inner(progress);
    })
}

/// The first worker process to end.
async fn first_end(workers: &mut [(String, Child)]) -> (String, ExitStatus) {
    loop {
        for (name, child) in workers.iter_mut() {
            if let Ok(Some(status)) = child.try_wait() {
                return (name.clone(), status);
            }
        }
        sleep(POLL).await;
    }
}

/// The workers of a run on this machine, with the paths that are chosen.
///
/// # Errors
/// Too many workers, a path that this machine does not have, or a choice that leaves nothing to measure.
pub fn workers(count: usize, selection: &Selection) -> Result<Vec<WorkerInfo>, NetworkError> {
    if count > MOST_WORKERS {
        return Err(NetworkError::Options(format!(
            "{count} workers; on one machine there are at most {MOST_WORKERS}"
        )));
    }
    let known = [LOOPBACK, LOOPBACK6];
    if let Some(path) = selection
        .paths
        .iter()
        .find(|path| !known.contains(&&***path))
    {
        return Err(NetworkError::NothingToMeasure(format!(
            "no worker has the path `{path}`: on this machine there are {}",
            known.join(" and ")
        )));
    }
    let by_six = selection.paths.iter().any(|path| path == LOOPBACK6);
    if by_six && let Err(error) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        return Err(NetworkError::NothingToMeasure(format!(
            "the path `{LOOPBACK6}` is not there: this machine has no ::1 ({error})"
        )));
    }
    let paths = |number| {
        known
            .into_iter()
            .filter(|path| {
                selection.paths.iter().any(|chosen| chosen == path)
                    || selection.paths.is_empty() && *path == LOOPBACK
            })
            .map(|path| address(number, path))
            .collect()
    };
    let workers: Vec<_> = (1..=count)
        .map(|number| WorkerInfo {
            addresses: paths(number),
            ..info(number)
        })
        .collect();
    match selection.problem(&workers) {
        Some(problem) => Err(NetworkError::NothingToMeasure(problem)),
        None => Ok(workers),
    }
}

/// The worker with a number, from 1: `127.0.0.2` is the first, as servers of other programs are at `127.0.0.1`.
#[must_use]
pub fn info(number: usize) -> WorkerInfo {
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    WorkerInfo {
        name: format!("worker-{number}"),
        addresses: vec![address(number, LOOPBACK)],
        hostname: hostname.trim().to_owned(),
        zone: String::new(),
        network_namespace: network_namespace(),
    }
}

fn address(number: usize, path: &str) -> Address {
    let last = u8::try_from(number).unwrap_or(u8::MAX).saturating_add(1);
    let host: IpAddr = if path == LOOPBACK6 {
        Ipv6Addr::LOCALHOST.into()
    } else {
        Ipv4Addr::new(127, 0, 0, last).into()
    };
    Address {
        path: path.to_owned(),
        host: host.to_string(),
    }
}

fn start(mut command: std::process::Command, name: &str) -> Result<(String, Child), NetworkError> {
    command.stdin(Stdio::null());
    // Ctrl-C in a terminal is for the orchestrator, which then ends its workers in order.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| NetworkError::Start {
            name: name.to_owned(),
            source,
        })?;
    Ok((name.to_owned(), child))
}
