//! The server's side of a run: what every API server instance says of itself, before and after.
//!
//! Enters: the target of a run. Leaves: per instance its cores, CPU time and memory, requests and their times by
//! verb and resource, what API Priority and Fairness rejected and let wait, and what etcd took.
//!
//! ```text
//! find (addresses of the name, and those the cluster names) → scrape (one GET /metrics each) → text (lines)
//!   → sample (one instance, one moment) → change (what happened between two)
//! ```
//!
//! Every address is dialled by itself under the server's TLS name, with the run's own credentials. Nothing of this
//! is needed for a run: a server that does not show its numbers is a [`ScrapeFailure`] that says why.

mod buckets;
mod change;
mod find;
mod sample;
mod scrape;
mod text;

#[cfg(test)]
mod tests;

pub use buckets::{Buckets, Estimate};
pub use change::{Change, Changes};
pub use find::{Origin, Resolve, SystemResolver};
pub use sample::{Counters, EtcdKey, InstanceSample, RejectedKey, RequestKey, Requests, WaitKey};
pub use scrape::{Scrape, ScrapeError, ScrapeFailure, Scraper};
pub use text::TextError;
