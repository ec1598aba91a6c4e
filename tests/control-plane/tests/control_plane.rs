//! The fixture itself, on whatever source of a control plane there is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use kperf_control_plane::{Client, Component, ControlPlane, Options};
use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
use serde_json::{Value, json};

/// A control plane of the test's own, or one line that says why there is none.
fn own(what: &str, options: Options) -> Option<ControlPlane> {
    ControlPlane::start_or_skip(what, options.own()).unwrap()
}

fn status(client: &Client, path: &str) -> u16 {
    client.get(path).unwrap().status
}

/// Asks until the answer fits; the fixture has no deadline of its own for what a test waits for.
fn eventually(what: &str, mut fits: impl FnMut() -> bool) {
    for _ in 0..600 {
        if fits() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("never: {what}");
}

#[test]
fn an_api_server_with_its_etcd() {
    let options = Options::api_server().api_server_flag("--goaway-chance=0.01");
    let Some(mut plane) = own("etcd and kube-apiserver", options) else {
        return;
    };
    let admin = plane.client().unwrap();
    assert_eq!(admin.get("/readyz").unwrap().text, "ok");
    let version = admin.get("/version").unwrap().json();
    assert!(
        version["gitVersion"].as_str().unwrap().starts_with("v1."),
        "{version}"
    );

    kubectl_lists_namespaces(&plane);
    rights_are_checked(&plane);
    pods_are_admitted(&plane);
    etcd_pauses(&plane);

    // The same URL and the same objects after a restart, an orderly one and one after a crash.
    for stop in [ControlPlane::stop_api_server, ControlPlane::kill_api_server] {
        stop(&mut plane).unwrap();
        plane
            .client()
            .unwrap()
            .get("/readyz")
            .expect_err("nothing listens");
        plane.start_api_server().unwrap();
        plane.start_api_server().expect_err("it is running");
        let pod = "/api/v1/namespaces/default/pods/lonely";
        assert_eq!(status(plane.client().unwrap(), pod), 200);
    }
    assert_eq!(plane.exited(), None);
    let log = plane.logs(Component::ApiServer).unwrap();
    assert!(log.contains("Version: v1."), "{log}");
    plane.logs(Component::Kwok).expect_err("never started");

    nothing_is_left_after(plane);
}

fn kubectl_lists_namespaces(plane: &ControlPlane) {
    let kubectl = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(plane.kubeconfig())
        .args(["get", "ns", "-o", "name"])
        .env("HOME", plane.folder().unwrap())
        .stdin(Stdio::null())
        .output();
    match kubectl {
        Ok(output) => {
            let printed = String::from_utf8_lossy(&output.stdout);
            assert!(printed.contains("namespace/kube-system"), "{output:?}");
        }
        Err(error) => eprintln!("skipped: kubectl: {error}"),
    }
}

fn rights_are_checked(plane: &ControlPlane) {
    let pods = "/api/v1/namespaces/default/pods";
    let kubeconfig = plane
        .kubeconfig_for_user("visitor", &["people", "readers"])
        .unwrap();
    let visitor = Client::from_kubeconfig(&kubeconfig).unwrap();
    let refusal = visitor.get(pods).unwrap();
    assert_eq!(refusal.status, 403);
    assert!(
        refusal.text.contains(r#"User \"visitor\""#),
        "{}",
        refusal.text
    );

    // What his group may do, he may do. (The roles that come with a cluster are empty until a controller fills them.)
    let rbac = "rbac.authorization.k8s.io";
    let role = json!({
        "apiVersion": format!("{rbac}/v1"),
        "kind": "ClusterRole",
        "metadata": { "name": "reader" },
        "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"] }],
    });
    let binding = json!({
        "apiVersion": format!("{rbac}/v1"),
        "kind": "ClusterRoleBinding",
        "metadata": { "name": "readers" },
        "roleRef": { "apiGroup": rbac, "kind": "ClusterRole", "name": "reader" },
        "subjects": [{ "apiGroup": rbac, "kind": "Group", "name": "readers" }],
    });
    let admin = plane.client().unwrap();
    for (resource, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let path = format!("/apis/{rbac}/v1/{resource}");
        admin.post(&path, &object).unwrap().success().unwrap();
    }
    eventually("a reader reads", || status(&visitor, pods) == 200);

    plane
        .kubeconfig_for_user("many", &["a", "b", "c"])
        .expect_err("three groups");

    let bearer = Client::from_kubeconfig(&plane.kubeconfig_with_token().unwrap()).unwrap();
    assert_eq!(status(&bearer, "/api/v1/secrets"), 200);
    assert!(plane.token().is_some() && plane.ca_file().unwrap().is_file());
}

