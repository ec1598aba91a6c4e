//! Whole files against kperf's layout.

use kperf_sdk::{exporter::labels, testing};

use super::*;

fn histogram(count: u64, ms: u64) -> wit::Histogram {
    let ns = ms * 1_000_000;
    let quantiles = [0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0];
    wit::Histogram {
        count,
        min_ns: ns,
        max_ns: ns * 10,
        mean_ns: ns as f64,
        stddev_ns: 0.0,
        quantiles: quantiles
            .map(|q| wit::Quantile {
                q,
                value_ns: ns + (q * 1e6) as u64,
            })
            .to_vec(),
        hdr_v2_deflate: Vec::new(),
    }
}

fn series(name: &str, succeeded: u64, failed: u64) -> wit::Series {
    wit::Series {
        name: name.to_owned(),
        labels: Vec::new(),
        // Response time must never show: kperf measures from the actual send.
        response_time: histogram(succeeded, 777),
        service_time: histogram(succeeded, 2),
        sent: succeeded + failed,
        succeeded,
        failed,
        received_bytes: 1234,
        errors: if failed == 0 {
            Vec::new()
        } else {
            vec![wit::Counter {
                name: "http/429".to_owned(),
                value: failed,
            }]
        },
        counters: Vec::new(),
    }
}

const LIST: &str = "LIST /api/v1/pods?limit=500&timeout=1m0s";

fn phase(settings: &[(&str, &str)]) -> wit::Phase {
    wit::Phase {
        name: "spec-0".to_owned(),
        start_unix_us: 1_700_000_000_000_000,
        length_ns: 50_036_448_722,
        settings: labels(settings.iter().copied()),
        overall: series("", 3, 1),
        series: vec![
            series(LIST, 3, 1),
            series("GET /api/v1/nodes/n1?timeout=1m0s", 0, 0),
        ],
        counters: Vec::new(),
        metrics: Vec::new(),
        raw: None,
        failures: Vec::new(),
        ended: "completed".to_owned(),
    }
}

fn summary(phases: Vec<wit::Phase>) -> Summary {
    Summary {
        run_id: "run-1".to_owned(),
        host_version: "0.1.0".to_owned(),
        description: String::new(),
        labels: Vec::new(),
        start_unix_us: 0,
        length_ns: 0,
        server: "https://10.0.0.1:443/".to_owned(),
        environment: Vec::new(),
        plugins: Vec::new(),
        phases,
        overall: series("", 6, 2),
        series: vec![series(LIST, 6, 2)],
        metrics: Vec::new(),
        distributions: Vec::new(),
        objects: Vec::new(),
        thresholds: Vec::new(),
        verdict: "certified".to_owned(),
        findings: Vec::new(),
        ended: "completed".to_owned(),
    }
}

fn with_raw(mut phase: wit::Phase) -> wit::Phase {
    phase.raw = Some(wit::Samples {
        series: vec![0, 0, 0, 0],
        intended_unix_us: vec![1_700_000_000_000_000; 4],
        response_ns: vec![4_000_000, 9_000_001, 5_000_000, 6_000_000],
        service_ns: vec![3_000_000, 1_500_000, 120, 2_000_000],
        failure: vec![0, 2, 0, 0],
    });
    phase.failures = vec![
        wit::FailedExchange {
            class: "connection".to_owned(),
            status: 0,
            message: "EOF".to_owned(),
        },
        wit::FailedExchange {
            class: "http".to_owned(),
            status: 429,
            message: "hidden".to_owned(),
        },
    ];
    phase
}

fn written(config: Value, whole: Summary) -> String {
    testing::reset();
    let context = BeginContext {
        run_id: String::new(),
        sink: "r".to_owned(),
        sink_kind: "stdout".to_owned(),
        labels: Vec::new(),
    };
    let config = kperf_sdk::config::parse(&config.to_string()).unwrap();
    KperfJson::begin(context, config)
        .unwrap()
        .finish(whole)
        .unwrap();
    String::from_utf8(testing::sink("r").unwrap()).unwrap()
}

