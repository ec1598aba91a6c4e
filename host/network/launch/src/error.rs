//! Why a benchmark in a cluster came to nothing.

use std::time::Duration;

use kperf_cluster::api::ApiFailure;

use crate::spec::SpecError;

/// Why there are no results.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The settings do not go together.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Whoever launches may not do what is needed.
    #[error(
        "rights are missing to launch a network benchmark: {}; have an administrator grant them, or use other credentials",
        .0.join(", ")
    )]
    Rights(Vec<String>),
    /// Too few nodes.
    #[error("{0}")]
    Nodes(String),
    /// A request to the API server.
    #[error("{what}: {failure}")]
    Api {
        /// What was being done.
        what: String,
        /// What went wrong.
        failure: ApiFailure,
    },
    /// Pods that do not come up.
    #[error("pods do not run: {}", .0.join("; "))]
    Pods(Vec<String>),
    /// Neither results nor a failure within the time.
    #[error("there are no results after {} s: {last}", .after.as_secs())]
    TimedOut {
        /// How long was waited.
        after: Duration,
        /// What the orchestrator said last.
        last: String,
    },
    /// Results that are not what the orchestrator said it had written.
    #[error("the results cannot be read: {0}")]
    Results(String),
    /// Ended from outside.
    #[error("stopped before there were results")]
    Stopped,
}

impl LaunchError {
    pub(crate) fn api(what: impl Into<String>) -> impl FnOnce(ApiFailure) -> Self {
        let what = what.into();
        |failure| match failure.code {
            kperf_cluster::api::Code::Interrupted => Self::Stopped,
            _ => Self::Api { what, failure },
        }
    }
}
