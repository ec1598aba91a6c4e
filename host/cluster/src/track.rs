//! Tracking: many objects through named milestones, natively.
//!
//! Enters: a [`TrackSpec`] (which objects, which milestones, what to keep) and access to a cluster.
//! Leaves: [`Counts`] at any time, a wake-up when enough objects got somewhere, and in the end a record per
//! object with two times for each milestone: when this host read the news, and what the API itself says.
//!
//! ```text
//! spec → plan ─────────────┐
//! follow (list, watch: batch) → lines → extract → ledger → tracker (counts, wait, objects, pairs)
//! ```
//!
//! One watch serves a resource, namespace and selection however many objects there are. It runs on a thread
//! of its own, and bytes are stamped when they are read, before anything is parsed, so neither the work of
//! others nor our own moves a stamp.
//!
//! Invariants:
//! - An object is its UID. Deleted and made again under the same name is another object.
//! - A milestone is reached once and stays reached; [`Counts::now`] says for how many objects it holds now.
//! - News is lost only with its object: what is made *and* deleted while the watch is away is never seen.
//! - A stamp that is not the time of the event says so: [`Stamp::initial`] (there before tracking began),
//!   [`Stamp::inferred`] (found out by listing again), [`Stamp::resumed`] (read right after a gap).
//! - Memory is per object, never per event.
//!
//! [`Ledger`] is all of it but the network.

mod batch;
mod check;
mod error;
mod extract;
mod follow;
mod intern;
mod ledger;
mod lines;
mod object;
mod options;
mod path;
mod plan;
mod request;
mod retry;
mod spec;
mod tracker;

pub use error::TrackError;
pub use ledger::{Counts, Ledger, LineError};
pub use object::{ObjectRecord, Stamp};
pub use options::TrackOptions;
pub use path::{Path, PathError};
pub use spec::{Check, Milestone, Op, TrackSpec};
pub use tracker::{Access, Clock, Missing, Pairs, Tracker, Waited};
