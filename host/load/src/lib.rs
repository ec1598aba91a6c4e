//! The load engine: it decides when a request leaves, sends it, and measures what comes back.
//!
//! Data walks through it in one direction:
//! [`request`] (what) → `pace` (when) → `shard` (one thread) → `net` (how) → `measure` → [`result`].
//! It knows nothing of plugins, of Kubernetes clients or of command lines.
#![deny(missing_docs)]

pub mod plan;
pub mod request;
pub mod result;
