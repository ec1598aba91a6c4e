//! The load engine: it decides when a request leaves, sends it, and measures what comes back.
//!
//! Data walks through it in one direction:
//! [`request`] (what) → `pace` (when) → `shard` (one thread) → `net` (how) → [`measure`] → [`result`].
//! [`Engine`] holds it together, [`mix`] makes one source of several.
//! It knows nothing of plugins, of Kubernetes clients or of command lines.
#![deny(missing_docs)]

mod engine;
pub mod measure;
pub mod mix;
mod net;
mod pace;
pub mod plan;
pub mod request;
pub mod result;
mod shard;
mod stop;

pub use engine::{ConnectReport, Engine};
pub use net::{ConnectError, Stage};
pub use pace::timer::Timer;
pub use stop::Stop;
