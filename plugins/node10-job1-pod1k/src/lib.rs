//! kperf's `node10_job1_pod1k`: reads of single objects and short lists by ten runners, while a Job of 1000 pods comes
//! and goes on 10 virtual nodes.
//!
//! Not as in kperf: the pod that is read in `virtualnodes-kperf-io` is the first one there, as kwok plays many nodes from
//! one pod here. As in kperf, the Job is not there between two deployments, and reads of it are then answered with 404.

use kperf_scenarios::{
    one_job::{Config, OneJob},
    profile::{Size, reads},
};
use kperf_sdk::benchmark::prelude::*;

struct Scenario;

const POOL: &str = "node10job1pod1k";
const NAMESPACE: &str = "job1pod1k";

const SCENARIO: OneJob = OneJob {
    pool: POOL,
    nodes: 10,
    namespace: NAMESPACE,
    pods: 1000,
    parallelism: 100,
    profile: "node10-job1-pod1k",
    runners: 10,
    size: Size {
        rate: 10,
        conns: 10,
        clients: 10,
    },
    total: 1000,
    requests: |nodes| reads(NAMESPACE, POOL, nodes, kperf_scenarios::one_job::JOB),
};

impl Benchmark for Scenario {
    type Config = Config;

    fn wanted_grants() -> Vec<String> {
        kperf_scenarios::profile::GRANTS_OF_READS
            .map(str::to_owned)
            .into()
    }

    fn run(context: RunContext, config: Config) -> Result<Verdict, Failure> {
        SCENARIO.run(&context, &config)
    }
}

kperf_sdk::export_benchmark!(Scenario);
