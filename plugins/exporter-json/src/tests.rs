//! The plugin as the host sees it, and its output against the checked-in schema.

use hdrhistogram::{
    Histogram as Hdr,
    serialization::{Serializer, V2DeflateSerializer},
};
use kperf_sdk::{exporter::labels, testing};

use super::*;

const SCHEMA: &str = include_str!("../report-v1.schema.json");

/// The schema as the document types say it.
fn derived_schema() -> String {
    let mut schema = schemars::generate::SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<document::Report>();
    schema.insert("$id".to_owned(), "urn:kperf-host:report:v1".into());
    schema.insert("title".to_owned(), "kperf-host report, version 1".into());
    let mut text = serde_json::to_string_pretty(&schema).unwrap();
    text.push('\n');
    text
}

/// `UPDATE_SCHEMA=1 cargo test -p exporter-json` writes the file anew after a change of the types.
#[test]
fn the_checked_in_schema_is_the_one_of_the_types() {
    let derived = derived_schema();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(
            concat!(env!("CARGO_MANIFEST_DIR"), "/report-v1.schema.json"),
            &derived,
        )
        .unwrap();
        return;
    }
    // As values: the order of keys in the text depends on features of serde_json that other crates turn on.
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(parsed(SCHEMA), parsed(&derived));
}

#[test]
fn every_object_is_closed_and_every_field_described() {
    fn check(schema: &Value, path: &str) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            // The condition of `if` is not an object of the document.
            if !path.ends_with("/if") {
                assert_eq!(
                    schema.get("additionalProperties"),
                    Some(&json!(false)),
                    "{path}"
                );
                for (name, property) in properties {
                    assert!(
                        property.get("description").is_some(),
                        "{path}/{name} has no description"
                    );
                }
            }
        }
        if let Some(object) = schema.as_object() {
            for (name, inner) in object {
                check(inner, &format!("{path}/{name}"));
            }
        }
    }
    check(&serde_json::from_str(SCHEMA).unwrap(), "");
}

fn histogram(values_ns: &[u64]) -> wit::Histogram {
    let mut hdr = Hdr::<u64>::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
    for value_ns in values_ns {
        hdr.record(*value_ns).unwrap();
    }
    let mut hdr_v2_deflate = Vec::new();
    V2DeflateSerializer::new()
        .serialize(&hdr, &mut hdr_v2_deflate)
        .unwrap();
    let quantiles = [0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0].map(|q| {
        kperf_sdk::exporter::Quantile {
            q,
            value_ns: hdr.value_at_quantile(q),
        }
    });
    let recorded = !values_ns.is_empty();
    wit::Histogram {
        count: hdr.len(),
        min_ns: hdr.min(),
        max_ns: hdr.max(),
        mean_ns: hdr.mean(),
        stddev_ns: hdr.stdev(),
        quantiles: if recorded {
            quantiles.to_vec()
        } else {
            Vec::new()
        },
        hdr_v2_deflate: if recorded { hdr_v2_deflate } else { Vec::new() },
    }
}

fn counter(name: &str, value: u64) -> wit::Counter {
    wit::Counter {
        name: name.to_owned(),
        value,
    }
}

fn series(name: &str, values_ns: &[u64]) -> wit::Series {
    wit::Series {
        name: name.to_owned(),
        labels: labels([("kind", "list")]),
        response_time: histogram(values_ns),
        service_time: histogram(values_ns),
        sent: values_ns.len() as u64 + 1,
        succeeded: values_ns.len() as u64,
        failed: 1,
        received_bytes: 4096,
        errors: vec![counter("http/429", 1)],
        counters: vec![counter("watch-events", 7)],
    }
}

fn threshold(expression: &str, measured: Option<f64>, limit: f64) -> wit::Threshold {
    wit::Threshold {
        expression: expression.to_owned(),
        measured,
        limit,
        unit: "seconds".to_owned(),
        passed: measured.is_some(),
    }
}

