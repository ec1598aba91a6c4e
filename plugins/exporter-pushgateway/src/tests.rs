//! Whole pushes: their text, their delivery, and what a real Pushgateway makes of them.

use std::{
    collections::BTreeSet,
    io::{Read, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use kperf_sdk::{
    exporter::{Finding, PluginUse, labels},
    testing,
};

use super::*;
use crate::latency::tests::reported;

fn counter(name: &str, value: u64) -> wit::Counter {
    wit::Counter {
        name: name.to_owned(),
        value,
    }
}

fn series(name: &str, values_ns: &[u64]) -> wit::Series {
    wit::Series {
        name: name.to_owned(),
        // Names that would collide with ours and with Prometheus' own if they were taken as they are.
        labels: labels([
            ("le", "x"),
            ("phase", "y"),
            ("a-b", "1"),
            ("a.b", "2"),
            ("empty", ""),
        ]),
        response_time: reported(values_ns),
        service_time: reported(values_ns),
        sent: values_ns.len() as u64 + 3,
        succeeded: values_ns.len() as u64,
        failed: 3,
        received_bytes: 1_000,
        errors: vec![counter("http/429", 2), counter("unknown/say \"no\"\\\n", 1)],
        counters: vec![counter("watch-events", 7)],
    }
}

fn metric(name: &str, unit: &str, value: f64) -> wit::Metric {
    wit::Metric {
        name: name.to_owned(),
        value,
        unit: unit.to_owned(),
        labels: labels([("phase", "z")]),
    }
}

const LIST: &str = "LIST /api/v1/pods?limit=500&timeout=1m0s";

fn phase(name: &str) -> wit::Phase {
    wit::Phase {
        name: name.to_owned(),
        start_unix_us: 1_700_000_000_000_000,
        length_ns: 2_500_000_000,
        settings: Vec::new(),
        overall: series("", &[]),
        series: vec![
            series(LIST, &[1_000_000, 30_000_000, 70_000_000_000]),
            series("GET /x", &[]),
        ],
        counters: vec![
            counter("late", 4),
            counter("dropped", 1),
            counter("redials", 0),
            counter("odd total", 1),
        ],
        metrics: vec![
            metric("achieved-rate", "requests-per-second", 499.5),
            metric("requests", "total", 1.0),
            metric("nothing", "ratio", f64::NAN),
        ],
        raw: None,
        failures: Vec::new(),
        ended: "completed".to_owned(),
    }
}

fn distribution(set: &str, values_ns: &[u64]) -> wit::Distribution {
    wit::Distribution {
        name: "pod_startup".to_owned(),
        labels: labels([("set", set)]),
        times: reported(values_ns),
        missing: 2,
    }
}

fn threshold(expression: &str, measured: Option<f64>) -> wit::Threshold {
    wit::Threshold {
        expression: expression.to_owned(),
        measured,
        limit: 5.0,
        unit: "seconds".to_owned(),
        passed: false,
    }
}

fn summary() -> Summary {
    Summary {
        run_id: "run-1".to_owned(),
        host_version: "0.1.0".to_owned(),
        description: "two\nlines \"quoted\"".to_owned(),
        labels: labels([("run_id", "mine"), ("team", "a/b")]),
        start_unix_us: 1_700_000_000_500_000,
        length_ns: 5_000_000_000,
        server: "https://10.0.0.1:443".to_owned(),
        environment: Vec::new(),
        plugins: vec![PluginUse {
            name: "quorum_list".to_owned(),
            version: "0.1.0".to_owned(),
            sha256: "ab".repeat(32),
            world: "generator".to_owned(),
        }],
        // Two phases of one name: a gateway refuses a sample that comes twice.
        phases: vec![phase("spec-0"), phase("spec-1"), phase("spec-0")],
        overall: series("", &[]),
        series: Vec::new(),
        metrics: vec![metric("cpu-per-request", "seconds", 2e-5)],
        distributions: vec![
            distribution("Stateless", &[1_500_000_000, 40_000_000_000]),
            distribution("", &[]),
        ],
        objects: Vec::new(),
        thresholds: vec![
            threshold("pod_startup p99 <= 5s", Some(40.0)),
            threshold("nothing p99 <= \"5s\"", None),
        ],
        verdict: "suspect".to_owned(),
        findings: vec![Finding {
            severity: "warning".to_owned(),
            code: "self-check/lag".to_owned(),
            message: "late".to_owned(),
        }],
        ended: "completed".to_owned(),
    }
}

fn begun(sink_kind: &str, config: &Value) -> Pushgateway {
    let context = BeginContext {
        run_id: "run-1".to_owned(),
        sink: "gateway".to_owned(),
        sink_kind: sink_kind.to_owned(),
        labels: Vec::new(),
    };
    Pushgateway::begin(
        context,
        kperf_sdk::config::parse(&config.to_string()).unwrap(),
    )
    .unwrap()
}

/// The one delivery of a finished run.
fn delivered(config: &Value) -> Delivery {
    testing::reset();
    begun("http", config).finish(summary()).unwrap();
    let mut deliveries = testing::deliveries("gateway");
    assert_eq!(deliveries.len(), 1);
    deliveries.remove(0)
}

fn text(config: &Value) -> String {
    String::from_utf8(delivered(config).body).unwrap()
}

fn has(text: &str, line: &str) {
    assert!(
        text.lines().any(|one| one == line),
        "no line `{line}` in\n{text}"
    );
}

/// What `promtool check metrics` says no to, the format's own rules, and that no sample is there twice.
fn check_format(text: &str) {
    let (mut families, mut samples) = (BTreeSet::new(), BTreeSet::new());
    let mut family = (String::new(), String::new());
    assert!(text.ends_with('\n') && !text.contains('\r'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let name = help.split_once(' ').expect("a help text").0;
            assert!(
                name.starts_with("kperf_") && families.insert(name.to_owned()),
                "{line}"
            );
            family.0 = name.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, family.0, "TYPE follows HELP of the same name");
            family.1 = kind.to_owned();
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            let reserved = ["_sum", "_count", "_bucket"]
                .iter()
                .any(|suffix| name.ends_with(suffix));
            let info = name.ends_with("_info")
                && name != "kperf_run_info"
                && name != "kperf_run_plugin_info";
            assert!(!reserved && !info && !name.contains(':'), "{line}");
            assert!(
                name.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{line}"
            );
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(samples.insert(sample.to_owned()), "twice: {sample}");
            let name = sample.split('{').next().unwrap();
            let rest = name
                .strip_prefix(&family.0)
                .unwrap_or_else(|| panic!("{name} is outside of {}", family.0));
            let allowed: &[&str] = match family.1.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                "summary" => &["", "_sum", "_count"],
                _ => &[""],
            };
            assert!(allowed.contains(&rest), "{line}");
            assert!(
                matches!(value, "NaN" | "+Inf" | "-Inf") || value.parse::<f64>().is_ok(),
                "{line}"
            );
        }
    }
}

