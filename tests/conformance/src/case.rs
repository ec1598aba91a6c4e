//! A row of the table.

use crate::api::Api;

/// One behaviour of the API.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Api) -> anyhow::Result<()>,
    /// Why the simulator is known to fail it: one of [`kperf_sim::limit::ALL`].
    pub(crate) limit: Option<&'static str>,
    /// It makes the server forget old revisions, which is not to be asked of a cluster of somebody else's.
    pub(crate) compacts: bool,
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

    pub(crate) const fn limit(mut self, why: &'static str) -> Self {
        self.limit = Some(why);
        self
    }

    pub(crate) const fn compacts(mut self) -> Self {
        self.compacts = true;
        self
    }
}
