//! The scenarios that deploy one Job again and again, and differ in numbers and requests.

use kperf_sdk::benchmark::prelude::*;

use crate::{
    Load, dry_run, end,
    jobs::{self, JobShape},
    pool::NodeShape,
    profile::{Size, profile, spec},
};

/// What can be set.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(crate = "kperf_sdk::serde", rename_all = "camelCase", default)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// The load.
    #[serde(flatten)]
    pub load: Load,
    /// The nodes.
    #[serde(flatten)]
    pub nodes: NodeShape,
    /// Pods of the Job; as many as the scenario's name says if absent.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub pods: Option<u32>,
    /// How many pods of the Job run at once; kperf's number if absent.
    #[schemars(range(min = 1))]
    pub parallelism: Option<u32>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct OneJob {
    /// Name of the pool; nodes are `<pool>-<i>`.
    pub pool: &'static str,
    /// How many nodes.
    pub nodes: u32,
    /// Namespace of the Job.
    pub namespace: &'static str,
    /// Pods of the Job.
    pub pods: u32,
    /// How many at once.
    pub parallelism: u32,
    /// Of the load profile.
    pub profile: &'static str,
    /// How many runners.
    pub runners: u32,
    /// What each does at a time.
    pub size: Size,
    /// Requests of each.
    pub total: u64,
    /// The mix.
    pub requests: fn(nodes: u32) -> Vec<Value>,
}

/// The Job's name, as in kperf.
pub const JOB: &str = "batchjobs";

impl OneJob {
    /// The whole scenario.
    ///
    /// # Errors
    /// The nodes, the namespace or the load could not be had.
    pub fn run(&self, context: &RunContext, config: &Config) -> Result<Verdict, Failure> {
        let pods = config.pods.unwrap_or(self.pods);
        let parallelism = config.parallelism.unwrap_or(self.parallelism);
        let nodes = config.nodes.nodes.unwrap_or(self.nodes);
        let text = format!(
            "Environment: {nodes} virtual nodes managed by kwok. Workload: 1 Job of {pods} pods, deployed again and again; \
             its parallelism is {parallelism}, and there are 5 s between two deployments",
        );
        run::describe(&text);
        if context.dry_run {
            return Ok(dry_run(&text));
        }
        config.nodes.add(self.pool, self.nodes)?;
        cluster::create_namespace(self.namespace, &[])?;
        let spec = spec(&config.load, self.size, self.total, (self.requests)(nodes));
        let phase = config
            .load
            .start(&profile(self.profile, vec![spec]), self.runners)?;
        let work = jobs::repeat(
            &phase,
            &JobShape {
                namespace: self.namespace,
                name: JOB,
                pods,
                parallelism,
                pool: self.pool,
                ttl_seconds: None,
            },
        )?;
        end::wait(&phase, work)
    }
}