#[test]
fn a_push_says_everything_in_well_formed_text() {
    let text = text(&json!({}));
    check_format(&text);
    let own = format!(
        "phase=\"spec-1\",series=\"{LIST}\",label_le=\"x\",label_phase=\"y\",label_a_b=\"1\",label_a_b_2=\"2\""
    );
    for line in [
        "kperf_run_in_progress 0",
        "kperf_run_verdict{verdict=\"suspect\"} 1",
        "kperf_run_verdict{verdict=\"certified\"} 0",
        "kperf_run_findings{severity=\"warning\"} 1",
        "kperf_run_start_timestamp_seconds 1700000000.5",
        "kperf_run_duration_seconds 5",
        "kperf_run_cpu_per_request_seconds{label_phase=\"z\"} 0.00002",
        "kperf_phase_duration_seconds{phase=\"spec-1\"} 2.5",
        "kperf_phase_duration_seconds{phase=\"spec-0\"} 5",
        "kperf_phase_late_total{phase=\"spec-1\"} 4",
        "kperf_phase_late_total{phase=\"spec-0\"} 8",
        "kperf_phase_dropped_total{phase=\"spec-1\"} 1",
        "kperf_phase_achieved_rate_requests_per_second{phase=\"spec-1\",label_phase=\"z\"} 499.5",
        "kperf_phase_requests_total_value{phase=\"spec-1\",label_phase=\"z\"} 1",
        "kperf_phase_nothing_ratio{phase=\"spec-1\",label_phase=\"z\"} NaN",
        "kperf_objects_missing{distribution=\"pod_startup\",label_set=\"Stateless\"} 2",
        "kperf_object_time_seconds_bucket{distribution=\"pod_startup\",label_set=\"Stateless\",le=\"2.5\"} 1",
        "kperf_object_time_seconds_count{distribution=\"pod_startup\",label_set=\"Stateless\"} 2",
        "kperf_object_time_seconds_count{distribution=\"pod_startup\"} 0",
        "kperf_threshold_passed{threshold=\"pod_startup p99 <= 5s\"} 0",
        "kperf_threshold_passed{threshold=\"nothing p99 <= \\\"5s\\\"\"} 0",
        "kperf_threshold_limit{threshold=\"pod_startup p99 <= 5s\",unit=\"seconds\"} 5",
        "kperf_threshold_measured{threshold=\"pod_startup p99 <= 5s\",unit=\"seconds\"} 40",
    ] {
        has(&text, line);
    }
    for (name, more, value) in [
        ("kperf_requests_total", ",result=\"success\"", "3"),
        ("kperf_requests_total", ",result=\"failure\"", "3"),
        ("kperf_request_errors_total", ",class=\"http/429\"", "2"),
        (
            "kperf_request_errors_total",
            ",class=\"unknown/say \\\"no\\\"\\\\\\n\"",
            "1",
        ),
        ("kperf_received_bytes_total", "", "1000"),
        ("kperf_series_events_total", ",event=\"watch-events\"", "7"),
        ("kperf_response_time_seconds_bucket", ",le=\"0.001\"", "1"),
        ("kperf_response_time_seconds_bucket", ",le=\"0.05\"", "2"),
        ("kperf_response_time_seconds_bucket", ",le=\"60\"", "2"),
        ("kperf_response_time_seconds_bucket", ",le=\"+Inf\"", "3"),
        ("kperf_service_time_seconds_count", "", "3"),
    ] {
        has(&text, &format!("{name}{{{own}{more}}} {value}"));
    }
    assert!(text.contains("description=\"two\\nlines \\\"quoted\\\"\""));
    assert!(text.contains("label_run_id=\"mine\",label_team=\"a/b\""));
}

