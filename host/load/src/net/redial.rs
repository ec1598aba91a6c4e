//! What both protocols know about losing connections: how often it happened, and how long to wait.

use std::{cell::Cell, time::Duration};

/// Pause after a failed dial, doubled up to the maximum.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(2);

/// Counts of a shard's connections since they were opened.
#[derive(Debug, Default)]
pub(crate) struct ConnectionCounts {
    pub(crate) goaways: Cell<u64>,
    pub(crate) redials: Cell<u64>,
}

/// The pause before dial `attempt` (from 0) after a loss.
pub(crate) fn backoff(attempt: u32) -> Duration {
    FIRST_BACKOFF
        .saturating_mul(1 << attempt.min(16))
        .min(MAX_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_two_seconds() {
        let pauses: Vec<u128> = (0..8).map(|attempt| backoff(attempt).as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(backoff(u32::MAX), MAX_BACKOFF);
    }
}
