//! ClusterLoader2's introductory test on virtual nodes, beside a recording of the same by somebody else.

use std::collections::{BTreeMap, BTreeSet};

use kperf_tests::{Kperf, kperf, repository};
use serde_json::Value;

use crate::{
    density::numbers,
    plane,
    recorded::{Pod, Pods, Recording, percentile},
};

/// The most by which our stamps may differ from the host's. Both read streams of their own of the same server, on a
/// machine whose few cores that server, etcd, four other programs and both of us share: one of us may have to wait
/// for its turn. What is computed from the stamps has no tolerance beyond what they differ by.
const STAMPS_DIFFER_NS: i128 = 500_000_000;

const METRICS: [&str; 5] = [
    "create_to_schedule",
    "pod_startup",
    "run_to_watch",
    "schedule_to_run",
    "schedule_to_watch",
];

/// Create, schedule, run and watch by one of ClusterLoader2's definitions.
type Moments = fn(&Pod) -> [i128; 4];

fn api_2024(pod: &Pod) -> [i128; 4] {
    [pod.created, pod.placed, pod.started, pod.seen[2]].map(Option::unwrap)
}

fn watch_2026(pod: &Pod) -> [i128; 4] {
    [pod.seen[0], pod.seen[1], pod.seen[2], pod.seen[2]].map(Option::unwrap)
}

/// Percentiles 50, 90 and 99 of a metric, in nanoseconds.
fn percentiles(pods: &Pods, moments: Moments, metric: &str) -> [i128; 3] {
    let (from, to) = match metric {
        "create_to_schedule" => (0, 1),
        "schedule_to_run" => (1, 2),
        "run_to_watch" => (2, 3),
        "schedule_to_watch" => (1, 3),
        "pod_startup" => (0, 3),
        "create_to_run" => (0, 2),
        other => panic!("{other} is no transition"),
    };
    let times: Vec<i128> = pods
        .values()
        .map(|pod| {
            let moments = moments(pod);
            (moments[to] - moments[from]).max(0)
        })
        .collect();
    [50, 90, 99].map(|percent| percentile(&times, percent))
}

/// Percentiles 50, 90 and 99 in milliseconds, by metric, as a file has them.
fn written(kperf: &Kperf, prefix: &str) -> BTreeMap<String, [f64; 3]> {
    let files: Vec<String> = std::fs::read_dir(kperf.path("reports"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files.len(), 3, "{files:?}");
    let start = format!("{prefix}PodStartupLatency_PodStartupLatency_test_");
    let file = files.iter().find(|name| name.starts_with(&start));
    let file = file.unwrap_or_else(|| panic!("no {start} in {files:?}"));
    let document = kperf.json(&format!("reports/{file}"));
    assert_eq!(document["version"], "1.0");
    let items = document["dataItems"].as_array().unwrap();
    items
        .iter()
        .map(|item| {
            assert_eq!(item["unit"], "ms", "{item}");
            assert_eq!(item["labels"].as_object().unwrap().len(), 1, "{item}");
            let metric = item["labels"]["Metric"].as_str().unwrap().to_owned();
            let of = |quantile: &str| item["data"][quantile].as_f64().unwrap();
            (metric, ["Perc50", "Perc90", "Perc99"].map(of))
        })
        .collect()
}

/// The same pods, with the host's own stamps of receipt.
fn as_the_host_saw(report: &Value, pods: &Pods) -> Pods {
    let tables = report["objects"].as_array().unwrap();
    let of_pods = |table: &&Value| table["milestones"][0]["name"] == "create";
    let table = tables.iter().find(of_pods).expect("a table of pods");
    let start_ns = i128::from(report["start_unix_us"].as_u64().unwrap()) * 1000;
    let names = table["names"].as_array().unwrap();
    let columns: Vec<Vec<u64>> = (0..3)
        .map(|i| numbers(&table["milestones"][i]["received_ns"]))
        .collect();
    let mut seen = pods.clone();
    assert_eq!(names.len(), pods.len());
    for (row, name) in names.iter().enumerate() {
        let namespace = table["namespaces"][row].as_str().unwrap().to_owned();
        let key = (namespace, name.as_str().unwrap().to_owned());
        let pod = seen.get_mut(&key).expect("a pod that we saw too");
        for (stamp, column) in pod.seen.iter_mut().zip(&columns) {
            *stamp = Some(start_ns + i128::from(column[row]));
        }
    }
    seen
}

/// By how much two percentiles of one metric differ at most, in milliseconds.
fn distance(written: &[f64; 3], computed_ns: [i128; 3]) -> f64 {
    let computed = computed_ns.map(|ns| ns as f64 / 1e6);
    let differences = written.iter().zip(computed).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f64::max)
}