#[test]
fn merged_runners_have_what_they_sent_and_the_longest_of_their_lengths() {
    let longest = |seconds| wit::Metric {
        name: "longest-runner".to_owned(),
        value: seconds,
        unit: "seconds".to_owned(),
        labels: Vec::new(),
    };
    let mut one = phase(&[("total", "4000"), ("runners", "2")]);
    one.metrics.push(longest(50.000000001));
    let mut whole = summary(vec![one.clone(), one]);
    whole.metrics.push(longest(90.25));
    let report: Value = serde_json::from_str(&written(json!({}), whole.clone())).unwrap();
    assert_eq!(report["perSpecResults"][0]["total"], 4);
    assert_eq!(report["perSpecResults"][0]["duration"], "50.000000001s");
    assert_eq!(report["aggregated"]["total"], 8);
    assert_eq!(report["aggregated"]["duration"], "1m30.25s");
    let flat: Value = serde_json::from_str(&written(json!({"format": "flat"}), whole)).unwrap();
    assert_eq!(flat, report["aggregated"]);
}

#[test]
fn the_envelope_is_kperf_s_byte_for_byte() {
    let text = written(
        json!({}),
        summary(vec![
            phase(&[("total", "4000")]),
            phase(&[("duration-ns", "5")]),
        ]),
    );
    let report = |total: u64, duration: &str, indent: &str, errors: u64| {
        let percentiles = |indent: &str| {
            [
                ("0", "0.002"),
                ("0.5", "0.0025"),
                ("0.9", "0.0029"),
                ("0.95", "0.00295"),
                ("0.99", "0.00299"),
                ("1", "0.02"),
            ]
            .map(|(p, seconds)| {
                format!("{indent}  [\n{indent}    {p},\n{indent}    {seconds}\n{indent}  ]")
            })
            .join(",\n")
        };
        format!(
            "{{\n{indent}  \"total\": {total},\n{indent}  \"duration\": \"{duration}\",\n\
             {indent}  \"errorStats\": {{\n{indent}    \"http/429\": {errors}\n{indent}  }},\n\
             {indent}  \"totalReceivedBytes\": 1234,\n\
             {indent}  \"percentileLatencies\": [\n{all}\n{indent}  ],\n\
             {indent}  \"percentileLatenciesByURL\": {{\n\
             {indent}    \"LIST https://10.0.0.1:443/api/v1/pods?limit=500\\u0026timeout=1m0s\": [\n{by_url}\n{indent}    ]\n\
             {indent}  }}\n{indent}}}",
            all = percentiles(&format!("{indent}  ")),
            by_url = percentiles(&format!("{indent}    ")),
        )
    };
    let expected = format!(
        "{{\n  \"perSpecResults\": [\n    {},\n    {}\n  ],\n  \"aggregated\": {}\n}}\n",
        report(4000, "50.036448722s", "    ", 1),
        // By duration: what was sent, where kperf writes 0.
        report(4, "50.036448722s", "    ", 1),
        report(4004, "1m40.072897444s", "  ", 2),
    );
    assert_eq!(text, expected);
}