fn pods_are_admitted(plane: &ControlPlane) {
    plane
        .client()
        .unwrap()
        .post("/api/v1/namespaces/default/pods", &pod("lonely"))
        .unwrap()
        .success()
        .unwrap();
}

fn etcd_pauses(plane: &ControlPlane) {
    // Read from etcd, not from a cache; and given up by the server, with an answer or by hanging up, so that the
    // test need not wait long.
    let namespace = "/api/v1/namespaces/default?timeout=1s";
    let reads = |plane: &ControlPlane| {
        let answer = plane.client().unwrap().get(namespace);
        answer.is_ok_and(|answer| answer.status == 200)
    };
    eventually("etcd answers", || reads(plane));
    plane.pause_etcd().unwrap();
    assert!(!reads(plane));
    plane.resume_etcd().unwrap();
    eventually("etcd answers again", || reads(plane));
}

fn nothing_is_left_after(plane: ControlPlane) {
    let ids = plane.process_ids();
    let folder = plane.folder().unwrap().to_owned();
    assert!(ids.len() >= 2 && folder.is_dir());
    drop(plane);
    for id in ids {
        let id = Pid::from_raw(i32::try_from(id).unwrap());
        assert_eq!(kill(id, None), Err(Errno::ESRCH), "process {id}");
    }
    assert!(!folder.exists());
}

#[test]
fn virtual_nodes_run_pods() {
    let Some(plane) = own("virtual nodes", Options::full().nodes(2)) else {
        return;
    };
    let admin = plane.client().unwrap();
    let nodes = admin.get("/api/v1/nodes").unwrap().json();
    assert_eq!(nodes["items"].as_array().unwrap().len(), 2);

    let labels = json!({ "app": "web" });
    let mut template = pod("unnamed");
    template["metadata"] = json!({ "labels": labels });
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "web" },
        "spec": {
            "replicas": 4,
            "selector": { "matchLabels": labels },
            "template": template,
        },
    });
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    admin
        .post(deployments, &deployment)
        .unwrap()
        .success()
        .unwrap();

    let pods = || -> Vec<Value> {
        let pods = "/api/v1/namespaces/default/pods?labelSelector=app%3Dweb";
        let list = admin.get(pods).unwrap().json();
        list["items"].as_array().cloned().unwrap_or_default()
    };
    eventually("four pods run", || {
        pods()
            .iter()
            .filter(|pod| pod["status"]["phase"] == "Running")
            .count()
            == 4
    });
    for pod in pods() {
        assert!(
            pod["spec"]["nodeName"]
                .as_str()
                .unwrap()
                .starts_with("node-"),
            "{pod}"
        );
        assert!(pod["status"]["podIP"].is_string(), "{pod}");
    }

    // Gone with their owner, and with the grace that a kubelet would take.
    admin
        .delete(&format!("{deployments}/web"))
        .unwrap()
        .success()
        .unwrap();
    eventually("no pods", || pods().is_empty());
    nothing_is_left_after(plane);
}

#[test]
fn virtual_machine_instances_run_and_go() {
    let options = Options::api_server().kubevirt();
    let Some(plane) = own("virtual machine instances", options) else {
        return;
    };
    let admin = plane.client().unwrap();
    let instances = "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances";
    let object = json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": { "name": "vmi" },
        "spec": { "domain": { "devices": {} } },
    });
    admin.post(instances, &object).unwrap().success().unwrap();
    let vmi = format!("{instances}/vmi");
    let read = || admin.get(&vmi).unwrap().json();
    eventually("it runs", || read()["status"]["phase"] == "Running");
    let status = &read()["status"];
    let transitions = status["phaseTransitionTimestamps"].as_array().unwrap();
    let phases: Vec<_> = transitions.iter().map(|at| &at["phase"]).collect();
    assert_eq!(phases, ["Pending", "Scheduling", "Scheduled", "Running"]);
    assert_eq!(status["conditions"][0]["status"], "True");
    admin.delete(&vmi).unwrap().success().unwrap();
    eventually("it is gone", || admin.get(&vmi).unwrap().status == 404);
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": { "containers": [{ "name": "app", "image": "registry.example/app:1" }] },
    })
}

#[test]
fn an_api_server_that_cannot_start_says_why() {
    let options = Options::api_server().api_server_flag("--no-such-flag");
    match ControlPlane::start_or_skip("a wrong flag", options) {
        Ok(None) => {}
        Ok(Some(_)) => panic!("started with a wrong flag"),
        Err(error) => assert!(
            format!("{error:#}").contains("unknown flag: --no-such-flag"),
            "{error:#}"
        ),
    }
}
