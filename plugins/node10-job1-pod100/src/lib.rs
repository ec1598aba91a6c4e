//! kperf's `node10_job1_pod100`: lists of all pods and events, while a Job of 100 pods comes and goes on 10 virtual nodes.
//!
//! Not as in kperf: the description names these numbers rather than those of another scenario.

use kperf_scenarios::{
    one_job::{Config, OneJob},
    profile::{Size, lists_of_everything},
};
use kperf_sdk::benchmark::prelude::*;

struct Scenario;

const SCENARIO: OneJob = OneJob {
    pool: "node10job1pod100",
    nodes: 10,
    namespace: "job1pod100",
    pods: 100,
    parallelism: 10,
    profile: "node10-job1-pod100",
    runners: 1,
    size: Size {
        rate: 10,
        conns: 10,
        clients: 10,
    },
    total: 1000,
    requests: |_| lists_of_everything(),
};

impl Benchmark for Scenario {
    type Config = Config;

    fn wanted_grants() -> Vec<String> {
        ["create:nodes", "list:pods", "list:events"]
            .map(str::to_owned)
            .into()
    }

    fn run(context: RunContext, config: Config) -> Result<Verdict, Failure> {
        SCENARIO.run(&context, &config)
    }
}

kperf_sdk::export_benchmark!(Scenario);
