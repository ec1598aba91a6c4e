//! What to send, and what became of it: the seam between whoever decides (a plugin, native code) and the engine.
//!
//! Shapes are declared once as [`Template`]s; requests then come as [`Batch`]es of columns and one byte
//! arena, so that nothing is allocated per request on its way in. The same words stand in the WIT
//! (`kperf:workload/requests`).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, uri::PathAndQuery};

/// A request shape. Its index in [`Source::templates`] is its id.
#[derive(Clone, Debug)]
pub struct Template {
    /// Name of the series this request is measured under.
    pub series: String,
    /// HTTP method.
    pub method: Method,
    /// Used when a request brings no path; without the target's path prefix.
    pub path: PathAndQuery,
    /// Headers of every request of this shape, besides those of the target.
    pub headers: HeaderMap,
    /// Used when a request brings no body.
    pub body: Bytes,
    /// How the exchange runs.
    pub kind: ExchangeKind,
    /// JSON pointers (RFC 6901) read from the answer for [`Source::observe`].
    pub capture: Vec<String>,
}

/// How an exchange runs and when it counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    /// One answer, drained to its end.
    Request,
    /// A watch that ends, as a success, at the bookmark that closes the initial events.
    WatchList,
    /// A watch held for a time, then cancelled by us, as a success. Measured to the response headers.
    Watch {
        /// How long to hold it.
        hold: Duration,
    },
}

/// Requests as columns. A column is empty (zero for every request) or has `count` elements.
/// [`Batch::check`] is called by the engine before anything is read from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Number of requests.
    pub count: u32,
    /// Index of the template.
    pub template: Vec<u32>,
    /// Bytes of `arena` that are this request's path; 0 = the template's.
    pub path_len: Vec<u32>,
    /// Bytes of `arena` that are this request's body; 0 = the template's.
    pub body_len: Vec<u32>,
    /// Opaque; comes back in [`Outcomes`].
    pub tag: Vec<u64>,
    /// Path then body of each request in order, used up exactly.
    pub arena: Vec<u8>,
    /// Nothing follows this batch.
    pub done: bool,
}

/// What became of earlier requests, as columns of `count` elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Number of requests.
    pub count: u32,
    /// Tags as the batch gave them.
    pub tag: Vec<u64>,
    /// Template ids.
    pub template: Vec<u32>,
    /// HTTP status; 0 = no answer.
    pub status: Vec<u32>,
    /// Actual send to last byte, nanoseconds.
    pub service_ns: Vec<u64>,
    /// Bytes of the answer's body.
    pub size: Vec<u64>,
    /// Bytes of `arena` with the captured values of this request, a JSON array; 0 = none.
    pub capture_len: Vec<u32>,
    /// Captured values back to back.
    pub arena: Vec<u8>,
}

/// Why a source could not go on. The message is complete: it names plugin, version, phase and limit.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
pub struct SourceError {
    /// Slug, for example `trap`, `deadline`, `memory`, `malformed-batch`, `invalid-config`.
    pub code: String,
    /// One sentence for the user, and what to do next.
    pub message: String,
}

/// Where a source lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardContext {
    /// Number of the shard, from 0.
    pub shard: u32,
    /// How many shards share the phase.
    pub shards: u32,
    /// Seed of the run, below 2^53.
    pub seed: u64,
}

/// A stream of requests, owned and called by one shard's thread.
pub trait Source {
    /// The shapes; fixed for the life of the source.
    fn templates(&self) -> &[Template];

    /// Up to `limit` requests. An empty batch that is not `done` means "ask again after the next outcomes".
    ///
    /// # Errors
    /// Ends the phase; what was measured is kept.
    fn next(&mut self, limit: u32) -> Result<Batch, SourceError>;

    /// Whether [`Source::observe`] wants to be called.
    fn wants_outcomes(&self) -> bool {
        false
    }

    /// Hears what came back; batched, never between an answer and the next send.
    ///
    /// # Errors
    /// Ends the phase; what was measured is kept.
    fn observe(&mut self, outcomes: Outcomes) -> Result<(), SourceError> {
        let _ = outcomes;
        Ok(())
    }

    /// Whether [`Source::schedule`] owns the arrival times; the plan's pace is then ignored.
    fn owns_arrivals(&self) -> bool {
        false
    }

    /// Intended send times of the next requests in nanoseconds from the phase's start, ascending, at most `limit`.
    ///
    /// # Errors
    /// Ends the phase; what was measured is kept.
    fn schedule(&mut self, limit: u32) -> Result<Vec<u64>, SourceError> {
        let _ = limit;
        Ok(Vec::new())
    }
}

/// Makes the source of one shard; called on that shard's thread before the phase starts.
pub type SourceFactory =
    Arc<dyn Fn(ShardContext) -> Result<Box<dyn Source>, SourceError> + Send + Sync>;
