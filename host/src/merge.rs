//! From merged documents to the report that exporters, thresholds and the terminal get: the same as that of a run.
//!
//! `kperf_merge` adds up; here its result gets the report's types, a line for each runner as metrics, and its limits judged
//! anew: those that the documents were judged by, and the caller's.

use kperf_merge::{Labels, Merged, Metric, RunnerLine, Series, Times};
use kperf_runtime::report as doc;

use crate::{
    exit::Exit,
    report,
    server_side::ServerResults,
    threshold::{self, ThresholdSpec},
};

/// Metrics of a runner's line; each has the label `runner`.
pub mod line {
    /// Requests sent; the label `run` has the id of the runner's run.
    pub const SENT: &str = "runner-sent";
    /// Requests failed.
    pub const FAILED: &str = "runner-failed";
    /// Requests sent a second.
    pub const ACHIEVED_RATE: &str = "runner-achieved-rate";
    /// p99 of response time; not there when nothing succeeded.
    pub const P99: &str = "runner-p99";
    /// Behind the earliest start of all.
    pub const START_OFFSET: &str = "runner-start-offset";
}

/// Lines of runners that a report has at most by default: enough for every group that fits a cluster's patience, and
/// no more than a report can hold.
pub const LINES: usize = 1_000;

/// A merged report, ready for [`crate::run::deliver`].
#[derive(Debug)]
pub struct Report {
    /// The whole.
    pub summary: doc::Summary,
    /// What each second measured; empty unless every document had it.
    pub intervals: Vec<doc::Interval>,
    /// What `summary` is judged by.
    limits: Vec<ThresholdSpec>,
}

impl Report {
    /// Adds what the server said meanwhile, and judges the limits anew: they may be about it.
    pub fn add_server(&mut self, server: &ServerResults) {
        let summary = &mut self.summary;
        summary.metrics.extend(server.metrics.iter().cloned());
        summary.findings.extend(server.findings.iter().cloned());
        summary.thresholds = threshold::evaluate(summary, &self.limits);
    }

    /// Says that nobody looked at the server: limits about it are left out, as they are neither kept nor missed.
    pub fn without_server(&mut self) {
        let summary = &mut self.summary;
        for limit in self.limits.extract_if(.., |limit| limit.is_of_server()) {
            summary.findings.push(doc::Finding {
                severity: "warning".to_owned(),
                code: "server/limit-not-judged".to_owned(),
                message: format!(
                    "{}: not judged, as nobody asked the server while the runners were at work; `rg run` does with --wait or --local",
                    limit.expression()
                ),
            });
        }
        summary.thresholds = threshold::evaluate(summary, &self.limits);
    }
}

/// The report of merged documents, with up to `lines` runners' own numbers as metrics.
#[must_use]
pub fn report(merged: Merged, thresholds: &[ThresholdSpec], lines: usize) -> Report {
    let mut metrics: Vec<doc::Metric> = merged.metrics.into_iter().map(metric).collect();
    let mut findings: Vec<doc::Finding> = merged
        .findings
        .into_iter()
        .map(|one| doc::Finding {
            severity: one.severity,
            code: one.code,
            message: one.message,
        })
        .collect();
    let runners = merged.runners.len();
    metrics.extend(
        standing_out(merged.runners, lines)
            .iter()
            .flat_map(runner_metrics),
    );
    if runners > lines {
        findings.push(doc::Finding {
            severity: "info".to_owned(),
            code: "merge/runners".to_owned(),
            message: format!(
                "{lines} of {runners} runners have their own numbers in the report: those that ended early, failed most \
                 or were slowest"
            ),
        });
    }
    let mut limits: Vec<ThresholdSpec> = Vec::new();
    for expression in &merged.thresholds {
        match ThresholdSpec::parse(expression) {
            Ok(limit) => limits.push(limit),
            Err(error) => findings.push(doc::Finding {
                severity: "warning".to_owned(),
                code: "merge/threshold".to_owned(),
                message: format!("a limit of the reports cannot be judged: {expression}: {error}"),
            }),
        }
    }
    for limit in thresholds {
        if !limits.contains(limit) {
            limits.push(limit.clone());
        }
    }
    let mut summary = doc::Summary {
        run_id: merged.run_id,
        host_version: env!("CARGO_PKG_VERSION").to_owned(),
        description: merged.description,
        labels: report::labels(&merged.labels),
        start_unix_us: merged.start_unix_us,
        length_ns: merged.length_ns,
        server: merged.server,
        environment: report::labels(&merged.environment),
        plugins: merged
            .plugins
            .into_iter()
            .map(|plugin| doc::PluginUse {
                name: plugin.name,
                version: plugin.version,
                sha256: plugin.sha256,
                world: plugin.world,
            })
            .collect(),
        phases: merged.phases.into_iter().map(phase).collect(),
        overall: series(merged.overall),
        series: merged.series.into_iter().map(series).collect(),
        metrics,
        distributions: merged
            .distributions
            .into_iter()
            .map(|one| doc::Distribution {
                name: one.name,
                labels: report::labels(&one.labels),
                times: exact_times(&one.times),
                missing: one.missing,
            })
            .collect(),
        objects: Vec::new(),
        thresholds: Vec::new(),
        verdict: merged.verdict,
        findings,
        ended: merged.ended,
    };
    summary.thresholds = threshold::evaluate(&summary, &limits);
    Report {
        summary,
        intervals: merged.intervals.into_iter().map(interval).collect(),
        limits,
    }
}

