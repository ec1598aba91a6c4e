//! The main job against a real control plane: all kinds and credentials, and every way in which a real API
//! server says no. Without one (see the README), each test says in a line that it was skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::{fs, process::Stdio, thread, time::Duration};

use kperf_control_plane::{Client, ControlPlane, Options, Seed};
use kperf_tests::{Kperf, kperf, repository, start_until_first_interval, wait};
use serde_json::{Value, json};

/// A control plane with a few objects, or none.
fn started(what: &str, options: Options) -> Option<ControlPlane> {
    ControlPlane::start_or_skip(what, options).unwrap()
}

/// The objects that the profile of nine kinds asks for, and little more.
fn filled() -> Options {
    Options::full().nodes(2).seed(Seed {
        namespaces: 2,
        pods: 4,
        configmaps: 100,
    })
}

fn keys() -> Vec<String> {
    let text = fs::read_to_string(repository().join("tests/nine-kinds.keys")).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn runner(kperf: &Kperf, target: &[&str]) -> Value {
    let profile = repository().join("examples/profiles/nine-kinds.yaml");
    let mut arguments = vec![
        "runner",
        "run",
        "--config",
        profile.to_str().unwrap(),
        "--result",
        "r.json",
    ];
    arguments.extend(target);
    kperf.run(&arguments).expect(0);
    kperf.json("r.json")
}

/// Keys of a result without the server, sorted.
fn keys_of(result: &Value) -> Vec<String> {
    let series = &result["aggregated"]["percentileLatenciesByURL"];
    let mut keys: Vec<String> = series
        .as_object()
        .unwrap_or_else(|| panic!("{result:#}"))
        .keys()
        .map(|key| {
            let (verb, url) = key.split_once(' ').unwrap();
            let path = url.find("/api").map_or("", |start| &url[start..]);
            format!("{verb} {{server}}{path}")
        })
        .collect();
    keys.sort();
    keys
}

fn run_one(kperf: &Kperf, arguments: &[&str]) -> Value {
    let fixed = ["run", "--output", "json=r.json", "--plugin"];
    kperf.run(&[&fixed[..], arguments].concat()).expect(0);
    kperf.json("r.json")
}

const GET_A_NODE: [&str; 7] = [
    "stale_get",
    "--set",
    "version=v1",
    "--set",
    "resource=nodes",
    "--set",
    "name=node-1",
];

fn get_a_node(kperf: &Kperf, more: &[&str]) -> Value {
    run_one(kperf, &[&GET_A_NODE[..], more].concat())
}

fn errors(report: &Value) -> Vec<(String, u64)> {
    let errors = report["overall"]["errors"].as_object().unwrap();
    let count = |(key, count): (&String, &Value)| (key.clone(), count.as_u64().unwrap());
    errors.iter().map(count).collect()
}

fn counter(report: &Value, name: &str) -> u64 {
    report["phases"][0]["counters"][name].as_u64().unwrap_or(0)
}

#[test]
fn nine_kinds_have_the_same_keys_on_simulator_and_real_server() {
    let kperf = kperf!();
    let Some(plane) = started("nine kinds", filled()) else {
        return;
    };
    let kubeconfig = plane.kubeconfig();
    let kubeconfig = ["--kubeconfig", kubeconfig.to_str().unwrap()];
    let mut expected = keys();
    expected.sort();
    for target in [&kubeconfig[..], &["--sim"]] {
        let result = runner(&kperf, target);
        assert_eq!(keys_of(&result), expected);
        assert_eq!(result["aggregated"]["total"], 2000, "{result:#}");
        // Left out when there are none.
        assert!(
            result["aggregated"].get("errorStats").is_none(),
            "{:#}",
            result["aggregated"]["errorStats"]
        );
    }

    // Both protocols and both encodings.
    let profile = repository().join("examples/profiles/nine-kinds.yaml");
    for flags in [
        &["--content-type", "protobuf"][..],
        &["--disable-http2"],
        &["--disable-http2", "--content-type", "protobuf"],
    ] {
        let arguments = [
            &["run", "--profile", profile.to_str().unwrap()],
            &kubeconfig[..],
            &["--total", "300", "--output", "json=r.json"],
            flags,
        ]
        .concat();
        kperf.run(&arguments).expect(0);
        let report = kperf.json("r.json");
        assert_eq!(report["overall"]["succeeded"], 300, "{flags:?}: {report:#}");
    }
}

#[test]
fn every_credential_and_a_user_without_rights() {
    let kperf = kperf!();
    let what = "credentials";
    let Some(plane) = started(what, Options::api_server()) else {
        return;
    };
    if plane.is_external() {
        eprintln!("skipped: {what}: an existing cluster signs no certificates for a test");
        return;
    }
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}});
    let client = plane.client().unwrap();
    client
        .post("/api/v1/nodes", &node)
        .unwrap()
        .success()
        .unwrap();

    let path = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let (certificate, token) = (
        path(plane.kubeconfig()),
        path(plane.kubeconfig_with_token().unwrap()),
    );
    let (ca, secret) = (path(plane.ca_file().unwrap()), plane.token().unwrap());
    let script = kperf.write(
        "credential.sh",
        &format!(
            "#!/bin/sh\necho '{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"{secret}\"}}}}'\n"
        ),
    );
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let exec = kperf.write(
        "exec.kubeconfig",
        &format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             clusters: [{{name: c, cluster: {{server: '{}', certificate-authority: '{ca}'}}}}]\n\
             users: [{{name: u, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: '{}', interactiveMode: Never}}}}}}]\n\
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n",
            plane.url(),
            script.display()
        ),
    );
    for target in [
        &["--kubeconfig", certificate.as_str()][..],
        &["--kubeconfig", token.as_str()],
        &["--kubeconfig", exec.to_str().unwrap()],
        &["--server", plane.url(), "--ca-file", &ca, "--token", secret],
    ] {
        for http in [&[][..], &["--disable-http2"]] {
            let report = get_a_node(&kperf, &[target, http, &["--total", "20"]].concat());
            assert_eq!(report["overall"]["succeeded"], 20, "{target:?} {http:?}");
        }
    }

    let nobody = path(plane.kubeconfig_for_user("nobody", &[]).unwrap());
    let report = get_a_node(&kperf, &["--kubeconfig", &nobody, "--total", "20"]);
    assert_eq!(errors(&report), [("http/403".to_owned(), 20)]);
    let findings = report["findings"].to_string();
    assert!(findings.contains("target/forbidden"), "{findings}");
    let refused = [
        "--server",
        plane.url(),
        "--ca-file",
        &ca,
        "--token",
        "sesame",
        "--total",
        "5",
    ];
    let report = get_a_node(&kperf, &refused);
    assert_eq!(errors(&report), [("http/401".to_owned(), 5)]);
}

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
    for (virtual_nodes, place) in [("true", "pool-0"), ("false", "node-0")] {
        let set = format!("virtualNodes={virtual_nodes}");
        let report = run_one(
            &kperf,
            &[
                "post_del",
                "--kubeconfig",
                kubeconfig.to_str().unwrap(),
                "--set",
                "version=v1",
                "--set",
                "resource=pods",
                "--set",
                "namespace=ns-0",
                "--set",
                "deleteRatio=0.3",
                "--set",
                &set,
                "--total",
                "40",
                "--client",
                "4",
            ],
        );
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

/// Asks until there is an answer.
#[track_caller]
fn until<T>(ask: impl Fn() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(answer) = ask() {
            return answer;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("not within a minute");
}

#[test]
fn goaways_by_chance_cost_no_request() {
    let kperf = kperf!();
    let options = Options::api_server().api_server_flag("--goaway-chance=0.02");
    let Some(plane) = started("GOAWAY by chance", options) else {
        return;
    };
    let kubeconfig = plane.kubeconfig();
    let list = [
        "quorum_list",
        "--set",
        "version=v1",
        "--set",
        "resource=namespaces",
    ];
    let load = [
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "--total",
        "2000",
        "--conns",
        "4",
        "--client",
        "16",
    ];
    let report = run_one(&kperf, &[&list[..], &load].concat());
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
    let list = [
        "quorum_list",
        "--set",
        "version=v1",
        "--set",
        "resource=namespaces",
        "--kubeconfig",
        reader.to_str().unwrap(),
        "--client",
        "16",
        "--conns",
        "2",
    ];
    let report = run_one(&kperf, &[&list[..], &["--total", "600"]].concat());
    let refused = errors(&report);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].0, "http/429");
    assert_eq!(report["overall"]["sent"], 600);

    let more = ["--total", "40", "--max-retries", "60"];
    let report = run_one(&kperf, &[&list[..], &more].concat());
    assert_eq!(report["overall"]["sent"], 40);
    assert!(counter(&report, "retries") > 0, "{report:#}");
}

