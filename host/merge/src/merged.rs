//! What merging leaves: plain data, in the words of the typed report (`achieved-rate`, not `achieved_rate`).

use hdrhistogram::Histogram;

use crate::{
    document,
    findings::Finding,
    metrics::{LONGEST, START_SKEW},
    series::{Named, SeriesSum, TimesSum},
    sum::{DistributionSum, Line, PhaseSum, Sum},
};

/// Names and values, in order.
pub type Labels = Vec<(String, String)>;

/// All documents together.
#[derive(Debug)]
pub struct Merged {
    /// Of the merged run: made from those of its parts, the same whatever their order.
    pub run_id: String,
    /// What the user called the run.
    pub description: String,
    /// The user's labels; where they differ, the different values.
    pub labels: Labels,
    /// Facts about machines and targets; where they differ, the different values.
    pub environment: Labels,
    /// The target; empty when there were several.
    pub server: String,
    /// Every plugin that took part.
    pub plugins: Vec<Plugin>,
    /// The earliest start, microseconds since 1970.
    pub start_unix_us: u64,
    /// For how long at least one runner was at work.
    pub length_ns: u64,
    /// The stages, in order.
    pub phases: Vec<Phase>,
    /// All phases together.
    pub overall: Series,
    /// All phases together, by kind of request.
    pub series: Vec<Series>,
    /// Numbers about the whole.
    pub metrics: Vec<Metric>,
    /// Times of things that are no requests.
    pub distributions: Vec<Distribution>,
    /// Limits that the documents were judged by, as they were written; judge them anew.
    pub thresholds: Vec<String>,
    /// The worst of the runners' verdicts; `suspect` at best when one is missing.
    pub verdict: String,
    /// What is to be read: first about runners that are missing, then about merging, then what runners say.
    pub findings: Vec<Finding>,
    /// The worst of how runs ended.
    pub ended: String,
    /// A line for each document, in the order they came.
    pub runners: Vec<RunnerLine>,
    /// What each second measured; empty unless every document has it.
    pub intervals: Vec<Interval>,
}

/// One runner's own numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct RunnerLine {
    /// As the caller named it.
    pub name: String,
    /// Id of its run.
    pub run_id: String,
    /// Behind the earliest start of all.
    pub start_offset_ns: u64,
    /// Its phases together.
    pub length_ns: u64,
    /// Requests sent.
    pub sent: u64,
    /// Requests failed.
    pub failed: u64,
    /// Its own p99 of response time; none when nothing succeeded.
    pub p99_ns: Option<u64>,
    /// Its verdict.
    pub verdict: String,
    /// How it ended.
    pub ended: String,
}

impl RunnerLine {
    /// Requests sent a second.
    #[must_use]
    pub fn achieved_rate(&self) -> f64 {
        per_second(self.sent, self.length_ns)
    }
}

/// A plugin that took part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Digest of the component.
    pub sha256: String,
    /// The world it was used as.
    pub world: String,
}

impl Plugin {
    pub(crate) fn of(plugin: &document::Plugin<'_>) -> Self {
        Self {
            name: plugin.name.to_owned(),
            version: plugin.version.to_owned(),
            sha256: plugin.sha256.to_owned(),
            world: plugin.world.to_owned(),
        }
    }

    pub(crate) fn is(&self, plugin: &document::Plugin<'_>) -> bool {
        self.sha256 == plugin.sha256.as_str()
            && self.name == plugin.name.as_str()
            && self.version == plugin.version.as_str()
            && self.world == plugin.world.as_str()
    }
}

/// One stage of all runners.
#[derive(Debug)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// The earliest start, microseconds since 1970.
    pub start_unix_us: u64,
    /// For how long at least one runner was in it.
    pub length_ns: u64,
    /// What was asked for: of all runners together where that adds up.
    pub settings: Labels,
    /// All series together.
    pub overall: Series,
    /// By kind of request.
    pub series: Vec<Series>,
    /// Counts around the requests.
    pub counters: Vec<(String, u64)>,
    /// Numbers that are neither latencies nor counts.
    pub metrics: Vec<Metric>,
    /// Every exchange; only if every document has them.
    pub raw: Option<Samples>,
    /// The worst of how it ended.
    pub ended: String,
}

