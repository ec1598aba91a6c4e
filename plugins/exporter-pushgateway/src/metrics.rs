//! The metrics that are pushed, and their names.
//!
//! Enters: totals and, at the end, the report. Leaves: families under the prefix `kperf_`, in base units.
//!
//! Two families never meet in one name, whatever a generator calls things: counters end in `_total`, names from open
//! sets stand behind `kperf_phase_` and `kperf_run_` and lose the suffixes that Prometheus reserves, labels from
//! outside carry the prefix `label_`. Histograms and summaries have different names, because a gateway refuses a
//! name that any group, however old, holds with another type.

use kperf_sdk::Failure;

use crate::{
    config::Shape,
    exposition::{Exposition, Labels, sanitised},
    latency::{Latency, seconds},
    totals::{PhaseTotals, SeriesTotals, Totals},
    wit,
};

/// Everything known while the run goes on.
pub(crate) fn in_progress(run_id: &str, totals: &Totals, shape: Shape) -> Exposition {
    let mut exposition = Exposition::default();
    run_state(&mut exposition, true);
    let info = Labels::new().with("run_id", run_id);
    exposition.gauge("kperf_run_info", RUN_INFO_HELP, info, 1.0);
    phases(&mut exposition, totals, shape);
    exposition
}

/// Everything known at the end.
///
/// # Errors
/// When the histogram of a distribution cannot be read.
pub(crate) fn finished(
    whole: &wit::Summary,
    totals: &Totals,
    shape: Shape,
    bounds: &[f64],
) -> Result<Exposition, Failure> {
    let mut exposition = Exposition::default();
    run_state(&mut exposition, false);
    run(&mut exposition, whole);
    phases(&mut exposition, totals, shape);
    for one in &whole.distributions {
        object_times(&mut exposition, one, shape, bounds)?;
    }
    for one in &whole.thresholds {
        threshold(&mut exposition, one);
    }
    Ok(exposition)
}

/// How long something took, over many objects. One family for all: names are a label, as those of series are.
fn object_times(
    exposition: &mut Exposition,
    one: &wit::Distribution,
    shape: Shape,
    bounds: &[f64],
) -> Result<(), Failure> {
    let labels = Labels::new().with("distribution", &one.name);
    let labels = one.labels.iter().fold(labels, |labels, label| {
        labels.with_foreign(&label.key, &label.value)
    });
    exposition.gauge(
        "kperf_objects_missing",
        "Objects that never came so far as to have a time.",
        labels.clone(),
        one.missing as f64,
    );
    let latency = Latency::read(&one.times, bounds)?;
    let help = "Times of objects, by what they took";
    distribution(exposition, "object", help, labels, &latency, shape);
    Ok(())
}

fn threshold(exposition: &mut Exposition, one: &wit::Threshold) {
    let labels = Labels::new().with("threshold", &one.expression);
    exposition.gauge(
        "kperf_threshold_passed",
        "Whether a limit set by the user was kept: 1 or 0.",
        labels.clone(),
        if one.passed { 1.0 } else { 0.0 },
    );
    let labels = labels.with("unit", &one.unit);
    let help = "The limit, in the unit of its label.";
    exposition.gauge("kperf_threshold_limit", help, labels.clone(), one.limit);
    if let Some(measured) = one.measured {
        let help = "What was measured against the limit, in the unit of its label.";
        exposition.gauge("kperf_threshold_measured", help, labels, measured);
    }
}

const RUN_INFO_HELP: &str = "What the run was; always 1.";

fn run_state(exposition: &mut Exposition, in_progress: bool) {
    let help = "Whether the run was still going on at the time of the push: 1 or 0.";
    exposition.gauge(
        "kperf_run_in_progress",
        help,
        Labels::new(),
        if in_progress { 1.0 } else { 0.0 },
    );
}

