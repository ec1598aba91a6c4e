//! Every option of a workload, as far as a plan shows it.

#![expect(clippy::unwrap_used, reason = "a test's own helpers may fail it")]

use std::collections::BTreeMap;

use kperf_sdk::Failure;
use kubevirt_density::{Churn, Config, Namespaces, Op, Pace, Plan, WORKLOAD_LABEL};
use serde_json::{Value, json};

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p-{{.iteration}}-{{.replica}}\n  namespace: {{.namespace}}\n";

fn config(value: Value) -> Result<Config, Failure> {
    kperf_sdk::config::parse(&value.to_string())
}

/// A plan in which `pod.yaml` is a template.
fn plan(value: Value) -> Result<Plan, Failure> {
    let templates = BTreeMap::from([("pod.yaml".to_owned(), POD.to_owned())]);
    Plan::new(&config(value)?, &templates, "run-1")
}

fn with(workload: Value) -> Value {
    let mut whole = json!({
        "name": "w",
        "objects": [{"templateFile": "pod.yaml", "replicas": 3, "inputVars": {"namespace": "ns"}}]
    });
    for (key, value) in workload.as_object().unwrap() {
        whole[key] = value.clone();
    }
    json!({"workloads": [whole]})
}

fn with_object(object: Value) -> Value {
    let mut whole = json!({"templateFile": "pod.yaml", "inputVars": {"namespace": "ns"}});
    for (key, value) in object.as_object().unwrap() {
        whole[key] = value.clone();
    }
    json!({"workloads": [{"objects": [whole]}]})
}

fn template(text: &str, variables: Value) -> Value {
    let mut variables = variables;
    variables["namespace"] = json!("ns");
    json!({"workloads": [{"objects": [{"objectTemplate": text, "inputVars": variables}]}]})
}

fn example() -> (Config, BTreeMap<String, String>) {
    let yaml = include_str!("../../../examples/workloads/kubevirt-density/kubevirt-density.yaml");
    let vmi =
        include_str!("../../../examples/workloads/kubevirt-density/templates/vmi-ephemeral.yaml");
    let file: Value = serde_yaml::from_str(yaml).unwrap();
    let templates = BTreeMap::from([("templates/vmi-ephemeral.yaml".to_owned(), vmi.to_owned())]);
    (config(file).unwrap(), templates)
}

#[test]
fn the_example_is_read_and_rendered() {
    let (config, templates) = example();
    let files: Vec<_> = config.template_files().unwrap().into_iter().collect();
    assert_eq!(files, ["templates/vmi-ephemeral.yaml"]);
    let plan = Plan::new(&config, &templates, "run-1").unwrap();
    assert_eq!(plan.warnings, Vec::<String>::new());
    assert_eq!(plan.global_limit, None);
    let workload = &plan.workloads[0];
    assert_eq!(workload.workload.name, "kubevirt-density-100");
    assert_eq!(workload.workload.max_wait_ns, 1_800_000_000_000);
    assert_eq!(workload.workload.wait_when_finished_ns, 30_000_000_000);
    let pace = Pace {
        per_sec: 20.0,
        burst: 20,
    };
    assert_eq!(workload.workload.pace, Some(pace));
    let objects: Vec<_> = workload.objects[0]
        .manifests(1)
        .map(Result::unwrap)
        .collect();
    assert_eq!(objects.len(), 100);
    let last = &objects[99];
    assert_eq!(last.name(), Some("kubevirt-density-1-100"));
    assert_eq!(last.namespace, "kubevirt-density-1");
    let metadata = &last.object["metadata"];
    assert_eq!(metadata["namespace"], "kubevirt-density-1");
    assert_eq!(metadata["labels"]["name"], "kubevirt-density-1-100");
    assert_eq!(metadata["labels"][WORKLOAD_LABEL], "run-1");
    let image = last
        .object
        .pointer("/spec/volumes/0/containerDisk/image")
        .unwrap();
    assert_eq!(
        image,
        "registry:5000/kubevirt/cirros-container-disk-demo:devel"
    );
    assert_eq!(workload.objects[0].readiness.running, "running");
}

