//! kperf's `read_update`: lists and merge patches of ConfigMaps by ten runners, while each ConfigMap is watched.
//!
//! Not as in kperf:
//! * The ConfigMaps lie in a namespace of the run, which must not be there before; kperf's are in `default`, where
//!   whatever it meets counts.
//! * Patches change something. kperf's are all the same, so that after the first one of an object the server has
//!   nothing to do; here there are [`BODIES`] of them, and one in so many finds its object as it is.
//! * `readRatio` may be 1, and what is checked is what is said.

use kperf_scenarios::{
    Load,
    config_maps::SetShape,
    dry_run,
    end::{self, Work},
    profile::{CONFIG_MAPS, Of, Size, profile, spec, stale_list},
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
    /// Namespace of the ConfigMaps, which must not be there before: the run creates and deletes it.
    #[schemars(length(min = 1))]
    read_update_namespace: String,
    /// How many ConfigMaps, each with a watch of its own.
    #[schemars(range(min = 1, max = 10_000))]
    read_update_configmap_total: u32,
    /// Bytes of data in each ConfigMap.
    #[schemars(range(min = 1, max = 1_000_000))]
    read_update_configmap_size: u32,
    /// What the names of the ConfigMaps begin with, after `runkperf-cm-`.
    #[schemars(length(min = 1))]
    read_update_name_pattern: String,
    /// Which part of the requests are lists; the others are patches.
    #[schemars(range(min = 0.01, max = 1.0))]
    read_ratio: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            load: Load::default(),
            read_update_namespace: "kperf-read-update".to_owned(),
            read_update_configmap_total: 100,
            read_update_configmap_size: 1024,
            read_update_name_pattern: "kperf-read-update".to_owned(),
            read_ratio: 0.5,
        }
    }
}

const RUNNERS: u32 = 10;
const TOTAL: u64 = 3600;
const SIZE: Size = Size {
    rate: 10,
    conns: 10,
    clients: 10,
};
/// kperf's: two ConfigMaps are created at once.
const GROUP: u32 = 2;
/// Different patches.
const BODIES: u32 = 16;

impl Config {
    /// Lists and patches in shares of a whole that every one of [`BODIES`] divides.
    fn requests(&self, prefix: &str) -> Vec<Value> {
        let reads = (self.read_ratio * 100.0).round() as u32;
        let list = Of {
            namespace: &self.read_update_namespace,
            ..Of::default()
        };
        let mut requests = vec![stale_list(reads * BODIES, CONFIG_MAPS, list)];
        let writes = 100_u32.saturating_sub(reads);
        if writes > 0 {
            requests.extend((0..BODIES).map(|body| self.patch(writes, prefix, body)));
        }
        requests
    }

    fn patch(&self, shares: u32, prefix: &str, body: u32) -> Value {
        let body = json!({"metadata": {"labels": {"test-label": format!("mutation-test-{body}")}}});
        json!({"shares": shares, "patch": {
            "group": "", "version": "v1", "resource": "configmaps",
            "namespace": self.read_update_namespace, "name": prefix,
            "keySpaceSize": self.read_update_configmap_total,
            "patchType": "merge", "body": body.to_string(),
        }})
    }
}

struct Scenario;

impl Benchmark for Scenario {
    type Config = Config;

    fn run(context: RunContext, config: Config) -> Result<Verdict, Failure> {
        let text = format!(
            "Environment: the cluster as it is. Workload: {} ConfigMaps of {} bytes, each with a watch of its own; {} of the \
             requests list them, the others patch one",
            config.read_update_configmap_total,
            config.read_update_configmap_size,
            config.read_ratio,
        );
        run::describe(&text);
        if context.dry_run {
            return Ok(dry_run(&text));
        }
        let set = SetShape {
            namespace: &config.read_update_namespace,
            name: &config.read_update_name_pattern,
            total: config.read_update_configmap_total,
            size: config.read_update_configmap_size,
            group_size: GROUP,
        };
        cluster::create_namespace(set.namespace, &[]).map_err(|failure| {
            if failure.code != "already-exists" {
                return failure;
            }
            Failure::new(
                failure.code,
                format!(
                    "{}; readUpdateNamespace must be a new namespace, which the run creates and deletes",
                    failure.message
                ),
            )
        })?;
        set.create(context.seed)?;
        let watches = watches(&set)?;

        let requests = config.requests(&set.prefix());
        let profile = profile(
            "read-update",
            vec![spec(&config.load, SIZE, TOTAL, requests)],
        );
        let phase = config.load.start(&profile, RUNNERS)?;
        // The watches read beside the load; nothing is to be done but to wait.
        while !phase.ended_within(60_000)? {}
        let events: u64 = watches.iter().map(|watch| watch.counts().events).sum();
        run::report_metric("watches", watches.len() as f64, "objects", &[]);
        run::report_metric("watch_events", events as f64, "objects", &[]);
        let text = format!(
            "beside them {} watches told of {events} events",
            watches.len()
        );
        end::wait(&phase, Work::Done(text))
    }
}

/// One for each ConfigMap, by its name.
fn watches(set: &SetShape<'_>) -> Result<Vec<Tracker>, Failure> {
    (0..set.total)
        .map(|index| {
            run::progress("start watches", index.into(), set.total.into());
            let name = format!("{}-{index}", set.prefix());
            let scope = Scope::namespace(set.namespace).fields(format!("metadata.name={name}"));
            let options = TrackerOptions::new(name, Kind::new("v1", "ConfigMap"), scope)
                .milestone(Milestone::new("seen"));
            Tracker::start(&options)
        })
        .collect()
}

kperf_sdk::export_benchmark!(Scenario);

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(read_ratio: f64) -> (u64, u64) {
        let config = Config {
            read_ratio,
            ..Config::default()
        };
        let requests = config.requests("x");
        let of = |key: &str| {
            let with = requests.iter().filter(|request| request.get(key).is_some());
            with.map(|request| request["shares"].as_u64().unwrap())
                .sum()
        };
        (of("staleList"), of("patch"))
    }

    #[test]
    fn reads_and_writes_have_the_ratio_asked_for() {
        assert_eq!(shares(0.5), (800, 800));
        assert_eq!(shares(0.2), (320, 1280));
        assert_eq!(shares(1.0), (1600, 0));
    }
}
