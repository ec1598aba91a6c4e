//! Orchestrator and workers in one process, and workers as processes.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "for tests, each of which uses its part"
)]

use std::{
    future::{Future, pending},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use kperf_network::{
    AllowList, NetworkError, NetworkRun, RunCertificates, TaskRecord, local,
    orchestrator::{Orchestrator, OrchestratorOptions},
    worker::{self, WorkerOptions},
};
use tokio::{task::JoinHandle, time::timeout};

use super::support::Scripts;

/// Generous: it only says that nothing hangs.
pub const NOT_HANGING: Duration = Duration::from_secs(240);

pub const NODE: &str = env!("CARGO_BIN_EXE_kperf-network-node");

pub fn certificates(directory: &Path) -> RunCertificates {
    RunCertificates::create(&directory.join("tls")).unwrap()
}

pub fn worker_options(certificates: &RunCertificates, port: u16, number: usize) -> WorkerOptions {
    WorkerOptions {
        host: "127.0.0.1".to_owned(),
        port,
        certificates: Some(certificates.clone()),
        info: local::info(number),
        allow: AllowList {
            further: vec!["sh".to_owned()],
        },
        timeout: Duration::from_secs(120),
        deadline: Duration::from_secs(600),
        rejoin: true,
    }
}

/// A run with this many workers in this process, and what became of them.
pub async fn run(
    mut options: OrchestratorOptions,
    scripts: Scripts,
    change: impl Fn(&mut WorkerOptions),
    stop: impl Future<Output = ()> + Send + 'static,
) -> (
    Result<NetworkRun, NetworkError>,
    Vec<Result<(), NetworkError>>,
) {
    let certificates = certificates(&options.directory);
    options.certificates = Some(certificates.clone());
    let count = options.workers;
    let orchestrator = Orchestrator::bind(options).await.unwrap();
    let workers: Vec<JoinHandle<_>> = (1..=count)
        .map(|number| {
            let mut options = worker_options(&certificates, orchestrator.address().port(), number);
            change(&mut options);
            tokio::spawn(worker::run(options, pending()))
        })
        .collect();
    let result = timeout(NOT_HANGING, orchestrator.run(scripts.variants(), stop))
        .await
        .expect("the run hangs");
    let mut ends = Vec::new();
    if result.is_ok() {
        for worker in workers {
            ends.push(timeout(NOT_HANGING, worker).await.unwrap().unwrap());
        }
    } else {
        workers.iter().for_each(JoinHandle::abort);
    }
    (result, ends)
}

/// A process that is killed at the end of the test.
pub struct Process(pub Child);

impl Process {
    pub fn start(arguments: &[&str]) -> Self {
        Self(
            Command::new(NODE)
                .args(arguments)
                .stdin(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    pub fn worker(certificates: &RunCertificates, port: u16, number: usize, rejoin: &str) -> Self {
        let directory = certificates.directory().to_str().unwrap();
        Self::start(&[
            "worker",
            "127.0.0.1",
            &port.to_string(),
            &number.to_string(),
            directory,
            rejoin,
            "sh",
        ])
    }

    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn states(run: &NetworkRun) -> Vec<String> {
    let mut states: Vec<_> = run.tasks.iter().map(|t| t.state.to_string()).collect();
    states.sort();
    states
}

pub fn class(task: &TaskRecord) -> &str {
    task.error.as_ref().map_or("", |error| &error.class)
}

/// Whether any process has this text in its command line.
pub fn runs_with(text: &str) -> bool {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(text))
}

/// Waits until something is so.
pub async fn until(what: impl Fn() -> bool) {
    timeout(NOT_HANGING, async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("it never came about");
}
