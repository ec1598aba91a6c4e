//! Load from processes of this machine.

use kperf_tests::kperf;
use serde_json::{Value, json};

use crate::bench;

/// Processes of this machine, each with the whole profile, are one load: in kperf's result, in the report, and when one
/// of them dies.
#[test]
fn runners_of_this_machine_are_one_load() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let three = bench(
        &kperf,
        &sim,
        "node10_job1_pod100",
        &["--local", "--runners", "3", "--total", "40", "--pods", "20"],
    );
    assert_eq!(three.answered(), (120, 0));
    assert_eq!(three.result["loadSpec"]["count"], 3);
    let runners = &three.result["info"]["runners"][0];
    assert_eq!(
        (&runners["place"], &runners["count"], &runners["reported"]),
        (&json!("local"), &json!(3), &json!(3))
    );
    assert!(runners["startSkewSeconds"].is_number(), "{runners}");
    assert_eq!(three.sent("load"), 120);
    let metrics = three.report["metrics"].as_array().unwrap();
    let each: Vec<&Value> = metrics
        .iter()
        .filter(|metric| metric["name"] == "runner_sent")
        .map(|metric| &metric["value"])
        .collect();
    assert_eq!(each, [&json!(40.0); 3]);
    let series = three.report["phases"][0]["series"].as_array().unwrap();
    let counted: u64 = series
        .iter()
        .map(|one| one["response_time"]["count"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, 120, "times of all runners are in the histograms");
    assert!(three.metric("jobs_completed") >= 1.0);
}

/// A plugin says how many runners a load has: as processes of this machine only so many are possible.
#[test]
fn runners_of_this_machine_are_few() {
    let kperf = kperf!();
    kperf
        .run(&[
            "bench",
            "list_configmaps",
            "--sim",
            "--local",
            "--configmap-amount",
            "5",
            "--runners",
            "65",
        ])
        .expect(5)
        .says(&["65 runners at once as processes of this machine are wanted, at most 64"]);
}
