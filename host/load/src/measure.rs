//! Numbers: histograms with fixed bounds, the recorders of a shard, and the engine's judgement of itself.
//!
//! Every histogram of this crate has the same bounds and precision, so any two of them merge without
//! loss. Recording never allocates once a series has had its first success, never fails, and costs
//! the same at the first and at the billionth request.

pub mod histogram;
pub(crate) mod recorder;
pub mod self_check;

pub use histogram::{DecodeError, decode, encode, quantile, time_histogram};
pub use self_check::{Finding, Level, Severity, Verdict, self_check};
