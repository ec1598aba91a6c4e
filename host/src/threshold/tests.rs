use kperf_runtime::report::{Metric, Phase, Quantile};

use super::*;

fn times(values_ns: &[u64]) -> Histogram {
    let mut hdr = kperf_load::measure::time_histogram();
    for value_ns in values_ns {
        hdr.saturating_record(*value_ns);
    }
    let mut sorted = values_ns.to_vec();
    sorted.sort_unstable();
    let at = |q: f64| {
        let rank = (q * sorted.len() as f64).ceil() as usize;
        sorted[rank.saturating_sub(1)]
    };
    let empty = values_ns.is_empty();
    let quantiles: &[f64] = if empty {
        &[]
    } else {
        &[0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0]
    };
    Histogram {
        count: sorted.len() as u64,
        min_ns: sorted.first().copied().unwrap_or(0),
        max_ns: sorted.last().copied().unwrap_or(0),
        mean_ns: sorted.iter().sum::<u64>() as f64 / sorted.len().max(1) as f64,
        stddev_ns: 0.0,
        quantiles: quantiles
            .iter()
            .map(|&q| Quantile { q, value_ns: at(q) })
            .collect(),
        hdr_v2_deflate: if empty {
            Vec::new()
        } else {
            kperf_load::measure::encode(&hdr)
        },
    }
}

fn labels(pairs: &[(&str, &str)]) -> Vec<Label> {
    pairs
        .iter()
        .map(|(key, value)| Label {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        })
        .collect()
}

const MS: u64 = 1_000_000;

fn series(name: &str, response: &[u64], failed: u64) -> Series {
    let service: Vec<u64> = response.iter().map(|ns| ns / 2).collect();
    Series {
        name: name.to_owned(),
        labels: labels(&[("verb", name.split(' ').next().unwrap_or(""))]),
        response_time: times(response),
        service_time: times(&service),
        sent: response.len() as u64 + failed,
        succeeded: response.len() as u64,
        failed,
        received_bytes: 0,
        errors: Vec::new(),
        counters: vec![Counter {
            name: "retries".to_owned(),
            value: 4,
        }],
    }
}

fn metric(name: &str, value: f64, unit: &str, of: &[(&str, &str)]) -> Metric {
    Metric {
        name: name.to_owned(),
        value,
        unit: unit.to_owned(),
        labels: labels(of),
    }
}

fn phase(counters: &[(&str, u64)], metrics: Vec<Metric>) -> Phase {
    Phase {
        name: "main".to_owned(),
        start_unix_us: 0,
        length_ns: 0,
        settings: Vec::new(),
        overall: series("", &[], 0),
        series: Vec::new(),
        counters: counters
            .iter()
            .map(|(name, value)| Counter {
                name: (*name).to_owned(),
                value: *value,
            })
            .collect(),
        metrics,
        raw: None,
        failures: Vec::new(),
        ended: "completed".to_owned(),
    }
}

fn distribution(name: &str, of: &[(&str, &str)], values_ns: &[u64], missing: u64) -> Distribution {
    Distribution {
        name: name.to_owned(),
        labels: labels(of),
        times: times(values_ns),
        missing,
    }
}

/// 999 requests of 1 ms to 999 ms, and one failure.
fn whole() -> Summary {
    let hundred: Vec<u64> = (1..=999).map(|ms| ms * MS).collect();
    Summary {
        run_id: String::new(),
        host_version: String::new(),
        description: String::new(),
        labels: Vec::new(),
        start_unix_us: 0,
        length_ns: 0,
        server: String::new(),
        environment: Vec::new(),
        plugins: Vec::new(),
        phases: vec![
            phase(
                &[("late", 3), ("odd", 1)],
                vec![
                    metric("shard-cpu", 0.5, "ratio", &[("shard", "0")]),
                    metric("shard-cpu", 0.8, "ratio", &[("shard", "1")]),
                ],
            ),
            phase(&[("late", 4)], Vec::new()),
        ],
        overall: series("overall", &hundred, 1),
        series: vec![
            series("LIST /pods \"a\"", &[100 * MS], 0),
            series("GET /x", &[20 * MS], 1),
        ],
        metrics: vec![
            metric("achieved-rate", 950.0, "requests-per-second", &[]),
            metric("cpu-per-request", 2e-5, "seconds", &[]),
            metric("broken", f64::NAN, "seconds", &[]),
            metric("endless", f64::INFINITY, "seconds", &[]),
            metric("endless", 1.0, "seconds", &[("some", "value")]),
            metric("half", f64::NAN, "", &[("a", "1")]),
            metric("half", f64::NEG_INFINITY, "", &[("a", "2")]),
        ],
        distributions: vec![
            distribution("pod_startup", &[("set", "")], &[5_000 * MS], 0),
            distribution("pod_startup", &[("set", "Stateless")], &[6_000 * MS], 2),
            distribution("pod_startup", &[("set", "Stateful")], &[], 0),
            distribution("empty", &[], &[], 7),
        ],
        objects: Vec::new(),
        thresholds: Vec::new(),
        verdict: String::new(),
        findings: Vec::new(),
        ended: String::new(),
    }
}

