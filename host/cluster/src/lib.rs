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
//! kube parses kubeconfigs and runs everything that yields credentials (exec plugins, OIDC); the measured
//! path has its own connections and only takes TLS settings and headers from here. Invariants: a secret is
//! in no message and in no `Debug` output; headers are read without I/O; TLS uses ring, whatever else is
//! linked in; nothing is loaded that the target does not need.

mod credentials;
mod error;
mod in_cluster;
mod kubeconfig;
mod proxy;
mod resolve;
mod server;
mod source;
mod tls;
pub mod track;

pub use error::TargetError;
pub use resolve::{ResolvedTarget, kube_config, resolve};
pub use source::{Environment, TargetSource, detect, detect_in};
