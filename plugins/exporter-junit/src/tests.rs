//! The plugin as the host sees it.

use kperf_sdk::{exporter::labels, testing};
use roxmltree::{Document, Node};

use super::*;

fn histogram() -> wit::Histogram {
    wit::Histogram {
        count: 0,
        min_ns: 0,
        max_ns: 0,
        mean_ns: 0.0,
        stddev_ns: 0.0,
        quantiles: Vec::new(),
        hdr_v2_deflate: Vec::new(),
    }
}

fn series() -> wit::Series {
    wit::Series {
        name: String::new(),
        labels: Vec::new(),
        response_time: histogram(),
        service_time: histogram(),
        sent: 0,
        succeeded: 0,
        failed: 7,
        received_bytes: 0,
        errors: Vec::new(),
        counters: Vec::new(),
    }
}

fn phase(name: &str, ended: &str) -> wit::Phase {
    wit::Phase {
        name: name.to_owned(),
        start_unix_us: 0,
        length_ns: 1_250_000_000,
        settings: Vec::new(),
        overall: series(),
        series: Vec::new(),
        counters: Vec::new(),
        metrics: Vec::new(),
        raw: None,
        failures: Vec::new(),
        ended: ended.to_owned(),
    }
}

fn threshold(expression: &str, measured: Option<f64>, passed: bool) -> wit::Threshold {
    wit::Threshold {
        expression: expression.to_owned(),
        measured,
        limit: 5.0,
        unit: "seconds".to_owned(),
        passed,
    }
}

fn summary(phases: Vec<wit::Phase>, thresholds: Vec<wit::Threshold>) -> Summary {
    Summary {
        run_id: "run-1".to_owned(),
        host_version: "0.1.0".to_owned(),
        description: String::new(),
        labels: Vec::new(),
        start_unix_us: 0,
        length_ns: 3_000_000_000,
        server: String::new(),
        environment: Vec::new(),
        plugins: Vec::new(),
        phases,
        overall: series(),
        series: Vec::new(),
        metrics: Vec::new(),
        distributions: Vec::new(),
        objects: Vec::new(),
        thresholds,
        verdict: "certified".to_owned(),
        findings: Vec::new(),
        ended: "completed".to_owned(),
    }
}

fn of_clusterloader2(label_pairs: Vec<wit::Label>) -> wit::Distribution {
    wit::Distribution {
        name: "pod_startup".to_owned(),
        labels: label_pairs,
        times: histogram(),
        missing: 0,
    }
}

/// Runs the plugin as the host would and returns what it wrote.
fn written(sink_kind: &str, config: Value, whole: Summary) -> String {
    testing::reset();
    let context = BeginContext {
        run_id: "run-1".to_owned(),
        sink: "out".to_owned(),
        sink_kind: sink_kind.to_owned(),
        labels: Vec::new(),
    };
    let config = kperf_sdk::config::parse(&config.to_string()).unwrap();
    JUnit::begin(context, config)
        .unwrap()
        .finish(whole)
        .unwrap();
    let name = match sink_kind {
        "directory" => "out/junit.xml",
        _ => "out",
    };
    String::from_utf8(testing::sink(name).unwrap()).unwrap()
}

fn cases<'a>(document: &'a Document<'_>) -> Vec<Node<'a, 'a>> {
    document
        .root_element()
        .children()
        .filter(Node::is_element)
        .collect()
}

fn names<'a>(cases: &[Node<'a, 'a>]) -> Vec<&'a str> {
    cases
        .iter()
        .map(|case| case.attribute("name").unwrap())
        .collect()
}

fn failure<'a>(case: &Node<'a, 'a>) -> Option<&'a str> {
    case.first_element_child()?.text()
}

#[test]
fn a_run_that_went_well_has_no_failure() {
    let whole = summary(
        vec![phase("warm-up", "completed"), phase("main", "completed")],
        vec![threshold("response p99 <= 5s", Some(0.25), true)],
    );
    let text = written("directory", json!({}), whole);
    let document = Document::parse(&text).unwrap();
    let suite = document.root_element();
    for (name, value) in [
        ("name", "kperf-host"),
        ("tests", "4"),
        ("failures", "0"),
        ("errors", "0"),
        ("time", "3"),
    ] {
        assert_eq!(suite.attribute(name), Some(value), "{name}");
    }
    let cases = cases(&document);
    assert_eq!(
        names(&cases),
        [
            "run overall",
            "run: warm-up",
            "run: main",
            "run: [threshold] response p99 <= 5s"
        ]
    );
    assert_eq!(cases[1].attribute("time"), Some("1.25"));
    assert!(
        cases.iter().all(
            |case| failure(case).is_none() && case.attribute("classname") == Some("kperf-host")
        )
    );
}