#[test]
fn raw_data_makes_percentiles_exact_and_lists_errors() {
    let text = written(json!({}), summary(vec![with_raw(phase(&[("total", "4")]))]));
    let json: Value = serde_json::from_str(&text).unwrap();
    let report = &json["perSpecResults"][0];
    let key = "LIST https://10.0.0.1:443/api/v1/pods?limit=500&timeout=1m0s";
    assert_eq!(
        report["latenciesByURL"],
        json!({ key: [1.2e-7, 0.002, 0.003] }),
        "successes only, ascending"
    );
    assert_eq!(
        report["percentileLatenciesByURL"][key],
        json!([
            [0, 1.2e-7],
            [0.5, 0.002],
            [0.9, 0.003],
            [0.95, 0.003],
            [0.99, 0.003],
            [1, 0.003]
        ])
        .as_array()
        .map(|pairs| {
            let pair = |pair: &Value| json!([pair[0].as_f64().unwrap(), pair[1].as_f64().unwrap()]);
            let mut pairs: Vec<Value> = pairs.iter().map(pair).collect();
            // The first and last percentile are written without a decimal point.
            pairs[0][0] = json!(0);
            pairs[5][0] = json!(1);
            Value::Array(pairs)
        })
        .unwrap()
    );
    assert!(text.contains("1.2e-7"));
    assert_eq!(
        report["errors"],
        json!([{
            "method": "LIST",
            "url": "https://10.0.0.1:443/api/v1/pods?limit=500&timeout=1m0s",
            "timestamp": "2023-11-14T22:13:20.009000001Z",
            "duration": 0.0015,
            "type": "http",
            "code": 429,
            "message": "",
        }])
    );
    let order: Vec<&str> = [
        "total",
        "duration",
        "errors",
        "errorStats",
        "totalReceivedBytes",
        "latenciesByURL",
    ]
    .into_iter()
    .chain(["percentileLatencies", "percentileLatenciesByURL"])
    .collect();
    let part = &text[text.find("perSpecResults").unwrap()..text.find("aggregated").unwrap()];
    let places: Vec<usize> = order
        .iter()
        .map(|name| part.find(&format!("\"{name}\":")).unwrap())
        .collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn raw_data_of_all_phases_is_merged_and_of_some_is_not_used_for_all() {
    let key = "LIST https://10.0.0.1:443/api/v1/pods?limit=500&timeout=1m0s";
    let both = summary(vec![with_raw(phase(&[])), with_raw(phase(&[]))]);
    let json: Value = serde_json::from_str(&written(json!({}), both)).unwrap();
    assert_eq!(
        json["aggregated"]["latenciesByURL"][key],
        json!([1.2e-7, 1.2e-7, 0.002, 0.002, 0.003, 0.003])
    );
    assert_eq!(json["aggregated"]["errors"].as_array().unwrap().len(), 2);

    let one = summary(vec![with_raw(phase(&[])), phase(&[])]);
    let json: Value = serde_json::from_str(&written(json!({}), one)).unwrap();
    assert!(json["aggregated"].get("latenciesByURL").is_none());
    assert_eq!(
        json["aggregated"]["percentileLatencies"][5][1], 0.02,
        "from the histogram"
    );
}

#[test]
fn empty_parts_are_left_out() {
    let mut empty = phase(&[]);
    empty.overall = series("", 0, 0);
    empty.series = vec![series(LIST, 0, 0)];
    empty.length_ns = 0;
    let text = written(json!({ "format": "flat" }), summary(vec![empty]));
    assert_eq!(
        text,
        "{\n  \"total\": 0,\n  \"duration\": \"0s\",\n  \"totalReceivedBytes\": 1234\n}\n"
    );
}

#[test]
fn flat_is_the_only_spec_or_all_of_them() {
    let one: Value = serde_json::from_str(&written(
        json!({ "format": "flat" }),
        summary(vec![phase(&[("total", "7")])]),
    ))
    .unwrap();
    assert_eq!(
        (&one["total"], &one["errorStats"]["http/429"]),
        (&json!(7), &json!(1))
    );
    let config = json!({ "format": "flat", "errorStats": "classic" });
    let two: Value =
        serde_json::from_str(&written(config, summary(vec![phase(&[]), phase(&[])]))).unwrap();
    assert_eq!(two["total"], 8);
    assert_eq!(two["errorStats"]["responseCodes"], json!({ "429": 2 }));
    assert_eq!(two["errorStats"]["netErrors"], json!({}));
}

#[test]
fn a_group_counts_what_succeeded_and_lists_errors_without_latencies() {
    let failing = || {
        let mut failing = with_raw(phase(&[("total", "10")]));
        failing.overall = series("overall", 7, 3);
        failing
    };
    let mut whole = summary(vec![failing()]);
    whole.overall = series("overall", 7, 3);
    let text = written(json!({ "format": "group" }), whole);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["total"], 7);
    assert!(report.get("latenciesByURL").is_none(), "{text}");
    assert!(report["percentileLatencies"].is_array(), "{text}");
    assert!(!report["errors"].as_array().unwrap().is_empty(), "{text}");
}

#[test]
fn hostile_raw_data_is_skipped_not_indexed() {
    let mut odd = with_raw(phase(&[]));
    if let Some(raw) = &mut odd.raw {
        raw.series = vec![9, 9, 0];
        raw.failure = vec![0, 77, 0, 0];
        raw.service_ns.truncate(3);
    }
    let json: Value = serde_json::from_str(&written(json!({}), summary(vec![odd]))).unwrap();
    let report = &json["perSpecResults"][0];
    assert_eq!(report["latenciesByURL"].as_object().unwrap().len(), 1);
    assert!(report.get("errors").is_none());
}

#[test]
fn options_are_checked() {
    for bad in [
        r#"{"format": "Flat"}"#,
        r#"{"errorStats": "old"}"#,
        r#"{"errorstats": "map"}"#,
    ] {
        assert_eq!(
            kperf_sdk::config::parse::<Config>(bad).err().unwrap().code,
            "invalid-config"
        );
    }
}
