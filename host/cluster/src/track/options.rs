//! Patience and limits of a tracker. The defaults are meant for clusters; tests shorten them.

use std::time::Duration;

/// Patience and limits of a tracker.
#[derive(Clone, Debug)]
pub struct TrackOptions {
    /// Objects asked for in one page of a list.
    pub page_items: u32,
    /// Shortest time a watch is asked to last. Each is drawn between this and twice this, so that clients do
    /// not all come back at once. Whole seconds, at least one.
    pub watch_length: Duration,
    /// A watch that is silent for longer is taken for dead. Servers send a bookmark every minute.
    pub silence: Duration,
    /// The wait for the answer to a request: a page of a list, the head of a watch.
    pub answer: Duration,
    /// The wait for the first list and watch.
    pub start: Duration,
    /// How long 401, 403 and 404 are put up with once it had worked: API servers that start say such things
    /// before they have read their roles and custom resources.
    pub refusal_grace: Duration,
    /// First wait after a failure; it doubles with each one that follows.
    pub first_backoff: Duration,
    /// Longest wait after a failure.
    pub max_backoff: Duration,
    /// Largest event of a watch.
    pub max_line_bytes: usize,
    /// Largest page of a list.
    pub max_page_bytes: usize,
    /// Most objects, those that are gone included.
    pub max_objects: usize,
    /// Most bytes of distinct captured values; what comes later is not kept, and counted.
    pub max_capture_bytes: usize,
}

impl Default for TrackOptions {
    fn default() -> Self {
        Self {
            page_items: 500,
            watch_length: Duration::from_secs(300),
            silence: Duration::from_secs(150),
            answer: Duration::from_secs(60),
            start: Duration::from_secs(60),
            refusal_grace: Duration::from_secs(10),
            first_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(10),
            max_line_bytes: 32 << 20,
            max_page_bytes: 512 << 20,
            max_objects: 1_000_000,
            max_capture_bytes: 64 << 20,
        }
    }
}
