//! KubeVirt's density workloads: what perfscale-load-generator's files ask for, as a plan.
//!
//! Enters: a configuration, which is such a file with a few keys more, and the texts of its templates. Leaves: a
//! [`Plan`] of workloads, iterations, namespaces and manifests, and for every kind of object what "running" means.
//! Nothing here touches a cluster.

mod config;
mod duration;
mod manifest;
mod plan;
mod readiness;
mod workload;

pub use config::{
    CheckConfig, Config, GlobalConfig, LoadType, ObjectConfig, SingleObjectConfig, WorkloadConfig,
};
pub use duration::{GoDuration, parse_go_duration};
pub use manifest::{Kind, Manifest, WORKLOAD_LABEL};
pub use plan::{Manifests, ObjectPlan, Plan, WorkloadPlan};
pub use readiness::{Check, Milestone, Op, Readiness};
pub use workload::{Churn, Namespaces, Object, Pace, Source, Workload};
