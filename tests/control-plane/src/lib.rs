//! A real Kubernetes control plane for tests: etcd, kube-apiserver, kube-controller-manager, kube-scheduler and
//! kwok as child processes on loopback, with certificates and ports of their own.
//!
//! `source` finds the programs (an existing cluster, envtest's folder, or `go_module`, which builds them once and
//! keeps them in `cache`) → `running` starts them (`files`, `port`, `arguments`, `process`, all in one `group`) and
//! waits until they are ready → `control_plane` is what tests hold.
//!
//! ```no_run
//! use kperf_control_plane::{ControlPlane, Options};
//!
//! let Some(plane) = ControlPlane::start_or_skip("pods run", Options::full().nodes(2))? else {
//!     return Ok(());
//! };
//! println!("kubectl --kubeconfig {} get nodes", plane.kubeconfig().display());
//! # anyhow::Ok(())
//! ```
//!
//! A value kept in a `static` is never dropped; the processes end with the test process all the same.

mod arguments;
mod authority;
mod cache;
pub mod cli;
mod client;
mod component;
mod control_plane;
mod files;
mod go_module;
mod group;
mod kubeconfig;
mod kubevirt;
mod nodes;
mod options;
mod port;
mod process;
mod running;
mod seed;
mod source;

pub use client::{Answer, Client, Opened};
pub use component::Component;
pub use control_plane::{ControlPlane, REQUIRE_VARIABLE, skip};
pub use go_module::GoModule;
pub use group::ProcessGroup;
pub use kubeconfig::Unsupported;
pub use options::Options;
pub use seed::Seed;
pub use source::{ASSETS_VARIABLE, KUBECONFIG_VARIABLE, Programs, Source};
