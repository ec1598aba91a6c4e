//! Network benchmarks in a cluster: makes a namespace with an orchestrator and workers on the chosen nodes, waits, brings
//! the results, removes everything.
//!
//! ```text
//! preflight (rights, nodes) → LaunchSpec → objects → launch: create, wait (pods), read (results) → clean
//!                                  in the pod of the orchestrator: Publisher (results) ──┘
//! ```
//!
//! Pods run on without the launcher. Results come through the API, in ConfigMaps that the launcher makes beforehand
//! and that the orchestrator alone may fill: nothing listens for the launcher, and no log is parsed.
//! Everything has the run's label, so that `kperf-host cleanup` finds what a killed launcher leaves behind.

mod error;
mod launch;
mod nodes;
mod objects;
mod results;
mod rights;
mod spec;

pub use kperf_cluster::{
    rights::Right,
    trouble::{Trouble, trouble},
};

pub use error::LaunchError;
pub use launch::{Event, Finished, Launched, launch};
pub use nodes::{ChosenNode, LeftOut, NodeChoice, choose, find_nodes};
pub use objects::{PlannedWorker, objects, planned_workers};
pub use results::{ParseTargetError, PublishError, Publisher, ResultsTarget, State, fits};
pub use rights::{check_rights, required_rights};
pub use spec::{Credentials, LaunchSpec, SpecError, TaskPath, ToolPort};
