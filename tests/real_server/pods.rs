//! Pods, and the virtual nodes that they run on.

use kperf_control_plane::{Client, Options, Seed};
use kperf_tests::kperf;
use serde_json::{Value, json};

use crate::{counter, run, started, text, until};

/// Names of the pods that a label selects, with their nodes.
fn labelled(client: &Client, selector: &str) -> Vec<(String, String)> {
    let path = format!("/api/v1/pods?labelSelector={selector}");
    let list = client.get(&path).unwrap().success().unwrap().json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pod| {
            (
                text(&pod["metadata"]["name"]),
                text(&pod["spec"]["nodeName"]),
            )
        })
        .collect()
}

#[test]
fn created_pods_are_found_by_their_label_and_go_where_they_are_told() {
    let kperf = kperf!();
    let options = Options::full().nodes(1).seed(Seed {
        namespaces: 1,
        ..Seed::default()
    });
    let Some(plane) = started("pods on virtual nodes", options) else {
        return;
    };
    let client = plane.client().unwrap();
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "pool-0", "labels": {"type": "kperf-virtualnodes"}},
        "spec": {"taints": [{"key": "kperf.io/nodepool", "value": "test", "effect": "NoSchedule"}]},
        "status": {"capacity": {"cpu": "32", "memory": "256Gi", "pods": "110"}},
    });
    client
        .post("/api/v1/nodes", &node)
        .unwrap()
        .success()
        .unwrap();
    let kubeconfig = plane.kubeconfig();
    let target = ["--kubeconfig", text(&kubeconfig)];
    for (virtual_nodes, place) in [("true", "pool-0"), ("false", "node-0")] {
        let what = format!(
            "post_del version=v1 resource=pods namespace=ns-0 deleteRatio=0.3 virtualNodes={virtual_nodes}"
        );
        let report = run(&kperf, &what, &target, "--total 40 --client 4");
        assert_eq!(report["overall"]["succeeded"], 40, "{report:#}");
        let pods = until(|| {
            let pods = labelled(client, "kperf.io%2Frun");
            (!pods.is_empty() && pods.iter().all(|(_, node)| !node.is_empty())).then_some(pods)
        });
        assert!(pods.len() > 5, "{pods:?}");
        assert!(pods.iter().all(|(_, node)| node == place), "{pods:?}");
        // What the documentation of the plugin says removes them.
        let path = "/api/v1/namespaces/ns-0/pods?labelSelector=kperf.io%2Frun&gracePeriodSeconds=0";
        client.delete(path).unwrap().success().unwrap();
        until(|| labelled(client, "kperf.io%2Frun").is_empty().then_some(()));
    }
}

/// Controllers make the pods of a Deployment, the scheduler gives them nodes, kwok runs them; our own requests see it.
#[test]
fn pods_of_a_deployment_run_before_our_own_requests() {
    const REPLICAS: u64 = 4;
    let kperf = kperf!();
    let what = "a Deployment on virtual nodes";
    let Some(plane) = started(what, Options::full().nodes(2)) else {
        return;
    };
    let labels = json!({"app": "web"});
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": "registry.example/app:1"}]},
            },
        },
    });
    let client = plane.client().unwrap();
    client
        .post("/apis/apps/v1/namespaces/default/deployments", &deployment)
        .unwrap()
        .success()
        .unwrap();

    let kubeconfig = plane.kubeconfig();
    let target = ["--kubeconfig", text(&kubeconfig)];
    // A watch brings an event for each pod, and one that says that these were all.
    let watched = |field: &str| {
        let what = format!(
            "watch_list version=v1 resource=pods namespace=default selector=app=web fieldSelector={field}"
        );
        let report = run(&kperf, &what, &target, "--total 1");
        assert_eq!(report["overall"]["succeeded"], 1, "{report:#}");
        let events = report["overall"]["counters"]["watch_events"].as_u64();
        events.unwrap_or_else(|| panic!("no count of events: {report:#}")) - 1
    };
    until(|| (watched("status.phase=Running") == REPLICAS).then_some(()));
    assert_eq!(watched("status.phase!=Running"), 0);
    let placed: u64 = ["node-0", "node-1"]
        .map(|node| watched(&format!("spec.nodeName={node}")))
        .iter()
        .sum();
    assert_eq!(placed, REPLICAS);

    // A list brings the same pods: more than one that selects none, by what the pods are long.
    let listed = |field: &str| {
        let what = format!(
            "quorum_list version=v1 resource=pods namespace=default selector=app=web fieldSelector={field}"
        );
        let report = run(&kperf, &what, &target, "--total 10");
        assert_eq!(report["overall"]["succeeded"], 10, "{report:#}");
        report["overall"]["received_bytes"].as_u64().unwrap() / 10
    };
    let pods = labelled(client, "app%3Dweb");
    let path = "/api/v1/namespaces/default/pods?labelSelector=app%3Dweb";
    let list = client.get(path).unwrap().success().unwrap().json();
    let long: usize = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pod| pod.to_string().len())
        .sum();
    let (running, none) = (
        listed("status.phase=Running"),
        listed("status.phase!=Running"),
    );
    assert!(
        running - none >= u64::try_from(long).unwrap(),
        "{running} bytes of running pods, {none} of none, {long} of pods: {pods:?}"
    );

    // And what one of them has to say, which its node is asked for.
    let (name, _) = pods.first().expect("a pod");
    let what = format!("get_pod_log namespace=default name={name} container=app tailLines=10");
    let report = run(&kperf, &what, &target, "--total 5");
    assert_eq!(report["overall"]["succeeded"], 5, "{report:#}");
    assert_eq!(counter(&report, "sent"), 5);
}
