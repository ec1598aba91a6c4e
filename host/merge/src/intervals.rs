//! What each second of a run measured, over all runners: the n-th interval of a phase is that of all.
//!
//! Kept only if every document has intervals. Without histograms in them, counts and extremes merge, percentiles do not.

use crate::{
    decoded::DecodedIter,
    document::{self, Document},
    facts::position,
    merged::Interval,
    series::{Named, SeriesSum, absorb_series, add_series},
};

/// Most intervals kept: a day of seconds.
const MOST: usize = 86_400;

#[derive(Clone, Debug, Default)]
pub(crate) struct Intervals {
    kept: Vec<IntervalSum>,
    /// Documents with and without them.
    with: u64,
    without: u64,
    /// Left out by the documents, or here.
    pub(crate) left_out: u64,
}

#[derive(Clone, Debug)]
struct IntervalSum {
    phase: String,
    /// Within its phase.
    number: u32,
    start_unix_us: u64,
    length_ns: u64,
    counters: Named,
    series: Vec<SeriesSum>,
}

impl Intervals {
    /// Adds those of a document; takes its histograms in any case.
    pub(crate) fn add(&mut self, document: &Document<'_>, histograms: &mut DecodedIter<'_>) {
        let Some(intervals) = &document.intervals else {
            self.without += 1;
            return;
        };
        self.with += 1;
        self.left_out += document.intervals_dropped;
        let mut first: (&str, u32) = ("", 0);
        for (at, one) in intervals.iter().enumerate() {
            if at == 0 || first.0 != one.phase.as_str() {
                first = (one.phase.as_str(), one.index);
            }
            let number = one.index.saturating_sub(first.1);
            match self.place(at, one.phase.as_str(), number) {
                Some(sum) => sum.add(one, histograms),
                None => {
                    self.left_out += 1;
                    histograms.pass(one.series.len() * 2);
                }
            }
        }
    }

    pub(crate) fn absorb(&mut self, other: Self) {
        self.with += other.with;
        self.without += other.without;
        self.left_out += other.left_out;
        for (at, theirs) in other.kept.into_iter().enumerate() {
            match self.place(at, &theirs.phase, theirs.number) {
                Some(sum) => sum.absorb(theirs),
                None => self.left_out += 1,
            }
        }
    }

    fn place(&mut self, hint: usize, phase: &str, number: u32) -> Option<&mut IntervalSum> {
        let is_it = |known: &IntervalSum| known.number == number && known.phase == phase;
        let at = position(&self.kept, hint, is_it).unwrap_or(self.kept.len());
        if at == self.kept.len() {
            if at >= MOST {
                return None;
            }
            self.kept.push(IntervalSum {
                phase: phase.to_owned(),
                number,
                start_unix_us: u64::MAX,
                length_ns: 0,
                counters: Named::default(),
                series: Vec::new(),
            });
        }
        self.kept.get_mut(at)
    }

    /// Whether some documents have them and others do not.
    pub(crate) fn is_dropped(&self) -> bool {
        self.with > 0 && self.without > 0
    }

    /// In the order of `phases`, numbered over the run.
    pub(crate) fn merged(mut self, phases: &[&str]) -> Vec<Interval> {
        if self.without > 0 {
            return Vec::new();
        }
        let place = |name: &str| phases.iter().position(|phase| *phase == name);
        self.kept.sort_by_key(|one| (place(&one.phase), one.number));
        self.kept
            .into_iter()
            .zip(0..)
            .map(|(one, index)| Interval {
                phase: one.phase,
                index,
                start_unix_us: one.start_unix_us,
                length_ns: one.length_ns,
                counters: crate::merged::kebab_keys(one.counters.into_pairs()),
                series: one.series.iter().map(crate::merged::series).collect(),
            })
            .collect()
    }
}

impl IntervalSum {
    fn add(&mut self, one: &document::Interval<'_>, histograms: &mut DecodedIter<'_>) {
        self.start_unix_us = self.start_unix_us.min(one.start_unix_us);
        self.length_ns = self.length_ns.max(one.length_ns);
        self.counters.add(&one.counters);
        add_series(&mut self.series, &one.series, histograms);
    }

    fn absorb(&mut self, other: Self) {
        self.start_unix_us = self.start_unix_us.min(other.start_unix_us);
        self.length_ns = self.length_ns.max(other.length_ns);
        self.counters.absorb(&other.counters);
        absorb_series(&mut self.series, other.series);
    }
}
