//! The benchmark `pod_startup_latency`: ClusterLoader2's PodStartupLatency, with its workload from a ClusterLoader2
//! test config, or without one from a few numbers.
//!
//! Enters: a [`Config`]. Leaves, under these names:
//!
//! | kind | name | labels |
//! | --- | --- | --- |
//! | distribution | `create_to_schedule`, `schedule_to_run`, `run_to_watch`, `schedule_to_watch`, `pod_startup`, and by `watch-2026` `create_to_run` | `measurement`, `test`, `definition`, `set` |
//! | metric, `objects` | `pods`: how many were seen | `measurement`, `test`, `definition`, `set` |
//! | metric, `objects` | `pods_without_times`: not in the distribution, for lack of a moment; only if there are any | the same, and `transition` |
//! | metric, `objects` | `pods_never_ran`: only if there are any | `measurement`, `test`, `definition` |
//! | metric, `seconds` | `threshold` of `pod_startup` | `measurement`, `test`, `definition`, and `percentile` (`50`, `90`, `99`) |
//! | metric, `seconds` | `timer` of the measurement `Timer` | `measurement`, `test`, `timer` |
//!
//! `measurement` is the identifier in the test config, `test` the config's name, `definition` `api-2024` or
//! `watch-2026` (see [`startup`]), `set` empty for all pods or `Stateless` or `Stateful`. Together they name
//! ClusterLoader2's file: `<set>PodStartupLatency_<measurement>_<test>_<time>.json`. An empty set has an empty
//! distribution, which ClusterLoader2 writes as zeros.
//!
//! The verdict is "failed" when a percentile of `pod_startup` is above its threshold, a pod never ran, operations
//! failed, or a step went wrong. What differs from ClusterLoader2, besides: rates do not drift, measurements of one
//! step are called one after the other, a pod is known by its uid rather than by its name, and
//! WaitForControlledPodsRunning goes by the status of the controllers.

pub mod cl2;
pub mod config;
pub mod controlled;
pub mod dry_run;
mod execute;
pub mod plan;
pub mod pods;
pub mod startup;
pub mod workload;

use std::sync::Arc;

use go_template::functions::cluster_loader::ReadFile;
use kperf_sdk::benchmark::prelude::*;
use kperf_sdk::random::{Random, digest};

use cl2::source::{Sources, directory_of};
use cl2::test::Test;
use config::Config;

struct PodStartupLatency;

impl Benchmark for PodStartupLatency {
    type Config = Config;

    fn wanted_grants() -> Vec<String> {
        // To count `.Nodes`, and for tests of more namespaces than can be watched one by one.
        vec!["list:nodes".to_owned(), "list,watch:pods".to_owned()]
    }

    fn run(context: RunContext, config: Config) -> Result<Verdict, Failure> {
        config.check()?;
        let test = load(&context, &config)?;
        for note in &test.notes {
            run::report_finding("info", "test-config", note);
        }
        if context.dry_run {
            for line in dry_run::describe(&test, context.seed)? {
                run::progress(&line, 0, 0);
                run::report_finding("info", "dry-run", &line);
            }
            return Ok(Verdict::passed("nothing was created"));
        }
        execute::run_test(&context, &config, &test)
    }
}

kperf_sdk::export_benchmark!(PodStartupLatency);

/// `test-` and six letters and digits, by the run, so that no two runs meet.
fn default_prefix(run_id: &str) -> String {
    let mut random = Random::new(digest(run_id.as_bytes()));
    let letters = b"bcdfghjklmnpqrstvwxz2456789";
    let drawn = (0..6).filter_map(|_| {
        let at = random.below(letters.len() as u64);
        letters.get(at as usize).map(|&letter| char::from(letter))
    });
    format!("test-{}", drawn.collect::<String>())
}

fn load(context: &RunContext, config: &Config) -> Result<Test, Failure> {
    let prefix = default_prefix(&context.run_id);
    let Some(path) = &config.test_config else {
        let workload = config.workload.clone().unwrap_or_default();
        let files = workload::files(&workload);
        let sources = Sources::new(files, "", context.seed, Default::default());
        return Test::load(&sources, workload::CONFIG_PATH, &prefix);
    };
    let read: Arc<ReadFile> =
        Arc::new(|path: &str| run::read_file(path).map_err(|failure| failure.message));
    let mut variables = config.overrides.clone();
    variables.insert("Nodes".to_owned(), Value::from(nodes(config)?));
    let directory = directory_of(path);
    let name = path
        .rsplit_once('/')
        .map_or(path.as_str(), |(_, name)| name);
    let sources = Sources::new(read, directory, context.seed, variables);
    Test::load(&sources, name, &prefix)
}

/// `.Nodes`: as configured, else the schedulable untainted ones, else 1.
fn nodes(config: &Config) -> Result<u64, Failure> {
    if let Some(nodes) = config.nodes {
        return Ok(u64::from(nodes));
    }
    match cluster::list(&Kind::new("v1", "Node"), &Scope::everywhere()) {
        Ok(nodes) => Ok(nodes.iter().filter(|node| takes_pods(node)).count() as u64),
        Err(failure) if failure.code == "denied" => {
            run::report_finding(
                "info",
                "nodes-not-counted",
                "`.Nodes` is 1 in templates: grant `list:nodes` to have the nodes counted, or set `nodes`",
            );
            Ok(1)
        }
        Err(failure) if failure.code == "too-large" => Err(Failure::invalid_config(
            "nodes",
            "there are too many nodes to count them: set `nodes`",
        )),
        Err(failure) => Err(failure),
    }
}

/// Whether a node is schedulable and untainted. KWOK's taint does not count: pods for its nodes tolerate it.
fn takes_pods(node: &str) -> bool {
    let node: Value = serde_json::from_str(node).unwrap_or_default();
    let is_true = |value: Option<&Value>| value.and_then(Value::as_bool) == Some(true);
    let keeps_off = |taint: &Value| {
        let text = |key: &str| taint.get(key).and_then(Value::as_str).unwrap_or("");
        matches!(text("effect"), "NoSchedule" | "NoExecute") && text("key") != "kwok.x-k8s.io/node"
    };
    let tainted = node
        .pointer("/spec/taints")
        .and_then(Value::as_array)
        .is_some_and(|taints| taints.iter().any(keeps_off));
    !is_true(node.pointer("/spec/unschedulable")) && !tainted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_that_of_the_run() {
        let prefix = default_prefix("7f3a");
        assert_eq!(prefix.len(), "test-".len() + 6);
        assert_eq!(prefix, default_prefix("7f3a"));
        assert_ne!(prefix, default_prefix("7f3b"));
    }

    #[test]
    fn only_nodes_that_take_pods_count() {
        let tainted = |key: &str, effect: &str| {
            takes_pods(&json!({"spec": {"taints": [{"key": key, "effect": effect}]}}).to_string())
        };
        assert!(takes_pods("{}"));
        assert!(!takes_pods(r#"{"spec": {"unschedulable": true}}"#));
        assert!(tainted("kwok.x-k8s.io/node", "NoSchedule"));
        assert!(tainted("a", "PreferNoSchedule"));
        assert!(!tainted(
            "node-role.kubernetes.io/control-plane",
            "NoSchedule"
        ));
    }
}