#[test]
fn summaries_have_quantiles_under_names_of_their_own() {
    let summaries = text(&json!({ "latency": "summary" }));
    check_format(&summaries);
    let names = |text: &str| -> BTreeSet<String> {
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types
            .filter(|line| line.ends_with(" histogram") || line.ends_with(" summary"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(
        names(&summaries),
        [
            "kperf_object_time_summary_seconds summary",
            "kperf_response_time_summary_seconds summary",
            "kperf_service_time_summary_seconds summary"
        ]
        .map(str::to_owned)
        .into()
    );
    assert!(names(&text(&json!({}))).contains("kperf_response_time_seconds histogram"));
    assert!(summaries.contains(",quantile=\"0.99\"} "));
}

#[test]
fn the_delivery_is_what_a_pushgateway_expects() {
    let put = delivered(&json!({ "job": "kperf/1", "grouping": { "zone": "a b", "empty": "" } }));
    assert_eq!(put.method, "PUT");
    assert_eq!(
        put.path,
        "/metrics/job@base64/a3BlcmYvMQ/empty@base64/=/zone/a%20b"
    );
    assert!(put.retry);
    assert_eq!(
        put.headers,
        labels([("content-type", "text/plain; version=0.0.4; charset=utf-8")])
    );
    assert_eq!(delivered(&json!({ "method": "POST" })).method, "POST");
}

#[test]
fn network_benchmarks_have_groups_of_their_own() {
    let path = |config: &Value| {
        let mut whole = summary();
        whole.metrics.push(wit::Metric {
            name: "network-success".to_owned(),
            value: 1.0,
            unit: String::new(),
            labels: labels([("client_worker", "a"), ("benchmark", "iperf3-tcp")]),
        });
        testing::reset();
        begun("http", config).finish(whole).unwrap();
        testing::deliveries("gateway").remove(0).path
    };
    assert_eq!(path(&json!({})), "/metrics/job/kperf/benchmark/iperf3-tcp");
    assert_eq!(
        path(&json!({ "grouping": { "zone": "z" } })),
        "/metrics/job/kperf/benchmark/iperf3-tcp/zone/z"
    );
    assert_eq!(
        path(&json!({ "grouping": { "benchmark": "nightly" } })),
        "/metrics/job/kperf/benchmark/nightly"
    );
    assert_eq!(delivered(&json!({})).path, "/metrics/job/kperf");
}

#[test]
fn a_refusal_is_a_failure_with_the_gateway_s_words() {
    testing::reset();
    testing::answer(
        400,
        b"text format parsing error in line 1: invalid metric name\n\x1b[2J",
    );
    let failure = begun("http", &json!({})).finish(summary()).unwrap_err();
    assert_eq!(failure.code, "refused");
    assert!(failure.message.contains("400"), "{}", failure.message);
    assert!(
        failure.message.contains("invalid metric name"),
        "{}",
        failure.message
    );
    assert!(!failure.message.contains('\x1b'));
    testing::answer(307, b"");
    let failure = begun("http", &json!({})).finish(summary()).unwrap_err();
    assert!(failure.message.contains("307"), "{}", failure.message);
    // Older gateways answer 202.
    testing::answer(202, b"");
    begun("http", &json!({})).finish(summary()).unwrap();
}

fn interval(index: u32, values_ns: &[u64]) -> Interval {
    Interval {
        phase: "spec-0".to_owned(),
        index,
        start_unix_us: 0,
        length_ns: 1_000_000_000,
        series: vec![series(LIST, values_ns)],
        counters: vec![counter("late", 1)],
    }
}

#[test]
fn pushes_on_the_way_carry_totals_so_far_and_may_fail() {
    testing::reset();
    let mut exporter = begun("http", &json!({ "perInterval": true }));
    testing::answer(503, b"");
    exporter.intervals(vec![interval(0, &[1_000_000])]).unwrap();
    exporter
        .intervals(vec![interval(1, &[1_000_000, 2_000_000]), interval(2, &[])])
        .unwrap();
    exporter.intervals(Vec::new()).unwrap();
    assert_eq!(
        testing::logs().len(),
        1,
        "a warning for the push that failed"
    );
    exporter.finish(summary()).unwrap();
    let deliveries = testing::deliveries("gateway");
    assert_eq!(
        deliveries
            .iter()
            .map(|delivery| delivery.retry)
            .collect::<Vec<_>>(),
        [false, false, true]
    );
    let second = String::from_utf8(deliveries[1].body.clone()).unwrap();
    check_format(&second);
    has(&second, "kperf_run_in_progress 1");
    has(&second, "kperf_phase_late_total{phase=\"spec-0\"} 3");
    assert!(
        second
            .lines()
            .any(|line| line.starts_with("kperf_response_time_seconds_count")
                && line.ends_with(" 3"))
    );
    has(
        &String::from_utf8(deliveries[2].body.clone()).unwrap(),
        "kperf_run_in_progress 0",
    );
}

#[test]
fn without_the_option_nothing_is_pushed_on_the_way() {
    testing::reset();
    let mut exporter = begun("http", &json!({}));
    exporter.intervals(vec![interval(0, &[1_000_000])]).unwrap();
    assert!(testing::deliveries("gateway").is_empty());
}

#[test]
fn a_file_gets_the_same_text() {
    let pushed = delivered(&json!({})).body;
    testing::reset();
    let mut exporter = begun("file", &json!({ "perInterval": true }));
    exporter.intervals(vec![interval(0, &[1_000_000])]).unwrap();
    exporter.finish(summary()).unwrap();
    assert_eq!(testing::sink("gateway"), Some(pushed));
    assert!(testing::deliveries("gateway").is_empty());
}

#[test]
fn a_histogram_that_cannot_be_read_is_a_failure() {
    testing::reset();
    let mut whole = summary();
    whole.phases[0].series[0].response_time.hdr_v2_deflate = vec![1, 2, 3];
    assert_eq!(
        begun("http", &json!({})).finish(whole).unwrap_err().code,
        "invalid-report"
    );
}

/// A real Pushgateway on loopback, ended with the test.
struct Gateway {
    process: Child,
    address: String,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Gateway {
    /// None where the program is not installed.
    fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let address = format!("127.0.0.1:{port}");
        let process = ["prometheus-pushgateway", "pushgateway"]
            .into_iter()
            .find_map(|program| {
                Command::new(program)
                    .arg(format!("--web.listen-address={address}"))
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .ok()
            })?;
        let gateway = Self { process, address };
        for _ in 0..600 {
            if TcpStream::connect(&gateway.address).is_ok() {
                return Some(gateway);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the Pushgateway does not listen on {}", gateway.address);
    }

    /// Status and body of the answer.
    fn ask(&self, method: &str, path: &str, headers: &[wit::Label], body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let mut head = format!(
            "{method} {path} HTTP/1.0\r\nhost: {}\r\ncontent-length: {}\r\n",
            self.address,
            body.len()
        );
        for header in headers {
            head.push_str(&format!("{}: {}\r\n", header.key, header.value));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (
            head.split(' ').nth(1).unwrap().parse().unwrap(),
            body.to_owned(),
        )
    }

    fn push(&self, delivery: &Delivery) -> (u16, String) {
        self.ask(
            &delivery.method,
            &delivery.path,
            &delivery.headers,
            &delivery.body,
        )
    }
}

#[test]
fn a_real_pushgateway_takes_every_form() {
    let Some(gateway) = Gateway::start() else {
        eprintln!("skipped: neither prometheus-pushgateway nor pushgateway is in PATH");
        return;
    };
    // One after another against one gateway: a name that changed its type would be refused.
    for config in [
        json!({}),
        json!({ "latency": "summary" }),
        json!({ "method": "POST", "buckets": [0.001, 1] }),
        json!({ "job": "a/b", "grouping": { "zone": "x y", "path": "/var/tmp", "empty": "", "dots": "..", "percent": "%2F" } }),
        json!({ "grouping": { "sign": "a?b#c&d+e=f;g,h:i@j" } }),
    ] {
        assert_eq!(
            gateway.push(&delivered(&config)),
            (200, String::new()),
            "{config}"
        );
    }
    testing::reset();
    let mut exporter = begun("http", &json!({ "perInterval": true }));
    exporter.intervals(vec![interval(0, &[1_000_000])]).unwrap();
    for delivery in testing::deliveries("gateway") {
        assert_eq!(gateway.push(&delivery), (200, String::new()));
    }

    let (status, metrics) = gateway.ask("GET", "/metrics", &[], b"");
    assert_eq!(status, 200);
    assert!(metrics.contains("kperf_run_info{"));
    for label in [
        "job=\"a/b\"",
        "zone=\"x y\"",
        "path=\"/var/tmp\"",
        "dots=\"..\"",
        "percent=\"%2F\"",
        "sign=\"a?b#c&d+e=f;g,h:i@j\"",
    ] {
        assert!(metrics.contains(label), "{label} did not survive the way");
    }
    let buckets = metrics
        .lines()
        .filter(|line| line.starts_with("kperf_response_time_seconds_bucket{"));
    assert!(
        buckets
            .filter(|line| line.contains("le=\"0.001\""))
            .any(|line| line.ends_with(" 1"))
    );
}