/// One kind of request.
#[derive(Debug)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Requests sent.
    pub sent: u64,
    /// Answered well.
    pub succeeded: u64,
    /// Failed.
    pub failed: u64,
    /// Bytes of bodies.
    pub received_bytes: u64,
    /// Failures by class.
    pub errors: Vec<(String, u64)>,
    /// Other counts.
    pub counters: Vec<(String, u64)>,
    /// From the intended send.
    pub response_time: Times,
    /// From the actual send.
    pub service_time: Times,
}

/// A distribution of times.
#[derive(Debug)]
pub struct Times {
    /// Empty although `count` is not, when values came without histograms (in intervals).
    pub histogram: Histogram<u64>,
    /// How many.
    pub count: u64,
    /// The smallest, as the documents say it.
    pub min_ns: u64,
    /// The greatest, as the documents say it.
    pub max_ns: u64,
    /// The mean, from those of the documents.
    pub mean_ns: f64,
}

/// A number.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Base unit.
    pub unit: String,
    /// Its labels; `runner` names whose it is.
    pub labels: Labels,
}

/// How long something took that is no request.
#[derive(Debug)]
pub struct Distribution {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// The times.
    pub times: Times,
    /// Objects that never came that far.
    pub missing: u64,
}

/// Every exchange, as columns of equal length, in the order they ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// Index into the phase's series.
    pub series: Vec<u32>,
    /// Intended send.
    pub intended_unix_us: Vec<u64>,
    /// From the intended send.
    pub response_ns: Vec<u64>,
    /// From the actual send.
    pub service_ns: Vec<u64>,
    /// 0, or 1 + index into `failures`.
    pub failure: Vec<u32>,
    /// The distinct failures.
    pub failures: Vec<FailedExchange>,
}

/// What one kind of failure said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedExchange {
    /// Its class.
    pub class: String,
    /// HTTP status, 0 without one.
    pub status: u32,
    /// What was said.
    pub message: String,
}

/// What one second measured.
#[derive(Debug)]
pub struct Interval {
    /// Its phase.
    pub phase: String,
    /// From 0, over the run.
    pub index: u32,
    /// The earliest start.
    pub start_unix_us: u64,
    /// The longest length.
    pub length_ns: u64,
    /// Counts of the phase within it.
    pub counters: Vec<(String, u64)>,
    /// By kind of request.
    pub series: Vec<Series>,
}

/// Names of open sets as the typed report has them.
fn kebab(name: &str) -> String {
    name.replace('_', "-")
}

pub(crate) fn kebab_keys<V>(pairs: Vec<(String, V)>) -> Vec<(String, V)> {
    pairs
        .into_iter()
        .map(|(key, value)| (kebab(&key), value))
        .collect()
}

fn per_second(count: u64, length_ns: u64) -> f64 {
    if length_ns == 0 {
        0.0
    } else {
        count as f64 / (length_ns as f64 / 1e9)
    }
}

fn number(name: &str, value: f64, unit: &str) -> Metric {
    Metric {
        name: kebab(name),
        value,
        unit: unit.to_owned(),
        labels: Labels::new(),
    }
}

