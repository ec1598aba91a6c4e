//! What no captured output shows.

use net_tool::{ErrorClass, Exit, Output, Tool};
use qperf_tcp::QperfTcp;

fn class(stdout: &str, args: &str) -> Option<ErrorClass> {
    let output = Output {
        stdout: stdout.to_owned(),
        exit: Exit::Code(0),
        args: args.split_whitespace().map(str::to_owned).collect(),
        ..Output::default()
    };
    QperfTcp::parse(&output).err().map(|error| error.class)
}

#[test]
fn wrong_rows_are_errors() {
    for (text, expected) in [
        ("tcp_bw:\n    bw  =  1,59 GB/sec\n", ErrorClass::Malformed),
        ("tcp_bw:\n    bw  =  -1 GB/sec\n", ErrorClass::Malformed),
        ("tcp_bw:\n    bw  =  1.59\n", ErrorClass::Malformed),
        ("tcp_bw:\n    bw  =  0 bytes/sec\n", ErrorClass::NoData),
        (
            "tcp_bw:\n    bw  =  1 GB/sec\n    bw  =  2 GB/sec\n",
            ErrorClass::Malformed,
        ),
        (
            "tcp_bw:\n    bw  =  1 GB/sec\ntcp_bw:\n    bw  =  2 GB/sec\n",
            ErrorClass::Malformed,
        ),
        (
            "tcp_bw:\n    bw  =  1 GB/sec\nwhat is this\n",
            ErrorClass::Malformed,
        ),
        ("    bw  =  1 GB/sec\n", ErrorClass::Malformed),
        ("tcp_bw:\n    msg_rate  =  1 K/sec\n", ErrorClass::Truncated),
        ("tcp_bw:\n    bw  =  1 GB/sec", ErrorClass::Truncated),
        (
            "tcp_bw:\n    bw  =  1 GB/sec\ntcp_lat:\nfailed to receive results: server not responding\n",
            ErrorClass::ConnectionLost,
        ),
    ] {
        assert_eq!(class(text, ""), Some(expected), "{text}");
    }
}

#[test]
fn every_test_asked_for_must_be_there() {
    let text = "tcp_bw:\n    bw  =  1 GB/sec\n";
    assert_eq!(class(text, "h -t 2 tcp_bw"), None);
    assert_eq!(
        class(text, "h -t 2 tcp_bw tcp_lat"),
        Some(ErrorClass::Truncated)
    );
}
