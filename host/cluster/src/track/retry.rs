//! How long to wait after a failure.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

/// Waits that double up to a limit, half of each random, so that clients do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max: max.max(first),
            failures: 0,
        }
    }

    pub(crate) fn went_well(&mut self) {
        self.failures = 0;
    }

    /// The next wait. The server's wish (`Retry-After`) is granted up to the limit.
    pub(crate) fn wait(&mut self, wish: Option<Duration>) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1 << self.failures.min(16))
            .min(self.max);
        self.failures = self.failures.saturating_add(1);
        let jittered = doubled / 2 + (doubled / 2).mul_f64(random_share());
        jittered.max(wish.unwrap_or_default().min(self.max))
    }
}

/// A random number from 0 up to 1. Spread is all it is for.
pub(crate) fn random_share() -> f64 {
    // Every RandomState has keys of its own.
    let bits = RandomState::new().build_hasher().finish() >> 11;
    #[allow(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let share = bits as f64 / (1_u64 << 53) as f64;
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit() {
        let (first, max) = (Duration::from_millis(100), Duration::from_secs(2));
        let mut backoff = Backoff::new(first, max);
        for i in 0..40 {
            let full = first.saturating_mul(1 << i.min(10)).min(max);
            let wait = backoff.wait(None);
            assert!(full / 2 <= wait && wait <= full, "{i}: {wait:?}");
        }
        backoff.went_well();
        assert!(backoff.wait(None) <= first);
    }

    #[test]
    fn the_servers_wish_is_granted_within_the_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(2));
        assert_eq!(
            backoff.wait(Some(Duration::from_secs(1))),
            Duration::from_secs(1)
        );
        assert_eq!(
            backoff.wait(Some(Duration::from_secs(60))),
            Duration::from_secs(2)
        );
    }
}
