//! Why a group could not be made, asked or removed.

use kperf_cluster::api::{ApiFailure, Code};

use crate::{bundle::BundleError, group::SpecError, store::StoreError};

/// What went wrong with a group.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The settings do not go together.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// What runners are to be given.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Whoever makes the group may not do what is needed.
    #[error(
        "rights are missing for a runner group: {}; have an administrator grant them, or use other credentials",
        .0.join(", ")
    )]
    Rights(Vec<String>),
    /// The account that its pods were to have is not there.
    #[error(
        "there is no service account {account} in {namespace}, so no pod of the group could be made; create it, or leave \
         out `serviceAccount` for an account of the group's own"
    )]
    NoAccount {
        /// Its name.
        account: String,
        /// Where it would have to be.
        namespace: String,
    },
    /// There is one already.
    #[error(
        "there is a runner group {name} in {namespace} already; `rg delete {name}` removes it, or give this one another name"
    )]
    Exists {
        /// Its name.
        name: String,
        /// Where.
        namespace: String,
    },
    /// A request to the API server.
    #[error("{what}: {failure}")]
    Api {
        /// What was being done.
        what: String,
        /// What went wrong.
        failure: ApiFailure,
    },
    /// What runners say cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not over.
    #[error("runner group {name} is not finished in time: {last}")]
    TimedOut {
        /// Its name.
        name: String,
        /// What was known last.
        last: String,
    },
    /// Ended from outside.
    #[error("stopped")]
    Stopped,
}

impl GroupError {
    pub(crate) fn api(what: impl Into<String>) -> impl FnOnce(ApiFailure) -> Self {
        let what = what.into();
        |failure| match failure.code {
            Code::Interrupted => Self::Stopped,
            _ => Self::Api { what, failure },
        }
    }
}
