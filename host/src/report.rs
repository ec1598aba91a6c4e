//! Builds the typed report from what the engine measured.
//!
//! The report's types are those of the WIT package `kperf:report`: what an exporter gets, what the
//! terminal summary prints and what the `json` exporter writes are one and the same document.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kperf_load::{
    measure::{self, Level, Severity, Verdict},
    result::{Counters, Ended, Interval, PhaseResult, Samples, Series, counter},
};
use kperf_runtime::report as doc;

use crate::threshold::{self, ThresholdSpec};

/// The quantiles every exporter is given; the WIT names them.
const QUANTILES: [f64; 9] = [0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0];

/// A phase with what was asked for and what came out.
#[derive(Debug)]
pub struct MeasuredPhase {
    /// What the engine measured.
    pub result: PhaseResult,
    /// What was asked for, by name.
    pub settings: Vec<(String, String)>,
    /// What the engine says of itself.
    pub verdict: Verdict,
    /// Numbers of a phase that others measured, in place of those of this process's threads.
    pub metrics: Option<Vec<doc::Metric>>,
}

impl MeasuredPhase {
    /// Whether it is a load, rather than changes that a benchmark made.
    #[must_use]
    pub fn is_load(&self) -> bool {
        !self
            .settings
            .iter()
            .any(|(name, value)| name == "kind" && value == "bulk")
    }
}

/// Everything about a run that is not a measurement.
#[derive(Clone, Debug)]
pub struct RunFacts {
    /// Unique name of the run.
    pub run_id: String,
    /// Free text of the user.
    pub description: String,
    /// The user's labels.
    pub labels: Vec<(String, String)>,
    /// Scheme, host, port and path prefix of the server.
    pub server: String,
    /// Machine and target by name.
    pub environment: Vec<(String, String)>,
    /// Plugins of the run.
    pub plugins: Vec<doc::PluginUse>,
    /// Wall clock at the start.
    pub start: SystemTime,
}

/// What a run found beside its phases: a benchmark's results.
#[derive(Debug, Default)]
pub struct Results {
    /// Numbers.
    pub metrics: Vec<doc::Metric>,
    /// Distributions of times.
    pub distributions: Vec<doc::Distribution>,
    /// Objects that were followed.
    pub objects: Vec<doc::ObjectTable>,
    /// What is to be read.
    pub findings: Vec<doc::Finding>,
    /// How long it took; none = as long as its phases together.
    pub length: Option<Duration>,
    /// How it ended, if that is not for its phases to say.
    pub ended: Option<Ended>,
}

