//! Controllers, scheduler and kubelets at work.

use std::time::Duration;

use kperf_sim::{Lifecycle, Seed, Sim, SimConfig};
use serde_json::{Value, json};

use crate::client::{Client, start};

/// No objects but `nodes` nodes, and short delays.
pub(crate) fn quick(nodes: u32) -> SimConfig {
    SimConfig {
        seed_objects: Seed {
            nodes,
            namespaces: 1,
            pods: 0,
            configmaps: 0,
            ..Seed::default()
        },
        lifecycle: Lifecycle {
            schedule: Duration::ZERO,
            start: Duration::from_millis(1),
            terminate: Duration::from_millis(1),
            complete: Duration::from_millis(1),
            boot: Duration::from_millis(1),
            ..Lifecycle::default()
        },
        ..SimConfig::default()
    }
}

pub(crate) async fn sim(config: SimConfig) -> (Sim, Client) {
    let sim = start(config);
    let client = Client::new(&sim).await;
    (sim, client)
}

/// Asks until the answer fits.
pub(crate) async fn until(client: &mut Client, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..3000 {
        last = client.get(path).await.json();
        if fits(&last) {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{path} never became what it should: {last}");
}

pub(crate) fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}

fn is_running(pod: &Value) -> bool {
    pod["status"]["phase"] == "Running"
}

pub(crate) async fn created(client: &mut Client, path: &str, value: &Value) -> Value {
    let answer = client.post(path, value).await;
    assert_eq!(answer.code, 201, "{:?}", answer.body);
    answer.json()
}

fn workload(name: &str, replicas: u32) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    })
}

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/ns-0/deployments";
const REPLICA_SETS: &str = "/apis/apps/v1/namespaces/ns-0/replicasets";
const STATEFUL_SETS: &str = "/apis/apps/v1/namespaces/ns-0/statefulsets";
const DAEMON_SETS: &str = "/apis/apps/v1/namespaces/ns-0/daemonsets";
const JOBS: &str = "/apis/batch/v1/namespaces/ns-0/jobs";
const PODS: &str = "/api/v1/namespaces/ns-0/pods";

async fn replace_nodes_taints(client: &mut Client, name: &str, taints: Value) {
    let patch = json!({"spec": {"taints": taints}}).to_string();
    let path = format!("/api/v1/nodes/{name}");
    let answer = client
        .patch(&path, "application/merge-patch+json", &patch)
        .await;
    assert_eq!(answer.code, 200);
}

#[tokio::test]
async fn a_deployment_runs_scales_and_goes() {
    let (_sim, mut client) = sim(quick(3)).await;
    let taints = json!([{"key": "dedicated", "value": "x", "effect": "NoSchedule"}]);
    replace_nodes_taints(&mut client, "node-0", taints).await;
    created(&mut client, DEPLOYMENTS, &workload("d", 10)).await;
    let one = format!("{DEPLOYMENTS}/d");
    let available = |n: u64| move |d: &Value| d["status"]["availableReplicas"] == n;
    let deployment = until(&mut client, &one, available(10)).await;
    let status = &deployment["status"];
    assert_eq!(status["replicas"], 10);
    assert_eq!(status["updatedReplicas"], 10);
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(status["conditions"][0]["type"], "Available");
    assert_eq!(status["conditions"][0]["status"], "True");

    let sets = client.get(REPLICA_SETS).await.json();
    let [set] = items(&sets) else {
        panic!("one set, not {sets}")
    };
    let hash = set["metadata"]["labels"]["pod-template-hash"]
        .as_str()
        .unwrap();
    assert_eq!(set["metadata"]["name"], format!("d-{hash}"));
    assert_eq!(set["metadata"]["ownerReferences"][0]["kind"], "Deployment");
    let pods = client.get(PODS).await.json();
    assert_eq!(items(&pods).len(), 10);
    for pod in items(&pods) {
        assert!(is_running(pod), "{pod}");
        assert_ne!(pod["spec"]["nodeName"], "node-0");
        assert_eq!(pod["metadata"]["labels"]["pod-template-hash"], hash);
        assert_eq!(
            pod["metadata"]["ownerReferences"][0]["uid"],
            set["metadata"]["uid"]
        );
    }

    let scale = |n: u32| json!({"spec": {"replicas": n}}).to_string();
    for replicas in [4, 12, 0] {
        client
            .patch(
                &format!("{one}/scale"),
                "application/merge-patch+json",
                &scale(replicas),
            )
            .await;
        until(&mut client, PODS, |pods| {
            items(pods).len() == replicas as usize && items(pods).iter().all(is_running)
        })
        .await;
        until(&mut client, &one, |d| {
            d["status"]["readyReplicas"].as_u64().unwrap_or(0) == u64::from(replicas)
        })
        .await;
    }
    client
        .patch(
            &format!("{one}/scale"),
            "application/merge-patch+json",
            &scale(3),
        )
        .await;
    until(&mut client, &one, available(3)).await;
    assert_eq!(client.delete(&one).await.code, 200);
    until(&mut client, PODS, |pods| items(pods).is_empty()).await;
    until(&mut client, REPLICA_SETS, |sets| items(sets).is_empty()).await;
}

