//! Why a document is not merged.

/// A document that was not merged; what came before it is untouched.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct Refused {
    /// The file, or the runner, as the caller named it.
    pub name: String,
    /// What is wrong with it.
    pub problem: Box<Problem>,
}

/// What is wrong with a document.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] std::io::Error),
    /// Its compression is damaged.
    #[error("is cut or damaged: its gzip data ends or breaks after {after} bytes ({why})")]
    Gzip {
        /// Bytes that could be inflated.
        after: usize,
        /// What the inflater says.
        why: String,
    },
    /// It inflates to more than a report can be.
    #[error("inflates to more than {limit} bytes, more than a report that can be merged")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// It has no bytes.
    #[error("is empty; the run that should have written it did not get that far")]
    Empty,
    /// It is no JSON, or not all of it.
    #[error("is cut or damaged: {0}")]
    Damaged(String),
    /// JSON, but not a report document.
    #[error(
        "is not a report document of kperf-host (no `schema`); merging needs what `--output json=FILE` writes"
    )]
    NotReport,
    /// kperf's own JSON has no histograms.
    #[error(
        "is kperf's JSON, which has no histograms to merge; merging needs what `--output json=FILE` writes"
    )]
    KperfJson,
    /// A version this program does not know.
    #[error("is `{found}`; this program merges `{}`", crate::SCHEMA)]
    Version {
        /// What it says it is.
        found: String,
    },
    /// A histogram that cannot be added without loss.
    #[error("{place}: {why}")]
    Histogram {
        /// Phase, series and clock.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// Its parts do not add up to its whole.
    #[error(
        "is damaged or edited: its phases have {of_phases} {what} requests, the whole says {of_whole}"
    )]
    Sums {
        /// `sent`, `failed`, …
        what: &'static str,
        /// Sum over the phases.
        of_phases: u64,
        /// What the whole says.
        of_whole: u64,
    },
    /// The same run again.
    #[error("is run `{run}` again, which came with {first} already; a run counts once")]
    Twice {
        /// Id of the run.
        run: String,
        /// Who brought it first.
        first: String,
    },
    /// The run had other phases.
    #[error(
        "ran other phases than {first}: {found} instead of {expected}; documents of one profile merge \
         (or allow mixed ones)"
    )]
    Phases {
        /// Whom the others must equal.
        first: String,
        /// Phases of this one.
        found: String,
        /// Phases of the first.
        expected: String,
    },
    /// The run was asked for something else.
    #[error(
        "phase `{phase}` ran with {key} = {found}, in {first} it is {expected}; documents of one profile merge \
         (or allow mixed ones)"
    )]
    Setting {
        /// The phase.
        phase: String,
        /// The setting.
        key: String,
        /// Value in this one.
        found: String,
        /// Value in the first.
        expected: String,
        /// Whom the others must equal.
        first: String,
    },
    /// The run used other plugins.
    #[error(
        "ran with {found}, {first} with {expected}; documents of one profile merge (or allow mixed ones)"
    )]
    Plugins {
        /// Plugins of this one.
        found: String,
        /// Plugins of the first.
        expected: String,
        /// Whom the others must equal.
        first: String,
    },
}