/// Builds the whole report.
#[must_use]
pub fn summary(
    facts: &RunFacts,
    phases: &[MeasuredPhase],
    results: Results,
    thresholds: &[ThresholdSpec],
) -> doc::Summary {
    let merged = merge_series(phases.iter().flat_map(|phase| &phase.result.series));
    let of_phases: Duration = phases.iter().map(|phase| phase.result.length).sum();
    let whole = results.length.unwrap_or(of_phases);
    let overall = overall(&merged);
    let mut findings = results.findings;
    findings.extend(all_refused(&overall));
    let mut level = Level::Certified;
    for phase in phases {
        level = level.max(phase.verdict.level);
        // A failed source is said below, with its own code.
        let judged = phase
            .verdict
            .findings
            .iter()
            .filter(|finding| finding.code != "source-failed");
        findings.extend(judged.map(|finding| {
            doc::Finding {
                severity: match finding.severity {
                    Severity::Note => "info",
                    Severity::Warning => "warning",
                    Severity::Error => "error",
                }
                .to_owned(),
                code: format!("self-check/{}", finding.code),
                message: if phases.len() == 1 {
                    finding.message.clone()
                } else {
                    format!("{}: {}", phase.result.name, finding.message)
                },
            }
        }));
        if let Ended::Failed(error) = &phase.result.ended {
            findings.push(doc::Finding {
                severity: "error".to_owned(),
                code: format!("plugin/{}", error.code),
                message: error.message.clone(),
            });
        }
    }
    let ended = results.ended.as_ref().unwrap_or_else(|| {
        phases
            .iter()
            .map(|phase| &phase.result.ended)
            .find(|ended| **ended != Ended::Completed)
            .unwrap_or(&Ended::Completed)
    });
    let mut metrics = if phases.is_empty() {
        Vec::new()
    } else {
        rates(phases, of_phases)
    };
    metrics.extend(results.metrics);
    let mut summary = doc::Summary {
        run_id: facts.run_id.clone(),
        host_version: env!("CARGO_PKG_VERSION").to_owned(),
        description: facts.description.clone(),
        labels: labels(&facts.labels),
        start_unix_us: unix_us(facts.start),
        length_ns: nanos(whole),
        server: facts.server.clone(),
        environment: labels(&facts.environment),
        plugins: facts.plugins.clone(),
        overall: series(&overall),
        series: merged.iter().map(series).collect(),
        metrics,
        distributions: results.distributions,
        objects: results.objects,
        thresholds: Vec::new(),
        phases: phases.iter().map(phase).collect(),
        verdict: level.as_str().to_owned(),
        findings,
        ended: ended_text(ended).to_owned(),
    };
    summary.thresholds = threshold::evaluate(&summary, thresholds);
    summary
}

/// A distribution of times. Its quantiles are exact: nearest rank over all values.
#[must_use]
pub fn distribution(
    name: String,
    labels: Vec<doc::Label>,
    mut values_ns: Vec<u64>,
    missing: u64,
) -> doc::Distribution {
    values_ns.sort_unstable();
    let mut recorded = measure::time_histogram();
    for value in &values_ns {
        recorded.saturating_record(*value);
    }
    let mut times = histogram(&recorded);
    let rank = |q: f64| {
        let rank = (q * values_ns.len() as f64).ceil() as usize;
        values_ns.get(rank.saturating_sub(1)).copied()
    };
    for quantile in &mut times.quantiles {
        quantile.value_ns = rank(quantile.q).unwrap_or(quantile.value_ns);
    }
    if let (Some(min), Some(max)) = (values_ns.first(), values_ns.last()) {
        (times.min_ns, times.max_ns) = (*min, *max);
        times.mean_ns =
            values_ns.iter().map(|value| *value as f64).sum::<f64>() / values_ns.len() as f64;
    }
    doc::Distribution {
        name,
        labels,
        times,
        missing,
    }
}

/// Failed requests are results, but when the server lets nobody in, nothing of it was measured.
fn all_refused(overall: &Series) -> Option<doc::Finding> {
    if overall.succeeded > 0 {
        return None;
    }
    let mut classes = overall.errors.iter().filter(|(_, count)| **count > 0);
    let (Some((class, _)), None) = (classes.next(), classes.next()) else {
        return None;
    };
    let (code, message) = match class.as_str() {
        "http/401" => (
            "unauthorized",
            "every request was refused with 401: check the credentials",
        ),
        "http/403" => (
            "forbidden",
            "every request was refused with 403: check what the user of the credentials is allowed to do",
        ),
        _ => return None,
    };
    Some(doc::Finding {
        severity: "warning".to_owned(),
        code: format!("target/{code}"),
        message: message.to_owned(),
    })
}

/// One interval as exporters get it. `index` counts over the whole run.
#[must_use]
pub fn interval(measured: &Interval, index: u32) -> doc::Interval {
    let mut counters = counters(&measured.counters);
    counters.push(doc::Counter {
        name: "in-flight".to_owned(),
        value: measured.in_flight,
    });
    doc::Interval {
        phase: measured.phase.clone(),
        index,
        start_unix_us: unix_us(measured.start),
        length_ns: nanos(measured.length),
        series: measured.series.iter().map(series).collect(),
        counters,
    }
}

