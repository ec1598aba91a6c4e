//! Whole test configs, from files to a plan.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kperf_sdk::Failure;
use kperf_sdk::benchmark::cluster::Kind;
use pod_startup_latency::cl2::calls::{Action, Selector};
use pod_startup_latency::cl2::source::Sources;
use pod_startup_latency::cl2::test::{StepWork, Test};
use pod_startup_latency::cl2::tuning::Load;
use pod_startup_latency::dry_run;
use serde_json::{Map, Value, json};

fn variables(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

/// The test config under `examples/`, with these variables.
fn example(overrides: Value) -> Test {
    let directory: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/workloads/clusterloader2")
        .canonicalize()
        .unwrap();
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| error.to_string());
    let sources = Sources::new(
        Arc::new(read),
        directory.to_str().unwrap(),
        1,
        variables(overrides),
    );
    Test::load(&sources, "config.yaml", "test-2wuaym").unwrap()
}

/// A test config given as text, beside other files.
fn load(config: &str, files: &[(&str, &str)]) -> Result<Test, Failure> {
    let mut all: Vec<(String, String)> = vec![("dir/config.yaml".to_owned(), config.to_owned())];
    all.extend(
        files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned())),
    );
    let read = move |path: &str| {
        let found = all.iter().find(|(known, _)| known == path);
        found
            .map(|(_, text)| text.clone())
            .ok_or_else(|| "there is no such file".to_owned())
    };
    let sources = Sources::new(Arc::new(read), "dir", 1, variables(json!({"Nodes": 4})));
    Test::load(&sources, "config.yaml", "test-2wuaym")
}

const CONFIG_MAP: (&str, &str) = (
    "dir/cm.yaml",
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{.Name}}\n",
);

#[test]
fn the_introductory_test_is_read_as_clusterloader2_reads_it() {
    let test = example(json!({"Nodes": 3}));
    assert_eq!(test.name, "test");
    assert_eq!(test.notes, Vec::<String>::new());
    assert_eq!(test.all_namespaces(), ["test-2wuaym-1"]);
    let names: Vec<&str> = test.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "[step: 01] Start measurements",
            "[step: 02] Create deployments",
            "[step: 03] Wait for pods to be running",
            "[step: 04] Gather measurements"
        ]
    );
    let StepWork::Measurements(started) = &test.steps[0].work else {
        panic!("the first step starts measurements");
    };
    let Action::StartupStart {
        selector,
        thresholds,
    } = &started[0].action
    else {
        panic!("{:?}", started[0]);
    };
    assert_eq!(
        *selector,
        Selector {
            labels: "group = test-pod".to_owned(),
            ..Selector::default()
        }
    );
    assert_eq!(thresholds.all_ns, Some(20_000_000_000));
    let Action::ControlledStart {
        kind,
        operation_timeout_ns,
        check_updated,
        ..
    } = &started[1].action
    else {
        panic!("{:?}", started[1]);
    };
    assert_eq!(kind, "Deployment");
    assert_eq!(*operation_timeout_ns, 120_000_000_000);
    assert!(check_updated);

    let StepWork::Phases(phases) = &test.steps[1].work else {
        panic!("the second step creates");
    };
    assert_eq!(phases[0].load, Load::Qps { qps: 1.0 });
    let template = &phases[0].bundle[0].0;
    assert_eq!(template.kinds(), [Kind::new("apps/v1", "Deployment")]);
    let deployment = &template
        .manifests("test-2wuaym-1", 0, &mut Vec::new())
        .unwrap()[0];
    assert_eq!(
        *deployment,
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "test-deployment-0",
                "namespace": "test-2wuaym-1",
                "labels": {"group": "test-deployment"},
            },
            "spec": {
                "replicas": 10,
                "selector": {"matchLabels": {"group": "test-pod", "name": "test-deployment-0"}},
                "template": {
                    "metadata": {"labels": {"group": "test-pod", "name": "test-deployment-0"}},
                    "spec": {
                        "tolerations": [
                            {"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}
                        ],
                        "containers": [{
                            "name": "test-deployment-0",
                            "image": "registry.k8s.io/pause:3.10",
                            "resources": {"requests": {"cpu": "10m", "memory": "10M"}},
                        }],
                    },
                },
            },
        })
    );
}

