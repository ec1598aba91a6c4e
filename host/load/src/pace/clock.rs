//! The time within a phase. Everything that decides by time takes it from here, so that tests can set it.

use std::time::{Duration, Instant};

/// Nanoseconds from the start of a phase.
pub(crate) trait Clock {
    /// Now; zero before the start.
    fn now_ns(&self) -> u64;
}

/// The monotonic clock, read from the phase's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PhaseClock {
    start: Instant,
}

impl PhaseClock {
    pub(crate) fn new(start: Instant) -> Self {
        Self { start }
    }

    /// A moment as phase time; zero if before the start.
    pub(crate) fn at_ns(&self, moment: Instant) -> u64 {
        as_ns(moment.saturating_duration_since(self.start))
    }

    /// Phase time as a moment.
    pub(crate) fn moment(&self, ns: u64) -> Instant {
        self.start + Duration::from_nanos(ns)
    }
}

impl Clock for PhaseClock {
    fn now_ns(&self) -> u64 {
        self.at_ns(Instant::now())
    }
}

/// Nanoseconds as `u64`, saturating after 584 years.
pub(crate) fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
