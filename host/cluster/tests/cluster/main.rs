//! Setup work, bulks and clean-up against the simulator.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the whole crate is tests; clippy's exemption sees only functions marked as such"
)]

mod api;
mod bulk;
mod cleanup;
mod cluster;
mod dataset;
mod grants;
mod nodepool;
mod rights;
