//! Stretches of wall-clock time in which at least one runner was at work.
//!
//! Runners that run together overlap, and their length is that from the earliest start to the latest end. Runs of
//! different days do not, and the nights between them are no part of a rate.

/// Disjoint stretches, ascending, in nanoseconds since 1970.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spans(Vec<(u64, u64)>);

impl Spans {
    pub(crate) fn add(&mut self, start_unix_us: u64, length_ns: u64) {
        let start = start_unix_us.saturating_mul(1_000);
        self.insert(start, start.saturating_add(length_ns));
    }

    pub(crate) fn absorb(&mut self, other: &Self) {
        for (start, end) in &other.0 {
            self.insert(*start, *end);
        }
    }

    fn insert(&mut self, start: u64, end: u64) {
        let low = self.0.partition_point(|(_, before)| *before < start);
        let high = self.0.partition_point(|(after, _)| *after <= end);
        let merged = match self.0.get(low..high) {
            Some([first, .., last]) => (first.0.min(start), last.1.max(end)),
            Some([one]) => (one.0.min(start), one.1.max(end)),
            _ => (start, end),
        };
        self.0.splice(low..high.max(low), [merged]);
    }

    /// How long all stretches are together.
    pub(crate) fn length_ns(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// Whether everybody was at work together, or one after the other without a pause.
    pub(crate) fn is_one(&self) -> bool {
        self.0.len() <= 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_count_once_and_pauses_not_at_all() {
        let mut spans = Spans::default();
        for (start_us, length_ns) in [(10, 5_000), (12, 5_000), (30, 1_000), (1, 2_000), (15, 1)] {
            spans.add(start_us, length_ns);
        }
        assert_eq!(
            spans.0,
            [(1_000, 3_000), (10_000, 17_000), (30_000, 31_000)]
        );
        assert_eq!(spans.length_ns(), 2_000 + 7_000 + 1_000);
        assert!(!spans.is_one());
        let mut other = Spans::default();
        other.add(2, 100_000);
        spans.absorb(&other);
        assert_eq!(spans.0, [(1_000, 102_000)]);
        assert!(spans.is_one());
    }

    #[test]
    fn stretches_in_any_order_give_the_same() {
        let parts = [
            (5, 1_000),
            (6, 1_000),
            (9, 500),
            (1, 9_000),
            (20, 0),
            (20, 10),
        ];
        let mut forward = Spans::default();
        let mut backward = Spans::default();
        for (start, length) in parts {
            forward.add(start, length);
        }
        for (start, length) in parts.iter().rev() {
            backward.add(*start, *length);
        }
        assert_eq!(forward.0, backward.0);
    }
}
