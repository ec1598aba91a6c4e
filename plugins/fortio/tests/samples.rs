//! Captured outputs of fortio 1.38 and 1.60, whole and damaged.

use fortio::{FortioHttp, FortioTcp};

#[test]
fn every_sample_parses_to_what_its_row_says() {
    tool_samples::assert_samples::<FortioTcp>();
    tool_samples::assert_samples::<FortioHttp>();
}

#[test]
fn outputs_of_other_runs_and_tools_are_refused() {
    tool_samples::assert_strangers::<FortioTcp>();
    tool_samples::assert_strangers::<FortioHttp>();
}

#[test]
fn damaged_tcp_runs_are_no_numbers() {
    tool_samples::assert_survives::<FortioTcp>(40_000);
}

#[test]
fn damaged_http_runs_are_no_numbers() {
    tool_samples::assert_survives::<FortioHttp>(40_000);
}

#[test]
fn endless_repetition_is_refused() {
    tool_samples::assert_bounded::<FortioTcp>();
    tool_samples::assert_bounded::<FortioHttp>();
}
