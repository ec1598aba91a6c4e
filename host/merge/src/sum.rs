//! Everything added up: what is kept of all documents together.
//!
//! Two things add to a sum: a document that has been checked and whose histograms have been decoded, and another sum. Neither
//! can fail, so a document is in it wholly or not at all.

use kperf_load::measure::time_histogram;

use crate::{
    counts::{Counts, Sparse},
    decoded::{Decoded, DecodedIter},
    document::{self, Document, Pairs, Text},
    facts::{Facts, Values, position},
    findings::{Findings, Worst},
    intervals::Intervals,
    merged::{Labels, Plugin, Times},
    metrics::{LONGEST, Metrics, RUNNER, START_SKEW},
    raw::Raw,
    settings::Settings,
    span::Spans,
};

/// Different error classes of a series; the rest is counted under one name.
const MOST_ERRORS: usize = 1_000;
const OTHER_ERRORS: &str = "unknown/other";
/// Series that came after [`MOST`] others.
const OTHER_SERIES: &str = "other";
/// Different things of one sort; later ones are left out.
const MOST: usize = 10_000;

/// What all documents say together.
#[derive(Clone, Debug)]
pub(crate) struct Sum {
    keep_raw: bool,
    pub(crate) documents: u64,
    pub(crate) description: Values,
    pub(crate) labels: Facts,
    pub(crate) environment: Facts,
    pub(crate) servers: Values,
    pub(crate) versions: Values,
    pub(crate) plugins: Vec<Plugin>,
    pub(crate) start_unix_us: u64,
    pub(crate) spans: Spans,
    /// Whether every run was as long as its phases together.
    pub(crate) is_phases_only: bool,
    pub(crate) longest_ns: u64,
    pub(crate) phases: Vec<PhaseSum>,
    pub(crate) metrics: Metrics,
    pub(crate) distributions: Vec<DistributionSum>,
    /// Objects in tables, which are not merged.
    pub(crate) objects: u64,
    pub(crate) thresholds: Vec<String>,
    pub(crate) verdict: Worst,
    pub(crate) ended: Worst,
    pub(crate) findings: Findings,
    /// What merging itself has to say.
    pub(crate) notes: Findings,
    pub(crate) runners: Vec<Line>,
    pub(crate) intervals: Intervals,
    /// Sum of the hashes of the run ids: the same whatever the order.
    pub(crate) runs_hash: u64,
}

/// What is kept of one runner.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) run_id: String,
    pub(crate) start_unix_us: u64,
    pub(crate) length_ns: u64,
    pub(crate) sent: u64,
    pub(crate) failed: u64,
    pub(crate) p99_ns: Option<u64>,
    pub(crate) verdict: String,
    pub(crate) ended: String,
}

impl Sum {
    pub(crate) fn new(keep_raw: bool) -> Self {
        Self {
            keep_raw,
            documents: 0,
            description: Values::default(),
            labels: Facts::default(),
            environment: Facts::default(),
            servers: Values::default(),
            versions: Values::default(),
            plugins: Vec::new(),
            start_unix_us: u64::MAX,
            spans: Spans::default(),
            is_phases_only: true,
            longest_ns: 0,
            phases: Vec::new(),
            metrics: Metrics::default(),
            distributions: Vec::new(),
            objects: 0,
            thresholds: Vec::new(),
            verdict: Worst::new(["certified", "suspect", "invalid"]),
            ended: Worst::new(["completed", "interrupted", "failed"]),
            findings: Findings::default(),
            notes: Findings::default(),
            runners: Vec::new(),
            intervals: Intervals::default(),
            runs_hash: 0,
        }
    }

