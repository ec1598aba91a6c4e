//! The server's side of a run, beside the client's.
//!
//! Enters: the target, and what the client measured. Leaves: metrics of the report (`server-…`), a block of the
//! summary, and findings where the two sides disagree.
//!
//! ```text
//! observe (a thread: look before, at intervals if asked, after) → measures (metrics of the report)
//! classify → sent (what the client sent, in its words) ───┬→ disagree (findings)
//!                                                observe ─┘
//! ```
//!
//! A look is one GET of `/metrics` from every instance. By itself a run looks before its first phase and after its
//! last, never in between. No look, whatever comes of it, changes how a run ends.

pub mod classify;
mod disagree;
mod measures;
mod observe;
mod sent;

use std::time::Duration;

use kperf_runtime::report as doc;

pub use observe::{Observed, Observer, Point};
pub use sent::Sent;

/// When to look at the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerMetrics {
    /// Never.
    #[default]
    Off,
    /// Before and after, where the server lets us.
    Ends {
        /// Whether the user asked for it: then what is missing is a warning.
        asked: bool,
    },
    /// Before, after, and again and again in between.
    Every(Duration),
}

impl ServerMetrics {
    /// Whether the user said so.
    #[must_use]
    pub(crate) fn asked(self) -> bool {
        !matches!(self, Self::Off | Self::Ends { asked: false })
    }
}

/// What the report gets of it.
#[derive(Debug, Default)]
pub struct ServerResults {
    /// `server-…`
    pub metrics: Vec<doc::Metric>,
    /// `server/…`
    pub findings: Vec<doc::Finding>,
}

/// Puts together what was seen, and compares it with what was sent, as far as that is known.
#[must_use]
pub fn results(observed: &Observed, sent: &Sent) -> ServerResults {
    let mut findings = disagree::of_looks(observed);
    findings.extend(disagree::of_loads(observed, sent));
    ServerResults {
        metrics: measures::metrics(observed),
        findings,
    }
}

fn finding(severity: &str, code: &str, message: String) -> doc::Finding {
    doc::Finding {
        severity: severity.to_owned(),
        code: format!("server/{code}"),
        message,
    }
}
