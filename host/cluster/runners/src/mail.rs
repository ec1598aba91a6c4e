//! What runners say.

use serde::{Deserialize, Serialize};

/// How far a runner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MailState {
    /// Connected, waiting for the start.
    Ready,
    /// Its report is there.
    Done,
    /// It has nothing to report; the message says why.
    Failed,
}

impl MailState {
    /// As a label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// What one runner said last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// How far it is.
    pub state: MailState,
    /// Its name: that of its pod.
    pub name: String,
    /// Where it runs.
    pub node: String,
    /// When it was ready, by its clock; 0 = never.
    pub ready_unix_us: u64,
    /// How far its clock is ahead of the API server's, milliseconds, to half a second or so; none if it was not asked.
    #[serde(default)]
    pub clock_ahead_ms: Option<i64>,
    /// For people.
    pub message: String,
    /// Parts of its report.
    pub parts: u32,
    /// Of its report.
    pub bytes: u64,
    /// Of its report.
    pub sha256: String,
}

impl Mail {
    /// Of a runner that has no report yet.
    #[must_use]
    pub fn new(state: MailState, name: impl Into<String>, node: impl Into<String>) -> Self {
        Self {
            state,
            name: name.into(),
            node: node.into(),
            ready_unix_us: 0,
            clock_ahead_ms: None,
            message: String::new(),
            parts: 0,
            bytes: 0,
            sha256: String::new(),
        }
    }
}

/// The one start of a group, written once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// When, by the clock of who wrote it.
    pub start_unix_us: u64,
    /// Runners that were ready.
    pub ready: u32,
    /// Runners that were not, and are not waited for.
    pub missing: Vec<u32>,
    /// Who wrote it.
    pub by: u32,
}
