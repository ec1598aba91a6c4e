//! kperf's report and how it is made from ours.
//!
//! Enters: the typed report. Leaves: `perSpecResults` and `aggregated` with kperf's field names, order, types and
//! omissions. Latencies are *service time* (from the actual send), because that is what kperf measures.
//!
//! Where kperf's numbers are known to be wrong or missing, ours are right instead:
//! * `total` is the configured total and, in a run by duration, the number of requests sent (kperf writes 0); of
//!   merged runners it is what they really sent (kperf writes their successes);
//! * bytes received by `watchList` (kperf writes 0) and the bodies of error answers are counted.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use kube_requests::go_duration;
use serde::Serialize;

use crate::{
    error_stats::{ErrorStats, Style, error_stats},
    percentiles::{Latencies, Pairs},
    wit,
};

/// What `kperf runner run` prints since v0.3.5.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Envelope {
    pub(crate) per_spec_results: Vec<Report>,
    pub(crate) aggregated: Report,
}

/// What earlier versions printed, and what both parts of the envelope are made of.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    total: u64,
    duration: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ResponseError>,
    #[serde(skip_serializing_if = "ErrorStats::is_omitted")]
    error_stats: ErrorStats,
    total_received_bytes: u64,
    #[serde(rename = "latenciesByURL", skip_serializing_if = "BTreeMap::is_empty")]
    latencies_by_url: BTreeMap<String, Vec<f64>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percentile_latencies: Pairs,
    #[serde(
        rename = "percentileLatenciesByURL",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    percentile_latencies_by_url: BTreeMap<String, Pairs>,
}

#[derive(Clone, Serialize)]
struct ResponseError {
    method: String,
    url: String,
    /// When the error was seen.
    timestamp: String,
    /// Seconds.
    duration: f64,
    #[serde(rename = "type")]
    class: String,
    code: u32,
    message: String,
}

/// One report for each phase and one for all of them.
pub(crate) fn envelope(whole: &wit::Summary, style: Style) -> Envelope {
    let server = whole.server.trim_end_matches('/');
    Envelope {
        per_spec_results: whole
            .phases
            .iter()
            .map(|phase| phase_report(phase, server, style))
            .collect(),
        aggregated: aggregated(whole, server, style),
    }
}

/// The single report of older versions: of the only phase, or of all of them.
pub(crate) fn flat(whole: &wit::Summary, style: Style) -> Report {
    let server = whole.server.trim_end_matches('/');
    match whole.phases.as_slice() {
        [only] => phase_report(only, server, style),
        _ => aggregated(whole, server, style),
    }
}

/// The single report of runner groups. Pipelines compute the share of failures from its total.
pub(crate) fn group(whole: &wit::Summary, style: Style) -> Report {
    Report {
        total: whole.overall.succeeded,
        latencies_by_url: BTreeMap::new(),
        ..flat(whole, style)
    }
}

fn phase_report(phase: &wit::Phase, server: &str, style: Style) -> Report {
    let raw = raw_latencies(std::slice::from_ref(phase), server);
    Report {
        total: total(phase),
        duration: go_duration(
            longest(&phase.metrics).unwrap_or(Duration::from_nanos(phase.length_ns)),
        ),
        errors: errors(phase, server),
        error_stats: error_stats(&phase.overall.errors, style),
        total_received_bytes: phase.overall.received_bytes,
        percentile_latencies: overall_percentiles(raw.as_ref(), &phase.overall),
        percentile_latencies_by_url: percentiles_by_url(raw.as_ref(), &phase.series, server),
        latencies_by_url: seconds_by_url(raw),
    }
}