    /// Adds a document that was checked.
    pub(crate) fn add(&mut self, runner: &str, document: &Document<'_>, decoded: &Decoded) {
        self.documents += 1;
        self.description.add(document.description.as_str());
        self.labels.add(&document.labels);
        self.environment.add(&document.environment);
        self.servers.add(document.server.as_str());
        self.versions.add(document.host_version.as_str());
        for plugin in &document.plugins {
            self.add_plugin(|| Plugin::of(plugin), |known| known.is(plugin));
        }
        self.start_unix_us = self.start_unix_us.min(document.start_unix_us);
        self.spans.add(document.start_unix_us, document.length_ns);
        let of_phases: u64 = document.phases.iter().map(|phase| phase.length_ns).sum();
        self.is_phases_only &= document.length_ns == of_phases;
        let longest = metric(&document.metrics, LONGEST).map(nanos);
        self.longest_ns = self.longest_ns.max(longest.unwrap_or(document.length_ns));

        let mut histograms = decoded.iter();
        for (at, phase) in document.phases.iter().enumerate() {
            let name = phase.name.as_str();
            let before = document.phases.get(..at).unwrap_or_default();
            let number = before
                .iter()
                .filter(|one| one.name.as_str() == name)
                .count();
            let at = self.phase(at, name, number);
            match self.phases.get_mut(at) {
                Some(sum) => sum.add(runner, phase, &mut histograms),
                None => histograms.pass(phase.series.len() * 2),
            }
        }
        for (at, one) in document.distributions.iter().enumerate() {
            let counts = histograms.take();
            let is_it = |known: &DistributionSum| {
                known.name == one.name.as_str() && same_labels(&known.labels, &one.labels)
            };
            let at = position(&self.distributions, at, is_it).unwrap_or(self.distributions.len());
            if at == self.distributions.len() && at < MOST {
                self.distributions.push(DistributionSum::new(one));
            }
            if let Some(sum) = self.distributions.get_mut(at) {
                sum.missing += one.missing;
                sum.times.add(&one.times, counts);
            }
        }
        self.intervals.add(document, &mut histograms);

        self.metrics.add(runner, &document.metrics);
        let tables = document.objects.iter();
        self.objects += tables.map(|table| table.names.len() as u64).sum::<u64>();
        for threshold in &document.thresholds {
            self.add_threshold(threshold.expression.as_str());
        }
        self.verdict.add(runner, document.verdict.as_str());
        self.ended.add(runner, document.ended.as_str());
        for finding in &document.findings {
            self.findings.add(
                runner,
                finding.severity.as_str(),
                finding.code.as_str(),
                finding.message.as_str(),
            );
        }
        let overall = &document.overall;
        self.runs_hash = self.runs_hash.wrapping_add(hash(document.run_id.as_str()));
        self.runners.push(Line {
            name: runner.to_owned(),
            run_id: document.run_id.to_owned(),
            start_unix_us: document
                .phases
                .first()
                .map_or(document.start_unix_us, |phase| phase.start_unix_us),
            length_ns: of_phases,
            sent: overall.sent,
            failed: overall.failed,
            p99_ns: overall.response_time.percentiles_ns.get("p99").copied(),
            verdict: document.verdict.to_owned(),
            ended: document.ended.to_owned(),
        });
    }

    /// Adds another sum.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.documents += other.documents;
        self.description.absorb(&other.description);
        self.labels.absorb(&other.labels);
        self.environment.absorb(&other.environment);
        self.servers.absorb(&other.servers);
        self.versions.absorb(&other.versions);
        for plugin in other.plugins {
            self.add_plugin(|| plugin.clone(), |known| *known == plugin);
        }
        self.start_unix_us = self.start_unix_us.min(other.start_unix_us);
        self.spans.absorb(&other.spans);
        self.is_phases_only &= other.is_phases_only;
        self.longest_ns = self.longest_ns.max(other.longest_ns);
        for (at, theirs) in other.phases.into_iter().enumerate() {
            let at = self.phase(at, &theirs.name, theirs.number);
            if let Some(sum) = self.phases.get_mut(at) {
                sum.absorb(theirs);
            }
        }
        for (at, theirs) in other.distributions.into_iter().enumerate() {
            let is_it = |known: &DistributionSum| {
                known.name == theirs.name && known.labels == theirs.labels
            };
            match position(&self.distributions, at, is_it) {
                Some(at) => {
                    if let Some(sum) = self.distributions.get_mut(at) {
                        sum.missing += theirs.missing;
                        sum.times.absorb(&theirs.times);
                    }
                }
                None if self.distributions.len() < MOST => self.distributions.push(theirs),
                None => {}
            }
        }
        self.metrics.absorb(other.metrics);
        self.objects += other.objects;
        for threshold in &other.thresholds {
            self.add_threshold(threshold);
        }
        self.verdict.absorb(&other.verdict);
        self.ended.absorb(&other.ended);
        self.findings.absorb(&other.findings);
        self.notes.absorb(&other.notes);
        self.runners.extend(other.runners);
        self.intervals.absorb(other.intervals);
        self.runs_hash = self.runs_hash.wrapping_add(other.runs_hash);
    }

    /// The phase of a name that is the `number`-th of that name.
    fn phase(&mut self, hint: usize, name: &str, number: usize) -> usize {
        let is_it = |known: &PhaseSum| known.number == number && known.name == name;
        let at = position(&self.phases, hint, is_it).unwrap_or(self.phases.len());
        if at == self.phases.len() && at < MOST {
            self.phases.push(PhaseSum::new(name, number, self.keep_raw));
        }
        at
    }

    fn add_plugin(&mut self, new: impl Fn() -> Plugin, is_it: impl Fn(&Plugin) -> bool) {
        if self.plugins.len() < MOST && !self.plugins.iter().any(is_it) {
            self.plugins.push(new());
        }
    }

    fn add_threshold(&mut self, expression: &str) {
        if self.thresholds.len() < MOST && !self.thresholds.iter().any(|known| known == expression)
        {
            self.thresholds.push(expression.to_owned());
        }
    }
}