#[tokio::test]
async fn a_new_template_replaces_the_pods() {
    let (_sim, mut client) = sim(quick(2)).await;
    for (name, strategy) in [
        ("rolling", json!({"type": "RollingUpdate"})),
        ("recreate", json!({"type": "Recreate"})),
    ] {
        let mut body = workload(name, 6);
        body["spec"]["strategy"] = strategy;
        created(&mut client, DEPLOYMENTS, &body).await;
        let one = format!("{DEPLOYMENTS}/{name}");
        until(&mut client, &one, |d| d["status"]["availableReplicas"] == 6).await;
        let patch = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "new"}]);
        client
            .patch(&one, "application/json-patch+json", &patch.to_string())
            .await;
        let selected = format!("{PODS}?labelSelector=app%3D{name}");
        until(&mut client, &selected, |pods| {
            items(pods).len() == 6
                && items(pods)
                    .iter()
                    .all(|p| is_running(p) && p["spec"]["containers"][0]["image"] == "new")
        })
        .await;
        let done = until(&mut client, &one, |d| {
            d["status"]["updatedReplicas"] == 6 && d["status"]["availableReplicas"] == 6
        })
        .await;
        assert_eq!(
            done["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
            "2"
        );
    }
}

#[tokio::test]
async fn a_deleted_pod_of_a_set_comes_again() {
    let (_sim, mut client) = sim(quick(2)).await;
    created(&mut client, REPLICA_SETS, &workload("r", 3)).await;
    let three = |pods: &Value| items(pods).len() == 3 && items(pods).iter().all(is_running);
    let pods = until(&mut client, PODS, three).await;
    let name = items(&pods)[0]["metadata"]["name"].as_str().unwrap();
    client.delete(&format!("{PODS}/{name}")).await;
    until(&mut client, PODS, |pods| {
        three(pods) && items(pods).iter().all(|p| p["metadata"]["name"] != name)
    })
    .await;
}

#[tokio::test]
async fn a_stateful_set_counts_its_pods() {
    let (_sim, mut client) = sim(quick(2)).await;
    let mut body = workload("s", 3);
    body["spec"]["serviceName"] = json!("svc");
    let mut events = Client::new(&_sim).await;
    let mut events = events.watch(&format!("{PODS}?watch=true")).await;
    created(&mut client, STATEFUL_SETS, &body).await;
    let one = format!("{STATEFUL_SETS}/s");
    until(&mut client, &one, |s| s["status"]["readyReplicas"] == 3).await;
    // Each runs before the next is made.
    let mut seen = Vec::new();
    while seen.len() < 6 {
        let (kind, pod) = events.next().await.unwrap();
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        if kind == "ADDED" || is_running(&pod) {
            seen.push((name, is_running(&pod)));
        }
    }
    let expected: Vec<(String, bool)> = (0..3)
        .flat_map(|i| [(format!("s-{i}"), false), (format!("s-{i}"), true)])
        .collect();
    assert_eq!(seen, expected);
    client
        .patch(
            &one,
            "application/merge-patch+json",
            r#"{"spec":{"replicas":1}}"#,
        )
        .await;
    let pods = until(&mut client, PODS, |pods| items(pods).len() == 1).await;
    assert_eq!(items(&pods)[0]["metadata"]["name"], "s-0");
    client
        .patch(
            &one,
            "application/merge-patch+json",
            r#"{"spec":{"replicas":2,"template":{"metadata":{"labels":{"new":"1"}}}}}"#,
        )
        .await;
    until(&mut client, PODS, |pods| {
        items(pods).len() == 2
            && items(pods)
                .iter()
                .all(|p| p["metadata"]["labels"]["new"] == "1" && is_running(p))
    })
    .await;
}

