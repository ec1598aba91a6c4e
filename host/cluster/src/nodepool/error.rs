//! Why a pool could not be made, found or removed.

use std::time::Duration;

use crate::api::{ApiFailure, Code};

/// What went wrong with a pool.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// What was asked for makes no sense; nothing was sent.
    #[error("{0}")]
    Invalid(String),
    /// There is one of that name, and it is another.
    #[error(
        "nodepool {name} already exists, with {difference}; give it the same shape, or delete it first (`vc nodepool delete {name}`)"
    )]
    Exists {
        /// The pool.
        name: String,
        /// `nodes=10 (not 20), cpu=8 (not 4)`.
        difference: String,
    },
    /// There is something of a pool of that name, where a new one was asked for. It is somebody's.
    #[error(
        "there is a node pool {name} already; it may be in use. If it was left by an earlier run, `kperf-host vc nodepool delete {name}` removes it"
    )]
    Taken {
        /// The pool.
        name: String,
    },
    /// Something of that name is there that was not made here.
    #[error("nodepool {name}: {what} is there already and was not made by kperf-host; {advice}")]
    Foreign {
        /// The pool.
        name: String,
        /// `node example-0`.
        what: String,
        /// What to do.
        advice: &'static str,
    },
    /// Not all nodes got ready in time. What was made stays.
    #[error(
        "nodepool {name}: {ready} of {total} nodes are ready after {} s; {why}. It stays as it is: the same command again goes on, `vc nodepool delete {name}` removes it",
        within.as_secs_f64()
    )]
    NotReady {
        /// The pool.
        name: String,
        /// Nodes that are ready.
        ready: u32,
        /// Nodes it is to have.
        total: u32,
        /// The time there was.
        within: Duration,
        /// What the controllers say.
        why: String,
    },
    /// Not everything went in time.
    #[error(
        "nodepool {name}: after {} s there is still {left}; the same command again goes on",
        within.as_secs_f64()
    )]
    Left {
        /// The pool.
        name: String,
        /// `12 nodes`.
        left: String,
        /// The time there was.
        within: Duration,
    },
    /// It was told to stop. What was made stays.
    #[error(
        "nodepool {name}: interrupted; the same command again goes on, `vc nodepool delete {name}` removes it"
    )]
    Interrupted {
        /// The pool.
        name: String,
    },
    /// The API server said no, or nothing.
    #[error("{what}: {source}")]
    Api {
        /// What was being done.
        what: String,
        /// Why not.
        source: ApiFailure,
    },
}

impl PoolError {
    pub(super) fn api(what: impl Into<String>) -> impl FnOnce(ApiFailure) -> Self {
        let what = what.into();
        |source| Self::Api { what, source }
    }

    /// Whether the caller asked for something impossible, so that nothing was sent.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Invalid(_))
    }

    /// Whether the caller's stop ended it.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        match self {
            Self::Interrupted { .. } => true,
            Self::Api { source, .. } => source.code == Code::Interrupted,
            _ => false,
        }
    }
}
