//! Merged reports: a line for each runner, and how far apart they started.

use std::fmt::Write as _;

use kperf_runtime::report as doc;

use super::time;
use crate::merge::line;

/// Lines that a person reads; the report has more.
const SHOWN: usize = 20;

/// A runner's own numbers.
#[derive(Default)]
struct Line<'a> {
    runner: &'a str,
    sent: f64,
    failed: f64,
    rate: f64,
    p99_seconds: Option<f64>,
    offset_seconds: f64,
}

/// Whether a metric stands in the table, or in its head.
pub(super) fn is_line(metric: &doc::Metric) -> bool {
    metric.name.starts_with("runner-")
        || matches!(
            metric.name.as_str(),
            "runners" | "start-skew" | "longest-runner"
        )
}

/// The table; nothing for the report of a run.
pub(super) fn write(report: &doc::Summary, out: &mut String) -> std::fmt::Result {
    let value = |name: &str| {
        let found = report.metrics.iter().find(|metric| metric.name == name);
        found.map(|metric| metric.value)
    };
    let Some(runners) = value("runners") else {
        return Ok(());
    };
    write!(out, "{runners:.0} runner(s)")?;
    if let Some(skew) = value("start-skew") {
        write!(out, ", start skew {}", seconds(skew))?;
    }
    if let Some(longest) = value("longest-runner") {
        write!(out, ", the longest took {}", seconds(longest))?;
    }
    writeln!(out)?;
    let lines = lines(&report.metrics);
    let shown = shown(&lines);
    let width = shown.iter().map(|line| line.runner.chars().count()).max();
    let width = width.unwrap_or(0).clamp(8, 40);
    if !shown.is_empty() {
        writeln!(
            out,
            "  {:<width$} {:>9} {:>7} {:>10} {:>9} {:>9}",
            "runner", "sent", "failed", "per second", "p99", "started"
        )?;
    }
    for line in &shown {
        let p99 = line.p99_seconds.map_or_else(|| "-".to_owned(), seconds);
        writeln!(
            out,
            "  {:<width$} {:>9.0} {:>7.0} {:>10.1} {p99:>9} {:>9}",
            line.runner,
            line.sent,
            line.failed,
            line.rate,
            format!("+{}", seconds(line.offset_seconds)),
        )?;
    }
    let more = runners - shown.len() as f64;
    if !shown.is_empty() && more > 0.0 {
        writeln!(
            out,
            "  and {more:.0} more; these failed most, were slowest or started last"
        )?;
    }
    writeln!(out)
}

/// The metrics of lines, by runner, in order of appearance.
fn lines(metrics: &[doc::Metric]) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for metric in metrics.iter().filter(|metric| is_line(metric)) {
        let Some(label) = metric.labels.iter().find(|label| label.key == "runner") else {
            continue;
        };
        // Those of one runner stand together.
        if lines.last().is_none_or(|line| line.runner != label.value) {
            lines.push(Line {
                runner: &label.value,
                ..Line::default()
            });
        }
        let Some(line) = lines.last_mut() else {
            continue;
        };
        match metric.name.as_str() {
            line::SENT => line.sent = metric.value,
            line::FAILED => line.failed = metric.value,
            line::ACHIEVED_RATE => line.rate = metric.value,
            line::P99 => line.p99_seconds = Some(metric.value),
            line::START_OFFSET => line.offset_seconds = metric.value,
            _ => {}
        }
    }
    lines
}

/// Of too many those that stand out, in their order.
fn shown<'a, 'b>(lines: &'b [Line<'a>]) -> Vec<&'b Line<'a>> {
    let mut order: Vec<(usize, &Line<'_>)> = lines.iter().enumerate().collect();
    if lines.len() > SHOWN {
        let p99 = |line: &Line<'_>| line.p99_seconds.unwrap_or(f64::INFINITY);
        order.sort_by(|(_, one), (_, other)| {
            other
                .failed
                .total_cmp(&one.failed)
                .then(p99(other).total_cmp(&p99(one)))
                .then(other.offset_seconds.total_cmp(&one.offset_seconds))
        });
        order.truncate(SHOWN);
        order.sort_by_key(|(at, _)| *at);
    }
    order.into_iter().map(|(_, line)| line).collect()
}

fn seconds(value: f64) -> String {
    time((value.max(0.0) * 1e9).round() as u64)
}