#[test]
fn a_restart_in_the_middle_loses_no_measurement() {
    let kperf = kperf!();
    let Some(mut plane) = started("a restart of the API server", Options::api_server()) else {
        return;
    };
    if plane.is_external() {
        eprintln!("skipped: a restart of the API server: not that of an existing cluster");
        return;
    }
    let kubeconfig = plane.kubeconfig();
    let mut command = kperf.command(&[
        "run",
        "--plugin",
        "quorum_list",
        "--set",
        "version=v1",
        "--set",
        "resource=namespaces",
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "--rate",
        "50",
        "--duration",
        "25s",
        "--conns",
        "2",
        "--client",
        "8",
        "--output",
        "json=r.json",
    ]);
    command.stdout(Stdio::null());
    let mut child = start_until_first_interval(command);
    plane.kill_api_server().unwrap();
    thread::sleep(Duration::from_secs(1));
    plane.start_api_server().unwrap();
    let status = wait(&mut child, Duration::from_secs(120)).expect("an end in time");
    assert_eq!(status.code(), Some(0));
    let report = kperf.json("r.json");
    let overall = &report["overall"];
    let (sent, succeeded, failed) = (
        overall["sent"].as_u64().unwrap(),
        overall["succeeded"].as_u64().unwrap(),
        overall["failed"].as_u64().unwrap(),
    );
    assert_eq!(sent, succeeded + failed);
    // A second of 25 came before the kill; load flows again after the restart.
    assert!(succeeded > 400, "{overall:#}");
    assert!(failed > 0, "{overall:#}");
    for (key, _) in errors(&report) {
        // While it starts, a server may also refuse or not yet know its user.
        let is_known = ["connection/", "http/"]
            .iter()
            .any(|class| key.starts_with(class));
        assert!(is_known, "{key}");
    }
    assert!(counter(&report, "redials") >= 2, "{report:#}");
}