fn phase(phase: &MeasuredPhase) -> doc::Phase {
    let result = &phase.result;
    let (raw, failures) = result.raw.as_ref().map_or((None, Vec::new()), samples);
    doc::Phase {
        name: result.name.clone(),
        start_unix_us: unix_us(result.start),
        length_ns: nanos(result.length),
        settings: labels(&phase.settings),
        overall: series(&overall(&result.series)),
        series: result.series.iter().map(series).collect(),
        counters: counters(&result.counters),
        metrics: phase
            .metrics
            .clone()
            .unwrap_or_else(|| phase_metrics(result)),
        raw,
        failures,
        ended: ended_text(&result.ended).to_owned(),
    }
}

/// Merges series of the same name; order of first appearance.
fn merge_series<'a>(all: impl Iterator<Item = &'a Series>) -> Vec<Series> {
    let mut merged: Vec<Series> = Vec::new();
    for series in all {
        match merged.iter_mut().find(|known| known.name == series.name) {
            Some(known) => known.merge(series),
            None => merged.push(series.clone()),
        }
    }
    merged
}

fn overall(all: &[Series]) -> Series {
    let mut overall = Series::empty("overall");
    for series in all {
        overall.merge(series);
    }
    overall
}

fn series(series: &Series) -> doc::Series {
    doc::Series {
        name: series.name.clone(),
        labels: Vec::new(),
        response_time: histogram(&series.response_time),
        service_time: histogram(&series.service_time),
        sent: series.sent,
        succeeded: series.succeeded,
        failed: series.failed,
        received_bytes: series.received_bytes,
        errors: series
            .errors
            .iter()
            .map(|(name, value)| doc::Counter {
                name: name.clone(),
                value: *value,
            })
            .collect(),
        counters: counters(&series.counters),
    }
}

/// A histogram with its quantiles, ready to be written.
#[must_use]
pub fn histogram(measured: &hdrhistogram::Histogram<u64>) -> doc::Histogram {
    let count = measured.len();
    if count == 0 {
        return doc::Histogram {
            count: 0,
            min_ns: 0,
            max_ns: 0,
            mean_ns: 0.0,
            stddev_ns: 0.0,
            quantiles: Vec::new(),
            hdr_v2_deflate: Vec::new(),
        };
    }
    doc::Histogram {
        count,
        min_ns: measured.min(),
        max_ns: measured.max(),
        mean_ns: measured.mean(),
        stddev_ns: measured.stdev(),
        quantiles: QUANTILES
            .iter()
            .filter_map(|&q| {
                let value_ns = measure::quantile(measured, q)?;
                Some(doc::Quantile { q, value_ns })
            })
            .collect(),
        hdr_v2_deflate: measure::encode(measured),
    }
}

fn counters(counters: &Counters) -> Vec<doc::Counter> {
    counters
        .iter()
        .map(|(name, value)| doc::Counter {
            name: (*name).to_owned(),
            value: *value,
        })
        .collect()
}

fn metric(name: &str, value: f64, unit: &str) -> doc::Metric {
    doc::Metric {
        name: name.to_owned(),
        value,
        unit: unit.to_owned(),
        labels: Vec::new(),
    }
}

fn sent(result: &PhaseResult) -> u64 {
    result.counters.get(counter::SENT).copied().unwrap_or(0)
}

fn per_second(count: u64, length: Duration) -> f64 {
    if length.is_zero() {
        0.0
    } else {
        count as f64 / length.as_secs_f64()
    }
}

fn rates(phases: &[MeasuredPhase], whole: Duration) -> Vec<doc::Metric> {
    let sent_in_all = phases.iter().map(|phase| sent(&phase.result)).sum();
    let received = phases
        .iter()
        .flat_map(|phase| &phase.result.series)
        .map(|series| series.received_bytes)
        .sum();
    vec![
        metric(
            "achieved-rate",
            per_second(sent_in_all, whole),
            "requests-per-second",
        ),
        metric(
            "received-rate",
            per_second(received, whole),
            "bytes-per-second",
        ),
    ]
}