fn aggregated(whole: &wit::Summary, server: &str, style: Style) -> Report {
    let raw = raw_latencies(&whole.phases, server);
    let length_ns = whole
        .phases
        .iter()
        .map(|phase| u128::from(phase.length_ns))
        .sum::<u128>();
    Report {
        total: whole.phases.iter().map(total).fold(0, u64::saturating_add),
        duration: go_duration(
            longest(&whole.metrics).unwrap_or_else(|| {
                Duration::from_nanos(u64::try_from(length_ns).unwrap_or(u64::MAX))
            }),
        ),
        errors: whole
            .phases
            .iter()
            .flat_map(|phase| errors(phase, server))
            .collect(),
        error_stats: error_stats(&whole.overall.errors, style),
        total_received_bytes: whole.overall.received_bytes,
        percentile_latencies: overall_percentiles(raw.as_ref(), &whole.overall),
        percentile_latencies_by_url: percentiles_by_url(raw.as_ref(), &whole.series, server),
        latencies_by_url: seconds_by_url(raw),
    }
}

/// What the runner took that took longest, as kperf has it for runner groups; only merged reports have it.
fn longest(metrics: &[wit::Metric]) -> Option<Duration> {
    let longest = metrics
        .iter()
        .find(|metric| metric.name == "longest-runner")?;
    Duration::try_from_secs_f64(longest.value).ok()
}

/// The configured total; without one, what was sent. Of merged runners, some may have ended early, so it is what
/// they sent.
fn total(phase: &wit::Phase) -> u64 {
    let setting = |key: &str| phase.settings.iter().find(|setting| setting.key == key);
    if setting("runners").is_some() {
        return phase.overall.sent;
    }
    match setting("total").and_then(|setting| setting.value.parse::<u64>().ok()) {
        Some(total) if total > 0 => total,
        _ => phase.overall.sent,
    }
}

/// Sorted service times in nanoseconds by key. Only when every phase brought its raw data: percentiles that are
/// exact for a part of the requests and missing the rest would be wrong without a sign of it.
fn raw_latencies(phases: &[wit::Phase], server: &str) -> Option<BTreeMap<String, Latencies>> {
    let mut by_key: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    if phases.is_empty() {
        return None;
    }
    for phase in phases {
        let raw = phase.raw.as_ref()?;
        let succeeded = raw.failure.iter().filter(|failure| **failure == 0).count();
        if (succeeded as u64) < phase.overall.succeeded {
            // Of failures alone.
            return None;
        }
        let keys: Vec<String> = phase
            .series
            .iter()
            .map(|series| key(&series.name, server))
            .collect();
        let mut columns: Vec<Vec<u64>> = vec![Vec::new(); keys.len()];
        let exchanges = raw.series.iter().zip(&raw.service_ns).zip(&raw.failure);
        for ((series, service_ns), failure) in exchanges {
            if let (0, Some(column)) = (*failure, columns.get_mut(*series as usize)) {
                column.push(*service_ns);
            }
        }
        for (key, column) in keys.into_iter().zip(columns) {
            if !column.is_empty() {
                by_key.entry(key).or_default().extend(column);
            }
        }
    }
    Some(
        by_key
            .into_iter()
            .map(|(key, values)| (key, Latencies::new(values)))
            .collect(),
    )
}

fn seconds_by_url(raw: Option<BTreeMap<String, Latencies>>) -> BTreeMap<String, Vec<f64>> {
    raw.unwrap_or_default()
        .into_iter()
        .map(|(key, latencies)| (key, latencies.seconds()))
        .collect()
}

fn overall_percentiles(raw: Option<&BTreeMap<String, Latencies>>, overall: &wit::Series) -> Pairs {
    match raw {
        Some(by_key) => Latencies::merged(by_key.values()).percentiles(),
        None => crate::percentiles::of_histogram(&overall.service_time),
    }
}

