//! What a newcomer sees with `--sim`.

use kperf_tests::{kperf, repository};
use serde_json::Value;

use crate::{finding, metric};

const NODES: [(&str, &str); 2] = [("verb", "LIST"), ("resource", "nodes")];

#[test]
fn the_servers_numbers_stand_beside_the_clients() {
    let kperf = kperf!();
    let ran = kperf
        .run(&[
            "run",
            "--plugin",
            "quorum_list",
            "--set",
            "resource=nodes",
            "--set",
            "version=v1",
            "--sim",
            "--total",
            "300",
            "--output",
            "json=r.json",
        ])
        .expect(0);
    for part in ["server's side", "LIST nodes", "interpolated"] {
        assert!(ran.stdout.contains(part), "{part}:\n{}", ran.stdout);
    }
    let report = kperf.json("r.json");
    validate(&report);
    assert_eq!(
        metric(&report, "server-requests", &NODES),
        Some(300.0),
        "{report:#}"
    );
    let p99 = [&NODES[..], &[("quantile", "0.99")]].concat();
    assert!(metric(&report, "server-latency", &p99).is_some());
    assert!(metric(&report, "server-cores", &[]).is_some_and(|cores| cores >= 1.0));
    // The simulator's threads alone; the memory of its process is the client's too.
    assert!(metric(&report, "server-cpu", &[]).is_some_and(|seconds| seconds > 0.0));
    assert_eq!(metric(&report, "server-memory", &[]), None);
    for code in [
        "server/fewer-requests",
        "server/client-sees-more",
        "server/metrics-missing",
    ] {
        assert_eq!(finding(&report, code), None);
    }
}

#[test]
fn intervals_and_silence_as_asked() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let run = |more: &[&str]| {
        let load = [
            "run",
            "--plugin",
            "quorum_list",
            "--set",
            "resource=nodes",
            "--set",
            "version=v1",
            "--kubeconfig",
            sim.kubeconfig(),
            "--rate",
            "200",
            "--duration",
            "2s",
            "--output",
            "json=r.json",
        ];
        let ran = kperf.run(&[&load[..], more].concat()).expect(0);
        (ran, kperf.json("r.json"))
    };
    let (ran, report) = run(&["--server-metrics-interval", "500ms"]);
    validate(&report);
    ran.says(&["server 127.0.0.1:", "/s answered"]);
    let rates: Vec<f64> = report["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|metric| metric["name"] == "server_interval_rate")
        .map(|metric| metric["value"].as_f64().unwrap())
        .collect();
    assert!(rates.len() >= 3, "{rates:?}");
    // The simulator is a process of its own here.
    assert!(metric(&report, "server-memory", &[("when", "max")]).is_some_and(|bytes| bytes > 1e6));
    let answered = report["overall"]["succeeded"].as_f64();
    assert_eq!(metric(&report, "server-requests", &NODES), answered);

    let (ran, report) = run(&["--server-metrics=off"]);
    assert!(!ran.stdout.contains("server's side"), "{}", ran.stdout);
    assert_eq!(metric(&report, "server-cores", &[]), None);

    // Limits are on any metric.
    let (_, report) = run(&[
        "--threshold",
        "server-requests{verb=\"LIST\",resource=\"nodes\"} >= 100",
    ]);
    assert_eq!(report["thresholds"][0]["passed"], true, "{report:#}");
}

#[test]
fn what_the_simulator_rejects_is_counted() {
    let kperf = kperf!();
    kperf
        .run(&[
            "run",
            "--plugin",
            "quorum_list",
            "--sim",
            "--sim-faults",
            "429=0.3,seed=3",
            "--total",
            "200",
            "--output",
            "json=r.json",
        ])
        .expect(0);
    let report = kperf.json("r.json");
    let refused = report["overall"]["errors"]["http/429"].as_f64().unwrap();
    let rejected = metric(&report, "server-rejected", &[]).unwrap();
    // A look of ours may have been refused too.
    assert!(
        rejected >= refused && refused > 20.0,
        "{rejected} {refused}"
    );
}

pub(crate) fn validate(report: &Value) {
    let schema = repository().join("plugins/exporter-json/report-v1.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(report)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}
