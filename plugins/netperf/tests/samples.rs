//! Captured outputs of netperf 2.7.1, whole and damaged.

use netperf::{TcpRr, TcpStream};

#[test]
fn every_sample_parses_to_what_its_row_says() {
    tool_samples::assert_samples::<TcpRr>();
    tool_samples::assert_samples::<TcpStream>();
}

#[test]
fn outputs_of_other_tests_and_tools_are_refused() {
    tool_samples::assert_strangers::<TcpRr>();
    tool_samples::assert_strangers::<TcpStream>();
}

#[test]
fn damaged_transactions_are_no_numbers() {
    tool_samples::assert_survives::<TcpRr>(40_000);
}

#[test]
fn damaged_streams_are_no_numbers() {
    tool_samples::assert_survives::<TcpStream>(40_000);
}

#[test]
fn endless_repetition_is_refused() {
    tool_samples::assert_bounded::<TcpRr>();
    tool_samples::assert_bounded::<TcpStream>();
}
