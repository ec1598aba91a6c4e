//! The end of a run, wherever it ran: what it comes to as a report, as text, and as an exit code.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use kperf_load::result::Ended;
use kperf_network as net;
use kperf_runtime::report as doc;

use super::{
    Limits,
    table::{in_unit, table},
};
use crate::{
    exit::Exit,
    report::{self, Results, RunFacts},
};

/// What a run comes to.
#[derive(Debug)]
pub struct Conclusion {
    /// The report, for exporters.
    pub summary: doc::Summary,
    /// Tables, and what became of limits, for people.
    pub text: String,
    /// How the command ends if all outputs are delivered.
    pub exit: Exit,
}

/// Judges a run and writes it up. Tolerances are thresholds of the report, one for each pair, in units of the reference:
/// `pod within 10% of host` is kept from 0.9 on.
#[must_use]
pub fn conclude(facts: &RunFacts, run: &net::NetworkRun, limits: &Limits) -> Conclusion {
    let mut results = results(facts, run);
    let checks: Vec<net::Check> = limits
        .tolerances
        .iter()
        .flat_map(|tolerance| tolerance.judge(run))
        .collect();
    results.findings.extend(checks.iter().filter_map(finding));
    let mut summary = report::summary(facts, &[], results, &limits.thresholds);
    let mut text = table(run);
    for threshold in &summary.thresholds {
        let measured = threshold.measured.map_or_else(
            || "nothing was measured".to_owned(),
            |value| in_unit(value, &threshold.unit),
        );
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "threshold {}  {}: {measured}",
            kept(threshold.passed),
            threshold.expression
        );
    }
    for check in &checks {
        let _ = writeln!(
            text,
            "tolerance {}  {}: {}",
            kept(check.passed()),
            title(check),
            verdict(check)
        );
    }
    summary.thresholds.extend(checks.iter().map(threshold));
    let failed = run.tasks.is_empty()
        || run
            .tasks
            .iter()
            .any(|task| task.state != net::TaskState::Done || task.error.is_some());
    let missed = summary.thresholds.iter().any(|one| !one.passed);
    let exit = match run.end {
        net::RunEnd::Stopped => Exit::Interrupted,
        _ if failed => Exit::Failure,
        _ if missed => Exit::Missed,
        _ => Exit::Success,
    };
    Conclusion {
        summary,
        text,
        exit,
    }
}

fn kept(passed: bool) -> &'static str {
    if passed { "kept  " } else { "MISSED" }
}

/// The tolerance, and whom it was judged for.
fn title(check: &net::Check) -> String {
    let mut title = check.tolerance.clone();
    if !check.client.is_empty() {
        title.push_str(&format!(": {} → {}", check.client, check.server));
    }
    if !check.variant.is_empty() {
        title.push_str(&format!(", {}", check.variant));
    }
    title
}

/// What was measured, how far it is off, and how certain that is.
fn verdict(check: &net::Check) -> String {
    match &check.outcome {
        net::Outcome::NotMeasured { reason } => format!("not measured: {reason}"),
        net::Outcome::Compared {
            mean,
            reference,
            unit,
            difference,
            ..
        } => {
            let change = check.measured().map_or_else(
                || "no ratio".to_owned(),
                |ratio| format!("{:+.1} %", (ratio - 1.0) * 100.0),
            );
            let certain = match difference.ci95 {
                None => "; a single sample, so no interval".to_owned(),
                Some(half) => format!(
                    "; {} ±{} from the limit{}",
                    in_unit(difference.value.abs(), unit),
                    in_unit(half, unit),
                    if difference.is_certain() == Some(true) {
                        ""
                    } else {
                        ": uncertain, more samples would tell"
                    }
                ),
            };
            format!(
                "{} of {} ({change}, limit {:+.1} %){certain}",
                in_unit(*mean, unit),
                in_unit(*reference, unit),
                (check.limit - 1.0) * 100.0
            )
        }
    }
}

fn threshold(check: &net::Check) -> doc::Threshold {
    doc::Threshold {
        expression: title(check),
        measured: check.measured(),
        limit: check.limit,
        unit: "ratio".to_owned(),
        passed: check.passed(),
    }
}

/// What is to be read beside the number.
fn finding(check: &net::Check) -> Option<doc::Finding> {
    let (severity, code) = match &check.outcome {
        net::Outcome::NotMeasured { .. } => ("error", "network/tolerance-not-measured"),
        net::Outcome::Compared { difference, .. } if difference.is_certain() == Some(false) => {
            ("warning", "network/tolerance-uncertain")
        }
        net::Outcome::Compared { .. } => return None,
    };
    Some(doc::Finding {
        severity: severity.to_owned(),
        code: code.to_owned(),
        message: format!("{}: {}", title(check), verdict(check)),
    })
}

/// From the start to the end of the last task.
fn length(facts: &RunFacts, run: &net::NetworkRun) -> Option<Duration> {
    let last = run.tasks.iter().filter_map(|task| task.ended_unix_ms).max();
    match last {
        Some(ms) => (std::time::UNIX_EPOCH + Duration::from_millis(ms))
            .duration_since(facts.start)
            .ok(),
        None => facts.start.elapsed().ok(),
    }
}