#[test]
fn percentiles_agree_with_those_of_another_observer() {
    let kperf = kperf!();
    let Some(mut plane) = plane("pod startup latency") else {
        return;
    };
    let kubeconfig = plane.kubeconfig();
    let example = repository().join("examples/workloads/clusterloader2");
    for file in ["config.yaml", "deployment.yaml"] {
        std::fs::copy(example.join(file), kperf.path(file)).unwrap();
    }
    for (definition, moments) in [
        ("api-2024", api_2024 as Moments),
        ("watch-2026", watch_2026),
    ] {
        let recording = Recording::start(plane.get().client().unwrap());
        std::fs::remove_dir_all(kperf.path("reports")).ok();
        let definition_is = format!("definition={definition}");
        let ran = kperf
            .run(&[
                "run",
                "--plugin",
                "pod_startup_latency",
                "--set",
                "testConfig=config.yaml",
                "--set",
                &definition_is,
                "--set",
                "reportPods=true",
                "--kubeconfig",
                &kubeconfig,
                "--output",
                "perf_data=reports/",
                "--output",
                "json=r.json",
            ])
            .expect(0);
        let report = kperf.json("r.json");
        let run = ran.run_id();
        plane.assert_nothing_labelled();
        kperf.assert_clean(&kubeconfig, Some(&run));

        let all = written(&kperf, "");
        let mut metrics = BTreeSet::from(METRICS);
        if definition == "watch-2026" {
            metrics.insert("create_to_run");
        }
        assert!(all.keys().eq(metrics.iter()), "{all:?}");
        // These pods keep nothing: they are the stateless ones, and there are no others.
        assert_eq!(written(&kperf, "Stateless"), all);
        let stateful = written(&kperf, "Stateful");
        assert!(stateful.keys().eq(metrics.iter()), "{stateful:?}");
        assert!(
            stateful.values().all(|none| *none == [0.0; 3]),
            "{stateful:?}"
        );

        let own = recording.pods("");
        assert_eq!(own.len(), 10, "{own:?}");
        let host = as_the_host_saw(&report, &own);
        let stamps_differ_ns = own
            .iter()
            .flat_map(|(key, pod)| (0..3).map(move |i| (key, pod, i)))
            .map(|(key, pod, i)| (host[key].seen[i].unwrap() - pod.seen[i].unwrap()).abs())
            .max()
            .unwrap();
        println!(
            "{definition}: stamps differ by at most {:.3} ms",
            stamps_differ_ns as f64 / 1e6
        );
        assert!(stamps_differ_ns <= STAMPS_DIFFER_NS, "{own:#?}\n{host:#?}");
        for (metric, values) in &all {
            let recomputed = percentiles(&host, moments, metric);
            let independent = percentiles(&own, moments, metric);
            println!("  {metric}: written {values:?} ms, independently {independent:?} ns");
            // The host's stamps are in microseconds since 1970 plus nanoseconds; a thousandth of that is rounding.
            assert!(distance(values, recomputed) < 0.001, "{recomputed:?}");
            // Each end of a time may be off by what a stamp is; times of the API are not.
            let ends = match (definition, metric.as_str()) {
                ("api-2024", "create_to_schedule" | "schedule_to_run") => 0,
                ("api-2024", _) => 1,
                _ => 2,
            };
            let allowed = (ends * stamps_differ_ns) as f64 / 1e6 + 0.001;
            assert!(
                distance(values, independent) <= allowed,
                "{metric}: {values:?} ms is not within {allowed} ms of {independent:?} ns"
            );
        }
    }
}
