//! A row of the table.

use crate::api::Api;

/// One behaviour of the API.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Api) -> anyhow::Result<()>,
    /// What the simulator is known to fail it for.
    pub(crate) limit: Option<Limit>,
    /// It makes the server forget old revisions, which is not to be asked of a cluster of somebody else's.
    pub(crate) compacts: bool,
}

/// A limit of the simulator, as a case meets it.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) why: &'static str,
    pub(crate) fails_with: &'static str,
}

impl Case {
    pub(crate) const fn new(name: &'static str, run: fn(&Api) -> anyhow::Result<()>) -> Self {
        Self {
            name,
            run,
            limit: None,
            compacts: false,
        }
    }

    /// `why` is one of [`kperf_sim::limit::ALL`]; `fails_with` is a part of the failure that comes of it.
    pub(crate) const fn limit(mut self, why: &'static str, fails_with: &'static str) -> Self {
        self.limit = Some(Limit { why, fails_with });
        self
    }

    pub(crate) const fn compacts(mut self) -> Self {
        self.compacts = true;
        self
    }
}
