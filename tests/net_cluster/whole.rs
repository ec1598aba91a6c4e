//! Launches that go well.

use std::fs;

use kperf_control_plane::Client;
use kperf_tests::{build_plugin, have, kperf, repository};
use serde_json::{Value, json};

use crate::{Launch, ORCHESTRATOR, WORLD, World, count, eventually, keys};

/// All paths, the objects while they are there, the results, and that nothing stays. Every log is read for secrets.
#[test]
fn from_the_first_object_to_the_last() {
    let kperf = kperf!();
    let Some(world) = WORLD.as_ref() else { return };
    let space = "net-whole";
    let launch = Launch::iperf3(world, kperf, space).with(&[
        "--node-labels",
        "kubernetes.io/hostname in (node-0,node-1)",
        "--path",
        "pod,service,host",
        "--tolerance",
        "pod within 95% of host",
        "--output",
        "json=r.json",
        "--threshold",
        "network-bandwidth_bits_per_second >= 1",
        "-vvv",
    ]);
    let launcher = launch.start();
    world.until_said(space, "[2/6]");
    objects(world, space);
    accounts(world, space);
    let (stdout, stderr) = launcher.end(0);
    world.assert_gone(&launch.kperf, space);

    let results = launch.results();
    assert_eq!(count(&results, 4), 6, "{results:#}");
    let pair = |kind: &str, path: &str| {
        [(0, 1), (1, 0)].map(|(client, server)| {
            let name = |index| format!("kperf-{kind}-{index}");
            (name(client), name(server), path.to_owned())
        })
    };
    let mut expected: Vec<_> = pair("worker", "pod")
        .into_iter()
        .chain(pair("worker", "service"))
        .chain(pair("host-worker", "host"))
        .collect();
    expected.sort();
    assert_eq!(keys(&results), expected);
    for result in results["results"].as_array().unwrap() {
        let task = &result["task"];
        assert_eq!(task["command"], "iperf3");
        assert_eq!(result["exit_code"], 0);
        assert!(
            result["output"]
                .as_str()
                .unwrap()
                .contains("bits_per_second")
        );
        let node = &task["client"]["vm"];
        let zones = [("node-0", "zone-a"), ("node-1", "zone-b")];
        assert!(
            zones
                .iter()
                .any(|(host, zone)| node["hostname"] == *host && node["availability_zone"] == *zone),
            "{node}"
        );
    }
    for table in ["by pod", "by service", "by host", "tolerance kept"] {
        assert!(stdout.contains(table), "{table}: {stdout}");
    }
    let report = launch.kperf.json("r.json");
    let metrics = report["metrics"].as_array().unwrap();
    let bandwidths = metrics
        .iter()
        .filter(|metric| metric["name"] == "network_bandwidth_bits_per_second")
        .count();
    assert_eq!(bandwidths, 6);

    let logs = [
        ("launcher", stderr),
        ("orchestrator", world.log(space, ORCHESTRATOR)),
        ("worker", world.log(space, "kperf-worker-0")),
    ];
    for (whose, log) in logs {
        // In words, in base64, and the beginning of every token.
        for secret in ["PRIVATE KEY", "LS0tLS1CRUdJTi", "eyJhbGciOi"] {
            assert!(!log.contains(secret), "{secret} in the log of {whose}");
        }
    }
}