fn phase_metrics(result: &PhaseResult) -> Vec<doc::Metric> {
    let sent = sent(result);
    let cpu: Duration = result
        .shards
        .iter()
        .map(|shard| shard.cpu_user + shard.cpu_system)
        .sum();
    let mut lag = measure::time_histogram();
    for shard in &result.shards {
        // The bounds are the same by construction; saturating addition cannot fail on them.
        lag.add(&shard.send_lag).ok();
    }
    let mut metrics = vec![
        metric(
            "achieved-rate",
            per_second(sent, result.length),
            "requests-per-second",
        ),
        metric("cpu", cpu.as_secs_f64(), "seconds"),
        metric(
            "cpu-per-request",
            if sent == 0 {
                0.0
            } else {
                cpu.as_secs_f64() / sent as f64
            },
            "seconds",
        ),
    ];
    for shard in &result.shards {
        let busy = (shard.cpu_user + shard.cpu_system).as_secs_f64();
        let mut share = metric(
            "shard-cpu",
            busy / shard.wall.as_secs_f64().max(1e-9),
            "ratio",
        );
        share.labels.push(doc::Label {
            key: "shard".to_owned(),
            value: shard.shard.to_string(),
        });
        metrics.push(share);
    }
    for (name, q) in [
        ("send-lag-p50", 0.5),
        ("send-lag-p99", 0.99),
        ("send-lag-max", 1.0),
    ] {
        if let Some(ns) = measure::quantile(&lag, q) {
            metrics.push(metric(name, ns as f64 / 1e9, "seconds"));
        }
    }
    metrics
}

fn samples(raw: &Samples) -> (Option<doc::Samples>, Vec<doc::FailedExchange>) {
    let samples = doc::Samples {
        series: raw.series.clone(),
        intended_unix_us: raw.intended.iter().map(|at| unix_us(*at)).collect(),
        response_ns: raw.response_ns.clone(),
        service_ns: raw.service_ns.clone(),
        failure: raw.failure.clone(),
    };
    let failures = raw
        .failures
        .iter()
        .map(|failure| doc::FailedExchange {
            class: failure.class.to_owned(),
            status: u32::from(failure.status),
            message: failure.message.clone(),
        })
        .collect();
    (Some(samples), failures)
}

fn ended_text(ended: &Ended) -> &'static str {
    match ended {
        Ended::Completed => "completed",
        Ended::Interrupted => "interrupted",
        Ended::Failed(_) => "failed",
    }
}

/// Labels from pairs.
#[must_use]
pub fn labels(pairs: &[(String, String)]) -> Vec<doc::Label> {
    pairs
        .iter()
        .map(|(key, value)| doc::Label {
            key: key.clone(),
            value: value.clone(),
        })
        .collect()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn unix_us(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_of_everything_are_a_finding() {
        let refused = |succeeded, errors: &[(&str, u64)]| {
            let mut overall = Series::empty("overall");
            overall.succeeded = succeeded;
            overall.errors = errors
                .iter()
                .map(|(class, count)| ((*class).to_owned(), *count))
                .collect();
            all_refused(&overall).map(|finding| finding.code)
        };
        assert_eq!(
            refused(0, &[("http/401", 20)]).as_deref(),
            Some("target/unauthorized")
        );
        assert_eq!(
            refused(0, &[("http/403", 1)]).as_deref(),
            Some("target/forbidden")
        );
        assert_eq!(refused(1, &[("http/401", 20)]), None);
        assert_eq!(refused(0, &[("http/401", 20), ("http/429", 1)]), None);
        assert_eq!(refused(0, &[("http/404", 20)]), None);
        assert_eq!(refused(0, &[]), None);
    }
}