/// What was measured. Means of the samples are metrics named `network-…`, by pair; failures are findings and
/// `network-error`.
fn results(facts: &RunFacts, run: &net::NetworkRun) -> Results {
    let mut results = Results {
        ended: Some(match run.end {
            net::RunEnd::Complete => Ended::Completed,
            net::RunEnd::Deadline | net::RunEnd::Stopped => Ended::Interrupted,
        }),
        length: length(facts, run),
        ..Results::default()
    };
    for of in run.summaries() {
        let mut labels = pair(run, &of.client, &of.server, &of.path, &of.variant);
        for (key, value) in &of.labels {
            let taken = labels.iter().any(|label| label.key == *key);
            let key = if taken {
                format!("tool_{key}")
            } else {
                key.clone()
            };
            labels.push(label(&key, value));
        }
        let mut metric = |name: String, value: f64| {
            results.metrics.push(doc::Metric {
                name,
                value,
                unit: of.unit.clone(),
                labels: labels.clone(),
            });
        };
        metric(format!("network-{}", of.metric), of.estimate.mean);
        if let Some(half) = of.estimate.ci95 {
            metric(format!("network-{}_ci95", of.metric), half);
        }
    }
    let mut pairs: BTreeMap<_, Pair<'_>> = BTreeMap::new();
    for task in &run.tasks {
        let key = &task.key;
        let key = (&key.client, &key.server, &key.path, &key.variant);
        let known = pairs.entry(key).or_default();
        known.tasks += 1;
        if task.state == net::TaskState::Done && task.error.is_none() {
            known.succeeded += 1;
        }
        known.error = known.error.or(task.error.as_ref());
    }
    for ((client, server, path, variant), of) in pairs {
        let labels = pair(run, client, server, path, variant);
        results.metrics.push(doc::Metric {
            name: "network-samples".to_owned(),
            value: f64::from(of.succeeded),
            unit: "count".to_owned(),
            labels: labels.clone(),
        });
        results.metrics.push(doc::Metric {
            name: "network-success".to_owned(),
            value: f64::from(u8::from(of.succeeded == of.tasks)),
            unit: String::new(),
            labels: labels.clone(),
        });
        let Some(error) = of.error else { continue };
        let mut labels = labels;
        labels.push(label("class", &error.class));
        results.metrics.push(doc::Metric {
            name: "network-error".to_owned(),
            value: 1.0,
            unit: String::new(),
            labels,
        });
        results.findings.push(doc::Finding {
            severity: "error".to_owned(),
            code: format!("network/{}", error.class),
            message: format!(
                "{client} → {server}{}: {}: {}",
                by(path, variant),
                error.class,
                error.message
            ),
        });
    }
    for worker in &run.lost {
        results.findings.push(doc::Finding {
            severity: "error".to_owned(),
            code: "network/worker-lost".to_owned(),
            message: format!("worker {worker} was lost and did not come back"),
        });
    }
    results
}

/// The tasks of a pair by one path and with one set of parameters.
#[derive(Default)]
struct Pair<'a> {
    tasks: u32,
    succeeded: u32,
    error: Option<&'a net::ToolError>,
}

/// Path and parameters, for people; either may be empty.
pub(super) fn by(path: &str, variant: &str) -> String {
    let mut text = String::new();
    if !path.is_empty() {
        text.push_str(&format!(" by {path}"));
    }
    if !variant.is_empty() {
        text.push_str(&format!(", {variant}"));
    }
    text
}

fn label(key: &str, value: &str) -> doc::Label {
    doc::Label {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

/// The labels of network-tools metrics: who, where, and by which way; addresses stay out. `path` is left to tools, some of
/// which have a label of that name.
fn pair(
    run: &net::NetworkRun,
    client: &str,
    server: &str,
    path: &str,
    variant: &str,
) -> Vec<doc::Label> {
    let of = |name: &str| {
        run.worker(name)
            .map_or(("", ""), |worker| (&*worker.hostname, &*worker.zone))
    };
    let (client_host, client_zone) = of(client);
    let (server_host, server_zone) = of(server);
    let placement = run.placement(client, server);
    // Not known is not false: such labels stay out.
    let same_node = placement.map_or("", |placement| match placement {
        net::Placement::SameNode => "true",
        _ => "false",
    });
    let mut labels = vec![
        label("benchmark", &run.benchmark),
        label("client_worker", client),
        label("client_host", client_host),
        label("client_zone", client_zone),
        label("server_worker", server),
        label("server_host", server_host),
        label("server_zone", server_zone),
        label("same_node", same_node),
        label("placement", placement.map_or("", net::Placement::label)),
        label("traffic_path", path),
        label("variant", variant),
    ];
    labels.retain(|label| !label.value.is_empty());
    labels
}

#[cfg(test)]
mod tests;
