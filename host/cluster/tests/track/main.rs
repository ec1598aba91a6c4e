//! The tracker against the simulator, and against a server that does as it is told.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod broken;
mod ended;
mod objects;
mod scripted;
mod simulator;
