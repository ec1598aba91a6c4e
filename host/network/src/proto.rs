//! The protocol between orchestrator and workers, generated from `proto/kperf.network.v1.proto` by the test `proto`.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    dead_code,
    reason = "generated"
)]

include!("proto/kperf.network.v1.rs");
