//! Runner groups: the same profile from many pods of a cluster, or from many processes of this machine, started together
//! and merged into one report.
//!
//! ```text
//! SpecUri → GroupFile (profile) → prepare (checked, packed, rights derived) → Group
//!   Group → start_in_cluster | start_locally → Running → wait → Outcome (one merged report)
//!   in each pod or process: pod (unpack, connect, meet the others, run, leave the report)
//! ```
//!
//! What is said between runners, and how objects look, is `kperf_runners`' business. Everything here may be called from
//! asynchronous code but [`prepare`], which compiles plugins, and [`pod`], which is a process of its own.

mod local;
mod needs;
mod outcome;
mod placement;
pub mod pod;
mod prepare;
mod running;
mod uri;

pub use local::{LocalTarget, start_locally};
pub use outcome::{Line, Outcome};
pub use placement::Placement;
pub use prepare::{Group, GroupOptions, prepare};
pub use running::{Running, start_in_cluster};
pub use uri::{SpecUri, SpecUriError};
