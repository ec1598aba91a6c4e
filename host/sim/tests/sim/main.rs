//! The simulator over real sockets: TLS, HTTP/2 and HTTP/1.1, as its users reach it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the client is part of the tests, and a test fails by panicking"
)]

mod api;
mod client;
mod faults;
mod kubevirt;
mod watch;
mod workloads;