/// What a merged result ends the process with, worst first, as far as its documents decide; `missing` runners should have
/// had one.
#[must_use]
pub fn exit(summary: &doc::Summary, missing: usize) -> Exit {
    exit_of(
        &summary.ended,
        missing,
        summary.thresholds.iter().any(|one| !one.passed),
    )
}

fn exit_of(ended: &str, missing: usize, is_missed: bool) -> Exit {
    match ended {
        "failed" => Exit::Plugin,
        _ if missing > 0 => Exit::Failure,
        // It measured less than was asked for, whoever ended it.
        "interrupted" => Exit::Interrupted,
        _ if is_missed => Exit::Missed,
        _ => Exit::Success,
    }
}

/// At most `most` runners, in their order; when there are more, those that say most about what went wrong.
fn standing_out(mut runners: Vec<RunnerLine>, most: usize) -> Vec<RunnerLine> {
    if runners.len() <= most {
        return runners;
    }
    let weight = |line: &RunnerLine| {
        (
            line.ended != "completed",
            line.failed,
            line.p99_ns.unwrap_or(u64::MAX),
        )
    };
    let mut order: Vec<usize> = (0..runners.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(runners.get(*at).map(weight)));
    order.truncate(most);
    order.sort_unstable();
    let mut at = 0;
    let mut kept = order.into_iter().peekable();
    runners.retain(|_| {
        let is_kept = kept.next_if_eq(&at).is_some();
        at += 1;
        is_kept
    });
    runners
}

fn runner_metrics(line: &RunnerLine) -> impl Iterator<Item = doc::Metric> {
    let labels: Labels = vec![("runner".to_owned(), line.name.clone())];
    let one = |name: &str, value: f64, unit: &str| Metric {
        name: name.to_owned(),
        value,
        unit: unit.to_owned(),
        labels: labels.clone(),
    };
    let mut sent = one(line::SENT, line.sent as f64, "count");
    sent.labels.push(("run".to_owned(), line.run_id.clone()));
    let p99 = line
        .p99_ns
        .map(|ns| one(line::P99, ns as f64 / 1e9, "seconds"));
    [
        sent,
        one(line::FAILED, line.failed as f64, "count"),
        one(
            line::ACHIEVED_RATE,
            line.achieved_rate(),
            "requests-per-second",
        ),
        one(
            line::START_OFFSET,
            line.start_offset_ns as f64 / 1e9,
            "seconds",
        ),
    ]
    .into_iter()
    .chain(p99)
    .map(metric)
    .collect::<Vec<_>>()
    .into_iter()
}

fn metric(one: Metric) -> doc::Metric {
    doc::Metric {
        name: one.name,
        value: one.value,
        unit: one.unit,
        labels: report::labels(&one.labels),
    }
}

fn phase(one: kperf_merge::Phase) -> doc::Phase {
    let (raw, failures) = one.raw.map_or((None, Vec::new()), |raw| {
        let samples = doc::Samples {
            series: raw.series,
            intended_unix_us: raw.intended_unix_us,
            response_ns: raw.response_ns,
            service_ns: raw.service_ns,
            failure: raw.failure,
        };
        let failures = raw.failures.into_iter().map(|one| doc::FailedExchange {
            class: one.class,
            status: one.status,
            message: one.message,
        });
        (Some(samples), failures.collect())
    });
    doc::Phase {
        name: one.name,
        start_unix_us: one.start_unix_us,
        length_ns: one.length_ns,
        settings: report::labels(&one.settings),
        overall: series(one.overall),
        series: one.series.into_iter().map(series).collect(),
        counters: counters(one.counters),
        metrics: one.metrics.into_iter().map(metric).collect(),
        raw,
        failures,
        ended: one.ended,
    }
}

