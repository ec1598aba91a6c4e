//! What no captured output shows.

use fortio::{FortioHttp, FortioTcp};
use net_tool::{ErrorClass, Exit, Metric, Output, Tool, ToolError};

fn document(kind: &str, asked: &str, exactly: u64, endings: &str) -> String {
    format!(
        r#"{{
  "RunType": "{kind}", "RequestedDuration": "{asked}", "ActualQPS": 10, "ActualDuration": 1000000000, "Exactly": {exactly},
  "DurationHistogram": {{"Count": 10, "Min": 0.1, "Max": 0.3, "Avg": 0.2, "StdDev": 0.05, "Percentiles": null}},
  "RetCodes": {endings}
}}
"#
    )
}

fn output(stdout: String) -> Output {
    Output {
        stdout,
        exit: Exit::Code(0),
        ..Output::default()
    }
}

fn http(text: String) -> Result<Vec<Metric>, ToolError> {
    FortioHttp::parse(&output(text))
}

#[test]
fn a_run_without_percentiles_is_a_run() {
    let found = http(document("HTTP", "1s", 0, r#"{"200": 9, "418": 1}"#)).unwrap();
    let errors = found.iter().find(|metric| metric.name == "errors");
    assert_eq!(errors.map(|metric| metric.value), Some(0.0));
    assert!(
        !found
            .iter()
            .any(|metric| metric.name.starts_with("latency_p"))
    );
}

#[test]
fn how_a_run_ended_decides() {
    for (text, expected) in [
        (
            document("HTTP", "10s", 0, r#"{"200": 10}"#),
            ErrorClass::Interrupted,
        ),
        (
            document(
                "HTTP",
                "exactly 50 calls, interrupted after 10",
                50,
                r#"{"200": 10}"#,
            ),
            ErrorClass::Interrupted,
        ),
        (
            document("HTTP", "exactly 50 calls", 50, r#"{"200": 10}"#),
            ErrorClass::Interrupted,
        ),
        (
            document("HTTP", "1s", 0, r#"{"503": 10}"#),
            ErrorClass::NoData,
        ),
        // Why there was no answer stands only in the log, which is not there.
        (
            document("HTTP", "1s", 0, r#"{"-1": 10}"#),
            ErrorClass::NoData,
        ),
        (
            document("HTTP", "1s", 0, r#"{"200": 9}"#),
            ErrorClass::Malformed,
        ),
        (
            document("HTTP", "1s", 0, r#"{"OK": 10}"#),
            ErrorClass::Malformed,
        ),
        (
            document("TCP", "1s", 0, r#"{"OK": 10}"#),
            ErrorClass::Malformed,
        ),
        (
            document("GRPC", "1s", 0, r#"{"SERVING": 10}"#),
            ErrorClass::Malformed,
        ),
    ] {
        let error = http(text.clone()).unwrap_err();
        assert_eq!(error.class, expected, "{text}: {error}");
    }
}

#[test]
fn some_failures_are_part_of_a_result_and_a_lost_server_is_not() {
    let tcp = |endings: &str| FortioTcp::parse(&output(document("TCP", "1s", 0, endings)));
    assert!(tcp(r#"{"OK": 9, "short read": 1}"#).is_ok());
    let lost = tcp(r#"{"OK": 9, "dial tcp h:1: connect: connection refused": 1}"#).unwrap_err();
    assert_eq!(lost.class, ErrorClass::ConnectionLost);
    let lost = tcp(r#"{"dial tcp h:1: connect: connection refused": 10}"#).unwrap_err();
    assert_eq!(lost.class, ErrorClass::ConnectionRefused);
    let late = tcp(r#"{"read tcp h:1: i/o timeout": 10}"#).unwrap_err();
    assert_eq!(late.class, ErrorClass::TimedOut);
}

#[test]
fn numbers_that_cannot_be_are_errors() {
    let good = document("HTTP", "1s", 0, r#"{"200": 10}"#);
    for (from, to) in [
        ("\"ActualQPS\": 10", "\"ActualQPS\": 100"),
        ("\"ActualQPS\": 10", "\"ActualQPS\": -10"),
        ("1000000000", "0"),
        ("1000000000", "1.5"),
        ("\"Avg\": 0.2", "\"Avg\": 0.4"),
        ("\"Min\": 0.1", "\"Min\": -0.1"),
        ("\"Count\": 10", "\"Count\": 0"),
        ("null", r#"[{"Percentile": 101, "Value": 1}]"#),
        (
            "null",
            r#"[{"Percentile": 50, "Value": 1}, {"Percentile": 50, "Value": 2}]"#,
        ),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        assert!(http(bad.clone()).is_err(), "{bad}");
    }
    assert!(http(format!("{good}{good}")).is_err());
}

#[test]
fn lost_json_is_not_made_up_for_by_the_text() {
    let stderr = "Fortio 1.60.0 running at 100 queries per second, 2->2 procs, for 1s: http://h:1/\n\
        Ended after 1s : 10 calls. qps=10\n\
        Aggregated Function Time : count 10 avg 0.2 +/- 0.05 min 0.1 max 0.3 sum 2\n\
        Error cases : no data\nCode 200 : 10 (100.0 %)\nAll done 10 calls (plus 2 warmup) 200 ms avg, 10.0 qps\n";
    let mut output = Output {
        stderr: stderr.to_owned(),
        exit: Exit::Code(0),
        ..Output::default()
    };
    assert!(FortioHttp::parse(&output).is_ok());
    for flag in ["-json", "--json", "-json=-"] {
        output.args = vec!["load".to_owned(), flag.to_owned(), "-".to_owned()];
        let error = FortioHttp::parse(&output).unwrap_err();
        assert_eq!(error.class, ErrorClass::Malformed, "{flag}");
    }
}
