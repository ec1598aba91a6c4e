//! What "running" means, on objects as servers show them.

#![expect(clippy::unwrap_used, reason = "a test's own helpers may fail it")]

use kubevirt_density::{Check, Op, Readiness};
use serde_json::{Value, json};

fn field<'o>(object: &'o Value, path: &str) -> Option<&'o Value> {
    path.split('/').skip(1).try_fold(object, |at, step| {
        let pick = step
            .strip_prefix('[')
            .and_then(|step| step.strip_suffix(']'));
        match pick.and_then(|pick| pick.split_once('=')) {
            Some((key, value)) => at.as_array()?.iter().find(|item| item[key] == value),
            None => at.get(step),
        }
    })
}

fn holds(check: &Check, object: &Value) -> bool {
    let left = field(object, &check.path);
    let right = check.value.as_ref();
    let other = || field(object, right.unwrap().as_str().unwrap());
    let number = |value: Option<&Value>| value.and_then(Value::as_f64);
    match check.op {
        Op::Exists => left.is_some(),
        Op::Absent => left.is_none(),
        Op::Equals => left == right,
        Op::NotEquals => left != right,
        Op::OneOf => right
            .unwrap()
            .as_array()
            .unwrap()
            .iter()
            .any(|value| left == Some(value)),
        Op::AtLeast => number(left) >= number(right) && left.is_some(),
        Op::AtMost => number(left) <= number(right) && left.is_some(),
        Op::EqualsField => left == other(),
        Op::AtLeastField => number(left).unwrap_or(0.0) >= number(other()).unwrap(),
    }
}

/// The milestones that hold of `object`, by the rules for `created`.
fn reached(created: &Value, object: &Value) -> Vec<String> {
    Readiness::of(created, None)
        .milestones
        .into_iter()
        .filter(|milestone| !milestone.on_deletion)
        .filter(|milestone| milestone.checks.iter().all(|check| holds(check, object)))
        .map(|milestone| milestone.name)
        .collect()
}

fn of(api_version: &str, kind: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a", "generation": 2}})
}

fn with(mut object: Value, key: &str, value: Value) -> Value {
    object[key] = value;
    object
}

#[test]
fn phases_of_an_instance_that_were_skipped_count() {
    let vmi = of("kubevirt.io/v1", "VirtualMachineInstance");
    let phase = |phase: &str| reached(&vmi, &with(vmi.clone(), "status", json!({"phase": phase})));
    assert_eq!(reached(&vmi, &vmi), ["created"]);
    assert_eq!(phase("Pending"), ["created", "pending"]);
    assert_eq!(
        phase("Scheduled"),
        ["created", "pending", "scheduling", "scheduled"]
    );
    assert_eq!(
        phase("Running"),
        ["created", "pending", "scheduling", "scheduled", "running"]
    );
    assert_eq!(phase("Failed"), ["created", "failed"]);
    assert!(phase("Succeeded").ends_with(&["running".to_owned(), "succeeded".to_owned()]));
    let readiness = Readiness::of(&vmi, None);
    assert_eq!(
        (readiness.running.as_str(), readiness.failed.len()),
        ("running", 1)
    );
    let times: Vec<_> = readiness
        .milestones
        .iter()
        .map(|m| m.api_time.as_deref())
        .collect();
    assert_eq!(times[0], Some("/metadata/creationTimestamp"));
    let running = readiness
        .milestones
        .iter()
        .find(|m| m.name == "running")
        .unwrap();
    assert_eq!(
        running.api_time.as_deref(),
        Some("/status/phaseTransitionTimestamps/[phase=Running]/phaseTransitionTimestamp")
    );
    assert!(readiness.milestones.last().unwrap().on_deletion);
}

