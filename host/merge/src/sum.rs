//! Everything added up: what is kept of all documents together.
//!
//! Two things add to a sum: a document that has been checked and whose histograms have been decoded, and another sum. Neither
//! can fail, so a document is in it wholly or not at all.

use crate::{
    decoded::{Decoded, DecodedIter},
    document::{self, Document},
    facts::{Facts, Values, position},
    findings::{Findings, Worst},
    intervals::Intervals,
    merged::{Labels, Plugin},
    metrics::{LONGEST, Metrics, RUNNER, START_SKEW},
    raw::Raw,
    series::{Named, SeriesSum, TimesSum, absorb_series, add_series, own_labels, same_labels},
    settings::Settings,
    span::Spans,
};

/// Different things of one sort; later ones are left out.
pub(crate) const MOST: usize = 10_000;

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
