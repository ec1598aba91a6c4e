//! How: connections to the server, and one exchange at a time on each stream of them.
//!
//! The seam is narrow: a prepared [`exchange::Call`] goes in, an [`exchange::Answer`] with its stamps
//! comes out, and everything between (streams, flow control, GOAWAY, redialling) stays in here. All of
//! it lives on one shard's thread.
//!
//! Invariants: the peer's stream limit is never exceeded; a time of receipt is never later than the
//! moment it is used and never earlier than the send; bodies are counted and not kept, except for
//! bounded captures; a request is sent twice only when the server said it had not processed the first.

pub(crate) mod capture;
pub(crate) mod dial;
pub(crate) mod drain;
pub(crate) mod exchange;
pub(crate) mod failure;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod redial;
pub(crate) mod socket;
pub(crate) mod watch;

pub use dial::{ConnectError, Stage};
