//! The nine scenarios: what they send, and what happens beside it.

use kperf_tests::kperf;
use serde_json::{Value, json};

use crate::bench;

#[test]
fn a_newcomer_needs_no_cluster() {
    let kperf = kperf!();
    let ran = kperf
        .run(&["bench", "node10_job1_pod100", "--sim", "--total", "60"])
        .expect(0);
    let whole: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(whole["result"]["total"], 60);
    assert_eq!(whole["loadSpec"]["count"], 1);
    assert!(
        whole["description"]
            .as_str()
            .unwrap()
            .contains("10 virtual nodes")
    );
    ran.says(&[
        "granted beyond its own namespaces",
        "create:nodes",
        "deleted node pool node10job1pod100",
    ]);
}

#[test]
fn jobs_come_and_go_beside_the_load() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let one = bench(&kperf, &sim, "node10_job1_pod100", &["--total", "100"]);
    assert_eq!(one.answered(), (100, 0));
    assert!(one.metric("jobs_completed") >= 1.0);
    let spec = &one.result["loadSpec"]["loadProfile"]["specs"][0];
    assert_eq!((&spec["rate"], &spec["conns"]), (&json!(10), &json!(10)));

    let three = bench(
        &kperf,
        &sim,
        "node100_job1_pod3k",
        &[
            "--total",
            "60",
            "--pods=60",
            "--runners",
            "4",
            "--content-type",
            "protobuf",
        ],
    );
    assert_eq!(three.answered(), (240, 0));
    assert!(three.metric("jobs_completed") >= 1.0);
    assert_eq!(three.result["loadSpec"]["count"], 4);

    // Between two deployments there is no Job to be read.
    let single = bench(
        &kperf,
        &sim,
        "node10_job1_pod1k",
        &[
            "--total",
            "80",
            "--pods",
            "50",
            "--cpu",
            "16",
            "--memory",
            "32",
            "--max-pods",
            "50",
        ],
    );
    let (succeeded, failed) = single.answered();
    assert_eq!(succeeded + failed as u64, 800);
    for error in single.result["result"]["errors"]
        .as_array()
        .into_iter()
        .flatten()
    {
        assert_eq!(error["code"], 404, "{error}");
        assert!(
            error["url"].as_str().unwrap().contains("/jobs/batchjobs"),
            "{error}"
        );
    }
    assert!(single.metric("jobs_completed") >= 1.0);
}

#[test]
fn ten_jobs_run_beside_the_load() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let ten = bench(
        &kperf,
        &sim,
        "node100_job10_pod10k",
        &["--total", "50", "--pods-per-job", "40"],
    );
    assert_eq!(ten.answered(), (500, 0));
    assert_eq!(ten.metric("jobs_begun"), 10.0);
    assert_eq!(ten.metric("jobs_completed"), 10.0);
}

#[test]
fn deployments_are_restarted_beside_the_load() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let restarts = bench(
        &kperf,
        &sim,
        "node100_pod10k",
        &[
            "--total",
            "60",
            "--deployments",
            "4",
            "--pods",
            "200",
            "--interval",
            "200ms",
            "--padding-bytes",
            "2048",
        ],
    );
    assert_eq!(restarts.answered(), (600, 0));
    assert!(restarts.metric("restarts_completed") >= 1.0);
    let info = &restarts.result["info"];
    assert_eq!(info["interval"], "200ms");
    let size = info["podSizeInBytes"].as_u64().unwrap();
    assert!(size >= 2048 && size.is_multiple_of(1024), "{size}");
}

/// One pod is weighed, and no list of all of them is needed for that: it would be too much at once.
#[test]
fn pods_may_be_large() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let large = bench(
        &kperf,
        &sim,
        "node100_pod10k",
        &[
            "--total",
            "2",
            "--runners",
            "1",
            "--deployments",
            "1",
            "--pods",
            "110",
            "--nodes",
            "10",
            "--padding-bytes",
            "180000",
        ],
    );
    assert_eq!(large.answered(), (2, 0));
    let size = large.result["info"]["podSizeInBytes"].as_u64().unwrap();
    assert!(size >= 175 * 1024, "{size}");
}