#[tokio::test]
async fn a_daemon_set_follows_the_nodes() {
    let (_sim, mut client) = sim(quick(3)).await;
    let taints = json!([{"key": "dedicated", "effect": "NoSchedule"}]);
    replace_nodes_taints(&mut client, "node-0", taints).await;
    let mut body = workload("d", 1);
    body["spec"].as_object_mut().unwrap().remove("replicas");
    created(&mut client, DAEMON_SETS, &body).await;
    let one = format!("{DAEMON_SETS}/d");
    let ready = |n: u64| {
        move |d: &Value| {
            d["status"]["numberReady"] == n && d["status"]["desiredNumberScheduled"] == n
        }
    };
    until(&mut client, &one, ready(2)).await;
    // A node that says nothing of itself is made ready, and gets its pod.
    let node = json!({"metadata": {"name": "late"}});
    created(&mut client, "/api/v1/nodes", &node).await;
    until(&mut client, &one, ready(3)).await;
    let late = client.get("/api/v1/nodes/late").await.json();
    assert_eq!(late["status"]["allocatable"]["pods"], "1M");
    let mut nodes: Vec<String> = items(&client.get(PODS).await.json())
        .iter()
        .map(|pod| pod["spec"]["nodeName"].as_str().unwrap().to_owned())
        .collect();
    nodes.sort();
    assert_eq!(nodes, ["late", "node-1", "node-2"]);
    client.delete("/api/v1/nodes/late").await;
    until(&mut client, &one, ready(2)).await;
    until(&mut client, PODS, |pods| items(pods).len() == 2).await;
    replace_nodes_taints(&mut client, "node-0", Value::Null).await;
    until(&mut client, &one, ready(3)).await;
}

