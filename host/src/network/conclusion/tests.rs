use net::{Address, NetworkRun, Reading, RunEnd, TaskRecord, TaskState, WorkerInfo};

use super::*;

fn run(values: &[(&str, f64)]) -> NetworkRun {
    let paths = ["pod", "host"];
    let workers: Vec<_> = [("a", "x"), ("b", "y")]
        .map(|(name, zone)| WorkerInfo {
            name: name.to_owned(),
            addresses: paths
                .map(|path| Address {
                    path: path.to_owned(),
                    host: "10.0.0.1".to_owned(),
                })
                .into(),
            hostname: format!("node-{name}"),
            zone: zone.to_owned(),
            network_namespace: String::new(),
        })
        .into();
    let task = |(sample, (path, value)): (u32, &(&str, f64))| {
        let mut record = TaskRecord::pending(net::TaskKey {
            client: "a".to_owned(),
            server: "b".to_owned(),
            path: (*path).to_owned(),
            variant: String::new(),
            sample,
        });
        record.state = TaskState::Done;
        record.started_unix_ms = Some(1_000);
        record.ended_unix_ms = Some(5_000);
        record.readings.push(Reading {
            name: "latency_mean_seconds".to_owned(),
            value: *value,
            unit: "s".to_owned(),
            labels: [("path".to_owned(), "one_way".to_owned())].into(),
        });
        record
    };
    NetworkRun {
        benchmark: "qperf-tcp".to_owned(),
        main_metric: "latency_mean_seconds".to_owned(),
        workers,
        lost: Vec::new(),
        tasks: (1..).zip(values).map(task).collect(),
        end: RunEnd::Complete,
    }
}

fn concluded(run: &NetworkRun, tolerance: &str) -> Conclusion {
    let facts = RunFacts {
        run_id: "r1".to_owned(),
        description: String::new(),
        labels: Vec::new(),
        server: String::new(),
        environment: Vec::new(),
        plugins: Vec::new(),
        start: std::time::UNIX_EPOCH + Duration::from_secs(1),
    };
    let limits = Limits {
        thresholds: Vec::new(),
        tolerances: vec![tolerance.parse().unwrap()],
    };
    conclude(&facts, run, &limits)
}

#[test]
fn a_tolerance_is_a_threshold_of_the_report_and_of_the_exit_code() {
    let run = run(&[("pod", 0.000_12), ("host", 0.000_1)]);
    let kept = concluded(&run, "pod within 25% of host");
    assert_eq!(kept.exit, Exit::Success);
    assert_eq!(kept.summary.length_ns, 4_000_000_000);
    let line =
        "tolerance kept    pod within 25% of host: a → b: 120us of 100us (+20.0 %, limit +25.0 %)";
    assert!(kept.text.contains(line), "{}", kept.text);
    let missed = concluded(&run, "pod within 10% of host");
    assert_eq!(missed.exit, Exit::Missed);
    let threshold = &missed.summary.thresholds[0];
    assert_eq!(threshold.expression, "pod within 10% of host: a → b");
    assert!((threshold.measured.unwrap() - 1.2).abs() < 1e-9);
    assert_eq!((threshold.limit, threshold.passed), (1.1, false));
    let unmeasured = concluded(&run, "service within 10% of host");
    assert_eq!(unmeasured.exit, Exit::Missed);
    assert_eq!(unmeasured.summary.thresholds[0].measured, None);
    assert_eq!(
        unmeasured.summary.findings[0].code,
        "network/tolerance-not-measured"
    );
}

#[test]
fn an_interval_across_the_limit_is_said() {
    let run = run(&[
        ("pod", 1.0),
        ("pod", 1.2),
        ("pod", 1.4),
        ("host", 1.0),
        ("host", 1.1),
    ]);
    let conclusion = concluded(&run, "pod within 10% of host");
    assert!(conclusion.text.contains("uncertain"), "{}", conclusion.text);
    let finding = &conclusion.summary.findings[0];
    assert_eq!(finding.code, "network/tolerance-uncertain");
    assert_eq!(finding.severity, "warning");
}

#[test]
fn labels_say_where_and_leave_the_tools_own() {
    let conclusion = concluded(
        &run(&[("pod", 1.0), ("host", 1.0)]),
        "pod within 1% of host",
    );
    let of = |path: &str| {
        let mut metrics = conclusion.summary.metrics.iter().filter(|metric| {
            metric.name == "network-latency_mean_seconds"
                && metric
                    .labels
                    .iter()
                    .any(|label| label.key == "traffic_path" && label.value == path)
        });
        let labels: BTreeMap<_, _> = metrics
            .next()
            .unwrap()
            .labels
            .iter()
            .map(|label| (label.key.as_str(), label.value.as_str()))
            .collect();
        assert!(metrics.next().is_none());
        labels
    };
    let labels = of("pod");
    assert_eq!(labels["path"], "one_way");
    assert_eq!(labels["placement"], "other_zone");
    assert_eq!(labels["same_node"], "false");
    assert_eq!(
        (labels["client_host"], labels["server_zone"]),
        ("node-a", "y")
    );
    of("host");
}

#[test]
fn a_node_that_is_not_known_is_not_another_one() {
    let mut run = run(&[("pod", 1.0), ("host", 1.0)]);
    for worker in &mut run.workers {
        worker.hostname.clear();
        worker.zone.clear();
    }
    let conclusion = concluded(&run, "pod within 1% of host");
    let keys: Vec<_> = conclusion
        .summary
        .metrics
        .iter()
        .flat_map(|metric| &metric.labels)
        .map(|label| &*label.key)
        .collect();
    assert!(keys.contains(&"client_worker"));
    assert!(!keys.contains(&"same_node") && !keys.contains(&"placement"));
}