fn summary() -> Summary {
    let list = || {
        series(
            "LIST /api/v1/pods?limit=500&timeout=1m0s",
            &[1_000_000, 2_000_000, 90_000_000],
        )
    };
    Summary {
        run_id: "run-1".to_owned(),
        host_version: "0.1.0".to_owned(),
        description: String::new(),
        labels: labels([("team-a", "1"), ("team-a", "2")]),
        start_unix_us: 1_700_000_000_123_456,
        length_ns: 2_000_000_000,
        server: "https://127.0.0.1:6443".to_owned(),
        environment: labels([("kernel-version", "6.1")]),
        plugins: vec![wit::PluginUse {
            name: "quorum_list".to_owned(),
            version: "0.1.0".to_owned(),
            sha256: "00".repeat(32),
            world: "generator".to_owned(),
        }],
        phases: vec![wit::Phase {
            name: "spec-0".to_owned(),
            start_unix_us: 1_700_000_000_000_000,
            length_ns: 2_000_000_000,
            settings: labels([("rate", "500"), ("content-type", "json")]),
            overall: list(),
            series: vec![list(), series("GET /api/v1/nodes/n", &[])],
            counters: vec![counter("late", 3), counter("feed-starved", 0)],
            metrics: vec![wit::Metric {
                name: "achieved-rate".to_owned(),
                value: f64::NAN,
                unit: "requests-per-second".to_owned(),
                labels: labels([("shard", "0")]),
            }],
            raw: Some(wit::Samples {
                series: vec![0, 0],
                intended_unix_us: vec![1_700_000_000_000_000, 1_700_000_000_002_000],
                response_ns: vec![1_000_000, 2_000_000],
                service_ns: vec![900_000, 1_900_000],
                failure: vec![0, 1],
            }),
            failures: vec![wit::FailedExchange {
                class: "http".to_owned(),
                status: 429,
                message: String::new(),
            }],
            ended: "completed".to_owned(),
        }],
        overall: list(),
        series: vec![list()],
        metrics: Vec::new(),
        distributions: vec![
            wit::Distribution {
                name: "pod_startup".to_owned(),
                labels: labels([("set", "Stateless")]),
                times: histogram(&[1_000_000_000, 2_000_000_000]),
                missing: 3,
            },
            wit::Distribution {
                name: "never".to_owned(),
                labels: Vec::new(),
                times: histogram(&[]),
                missing: 0,
            },
        ],
        objects: vec![wit::ObjectTable {
            name: "pods".to_owned(),
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            milestones: vec!["created".to_owned(), "running".to_owned()],
            objects: vec![
                wit::ObjectRow {
                    namespace: "a".to_owned(),
                    name: "one".to_owned(),
                    received_ns: vec![5, 6],
                    api_unix_us: vec![7, 0],
                },
                // A row shorter than the milestones.
                wit::ObjectRow {
                    namespace: String::new(),
                    name: "two".to_owned(),
                    received_ns: vec![8],
                    api_unix_us: Vec::new(),
                },
            ],
        }],
        thresholds: vec![
            threshold("pod_startup p99 <= 5s", Some(2.0), 5.0),
            threshold("nothing p99 <= 5s", None, f64::INFINITY),
        ],
        verdict: "suspect".to_owned(),
        findings: vec![wit::Finding {
            severity: "warning".to_owned(),
            code: "self-check/shard-cpu".to_owned(),
            message: "Shard 0 used 97 % of its core.".to_owned(),
        }],
        ended: "completed".to_owned(),
    }
}

fn interval(index: u32) -> Interval {
    Interval {
        phase: "spec-0".to_owned(),
        index,
        start_unix_us: 1_700_000_000_000_000 + u64::from(index) * 1_000_000,
        length_ns: 1_000_000_000,
        series: vec![series("LIST /api/v1/pods", &[1_000_000])],
        counters: vec![counter("late", 1)],
    }
}

