//! kperf-host: benchmarks for Kubernetes API servers and clusters.
//!
//! What a run does, in the order of its files:
//! [`profile`] (what the user asked for) → [`target`] (where to) → [`plugins`] (found, loaded, configured) →
//! `kperf_load` (paced, sent, measured) → [`report`] (one typed document) → [`summary`] on the terminal and
//! [`export`] through exporter plugins into [`sink`]s. [`threshold`] judges results by the limits the user set.
//! [`run`] assembles them; [`live`] shows progress;
//! [`exit`] says how it ended; [`cli`] turns arguments into calls.
#![deny(missing_docs)]

pub mod cli;
pub mod exit;
pub mod export;
pub mod live;
pub mod plugins;
pub mod profile;
pub mod report;
pub mod run;
pub mod signals;
pub mod sink;
pub mod source;
pub mod summary;
pub mod target;
pub mod threshold;