#[test]
fn config_maps_are_listed_and_updated() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let lists = bench(
        &kperf,
        &sim,
        "list_configmaps",
        &[
            "--duration",
            "2",
            "--configmap-amount",
            "50",
            "--size",
            "500",
            "--group-size",
            "10",
        ],
    );
    assert_eq!(lists.sent("create ConfigMaps"), 50);
    let (succeeded, failed) = lists.answered();
    assert!(succeeded > 100 && failed == 0, "{succeeded} {failed}");
    assert_eq!(lists.result["info"]["configmapSizeInBytes"], 500);
    let time = lists.result["info"]["runningTime"].as_str().unwrap();
    let seconds: f64 = time.strip_suffix('s').unwrap().parse().unwrap();
    // It was asked to run for two.
    assert!(seconds >= 1.0, "{time}");

    let updates = bench(
        &kperf,
        &sim,
        "read_update",
        &[
            "--total",
            "30",
            "--read-update-configmap-total",
            "20",
            "--read-ratio",
            "0.25",
        ],
    );
    assert_eq!(updates.answered(), (300, 0));
    assert_eq!(updates.metric("watches"), 20.0);
    // Patches that change nothing tell no watch.
    let patches = {
        let series = updates.report["series"].as_array().unwrap().iter();
        let patches = series.filter(|one| one["name"].as_str().unwrap().starts_with("PATCH"));
        patches
            .map(|one| one["sent"].as_f64().unwrap())
            .sum::<f64>()
    };
    let told = updates.metric("watch_events") - 20.0;
    assert!(
        told > patches * 0.5 && told <= patches,
        "{patches} patches, {told} events"
    );
}

/// kperf's default is `default`; here it is a namespace that goes with the run.
#[test]
fn a_namespace_that_is_there_is_refused_with_the_reason() {
    kperf!()
        .run(&[
            "bench",
            "read_update",
            "--sim",
            "--total",
            "5",
            "--read-update-namespace",
            "default",
        ])
        .expect(5)
        .says(&["already", "must be a new namespace"]);
}

#[test]
fn ciliums_objects_are_made_and_unmade() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let flags = [
        "--total",
        "100",
        "--runners",
        "1",
        "--num-cilium-identities",
        "40",
        "--num-cilium-endpoints",
        "30",
    ];
    let lists = bench(&kperf, &sim, "cilium_cr_list", &flags);
    assert_eq!(lists.answered(), (100, 0));
    assert_eq!(lists.sent("create ciliumidentities"), 40);
    assert_eq!(lists.sent("create ciliumendpoints"), 30);
    assert_eq!(lists.result["info"]["numCiliumIdentities"], 40);
    // Had a definition stayed, it could not be made again.
    let _ = bench(&kperf, &sim, "cilium_cr_list", &flags);
}

#[test]
fn a_series_of_phases_is_one_load() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let series = bench(
        &kperf,
        &sim,
        "timeseries_replay",
        &["--duration", "3", "--runners", "2"],
    );
    let specs = &series.result["loadSpec"]["loadProfile"]["specs"];
    assert_eq!(specs.as_array().unwrap().len(), 3);
    let (succeeded, failed) = series.answered();
    assert_eq!(failed, 0);
    assert_eq!(series.sent("load-"), succeeded);
    // The rush has its whole rate, from each of the two runners.
    let phases = series.report["phases"].as_array().unwrap();
    let rates = phases.iter().map(|phase| {
        assert!(phase["overall"]["sent"].as_u64() > Some(0), "{phase:#}");
        let settings = &phase["settings"];
        settings["rate"]
            .as_str()
            .unwrap_or_else(|| panic!("{settings:#}"))
    });
    assert_eq!(rates.collect::<Vec<_>>(), ["20", "200", "50"]);
}