#[test]
fn namespaces_follow_the_iteration_when_asked() {
    let shared = plan(with(json!({"iterationCount": 2}))).unwrap();
    assert_eq!(shared.workloads[0].workload.namespaces, Namespaces::Shared);
    assert_eq!(shared.workloads[0].objects[0].namespace(2), "ns-1");
    let own = plan(with(
        json!({"iterationCount": 2, "namespacedIterations": true}),
    ))
    .unwrap();
    let workload = &own.workloads[0];
    assert!(workload.namespaces(2).iter().eq(["ns-2"]));
    let labels = json!({WORKLOAD_LABEL: "run-1"});
    let metadata = json!({"name": "ns-2", "labels": labels});
    assert_eq!(workload.namespace_manifests(2)[0]["metadata"], metadata);
    let second = workload.objects[0].manifest(2, 3).unwrap();
    assert_eq!(second.name(), Some("p-2-3"));
    assert_eq!(second.object["metadata"]["namespace"], "ns-2");
}

#[test]
fn counts_waits_and_flags_arrive() {
    let plan = plan(with(json!({
        "uuid": "unused",
        "iterationCount": 4,
        "iterationInterval": "5s",
        "iterationCreationWait": true,
        "iterationCleanup": true,
        "iterationDeletionWait": true,
        "maxWaitTimeout": 1_000_000_000_u64,
        "qps": 2.5,
        "waitWhenFinished": "1m30s"
    })))
    .unwrap();
    let workload = &plan.workloads[0].workload;
    assert_eq!(workload.iterations, 4);
    assert_eq!(workload.interval_ns, 5_000_000_000);
    assert!(workload.creation_wait && workload.cleanup && workload.deletion_wait);
    assert_eq!(workload.max_wait_ns, 1_000_000_000);
    assert_eq!(workload.wait_when_finished_ns, 90_000_000_000);
    assert_eq!(
        workload.pace,
        Some(Pace {
            per_sec: 2.5,
            burst: 3
        })
    );
}

#[test]
fn absent_options_are_as_there() {
    let plan = plan(with(json!({"iterationDeletionWait": true}))).unwrap();
    let workload = &plan.workloads[0].workload;
    assert_eq!(workload.iterations, 1);
    assert!(!workload.creation_wait && !workload.cleanup);
    assert!(
        !workload.deletion_wait,
        "without iterationCleanup there is nothing to wait for"
    );
    assert_eq!(workload.interval_ns, 0);
    assert_eq!(workload.wait_when_finished_ns, 0);
    assert_eq!(workload.max_wait_ns, 1_800_000_000_000);
}

#[test]
fn zero_means_no_limit() {
    for (limit, pace) in [
        (json!({}), None),
        (json!({"qps": 0, "burst": 5}), None),
        (json!({"qps": 20, "burst": 0}), None),
        (
            json!({"qps": 20, "burst": 7}),
            Some(Pace {
                per_sec: 20.0,
                burst: 7,
            }),
        ),
        (
            json!({"qps": 0.5}),
            Some(Pace {
                per_sec: 0.5,
                burst: 1,
            }),
        ),
    ] {
        let planned = plan(with(limit.clone())).unwrap();
        assert_eq!(planned.workloads[0].workload.pace, pace, "{limit}");
        let mut whole = with(json!({}));
        whole["globalConfig"] = limit.clone();
        assert_eq!(plan(whole).unwrap().global_limit, pace, "{limit}");
    }
}

#[test]
fn container_variables_have_defaults_and_one_slash() {
    let image = |text: &str, whole: Value| {
        let text = format!("{POD}spec: {{image: {text}}}");
        let mut whole = whole;
        whole["workloads"] = template(&text, whole["vars"].clone())["workloads"].clone();
        whole.as_object_mut().unwrap().remove("vars");
        let plan = plan(whole).unwrap();
        let object = plan.workloads[0].objects[0].manifest(1, 1).unwrap().object;
        let image = object["spec"]["image"].as_str().unwrap().to_owned();
        (image, plan.warnings.len())
    };
    let slash = "'{{.containerPrefix}}/i:{{ .containerTag }}'";
    let empty = json!({"containerPrefix": "", "containerTag": ""});
    let (text, _) = image(slash, json!({"vars": empty}));
    assert_eq!(text, "registry:5000/kubevirt/i:devel");
    let (text, _) = image(
        slash,
        json!({"vars": empty, "containerPrefix": "r/", "containerTag": "t"}),
    );
    assert_eq!(text, "r/i:t");
    // As the README of perfscale-load-generator writes it.
    let written = json!({"containerPrefix": "registry:5000/kubevirt/", "containerTag": "x"});
    assert_eq!(
        image(slash, json!({"vars": written})).0,
        "registry:5000/kubevirt/i:x"
    );
    let joined = "'{{.containerPrefix}}i:{{.containerTag}}'";
    assert_eq!(
        image(joined, json!({"vars": written})).0,
        "registry:5000/kubevirt/i:x"
    );
    // Absent is not empty: nothing is filled in.
    assert_eq!(image(slash, json!({"vars": {}})), ("/i:".to_owned(), 2));
}