fn interval(one: kperf_merge::Interval) -> doc::Interval {
    doc::Interval {
        phase: one.phase,
        index: one.index,
        start_unix_us: one.start_unix_us,
        length_ns: one.length_ns,
        series: one.series.into_iter().map(series).collect(),
        counters: counters(one.counters),
    }
}

fn series(one: Series) -> doc::Series {
    doc::Series {
        name: one.name,
        labels: report::labels(&one.labels),
        response_time: times(&one.response_time),
        service_time: times(&one.service_time),
        sent: one.sent,
        succeeded: one.succeeded,
        failed: one.failed,
        received_bytes: one.received_bytes,
        errors: counters(one.errors),
        counters: counters(one.counters),
    }
}

fn counters(counts: Vec<(String, u64)>) -> Vec<doc::Counter> {
    counts
        .into_iter()
        .map(|(name, value)| doc::Counter { name, value })
        .collect()
}

/// As a run's own: everything from the buckets. Without them, what adds up without them.
fn times(one: &Times) -> doc::Histogram {
    if one.histogram.is_empty() && one.count > 0 {
        return doc::Histogram {
            count: one.count,
            min_ns: one.min_ns,
            max_ns: one.max_ns,
            mean_ns: one.mean_ns,
            stddev_ns: 0.0,
            quantiles: Vec::new(),
            hdr_v2_deflate: Vec::new(),
        };
    }
    report::histogram(&one.histogram)
}

/// Of a distribution the documents know extremes and mean exactly; quantiles between come from the buckets.
fn exact_times(one: &Times) -> doc::Histogram {
    let mut times = times(one);
    if times.count > 0 {
        (times.min_ns, times.max_ns, times.mean_ns) = (one.min_ns, one.max_ns, one.mean_ns);
        for quantile in &mut times.quantiles {
            quantile.value_ns = if quantile.q <= 0.0 {
                one.min_ns
            } else if quantile.q >= 1.0 {
                one.max_ns
            } else {
                quantile.value_ns.clamp(one.min_ns, one.max_ns)
            };
        }
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, failed: u64, p99_ns: Option<u64>, ended: &str) -> RunnerLine {
        RunnerLine {
            name: name.to_owned(),
            run_id: format!("run-of-{name}"),
            start_offset_ns: 0,
            length_ns: 1_000_000_000,
            sent: 10,
            failed,
            p99_ns,
            verdict: "certified".to_owned(),
            ended: ended.to_owned(),
        }
    }

    #[test]
    fn a_result_that_is_not_whole_is_no_success() {
        for (ended, missing, is_missed, expected) in [
            ("completed", 0, false, Exit::Success),
            ("completed", 0, true, Exit::Missed),
            ("interrupted", 0, false, Exit::Interrupted),
            ("interrupted", 0, true, Exit::Interrupted),
            ("interrupted", 1, false, Exit::Failure),
            ("completed", 1, true, Exit::Failure),
            ("failed", 1, true, Exit::Plugin),
        ] {
            assert_eq!(exit_of(ended, missing, is_missed), expected, "{ended}");
        }
    }

    #[test]
    fn of_too_many_runners_the_odd_ones_stay_in_their_order() {
        let runners = vec![
            line("fast", 0, Some(1), "completed"),
            line("slow", 0, Some(9), "completed"),
            line("fine", 0, Some(2), "completed"),
            line("failing", 3, Some(1), "completed"),
            line("cut", 0, Some(1), "interrupted"),
        ];
        let names = |most| -> Vec<String> {
            let kept = standing_out(runners.clone(), most);
            kept.into_iter().map(|line| line.name).collect()
        };
        assert_eq!(names(3), ["slow", "failing", "cut"]);
        assert_eq!(names(1), ["cut"]);
        assert_eq!(names(5).len(), 5);
        assert_eq!(names(0).len(), 0);
    }

    #[test]
    fn a_line_says_whose_it_is_and_leaves_out_what_was_not_measured() {
        let metrics: Vec<doc::Metric> =
            runner_metrics(&line("pod-1", 10, None, "completed")).collect();
        assert!(metrics.iter().all(|metric| metric.name != line::P99));
        assert!(
            metrics
                .iter()
                .all(|metric| metric.labels[0].value == "pod-1")
        );
        assert_eq!(metrics[0].labels[1].value, "run-of-pod-1");
    }
}
