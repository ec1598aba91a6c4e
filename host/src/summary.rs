//! The terminal summary: what a person reads when a run is over.

mod runners;
mod server;

use std::fmt::Write as _;

use kperf_runtime::report as doc;

/// Renders the report for a terminal, at most about 100 columns wide where names allow.
#[must_use]
pub fn render(report: &doc::Summary) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    write(report, &mut out).ok();
    out
}

fn write(report: &doc::Summary, out: &mut String) -> std::fmt::Result {
    for phase in report.phases.iter().filter(|phase| !is_bulk(phase)) {
        write_phase(report, phase, out)?;
    }
    write_bulks(report, out)?;
    write_distributions(report, out)?;
    for metric in &report.metrics {
        // Those of loads stand with their phases, those of the server and of runners in blocks of their own.
        if !matches!(metric.name.as_str(), "achieved-rate" | "received-rate")
            && !server::is_server(metric)
            && !runners::is_line(metric)
        {
            writeln!(
                out,
                "{:<14} {} {}{}",
                metric.name,
                number(metric.value),
                metric.unit,
                in_brackets(&metric.labels)
            )?;
        }
    }
    runners::write(report, out)?;
    if report.phases.len() > 1 && report.phases.iter().all(|phase| !is_bulk(phase)) {
        writeln!(out, "all phases")?;
        writeln!(
            out,
            "  requests     {} sent, {} succeeded, {} failed in {}",
            report.overall.sent,
            report.overall.succeeded,
            report.overall.failed,
            time(report.length_ns)
        )?;
        write_latency(&report.overall, out)?;
        writeln!(out)?;
    }
    server::write(report, out)?;
    for threshold in &report.thresholds {
        let measured = threshold.measured.map_or_else(
            || "nothing was measured".to_owned(),
            |measured| in_unit(measured, &threshold.unit),
        );
        writeln!(
            out,
            "threshold      {}  {}: {measured} (limit {})",
            if threshold.passed { "kept  " } else { "MISSED" },
            threshold.expression,
            in_unit(threshold.limit, &threshold.unit)
        )?;
    }
    if !report.phases.is_empty() {
        write_verdict(report, out)?;
    }
    for finding in &report.findings {
        writeln!(out, "  {:<8} {}", finding.severity, finding.message)?;
    }
    if report.ended != "completed" {
        writeln!(out, "ended          {}{}", report.ended, kept(report))?;
    }
    Ok(())
}

/// What there is of a run that did not complete.
fn kept(report: &doc::Summary) -> &'static str {
    if report.phases.is_empty() && report.distributions.is_empty() {
        ""
    } else {
        ": the numbers above are what was measured until then"
    }
}

fn write_verdict(report: &doc::Summary, out: &mut String) -> std::fmt::Result {
    let sign = match report.verdict.as_str() {
        "certified" => "the load generator was not the limit",
        "suspect" => "the findings say what the numbers may suffer from",
        _ => "do not use these numbers; the findings say why",
    };
    writeln!(out, "verdict        {}: {sign}", report.verdict)
}

