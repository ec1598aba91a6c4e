//! Sets of objects, on both kinds of servers.

use kperf_tests::kperf;
use serde_json::json;

use crate::User;

/// What is typed at either server.
pub(crate) fn every_kind_by_its_defaults(user: &User<'_>) {
    user.types("data configmap add x")
        .expect(0)
        .says(&["configmaps x: 10 are there, in namespace default"]);
    assert_eq!(
        user.types("data configmap list").expect(0).stdout,
        "NAME   SIZE   GROUP_SIZE   TOTAL\nx      100    10           10\n"
    );
    // Twice is once, and less is what was there.
    user.types("data cm add x").expect(0);
    user.types("data cm add x --total 3")
        .expect(0)
        .says(&["10 are there", "7 more than asked for"]);
    for words in ["add x", "delete x", "list"] {
        user.types(&format!("data cm {words} --namespace a/b"))
            .expect(2)
            .says(&["cannot be a namespace"]);
    }
    user.types("data cm add y --namespace fill --size 2000 --total 25 --group-size 10 --qps 500 --burst 100")
        .expect(0);
    assert_eq!(
        user.reads("data cm --namespace fill list y"),
        json!([{"name": "y", "namespace": "fill", "size": 2000, "groupSize": 10, "total": 25}])
    );
    user.types("data cm delete x")
        .expect(0)
        .says(&["configmaps x: 10 deleted"]);
    user.types("data cm del y -n fill")
        .expect(0)
        .says(&["configmaps y: 25 deleted"]);
    assert_eq!(user.reads("data cm list"), json!([]));
    user.types("data cm delete x")
        .expect(0)
        .says(&["nothing of it is in namespace default"]);

    user.types("data secret add x").expect(0);
    user.types(
        "data event add x --reason Why --type Warning --involved-object Node/n-1 --size 500",
    )
    .expect(0);
    user.types("data ds add x --count 3").expect(0);
    assert_eq!(user.reads("data secret list")[0]["size"], 100);
    assert_eq!(user.reads("data event list")[0]["size"], 500);
    assert_eq!(
        user.types("data daemonset list").expect(0).stdout,
        "NAME   NAMESPACE   COUNT\nx      default     3\n"
    );
    for (kind, count) in [("secret", 10), ("event", 10), ("daemonset", 3)] {
        user.types(&format!("data {kind} delete x"))
            .expect(0)
            .says(&[&format!("x: {count} deleted")]);
        assert_eq!(user.reads(&format!("data {kind} list")), json!([]));
    }
}

#[test]
fn sets_on_the_simulator() {
    let kperf = kperf!();
    let sim = kperf.sim(&["--objects", "nodes=1,namespaces=1,pods=1,configmaps=1"]);
    every_kind_by_its_defaults(&User {
        kperf: &kperf,
        kubeconfig: sim.kubeconfig(),
    });
}

/// kperf's `put` requests replace whole objects, and their labels with them.
#[test]
fn a_set_is_deleted_after_puts() {
    let kperf = kperf!();
    let sim = kperf.sim(&["--objects", "nodes=1,namespaces=1,pods=1,configmaps=1"]);
    let user = User {
        kperf: &kperf,
        kubeconfig: sim.kubeconfig(),
    };
    user.types("data cm add x").expect(0);
    kperf.write(
        "put.yaml",
        "version: 1\nspecs:\n- total: 200\n  conns: 1\n  client: 2\n  requests:\n  - shares: 1\n    put: \
         {version: v1, resource: configmaps, namespace: default, name: runkperf-cm-x, keySpaceSize: 10, payloadSize: 64}\n",
    );
    user.types("run --profile put.yaml").expect(0);
    assert_eq!(user.reads("data cm list")[0]["total"], 10);
    user.types("data cm delete x")
        .expect(0)
        .says(&["10 deleted"]);
}

#[test]
fn what_cannot_be_is_said() {
    let kperf = kperf!();
    for (words, said) in [
        (&["cm", "add", "x", "--total", "0"][..], "total"),
        (&["cm", "add", "x", "--size", "2000000"], "too large"),
        (&["cm", "add", "X"], "cannot be the name of a set"),
        (&["event", "add", "x", "--type", "Odd"], "Warning"),
        (
            &["event", "add", "x", "--involved-object", "Pod"],
            "KIND/NAME",
        ),
    ] {
        let mut all = vec!["data"];
        all.extend(words);
        all.extend(["--server", "https://127.0.0.1:1"]);
        kperf.run(&all).expect(2).says(&[said]);
    }
}
