//! What can keep a network benchmark from running.

use std::{io, path::PathBuf};

/// Why there is no run. What goes wrong with one task is in its record instead.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Options that contradict one another or cannot be.
    #[error("{0}")]
    Options(String),
    /// Certificates that cannot be made or read.
    #[error("certificates in {path}: {reason}")]
    Certificates {
        /// The file or its directory.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The orchestrator cannot listen.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Address and port.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The journal or the results cannot be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Not enough workers came.
    #[error(
        "{registered} of {expected} workers registered within {limit} of {seconds} s; a network benchmark needs at \
         least 2 (see the logs of the workers)"
    )]
    TooFewWorkers {
        /// How many came.
        registered: usize,
        /// How many were to come.
        expected: usize,
        /// Which limit ended the wait, such as `the timeout`.
        limit: &'static str,
        /// How long that is, seconds.
        seconds: u64,
    },
    /// No pair of the workers, or no path between them, is chosen.
    #[error("{0}")]
    NothingToMeasure(String),
    /// It was stopped before it began.
    #[error("stopped before there were enough workers")]
    Stopped,
    /// A worker that does not join again lost its orchestrator before the run was over.
    #[error("lost the orchestrator at {address}: {reason}")]
    LostOrchestrator {
        /// Host and port.
        address: String,
        /// The failure.
        reason: String,
    },
    /// A worker found no orchestrator, or lost it and found it no more.
    #[error("no orchestrator at {address} within {seconds} s: {reason}")]
    NoOrchestrator {
        /// Host and port.
        address: String,
        /// How long was tried, seconds.
        seconds: u64,
        /// The last failure.
        reason: String,
    },
    /// The orchestrator does not take the worker: trying again would not help.
    #[error("the orchestrator at {address} does not take this worker: {reason}")]
    Refused {
        /// Host and port.
        address: String,
        /// Its reason.
        reason: String,
    },
    /// A worker's total time is over.
    #[error("the worker was not told to end within its deadline of {seconds} s")]
    Deadline {
        /// The deadline, seconds.
        seconds: u64,
    },
    /// A worker process ended before the first task.
    #[error("worker {name} ended before the first task ({how}); see what it wrote")]
    WorkerEnded {
        /// The worker.
        name: String,
        /// Its exit status.
        how: String,
    },
    /// A worker process cannot be started.
    #[error("cannot start worker {name}: {source}")]
    Start {
        /// The worker.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl NetworkError {
    pub(crate) fn file(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self::File {
            path: path.into(),
            reason: reason.to_string(),
        }
    }
}
