//! What a run measured, as tables for people.

use std::fmt::Write as _;

use kperf_network as net;

use super::conclusion::by;

/// The main metric as a matrix of pairs, a table for each path and variant.
#[must_use]
pub fn table(run: &net::NetworkRun) -> String {
    let main_metric = run.main_metric.as_str();
    let mut out = String::new();
    let summaries = run.summaries();
    let mut groups: Vec<(&str, &str)> = Vec::new();
    for task in &run.tasks {
        let group = (task.key.path.as_str(), task.key.variant.as_str());
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let names: Vec<&str> = run.workers.iter().map(|worker| &*worker.name).collect();
    let width = names
        .iter()
        .map(|name| name.len())
        .max()
        .unwrap_or(0)
        .max(16);
    for (path, variant) in groups {
        // Writing to a String cannot fail.
        let _ = write!(out, "{} {main_metric}{}", run.benchmark, by(path, variant));
        let _ = write!(out, "\n{:<width$}", "client \\ server");
        for name in &names {
            let _ = write!(out, " {name:>width$}");
        }
        out.push('\n');
        for client in &names {
            let _ = write!(out, "{client:<width$}");
            for server in &names {
                let cell = cell(
                    run,
                    &summaries,
                    (client, server, path, variant),
                    main_metric,
                );
                let _ = write!(out, " {cell:>width$}");
            }
            out.push('\n');
        }
        out.push('\n');
    }
    out
}

fn cell(
    run: &net::NetworkRun,
    summaries: &[net::Summary],
    (client, server, path, variant): (&str, &str, &str, &str),
    metric: &str,
) -> String {
    if client == server {
        return "-".to_owned();
    }
    let found = summaries.iter().find(|of| {
        of.client == client
            && of.server == server
            && of.path == path
            && of.variant == variant
            && of.metric == metric
    });
    if let Some(of) = found {
        let mean = in_unit(of.estimate.mean, &of.unit);
        return match of.estimate.ci95 {
            Some(half) => format!("{mean} ±{}", in_unit(half, &of.unit)),
            None => mean,
        };
    }
    let failed = run.tasks.iter().find(|task| {
        let key = &task.key;
        key.client == client && key.server == server && key.path == path && key.variant == variant
    });
    failed
        .and_then(|task| task.error.as_ref())
        .map_or("?", |error| &error.class)
        .to_owned()
}

pub(super) fn in_unit(value: f64, unit: &str) -> String {
    match unit {
        "s" => crate::summary::time((value * 1e9) as u64),
        "bit/s" if value >= 1e9 => format!("{:.2} Gbit/s", value / 1e9),
        "bit/s" if value >= 1e6 => format!("{:.1} Mbit/s", value / 1e6),
        "1/s" => format!("{value:.0} /s"),
        _ => format!("{value:.0} {unit}"),
    }
}