#[test]
fn overrides_scale_the_introductory_test() {
    let test = example(json!({
        "Nodes": 3, "CL2_NAMESPACES": 2, "CL2_DEPLOYMENTS": 3, "CL2_REPLICAS": 7, "CL2_QPS": 0.5,
    }));
    let lines = dry_run::describe(&test, 1).unwrap();
    assert_eq!(
        lines,
        [
            "namespaces: 2 (test-2wuaym-1 to test-2wuaym-2)",
            "[step: 01] Start measurements: PodStartupLatency PodStartupLatency, \
             WaitForControlledPodsRunning WaitForControlledPodsRunning",
            "[step: 02] Create deployments: 6 actions, the last one due after 10s",
            "[step: 02] Create deployments: create 3 Deployment in test-2wuaym-1",
            "[step: 02] Create deployments: create 3 Deployment in test-2wuaym-2",
            "[step: 03] Wait for pods to be running: WaitForControlledPodsRunning WaitForControlledPodsRunning",
            "[step: 04] Gather measurements: PodStartupLatency PodStartupLatency",
        ]
    );
    let StepWork::Phases(phases) = &test.steps[1].work else {
        panic!("the second step creates");
    };
    let template = &phases[0].bundle[0].0;
    let deployment = &template.manifests("n", 2, &mut Vec::new()).unwrap()[0];
    assert_eq!(deployment["spec"]["replicas"], 7);
}

/// Every tuning set, a module in a module, several documents, scaling up and down.
#[test]
fn modules_bundles_and_all_tuning_sets() {
    let config = r#"
{{$qps := MultiplyInt .Nodes 5}}
Name: big
automanagedNamespaces: 2
tuningSets:
- {name: a, qpsLoad: {qps: {{$qps}}}}
- {name: b, randomizedLoad: {averageQps: 10}}
- {name: c, steppedLoad: {burstSize: 2, stepDelay: 10s}}
- {name: d, timeLimitedLoad: {timeLimit: 1m}}
- {name: e, randomizedTimeLimitedLoad: {timeLimit: 1m}}
- {name: f, parallelismLimitedLoad: {parallelismLimit: 3}}
- {name: g, globalQPSLoad: {qps: 2, burst: 4}}
- {name: h, poissonLoad: {expectedActionsPerSecond: 3}, initialDelay: 5s}
steps:
- module:
    path: modules/outer.yaml
    params: {replicas: 4}
- phases:
  - namespaceList: [kept]
    replicasPerNamespace: 1
    tuningSet: d
    objectBundle: [{basename: cm, objectTemplatePath: ../shared/cm.yaml}]
- measurements:
  - method: Timer
    instances:
    - {identifier: T1, params: {action: start, label: x}}
    - {identifier: T2, params: {action: start, label: y}}
"#;
    let outer = "steps:\n- name: up\n  phases:\n{{range $set := StringSplit \"c,g\"}}\
                 \x20 - {namespaceRange: {min: 1, max: 2}, replicasPerNamespace: {{$.replicas}}, tuningSet: {{$set}}, \
                 objectBundle: [{basename: cm-{{$set}}, objectTemplatePath: ../shared/cm.yaml}]}\n{{end}}\
                 - module: {path: modules/inner.yaml}\n";
    let inner = "steps:\n- name: down\n  phases:\n\
                 \x20 - {namespaceRange: {min: 1, max: 1}, replicasPerNamespace: 1, tuningSet: f, \
                 objectBundle: [{basename: cm-c, objectTemplatePath: ../shared/cm.yaml}]}\n";
    let several =
        "apiVersion: v1\nkind: ConfigMap\n---\napiVersion: v1\nkind: Secret\ntype: {{.NotThere}}\n";
    let test = load(
        config,
        &[
            ("dir/modules/outer.yaml", outer),
            ("dir/modules/inner.yaml", inner),
            ("shared/cm.yaml", several),
        ],
    )
    .unwrap();
    assert_eq!(test.name, "big");
    assert_eq!(
        test.all_namespaces(),
        ["test-2wuaym-1", "test-2wuaym-2", "kept"]
    );
    let notes = test.notes.join("\n");
    assert!(notes.contains("tuningSets[7].initialDelay"), "{notes}");
    assert!(notes.contains(".NotThere has no value"), "{notes}");
    let lines = dry_run::describe(&test, 1).unwrap();
    let of = |step: &str| -> Vec<&str> {
        lines
            .iter()
            .filter_map(|line| line.strip_prefix(&format!("[step: {step}")))
            .collect()
    };
    assert_eq!(
        of("01] up: "),
        [
            // Eight actions in bursts of two, and eight at two a second after a burst of four.
            "16 actions, the last one due after 30s",
            "create 8 ConfigMap in test-2wuaym-1",
            "create 8 ConfigMap in test-2wuaym-2",
            "create 8 Secret in test-2wuaym-1",
            "create 8 Secret in test-2wuaym-2",
        ]
    );
    assert_eq!(
        of("02] down: "),
        [
            "3 actions, the last one due after 0s, and as fast as workers go",
            "delete 3 ConfigMap in test-2wuaym-1",
            "delete 3 Secret in test-2wuaym-1",
        ]
    );
    assert_eq!(of("04]"), [": Timer T1, Timer T2"]);
}

