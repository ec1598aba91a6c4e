//! From the typed report to the document.
//!
//! Enters: what the host measured. Leaves: the same in the document's words. Nothing is computed here, only named:
//! `-` in names of open sets becomes `_`, times are written twice (RFC 3339 and number), empty histograms shrink.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::{document as doc, wit};

/// The whole document but its intervals; the whole histograms of sums only when `derived`.
///
/// # Errors
/// When a value cannot be written as JSON.
pub(crate) fn report(whole: wit::Summary, derived: bool) -> serde_json::Result<doc::Report> {
    Ok(doc::Report {
        schema: doc::SCHEMA_NAME,
        run_id: whole.run_id,
        host_version: whole.host_version,
        description: whole.description,
        labels: user_labels(whole.labels),
        start: rfc3339(whole.start_unix_us),
        start_unix_us: whole.start_unix_us,
        length_ns: whole.length_ns,
        ended: whole.ended,
        verdict: whole.verdict,
        findings: whole.findings.into_iter().map(finding).collect(),
        server: whole.server,
        environment: named(whole.environment),
        plugins: whole.plugins.into_iter().map(plugin).collect(),
        metrics: whole.metrics.into_iter().map(metric).collect(),
        distributions: whole.distributions.into_iter().map(distribution).collect(),
        objects: whole
            .objects
            .into_iter()
            .map(object_table)
            .collect::<Result<_, _>>()?,
        thresholds: whole.thresholds.into_iter().map(threshold).collect(),
        overall: series(whole.overall, derived),
        series: whole
            .series
            .into_iter()
            .map(|one| series(one, derived))
            .collect(),
        phases: whole
            .phases
            .into_iter()
            .map(|one| phase(one, derived))
            .collect::<Result<_, _>>()?,
        intervals: None,
        intervals_dropped: None,
    })
}

/// One interval; its whole histograms only when `with_histograms`.
pub(crate) fn interval(one: wit::Interval, with_histograms: bool) -> doc::Interval {
    doc::Interval {
        phase: one.phase,
        index: one.index,
        start: rfc3339(one.start_unix_us),
        start_unix_us: one.start_unix_us,
        length_ns: one.length_ns,
        counters: counters(one.counters),
        series: one
            .series
            .into_iter()
            .map(|each| series(each, with_histograms))
            .collect(),
    }
}

fn phase(one: wit::Phase, derived: bool) -> serde_json::Result<doc::Phase> {
    Ok(doc::Phase {
        name: one.name,
        start: rfc3339(one.start_unix_us),
        start_unix_us: one.start_unix_us,
        length_ns: one.length_ns,
        ended: one.ended,
        settings: named(one.settings),
        counters: counters(one.counters),
        metrics: one.metrics.into_iter().map(metric).collect(),
        overall: series(one.overall, derived),
        series: one
            .series
            .into_iter()
            .map(|each| series(each, true))
            .collect(),
        raw: one
            .raw
            .map(|samples| raw(samples, one.failures))
            .transpose()?,
    })
}

fn raw(samples: wit::Samples, failures: Vec<wit::FailedExchange>) -> serde_json::Result<doc::Raw> {
    let wit::Samples {
        series,
        intended_unix_us,
        response_ns,
        service_ns,
        failure,
    } = samples;
    Ok(doc::Raw {
        series: column(series)?,
        intended_unix_us: column(intended_unix_us)?,
        response_ns: column(response_ns)?,
        service_ns: column(service_ns)?,
        failure: column(failure)?,
        failures: failures
            .into_iter()
            .map(|one| doc::FailedExchange {
                class: one.class,
                status: one.status,
                message: one.message,
            })
            .collect(),
    })
}

/// A column stays on one line however the document is laid out: a line for each of a million numbers helps nobody.
fn column<T: Serialize>(values: Vec<T>) -> serde_json::Result<Box<RawValue>> {
    to_raw_value(&values)
}

fn series(one: wit::Series, with_histograms: bool) -> doc::Series {
    doc::Series {
        name: one.name,
        labels: user_labels(one.labels),
        sent: one.sent,
        succeeded: one.succeeded,
        failed: one.failed,
        received_bytes: one.received_bytes,
        errors: error_classes(one.errors),
        counters: counters(one.counters),
        response_time: histogram(one.response_time, with_histograms),
        service_time: histogram(one.service_time, with_histograms),
    }
}

