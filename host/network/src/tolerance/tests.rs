use super::*;
use crate::{
    run::RunEnd,
    schedule::{Address, WorkerInfo},
    task::{TaskKey, TaskState},
    tool::{Reading, ToolError},
};

fn worker(name: &str, node: &str, paths: &[&str]) -> WorkerInfo {
    WorkerInfo {
        name: name.to_owned(),
        addresses: paths
            .iter()
            .map(|path| Address {
                path: (*path).to_owned(),
                host: "10.0.0.1".to_owned(),
            })
            .collect(),
        hostname: node.to_owned(),
        zone: String::new(),
        network_namespace: String::new(),
    }
}

fn task(client: &str, server: &str, path: &str, sample: u32, value: Option<f64>) -> TaskRecord {
    let mut record = TaskRecord::pending(TaskKey {
        client: client.to_owned(),
        server: server.to_owned(),
        path: path.to_owned(),
        variant: String::new(),
        sample,
    });
    match value {
        Some(value) => {
            for (name, unit) in [("bandwidth", "bit/s"), ("latency", "s")] {
                record.readings.push(Reading {
                    name: name.to_owned(),
                    value,
                    unit: unit.to_owned(),
                    labels: Default::default(),
                });
            }
            record.end(TaskState::Done, None);
        }
        None => record.end(
            TaskState::Failed,
            Some(ToolError::new("connection_refused", "nobody there")),
        ),
    }
    record
}

fn run(workers: Vec<WorkerInfo>, tasks: Vec<TaskRecord>) -> NetworkRun {
    NetworkRun {
        benchmark: "b".to_owned(),
        main_metric: "bandwidth".to_owned(),
        workers,
        lost: Vec::new(),
        tasks,
        end: RunEnd::Complete,
    }
}

fn both_paths(pod: &[f64], host: &[f64]) -> NetworkRun {
    let paths = ["pod", "host"];
    let mut tasks = Vec::new();
    for (path, values) in [("pod", pod), ("host", host)] {
        for (sample, value) in (1..).zip(values) {
            tasks.push(task("a", "b", path, sample, Some(*value)));
        }
    }
    run(
        vec![worker("a", "m", &paths), worker("b", "n", &paths)],
        tasks,
    )
}

fn tolerance(text: &str) -> Tolerance {
    text.parse().unwrap()
}

#[test]
fn what_is_written_is_read_and_written_again() {
    for text in [
        "pod within 10% of host",
        "pod latency_p99_seconds within 12.5% of service",
        "a within 0% of b",
    ] {
        assert_eq!(tolerance(text).to_string(), text);
        let json = serde_json::to_string(&tolerance(text)).unwrap();
        assert_eq!(json, format!("{text:?}"));
        assert_eq!(
            serde_json::from_str::<Tolerance>(&json).unwrap(),
            tolerance(text)
        );
    }
    assert_eq!(tolerance("pod  within 10% of host").ratio, 0.1);
}

#[test]
fn what_cannot_be_read_is_said() {
    for (text, says) in [
        ("", "`within` is missing"),
        ("pod < host", "`within` is missing"),
        ("pod within 10% host", "`of` is missing"),
        ("pod within 10 of host", "`10` is no percentage"),
        ("pod within x% of host", "`x` is no number"),
        ("pod within -5% of host", "`-5` is no number"),
        ("pod within nan% of host", "`nan` is no number"),
        ("pod within inf% of host", "`inf` is no number"),
        ("pod within 10% of pod", "compared with itself"),
        ("pod within 10% of host please", "not of this form"),
        ("a b c within 10% of host", "not of this form"),
    ] {
        let error = text.parse::<Tolerance>().unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
        assert!(error.contains("pod within 10% of host"), "{error}");
    }
}

#[test]
fn worse_by_more_than_the_tolerance_fails() {
    for (pod, passed) in [(120.0, true), (100.0, true), (90.0, true), (89.0, false)] {
        let checks = tolerance("pod within 10% of host").judge(&both_paths(&[pod], &[100.0]));
        assert_eq!(checks.len(), 1);
        assert_eq!(checks[0].passed(), passed, "{pod}");
        assert_eq!(checks[0].limit, 0.9);
        assert_eq!(checks[0].measured(), Some(pod / 100.0));
        assert_eq!((&*checks[0].client, &*checks[0].server), ("a", "b"));
    }
    // Of times less is better.
    for (pod, passed) in [(50.0, true), (110.0, true), (111.0, false)] {
        let run = both_paths(&[pod], &[100.0]);
        let checks = tolerance("pod latency within 10% of host").judge(&run);
        assert_eq!(checks[0].passed(), passed, "{pod}");
    }
}

