//! Runs apart, reports together: `merge` over what real runs wrote.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::io::Write as _;

use kperf_tests::{Kperf, kperf};
use serde_json::Value;

/// Runs a small mixed load and keeps its report, with raw data, as `NAME.json`.
fn run(kperf: &Kperf, name: &str, more: &[&str]) {
    let output = format!("json={name}.json");
    let arguments = [
        &[
            "run",
            "--profile",
            "profile.yaml",
            "--sim",
            "nodes=3,pods=5",
            "--raw-data",
        ],
        &["--output", output.as_str()][..],
        more,
    ]
    .concat();
    kperf.run(&arguments).expect(0);
}

const PROFILE: &str = "version: 1
specs:
  - {total: 60, conns: 2, client: 4, requests: [
      {shares: 2, staleList: {version: v1, resource: pods}},
      {shares: 1, quorumGet: {version: v1, resource: nodes, name: node-1}},
      {shares: 1, quorumGet: {version: v1, resource: nodes, name: none-such}}]}
  - {total: 30, rate: 400, conns: 1, client: 2, contentType: json, requests: [
      {shares: 1, quorumList: {version: v1, resource: configmaps, limit: 10}}]}
";

fn sum(reports: &[Value], pointer: &str) -> u64 {
    reports
        .iter()
        .map(|report| report.pointer(pointer).and_then(Value::as_u64).unwrap_or(0))
        .sum()
}

/// Sorted latencies of all successes of a phase, from raw data.
fn latencies(reports: &[Value], phase: usize, column: &str) -> Vec<u64> {
    let mut all = Vec::new();
    for report in reports {
        let raw = &report["phases"][phase]["raw"];
        let rows = raw[column].as_array().unwrap().iter();
        let failures = raw["failure"].as_array().unwrap();
        all.extend(
            rows.zip(failures)
                .filter(|(_, failure)| **failure == 0)
                .map(|(row, _)| row.as_u64().unwrap()),
        );
    }
    all.sort_unstable();
    all
}

#[test]
fn three_runs_merge_to_what_they_measured_together() {
    let kperf = kperf!();
    kperf.write("profile.yaml", PROFILE);
    for name in ["a", "b", "c"] {
        run(&kperf, name, &[]);
    }
    let reports: Vec<Value> = ["a", "b", "c"]
        .map(|name| kperf.json(&format!("{name}.json")))
        .into();
    // One is compressed, as runners store theirs.
    let packed = std::fs::File::create(kperf.path("c.json.gz")).unwrap();
    let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::default());
    packed
        .write_all(&std::fs::read(kperf.path("c.json")).unwrap())
        .unwrap();
    packed.finish().unwrap();

    let ran = kperf
        .run(&[
            "merge",
            "a.json",
            "b.json",
            "c.json.gz",
            "--output",
            "json=merged.json",
            "--threshold",
            "errors count <= 1000",
        ])
        .expect(0);
    for part in [
        "3 runner(s), start skew",
        "a.json",
        "c.json.gz",
        "all phases",
        "270 sent",
        "several servers",
        "threshold      kept",
    ] {
        assert!(ran.stdout.contains(part), "`{part}` in {}", ran.stdout);
    }
    let merged = kperf.json("merged.json");
    let schema: Value = serde_json::from_str(include_str!(
        "../plugins/exporter-json/report-v1.schema.json"
    ))
    .unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let problems: Vec<String> = validator
        .iter_errors(&merged)
        .map(|error| error.to_string())
        .collect();
    assert!(problems.is_empty(), "{problems:#?}");

    for pointer in [
        "/overall/sent",
        "/overall/succeeded",
        "/overall/failed",
        "/overall/received_bytes",
        "/overall/errors/http~1404",
        "/overall/response_time/count",
        "/phases/0/overall/sent",
        "/phases/0/counters/intended",
        "/phases/1/counters/sent",
        "/phases/1/overall/service_time/count",
    ] {
        let whole = merged.pointer(pointer).and_then(Value::as_u64);
        assert_eq!(whole, Some(sum(&reports, pointer)), "{pointer}");
    }
    assert_eq!(merged["overall"]["sent"], 270);
    assert_eq!(merged["phases"][0]["settings"]["runners"], "3");
    assert_eq!(merged["phases"][0]["settings"]["conns"], "6");

    // Percentiles are those of all requests, within the histogram's error: three digits.
    for (phase, clock, column) in [
        (0, "response_time", "response_ns"),
        (0, "service_time", "service_ns"),
        (1, "service_time", "service_ns"),
    ] {
        let exact = latencies(&reports, phase, column);
        let percentiles = &merged["phases"][phase]["overall"][clock]["percentiles_ns"];
        for (name, q) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
            let rank = (q * exact.len() as f64).ceil() as usize;
            let (exact, merged) = (exact[rank - 1], percentiles[name].as_u64().unwrap());
            assert!(
                exact.abs_diff(merged) <= exact / 1000 + 64,
                "{phase} {clock} {name}: {merged} for {exact}"
            );
        }
    }

    // Each runner's own numbers.
    let lines: Vec<&Value> = merged["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|metric| metric["name"] == "runner_sent")
        .collect();
    assert_eq!(lines.len(), 3);
    for (line, report) in lines.iter().zip(&reports) {
        assert_eq!(line["value"], 90.0);
        assert_eq!(line["labels"]["run"], report["run_id"]);
    }
    // Raw data is not merged unless that is asked for.
    assert!(merged["phases"][0].get("raw").is_none());

    // kperf's flat report, from raw data: exact percentiles, and what was really sent.
    kperf
        .run(&[
            "merge",
            "a.json",
            "b.json",
            "c.json.gz",
            "--raw-data",
            "--output",
            "kperf-json=flat.json",
            "--output-set",
            "kperf-json.format=flat",
        ])
        .expect(0);
    let flat = kperf.json("flat.json");
    assert_eq!(flat["total"], 270);
    assert_eq!(
        flat["totalReceivedBytes"],
        merged["overall"]["received_bytes"]
    );
    assert_eq!(
        flat["errorStats"]["http/404"],
        merged["overall"]["errors"]["http/404"]
    );
    let mut exact = latencies(&reports, 0, "service_ns");
    exact.extend(latencies(&reports, 1, "service_ns"));
    exact.sort_unstable();
    let rank = (0.99 * exact.len() as f64).ceil() as usize;
    let p99 = &flat["percentileLatencies"][4];
    assert_eq!(p99[0], 0.99);
    let measured = p99[1].as_f64().unwrap();
    assert!((measured - exact[rank - 1] as f64 / 1e9).abs() < 1e-12);
    let latencies: usize = flat["latenciesByURL"]
        .as_object()
        .unwrap()
        .values()
        .map(|list| list.as_array().unwrap().len())
        .sum();
    assert_eq!(latencies, exact.len());

    // A merged report merges on, but not with one of its parts.
    run(&kperf, "d", &[]);
    kperf
        .run(&[
            "merge",
            "merged.json",
            "d.json",
            "--output",
            "json=more.json",
        ])
        .expect(0);
    let more = kperf.json("more.json");
    assert_eq!(more["overall"]["sent"], 360);
    assert_eq!(more["phases"][0]["settings"]["runners"], "4");
    kperf
        .run(&["merge", "merged.json", "b.json"])
        .expect(1)
        .says(&["b.json: is run", "which came with merged.json already"]);
}

