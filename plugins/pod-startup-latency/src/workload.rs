//! The workload for those without a test config: it is one, made here, so that there is one way to run.

use std::sync::Arc;

use go_template::functions::cluster_loader::ReadFile;
use serde_json::{Value, json};

use crate::config::Workload;

/// Under which its test config is read.
pub const CONFIG_PATH: &str = "workload.yaml";

const POD_PATH: &str = "pod.yaml";

/// The label by which its pods are found.
const GROUP: &str = "pod-startup-latency";

/// Reads the files of the test that creates this workload. JSON is YAML.
pub fn files(workload: &Workload) -> Arc<ReadFile> {
    let config = literal(&test_config(workload).to_string());
    let pod = literal(&pod_template(workload).to_string());
    Arc::new(move |path| match path {
        CONFIG_PATH => Ok(config.clone()),
        POD_PATH => Ok(pod.clone()),
        _ => Err("there is no such file".to_owned()),
    })
}

/// A text that a template renders as it is.
fn literal(text: &str) -> String {
    text.replace("{{", "{{`{{`}}")
}

fn test_config(workload: &Workload) -> Value {
    let Workload {
        pods, namespaces, ..
    } = workload;
    let namespaces = (*namespaces).max(1);
    let (each, rest) = (pods / namespaces, pods % namespaces);
    // The first namespaces take one pod more each when the division leaves a rest.
    let phases: Vec<Value> = [(1, rest, each + 1), (rest + 1, namespaces, each)]
        .into_iter()
        .filter(|(min, max, _)| min <= max)
        .map(|(min, max, replicas)| {
            json!({
                "namespaceRange": {"min": min, "max": max},
                "replicasPerNamespace": replicas,
                "tuningSet": "rate",
                "objectBundle": [{"basename": "pod", "objectTemplatePath": POD_PATH}],
            })
        })
        .collect();
    let selector = format!("group={GROUP}");
    json!({
        "name": "pod-startup-latency",
        "namespace": {"number": namespaces},
        // Without a burst this is an even pace, and all phases share it.
        "tuningSets": [{"name": "rate", "globalQPSLoad": {"qps": workload.rate_per_second, "burst": 1}}],
        "steps": [
            {"name": "start", "measurements": [{
                "identifier": "PodStartupLatency", "method": "PodStartupLatency",
                "params": {"action": "start", "labelSelector": selector},
            }]},
            {"name": "create", "phases": phases},
            {"name": "wait", "measurements": [{
                "identifier": "WaitForRunningPods", "method": "WaitForRunningPods",
                "params": {
                    "desiredPodCount": pods, "labelSelector": selector,
                    "timeout": workload.timeout, "refreshInterval": "500ms",
                },
            }]},
            {"name": "gather", "measurements": [{
                "identifier": "PodStartupLatency", "method": "PodStartupLatency",
                "params": {"action": "gather"},
            }]},
        ],
    })
}

fn pod_template(workload: &Workload) -> Value {
    let mut node_selector = workload.node_selector.clone();
    let mut tolerations: Vec<Value> = workload
        .tolerations
        .iter()
        .cloned()
        .map(Value::Object)
        .collect();
    if workload.kwok {
        node_selector.insert("type".to_owned(), "kwok".to_owned());
        tolerations.push(json!({
            "key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule",
        }));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"labels": {"group": GROUP}},
        "spec": {
            "nodeSelector": node_selector,
            "tolerations": tolerations,
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "pause", "image": workload.image}],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cl2::source::Sources;
    use crate::cl2::test::{StepWork, Test};

    fn load(workload: &Workload) -> Test {
        let sources = Sources::new(files(workload), "", 1, serde_json::Map::new());
        Test::load(&sources, CONFIG_PATH, "test-abcdef").unwrap()
    }

    fn phases(test: &Test) -> Vec<(Vec<String>, u32)> {
        let StepWork::Phases(phases) = &test.steps[1].work else {
            panic!("the second step creates");
        };
        phases
            .iter()
            .map(|phase| (phase.namespaces.clone(), phase.replicas_per_namespace))
            .collect()
    }

    #[test]
    fn nothing_is_left_unread() {
        let test = load(&Workload::default());
        assert_eq!(test.notes, Vec::<String>::new());
        assert_eq!(phases(&test), [(vec!["test-abcdef-1".to_owned()], 10)]);
    }

    #[test]
    fn pods_are_spread_evenly() {
        let test = load(&Workload {
            pods: 8,
            namespaces: 3,
            ..Workload::default()
        });
        let names = |numbers: &[u32]| numbers.iter().map(|n| format!("test-abcdef-{n}")).collect();
        assert_eq!(phases(&test), [(names(&[1, 2]), 3), (names(&[3]), 2)]);
    }

    #[test]
    fn what_the_user_writes_is_no_template() {
        let test = load(&Workload {
            kwok: true,
            image: "a{{.b}}\"c".to_owned(),
            ..Workload::default()
        });
        let StepWork::Phases(phases) = &test.steps[1].work else {
            panic!("the second step creates");
        };
        let pods = phases[0].bundle[0]
            .0
            .manifests("test-abcdef-1", 4, &mut Vec::new())
            .unwrap();
        assert_eq!(pods[0]["metadata"]["name"], "pod-4");
        assert_eq!(pods[0]["spec"]["containers"][0]["image"], "a{{.b}}\"c");
        assert_eq!(pods[0]["spec"]["nodeSelector"]["type"], "kwok");
        assert_eq!(
            pods[0]["spec"]["tolerations"][0]["key"],
            "kwok.x-k8s.io/node"
        );
    }
}
