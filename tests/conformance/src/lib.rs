//! One table of cases of the Kubernetes API that the project relies on, run against the simulator and against the
//! real kube-apiserver, so that the simulator cannot drift into fiction.
//!
//! `cases` is the table, by topic → `api` asks and compares, in a `namespace` of each case's own, which
//! `cleanup` removes → `run` starts the
//! two servers, runs the table on each, and reports. The real server is the reference: a case is written so that it
//! passes there, and what the simulator answers otherwise is a bug of the simulator, or a limit that stands both
//! beside the case and among [`kperf_sim::limit::ALL`].

mod api;
mod case;
mod cases;
mod cleanup;
mod namespace;
mod run;
mod stream;

pub use run::run;