fn judged(expression: &str) -> Threshold {
    let spec = ThresholdSpec::parse(expression).unwrap_or_else(|error| panic!("{error}"));
    let mut judged = evaluate(&whole(), &[spec]);
    assert_eq!(judged.len(), 1);
    let one = judged.remove(0);
    assert_eq!(one.expression, expression);
    one
}

/// Expression, what was measured, unit, whether it passes.
#[test]
fn limits_are_judged_by_what_was_measured() {
    for (expression, measured, unit, passed) in [
        ("response p99 < 100ms", 0.99, "seconds", false),
        ("response p99 <= 990ms", 0.99, "seconds", true),
        ("response p99 < 990ms", 0.99, "seconds", false),
        ("response p50<=1s", 0.5, "seconds", true),
        ("response max <= 999 ms", 0.999, "seconds", true),
        ("response min >= 1000us", 0.001, "seconds", true),
        ("response mean == 0.5s", 0.5, "seconds", true),
        ("response p100 <= 1m", 0.999, "seconds", true),
        ("response count >= 999", 999.0, "count", true),
        ("service p99.9 <= 0.4995s", 0.4995, "seconds", true),
        ("service p99 <= 1h", 0.495, "seconds", true),
        ("\"GET /x\" response p99 <= 20ms", 0.02, "seconds", true),
        (
            "\"LIST /pods \\\"a\\\"\" service max > 0ns",
            0.05,
            "seconds",
            true,
        ),
        ("response{verb=\"GET\"} max <= 19ms", 0.02, "seconds", false),
        ("errors ratio <= 0.1%", 0.001, "ratio", true),
        ("errors ratio <= 0.0009", 0.001, "ratio", false),
        ("errors count <= 1", 1.0, "count", true),
        ("\"GET /x\" errors ratio < 50%", 0.5, "ratio", false),
        ("pod_startup{set=\"\"} p99 <= 5s", 5.0, "seconds", true),
        ("pod-startup p99 <= 5s", 6.0, "seconds", false),
        ("pod_startup p99 >= 5s", 5.0, "seconds", true),
        ("pod_startup count >= 1", 0.0, "count", false),
        ("pod_startup missing == 0", 2.0, "count", false),
        (
            "pod_startup{ set = \"Stateful\" , } missing == 0",
            0.0,
            "count",
            true,
        ),
        ("empty missing <= 7", 7.0, "count", true),
        ("achieved-rate >= 950", 950.0, "requests-per-second", true),
        ("achieved_rate > 950", 950.0, "requests-per-second", false),
        ("cpu-per-request <= 20us", 2e-5, "seconds", true),
        ("cpu-per-request <= 0.00002", 2e-5, "seconds", true),
        ("shard-cpu <= 75%", 0.8, "ratio", false),
        ("shard-cpu{shard=\"0\"} <= 75%", 0.5, "ratio", true),
        ("failed <= 0", 1.0, "count", false),
        ("sent == 1000", 1000.0, "count", true),
        ("late <= 7", 7.0, "count", true),
        ("dropped <= 0", 0.0, "count", true),
        ("retries < 5", 4.0, "count", true),
        ("endless <= 5s", f64::INFINITY, "seconds", false),
        ("endless == 5s", f64::INFINITY, "seconds", false),
        ("endless{some=\"\"} >= 5s", f64::INFINITY, "seconds", true),
        ("endless >= 5s", 1.0, "seconds", false),
        ("half >= 5", f64::NEG_INFINITY, "", false),
        ("half <= 5", f64::NEG_INFINITY, "", true),
    ] {
        let one = judged(expression);
        assert_eq!(one.measured, Some(measured), "{expression}");
        assert_eq!(one.unit, unit, "{expression}");
        assert_eq!(one.passed, passed, "{expression}");
    }
}

#[test]
fn other_quantiles_come_from_the_whole_histogram() {
    let one = judged("response p80 <= 1s");
    let measured = one.measured.unwrap();
    assert!((measured - 0.8).abs() < 0.001, "{measured}");
    assert!(one.passed);
    let mut without = whole();
    without.overall.response_time.hdr_v2_deflate = vec![1, 2, 3];
    let spec = ThresholdSpec::parse("response p80 <= 1s").unwrap();
    assert_eq!(evaluate(&without, &[spec])[0].measured, None);
}