const SMALL: &str = "version: 1
specs:
  - {total: 40, conns: 2, client: 4, requests: [{shares: 1, staleList: {version: v1, resource: pods}}]}
";

#[test]
fn damage_is_named_and_can_be_left_out() {
    let kperf = kperf!();
    kperf.write("profile.yaml", SMALL);
    std::fs::create_dir(kperf.path("all")).unwrap();
    for name in ["all/a", "all/b"] {
        run(&kperf, name, &[]);
    }
    let whole = std::fs::read(kperf.path("all/b.json")).unwrap();
    std::fs::write(kperf.path("all/cut.json"), &whole[..whole.len() / 2]).unwrap();
    kperf.write("all/empty.json", "");
    kperf.write("all/notes.txt", "not looked at");
    let other = String::from_utf8(whole).unwrap();
    kperf.write("all/v9.json", &other.replace("report/v1", "report/v9"));

    kperf.run(&["merge", "all/"]).expect(1).says(&[
        "all/cut.json: is cut or damaged",
        "all/empty.json: is empty",
        "all/v9.json: is `kperf-host/report/v9`",
        "3 of 5 documents cannot be merged; --skip-bad",
    ]);
    let ran = kperf
        .run(&["merge", "all", "--skip-bad", "--output", "json"])
        .expect(0);
    let merged: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(merged["overall"]["sent"], 80);
    assert_eq!(merged["verdict"], "suspect");
    let absent = merged["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["code"] == "merge/absent")
        .count();
    assert_eq!(absent, 3);

    // Limits decide about the exit code; nothing to merge is an error.
    kperf
        .run(&["merge", "all/a.json", "--threshold", "sent >= 1000"])
        .expect(3);
    kperf
        .run(&["merge", "all/cut.json", "all/none.json"])
        .expect(1)
        .says(&["all/none.json: cannot be read", "none of 2 documents"]);
    std::fs::create_dir(kperf.path("bare")).unwrap();
    kperf
        .run(&["merge", "bare"])
        .expect(2)
        .says(&["no .json or .json.gz in folder bare"]);

    // Other profiles only when that is asked for.
    run(&kperf, "other", &["--conns", "1"]);
    kperf
        .run(&["merge", "all/a.json", "other.json"])
        .expect(1)
        .says(&["other.json: phase `load` ran with conns = 1, in all/a.json it is 2"]);
    kperf
        .run(&["merge", "all/a.json", "other.json", "--mixed"])
        .expect(0);
}