#[test]
fn samples_tell_how_certain_it_is() {
    let certain = |pod: &[f64], host: &[f64]| {
        let checks = tolerance("pod within 10% of host").judge(&both_paths(pod, host));
        match &checks[0].outcome {
            Outcome::Compared { difference, .. } => difference.is_certain(),
            Outcome::NotMeasured { reason } => panic!("{reason}"),
        }
    };
    assert_eq!(certain(&[100.0], &[100.0]), None);
    assert_eq!(
        certain(&[100.0, 101.0, 99.0], &[100.0, 101.0, 99.0]),
        Some(true)
    );
    assert_eq!(
        certain(&[80.0, 100.0, 90.0], &[100.0, 101.0, 99.0]),
        Some(false)
    );
}

#[test]
fn workers_of_their_own_are_compared_by_node() {
    let workers = vec![
        worker("pod-m", "m", &["pod"]),
        worker("pod-n", "n", &["pod"]),
        worker("host-m", "m", &["host"]),
        worker("host-n", "n", &["host"]),
    ];
    let tasks = vec![
        task("pod-m", "pod-n", "pod", 1, Some(95.0)),
        task("pod-n", "pod-m", "pod", 1, Some(50.0)),
        task("host-m", "host-n", "host", 1, Some(100.0)),
        task("host-n", "host-m", "host", 1, Some(100.0)),
    ];
    let checks = tolerance("pod within 10% of host").judge(&run(workers, tasks));
    let seen: Vec<_> = checks
        .iter()
        .map(|check| (&*check.client, &*check.server, check.passed()))
        .collect();
    assert_eq!(seen, [("m", "n", true), ("n", "m", false)]);
}

#[test]
fn what_was_not_measured_never_passes() {
    let paths = ["pod", "host"];
    let workers = || vec![worker("a", "m", &paths), worker("b", "n", &paths)];
    let reason = |checks: Vec<Check>| {
        assert_eq!(checks.len(), 1);
        assert!(!checks[0].passed());
        assert_eq!(checks[0].measured(), None);
        match &checks[0].outcome {
            Outcome::NotMeasured { reason } => reason.clone(),
            Outcome::Compared { .. } => panic!("{checks:?}"),
        }
    };
    let pod_only = run(workers(), vec![task("a", "b", "pod", 1, Some(1.0))]);
    let said = reason(tolerance("pod within 10% of host").judge(&pod_only));
    assert_eq!(said, "nothing was measured by host");
    let said = reason(tolerance("x within 10% of y").judge(&pod_only));
    assert_eq!(
        said,
        "nothing was measured by x, and nothing was measured by y"
    );
    let failed = run(
        workers(),
        vec![
            task("a", "b", "pod", 1, None),
            task("a", "b", "host", 1, Some(1.0)),
        ],
    );
    let said = reason(tolerance("pod within 10% of host").judge(&failed));
    assert_eq!(said, "by pod: connection_refused: nobody there");
    let other = both_paths(&[1.0], &[1.0]);
    let said = reason(tolerance("pod jitter within 10% of host").judge(&other));
    assert!(said.contains("reports no jitter"), "{said}");
    // A pair of which only one path was measured fails, others are judged all the same.
    let uneven = run(
        workers(),
        vec![
            task("a", "b", "pod", 1, Some(1.0)),
            task("a", "b", "host", 1, Some(1.0)),
            task("b", "a", "host", 1, Some(1.0)),
        ],
    );
    let checks = tolerance("pod within 10% of host").judge(&uneven);
    let passed: Vec<_> = checks.iter().map(Check::passed).collect();
    assert_eq!(passed, [true, false]);
}

#[test]
fn what_cannot_be_missed_is_not_kept() {
    let workers = ["a", "b"].map(|name| worker(name, "n", &["pod", "host"]));
    let tasks = vec![
        task("a", "b", "pod", 1, Some(1.0)),
        task("a", "b", "host", 1, Some(100.0)),
    ];
    let run = run(workers.to_vec(), tasks);
    let judge = |text: &str| text.parse::<Tolerance>().unwrap().judge(&run).remove(0);
    for text in ["pod within 100% of host", "pod within 1000% of host"] {
        let check = judge(text);
        let Outcome::NotMeasured { reason } = &check.outcome else {
            panic!("{check:?}");
        };
        assert!(reason.contains("more is better"), "{reason}");
    }
    assert!(judge("pod within 99.5% of host").passed());
    // Of times less is better, and they can grow without end.
    assert!(judge("pod latency within 1000% of host").passed());
    assert!(!judge("host latency within 1000% of pod").passed());
}
