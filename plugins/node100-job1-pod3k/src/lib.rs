//! kperf's `node100_job1_pod3k`: lists of all pods and events by ten runners, while a Job of 3000 pods comes and goes on
//! 100 virtual nodes.

use kperf_scenarios::{
    one_job::{Config, OneJob},
    profile::{Size, lists_of_everything},
};
use kperf_sdk::benchmark::prelude::*;

struct Scenario;

const SCENARIO: OneJob = OneJob {
    pool: "node100job1pod3k",
    nodes: 100,
    namespace: "job1pod3k",
    pods: 3000,
    parallelism: 100,
    profile: "node100-job1-pod3k",
    runners: 10,
    size: Size {
        rate: 10,
        conns: 10,
        clients: 100,
    },
    total: 36_000,
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
