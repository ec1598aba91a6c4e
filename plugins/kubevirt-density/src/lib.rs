//! The benchmark `kubevirt_density`: what perfscale-load-generator's workload files ask for, measured.
//!
//! Enters: a configuration, which is such a file with a few keys more, and the texts of its templates. They become a
//! [`Plan`] of workloads, iterations, namespaces and manifests, and for every kind of object what "running" means;
//! nothing of that touches a cluster. `execute` carries the plan out and says what it measures.

mod config;
mod duration;
mod execute;
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

use std::collections::BTreeMap;

use kperf_sdk::benchmark::prelude::*;

struct KubevirtDensity;

impl Benchmark for KubevirtDensity {
    type Config = Config;

    fn run(context: RunContext, config: Config) -> Result<Verdict, Failure> {
        let templates = config
            .template_files()?
            .into_iter()
            .map(|file| Ok((file.clone(), run::read_file(&file)?)))
            .collect::<Result<BTreeMap<_, _>, Failure>>()?;
        let plan = Plan::new(&config, &templates, &context.run_id)?;
        if context.dry_run {
            return execute::describe(&plan);
        }
        execute::run_plan(&plan)
    }
}

kperf_sdk::export_benchmark!(KubevirtDensity, name = "kubevirt_density");
