//! What no captured output shows.

use iperf3_tcp::Iperf3Tcp;
use net_tool::{ErrorClass, Exit, Metric, Output, Tool, ToolError};

fn parse(stdout: &str) -> Result<Vec<Metric>, ToolError> {
    Iperf3Tcp::parse(&Output {
        stdout: stdout.to_owned(),
        exit: Exit::Code(0),
        ..Output::default()
    })
}

fn value(found: &[Metric], name: &str) -> Option<f64> {
    let metric = found.iter().find(|metric| metric.name == name);
    metric.map(|metric| metric.value)
}

fn document(end: &str) -> String {
    format!("{{\"start\": {{\"test_start\": {{\"duration\": 2}}}}, \"end\": {end}}}\n")
}

const RECEIVED: &str = r#""sum_received": {"seconds": 2, "bytes": 1000, "bits_per_second": 4000}"#;

#[test]
fn only_the_received_sum_is_needed() {
    let found = parse(&document(&format!("{{{RECEIVED}}}"))).unwrap();
    let names: Vec<_> = found.iter().map(|metric| metric.name.as_str()).collect();
    let expected = [
        "bandwidth_bits_per_second",
        "received_bytes",
        "duration_seconds",
    ];
    assert_eq!(names, expected);
}

#[test]
fn unknown_retransmits_are_left_out() {
    for retransmits in ["", r#", "retransmits": -1"#] {
        let sent = format!(
            r#""sum_sent": {{"seconds": 2, "bytes": 1000, "bits_per_second": 4000{retransmits}}}"#
        );
        let found = parse(&document(&format!("{{{RECEIVED}, {sent}}}"))).unwrap();
        assert_eq!(value(&found, "sent_bytes"), Some(1_000.0));
        assert_eq!(value(&found, "retransmits"), None);
    }
}

#[test]
fn udp_of_old_versions_has_one_sum() {
    let sum = r#"{"sum": {"seconds": 2, "bytes": 1000, "bits_per_second": 4000, "jitter_ms": 5,
                  "lost_packets": 1, "packets": 4, "lost_percent": 25}}"#;
    let found = parse(&document(&sum.replace('\n', " "))).unwrap();
    assert_eq!(
        value(&found, "sent_bandwidth_bits_per_second"),
        Some(4_000.0)
    );
    assert_eq!(value(&found, "bandwidth_bits_per_second"), Some(3_000.0));
    assert_eq!(value(&found, "jitter_seconds"), Some(0.005));
    assert_eq!(value(&found, "lost_ratio"), Some(0.25));
    assert_eq!(value(&found, "received_bytes"), None);
}

#[test]
fn sums_that_cannot_be_are_errors() {
    for (end, expected) in [
        (
            r#"{"sum_received": {"seconds": 2, "bytes": 1000, "bits_per_second": 5000}}"#,
            ErrorClass::Malformed,
        ),
        (
            r#"{"sum_received": {"seconds": 2, "bytes": -1000, "bits_per_second": -4000}}"#,
            ErrorClass::Malformed,
        ),
        (
            r#"{"sum_received": {"seconds": 0, "bytes": 1000, "bits_per_second": 4000}}"#,
            ErrorClass::Malformed,
        ),
        (
            r#"{"sum_received": {"seconds": 1e999, "bytes": 1, "bits_per_second": 1}}"#,
            ErrorClass::Malformed,
        ),
        (
            r#"{"sum_received": {"seconds": 1, "bytes": 1000, "bits_per_second": 8000}}"#,
            ErrorClass::Interrupted,
        ),
        (
            r#"{"sum_received": {"seconds": 2, "bytes": 0, "bits_per_second": 0}}"#,
            ErrorClass::NoData,
        ),
        ("{}", ErrorClass::NoData),
        (r#"{"sum_received": "2"}"#, ErrorClass::Malformed),
    ] {
        let error = parse(&document(end)).unwrap_err();
        assert_eq!(error.class, expected, "{end}: {error}");
    }
}

#[test]
fn errors_in_words_of_other_versions() {
    for (words, expected) in [
        (
            "unable to connect to server: No route to host",
            ErrorClass::ConnectionRefused,
        ),
        (
            "control socket has closed unexpectedly",
            ErrorClass::ConnectionLost,
        ),
        (
            "unable to receive control message: Bad file descriptor",
            ErrorClass::ConnectionLost,
        ),
        (
            "unable to connect to server: Name or service not known",
            ErrorClass::HostUnresolved,
        ),
        ("something new", ErrorClass::Malformed),
    ] {
        let text =
            format!("{{\"start\": {{}}, \"end\": {{{RECEIVED}}}, \"error\": \"{words}\"}}\n");
        let error = parse(&text).unwrap_err();
        assert_eq!((error.class, error.message.as_str()), (expected, words));
    }
}

#[test]
fn a_stream_of_events_must_have_its_end() {
    let start = "{\"event\":\"start\",\"data\":{\"test_start\":{\"duration\":2}}}\n";
    let end = format!("{{\"event\":\"end\",\"data\":{{{RECEIVED}}}}}\n");
    let whole = document(&format!("{{{RECEIVED}}}"));
    assert!(parse(&format!("{start}{end}")).is_ok());
    // --json-stream-full
    assert!(parse(&format!("{start}{end}{whole}")).is_ok());
    let class = |text: &str| parse(text).unwrap_err().class;
    assert_eq!(class(start), ErrorClass::Truncated);
    assert_eq!(class(&end), ErrorClass::Truncated);
    assert_eq!(class(&format!("{start}{end}{end}")), ErrorClass::Malformed);
    assert_eq!(class(&format!("{whole}{whole}")), ErrorClass::Malformed);
}

#[test]
fn text_in_bytes_is_1024_based() {
    let text = "Connecting to host h, port 5201\n- - - - - -\n\
                [  5]   0.00-2.00   sec  3.00 MBytes  1.50 MBytes/sec    7             sender\n\
                [  5]   0.00-2.00   sec  3.00 MBytes  1.50 MBytes/sec                  receiver\n\niperf Done.\n";
    let found = parse(text).unwrap();
    let bits = 1.5 * 8.0 * 1_048_576.0;
    assert_eq!(value(&found, "bandwidth_bits_per_second"), Some(bits));
    assert_eq!(value(&found, "retransmits"), Some(7.0));
    let commas = text.replace("1.50", "1,50");
    assert_eq!(parse(&commas).unwrap_err().class, ErrorClass::Malformed);
}