#[test]
fn what_cannot_be_done_is_said_before_anything_is_created() {
    let step = |step: &str| {
        format!("name: t\ntuningSets: [{{name: q, qpsLoad: {{qps: 1}}}}]\nsteps:\n- {step}")
    };
    let measurement = |call: &str| step(&format!("{{name: probe, measurements: [{call}]}}"));
    let phase = |phase: &str| step(&format!("{{name: make, phases: [{phase}]}}"));
    for (config, words) in [
        (
            measurement("{method: SchedulingThroughput, identifier: x}"),
            &[
                "steps[0] (probe).measurements[0]",
                "SchedulingThroughput",
                "WaitForRunningPods",
            ][..],
        ),
        (
            measurement("{method: Timer, identifier: x, params: {action: pause}}"),
            &["Timer has no action `pause`"],
        ),
        (
            measurement("{method: PodStartupLatency, identifier: x, params: {action: gather}}"),
            &["nothing starts PodStartupLatency"],
        ),
        (
            measurement(
                "{method: WaitForControlledPodsRunning, identifier: x, params: {action: start, apiVersion: v1, kind: Pod}}",
            ),
            &["pods of a `Pod` cannot be waited for", "StatefulSet"],
        ),
        (
            measurement("{method: Sleep, identifier: x, params: {duration: 5}}"),
            &["params.duration", "1m30s"],
        ),
        (
            measurement("{method: Sleep}"),
            &["exactly one of identifier and instances"],
        ),
        (
            phase("{replicasPerNamespace: 1, tuningSet: z, objectBundle: []}"),
            &["[step: 01] make", "there is no `z`", "q"],
        ),
        (
            phase(
                "{replicasPerNamespace: 1, tuningSet: q, objectBundle: [{basename: a, objectTemplatePath: none.yaml}]}",
            ),
            &["dir/none.yaml", "no such file"],
        ),
        (
            phase("{namespaceRange: {min: 3, max: 1}, tuningSet: q}"),
            &["min 3 is above max 1"],
        ),
        (
            phase("{namespaceRange: {min: 1, max: 1}, namespaceList: [a], tuningSet: q}"),
            &["exclude each other"],
        ),
        (
            step("{name: none}"),
            &["steps[0] (none)", "exactly one of phases"],
        ),
        (step("{module: {path: config.yaml}}"), &["config.yaml"]),
        (
            "name: t\nchaosMonkey: {nodeFailure: {failureRate: 1}}".to_owned(),
            &["chaosMonkey", "not supported"],
        ),
        (
            "name: t\ntuningSets: [{name: q}]".to_owned(),
            &["tuningSets[0]", "exactly one load"],
        ),
        (
            "name: t\ntuningSets: [{name: q, qpsLoad: {}}]".to_owned(),
            &["tuningSets[0].qpsLoad.qps"],
        ),
        ("name: t\nnamespace: {number: 0}".to_owned(), &["above 0"]),
        ("name: {{.Nodes | NoSuch}}".to_owned(), &["config.yaml:1:"]),
        ("name: t".to_owned(), &["steps"]),
    ] {
        let failure = load(&config, &[CONFIG_MAP]).unwrap_err();
        assert_eq!(failure.code, "invalid-config", "{config}");
        for word in words {
            assert!(
                failure.message.contains(word),
                "{config}: {}",
                failure.message
            );
        }
    }
}

#[test]
fn unknown_keys_are_ignored_and_told_of() {
    let test = load(
        "name: t\nspeed: 3\ntuningSets: [{name: q, qpsLoad: {qps: 1, burst: 5}}]\nsteps:\n\
         - measurements: [{method: Sleep, identifier: s, params: {duration: 1s, unit: x}}]\n",
        &[],
    )
    .unwrap();
    assert_eq!(
        test.notes,
        [
            "nothing reads the key speed",
            "nothing reads the key steps[0].measurements[0].params.unit",
            "nothing reads the key tuningSets[0].qpsLoad.burst",
        ]
    );
}