/// Runs the plugin as the host would and returns what it wrote, after a check against the schema.
fn written(config: Value, intervals: Vec<Vec<Interval>>, whole: Summary) -> (String, Value) {
    testing::reset();
    let context = BeginContext {
        run_id: "run-1".to_owned(),
        sink: "report".to_owned(),
        sink_kind: "file".to_owned(),
        labels: Vec::new(),
    };
    let config = kperf_sdk::config::parse(&config.to_string()).unwrap();
    let mut exporter = Json::begin(context, config).unwrap();
    for batch in intervals {
        exporter.intervals(batch).unwrap();
    }
    exporter.finish(whole).unwrap();
    let text = String::from_utf8(testing::sink("report").unwrap()).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, Vec::<String>::new());
    (text, value)
}

#[test]
fn a_full_report_is_valid_and_complete() {
    let (text, report) = written(json!({}), vec![vec![interval(0)]], summary());
    assert_eq!(report["schema"], "kperf-host/report/v1");
    assert_eq!(report["start"], "2023-11-14T22:13:20.123456Z");
    assert_eq!(report["start_unix_us"], 1_700_000_000_123_456_u64);
    assert_eq!(
        report["labels"],
        json!({ "team-a": "2" }),
        "the user's keys stay, the last value holds"
    );
    assert_eq!(report["environment"], json!({ "kernel_version": "6.1" }));
    assert_eq!(report["overall"]["errors"], json!({ "http/429": 1 }));
    assert_eq!(report["overall"]["counters"], json!({ "watch_events": 7 }));
    assert!(report.get("intervals").is_none());
    let phase = &report["phases"][0];
    assert_eq!(
        phase["settings"],
        json!({ "rate": "500", "content_type": "json" })
    );
    assert_eq!(phase["metrics"][0]["value"], Value::Null);
    assert_eq!(phase["series"][1]["response_time"], json!({ "count": 0 }));
    assert_eq!(phase["raw"]["failure"], json!([0, 1]));
    assert!(
        text.contains("\n          \"service_ns\": [900000,1900000],\n")
            || text.contains("[900000,1900000]")
    );
    assert!(text.ends_with("}\n"));
}

#[test]
fn what_a_benchmark_measured_is_there() {
    let (text, report) = written(json!({}), Vec::new(), summary());
    let one = &report["distributions"][0];
    assert_eq!(one["name"], "pod_startup");
    assert_eq!(one["labels"], json!({ "set": "Stateless" }));
    assert_eq!(one["missing"], 3);
    assert_eq!(one["times"]["count"], 2);
    assert!(one["times"]["hdr_v2_deflate_base64"].is_string());
    assert_eq!(
        report["distributions"][1],
        json!({ "name": "never", "times": { "count": 0 }, "missing": 0 })
    );
    assert_eq!(
        report["objects"],
        json!([{
            "name": "pods", "api_version": "v1", "kind": "Pod",
            "namespaces": ["a", ""], "names": ["one", "two"],
            "milestones": [
                { "name": "created", "received_ns": [5, 8], "api_unix_us": [7, 0] },
                { "name": "running", "received_ns": [6, 0], "api_unix_us": [0, 0] },
            ],
        }])
    );
    assert!(
        text.contains("\"received_ns\": [5,8]"),
        "a column is one line"
    );
    assert_eq!(
        report["thresholds"],
        json!([
            { "expression": "pod_startup p99 <= 5s", "measured": 2.0, "limit": 5.0, "unit": "seconds", "passed": true },
            { "expression": "nothing p99 <= 5s", "measured": null, "limit": null, "unit": "seconds", "passed": false },
        ])
    );
}

#[test]
fn histograms_come_back_whole() {
    use base64::Engine;
    let (_, report) = written(json!({}), Vec::new(), summary());
    let time = &report["overall"]["response_time"];
    let names: Vec<&String> = time["percentiles_ns"].as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 9);
    assert!(time["percentiles_ns"]["p99.9"].as_u64() >= time["percentiles_ns"]["p50"].as_u64());
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(time["hdr_v2_deflate_base64"].as_str().unwrap())
        .unwrap();
    let hdr: Hdr<u64> = hdrhistogram::serialization::Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .unwrap();
    assert_eq!(hdr.len(), 3);
    assert_eq!(hdr.max(), time["max_ns"].as_u64().unwrap());
}

