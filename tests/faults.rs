//! Servers that stall, say no, hang up or cut short: runs end in time and count what happened.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use kperf_tests::{Kperf, kperf};
use serde_json::Value;

fn run(kperf: &Kperf, faults: &str, more: &[&str]) -> Value {
    let mut arguments = vec![
        "run",
        "--sim",
        "--sim-faults",
        faults,
        "--output",
        "json=r.json",
        "--plugin",
        "stale_get",
    ];
    arguments.extend(more);
    kperf.run(&arguments).expect(0);
    kperf.json("r.json")
}

fn counter(report: &Value, name: &str) -> u64 {
    report["phases"][0]["counters"][name].as_u64().unwrap_or(0)
}

fn percentile(report: &Value, clock: &str, name: &str) -> u64 {
    report["overall"][clock]["percentiles_ns"][name]
        .as_u64()
        .unwrap()
}

fn only_errors(report: &Value, allowed: &[&str]) -> u64 {
    let errors = report["overall"]["errors"].as_object().unwrap();
    for key in errors.keys() {
        assert!(
            allowed.iter().any(|prefix| key.starts_with(prefix)),
            "unexpected class in {errors:?}"
        );
    }
    errors.values().filter_map(Value::as_u64).sum()
}

/// Every arrival came due, and was sent or counted as dropped: a machine that is busy with other work may
/// come to some of the last ones only when the time is over. Returns how many were sent, most of them all.
#[track_caller]
fn all_came_due(report: &Value, arrivals: u64) -> u64 {
    let sent = report["overall"]["sent"].as_u64().unwrap();
    assert_eq!(counter(report, "intended"), arrivals);
    assert_eq!(sent + counter(report, "dropped"), arrivals);
    assert!(sent >= arrivals / 2, "{sent} of {arrivals}");
    sent
}

/// Open loop: a server that stands still for a second is seen by everyone who came in that second.
#[test]
fn a_stall_shows_in_the_response_time() {
    let kperf = kperf!();
    let report = run(
        &kperf,
        "stall=1s@4s",
        &[
            "--rate",
            "500",
            "--duration",
            "10",
            "--client",
            "50",
            "--conns",
            "5",
        ],
    );
    let sent = all_came_due(&report, 5000);
    assert_eq!(report["overall"]["succeeded"], sent);
    let p99 = percentile(&report, "response_time", "p99");
    assert!(
        (800_000_000..3_000_000_000).contains(&p99),
        "response-time p99 is {p99} ns"
    );
    let service = percentile(&report, "service_time", "p99.9");
    assert!(service > 800_000_000, "service-time p99.9 is {service} ns");
    // Only as many as there are clients were out when the server stopped; the others were late.
    assert!(counter(&report, "late") >= 300, "{report:#}");
}

#[test]
fn goaway_is_not_an_error() {
    let kperf = kperf!();
    let report = run(
        &kperf,
        "goaway=50",
        &[
            "--rate",
            "1000",
            "--duration",
            "10",
            "--client",
            "32",
            "--conns",
            "4",
        ],
    );
    all_came_due(&report, 10_000);
    assert_eq!(
        report["overall"]["failed"], 0,
        "{}",
        report["overall"]["errors"]
    );
    assert!(
        counter(&report, "goaways") >= 150,
        "{}",
        report["phases"][0]["counters"]
    );
    assert!(
        counter(&report, "redials") >= 150,
        "{}",
        report["phases"][0]["counters"]
    );
}

#[test]
fn refusals_are_a_class_of_their_own() {
    let kperf = kperf!();
    let report = run(&kperf, "429=0.2:1s", &["--total", "500", "--client", "4"]);
    let failed = only_errors(&report, &["http/429"]);
    assert!((50..=150).contains(&failed), "a fifth of 500: {failed}");
    assert_eq!(
        report["overall"]["succeeded"].as_u64().unwrap() + failed,
        500
    );
}

#[test]
fn retries_wait_as_told_and_count_once() {
    let kperf = kperf!();
    let report = run(
        &kperf,
        "429=0.2:1s",
        &[
            "--total",
            "40",
            "--client",
            "40",
            "--conns",
            "2",
            "--max-retries",
            "10",
        ],
    );
    assert_eq!(
        report["overall"]["succeeded"], 40,
        "{}",
        report["overall"]["errors"]
    );
    assert_eq!(report["overall"]["sent"], 40);
    assert!(counter(&report, "retries") >= 1);
    // The wait is part of the one latency.
    assert!(percentile(&report, "service_time", "p100") >= 1_000_000_000);
}

#[test]
fn resets_are_connection_errors() {
    let kperf = kperf!();
    let report = run(
        &kperf,
        "reset=0.02",
        &["--total", "1000", "--client", "8", "--conns", "4"],
    );
    let failed = only_errors(&report, &["connection/"]);
    assert!(failed > 0);
    assert_eq!(
        report["overall"]["succeeded"].as_u64().unwrap() + failed,
        1000
    );
}

#[test]
fn truncated_bodies_are_failures() {
    // In HTTP/2 the server resets the stream, which is no fault of the connection; HTTP/1.1 has but the connection.
    for (more, class) in [
        (&[][..], "http2-protocol/INTERNAL_ERROR"),
        (&["--disable-http2"], "connection/"),
    ] {
        let kperf = kperf!();
        let mut arguments = vec!["--total", "500", "--client", "4"];
        arguments.extend(more);
        let report = run(&kperf, "truncate=0.1", &arguments);
        let failed = only_errors(&report, &[class]);
        assert!(failed > 10, "a tenth of 500: {failed}");
    }
}

#[test]
fn a_stalled_server_ends_at_the_deadline() {
    let kperf = kperf!();
    let report = run(
        &kperf,
        "stall=30s@0s",
        &["--total", "4", "--client", "4", "--deadline", "1s"],
    );
    assert_eq!(report["overall"]["failed"], 4);
    only_errors(&report, &["connection/request deadline exceeded"]);
}

/// 64 clients on one connection that carries 8 streams.
#[test]
fn a_stream_limit_is_no_deadlock() {
    let kperf = kperf!();
    let sim = kperf.sim(&["--max-concurrent-streams", "8"]);
    kperf
        .run(&[
            "run",
            "--plugin",
            "stale_get",
            "--kubeconfig",
            sim.kubeconfig(),
            "--total",
            "2000",
            "--client",
            "64",
            "--conns",
            "1",
            "--output",
            "json=r.json",
        ])
        .expect(0);
    assert_eq!(kperf.json("r.json")["overall"]["succeeded"], 2000);
}

/// The server goes away for good: the run ends in time, and what was measured is kept.
#[test]
fn a_dead_server_does_not_hang_the_run() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let command = kperf.command(&[
        "run",
        "--plugin",
        "stale_get",
        "--kubeconfig",
        sim.kubeconfig(),
        "--rate",
        "100",
        "--duration",
        "5",
        "--client",
        "4",
        "--output",
        "json=r.json",
    ]);
    let mut child = kperf_tests::start_until_first_interval(command);
    drop(sim);
    let status = kperf_tests::wait(&mut child, std::time::Duration::from_secs(60)).unwrap();
    assert_eq!(status.code(), Some(0));
    let report = kperf.json("r.json");
    assert!(report["overall"]["succeeded"].as_u64().unwrap() > 50);
    assert!(only_errors(&report, &["connection/"]) > 0);
}
