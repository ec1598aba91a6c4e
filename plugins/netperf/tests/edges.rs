//! What no captured output shows.

use net_tool::{ErrorClass, Exit, Metric, Output, Tool, ToolError};
use netperf::{TcpRr, TcpStream};

fn output(stdout: &str, args: &str) -> Output {
    Output {
        stdout: stdout.to_owned(),
        exit: Exit::Code(0),
        args: args.split_whitespace().map(str::to_owned).collect(),
        ..Output::default()
    }
}

fn value(found: &[Metric], name: &str) -> Option<f64> {
    let metric = found.iter().find(|metric| metric.name == name);
    metric.map(|metric| metric.value)
}

fn class(found: Result<Vec<Metric>, ToolError>) -> Option<ErrorClass> {
    found.err().map(|error| error.class)
}

const ROW: &str = "16384  131072 1        1       2.00     49641.47   \n";

#[test]
fn a_classic_table_without_its_second_row_is_cut() {
    assert_eq!(
        class(TcpRr::parse(&output(ROW, ""))),
        Some(ErrorClass::Truncated)
    );
    let whole = format!("{ROW}16384  131072\n");
    assert!(TcpRr::parse(&output(&whole, "")).is_ok());
}

#[test]
fn latency_follows_from_the_rate_only_with_one_transaction_in_flight() {
    let whole = format!("{ROW}16384  131072\n");
    for (args, derived) in [
        ("-t TCP_RR -P 0", true),
        ("-P 0 -- -b 4", false),
        ("", false),
    ] {
        let found = TcpRr::parse(&output(&whole, args)).unwrap();
        let latency = value(&found, "latency_mean_seconds");
        assert_eq!(latency.is_some(), derived, "{args}");
    }
}

#[test]
fn what_was_not_measured_is_left_out() {
    let text = "THROUGHPUT=10.00\nTHROUGHPUT_UNITS=Trans/s\nMIN_LATENCY=-1\nMEAN_LATENCY=-nan\nLOCAL_CPU_UTIL=-1.00\n\
                LOCAL_TRANSPORT_RETRANS=-1\nREMOTE_TRANSPORT_RETRANS=3\n";
    let found = TcpRr::parse(&output(text, "")).unwrap();
    let names: Vec<_> = found.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(names, ["transaction_rate_per_second", "retransmits"]);
    assert_eq!(value(&found, "retransmits"), Some(3.0));
}

#[test]
fn wrong_values_are_errors() {
    for (text, expected) in [
        (
            "THROUGHPUT=10,5\nTHROUGHPUT_UNITS=Trans/s\n",
            ErrorClass::Malformed,
        ),
        (
            "THROUGHPUT=-10\nTHROUGHPUT_UNITS=Trans/s\n",
            ErrorClass::Malformed,
        ),
        (
            "THROUGHPUT=0.00\nTHROUGHPUT_UNITS=Trans/s\n",
            ErrorClass::NoData,
        ),
        ("THROUGHPUT=1\nTHROUGHPUT=2\n", ErrorClass::Malformed),
        ("THROUGHPUT=1\n", ErrorClass::Malformed),
        (
            "THROUGHPUT=1\nTHROUGHPUT_UNITS=10^6bits/s\n",
            ErrorClass::Malformed,
        ),
        (
            "THROUGHPUT=1\nTHROUGHPUT_UNITS=Trans/s\nPROTOCOL=UDP\n",
            ErrorClass::Malformed,
        ),
        (
            "THROUGHPUT=1\nTHROUGHPUT_UNITS=Trans/s",
            ErrorClass::Truncated,
        ),
    ] {
        assert_eq!(
            class(TcpRr::parse(&output(text, ""))),
            Some(expected),
            "{text}"
        );
    }
}

#[test]
fn throughput_in_bits_gives_way_to_the_rate() {
    let text = "THROUGHPUT=0.46\nTHROUGHPUT_UNITS=10^6bits/s\nTRANSACTION_RATE=57122.887\n";
    let found = TcpRr::parse(&output(text, "")).unwrap();
    assert_eq!(
        value(&found, "transaction_rate_per_second"),
        Some(57_122.887)
    );
}

#[test]
fn a_missing_selector_is_a_cut() {
    let text = "THROUGHPUT=1\nTHROUGHPUT_UNITS=Trans/s\n";
    let args = "-t TCP_RR -- -k THROUGHPUT,THROUGHPUT_UNITS,PROTOCOL";
    assert_eq!(
        class(TcpRr::parse(&output(text, args))),
        Some(ErrorClass::Truncated)
    );
    // netperf leaves out names that it does not know.
    let args = "-t TCP_RR -- -k THROUGHPUT,THROUGHPUT_UNITS,NO_SUCH";
    assert!(TcpRr::parse(&output(text, args)).is_ok());
}

#[test]
fn numbers_without_titles_take_unit_and_order_from_the_arguments() {
    let row = "131072  16384  16384    2.00        1.50   \n";
    for (args, bits) in [
        ("-P 0", 1.5e6),
        ("-P 0 -f g", 1.5e9),
        ("-P 0 -f M", 1.5 * 8.0 * 1_048_576.0),
        ("", 1.5e6),
    ] {
        let found = TcpStream::parse(&output(row, args)).unwrap();
        assert_eq!(
            value(&found, "bandwidth_bits_per_second"),
            Some(bits),
            "{args}"
        );
    }
    let args = "-P 0 -- -o THROUGHPUT,THROUGHPUT_UNITS,ELAPSED_TIME";
    let found = TcpStream::parse(&output("2,10^9bits/s,1.00\n", args)).unwrap();
    assert_eq!(value(&found, "bandwidth_bits_per_second"), Some(2e9));
    // Too few values, and nobody to say what they are.
    assert!(TcpStream::parse(&output("2,10^9bits/s\n", args)).is_err());
    assert!(TcpStream::parse(&output("2,10^9bits/s,1.00\n", "")).is_err());
}

#[test]
fn five_columns_that_were_asked_for_are_no_classic_table() {
    let args = "-P 0 -- -O ELAPSED_TIME,LOCAL_SEND_SIZE,LOCAL_TRANSPORT_RETRANS,REMOTE_TRANSPORT_RETRANS,THROUGHPUT";
    let found = TcpStream::parse(&output("1.00 16384 2 0 7.5\n", args)).unwrap();
    assert_eq!(value(&found, "bandwidth_bits_per_second"), Some(7.5e6));
    assert_eq!(value(&found, "retransmits"), Some(2.0));
}

#[test]
fn numbers_beside_a_failure_do_not_count() {
    let mut failed = output("THROUGHPUT=1\nTHROUGHPUT_UNITS=Trans/s\n", "");
    failed.exit = Exit::Code(1);
    failed.stderr = "netperf: something new\n".to_owned();
    let error = TcpRr::parse(&failed).unwrap_err();
    assert_eq!(error.class, ErrorClass::Malformed);
    assert!(error.message.contains("something new"));
}