#[test]
fn missing_variables_render_empty_and_are_warned_about() {
    let text = format!("{POD}  labels: {{a: \"{{{{.nope}}}}\"}}\n");
    let plan = plan(template(&text, json!({}))).unwrap();
    let object = plan.workloads[0].objects[0].manifest(1, 1).unwrap().object;
    assert_eq!(object["metadata"]["labels"]["a"], "");
    assert_eq!(
        plan.warnings,
        [
            "workloads[0].objects[0].objectTemplate:6:18: .nope has no value and is rendered as nothing: \
          set it in workloads[0].objects[0].inputVars"
        ]
    );
}

#[test]
fn a_foreign_namespace_is_warned_about() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: elsewhere}";
    let plan = plan(template(text, json!({}))).unwrap();
    assert!(
        plan.warnings[0].contains("elsewhere"),
        "{:?}",
        plan.warnings
    );
}

#[test]
fn manifests_are_made_one_by_one() {
    let plan = plan(with_object(json!({"replicas": 1_000_000_000}))).unwrap();
    let mut manifests = plan.workloads[0].objects[0].manifests(1);
    assert_eq!(manifests.size_hint().0, 1_000_000_000);
    assert_eq!(manifests.next().unwrap().unwrap().name(), Some("p-1-1"));
    let names: Vec<_> = plan.workloads[0].objects[0]
        .manifests(1)
        .numbered(7, 2)
        .map(|manifest| manifest.unwrap().name().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["p-1-7", "p-1-8"]);
}

#[test]
fn a_single_workload_is_an_iteration_with_clean_up() {
    let single = json!({
        "name": "b", "type": "burst", "timeout": "1h", "count": 5,
        "object": {"templateFile": "pod.yaml", "inputVars": {"namespace": "ns"}}
    });
    let planned = plan(single.clone()).unwrap();
    let workload = &planned.workloads[0].workload;
    assert_eq!((workload.name.as_str(), workload.iterations), ("b", 1));
    assert!(workload.creation_wait && workload.cleanup && workload.deletion_wait);
    assert_eq!(workload.max_wait_ns, 3_600_000_000_000);
    assert_eq!((workload.pace, workload.churn), (None, None));
    assert_eq!(workload.objects[0].replicas, 5);
    assert!(planned.workloads[0].namespaces(1).iter().eq(["ns"]));

    let mut steady = single;
    steady["type"] = json!("steady-state");
    steady["churn"] = json!(2);
    let churn = Churn {
        replaced: 2,
        pause_ns: 20_000_000_000,
        duration_ns: 3_600_000_000_000,
    };
    assert_eq!(
        plan(steady.clone()).unwrap().workloads[0].workload.churn,
        Some(churn)
    );
    steady["minChurnSleep"] = json!("30s");
    let pause_ns = 30_000_000_000;
    assert_eq!(
        plan(steady).unwrap().workloads[0].workload.churn,
        Some(Churn { pause_ns, ..churn })
    );
}

#[test]
fn readiness_of_the_user_replaces_that_of_the_kind() {
    let checks = json!([
        {"path": "/status/conditions/[type=example.org/Up]/status", "op": "equals", "value": "True"},
        {"path": "/status/ready", "op": "at-least-field", "value": "/spec/ready"},
        {"path": "/status/error", "op": "absent"}
    ]);
    let plan = plan(with_object(json!({"readiness": checks}))).unwrap();
    let readiness = &plan.workloads[0].objects[0].readiness;
    assert_eq!(readiness.running, "ready");
    let ops: Vec<_> = readiness.milestones[1]
        .checks
        .iter()
        .map(|check| check.op)
        .collect();
    assert_eq!(ops, [Op::Equals, Op::AtLeastField, Op::Absent]);
}

