//! kperf's `list_configmaps`: lists of all ConfigMaps of the cluster, from the watch cache and from etcd, by ten runners.
//!
//! Not as in kperf: `runningTime` in the result is the time that the load really took, which kperf gives as 0.

use kperf_scenarios::{
    Load,
    config_maps::SetShape,
    dry_run,
    end::{self, Work},
    profile::{CONFIG_MAPS, Of, Size, profile, quorum_list, spec, stale_list},
};
use kperf_sdk::benchmark::prelude::*;

/// What can be set.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(crate = "kperf_sdk::serde", rename_all = "camelCase", default)]
#[schemars(deny_unknown_fields)]
struct Config {
    /// The load.
    #[serde(flatten)]
    load: Load,
    /// Bytes of data in each ConfigMap.
    #[schemars(range(min = 1, max = 1_000_000))]
    size: u32,
    /// How many ConfigMaps are created at once.
    #[schemars(range(min = 1))]
    group_size: u32,
    /// How many ConfigMaps.
    #[schemars(range(min = 1, max = 1_000_000))]
    configmap_amount: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            load: Load::default(),
            size: 1000,
            group_size: 100,
            configmap_amount: 1024,
        }
    }
}

const NAMESPACE: &str = "kperf-configmaps-bench";
const SET: &str = "runkperf-bench";
const RUNNERS: u32 = 10;
const TOTAL: u64 = 1000;
const SIZE: Size = Size {
    rate: 10,
    conns: 10,
    clients: 10,
};

struct Scenario;

impl Benchmark for Scenario {
    type Config = Config;

    fn wanted_grants() -> Vec<String> {
        vec!["list:configmaps".to_owned()]
    }

    fn run(context: RunContext, config: Config) -> Result<Verdict, Failure> {
        let text = format!(
            "Environment: the cluster as it is. Workload: {} ConfigMaps of {} bytes in one namespace, while all ConfigMaps \
             are listed",
            config.configmap_amount, config.size,
        );
        run::describe(&text);
        if context.dry_run {
            return Ok(dry_run(&text));
        }
        cluster::create_namespace(NAMESPACE, &[])?;
        SetShape {
            namespace: NAMESPACE,
            name: SET,
            total: config.configmap_amount,
            size: config.size,
            group_size: config.group_size,
        }
        .create(context.seed)?;
        run::report_fact("configmapSizeInBytes", &config.size.to_string());

        let requests = vec![
            stale_list(100, CONFIG_MAPS, Of::default()),
            quorum_list(100, CONFIG_MAPS, Of::default()),
        ];
        let profile = profile(
            "list-configmaps",
            vec![spec(&config.load, SIZE, TOTAL, requests)],
        );
        let begin_ns = run::now_ns();
        let phase = config.load.start(&profile, RUNNERS)?;
        let verdict = end::wait(&phase, Work::Done(String::new()))?;
        let seconds = run::now_ns().saturating_sub(begin_ns) as f64 / 1e9;
        run::report_fact("runningTime", &json!(format!("{seconds:.3}s")).to_string());
        Ok(verdict)
    }
}

kperf_sdk::export_benchmark!(Scenario);
