//! kperf-host: benchmarks for Kubernetes API servers and clusters.
//!
//! What a run does, in the order of its files:
//! [`profile`] (what the user asked for) → [`target`] (where to) → [`plugins`] (found, loaded, configured) →
//! `kperf_load` (paced, sent, measured) → [`report`] (one typed document) → [`summary`] on the terminal and
//! [`export`] through exporter plugins into [`sink`]s. [`run`] assembles them for loads, [`benchmark`] for
//! benchmarks, [`warmup`] for warm-ups; [`runner_group`] has many runners do the same at once, [`merge`] makes one
//! report of many; [`server_side`] adds what the server says of itself, [`prometheus`] what a Prometheus saw; [`live`]
//! shows progress; [`threshold`] and [`exit`] say how it ended; [`cli`] turns arguments into calls.
#![deny(missing_docs)]
// A closed stderr must not end a run: `live::say` is for what is to be said.
#![cfg_attr(not(test), warn(clippy::print_stderr))]

pub mod benchmark;
pub mod cli;
pub mod eks;
pub mod exit;
pub mod export;
mod https;
pub mod live;
pub mod load;
pub mod merge;
pub mod network;
pub mod open_files;
pub mod plugins;
pub mod profile;
pub mod prometheus;
pub mod report;
pub mod run;
pub mod runner_group;
pub mod server_side;
pub mod signals;
pub mod sink;
pub mod source;
pub mod specs;
pub mod summary;
pub mod target;
pub mod threshold;
pub mod warmup;
