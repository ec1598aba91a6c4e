//! kubectl, the real one, against the simulator.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::{process::Command, time::Duration};

use kperf_tests::{Ran, SimServer, finish, have, kperf};

fn kubectl(sim: &SimServer, arguments: &[&str]) -> Ran {
    let mut command = Command::new("kubectl");
    command
        .arg("--kubeconfig")
        .arg(&sim.kubeconfig)
        .args(arguments)
        .env("HOME", sim.kubeconfig.parent().unwrap());
    finish(command, Duration::from_secs(60))
}

#[test]
fn what_an_operator_types() {
    if !have("kubectl", "kubectl against the simulator") {
        return;
    }
    let kperf = kperf!();
    let sim = kperf.sim(&["--objects", "nodes=3,namespaces=2,pods=4,configmaps=2"]);

    let ran = kubectl(&sim, &["get", "pods", "-A"]).expect(0);
    assert_eq!(ran.stdout.lines().count(), 1 + 2 * 4, "{}", ran.stdout);
    assert!(
        ran.stdout.contains("READY") && ran.stdout.contains("Running"),
        "{}",
        ran.stdout
    );

    let ran = kubectl(&sim, &["get", "nodes", "-o", "wide"]).expect(0);
    assert!(
        ran.stdout.contains("INTERNAL-IP") && ran.stdout.contains("node-2"),
        "{}",
        ran.stdout
    );

    let ran = kubectl(&sim, &["get", "--raw", "/metrics"]).expect(0);
    assert!(
        ran.stdout.contains("apiserver_request_total"),
        "{}",
        ran.stdout
    );

    let file = kperf.write(
        "cm.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine, namespace: ns-1}\ndata: {a: one}\n",
    );
    let file = file.to_str().unwrap();
    let ran = kubectl(&sim, &["apply", "-f", file]).expect(0);
    assert!(ran.stdout.contains("created"), "{}", ran.stdout);
    kperf.write(
        "cm.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine, namespace: ns-1}\ndata: {b: two}\n",
    );
    let ran = kubectl(&sim, &["apply", "-f", file]).expect(0);
    assert!(ran.stdout.contains("configured"), "{}", ran.stdout);
    let ran = kubectl(
        &sim,
        &["get", "cm", "mine", "-n", "ns-1", "-o", "jsonpath={.data}"],
    )
    .expect(0);
    assert_eq!(ran.stdout, r#"{"b":"two"}"#);

    kubectl(&sim, &["delete", "-f", file]).expect(0);
    let ran = kubectl(&sim, &["get", "cm", "mine", "-n", "ns-1"]).expect(1);
    assert!(ran.stderr.contains("NotFound"), "{}", ran.stderr);

    let ran = kubectl(
        &sim,
        &["logs", "-n", "ns-1", "pod-1", "-c", "app", "--tail", "3"],
    )
    .expect(0);
    assert_eq!(ran.stdout.lines().count(), 3, "{}", ran.stdout);
}
