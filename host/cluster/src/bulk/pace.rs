//! When the i-th action of a bulk is due.

/// Where intended times come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pace {
    /// As soon as there is a place.
    Unpaced,
    /// A token bucket that starts full: the first `burst` actions at once, then one every so often.
    Rate { ns_per_action: f64, burst: u64 },
    /// Each action brings its own.
    Scheduled,
}

impl Pace {
    /// `rate_per_sec` 0 = none; not negative and finite.
    pub(super) fn new(rate_per_sec: f64, burst: u32, scheduled: bool) -> Self {
        if scheduled {
            Self::Scheduled
        } else if rate_per_sec > 0.0 {
            Self::Rate {
                ns_per_action: 1e9 / rate_per_sec,
                burst: u64::from(burst.max(1)),
            }
        } else {
            Self::Unpaced
        }
    }

    /// Nanoseconds from the start of the bulk; `at_ns` is what the action says. `None` = whenever.
    ///
    /// Computed from the index alone: nothing adds up, so nothing drifts.
    pub(super) fn intended_ns(self, index: u64, at_ns: u64) -> Option<u64> {
        match self {
            Self::Unpaced => None,
            Self::Scheduled => Some(at_ns),
            Self::Rate {
                ns_per_action,
                burst,
            } => {
                let waited_for = (index + 1).saturating_sub(burst);
                // Exact up to 2^53 actions; the cast saturates.
                Some((waited_for as f64 * ns_per_action) as u64)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(pace: Pace, count: u64) -> Vec<u64> {
        (0..count)
            .filter_map(|i| pace.intended_ns(i, i * 7))
            .collect()
    }

    #[test]
    fn one_after_the_other() {
        assert_eq!(
            first(Pace::new(100.0, 0, false), 4),
            [0, 10_000_000, 20_000_000, 30_000_000]
        );
        assert_eq!(
            first(Pace::new(100.0, 1, false), 3),
            [0, 10_000_000, 20_000_000]
        );
    }

    #[test]
    fn a_burst_comes_first() {
        assert_eq!(
            first(Pace::new(1000.0, 3, false), 6),
            [0, 0, 0, 1_000_000, 2_000_000, 3_000_000]
        );
    }

    #[test]
    fn schedules_are_kept_and_no_pace_has_no_times() {
        assert_eq!(first(Pace::new(5.0, 9, true), 3), [0, 7, 14]);
        assert!(first(Pace::new(0.0, 9, false), 3).is_empty());
    }

    #[test]
    fn nothing_drifts() {
        // A third of a nanosecond an action does not add up.
        let pace = Pace::new(3000.0, 1, false);
        for i in [3_u64, 3_000_000, 3_000_000_000] {
            assert_eq!(pace.intended_ns(i, 0), Some(i / 3 * 1_000_000));
        }
        assert!(pace.intended_ns(u64::MAX - 1, 0).is_some());
    }
}