/// By the API's word.
fn objects(world: &World, space: &str) {
    let namespace = world.get(&format!("/api/v1/namespaces/{space}"));
    let run = &namespace["metadata"]["labels"]["kperf-host.io/run"];
    assert!(run.is_string(), "{namespace}");
    let list = |resource: &str| {
        let path = format!("/api/v1/namespaces/{space}/{resource}");
        world.get(&path)["items"].as_array().unwrap().clone()
    };
    let named = |items: Vec<Value>| {
        let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
        let mut names: Vec<String> = items
            .iter()
            // Those of every namespace.
            .filter(|item| item["metadata"]["labels"]["kperf-host.io/run"] == *run)
            .map(name)
            .collect();
        names.sort();
        names
    };
    let workers = ["kperf-worker-0", "kperf-worker-1"];
    let hosts = ["kperf-host-worker-0", "kperf-host-worker-1"];
    assert_eq!(
        named(list("pods")),
        [hosts[0], hosts[1], ORCHESTRATOR, workers[0], workers[1]]
    );
    assert_eq!(
        named(list("services")),
        [ORCHESTRATOR, workers[0], workers[1]]
    );
    assert_eq!(named(list("secrets")), [ORCHESTRATOR, "kperf-worker"]);
    assert_eq!(
        named(list("serviceaccounts")),
        [ORCHESTRATOR, "kperf-worker"]
    );
    assert_eq!(named(list("configmaps")).len(), 34);

    for pod in list("pods") {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let has_token = pod["spec"]["volumes"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|volume| {
                volume["projected"]["sources"]
                    .as_array()
                    .into_iter()
                    .flatten()
            })
            .any(|source| source["serviceAccountToken"].is_object());
        assert_eq!(has_token, name == ORCHESTRATOR, "{name}");
        let in_host_network = pod["spec"]["hostNetwork"] == true;
        assert_eq!(in_host_network, hosts.contains(&name), "{name}");
        let node = pod["spec"]["nodeName"].as_str().unwrap();
        assert!(["node-0", "node-1"].contains(&node), "{name} on {node}");
        if name != ORCHESTRATOR {
            assert_eq!(node.rsplit('-').next(), name.rsplit('-').next(), "{name}");
        }
    }
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{space}");
    let role = world.get(&format!("{rbac}/roles/{ORCHESTRATOR}"));
    let rules = role["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0]["verbs"], json!(["patch"]));
    assert_eq!(rules[0]["resources"], json!(["configmaps"]));
    assert_eq!(rules[0]["resourceNames"].as_array().unwrap().len(), 33);
    let bindings = world.get(&format!("{rbac}/rolebindings"));
    let bindings = bindings["items"].as_array().unwrap();
    assert_eq!(bindings.len(), 1);
    let subjects = json!([
        {"kind": "ServiceAccount", "name": ORCHESTRATOR, "namespace": space},
    ]);
    assert_eq!(bindings[0]["subjects"], subjects);
}

/// What the tokens of the two accounts are let do.
fn accounts(world: &World, space: &str) {
    let folder = tempfile::tempdir().unwrap();
    for account in [ORCHESTRATOR, "kperf-worker"] {
        let path = format!("/api/v1/namespaces/{space}/serviceaccounts/{account}/token");
        let request =
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let answer = world.client().post(&path, &request).unwrap();
        let token = answer.success().unwrap().json()["status"]["token"].clone();
        let kubeconfig = json!({
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {
                "server": world.plane.url(), "certificate-authority": world.plane.ca_file(),
            }}],
            "users": [{"name": "c", "user": {"token": token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        });
        let file = folder.path().join(account);
        fs::write(&file, kubeconfig.to_string()).unwrap();
        let client = Client::from_kubeconfig(&file).unwrap();
        let of_namespace = format!("/api/v1/namespaces/{space}");
        for refused in [
            format!("{of_namespace}/secrets"),
            format!("{of_namespace}/secrets/{ORCHESTRATOR}"),
            format!("{of_namespace}/configmaps/kperf-config"),
            format!("{of_namespace}/configmaps/kperf-results"),
            format!("{of_namespace}/pods"),
            "/api/v1/nodes".to_owned(),
            "/api/v1/namespaces".to_owned(),
        ] {
            let status = client.get(&refused).unwrap().status;
            assert_eq!(status, 403, "{account}: {refused}");
        }
        let object = json!({"metadata": {"name": "more"}});
        let made = client.post(&format!("{of_namespace}/configmaps"), &object);
        assert_eq!(made.unwrap().status, 403, "{account}");
    }
}

/// The other free tool, on three nodes: the main path with nothing said but the tool and the image.
#[test]
fn a_tool_with_two_ports_on_all_labelled_nodes() {
    let kperf = kperf!();
    if !have("qperf", "qperf between pods") {
        return;
    }
    let Some(world) = WORLD.as_ref() else { return };
    let space = "net-qperf";
    let (port, data_port) = (crate::free_port(), crate::free_port());
    let launch = Launch::new(world, kperf, space, "qperf-tcp").with(&[
        "--set",
        r#"tests=["latency"]"#,
        "--set",
        &format!("port={port}"),
        "--set",
        &format!("dataPort={data_port}"),
    ]);
    let (stdout, _) = launch.start().end(0);
    world.assert_gone(&launch.kperf, space);
    let results = launch.results();
    assert_eq!(count(&results, 4), 6, "{results:#}");
    assert!(stdout.contains("qperf-tcp"), "{stdout}");
}

/// Two workers on one node, and no second node.
#[test]
fn pairs_of_one_node() {
    let kperf = kperf!();
    let Some(world) = WORLD.as_ref() else { return };
    let space = "net-one-node";
    let launch = Launch::iperf3(world, kperf, space).with(&[
        "--node-labels",
        "kubernetes.io/hostname=node-2",
        "--pairs",
        "same-node",
    ]);
    launch.start().end(0);
    world.assert_gone(&launch.kperf, space);
    let results = launch.results();
    assert_eq!(count(&results, 4), 2, "{results:#}");
    for result in results["results"].as_array().unwrap() {
        assert_eq!(result["same_node"], true, "{result}");
    }
}

/// A stranger's component goes to the orchestrator with the run; its program is allowed by name.
#[test]
fn a_third_partys_tool() {
    if !have("nuttcp", "the tool of a third party between pods") {
        return;
    }
    let kperf = kperf!();
    let component = build_plugin(&repository().join("examples/tool-third-party"), "nuttcp");
    let Some(world) = WORLD.as_ref() else { return };
    let space = "net-third";
    let launch = Launch::new(world, kperf, space, component.to_str().unwrap()).with(&[
        "--allow",
        "nuttcp",
        "--node-labels",
        "kubernetes.io/hostname in (node-1,node-2)",
    ]);
    launch.start().end(0);
    world.assert_gone(&launch.kperf, space);
    let results = launch.results();
    assert_eq!(count(&results, 4), 2, "{results:#}");
}

/// Nothing is removed when that is not wanted, and it can be removed later.
#[test]
fn what_is_kept_can_be_cleaned_up() {
    let kperf = kperf!();
    let Some(world) = WORLD.as_ref() else { return };
    let space = "net-kept";
    let launch = Launch::iperf3(world, kperf, space).with(&[
        "--node-labels",
        "kubernetes.io/hostname in (node-0,node-2)",
        "--keep",
    ]);
    let (_, stderr) = launch.start().end(0);
    let pod = world.get(&format!("/api/v1/namespaces/{space}/pods/{ORCHESTRATOR}"));
    // It has handed over, and is not started again.
    eventually("an end of the orchestrator", || {
        let pod = world.get(&format!("/api/v1/namespaces/{space}/pods/{ORCHESTRATOR}"));
        let phase = pod["status"]["phase"].as_str().unwrap().to_owned();
        (phase == "Succeeded").then_some(()).ok_or(phase)
    });
    let run = pod["metadata"]["labels"]["kperf-host.io/run"]
        .as_str()
        .unwrap();
    assert!(stderr.contains(&format!("cleanup --run {run}")), "{stderr}");
    let admin = world.plane.kubeconfig();
    launch
        .kperf
        .run(&[
            "cleanup",
            "--run",
            run,
            "--kubeconfig",
            admin.to_str().unwrap(),
        ])
        .expect(0);
    world.assert_gone(&launch.kperf, space);
}
