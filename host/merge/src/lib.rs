//! Merges report documents: those of a group's runners, of shards, pods and days.
//!
//! A document is what the `json` exporter writes, plain or compressed with gzip. [`Merger`] takes them one at a time and
//! keeps sums, so memory depends on what a run measures, not on how many ran it (a line for each runner aside).
//! Histograms are added bucket by bucket: a merged report is the report one runner would have written that had made
//! all the requests.
//!
//! bytes → `open` (inflated) → `document` (borrowed from the bytes) → `decoded` (its histograms, by `counts`) → `sum`
//! (everything added up, request by request in `series`) → [`Merged`]. What must be the same in all documents is in `reference`; what may differ, and what
//! becomes of it, in `settings`, `metrics`, `findings` and `facts`. [`merge_all`] does it on several threads.
//!
//! This crate knows neither plugins nor clusters: who calls it turns [`Merged`] into the report that exporters get.
#![deny(missing_docs)]

mod counts;
mod decoded;
mod document;
mod error;
mod facts;
mod findings;
mod intervals;
mod merged;
mod merger;
mod metrics;
mod open;
mod parallel;
mod raw;
mod reference;
mod series;
mod settings;
mod span;
mod sum;

pub use error::{Problem, Refused};
pub use findings::Finding;
pub use merged::{
    Distribution, FailedExchange, Interval, Labels, Merged, Metric, Phase, Plugin, RunnerLine,
    Samples, Series, Times,
};
pub use merger::{Merger, Options};
pub use parallel::{Outcome, merge_all};

/// The version of the report document that is read.
pub const SCHEMA: &str = "kperf-host/report/v1";