#[test]
fn what_is_wrong_is_named_by_its_key() {
    let single = |more: Value| {
        let mut whole = json!({"count": 2, "object": {"templateFile": "pod.yaml", "inputVars": {"namespace": "ns"}}});
        for (key, value) in more.as_object().unwrap() {
            whole[key] = value.clone();
        }
        whole
    };
    let mixed = |key: &str, value: Value| {
        let mut whole = with(json!({}));
        whole[key] = value;
        whole
    };
    let readiness = |check: Value| with_object(json!({"readiness": [check]}));
    let fixed = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}";
    let replicated = json!({"workloads": [{"objects": [{"objectTemplate": fixed, "replicas": 2, "inputVars": {"namespace": "ns"}}]}]});
    let one = json!({"objectTemplate": fixed, "inputVars": {"namespace": "ns"}});
    for (value, key, message) in [
        (json!({}), "workloads", "at least one workload"),
        (
            json!({"workloads": []}),
            "workloads",
            "at least one workload",
        ),
        (
            mixed("type", json!("burst")),
            "type",
            "cannot stand beside workloads",
        ),
        (
            mixed("count", json!(1)),
            "count",
            "cannot stand beside workloads",
        ),
        (
            single(json!({"globalConfig": {}})),
            "globalConfig",
            "cannot stand beside count",
        ),
        (
            with(json!({"objects": []})),
            "workloads[0].objects",
            "at least one object",
        ),
        (
            with(json!({"iterationCount": 0})),
            "workloads[0].iterationCount",
            "must be at least 1",
        ),
        (
            with(json!({"iterationInterval": "-1s"})),
            "workloads[0].iterationInterval",
            "must not be negative",
        ),
        (
            with(json!({"waitWhenFinished": -1})),
            "workloads[0].waitWhenFinished",
            "must not be negative",
        ),
        (
            with(json!({"maxWaitTimeout": 0})),
            "workloads[0].maxWaitTimeout",
            "must be above 0",
        ),
        (
            with(json!({"qps": -1})),
            "workloads[0].qps",
            "must not be negative",
        ),
        (
            with(json!({"burst": -1})),
            "workloads[0].burst",
            "must not be negative",
        ),
        (
            with_object(json!({"replicas": 0})),
            "workloads[0].objects[0].replicas",
            "must be at least 1",
        ),
        (
            with_object(json!({"templateFile": ""})),
            "workloads[0].objects[0].templateFile",
            "is required",
        ),
        (
            with_object(json!({"templateFile": "x.yaml"})),
            "workloads[0].objects[0].templateFile",
            "there is no template x.yaml",
        ),
        (
            with_object(json!({"objectTemplate": ""})),
            "workloads[0].objects[0].objectTemplate",
            "cannot stand beside templateFile",
        ),
        (
            with_object(json!({"inputVars": {}})),
            "workloads[0].objects[0].inputVars.namespace",
            "is required",
        ),
        (
            with_object(json!({"inputVars": {"namespace": "A_b"}})),
            "workloads[0].objects[0].inputVars.namespace",
            "cannot begin",
        ),
        (
            with_object(json!({"inputVars": {"namespace": "a", "replica": 1}})),
            "workloads[0].objects[0].inputVars.replica",
            "is set by the workload",
        ),
        (
            readiness(json!({"path": "/a", "op": "is"})),
            "workloads[0].objects[0].readiness[0].op",
            "is none of exists",
        ),
        (
            readiness(json!({"path": "a", "op": "exists"})),
            "workloads[0].objects[0].readiness[0].path",
            "is not a path",
        ),
        (
            readiness(json!({"path": "/a/[b]", "op": "exists"})),
            "workloads[0].objects[0].readiness[0].path",
            "[key=value]",
        ),
        (
            readiness(json!({"path": "/a", "op": "exists", "value": 1})),
            "workloads[0].objects[0].readiness[0].value",
            "left out",
        ),
        (
            readiness(json!({"path": "/a", "op": "one-of", "value": 1})),
            "workloads[0].objects[0].readiness[0].value",
            "a list",
        ),
        (
            readiness(json!({"path": "/a", "op": "at-least"})),
            "workloads[0].objects[0].readiness[0].value",
            "a number",
        ),
        (
            readiness(json!({"path": "/a", "op": "equals-field", "value": "b"})),
            "workloads[0].objects[0].readiness[0].value",
            "is not a path",
        ),
        (single(json!({"object": null})), "object", "is required"),
        (
            single(json!({"count": null, "name": "a"})),
            "count",
            "is required",
        ),
        (single(json!({"count": 0})), "count", "must be at least 1"),
        (single(json!({"churn": 1})), "churn", "steady-state only"),
        (
            single(json!({"type": "steady-state"})),
            "churn",
            "is required",
        ),
        (
            single(json!({"type": "steady-state", "churn": 3})),
            "churn",
            "at most count, which is 2",
        ),
        (
            template("{{.a", json!({})),
            "workloads[0].objects[0]",
            "unclosed action",
        ),
        (
            template("a: [", json!({})),
            "workloads[0].objects[0]",
            "is not YAML",
        ),
        (
            template("a: b\n---\nc: d", json!({})),
            "workloads[0].objects[0]",
            "2 documents",
        ),
        (
            replicated,
            "workloads[0].objects[0]",
            "for replicas 1 and 2 alike",
        ),
        (
            json!({"workloads": [{"objects": [one, one]}]}),
            "workloads[0].objects[1]",
            "as workloads[0].objects[0] does",
        ),
        (
            json!({"workloads": [{"iterationCount": 2, "objects": [one]}]}),
            "workloads[0].objects[0]",
            "in every iteration",
        ),
    ] {
        let failure = plan(value.clone())
            .err()
            .unwrap_or_else(|| panic!("{value} is accepted"));
        assert_eq!(failure.find_hint("key"), Some(key), "{failure:?}");
        assert!(
            failure.message.starts_with(key) && failure.message.contains(message),
            "{failure:?}"
        );
        assert_eq!(failure.code, "invalid-config");
    }
}