#[test]
fn a_paused_etcd_shows_in_the_latency() {
    let kperf = kperf!();
    let Some(plane) = started("a paused etcd", Options::api_server()) else {
        return;
    };
    if plane.is_external() {
        eprintln!("skipped: a paused etcd: not that of an existing cluster");
        return;
    }
    let kubeconfig = plane.kubeconfig();
    let mut command = kperf.command(&[
        "run",
        "--plugin",
        "put",
        "--set",
        "version=v1",
        "--set",
        "resource=configmaps",
        "--set",
        "namespace=default",
        "--set",
        "name=cm",
        "--set",
        "keySpaceSize=1",
        "--set",
        "payloadSize=16",
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "--rate",
        "20",
        "--duration",
        "8s",
        "--conns",
        "1",
        "--client",
        "64",
        "--output",
        "json=r.json",
    ]);
    command.stdout(Stdio::null());
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm-0"}});
    let configmaps = "/api/v1/namespaces/default/configmaps";
    let client = plane.client().unwrap();
    until(|| client.post(configmaps, &object).unwrap().success().ok());
    let mut child = start_until_first_interval(command);
    plane.pause_etcd().unwrap();
    thread::sleep(Duration::from_secs(2));
    plane.resume_etcd().unwrap();
    let status = wait(&mut child, Duration::from_secs(120)).expect("an end in time");
    assert_eq!(status.code(), Some(0));
    let report = kperf.json("r.json");
    let overall = &report["overall"];
    assert_eq!(overall["sent"], 160, "{overall:#}");
    assert_eq!(
        overall["succeeded"].as_u64().unwrap() + overall["failed"].as_u64().unwrap(),
        160
    );
    let slowest = overall["service_time"]["percentiles_ns"]["p100"]
        .as_u64()
        .unwrap();
    assert!(slowest > 1_500_000_000, "{overall:#}");
}
