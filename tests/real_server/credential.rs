//! Every way of saying who one is.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use kperf_control_plane::Options;
use kperf_tests::{Kperf, kperf};
use serde_json::{Value, json};

use crate::{errors, run, started, text};

/// The one test that an existing cluster will do for, in whatever way its kubeconfig gets in there.
#[test]
fn what_every_cluster_has_is_listed() {
    let kperf = kperf!();
    let Some(plane) = started("namespaces", Options::api_server()) else {
        return;
    };
    let kubeconfig = plane.kubeconfig();
    let target = ["--kubeconfig", text(&kubeconfig)];
    for http in ["", "--disable-http2"] {
        for content_type in ["json", "protobuf"] {
            let load = format!("--total 20 --content-type {content_type} {http}");
            let namespaces = "quorum_list version=v1 resource=namespaces";
            let report = run(&kperf, namespaces, &target, &load);
            assert_eq!(report["overall"]["succeeded"], 20, "{load}: {report:#}");
            // Four names at least.
            let received = report["overall"]["received_bytes"].as_u64().unwrap();
            assert!(received > 20 * 100, "{load}: {report:#}");
        }
    }
}

fn get_a_node(kperf: &Kperf, target: &[&str], load: &str) -> Value {
    run(
        kperf,
        "stale_get version=v1 resource=nodes name=node-1",
        target,
        load,
    )
}

#[test]
fn every_credential_and_a_user_without_rights() {
    let kperf = kperf!();
    let Some(plane) = started("credentials", Options::api_server().own()) else {
        return;
    };
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}});
    let client = plane.client().unwrap();
    client
        .post("/api/v1/nodes", &node)
        .unwrap()
        .success()
        .unwrap();

    let path = |path: PathBuf| text(&path).to_owned();
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
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
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
    let server = ["--server", plane.url(), "--ca-file", &ca, "--token"];
    for target in [
        &["--kubeconfig", certificate.as_str()][..],
        &["--kubeconfig", &token],
        &["--kubeconfig", text(&exec)],
        &[&server[..], &[secret]].concat(),
    ] {
        for http in ["", "--disable-http2"] {
            let report = get_a_node(&kperf, target, &format!("--total 20 {http}"));
            assert_eq!(report["overall"]["succeeded"], 20, "{target:?} {http}");
        }
    }

    let nobody = path(plane.kubeconfig_for_user("nobody", &[]).unwrap());
    let report = get_a_node(&kperf, &["--kubeconfig", &nobody], "--total 20");
    assert_eq!(errors(&report), [("http/403".to_owned(), 20)]);
    let findings = report["findings"].to_string();
    assert!(findings.contains("target/forbidden"), "{findings}");
    let stranger = [&server[..], &["sesame"]].concat();
    let report = get_a_node(&kperf, &stranger, "--total 5");
    assert_eq!(errors(&report), [("http/401".to_owned(), 5)]);
}