fn run(exposition: &mut Exposition, whole: &wit::Summary) {
    let mut info = Labels::new()
        .with("run_id", &whole.run_id)
        .with("host_version", &whole.host_version)
        .with("server", &whole.server)
        .with("description", &whole.description)
        .with("ended", &whole.ended);
    for label in &whole.labels {
        info = info.with_foreign(&label.key, &label.value);
    }
    exposition.gauge("kperf_run_info", RUN_INFO_HELP, info, 1.0);
    for plugin in &whole.plugins {
        let labels = Labels::new()
            .with("name", &plugin.name)
            .with("version", &plugin.version)
            .with("world", &plugin.world)
            .with("sha256", &plugin.sha256);
        exposition.gauge(
            "kperf_run_plugin_info",
            "A plugin that took part; always 1.",
            labels,
            1.0,
        );
    }

    let help = "The load generator's judgement of its own measurement: 1 for the verdict that holds, else 0.";
    let known = ["certified", "suspect", "invalid"];
    for verdict in known.into_iter().chain([whole.verdict.as_str()]) {
        let holds = if verdict == whole.verdict { 1.0 } else { 0.0 };
        exposition.gauge(
            "kperf_run_verdict",
            help,
            Labels::new().with("verdict", verdict),
            holds,
        );
    }
    let help = "Findings of the run by severity; their texts are in the report document.";
    for severity in ["info", "warning", "error"] {
        let found = whole
            .findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count();
        exposition.gauge(
            "kperf_run_findings",
            help,
            Labels::new().with("severity", severity),
            found as f64,
        );
    }
    let started = whole.start_unix_us as f64 / 1e6;
    exposition.gauge(
        "kperf_run_start_timestamp_seconds",
        "When the run began, seconds since 1970.",
        Labels::new(),
        started,
    );
    let length = seconds(whole.length_ns);
    exposition.gauge(
        "kperf_run_duration_seconds",
        "How long the run took.",
        Labels::new(),
        length,
    );
    for metric in &whole.metrics {
        measured(exposition, "kperf_run", Labels::new(), metric);
    }
}

fn phases(exposition: &mut Exposition, totals: &Totals, shape: Shape) {
    for (name, phase) in totals {
        let labels = Labels::new().with("phase", name);
        let help = "How long the phase took, or has taken so far.";
        exposition.gauge(
            "kperf_phase_duration_seconds",
            help,
            labels.clone(),
            seconds(phase.length_ns),
        );
        phase_counters(exposition, &labels, phase);
        for metric in &phase.metrics {
            measured(exposition, "kperf_phase", labels.clone(), metric);
        }
        for (name, series) in &phase.series {
            let labels = labels.clone().with("series", name);
            let labels = series.labels.iter().fold(labels, |labels, label| {
                labels.with_foreign(&label.key, &label.value)
            });
            series_metrics(exposition, &labels, series, shape);
        }
    }
}

/// One family for each counter: `kperf_phase_late_total`, `kperf_phase_dropped_total`, …
fn phase_counters(exposition: &mut Exposition, labels: &Labels, phase: &PhaseTotals) {
    for (counter, value) in &phase.counters {
        let name = format!(
            "kperf_phase_{}_total",
            sanitised(counter).trim_end_matches("_total")
        );
        let help = format!("Counter `{counter}` of the phase.");
        exposition.counter(&name, &help, labels.clone(), *value);
    }
}

fn series_metrics(
    exposition: &mut Exposition,
    labels: &Labels,
    series: &SeriesTotals,
    shape: Shape,
) {
    let help = "Requests that ended, by result.";
    for (result, count) in [("success", series.succeeded), ("failure", series.failed)] {
        exposition.counter(
            "kperf_requests_total",
            help,
            labels.clone().with("result", result),
            count,
        );
    }
    for (class, count) in &series.errors {
        let labels = labels.clone().with("class", class);
        exposition.counter(
            "kperf_request_errors_total",
            "Failed requests, by class.",
            labels,
            *count,
        );
    }
    let help = "Bytes of response bodies.";
    exposition.counter(
        "kperf_received_bytes_total",
        help,
        labels.clone(),
        series.received_bytes,
    );
    for (event, count) in &series.counters {
        let labels = labels.clone().with("event", event);
        exposition.counter(
            "kperf_series_events_total",
            "Other counts of a series, by event.",
            labels,
            *count,
        );
    }
    let times = [
        (
            "response",
            "Successful requests: intended send to last byte",
            &series.response_time,
        ),
        (
            "service",
            "Successful requests: actual send to last byte",
            &series.service_time,
        ),
    ];
    for (clock, help, latency) in times {
        distribution(exposition, clock, help, labels.clone(), latency, shape);
    }
}

fn distribution(
    exposition: &mut Exposition,
    clock: &str,
    help: &str,
    labels: Labels,
    latency: &Latency,
    shape: Shape,
) {
    match shape {
        Shape::Histogram => {
            let name = format!("kperf_{clock}_time_seconds");
            exposition.histogram(&name, &format!("{help}, as buckets."), labels, latency);
        }
        Shape::Summary => {
            let name = format!("kperf_{clock}_time_summary_seconds");
            exposition.summary(&name, &format!("{help}, as quantiles."), labels, latency);
        }
    }
}

