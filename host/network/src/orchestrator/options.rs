//! What a run is to be, and what happens in it.

use std::{future::Future, net::SocketAddr, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use super::turn::on_its_own;
use crate::{
    error::NetworkError,
    pairs::Selection,
    task::{TaskKey, TaskRecord},
    tls::RunCertificates,
    tool::{Command, Tool},
};

/// The host of the plans that tell runs apart; it is for documentation, and nobody is asked to reach it.
const ANY_HOST: &str = "192.0.2.1";
/// What a run is to be.
#[derive(Clone)]
pub struct OrchestratorOptions {
    /// Address to listen on; port 0 means any.
    pub listen: SocketAddr,
    /// Certificates of the run; none means no TLS at all.
    pub certificates: Option<RunCertificates>,
    /// Name of the benchmark.
    pub benchmark: String,
    /// The reading to show in tables; kept in the results.
    pub main_metric: String,
    /// Which pairs are measured, and over which paths.
    pub selection: Selection,
    /// How many workers are to come.
    pub workers: usize,
    /// How often every pair is measured.
    pub samples: u32,
    /// How long workers may take to register. When it is over those that came are enough, if they are two.
    pub timeout: Duration,
    /// How long a lost worker may take to come back, after all tasks that can do without it.
    pub replacement: Duration,
    /// Least time limit of one client; the tool may ask for more.
    pub task_limit: Duration,
    /// How long a server may take until it can be used.
    pub server_limit: Duration,
    /// Total time, from the first wait for workers; that an orchestrator was killed and started again adds nothing.
    pub deadline: Duration,
    /// Where journal and results are kept.
    pub directory: PathBuf,
    /// Told what happens.
    pub progress: Arc<dyn Fn(Progress<'_>) + Send + Sync>,
    /// Makes a future that is ready when a run that was stopped is not even to wait for the ends of what it began.
    pub abort: Abort,
}

/// See [`OrchestratorOptions::abort`].
pub type Abort = Arc<dyn Fn() -> Waiting + Send + Sync>;
pub(super) type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An [`Abort`] that never comes.
#[must_use]
pub fn never() -> Abort {
    Arc::new(|| Box::pin(std::future::pending()))
}

/// What happens in a run.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// Workers are awaited.
    Registered {
        /// Who came.
        workers: usize,
        /// How many are to come.
        expected: usize,
    },
    /// A task begins.
    Begins {
        /// The task.
        task: &'a TaskKey,
        /// How many ended before it.
        done: usize,
        /// How many there are.
        total: usize,
    },
    /// A task has ended.
    Ended {
        /// What became of it.
        task: &'a TaskRecord,
        /// How many have ended.
        done: usize,
        /// How many there are.
        total: usize,
    },
    /// A worker is gone.
    Lost {
        /// Its name.
        worker: &'a str,
    },
}

/// A tool with one set of parameters.
#[derive(Clone)]
pub struct Variant {
    /// Unique in the run, see [`crate::variant_name`]; may be empty when there is only one.
    pub name: String,
    /// The tool.
    pub tool: Arc<dyn Tool>,
}

pub(super) fn check(
    options: &OrchestratorOptions,
    variants: &[Variant],
) -> Result<(), NetworkError> {
    let wrong = |message: String| Err(NetworkError::Options(message));
    if options.workers < 2 {
        return wrong(format!(
            "{} workers; a network benchmark needs at least 2",
            options.workers
        ));
    }
    if options.samples == 0 || variants.is_empty() {
        return wrong("no samples or no variants, so there is nothing to measure".to_owned());
    }
    let mut names: Vec<_> = variants.iter().map(|variant| &variant.name).collect();
    names.sort();
    match names.windows(2).find(|pair| pair.first() == pair.last()) {
        Some(pair) => wrong(format!("two variants have the name {pair:?}")),
        None => Ok(()),
    }
}

/// What every variant runs against one and the same host: other parameters, or another version of a tool, make another
/// run.
pub(super) async fn plans(variants: &[Variant]) -> Vec<String> {
    let mut plans = Vec::with_capacity(variants.len());
    for variant in variants {
        let plan = on_its_own(&variant.tool, |tool| tool.plan(ANY_HOST)).await;
        plans.push(match plan {
            Ok(plan) => format!("{}; {}", line(&plan.server), line(&plan.client)),
            // Every task will say so.
            Err(error) => error.message,
        });
    }
    plans
}

fn line(command: &Command) -> String {
    let variables = command
        .environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let words: Vec<_> = variables
        .chain([command.program.clone()])
        .chain(command.arguments.iter().cloned())
        .collect();
    words.join(" ")
}
