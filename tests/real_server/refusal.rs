//! A server that has had enough: of a connection, of requests.

use kperf_control_plane::{Client, Options};
use kperf_tests::kperf;
use serde_json::{Value, json};

use crate::{counter, errors, run, started, text, until};

const NAMESPACES: &str = "quorum_list version=v1 resource=namespaces";

#[test]
fn goaways_by_chance_cost_no_request() {
    let kperf = kperf!();
    let options = Options::api_server().api_server_flag("--goaway-chance=0.02");
    let Some(plane) = started("GOAWAY by chance", options) else {
        return;
    };
    let kubeconfig = plane.kubeconfig();
    let target = ["--kubeconfig", text(&kubeconfig)];
    let load = "--total 2000 --conns 4 --client 16";
    let report = run(&kperf, NAMESPACES, &target, load);
    assert_eq!(report["overall"]["succeeded"], 2000, "{report:#}");
    // 40 are to be expected, each costs a connection.
    assert!(counter(&report, "goaways") >= 5, "{report:#}");
    assert!(counter(&report, "redials") >= 5);
}

#[test]
fn too_many_requests_are_counted_and_retried_when_asked_to() {
    let kperf = kperf!();
    let options = Options::api_server()
        .api_server_flag("--enable-priority-and-fairness=false")
        .api_server_flag("--max-requests-inflight=1")
        .api_server_flag("--max-mutating-requests-inflight=1");
    let Some(plane) = started("429", options) else {
        return;
    };
    // An admin in system:masters is never refused, so this is somebody else.
    let client = plane.client().unwrap();
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "reader"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    until(|| client.post(bindings, &binding).unwrap().success().ok());
    let reader = plane.kubeconfig_for_user("reader", &[]).unwrap();
    // The server takes a moment to know of the binding.
    let as_reader = Client::from_kubeconfig(&reader).unwrap();
    until(|| (as_reader.get("/api/v1/namespaces").ok()?.status == 200).then_some(()));
    let target = ["--kubeconfig", text(&reader)];
    let load = "--total 600 --conns 2 --client 16";
    let report = run(&kperf, NAMESPACES, &target, load);
    let refused = errors(&report);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].0, "http/429");
    assert_eq!(report["overall"]["sent"], 600);

    let load = "--total 40 --conns 2 --client 16 --max-retries 60 --raw-data";
    let report = run(&kperf, NAMESPACES, &target, load);
    assert_eq!(report["overall"]["sent"], 40);
    let retries = counter(&report, "retries");
    assert!(retries > 0, "{report:#}");
    // The server says `Retry-After: 1` every time, and the waits count to the request that is retried.
    let raw = &report["phases"][0]["raw"];
    let waited_ns: u64 = numbers(&raw["service_ns"]).sum();
    assert!(
        waited_ns >= retries * 1_000_000_000,
        "{retries} retries within {waited_ns} ns: {raw}"
    );
}

fn numbers(column: &Value) -> impl Iterator<Item = u64> {
    let numbers = column.as_array().expect("a column").iter();
    numbers.map(|number| number.as_u64().expect("a number"))
}
