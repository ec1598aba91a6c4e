//! A scenario of kperf's end to end: nodes that real kwok plays, a Job of the real controller, requests to the real API
//! server.

use kperf_control_plane::{Component, ControlPlane, Options, Source};
use kperf_kubelet::{Kubelet, Nodes};
use kperf_tests::kperf;
use serde_json::json;

#[test]
fn node10_job1_pod100_on_virtual_nodes() {
    let what = "the scenario node10_job1_pod100";
    let options = Options::api_server()
        .with(Component::ControllerManager)
        .with(Component::Scheduler)
        .own();
    let Some(plane) = ControlPlane::start_or_skip(what, options).unwrap() else {
        return;
    };
    let kwok = match Source::find(&[Component::Kwok]) {
        Ok(Source::Programs(programs)) => programs.get(Component::Kwok).unwrap().to_owned(),
        Ok(Source::Existing(_)) => unreachable!("it has started a control plane"),
        Err(why) => return kperf_control_plane::skip(what, &why).unwrap(),
    };
    // It runs the pod of kwok; what is on virtual nodes is none of its business.
    let _kubelet = Kubelet::start(&plane, Nodes::new(1).program("kwok", kwok)).unwrap();
    let kperf = kperf!();
    let kubeconfig = plane.kubeconfig();
    let kubeconfig = kubeconfig.to_str().unwrap();
    let ran = kperf
        .run(&[
            "bench",
            "--kubeconfig",
            kubeconfig,
            "node10_job1_pod100",
            "--total",
            "350",
            "--pods",
            "20",
            "--parallelism",
            "20",
            "--result",
            "result.json",
            "--output",
            "json=report.json",
        ])
        .expect(0);
    println!("{}", ran.stdout);

    let whole = kperf.json("result.json");
    assert_eq!(whole["result"]["total"], 350, "{whole:#}");
    assert_eq!(whole["loadSpec"]["count"], 1);
    let cores = whole["info"]["apiserver"]["cores"]["after"].as_object();
    let cores = cores.unwrap();
    assert!(!cores.is_empty(), "{whole:#}");
    assert!(cores.values().all(|cores| cores.as_u64() > Some(0)));
    let by_url = whole["result"]["percentileLatenciesByURL"]
        .as_object()
        .unwrap();
    assert_eq!(by_url.len(), 3, "{by_url:#?}");
    // The Job came, its pods ended on virtual nodes, and it went.
    let report = kperf.json("report.json");
    let metrics = report["metrics"].as_array().unwrap();
    let completed = metrics.iter().find(|m| m["name"] == "jobs_completed");
    assert!(
        completed.unwrap()["value"].as_f64() >= Some(1.0),
        "{metrics:#?}"
    );

    kperf.assert_clean(kubeconfig, Some(&ran.run_id()));
    let client = plane.client().unwrap();
    let nodes = client.get("/api/v1/nodes?labelSelector=type%3Dkperf-virtualnodes");
    assert_eq!(nodes.unwrap().success().unwrap().json()["items"], json!([]));
}