#[test]
fn what_was_not_measured_does_not_pass() {
    for expression in [
        "nowhere p99 <= 5s",
        "nowhere <= 5",
        "empty p99 <= 5s",
        "empty max >= 0s",
        "pod_startup{set=\"Stateful\"} p99 <= 5s",
        "pod_startup{set=\"none\"} count >= 0",
        "\"DELETE /x\" response p99 <= 5s",
        "broken <= 5s",
        // Units that are not those of the metric.
        "achieved-rate >= 950s",
        "cpu-per-request <= 5%",
        "pod_startup >= 0",
        "late{a=\"b\"} <= 100",
    ] {
        let one = judged(expression);
        assert_eq!((one.measured, one.passed), (None, false), "{expression}");
    }
    let mut nothing = whole();
    nothing.phases.clear();
    nothing.overall = series("overall", &[], 0);
    for expression in ["errors ratio <= 100%", "dropped <= 0", "failed <= 0"] {
        let spec = ThresholdSpec::parse(expression).unwrap();
        let one = &evaluate(&nothing, &[spec])[0];
        assert_eq!((one.measured, one.passed), (None, false), "{expression}");
    }
}

#[test]
fn mistakes_are_named_with_their_place_and_what_is_allowed() {
    for (expression, column, message) in [
        ("", 1, "the end where a metric should be"),
        ("  <= 5s", 3, "`<=` where a metric should be"),
        ("response <= 5s", 10, "`<=` where there should be p50"),
        ("response missing <= 5", 10, "min, max, mean or count"),
        ("response p101 <= 5s", 10, "`p101`"),
        ("response p-1 <= 5s", 10, "`p-1`"),
        ("response pNaN <= 5s", 10, "`pNaN`"),
        ("response 99 <= 5s", 10, "`99`"),
        ("errors <= 5", 8, "ratio or count"),
        ("errors p99 <= 5s", 8, "ratio or count"),
        ("pod_startup p99 => 5s", 17, "<=, <, >=, > or =="),
        ("pod_startup p99 5s", 17, "<=, <, >=, > or =="),
        ("pod_startup p99 <= ", 20, "the end where a limit should be"),
        ("pod_startup p99 <= -5s", 20, "a number, for example"),
        ("pod_startup p99 <= 5", 21, "needs a unit of time"),
        ("pod_startup p99 <= 5%", 21, "needs a unit of time"),
        ("pod_startup p99 <= 5 sec", 22, "ns, us, ms, s, m, h, %"),
        ("pod_startup p99 <= 1m30s", 21, "`m30s` is not a unit"),
        ("pod_startup p99 <= 5s!", 21, "`s!` is not a unit"),
        ("pod_startup p99 <= 5s or so", 23, "`or` after the end"),
        ("pod_startup missing <= 5s", 25, "without a unit"),
        ("errors ratio <= 5s", 18, "in %, or a plain number"),
        ("pod_startup ratio <= 5%", 13, "p50"),
        ("a.b p99 <= 1.2.3s", 12, "`1.2.3s`"),
        ("\"LIST pods p99 <= 5s", 1, "never closed"),
        ("\"\" response p99 <= 5s", 1, "where a metric should be"),
        ("a{b} p99 <= 5s", 3, "{key=\"value\", …}"),
        ("a{b=c} p99 <= 5s", 5, "the value of `b`"),
        ("a{b=\"c\" d=\"e\"} p99 <= 5s", 9, "`,` or `}`"),
        ("ü{b=\"c", 5, "never closed"),
        ("a{b=\"c\",", 9, "the end where a label should be"),
    ] {
        let error = ThresholdSpec::parse(expression).unwrap_err();
        assert_eq!(error.column, column, "{error}");
        assert!(error.message.contains(message), "{error}");
        assert!(error.to_string().contains(&format!("`{expression}`")));
    }
    let long = "a".repeat(5_000);
    assert!(ThresholdSpec::parse(&long).unwrap_err().to_string().len() < 400);
}

#[test]
fn any_text_is_read_or_refused() {
    let pieces = [
        "p99", " ", "\"", "{", "}", "=", "<=", "5", "s", "ü", "\\", ",", "errors",
    ];
    for first in pieces {
        for second in pieces {
            for third in pieces {
                for fourth in pieces {
                    let text = format!("{first}{second}{third}{fourth}");
                    if let Err(error) = ThresholdSpec::parse(&text) {
                        assert!(error.column <= text.chars().count() + 1, "{error}");
                    }
                }
            }
        }
    }
}