#[test]
fn histograms_of_sums_can_be_left_out() {
    let (whole, _) = written(json!({ "compact": true }), Vec::new(), summary());
    let config = json!({ "compact": true, "derivedHistograms": false });
    let (lean, report) = written(config, Vec::new(), summary());
    assert!(lean.len() < whole.len());
    let has = |series: &Value| {
        series["response_time"]
            .get("hdr_v2_deflate_base64")
            .is_some()
    };
    assert!(!has(&report["overall"]));
    assert!(!has(&report["series"][0]));
    assert!(!has(&report["phases"][0]["overall"]));
    assert!(has(&report["phases"][0]["series"][0]));
    assert!(report["overall"]["response_time"]["percentiles_ns"]["p99"].is_u64());
}

#[test]
fn intervals_are_kept_when_asked_for_and_bounded() {
    let batches = || vec![vec![interval(0), interval(1)], vec![interval(2)]];
    let (_, all) = written(json!({ "intervals": true }), batches(), summary());
    assert_eq!(all["intervals"].as_array().unwrap().len(), 3);
    assert_eq!(all["intervals_dropped"], 0);
    assert!(
        all["intervals"][0]["series"][0]["response_time"]
            .get("hdr_v2_deflate_base64")
            .is_none()
    );

    let one = serde_json::to_string(&convert::interval(interval(0), false))
        .unwrap()
        .len();
    let config = json!({ "intervals": true, "maxIntervalBytes": one + 1 });
    let (_, bounded) = written(config, batches(), summary());
    assert_eq!(bounded["intervals"].as_array().unwrap().len(), 1);
    assert_eq!(bounded["intervals_dropped"], 2);

    let config = json!({ "intervals": true, "intervalHistograms": true });
    let (_, whole) = written(config, batches(), summary());
    assert!(
        whole["intervals"][2]["series"][0]["response_time"]["hdr_v2_deflate_base64"].is_string()
    );
}

#[test]
fn compact_is_one_line() {
    let (text, _) = written(json!({ "compact": true }), Vec::new(), summary());
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn an_interrupted_run_without_phases_and_with_absurd_times_is_still_valid() {
    let mut whole = summary();
    whole.phases.clear();
    whole.start_unix_us = u64::MAX;
    whole.overall = series("", &[]);
    whole.series.clear();
    whole.ended = "interrupted".to_owned();
    let (_, report) = written(json!({}), Vec::new(), whole);
    assert_eq!(report["ended"], "interrupted");
    assert!(report["start"].as_str().unwrap().starts_with("9999-"));
}

#[test]
fn the_schema_refuses_what_is_not_a_report() {
    let (_, good) = written(json!({}), Vec::new(), summary());
    let validator = jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
    let changed = |pointer: &str, value: Value| {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        bad
    };
    for bad in [
        changed("/schema", json!("kperf-host/report/v2")),
        changed("/length_ns", json!(-1)),
        changed("/distributions/0/missing", json!(-1)),
        changed("/objects/0/milestones/0/received_ns", json!(["0"])),
        changed("/thresholds/0/passed", json!("yes")),
        changed("/overall/response_time", json!({ "count": 1 })),
        changed("/overall/response_time/percentiles_ns", json!({ "50": 1 })),
        changed("/phases/0/settings", json!({ "rate": 500 })),
        changed(
            "/findings/0",
            json!({ "severity": "info", "code": "a", "message": "b", "more": 1 }),
        ),
    ] {
        assert!(!validator.is_valid(&bad));
    }
}

#[test]
fn a_url_or_a_directory_is_refused_before_the_run() {
    for kind in ["http", "directory"] {
        let context = BeginContext {
            run_id: String::new(),
            sink: "out".to_owned(),
            sink_kind: kind.to_owned(),
            labels: Vec::new(),
        };
        assert_eq!(
            Json::begin(context, Config::default()).err().unwrap().code,
            "wrong-kind"
        );
    }
}

#[test]
fn unknown_options_are_refused() {
    let failure = kperf_sdk::config::parse::<Config>(r#"{"compakt": true}"#)
        .err()
        .unwrap();
    assert!(failure.message.contains("compakt"), "{}", failure.message);
}
