//! From a kubeconfig to a target of load.
//!
//! Enters: a [`TargetSource`] (kubeconfig and context, the service account of a pod, or flags), or what
//! [`detect`] finds in the environment. Leaves: a [`ResolvedTarget`], whose [`kperf_load::plan::Target`] the
//! load engine dials, and the [`kube::Config`] it came from.
//!
//! ```text
//! source → kubeconfig | in_cluster | server → kube::Config → address, tls, proxy, credentials → Target
//! ```
//!
//! The same configuration makes a [`api::Cluster`] for work beside the load. What plugins do goes through a
//! [`Session`], which knows the run:
//!
//! ```text
//! Session: grant (may it?) → operation (label, retries) → api → server
//! bulk: many operations at a pace      cleanup: deletes by the run's label
//! ```
//!
//! [`nodepool`] makes virtual nodes and [`dataset`] fills a server; both are no run's and stay until they are deleted.
//!
//! kube parses kubeconfigs and runs everything that yields credentials (exec plugins, OIDC); the measured
//! path has its own connections and only takes TLS settings and headers from here. Invariants: a secret is
//! in no message and in no `Debug` output; headers are read without I/O; TLS uses ring, whatever else is
//! linked in; nothing is loaded that the target does not need.

pub mod api;
pub mod bulk;
pub mod cleanup;
mod credentials;
pub mod dataset;
mod error;
mod gate;
pub mod grant;
mod in_cluster;
mod kubeconfig;
pub mod nodepool;
mod operation;
pub mod parcel;
mod proxy;
mod resolve;
pub mod rights;
mod run;
mod server;
pub mod server_metrics;
mod session;
mod source;
mod stamps;
mod tls;
pub mod track;
pub mod trouble;

pub use error::TargetError;
pub use operation::{Change, Operation};
pub use resolve::{ResolvedTarget, kube_config, resolve};
pub use run::{OUTER_RUN_LABEL, RUN_LABEL, RunId, RunIdError};
pub use session::Session;
pub use source::{Environment, TargetSource, detect, detect_in};
pub use stamps::{Stamp, Stamps};
