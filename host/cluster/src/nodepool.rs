//! Pools of virtual nodes, which KWOK plays: made, found by their labels, removed.
//!
//! ```text
//! PoolSpec → add: shared → controller (record, account, KWOK) → node, at a pace → wait until ready
//!            list: records, nodes and controllers      delete: nodes → pods on them → controllers → shared
//! ```
//!
//! All state is in the cluster: a ConfigMap records what was asked for, labels say whose everything is. Nothing is kept
//! of two pools in one object, so that they cannot fight; what they share is nobody's. What kperf made is left alone.

mod add;
mod controller;
mod delete;
mod error;
mod list;
mod names;
mod node;
mod shared;
mod spec;

use std::time::Duration;

pub use add::{Added, add, claim};
pub use delete::{Deleted, delete};
pub use error::PoolError;
pub use list::{Claimed, Pool, PoolStatus, claimed, list};
pub use names::{
    CONTROLLER_LABEL, KWOK_IMAGE, NAMESPACE, NODES_PER_CONTROLLER, POOL_LABEL, TAINT_KEY,
    TAINT_VALUE, TYPE, TYPE_LABEL, nodes_of,
};
pub use spec::PoolSpec;

/// How a pool is made or removed.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolOptions {
    /// Nodes asked for a second; 0 = as fast as the server answers twenty at a time.
    pub rate_per_sec: f64,
    /// Nodes that are due at once at the start.
    pub burst: u32,
    /// Longest time until all are ready, or gone.
    pub timeout: Duration,
}

impl Default for PoolOptions {
    /// 100 nodes a second, half an hour as kperf.
    fn default() -> Self {
        Self {
            rate_per_sec: 100.0,
            burst: 10,
            timeout: Duration::from_secs(1800),
        }
    }
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolEvent {
    /// The controllers are asked for; nodes follow when they run.
    Controllers {
        /// How many.
        count: u32,
    },
    /// Nodes are created.
    Creating {
        /// There so far.
        done: u64,
        /// To be there.
        total: u64,
    },
    /// Nodes get ready.
    Waiting {
        /// Ready so far.
        ready: u32,
        /// To be ready.
        total: u32,
    },
    /// No node has got ready for a while.
    Trouble {
        /// What the controllers' pods say.
        why: String,
    },
    /// The pool goes.
    Deleting {
        /// `12 nodes`, `30 pods`.
        left: String,
    },
}

/// Told how far it is.
pub type Progress<'a> = &'a (dyn Fn(&PoolEvent) + Sync);
