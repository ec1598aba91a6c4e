//! Series added up: one kind of request of all runners, with its times and its errors.

use kperf_load::measure::time_histogram;

use crate::{
    counts::{Counts, Sparse},
    decoded::DecodedIter,
    document::{self, Pairs, Text},
    facts::position,
    merged::{Labels, Times},
    sum::MOST,
};

/// Different error classes of a series; the rest is counted under one name.
const MOST_ERRORS: usize = 1_000;
const OTHER_ERRORS: &str = "unknown/other";
/// Series that came after [`MOST`] others.
const OTHER_SERIES: &str = "other";

/// Adds each series to that of its name and labels; returns where each went.
pub(crate) fn add_series(
    sums: &mut Vec<SeriesSum>,
    all: &[document::Series<'_>],
    histograms: &mut DecodedIter<'_>,
) -> Vec<usize> {
    let mut places = Vec::with_capacity(all.len());
    for (at, one) in all.iter().enumerate() {
        let (response, service) = (histograms.take(), histograms.take());
        let is_it = |known: &SeriesSum| {
            known.name == one.name.as_str() && same_labels(&known.labels, &one.labels)
        };
        let place = position(sums, at, is_it).unwrap_or_else(|| {
            new_series(sums, || {
                SeriesSum::new(one.name.to_owned(), own_labels(&one.labels))
            })
        });
        if let Some(sum) = sums.get_mut(place) {
            sum.sent = sum.sent.saturating_add(one.sent);
            sum.succeeded = sum.succeeded.saturating_add(one.succeeded);
            sum.failed = sum.failed.saturating_add(one.failed);
            sum.received_bytes = sum.received_bytes.saturating_add(one.received_bytes);
            sum.errors.add(&one.errors);
            sum.counters.add(&one.counters);
            sum.response.add(&one.response_time, response);
            sum.service.add(&one.service_time, service);
        }
        places.push(place);
    }
    places
}

/// The place of a series that is not there yet: its own, or that of all that come after there are too many.
fn new_series(sums: &mut Vec<SeriesSum>, new: impl FnOnce() -> SeriesSum) -> usize {
    let is_full = sums.len() >= MOST;
    if is_full && let Some(other) = sums.iter().rposition(|known| known.name == OTHER_SERIES) {
        return other;
    }
    sums.push(if is_full {
        SeriesSum::new(OTHER_SERIES.to_owned(), Labels::new())
    } else {
        new()
    });
    sums.len() - 1
}

/// Adds each series of another sum to that of its name and labels; returns where each went.
pub(crate) fn absorb_series(sums: &mut Vec<SeriesSum>, all: Vec<SeriesSum>) -> Vec<usize> {
    let mut places = Vec::with_capacity(all.len());
    for (at, theirs) in all.into_iter().enumerate() {
        let is_it = |known: &SeriesSum| known.name == theirs.name && known.labels == theirs.labels;
        let place = position(sums, at, is_it).unwrap_or_else(|| {
            new_series(sums, || {
                SeriesSum::new(theirs.name.clone(), theirs.labels.clone())
            })
        });
        if let Some(sum) = sums.get_mut(place) {
            sum.absorb(&theirs);
        }
        places.push(place);
    }
    places
}

/// One kind of request of all runners.
#[derive(Clone, Debug)]
pub(crate) struct SeriesSum {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) sent: u64,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) received_bytes: u64,
    pub(crate) errors: Named,
    pub(crate) counters: Named,
    pub(crate) response: TimesSum,
    pub(crate) service: TimesSum,
}

impl SeriesSum {
    pub(crate) fn new(name: String, labels: Labels) -> Self {
        Self {
            name,
            labels,
            sent: 0,
            succeeded: 0,
            failed: 0,
            received_bytes: 0,
            errors: Named::default(),
            counters: Named::default(),
            response: TimesSum::default(),
            service: TimesSum::default(),
        }
    }

    pub(crate) fn absorb(&mut self, other: &Self) {
        self.sent = self.sent.saturating_add(other.sent);
        self.succeeded = self.succeeded.saturating_add(other.succeeded);
        self.failed = self.failed.saturating_add(other.failed);
        self.received_bytes = self.received_bytes.saturating_add(other.received_bytes);
        self.errors.absorb(&other.errors);
        self.counters.absorb(&other.counters);
        self.response.absorb(&other.response);
        self.service.absorb(&other.service);
    }
}

/// Times: the buckets, and what documents say beside them more exactly than buckets can.
#[derive(Clone, Debug)]
pub(crate) struct TimesSum {
    counts: Counts,
    /// Values that came without a histogram.
    without: u64,
    count: u64,
    min_ns: u64,
    max_ns: u64,
    /// Of all values, from the means.
    sum_ns: f64,
}

impl Default for TimesSum {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            without: 0,
            count: 0,
            min_ns: u64::MAX,
            max_ns: 0,
            sum_ns: 0.0,
        }
    }
}

impl TimesSum {
    pub(crate) fn add(&mut self, times: &document::Histogram<'_>, counts: &Sparse) {
        if times.count == 0 {
            return;
        }
        self.count = self.count.saturating_add(times.count);
        self.min_ns = self.min_ns.min(times.min_ns);
        self.max_ns = self.max_ns.max(times.max_ns);
        self.sum_ns += times.mean_ns * times.count as f64;
        if counts.is_empty() {
            self.without = self.without.saturating_add(times.count);
        }
        self.counts.add(counts);
    }

    pub(crate) fn absorb(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.sum_ns += other.sum_ns;
        self.without = self.without.saturating_add(other.without);
        self.counts.absorb(&other.counts);
    }

    pub(crate) fn merged(&self) -> Times {
        Times {
            histogram: if self.without == 0 {
                self.counts.histogram()
            } else {
                time_histogram()
            },
            count: self.count,
            min_ns: if self.count == 0 { 0 } else { self.min_ns },
            max_ns: self.max_ns,
            mean_ns: if self.count == 0 {
                0.0
            } else {
                self.sum_ns / self.count as f64
            },
        }
    }
}

/// Counts by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Named(Vec<(String, u64)>);

impl Named {
    pub(crate) fn add(&mut self, counts: &Pairs<'_, u64>) {
        for (at, (name, count)) in counts.iter().enumerate() {
            self.put(at, name, *count);
        }
    }

    pub(crate) fn absorb(&mut self, other: &Self) {
        for (at, (name, count)) in other.0.iter().enumerate() {
            self.put(at, name, *count);
        }
    }

    fn put(&mut self, hint: usize, name: &str, count: u64) {
        let found = position(&self.0, hint, |(known, _)| known == name);
        if found.is_none() && self.0.len() >= MOST_ERRORS && name != OTHER_ERRORS {
            return self.put(self.0.len() - 1, OTHER_ERRORS, count);
        }
        match found.and_then(|at| self.0.get_mut(at)) {
            Some((_, sum)) => *sum = sum.saturating_add(count),
            None => self.0.push((name.to_owned(), count)),
        }
    }

    pub(crate) fn into_pairs(self) -> Vec<(String, u64)> {
        self.0
    }

    pub(crate) fn get(&self, name: &str) -> Option<u64> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, count)| *count)
    }
}

pub(crate) fn own_labels(labels: &Pairs<'_, Text<'_>>) -> Labels {
    labels
        .iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

pub(crate) fn same_labels(known: &Labels, labels: &Pairs<'_, Text<'_>>) -> bool {
    known.len() == labels.0.len()
        && known
            .iter()
            .zip(labels.iter())
            .all(|(known, (key, value))| known.0 == key && known.1 == value.as_str())
}
