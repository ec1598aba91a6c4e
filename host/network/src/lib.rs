//! Network benchmarks between workers: the native half. Tools such as iperf3 are described by plugins; here their
//! commands are started, bounded, paired and recorded.
//!
//! An [`orchestrator`] waits for workers, pairs them, and hands out one task after another over gRPC with mutual TLS.
//! A [`worker`] runs what its [`AllowList`] lets through. [`local`] is both on one machine. Tasks end in one of four
//! states ([`TaskState`]); whatever happens to tools, workers or the orchestrator, the run comes to its end, and what
//! was measured is on disk.

mod allow;
mod command;
mod error;
mod grpc;
mod journal;
pub mod local;
pub mod orchestrator;
mod pairs;
mod proto;
mod restore;
mod results;
mod roster;
mod run;
mod schedule;
mod server;
mod stats;
mod task;
mod tls;
mod tolerance;
mod tool;
mod wire;
pub mod worker;

pub use allow::{AllowList, PROGRAMS};
pub use error::NetworkError;
pub use journal::JOURNAL;
pub use pairs::{Placement, Selection};
pub use results::{End, RESULTS, ResultsFile, Task, TaskOptions, TaskResult, Vm};
pub use run::{NetworkRun, RunEnd, Summary};
pub use schedule::{Address, Combination, WorkerInfo, matrix, tasks, variant_name};
pub use stats::{Difference, Estimate, difference, estimate};
pub use task::{TaskKey, TaskRecord, TaskState};
pub use tls::RunCertificates;
pub use tolerance::{Check, Outcome, Tolerance, ToleranceError};
pub use tool::{Command, Output, Plan, Port, Reading, Tool, ToolError};