/// Labels that metrics of network tools have under these names, as dashboards of such tools ask for them.
const NETWORK_LABELS: [&str; 13] = [
    "benchmark",
    "client_worker",
    "client_host",
    "client_zone",
    "server_worker",
    "server_host",
    "server_zone",
    "same_node",
    "placement",
    "traffic_path",
    "variant",
    "path",
    "class",
];

/// The benchmark that a report is of, if it is one of a network. Benchmarks of one job would otherwise take each other's
/// place at the gateway.
pub(crate) fn network_benchmark(whole: &wit::Summary) -> Option<&str> {
    whole
        .metrics
        .iter()
        .filter(|metric| metric.name.starts_with("network-"))
        .flat_map(|metric| &metric.labels)
        .find(|label| label.key == "benchmark")
        .map(|label| &*label.value)
}

/// A number by a name from an open set, as a gauge with its unit.
fn measured(exposition: &mut Exposition, prefix: &str, labels: Labels, metric: &wit::Metric) {
    let of_network = metric.name.strip_prefix("network-");
    let labels = metric.labels.iter().fold(labels, |labels, label| {
        if of_network.is_some() && NETWORK_LABELS.contains(&label.key.as_str()) {
            labels.with_known(&label.key, &label.value)
        } else {
            labels.with_foreign(&label.key, &label.value)
        }
    });
    let help = format!(
        "Metric `{}` in {}.",
        metric.name,
        if metric.unit.is_empty() {
            "units"
        } else {
            &metric.unit
        }
    );
    // Those of network tools are known by these names, which carry their unit.
    let name = match of_network {
        Some(name) => gauge_name("kperf_network", name, ""),
        None => gauge_name(prefix, &metric.name, &metric.unit),
    };
    exposition.gauge(&name, &help, labels, metric.value);
}

fn gauge_name(prefix: &str, name: &str, unit: &str) -> String {
    let mut full = format!("{prefix}_{}", sanitised(name));
    let unit = sanitised(unit);
    if !unit.is_empty()
        && full
            .strip_suffix(&unit)
            .is_none_or(|rest| !rest.ends_with('_'))
    {
        full.push('_');
        full.push_str(&unit);
    }
    // These endings belong to other types.
    if ["_total", "_sum", "_count", "_bucket", "_info"]
        .iter()
        .any(|suffix| full.ends_with(suffix))
    {
        full.push_str("_value");
    }
    full
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_metrics_have_labels_of_their_own() {
        let labels =
            ["client_worker", "path", "le", "client_worker"].map(|key| kperf_sdk::failure::Label {
                key: key.to_owned(),
                value: format!("{key}'s"),
            });
        let metric = |name: &str| wit::Metric {
            name: name.to_owned(),
            value: 1.5,
            unit: "bit/s".to_owned(),
            labels: labels.to_vec(),
        };
        let text = |name: &str| {
            let mut exposition = Exposition::default();
            measured(&mut exposition, "kperf_run", Labels::new(), &metric(name));
            let text = exposition.text();
            let line = text.lines().find(|line| !line.starts_with('#'));
            line.unwrap_or_default().to_owned()
        };
        assert_eq!(
            text("network-bandwidth_bits_per_second"),
            "kperf_network_bandwidth_bits_per_second{client_worker=\"client_worker's\",path=\"path's\",\
             label_le=\"le's\",label_client_worker=\"client_worker's\"} 1.5"
        );
        assert!(text("bandwidth").contains("{label_client_worker="));
    }

    #[test]
    fn gauges_carry_their_unit_once_and_no_reserved_ending() {
        for (name, unit, expected) in [
            (
                "achieved-rate",
                "requests-per-second",
                "p_achieved_rate_requests_per_second",
            ),
            ("cpu-per-request", "seconds", "p_cpu_per_request_seconds"),
            ("lag-seconds", "seconds", "p_lag_seconds"),
            ("seconds", "seconds", "p_seconds"),
            ("milliseconds", "seconds", "p_milliseconds_seconds"),
            ("in-flight", "", "p_in_flight"),
            ("bytes-total", "", "p_bytes_total_value"),
            ("host", "info", "p_host_info_value"),
            ("päuse/x", "ratio", "p_p_use_x_ratio"),
        ] {
            assert_eq!(gauge_name("p", name, unit), expected);
        }
    }
}
