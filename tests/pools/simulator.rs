//! Pools on the simulator, which plays KWOK itself.

use std::{process::Stdio, thread, time::Duration};

use kperf_tests::{Started, kperf, wait};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::User;

#[test]
fn a_pool_is_added_listed_and_deleted() {
    let kperf = kperf!();
    let sim = kperf.sim(&["--objects", "nodes=1,namespaces=1,pods=1,configmaps=1"]);
    let user = User {
        kperf: &kperf,
        kubeconfig: sim.kubeconfig(),
    };
    let added = user
        .types("vc nodepool add example --nodes=20 --cpu=32 --memory=96 --node-labels=team=blue --affinity=zone=a,b")
        .expect(0);
    added.says(&["nodepool example: 20 nodes created, 20 are ready"]);
    user.types("vc nodepool add example --nodes=20 --cpu=32 --memory=96 --node-labels=team=blue")
        .expect(0)
        .says(&["was there; 20 nodes are ready"]);
    let other = user.types("vc nodepool add example --nodes=21").expect(1);
    other.says(&[
        "nodepool example already exists",
        "nodes=20 (not 21)",
        "cpu=32 (not 8)",
    ]);
    let listed = user.types("virtualcluster nodepool list").expect(0);
    assert_eq!(
        listed.stdout,
        "NAME      NODES     CPU   MEMORY (GiB)   MAX PODS   STATUS\n\
         example   20 / 20   32    96             110        ready\n"
    );
    let pools = user.reads("vc nodepool list");
    assert_eq!(pools[0]["ready"], 20, "{pools:#}");
    assert_eq!(pools[0]["nodeLabels"]["team"], "blue");
    let yaml = user.types("vc nodepool list -o yaml").expect(0);
    assert!(yaml.stdout.contains("ready: 20"), "{}", yaml.stdout);

    user.types("vc nodepool batch-add batch --nodes=5 --batch-size=2")
        .expect(0);
    let names = |pools: serde_json::Value| -> Vec<String> {
        let pools = pools.as_array().unwrap().iter();
        pools
            .map(|pool| format!("{} {}", pool["name"].as_str().unwrap(), pool["ready"]))
            .collect()
    };
    assert_eq!(
        names(user.reads("vc nodepool list")),
        ["batch-0 2", "batch-1 2", "batch-2 1", "example 20"]
    );
    let deleted = user
        .types("vc nodepool del batch-0 batch-1 batch-2")
        .expect(0);
    deleted.says(&["nodepool batch-2: deleted 1 nodes"]);
    assert_eq!(names(user.reads("vc nodepool list")), ["example 20"]);
    // kperf has the kubeconfig before the command.
    kperf
        .run(&[
            "vc",
            "nodepool",
            "--kubeconfig",
            sim.kubeconfig(),
            "delete",
            "example",
        ])
        .expect(0);
    user.types("vc nodepool delete example")
        .expect(0)
        .says(&["nothing of it is there"]);
    assert_eq!(user.reads("vc nodepool list"), serde_json::json!([]));
}

/// Ctrl-C leaves what there is, and the same command goes on.
#[test]
fn an_interrupted_pool_is_completed() {
    let kperf = kperf!();
    let sim = kperf.sim(&["--objects", "nodes=1,namespaces=1,pods=1,configmaps=1"]);
    let user = User {
        kperf: &kperf,
        kubeconfig: sim.kubeconfig(),
    };
    let words = ["vc", "nodepool", "add", "example", "--nodes=40", "--qps=5"];
    let mut child = Started::new(
        kperf
            .command(&[&words[..], &["--kubeconfig", sim.kubeconfig()]].concat())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let present = |pools: &Value| pools[0]["present"].as_u64().unwrap_or_default();
    for _ in 0..600 {
        if present(&user.reads("vc nodepool list")) > 0 {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    kill(
        Pid::from_raw(i32::try_from(child.id()).unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
    let status = wait(&mut child, Duration::from_secs(60)).expect("an end in time");
    assert_eq!(status.code(), Some(130));
    let pools = user.reads("vc nodepool list");
    assert!((1..40).contains(&present(&pools)), "{pools:#}");
    assert_eq!(pools[0]["status"], "not-ready");
    user.types("vc nodepool add example --nodes=40")
        .expect(0)
        .says(&["40 are ready"]);
    user.types("vc nodepool delete example").expect(0);
}

#[test]
fn a_newcomer_needs_no_cluster() {
    let kperf = kperf!();
    kperf
        .run(&["vc", "nodepool", "add", "a", "--nodes", "3", "--sim"])
        .expect(0)
        .says(&["3 are ready"]);
}

#[test]
fn what_cannot_be_is_said_before_anything_is_sent() {
    let kperf = kperf!();
    for (words, said) in [
        (&["add", "a", "--nodes", "0"][..], "invalid count=0"),
        (
            &["add", "a", "--max-pods", "0"],
            "required max pods > 0, but got 0",
        ),
        (
            &["add", "a-controller"],
            "name can't contain -controller as suffix",
        ),
        (&["add", "A"], "cannot be the name of a nodepool"),
        (
            &["add", "a", "--node-labels", "type=mine"],
            "what pools are found by",
        ),
        (&["add", "a", "--affinity", "zone"], "KEY=VALUE"),
        (&["add", "a", "--qps", "-1"], "--qps"),
        (&["delete"], "NAME"),
        (
            &[
                "batch-add",
                "a",
                "--nodes",
                "4000000000",
                "--batch-size",
                "1",
            ],
            "at most 10000 are made at once",
        ),
    ] {
        let mut all = vec!["vc", "nodepool"];
        all.extend(words);
        all.extend(["--server", "https://127.0.0.1:1"]);
        kperf.run(&all).expect(2).says(&[said]);
    }
}

#[test]
fn a_cluster_that_is_not_there_is_named() {
    let kperf = kperf!();
    let ran = kperf.run(&[
        "vc",
        "nodepool",
        "list",
        "--server",
        "https://127.0.0.1:1",
        "--insecure-skip-tls-verify",
    ]);
    ran.expect(4).says(&["listing ConfigMaps"]);
}
