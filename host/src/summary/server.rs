//! The block of the server's own numbers, from the metrics `server-…` of the report.

use std::fmt::Write as _;

use kperf_runtime::report as doc;

use super::{bytes, number, time};

/// Rows of requests that a terminal is shown; the file has all.
const MAX_REQUESTS: usize = 12;

/// Whether a metric is one of those.
pub(super) fn is_server(metric: &doc::Metric) -> bool {
    metric.name.starts_with("server-")
}

fn label<'a>(metric: &'a doc::Metric, key: &str) -> &'a str {
    metric
        .labels
        .iter()
        .find(|label| label.key == key)
        .map_or("", |label| label.value.as_str())
}

/// The server's metrics, looked up by name and labels.
struct Metrics<'a>(Vec<&'a doc::Metric>);

impl<'a> Metrics<'a> {
    fn named(&self, name: &'a str) -> impl Iterator<Item = &'a doc::Metric> {
        self.0
            .iter()
            .copied()
            .filter(move |metric| metric.name == name)
    }

    fn value(&self, name: &'a str, labels: &[(&str, &str)]) -> Option<f64> {
        self.named(name)
            .find(|metric| {
                labels
                    .iter()
                    .all(|(key, value)| label(metric, key) == *value)
            })
            .map(|metric| metric.value)
    }

    fn times(&self, name: &'a str, labels: &[(&str, &str)]) -> String {
        let mut text = String::new();
        for quantile in ["0.5", "0.9", "0.99"] {
            let labels = [labels, &[("quantile", quantile)]].concat();
            let shown = self
                .value(name, &labels)
                .map_or_else(|| "-".to_owned(), seconds);
            // Writing to a String cannot fail.
            let _ = write!(text, " {shown:>9}");
        }
        text
    }
}

fn seconds(value: f64) -> String {
    time((value.max(0.0) * 1e9) as u64)
}

fn mebibytes(value: f64) -> String {
    bytes(value.max(0.0) as u64)
}

pub(super) fn write(report: &doc::Summary, out: &mut String) -> std::fmt::Result {
    let metrics = Metrics(
        report
            .metrics
            .iter()
            .filter(|metric| is_server(metric))
            .collect(),
    );
    let instances: Vec<&str> = metrics
        .named("server-observed-time")
        .map(|metric| label(metric, "instance"))
        .collect();
    if instances.is_empty() {
        return Ok(());
    }
    let width = instances.iter().map(|name| name.len()).max().unwrap_or(0);
    let width = width.clamp(14, 46);
    writeln!(
        out,
        "{:<width$} {:>6} {:>9} {:>6} {:>21} {:>9} {:>9}",
        "server's side", "cores", "CPU", "used", "memory", "answered", "during"
    )?;
    for instance in &instances {
        let of = [("instance", *instance)];
        let shown = |name, show: fn(f64) -> String| {
            metrics
                .value(name, &of)
                .map_or_else(|| "-".to_owned(), show)
        };
        let memory = |when| {
            let labels = [("instance", *instance), ("when", when)];
            metrics.value("server-memory", &labels).map(mebibytes)
        };
        let memory = match (memory("before"), memory("after")) {
            (Some(before), Some(after)) => format!("{before} to {after}"),
            (before, after) => before.or(after).unwrap_or_else(|| "-".to_owned()),
        };
        writeln!(
            out,
            "{instance:<width$} {:>6} {:>9} {:>6} {memory:>21} {:>9} {:>9}",
            shown("server-cores", number),
            shown("server-cpu", seconds),
            shown("server-cores-used", |used| format!("{used:.2}")),
            shown("server-answered", number),
            shown("server-observed-time", seconds),
        )?;
    }
    write_requests(&metrics, out)?;
    for rejected in metrics.named("server-rejected") {
        writeln!(
            out,
            "  rejected     {} of flow schema {} at priority level {}: {}",
            number(rejected.value),
            label(rejected, "flow-schema"),
            label(rejected, "priority-level"),
            label(rejected, "reason"),
        )?;
    }
    write_waits(&metrics, out)?;
    write_etcd(&metrics, out)?;
    writeln!(out)
}

fn write_requests(metrics: &Metrics<'_>, out: &mut String) -> std::fmt::Result {
    let rows: Vec<&doc::Metric> = metrics.named("server-requests").collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "  {:>9} {:>7} {:>9} {:>9} {:>9}  by the server's histograms, interpolated",
        "requests", "failed", "p50", "p90", "p99"
    )?;
    for row in rows.iter().take(MAX_REQUESTS) {
        let labels = [
            ("verb", label(row, "verb")),
            ("resource", label(row, "resource")),
        ];
        let failed: f64 = metrics
            .named("server-requests-failed")
            .filter(|metric| {
                labels
                    .iter()
                    .all(|(key, value)| label(metric, key) == *value)
            })
            // An empty sum would be -0.
            .fold(0.0, |sum, metric| sum + metric.value);
        writeln!(
            out,
            "  {:>9} {:>7}{}  {} {}",
            number(row.value),
            number(failed),
            metrics.times("server-latency", &labels),
            labels[0].1,
            labels[1].1,
        )?;
    }
    if let Some(more) = rows
        .len()
        .checked_sub(MAX_REQUESTS)
        .filter(|more| *more > 0)
    {
        writeln!(out, "  {more} more kinds of requests are in the report")?;
    }
    Ok(())
}

/// Only where something waited long enough to matter: every request passes a queue.
fn write_waits(metrics: &Metrics<'_>, out: &mut String) -> std::fmt::Result {
    const WORTH_SECONDS: f64 = 0.005;
    let waited = metrics
        .named("server-queue-wait")
        .filter(|metric| label(metric, "quantile") == "0.99" && metric.value >= WORTH_SECONDS);
    for wait in waited {
        writeln!(
            out,
            "  waited       p99 {} in the queues of priority level {}{}",
            seconds(wait.value),
            label(wait, "priority-level"),
            if label(wait, "executed") == "true" {
                ""
            } else {
                ", then given up"
            },
        )?;
    }
    Ok(())
}

fn write_etcd(metrics: &Metrics<'_>, out: &mut String) -> std::fmt::Result {
    let rows: Vec<&doc::Metric> = metrics.named("server-etcd-requests").collect();
    for row in rows.iter().take(3) {
        let labels = [
            ("operation", label(row, "operation")),
            ("type", label(row, "type")),
        ];
        writeln!(
            out,
            "  {:>9}        {}  etcd {} {}",
            number(row.value),
            metrics.times("server-etcd-latency", &labels),
            labels[0].1,
            labels[1].1,
        )?;
    }
    Ok(())
}
