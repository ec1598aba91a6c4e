//! The intended time of the i-th arrival, and how many arrivals are due at a time.

use std::collections::VecDeque;

/// A constant rate, seen from one of the shards that share it: arrival i of the whole phase is
/// intended at i / rate and belongs to shard i mod shards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConstantRate {
    ns_per_arrival: f64,
    shard: u64,
    shards: u64,
}

impl ConstantRate {
    /// `rate_per_sec` above 0 and finite, `shard` below `shards`.
    pub(crate) fn new(rate_per_sec: f64, shard: u32, shards: u32) -> Self {
        Self {
            ns_per_arrival: 1e9 / rate_per_sec,
            shard: u64::from(shard),
            shards: u64::from(shards.max(1)),
        }
    }

    /// Intended time of this shard's arrival `index`.
    pub(crate) fn intended_ns(&self, index: u64) -> u64 {
        let global = index.saturating_mul(self.shards).saturating_add(self.shard);
        // Exact up to 2^53, which is 10^9 requests a second for three months. The cast saturates.
        (global as f64 * self.ns_per_arrival) as u64
    }

    /// How many of this shard's arrivals are intended at or before `now_ns`.
    pub(crate) fn due(&self, now_ns: u64) -> u64 {
        let global = (now_ns as f64 / self.ns_per_arrival) as u64;
        let mut count = (global / self.shards).saturating_sub(1);
        // The division may be off by one either way; `intended_ns` is the definition.
        while self.intended_ns(count) <= now_ns {
            count += 1;
        }
        count
    }
}

/// Where intended times come from.
#[derive(Debug)]
pub(crate) enum Arrivals {
    /// A rate.
    Rate(ConstantRate),
    /// The source itself.
    Listed(Listed),
}

/// Arrival times given by a source, fed piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// Index of the first time kept.
    base: u64,
    times_ns: VecDeque<u64>,
    /// No more will be given.
    ended: bool,
}

impl Listed {
    /// Appends times; false when they do not ascend.
    pub(crate) fn extend(&mut self, times_ns: &[u64]) -> bool {
        for &time in times_ns {
            if self.times_ns.back().is_some_and(|&last| time < last) {
                return false;
            }
            self.times_ns.push_back(time);
        }
        true
    }

    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Times given and not yet forgotten.
    pub(crate) fn len(&self) -> usize {
        self.times_ns.len()
    }

    fn intended_ns(&self, index: u64) -> Option<u64> {
        let position = usize::try_from(index.checked_sub(self.base)?).ok()?;
        self.times_ns.get(position).copied()
    }

    fn due(&self, now_ns: u64) -> u64 {
        self.base + self.times_ns.partition_point(|&time| time <= now_ns) as u64
    }

    fn forget_before(&mut self, index: u64) {
        while self.base < index && self.times_ns.pop_front().is_some() {
            self.base += 1;
        }
    }
}

impl Arrivals {
    /// Intended time of an arrival, if it is known yet.
    pub(crate) fn intended_ns(&self, index: u64) -> Option<u64> {
        match self {
            Self::Rate(rate) => Some(rate.intended_ns(index)),
            Self::Listed(listed) => listed.intended_ns(index),
        }
    }

    /// Arrivals intended at or before a time.
    pub(crate) fn due(&self, now_ns: u64) -> u64 {
        match self {
            Self::Rate(rate) => rate.due(now_ns),
            Self::Listed(listed) => listed.due(now_ns),
        }
    }

    /// Arrivals below `index` will not be asked for again.
    pub(crate) fn forget_before(&mut self, index: u64) {
        if let Self::Listed(listed) = self {
            listed.forget_before(index);
        }
    }
}

/// This shard's part of `total` requests: those i below `total` with i mod shards = shard.
pub(crate) fn share(total: u64, shard: u32, shards: u32) -> u64 {
    let shards = u64::from(shards.max(1));
    (total / shards) + u64::from(total % shards > u64::from(shard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_together_are_the_whole_schedule() {
        let whole = ConstantRate::new(1234.5, 0, 1);
        let parts: Vec<_> = (0..3).map(|s| ConstantRate::new(1234.5, s, 3)).collect();
        for i in 0..10_000_u64 {
            let part = &parts[(i % 3) as usize];
            assert_eq!(whole.intended_ns(i), part.intended_ns(i / 3));
        }
    }

    #[test]
    fn due_is_the_inverse_of_intended() {
        for rate in [0.37, 1.0, 3.0, 333.333, 10_000.0, 999_999.0] {
            for shards in [1, 2, 7] {
                for shard in 0..shards {
                    let rate = ConstantRate::new(rate, shard, shards);
                    for index in [0, 1, 2, 99, 100_000, 12_345_678] {
                        let at = rate.intended_ns(index);
                        assert_eq!(rate.due(at), index + 1);
                        if at > 0 {
                            assert_eq!(rate.due(at - 1), index);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_accumulates() {
        let rate = ConstantRate::new(3.0, 0, 1);
        assert_eq!(rate.intended_ns(3), 1_000_000_000);
        assert_eq!(rate.intended_ns(3_000_000), 1_000_000_000_000_000);
    }

    #[test]
    fn shares_add_up() {
        for total in [0, 1, 2, 5, 1000, u64::MAX] {
            for shards in [1, 2, 3, 8] {
                let sum: u64 = (0..shards).map(|s| share(total, s, shards)).sum();
                assert_eq!(sum, total);
            }
        }
    }

    #[test]
    fn listed_times_must_ascend_and_are_forgotten() {
        let mut listed = Listed::default();
        assert!(listed.extend(&[5, 5, 9]));
        assert!(!listed.extend(&[8]));
        let mut arrivals = Arrivals::Listed(listed);
        assert_eq!(arrivals.due(5), 2);
        arrivals.forget_before(2);
        assert_eq!(arrivals.intended_ns(1), None);
        assert_eq!(arrivals.intended_ns(2), Some(9));
        assert_eq!(arrivals.due(4), 2);
        assert_eq!(arrivals.due(9), 3);
    }
}