fn histogram(one: wit::Histogram, whole: bool) -> doc::Histogram {
    let recorded = one.count > 0;
    doc::Histogram {
        count: one.count,
        min_ns: recorded.then_some(one.min_ns),
        max_ns: recorded.then_some(one.max_ns),
        mean_ns: recorded.then_some(finite(one.mean_ns)),
        stddev_ns: recorded.then_some(finite(one.stddev_ns)),
        percentiles_ns: recorded.then(|| {
            doc::Percentiles(
                one.quantiles
                    .iter()
                    .map(|each| (percentile_name(each.q), each.value_ns))
                    .collect(),
            )
        }),
        hdr_v2_deflate_base64: (recorded && whole && !one.hdr_v2_deflate.is_empty())
            .then(|| STANDARD.encode(&one.hdr_v2_deflate)),
    }
}

/// 0.999 is `p99.9`: four decimals are more than any histogram holds, and rounding hides 99.99000000000001.
fn percentile_name(q: f64) -> String {
    let text = format!("{:.4}", q * 100.0);
    format!("p{}", text.trim_end_matches('0').trim_end_matches('.'))
}

fn metric(one: wit::Metric) -> doc::Metric {
    doc::Metric {
        name: snake_case(&one.name),
        value: one.value.is_finite().then_some(one.value),
        unit: one.unit,
        labels: user_labels(one.labels),
    }
}

fn distribution(one: wit::Distribution) -> doc::Distribution {
    doc::Distribution {
        name: one.name,
        labels: user_labels(one.labels),
        times: histogram(one.times, true),
        missing: one.missing,
    }
}

/// Rows become columns; a row that lacks a stamp has 0 there, which is its word for never.
fn object_table(one: wit::ObjectTable) -> serde_json::Result<doc::ObjectTable> {
    let rows = &one.objects;
    let milestones = one.milestones.into_iter().enumerate().map(|(at, name)| {
        let stamps = |of: fn(&wit::ObjectRow) -> &[u64]| {
            let stamp = |row| of(row).get(at).copied().unwrap_or(0);
            column(rows.iter().map(stamp).collect::<Vec<u64>>())
        };
        Ok(doc::Milestone {
            name,
            received_ns: stamps(|row| &row.received_ns)?,
            api_unix_us: stamps(|row| &row.api_unix_us)?,
        })
    });
    Ok(doc::ObjectTable {
        name: one.name,
        api_version: one.api_version,
        kind: one.kind,
        namespaces: column(rows.iter().map(|row| &row.namespace).collect())?,
        names: column(rows.iter().map(|row| &row.name).collect())?,
        milestones: milestones.collect::<serde_json::Result<_>>()?,
    })
}

fn threshold(one: wit::Threshold) -> doc::Threshold {
    doc::Threshold {
        expression: one.expression,
        measured: one.measured.filter(|value| value.is_finite()),
        limit: one.limit.is_finite().then_some(one.limit),
        unit: one.unit,
        passed: one.passed,
    }
}

fn finding(one: wit::Finding) -> doc::Finding {
    doc::Finding {
        severity: one.severity,
        code: one.code,
        message: one.message,
    }
}

fn plugin(one: wit::PluginUse) -> doc::Plugin {
    doc::Plugin {
        name: one.name,
        version: one.version,
        sha256: one.sha256,
        world: one.world,
    }
}

/// Labels are the user's words: keys stay as they are. Of a repeated key the last one holds, as with flags.
fn user_labels(labels: Vec<wit::Label>) -> BTreeMap<String, String> {
    labels
        .into_iter()
        .map(|label| (label.key, label.value))
        .collect()
}

/// Names of the host's own open sets.
fn named(labels: Vec<wit::Label>) -> BTreeMap<String, String> {
    labels
        .into_iter()
        .map(|label| (snake_case(&label.key), label.value))
        .collect()
}

fn counters(list: Vec<wit::Counter>) -> BTreeMap<String, u64> {
    sum(list
        .into_iter()
        .map(|one| (snake_case(&one.name), one.value)))
}

/// Classes are texts of an error, not names: they stay as they are.
fn error_classes(list: Vec<wit::Counter>) -> BTreeMap<String, u64> {
    sum(list.into_iter().map(|one| (one.name, one.value)))
}

fn sum(named: impl Iterator<Item = (String, u64)>) -> BTreeMap<String, u64> {
    let mut map = BTreeMap::new();
    for (name, value) in named {
        let total: &mut u64 = map.entry(name).or_default();
        *total = total.saturating_add(value);
    }
    map
}

fn snake_case(name: &str) -> String {
    name.replace('-', "_")
}

fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

/// A time that RFC 3339 cannot hold becomes the last one it can (end of the year 9999); the number beside it stays.
fn rfc3339(unix_us: u64) -> String {
    let time = i64::try_from(unix_us)
        .ok()
        .and_then(|us| Timestamp::from_microsecond(us).ok());
    time.unwrap_or(Timestamp::MAX).to_string()
}