#[test]
fn unknown_keys_are_refused() {
    for value in [
        json!({"workload": []}),
        with(json!({"iterations": 1})),
        with_object(json!({"replica": 1})),
        with(json!({"maxWaitTimeout": "30"})),
        json!({"type": "spike", "count": 1}),
    ] {
        assert_eq!(
            config(value.clone()).unwrap_err().code,
            "invalid-config",
            "{value}"
        );
    }
}

#[test]
fn objects_that_do_not_meet_may_share_names() {
    let one = json!({"objectTemplate": "apiVersion: v1\nkind: Pod\nmetadata: {name: a}", "inputVars": {"namespace": "ns"}});
    for more in [
        json!({"iterationCleanup": true}),
        json!({"namespacedIterations": true}),
    ] {
        let mut whole = with(more);
        whole["workloads"][0]["iterationCount"] = json!(3);
        whole["workloads"][0]["objects"] = json!([one]);
        plan(whole).unwrap();
    }
}

#[test]
fn the_schema_describes_limits_and_takes_both_durations() {
    let schema = kperf_sdk::config::schema::<Config>(None);
    let limit = schema.to_string();
    assert!(limit.contains("0 = no limit"), "{limit}");
    assert_eq!(schema["additionalProperties"], json!(false));
    let text = schema["properties"]["timeout"].to_string();
    assert!(
        text.contains("\"string\"") && text.contains("\"integer\""),
        "{text}"
    );
}

#[test]
fn workloads_are_told_apart_whatever_their_names() {
    let titles = |names: &[&str]| -> Vec<String> {
        let workloads: Vec<Value> = names
            .iter()
            .map(|name| with(json!({ "name": name }))["workloads"][0].clone())
            .collect();
        let plan = plan(json!({ "workloads": workloads })).unwrap();
        assert!(
            plan.workloads
                .iter()
                .map(|one| one.index)
                .eq(0..names.len())
        );
        plan.workloads.into_iter().map(|one| one.title).collect()
    };
    assert_eq!(titles(&["a", "b"]), ["a", "b"]);
    assert_eq!(titles(&["a", "b", "a"]), ["a[0]", "b", "a[2]"]);
    assert_eq!(
        titles(&["", "", "a"]),
        ["workloads[0]", "workloads[1]", "a"]
    );
    assert_eq!(titles(&[""]), [""]);
}