fn write_phase(report: &doc::Summary, phase: &doc::Phase, out: &mut String) -> std::fmt::Result {
    let setting = |name: &str| {
        phase
            .settings
            .iter()
            .find(|label| label.key == name)
            .map_or("?", |label| label.value.as_str())
    };
    let metric = |name: &str| {
        phase
            .metrics
            .iter()
            .find(|metric| metric.name == name)
            .map(|metric| metric.value)
    };
    let count = |name: &str| {
        phase
            .counters
            .iter()
            .find(|counter| counter.name == name)
            .map_or(0, |counter| counter.value)
    };
    let server = match report.server.as_str() {
        // Merged reports may be of several.
        "" => "several servers",
        server => server,
    };
    writeln!(out, "{} against {server}", phase.name)?;
    write_load(&setting, out)?;
    writeln!(
        out,
        "  requests     {} sent, {} succeeded, {} failed in {}",
        phase.overall.sent,
        phase.overall.succeeded,
        phase.overall.failed,
        time(phase.length_ns)
    )?;
    writeln!(
        out,
        "  rate         {:.1}/s achieved, {} received",
        metric("achieved-rate").unwrap_or(0.0),
        bytes(phase.overall.received_bytes)
    )?;
    let odd: Vec<String> = [
        "late",
        "dropped",
        "retries",
        "goaways",
        "redials",
        "resent",
        "feed-starved",
    ]
    .iter()
    .filter(|name| count(name) > 0)
    .map(|name| format!("{} {name}", count(name)))
    .collect();
    if !odd.is_empty() {
        writeln!(out, "  counted      {}", odd.join(", "))?;
    }
    if let Some(cpu) = metric("cpu-per-request") {
        write!(
            out,
            "  client       {} CPU a request",
            time((cpu * 1e9) as u64)
        )?;
        if let (Some(p50), Some(p99)) = (metric("send-lag-p50"), metric("send-lag-p99")) {
            write!(
                out,
                ", send lag p50 {} p99 {}",
                time((p50 * 1e9) as u64),
                time((p99 * 1e9) as u64)
            )?;
        }
        writeln!(
            out,
            ", tick {}, pile-up {}",
            setting("tick"),
            setting("pile-up")
        )?;
    }
    write_latency(&phase.overall, out)?;
    if !phase.overall.errors.is_empty() {
        writeln!(out, "  errors")?;
        for error in &phase.overall.errors {
            writeln!(out, "    {:>9}  {}", error.value, error.name)?;
        }
    }
    if phase.series.len() > 1 {
        writeln!(out, "  by request (response time)")?;
        writeln!(
            out,
            "    {:>9} {:>7} {:>9} {:>9} {:>9}  series",
            "sent", "failed", "p50", "p99", "max"
        )?;
        for series in &phase.series {
            writeln!(
                out,
                "    {:>9} {:>7} {:>9} {:>9} {:>9}  {}",
                series.sent,
                series.failed,
                quantile(&series.response_time, 0.5),
                quantile(&series.response_time, 0.99),
                quantile(&series.response_time, 1.0),
                series.name,
            )?;
        }
    } else if let Some(series) = phase.series.first() {
        writeln!(out, "  request      {}", series.name)?;
    }
    writeln!(out)
}

/// Whether a phase is a benchmark's bulk of changes, which has no shards of its own.
fn is_bulk(phase: &doc::Phase) -> bool {
    phase
        .settings
        .iter()
        .any(|label| label.key == "kind" && label.value == "bulk")
}

fn write_load<'a>(setting: &impl Fn(&str) -> &'a str, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "  load         {}{}, {} connections, {} clients, {}, {} shard(s) ({}), seed {}",
        match setting("runners") {
            "?" => String::new(),
            runners => format!("{runners} runner(s), together "),
        },
        match setting("rate") {
            "0" => "closed loop".to_owned(),
            rate => format!("{rate}/s open loop"),
        },
        setting("conns"),
        setting("clients"),
        setting("http"),
        setting("shards"),
        setting("shards-reason"),
        setting("seed"),
    )
}