fn percentiles_by_url(
    raw: Option<&BTreeMap<String, Latencies>>,
    series: &[wit::Series],
    server: &str,
) -> BTreeMap<String, Pairs> {
    match raw {
        Some(by_key) => by_key
            .iter()
            .map(|(key, latencies)| (key.clone(), latencies.percentiles()))
            .collect(),
        None => series
            .iter()
            .filter(|one| one.service_time.count > 0)
            .map(|one| {
                (
                    key(&one.name, server),
                    crate::percentiles::of_histogram(&one.service_time),
                )
            })
            .collect(),
    }
}

fn errors(phase: &wit::Phase, server: &str) -> Vec<ResponseError> {
    let Some(raw) = &phase.raw else {
        return Vec::new();
    };
    let times = raw
        .intended_unix_us
        .iter()
        .zip(&raw.response_ns)
        .zip(&raw.service_ns);
    raw.series
        .iter()
        .zip(&raw.failure)
        .zip(times)
        .filter_map(
            |((series, failure), ((intended_unix_us, response_ns), service_ns))| {
                let failure = phase.failures.get((*failure as usize).checked_sub(1)?)?;
                let name = phase
                    .series
                    .get(*series as usize)
                    .map(|one| one.name.as_str())
                    .unwrap_or_default();
                let (method, url) = method_and_url(name, server);
                let is_http = failure.class == "http";
                Some(ResponseError {
                    method,
                    url,
                    timestamp: rfc3339_nano(*intended_unix_us, *response_ns),
                    duration: go_json::seconds(*service_ns),
                    class: failure.class.clone(),
                    code: if is_http { failure.status } else { 0 },
                    message: if is_http {
                        String::new()
                    } else {
                        failure.message.clone()
                    },
                })
            },
        )
        .collect()
}

/// The moment an exchange ended, in UTC. kperf writes its local zone; both are RFC 3339 with nanoseconds.
fn rfc3339_nano(intended_unix_us: u64, response_ns: u64) -> String {
    let ns = i128::from(intended_unix_us) * 1_000 + i128::from(response_ns);
    Timestamp::from_nanosecond(ns)
        .unwrap_or(Timestamp::MAX)
        .to_string()
}

/// `LIST /api/v1/pods?limit=1` becomes `LIST https://10.0.0.1:443/api/v1/pods?limit=1`. A name of another shape,
/// which a third-party generator may use, stays as it is.
fn key(name: &str, server: &str) -> String {
    match split(name) {
        Some((method, path)) => format!("{method} {server}{path}"),
        None => name.to_owned(),
    }
}

fn method_and_url(name: &str, server: &str) -> (String, String) {
    match split(name) {
        Some((method, path)) => (method.to_owned(), format!("{server}{path}")),
        None => (String::new(), name.to_owned()),
    }
}

fn split(name: &str) -> Option<(&str, &str)> {
    let (method, path) = name.split_once(' ')?;
    let is_method =
        !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    (is_method && path.starts_with('/')).then_some((method, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_get_the_server_and_other_names_stay() {
        let server = "https://10.0.0.1:443";
        for (name, expected) in [
            (
                "LIST /api/v1/pods?a=b",
                "LIST https://10.0.0.1:443/api/v1/pods?a=b",
            ),
            ("POD_LOG /log", "POD_LOG https://10.0.0.1:443/log"),
            ("warm up", "warm up"),
            ("list /api", "list /api"),
            ("GET https://elsewhere/", "GET https://elsewhere/"),
            ("/api", "/api"),
            (" /api", " /api"),
            ("", ""),
        ] {
            assert_eq!(key(name, server), expected);
        }
    }

    #[test]
    fn times_are_rfc3339_with_nanoseconds_as_needed() {
        assert_eq!(
            rfc3339_nano(1_700_000_000_000_001, 999),
            "2023-11-14T22:13:20.000001999Z"
        );
        assert_eq!(
            rfc3339_nano(1_700_000_000_000_000, 0),
            "2023-11-14T22:13:20Z"
        );
        assert_eq!(rfc3339_nano(u64::MAX, u64::MAX), Timestamp::MAX.to_string());
    }
}
