//! Captured outputs of iperf3 3.12 to 3.21, whole and damaged.

use iperf3_tcp::Iperf3Tcp;

#[test]
fn every_sample_parses_to_what_its_row_says() {
    tool_samples::assert_samples::<Iperf3Tcp>();
}

#[test]
fn outputs_of_other_tools_are_refused() {
    tool_samples::assert_strangers::<Iperf3Tcp>();
}

#[test]
fn damaged_outputs_are_no_numbers() {
    tool_samples::assert_survives::<Iperf3Tcp>(40_000);
}

#[test]
fn endless_repetition_is_refused() {
    tool_samples::assert_bounded::<Iperf3Tcp>();
}