/// One line for the bulks of each name: a benchmark may have hundreds.
fn write_bulks(report: &doc::Summary, out: &mut String) -> std::fmt::Result {
    let bulks: Vec<&doc::Phase> = report
        .phases
        .iter()
        .filter(|phase| is_bulk(phase))
        .collect();
    let mut names: Vec<&str> = Vec::new();
    for bulk in &bulks {
        if !names.contains(&bulk.name.as_str()) {
            names.push(&bulk.name);
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
    let width = width.clamp(16, 40);
    writeln!(
        out,
        "{:<width$} {:>6} {:>8} {:>7} {:>7} {:>10} {:>9} {:>9} {:>9}",
        "changes", "bulks", "sent", "failed", "late", "per second", "p50", "p99", "max"
    )?;
    for name in names {
        let of_name: Vec<&doc::Phase> = bulks
            .iter()
            .copied()
            .filter(|bulk| bulk.name == name)
            .collect();
        let sum =
            |count: fn(&doc::Phase) -> u64| of_name.iter().map(|bulk| count(bulk)).sum::<u64>();
        let sent = sum(|bulk| bulk.overall.sent);
        let seconds = sum(|bulk| bulk.length_ns) as f64 / 1e9;
        let late = sum(|bulk| {
            let late = bulk.counters.iter().find(|counter| counter.name == "late");
            late.map_or(0, |counter| counter.value)
        });
        write!(
            out,
            "{name:<width$} {:>6} {sent:>8} {:>7} {late:>7} {:>10.1}",
            of_name.len(),
            sum(|bulk| bulk.overall.failed),
            if seconds > 0.0 {
                sent as f64 / seconds
            } else {
                0.0
            },
        )?;
        // Percentiles of several do not add up; the file has each.
        let one = match of_name.as_slice() {
            [one] => Some(&one.overall.response_time),
            _ => None,
        };
        for q in [0.5, 0.99, 1.0] {
            let shown = one.map_or_else(|| "-".to_owned(), |times| quantile(times, q));
            write!(out, " {shown:>9}")?;
        }
        writeln!(out)?;
    }
    for bulk in &bulks {
        for error in &bulk.overall.errors {
            writeln!(out, "  {}: {} {}", bulk.name, error.value, error.name)?;
        }
    }
    writeln!(out)
}

/// A table for each set of labels.
fn write_distributions(report: &doc::Summary, out: &mut String) -> std::fmt::Result {
    // What has no value and misses none says nothing to a person.
    let all: Vec<&doc::Distribution> = report
        .distributions
        .iter()
        .filter(|distribution| distribution.times.count + distribution.missing > 0)
        .collect();
    let mut groups: Vec<String> = Vec::new();
    for distribution in &all {
        let labels = in_brackets(&distribution.labels);
        if !groups.contains(&labels) {
            groups.push(labels);
        }
    }
    let width = all.iter().map(|distribution| distribution.name.len()).max();
    let width = width.unwrap_or(0).clamp(16, 40);
    for labels in groups {
        if !labels.is_empty() {
            writeln!(out, "{}", labels.trim_start())?;
        }
        writeln!(
            out,
            "{:<width$} {:>7} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "times", "count", "missing", "min", "p50", "p90", "p99", "max"
        )?;
        for distribution in &all {
            if in_brackets(&distribution.labels) != labels {
                continue;
            }
            write!(
                out,
                "{:<width$} {:>7} {:>8}",
                distribution.name, distribution.times.count, distribution.missing
            )?;
            for q in [0.0, 0.5, 0.9, 0.99, 1.0] {
                write!(out, " {:>9}", quantile(&distribution.times, q))?;
            }
            writeln!(out)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// ` {a=b, c=d}`, or nothing.
fn in_brackets(labels: &[doc::Label]) -> String {
    let labels: Vec<String> = labels
        .iter()
        .filter(|label| !label.value.is_empty())
        .map(|label| format!("{}={}", label.key, label.value))
        .collect();
    if labels.is_empty() {
        String::new()
    } else {
        format!(" {{{}}}", labels.join(", "))
    }
}

fn in_unit(value: f64, unit: &str) -> String {
    match unit {
        _ if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        "seconds" if value >= 0.0 => time((value * 1e9) as u64),
        "ratio" => format!("{}%", number(value * 100.0)),
        _ => number(value),
    }
}

/// At most three digits behind the point, none for whole numbers.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

fn write_latency(series: &doc::Series, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "  latency      {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "min", "p50", "p90", "p95", "p99", "p99.9", "max"
    )?;
    for (name, histogram) in [
        ("response", &series.response_time),
        ("service", &series.service_time),
    ] {
        write!(out, "    {name:<10}")?;
        for q in [0.0, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0] {
            write!(out, " {:>9}", quantile(histogram, q))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn quantile(histogram: &doc::Histogram, q: f64) -> String {
    histogram
        .quantiles
        .iter()
        .find(|quantile| (quantile.q - q).abs() < 1e-9)
        .map_or_else(|| "-".to_owned(), |quantile| time(quantile.value_ns))
}

/// Three significant digits and a unit.
#[must_use]
pub fn time(ns: u64) -> String {
    scaled(
        ns as f64,
        &[(1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns")],
    )
}

/// Three significant digits and a binary unit.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    scaled(
        bytes as f64,
        &[
            (1_073_741_824.0, "GiB"),
            (1_048_576.0, "MiB"),
            (1024.0, "KiB"),
            (1.0, "B"),
        ],
    )
}

fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    let (scale, unit) = units
        .iter()
        .find(|(scale, _)| value >= *scale)
        .or(units.last())
        .copied()
        .unwrap_or((1.0, ""));
    let value = value / scale;
    let digits = if value >= 100.0 || (scale - 1.0).abs() < 1e-9 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits() {
        assert_eq!(time(0), "0ns");
        assert_eq!(time(999), "999ns");
        assert_eq!(time(1_234), "1.23us");
        assert_eq!(time(12_345_678), "12.3ms");
        assert_eq!(time(123_456_789), "123ms");
        assert_eq!(time(61_000_000_000), "61.0s");
        assert_eq!(bytes(1536), "1.50KiB");
    }
}