/// One phase of all runners.
#[derive(Clone, Debug)]
pub(crate) struct PhaseSum {
    pub(crate) name: String,
    /// Which of several of that name.
    pub(crate) number: usize,
    pub(crate) runners: u64,
    pub(crate) earliest_unix_us: u64,
    pub(crate) latest_unix_us: u64,
    /// Of documents that were merged themselves.
    pub(crate) inner_skew_ns: u64,
    pub(crate) spans: Spans,
    pub(crate) longest_ns: u64,
    pub(crate) settings: Settings,
    pub(crate) counters: Named,
    pub(crate) metrics: Metrics,
    pub(crate) series: Vec<SeriesSum>,
    pub(crate) raw: Raw,
    pub(crate) ended: Worst,
}

impl PhaseSum {
    fn new(name: &str, number: usize, keep_raw: bool) -> Self {
        Self {
            name: name.to_owned(),
            number,
            runners: 0,
            earliest_unix_us: u64::MAX,
            latest_unix_us: 0,
            inner_skew_ns: 0,
            spans: Spans::default(),
            longest_ns: 0,
            settings: Settings::default(),
            counters: Named::default(),
            metrics: Metrics::default(),
            series: Vec::new(),
            raw: if keep_raw {
                Raw::Nothing
            } else {
                Raw::Unwanted(false)
            },
            ended: Worst::new(["completed", "interrupted", "failed"]),
        }
    }

    fn add(&mut self, runner: &str, phase: &document::Phase<'_>, histograms: &mut DecodedIter<'_>) {
        self.runners += 1;
        self.earliest_unix_us = self.earliest_unix_us.min(phase.start_unix_us);
        self.latest_unix_us = self.latest_unix_us.max(phase.start_unix_us);
        let skew = metric(&phase.metrics, START_SKEW).map_or(0, nanos);
        self.inner_skew_ns = self.inner_skew_ns.max(skew);
        self.spans.add(phase.start_unix_us, phase.length_ns);
        let longest = metric(&phase.metrics, LONGEST).map(nanos);
        self.longest_ns = self.longest_ns.max(longest.unwrap_or(phase.length_ns));
        self.settings.add(&phase.settings);
        self.counters.add(&phase.counters);
        self.metrics.add(runner, &phase.metrics);
        let places = add_series(&mut self.series, &phase.series, histograms);
        self.raw.add(phase.raw.as_ref(), &places);
        self.ended.add(runner, phase.ended.as_str());
    }

    fn absorb(&mut self, other: Self) {
        self.runners += other.runners;
        self.earliest_unix_us = self.earliest_unix_us.min(other.earliest_unix_us);
        self.latest_unix_us = self.latest_unix_us.max(other.latest_unix_us);
        self.inner_skew_ns = self.inner_skew_ns.max(other.inner_skew_ns);
        self.spans.absorb(&other.spans);
        self.longest_ns = self.longest_ns.max(other.longest_ns);
        self.settings.absorb(&other.settings);
        self.counters.absorb(&other.counters);
        self.metrics.absorb(other.metrics);
        let places = absorb_series(&mut self.series, other.series);
        self.raw.absorb(other.raw, &places);
        self.ended.absorb(&other.ended);
    }
}

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

/// A distribution of all runners.
#[derive(Clone, Debug)]
pub(crate) struct DistributionSum {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) times: TimesSum,
    pub(crate) missing: u64,
}

impl DistributionSum {
    fn new(one: &document::Distribution<'_>) -> Self {
        Self {
            name: one.name.to_owned(),
            labels: own_labels(&one.labels),
            times: TimesSum::default(),
            missing: 0,
        }
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
    fn add(&mut self, times: &document::Histogram<'_>, counts: &Sparse) {
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

    fn absorb(&mut self, other: &Self) {
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

fn same_labels(known: &Labels, labels: &Pairs<'_, Text<'_>>) -> bool {
    known.len() == labels.0.len()
        && known
            .iter()
            .zip(labels.iter())
            .all(|(known, (key, value))| known.0 == key && known.1 == value.as_str())
}

/// A metric without the label of a runner.
fn metric(metrics: &[document::Metric<'_>], name: &str) -> Option<f64> {
    let found = metrics
        .iter()
        .find(|metric| metric.name.as_str() == name && metric.labels.get(RUNNER).is_none());
    found.and_then(|metric| metric.value)
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

/// FNV-1a: the same in every process and version.
fn hash(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}