#[test]
fn whatever_failed_fails_its_case_and_the_run() {
    let mut whole = summary(
        vec![phase("main", "failed"), phase("rest", "completed")],
        vec![
            threshold("pod_startup p99 <= 5s", Some(6.5), false),
            threshold("nothing p99 <= 5s", None, false),
        ],
    );
    whole.ended = "failed".to_owned();
    for severity in ["error", "warning"] {
        whole.findings.push(wit::Finding {
            severity: severity.to_owned(),
            code: format!("plugin/{severity}"),
            message: "it said <no>".to_owned(),
        });
    }
    let text = written("stdout", json!({}), whole);
    let document = Document::parse(&text).unwrap();
    assert_eq!(document.root_element().attribute("tests"), Some("5"));
    assert_eq!(document.root_element().attribute("failures"), Some("4"));
    let cases = cases(&document);
    assert_eq!(
        failure(&cases[0]).unwrap().lines().collect::<Vec<_>>(),
        [
            "the run ended early: failed",
            "the phase main ended early: failed",
            "plugin/error: it said <no>",
            "pod_startup p99 <= 5s: measured 6.5 seconds, the limit is 5",
            "nothing p99 <= 5s: nothing was measured",
        ]
    );
    assert_eq!(
        failure(&cases[1]),
        Some("the phase main ended early: failed")
    );
    assert_eq!(failure(&cases[2]), None);
    assert_eq!(
        failure(&cases[4]),
        Some("nothing p99 <= 5s: nothing was measured")
    );
}

#[test]
fn a_run_of_clusterloader2_s_measurements_has_its_names() {
    let mut whole = summary(
        vec![
            phase("[step: 02] Create deployments", "completed"),
            phase("[step: 04] Scale [them] [phase 0]", "completed"),
            phase("[step: 04] Scale [them] [phase 1]", "interrupted"),
            phase("lists", "completed"),
            phase("lists", "completed"),
            phase("[step: x] mine", "completed"),
        ],
        vec![threshold("pod_startup p99 <= 20s", Some(3.4), true)],
    );
    // The phases of a step run side by side, 0.5 s apart here.
    whole.phases[1].start_unix_us = 7_000_000;
    whole.phases[2].start_unix_us = 7_500_000;
    whole.findings.push(wit::Finding {
        severity: "error".to_owned(),
        code: "plugin/step-failed".to_owned(),
        message: "[step: 02] Create deployments: 1 of 3 operations failed".to_owned(),
    });
    let pair = labels([("measurement", "PodStartupLatency"), ("test", "density")]);
    whole.distributions.push(of_clusterloader2(pair));
    whole.environment = labels([("config", "density.yaml")]);
    let text = written("file", json!({}), whole);
    let document = Document::parse(&text).unwrap();
    assert_eq!(
        document.root_element().attribute("name"),
        Some("ClusterLoaderV2")
    );
    assert_eq!(
        names(&cases(&document)),
        [
            "density overall (density.yaml)",
            "density: [step: 02] Create deployments",
            "density: [step: 04] Scale [them]",
            "density: lists",
            "density: lists",
            "density: [step: x] mine",
            "density: [threshold] pod_startup p99 <= 20s"
        ]
    );
    let cases = cases(&document);
    assert_eq!(
        failure(&cases[1]),
        Some("plugin/step-failed: [step: 02] Create deployments: 1 of 3 operations failed")
    );
    assert_eq!(cases[2].attribute("time"), Some("1.75"));
    assert_eq!(
        failure(&cases[2]),
        Some("the phase [step: 04] Scale [them] [phase 1] ended early: interrupted")
    );
    assert_eq!(failure(&cases[3]), None);
}

#[test]
fn names_may_be_given() {
    let config = json!({ "suite": "nightly", "test": "list \"pods\"\u{1}" });
    let text = written("file", config, summary(Vec::new(), Vec::new()));
    let document = Document::parse(&text).unwrap();
    assert_eq!(document.root_element().attribute("name"), Some("nightly"));
    assert_eq!(names(&cases(&document)), ["list \"pods\" overall"]);
}

#[test]
fn a_url_is_refused_before_the_run() {
    let context = BeginContext {
        run_id: String::new(),
        sink: "out".to_owned(),
        sink_kind: "http".to_owned(),
        labels: Vec::new(),
    };
    assert_eq!(
        JUnit::begin(context, Config::default()).err().unwrap().code,
        "wrong-kind"
    );
}
