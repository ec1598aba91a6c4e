//! Warm-ups in their shortened form.

use kperf_tests::kperf;
use serde_json::Value;

use crate::User;

#[test]
fn a_server_is_warmed_and_left_as_it_was() {
    let kperf = kperf!();
    let sim = kperf.sim(&["--objects", "nodes=1,namespaces=1,pods=5,configmaps=1"]);
    let user = User {
        kperf: &kperf,
        kubeconfig: sim.kubeconfig(),
    };
    // Twenty seconds of load: room for a Job, which waits for five.
    let ran = user
        .types("warmup --nodes 5 --pods 40 --parallelism 20 --runners 2 --total 200 --rate 10 --core-warmup-ready-threshold 1000 -o json")
        .expect(0);
    let warmed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(warmed["ready"], false, "{warmed:#}");
    assert_eq!(warmed["skipped"], false);
    assert_eq!(warmed["nodes"], 5);
    assert_eq!(warmed["requests"], 400);
    assert!(
        warmed["jobs"].as_u64().unwrap() >= 1,
        "{warmed:#}\n{}",
        ran.stderr
    );
    for when in ["before", "after"] {
        let cores = warmed["apiserver"]["cores"][when].as_object().unwrap();
        assert!(!cores.is_empty(), "{warmed:#}");
        assert!(
            cores.values().all(|cores| cores.as_u64() > Some(0)),
            "{warmed:#}"
        );
    }
    assert_eq!(user.reads("vc nodepool list"), serde_json::json!([]));
    let left = user.types("cleanup --list").expect(0);
    assert_eq!(left.stdout, "");

    // What is warm is left alone; kperf's own command is understood.
    let ran = user
        .types("warmup --core-warmup-ready-threshold 1 --runner-image x --runner-flowcontrol workload-low:1000")
        .expect(0);
    assert!(ran.stdout.contains("nothing was done"), "{}", ran.stdout);
}

/// Somebody's pool, or namespace, of the names that a warm-up uses: nothing is done, and they are as they were.
#[test]
fn what_is_somebodys_is_not_taken() {
    let kperf = kperf!();
    let sim = kperf.sim(&["--objects", "nodes=1,namespaces=1,pods=5,configmaps=1"]);
    let user = User {
        kperf: &kperf,
        kubeconfig: sim.kubeconfig(),
    };
    let warmup =
        "warmup --nodes 2 --pods 5 --runners 1 --total 20 --core-warmup-ready-threshold 1000";
    user.types("vc nodepool add warmup --nodes=3").expect(0);
    user.types(warmup)
        .expect(1)
        .says(&["nodepool warmup already exists"]);
    // In the shape that the warm-up would give it, too.
    user.types("vc nodepool delete warmup").expect(0);
    user.types("vc nodepool add warmup --nodes=2 --cpu=32 --memory=96")
        .expect(0);
    user.types(warmup)
        .expect(1)
        .says(&["there is a node pool warmup already"]);
    let pools = user.reads("vc nodepool list");
    assert_eq!(pools[0]["ready"], 2, "{pools:#}");
    user.types("vc nodepool delete warmup").expect(0);

    // It makes the namespace of the set.
    user.types("data cm add x --namespace warmupjob").expect(0);
    user.types(warmup)
        .expect(1)
        .says(&["namespace warmupjob", "it is there already"]);
    assert_eq!(user.reads("vc nodepool list"), serde_json::json!([]));
    let sets = user.reads("data cm list --namespace warmupjob");
    assert_eq!(sets[0]["total"], 10, "{sets:#}");
    assert_eq!(user.types("cleanup --list").expect(0).stdout, "");
}

#[test]
fn a_newcomer_needs_no_cluster() {
    let kperf = kperf!();
    let words = "warmup --sim --nodes 2 --pods 5 --local --runners 2 --total 20 --rate 20 -o json --core-warmup-ready-threshold 1000";
    let words: Vec<&str> = words.split_whitespace().collect();
    let ran = kperf.run(&words).expect(0);
    let warmed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(warmed["requests"], 40, "of both processes: {}", ran.stderr);
}
