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
    // Ten seconds of load: room for a Job, which waits for five.
    let ran = user
        .types("warmup --nodes 5 --pods 40 --parallelism 20 --runners 2 --total 100 --rate 10 --core-warmup-ready-threshold 1000 -o json")
        .expect(0);
    let warmed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(warmed["ready"], false, "{warmed:#}");
    assert_eq!(warmed["skipped"], false);
    assert_eq!(warmed["nodes"], 5);
    assert_eq!(warmed["requests"], 200);
    assert!(
        warmed["jobs"].as_u64().unwrap() >= 1,
        "{warmed:#}\n{}",
        ran.stderr
    );
    for key in ["apiserver.cores.before", "apiserver.cores.after"] {
        let cores = warmed[key].as_object().unwrap();
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

#[test]
fn a_newcomer_needs_no_cluster() {
    let kperf = kperf!();
    let words = "warmup --sim --nodes 2 --pods 5 --local --runners 2 --total 20 --rate 20 -o json --core-warmup-ready-threshold 1000";
    let words: Vec<&str> = words.split_whitespace().collect();
    let ran = kperf.run(&words).expect(0);
    let warmed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(warmed["requests"], 40, "of both processes: {}", ran.stderr);
}