/// The sum as a result. `run_id` if the caller has one.
pub(crate) fn merged(
    sum: Sum,
    run_id: Option<String>,
    mut findings: Vec<Finding>,
    is_incomplete: bool,
) -> Merged {
    let runners = sum.documents;
    let mut all: Vec<SeriesSum> = Vec::new();
    for phase in &sum.phases {
        crate::series::absorb_series(&mut all, phase.series.clone());
    }
    let whole = overall(&all);
    let names: Vec<String> = sum.phases.iter().map(|phase| phase.name.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();

    findings.extend(notes(&sum));
    findings.extend(sum.notes.sentences(0));
    findings.extend(sum.findings.sentences(runners));

    let skew_ns = sum.phases.first().map(skew_ns);
    let earliest = sum.runners.iter().map(|line| line.start_unix_us).min();
    let mut phases: Vec<Phase> = sum.phases.into_iter().map(phase).collect();
    let of_phases: u64 = phases.iter().map(|phase| phase.length_ns).sum();
    let length_ns = if sum.is_phases_only && !phases.is_empty() {
        of_phases
    } else {
        sum.spans.length_ns()
    };
    let mut metrics = Vec::new();
    if !phases.is_empty() {
        metrics.push(number(
            "achieved_rate",
            per_second(whole.sent, of_phases),
            "requests-per-second",
        ));
        metrics.push(number(
            "received_rate",
            per_second(whole.received_bytes, of_phases),
            "bytes-per-second",
        ));
    }
    metrics.push(number("runners", runners as f64, "count"));
    if let Some(skew_ns) = skew_ns {
        metrics.push(number(START_SKEW, skew_ns as f64 / 1e9, "seconds"));
    }
    metrics.push(number(LONGEST, sum.longest_ns as f64 / 1e9, "seconds"));
    metrics.extend(kebab_metrics(sum.metrics.merged(runners)));
    for phase in &mut phases {
        phase.metrics.shrink_to_fit();
    }
    let verdict = match sum.verdict.word() {
        "certified" if is_incomplete => "suspect",
        word => word,
    };
    Merged {
        run_id: run_id.unwrap_or_else(|| {
            let seconds = sum.start_unix_us / 1_000_000;
            format!("m{seconds:x}-{:012x}", sum.runs_hash & 0xffff_ffff_ffff)
        }),
        description: sum.description.text(),
        labels: sum.labels.texts(),
        environment: kebab_keys(sum.environment.texts()),
        server: sum.servers.only().unwrap_or_default().to_owned(),
        plugins: sum.plugins,
        start_unix_us: sum.start_unix_us,
        length_ns,
        overall: series(&whole),
        series: all.iter().map(series).collect(),
        metrics,
        distributions: sum.distributions.iter().map(distribution).collect(),
        thresholds: sum.thresholds,
        verdict: verdict.to_owned(),
        findings,
        ended: sum.ended.word().to_owned(),
        runners: sum
            .runners
            .into_iter()
            .map(|line| runner(line, earliest.unwrap_or_default()))
            .collect(),
        intervals: sum.intervals.merged(&names),
        phases,
    }
}

/// What merging has to say of what it found.
fn notes(sum: &Sum) -> Vec<Finding> {
    let mut notes = Vec::new();
    let mut note = |severity: &str, code: &str, message: String| {
        notes.push(Finding {
            severity: severity.to_owned(),
            code: format!("merge/{code}"),
            message,
        });
    };
    let several = sum.documents > 1;
    if let (true, Some(who)) = (several, sum.verdict.who()) {
        note(
            "info",
            "verdict",
            format!("the verdict `{}` is that of {who}", sum.verdict.word()),
        );
    }
    if let (true, Some(who)) = (several, sum.ended.who()) {
        note(
            "warning",
            "ended",
            format!(
                "{}: {who}; what was measured until then is counted",
                sum.ended.word()
            ),
        );
    }
    if sum.servers.only().is_none() && several {
        note(
            "info",
            "servers",
            format!("the reports are of several servers: {}", sum.servers.text()),
        );
    }
    if sum.versions.only().is_none() && several {
        note(
            "info",
            "host-versions",
            format!(
                "the reports were measured by several versions of kperf-host: {}",
                sum.versions.text()
            ),
        );
    }
    if sum
        .phases
        .first()
        .is_some_and(|phase| !phase.spans.is_one())
    {
        note(
            "info",
            "apart",
            "the runs did not all overlap; lengths and rates leave out the time in which none was at work".to_owned(),
        );
    }
    if sum.objects > 0 {
        note(
            "info",
            "objects",
            format!(
                "{} followed objects stand in the single reports only; their times are merged",
                sum.objects
            ),
        );
    }
    if sum.phases.iter().any(|phase| phase.raw.is_unwanted()) {
        note(
            "info",
            "raw-data",
            "raw data of the reports is left out; it is merged with --raw-data".to_owned(),
        );
    }
    if sum.phases.iter().any(|phase| phase.raw.is_dropped()) {
        note(
            "warning",
            "raw-data",
            "raw data is left out: some reports have none, and a part of it would look like all of it".to_owned(),
        );
    }
    if sum.intervals.is_dropped() {
        note(
            "info",
            "intervals",
            "intervals are left out: some reports have none".to_owned(),
        );
    }
    if sum.intervals.left_out > 0 {
        note(
            "info",
            "intervals",
            format!(
                "{} intervals of single reports are not in the merged ones",
                sum.intervals.left_out
            ),
        );
    }
    let left_out = sum.metrics.left_out
        + sum
            .phases
            .iter()
            .map(|phase| phase.metrics.left_out)
            .sum::<u64>();
    if left_out > 0 {
        note(
            "info",
            "metrics",
            format!("{left_out} values of metrics are left out: too many different ones"),
        );
    }
    notes
}

fn skew_ns(phase: &PhaseSum) -> u64 {
    let own = phase.latest_unix_us.saturating_sub(phase.earliest_unix_us);
    // What was merged before was apart by itself; between such documents there is no skew to speak of.
    if phase.inner_skew_ns > 0 && !phase.spans.is_one() {
        return phase.inner_skew_ns;
    }
    phase.inner_skew_ns.max(own.saturating_mul(1_000))
}

fn overall(all: &[SeriesSum]) -> SeriesSum {
    let mut overall = SeriesSum::new("overall".to_owned(), Labels::new());
    for series in all {
        overall.absorb(series);
    }
    overall
}

fn phase(sum: PhaseSum) -> Phase {
    let whole = overall(&sum.series);
    let length_ns = sum.spans.length_ns();
    let skew_ns = skew_ns(&sum);
    let sent = sum.counters.get("sent").unwrap_or(whole.sent);
    let cpu = sum.metrics.sum("cpu");
    let mut metrics = vec![number(
        "achieved_rate",
        per_second(sent, length_ns),
        "requests-per-second",
    )];
    if let Some(cpu) = cpu {
        let each = if sent == 0 { 0.0 } else { cpu / sent as f64 };
        metrics.push(number("cpu_per_request", each, "seconds"));
    }
    metrics.push(number(START_SKEW, skew_ns as f64 / 1e9, "seconds"));
    metrics.push(number(LONGEST, sum.longest_ns as f64 / 1e9, "seconds"));
    metrics.extend(kebab_metrics(sum.metrics.merged(sum.runners)));
    Phase {
        name: sum.name,
        start_unix_us: sum.earliest_unix_us,
        length_ns,
        settings: kebab_keys(sum.settings.texts()),
        overall: series(&whole),
        series: sum.series.iter().map(series).collect(),
        counters: kebab_keys(sum.counters.into_pairs()),
        metrics,
        raw: sum.raw.samples(),
        ended: sum.ended.word().to_owned(),
    }
}

fn kebab_metrics(metrics: Vec<Metric>) -> impl Iterator<Item = Metric> {
    metrics.into_iter().map(|mut metric| {
        metric.name = kebab(&metric.name);
        metric
    })
}

pub(crate) fn series(sum: &SeriesSum) -> Series {
    let pairs = |named: &Named| named.clone().into_pairs();
    Series {
        name: sum.name.clone(),
        labels: sum.labels.clone(),
        sent: sum.sent,
        succeeded: sum.succeeded,
        failed: sum.failed,
        received_bytes: sum.received_bytes,
        errors: pairs(&sum.errors),
        counters: kebab_keys(pairs(&sum.counters)),
        response_time: TimesSum::merged(&sum.response),
        service_time: TimesSum::merged(&sum.service),
    }
}

fn distribution(sum: &DistributionSum) -> Distribution {
    Distribution {
        name: sum.name.clone(),
        labels: sum.labels.clone(),
        times: sum.times.merged(),
        missing: sum.missing,
    }
}

fn runner(line: Line, earliest_unix_us: u64) -> RunnerLine {
    let offset_us = line.start_unix_us.saturating_sub(earliest_unix_us);
    RunnerLine {
        name: line.name,
        run_id: line.run_id,
        start_offset_ns: offset_us.saturating_mul(1_000),
        length_ns: line.length_ns,
        sent: line.sent,
        failed: line.failed,
        p99_ns: line.p99_ns,
        verdict: line.verdict,
        ended: line.ended,
    }
}