#[tokio::test]
async fn a_job_completes() {
    let (_sim, mut client) = sim(quick(2)).await;
    let job = |name: &str, mode: &str| {
        json!({
            "metadata": {"name": name},
            "spec": {
                "parallelism": 2, "completions": 5, "completionMode": mode,
                "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}},
            },
        })
    };
    for mode in ["NonIndexed", "Indexed"] {
        let name = mode.to_lowercase();
        created(&mut client, JOBS, &job(&name, mode)).await;
        let done = until(&mut client, &format!("{JOBS}/{name}"), |job| {
            job["status"]["completionTime"].is_string()
        })
        .await;
        let status = &done["status"];
        assert_eq!(status["succeeded"], 5);
        assert!(status["startTime"].is_string());
        assert!(status.get("active").is_none(), "{status}");
        let complete = status["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .find(|c| c["type"] == "Complete");
        assert_eq!(complete.unwrap()["status"], "True");
        let pods = client
            .get(&format!("{PODS}?labelSelector=job-name%3D{name}"))
            .await
            .json();
        assert_eq!(items(&pods).len(), 5);
        for pod in items(&pods) {
            assert_eq!(pod["status"]["phase"], "Succeeded");
            let state = &pod["status"]["containerStatuses"][0]["state"];
            assert_eq!(state["terminated"]["reason"], "Completed");
        }
        let mut indices: Vec<&str> = items(&pods)
            .iter()
            .filter_map(|pod| {
                pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"].as_str()
            })
            .collect();
        indices.sort_unstable();
        let expected: &[&str] = match mode {
            "Indexed" => &["0", "1", "2", "3", "4"],
            _ => &[],
        };
        assert_eq!(indices, expected);
    }
}

#[tokio::test]
async fn a_pod_that_fits_nowhere_waits_for_a_node() {
    let (_sim, mut client) = sim(quick(2)).await;
    for node in ["node-0", "node-1"] {
        let taints = json!([{"key": "dedicated", "effect": "NoSchedule"}]);
        replace_nodes_taints(&mut client, node, taints).await;
    }
    created(&mut client, DEPLOYMENTS, &workload("d", 3)).await;
    let pods = until(&mut client, PODS, |pods| {
        items(pods).len() == 3
            && items(pods)
                .iter()
                .all(|p| p["status"]["conditions"][0]["reason"] == "Unschedulable")
    })
    .await;
    for pod in items(&pods) {
        let condition = &pod["status"]["conditions"][0];
        assert_eq!(condition["type"], "PodScheduled");
        assert_eq!(condition["status"], "False");
        assert_eq!(
            condition["message"],
            "0/2 nodes are available: 2 node(s) had untolerated taint(s)."
        );
        assert_eq!(pod["status"]["phase"], "Pending");
    }
    let room = json!({"cpu": "4", "memory": "8Gi", "pods": "2"});
    let node =
        json!({"metadata": {"name": "new"}, "status": {"allocatable": room, "capacity": room}});
    created(&mut client, "/api/v1/nodes", &node).await;
    let running =
        |n: usize| move |pods: &Value| items(pods).iter().filter(|p| is_running(p)).count() == n;
    let pods = until(&mut client, PODS, running(2)).await;
    for pod in items(&pods).iter().filter(|p| is_running(p)) {
        assert_eq!(pod["spec"]["nodeName"], "new");
        assert_eq!(pod["status"]["conditions"][0]["status"], "True");
    }
    // The third comes when one of them goes.
    client
        .patch(
            &format!("{DEPLOYMENTS}/d"),
            "application/merge-patch+json",
            r#"{"spec":{"replicas":2}}"#,
        )
        .await;
    until(&mut client, PODS, |pods| items(pods).len() == 2).await;
    until(&mut client, PODS, running(2)).await;
}

#[tokio::test]
async fn a_no_execute_taint_drives_pods_away() {
    let (_sim, mut client) = sim(quick(2)).await;
    created(&mut client, REPLICA_SETS, &workload("r", 4)).await;
    until(&mut client, PODS, |pods| {
        items(pods).len() == 4 && items(pods).iter().all(is_running)
    })
    .await;
    let taints = json!([{"key": "gone", "effect": "NoExecute"}]);
    replace_nodes_taints(&mut client, "node-0", taints).await;
    until(&mut client, PODS, |pods| {
        items(pods).len() == 4
            && items(pods)
                .iter()
                .all(|p| is_running(p) && p["spec"]["nodeName"] == "node-1")
    })
    .await;
}

#[tokio::test]
async fn a_thousand_pods_spread_by_room() {
    let (_sim, mut client) = sim(quick(100)).await;
    // Every other node has half the room.
    for i in (0..100).step_by(2) {
        let patch = json!({"status": {"allocatable": {"pods": "55"}}}).to_string();
        let path = format!("/api/v1/nodes/node-{i}/status");
        let kind = "application/merge-patch+json";
        assert_eq!(client.patch(&path, kind, &patch).await.code, 200);
    }
    created(&mut client, DEPLOYMENTS, &workload("d", 1000)).await;
    until(&mut client, &format!("{DEPLOYMENTS}/d"), |d| {
        d["status"]["availableReplicas"] == 1000
    })
    .await;
    let pods = client.get(PODS).await.json();
    let mut on = [0u32; 100];
    for pod in items(&pods) {
        let node = pod["spec"]["nodeName"].as_str().unwrap();
        let i: usize = node.strip_prefix("node-").unwrap().parse().unwrap();
        on[i] += 1;
    }
    for (i, count) in on.iter().enumerate() {
        let expected = if i % 2 == 0 { 6..=7 } else { 13..=14 };
        assert!(expected.contains(count), "node-{i} has {count}");
    }
}

#[tokio::test]
async fn the_scheduler_writes_events() {
    let (_sim, mut client) = sim(quick(1)).await;
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let pod = created(&mut client, PODS, &pod).await;
    let path = "/api/v1/namespaces/ns-0/events?fieldSelector=involvedObject.kind%3DPod,source%3Ddefault-scheduler";
    let list = until(&mut client, path, |list| items(list).len() == 1).await;
    let event = &items(&list)[0];
    assert_eq!(event["reason"], "Scheduled");
    assert_eq!(event["reportingComponent"], "default-scheduler");
    assert_eq!(event["message"], "Successfully assigned ns-0/p to node-0");
    assert_eq!(event["involvedObject"]["uid"], pod["metadata"]["uid"]);
    let time = event["eventTime"].as_str().unwrap();
    assert_eq!(time.len(), "2001-01-01T00:00:00.000000Z".len(), "{time}");
}

#[tokio::test]
async fn without_controllers_workloads_stay_as_they_are() {
    let (_sim, mut client) = sim(SimConfig {
        controllers: false,
        ..quick(1)
    })
    .await;
    created(&mut client, DEPLOYMENTS, &workload("d", 1)).await;
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    created(&mut client, PODS, &pod).await;
    // By the time the pod runs, a set would have been made.
    until(&mut client, PODS, |pods| items(pods).iter().all(is_running)).await;
    let sets = client.get(REPLICA_SETS).await.json();
    assert!(items(&sets).is_empty());
}