#[test]
fn other_kinds_run_when_their_status_says_so() {
    let conditions =
        |kind: &str, status: &str| json!({"conditions": [{"type": kind, "status": status}]});
    for (api_version, kind, running, status, not_yet) in [
        (
            "kubevirt.io/v1",
            "VirtualMachine",
            "ready",
            json!({"ready": true}),
            json!({"ready": false}),
        ),
        (
            "example.org/v1",
            "Widget",
            "ready",
            conditions("Ready", "True"),
            conditions("Ready", "False"),
        ),
        (
            "batch/v1",
            "Job",
            "complete",
            conditions("Complete", "True"),
            json!({"active": 1}),
        ),
        (
            "v1",
            "Node",
            "ready",
            conditions("Ready", "True"),
            conditions("Ready", "Unknown"),
        ),
        (
            "v1",
            "PersistentVolumeClaim",
            "bound",
            json!({"phase": "Bound"}),
            json!({"phase": "Pending"}),
        ),
        (
            "cdi.kubevirt.io/v1beta1",
            "DataVolume",
            "succeeded",
            json!({"phase": "Succeeded"}),
            json!({"phase": "Pending"}),
        ),
    ] {
        let object = of(api_version, kind);
        assert_eq!(Readiness::of(&object, None).running, running, "{kind}");
        let ready = |status: &Value| {
            reached(&object, &with(object.clone(), "status", status.clone()))
                .contains(&running.to_owned())
        };
        assert!(
            ready(&status) && !ready(&not_yet) && !ready(&json!({})),
            "{kind}"
        );
    }
    for (api_version, kind) in [
        ("v1", "ConfigMap"),
        ("rbac.authorization.k8s.io/v1", "Role"),
        ("policy/v1", "PodDisruptionBudget"),
    ] {
        assert_eq!(
            Readiness::of(&of(api_version, kind), None).running,
            "created"
        );
    }
}

#[test]
fn replicas_are_counted_against_what_is_asked_for() {
    for (api_version, kind, field) in [
        (
            "kubevirt.io/v1",
            "VirtualMachineInstanceReplicaSet",
            "readyReplicas",
        ),
        ("apps/v1", "Deployment", "availableReplicas"),
        ("apps/v1", "StatefulSet", "readyReplicas"),
    ] {
        let object = with(of(api_version, kind), "spec", json!({"replicas": 3}));
        let ready = |object: &Value, count: u64| {
            let status = json!({field: count, "observedGeneration": 2});
            reached(object, &with(object.clone(), "status", status)).contains(&"ready".to_owned())
        };
        assert!(
            ready(&object, 3) && ready(&object, 4) && !ready(&object, 2),
            "{kind}"
        );
        let default = with(object, "spec", json!({}));
        assert!(ready(&default, 1) && !ready(&default, 0), "{kind}");
    }
    let deployment = with(of("apps/v1", "Deployment"), "spec", json!({"replicas": 1}));
    let stale = with(
        deployment.clone(),
        "status",
        json!({"availableReplicas": 1, "observedGeneration": 1}),
    );
    assert_eq!(reached(&deployment, &stale), ["created"]);
}

#[test]
fn a_pod_is_ready_when_it_runs_and_says_so() {
    let pod = of("v1", "Pod");
    let status = |phase: &str, ready: &str| {
        let conditions =
            json!([{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": ready}]);
        reached(
            &pod,
            &with(
                pod.clone(),
                "status",
                json!({"phase": phase, "conditions": conditions}),
            ),
        )
    };
    assert_eq!(status("Pending", "False"), ["created", "scheduled"]);
    assert_eq!(
        status("Running", "False"),
        ["created", "scheduled", "running"]
    );
    assert_eq!(
        status("Running", "True"),
        ["created", "scheduled", "running", "ready"]
    );
    assert_eq!(
        status("Succeeded", "False"),
        ["created", "scheduled", "running"]
    );
    assert_eq!(
        status("Failed", "False"),
        ["created", "scheduled", "failed"]
    );
}

#[test]
fn a_pod_runs_from_the_start_of_its_container() {
    let readiness = Readiness::of(&of("v1", "Pod"), None);
    let milestones = &readiness.milestones;
    let running = milestones.iter().find(|one| one.name == "running").unwrap();
    let pod = json!({"status": {
        "startTime": "2024-07-29T19:29:40Z",
        "containerStatuses": [{"state": {"running": {"startedAt": "2024-07-29T19:29:52Z"}}}]
    }});
    let at = pod.pointer(running.api_time.as_deref().unwrap());
    assert_eq!(at, Some(&json!("2024-07-29T19:29:52Z")));
}
