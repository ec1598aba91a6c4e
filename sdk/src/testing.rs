//! Tests of plugins without a host, natively: [`open`] a generator and look at its requests; let an exporter
//! write to sinks kept in memory.
//!
//! State (sinks, logs) belongs to the thread, so tests do not see each other's.

#[cfg(not(target_arch = "wasm32"))]
mod memory;

#[cfg(not(target_arch = "wasm32"))]
pub use memory::{answer, deliveries, logs, reset, sink};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use memory::{host_sink, keep_log};

mod requests;
pub use requests::{Opened, Request, context, open, open_with};
