//! Captured outputs of qperf 0.4.11, whole and damaged.

use qperf_tcp::QperfTcp;

#[test]
fn every_sample_parses_to_what_its_row_says() {
    tool_samples::assert_samples::<QperfTcp>();
}

#[test]
fn outputs_of_other_tools_are_refused() {
    tool_samples::assert_strangers::<QperfTcp>();
}

#[test]
fn damaged_outputs_are_no_numbers() {
    tool_samples::assert_survives::<QperfTcp>(40_000);
}

#[test]
fn endless_repetition_is_refused() {
    tool_samples::assert_bounded::<QperfTcp>();
}
