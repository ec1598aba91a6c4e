//! What a run measured, as tables for people.

use std::{collections::HashMap, fmt::Write as _};

use kperf_network as net;

use super::conclusion::by;

/// Widest matrix, characters; a wider one is a list of pairs instead.
const WIDEST: usize = 160;

/// Client, server, path and variant.
type Key<'a> = (&'a str, &'a str, &'a str, &'a str);

/// The main metric as a matrix of pairs, a table for each path and variant; then where workers are, if that differs.
#[must_use]
pub fn table(run: &net::NetworkRun) -> String {
    let summaries = run.summaries();
    let cells = Cells::of(run, &summaries);
    let mut groups: Vec<(&str, &str)> = Vec::new();
    for task in &run.tasks {
        let group = (task.key.path.as_str(), task.key.variant.as_str());
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let mut out = String::new();
    for (path, variant) in groups {
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "{} {}{}",
            run.benchmark,
            run.main_metric,
            by(path, variant)
        );
        let samples = cells.most_samples(path, variant);
        if samples > 1 {
            let _ = write!(out, ": mean of {samples} samples ±95 % interval");
        }
        out.push('\n');
        group(&mut out, run, &cells, path, variant);
        out.push('\n');
    }
    places(&mut out, run);
    out
}

/// The main metric of every pair that was to be measured.
struct Cells<'a>(HashMap<Key<'a>, Cell<'a>>);

#[derive(Default)]
struct Cell<'a> {
    main: Option<&'a net::Summary>,
    error: Option<&'a net::ToolError>,
    /// Samples that failed beside others that did not.
    failed: usize,
}

impl<'a> Cells<'a> {
    fn of(run: &'a net::NetworkRun, summaries: &'a [net::Summary]) -> Self {
        let mut cells: HashMap<Key<'a>, Cell<'a>> = HashMap::new();
        for task in &run.tasks {
            let key = &task.key;
            let cell = cells
                .entry((&key.client, &key.server, &key.path, &key.variant))
                .or_default();
            cell.failed += usize::from(task.error.is_some());
            cell.error = cell.error.or(task.error.as_ref());
        }
        for of in summaries.iter().filter(|of| of.metric == run.main_metric) {
            let key: Key<'a> = (&of.client, &of.server, &of.path, &of.variant);
            if let Some(cell) = cells.get_mut(&key) {
                cell.main = cell.main.or(Some(of));
            }
        }
        Self(cells)
    }

    fn most_samples(&self, path: &str, variant: &str) -> u64 {
        let of_group = self
            .0
            .iter()
            .filter(|((_, _, of_path, of_variant), _)| (*of_path, *of_variant) == (path, variant));
        of_group
            .filter_map(|(_, cell)| cell.main)
            .map(|main| main.estimate.samples)
            .max()
            .unwrap_or(0)
    }

    fn text(&self, key: &Key<'a>) -> String {
        let Some(cell) = self.0.get(key) else {
            return "-".to_owned();
        };
        let Some(main) = cell.main else {
            return cell.error.map_or("?", |error| &error.class).to_owned();
        };
        let mut text = estimate(&main.estimate, &main.unit);
        if cell.failed > 0 {
            let _ = write!(text, " ({} failed)", cell.failed);
        }
        text
    }
}

fn group(out: &mut String, run: &net::NetworkRun, cells: &Cells<'_>, path: &str, variant: &str) {
    let has = |end: fn(&net::TaskKey) -> &String| -> Vec<&str> {
        let names = run.workers.iter().map(|worker| &*worker.name);
        let of_group = |name: &&str| {
            run.tasks.iter().any(|task| {
                let key = &task.key;
                end(key) == name && key.path == path && key.variant == variant
            })
        };
        names.filter(of_group).collect()
    };
    let (clients, servers) = (has(|key| &key.client), has(|key| &key.server));
    let rows: Vec<(&str, Vec<String>)> = clients
        .iter()
        .map(|client| {
            let row = servers.iter();
            let row = row.map(|server| cells.text(&(client, server, path, variant)));
            (*client, row.collect())
        })
        .collect();
    let corner = "client \\ server";
    let first = width(clients.iter().copied().chain([corner]));
    let columns: Vec<usize> = servers
        .iter()
        .enumerate()
        .map(|(index, server)| {
            let of_column = rows.iter().filter_map(|(_, row)| row.get(index));
            width(of_column.map(String::as_str).chain([*server]))
        })
        .collect();
    if first + columns.iter().map(|column| column + 2).sum::<usize>() > WIDEST {
        for (client, row) in &rows {
            for (server, text) in servers.iter().zip(row).filter(|(_, text)| *text != "-") {
                let _ = writeln!(out, "{client} → {server}  {text}");
            }
        }
        return;
    }
    let mut line = |name: &str, row: &mut dyn Iterator<Item = &str>| {
        let _ = write!(out, "{name:<first$}");
        for (text, column) in row.zip(&columns) {
            let _ = write!(out, "  {text:>column$}");
        }
        out.push('\n');
    };
    line(corner, &mut servers.iter().copied());
    for (client, row) in &rows {
        line(client, &mut row.iter().map(String::as_str));
    }
}

fn width<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0)
}

/// Nodes and zones of workers, when there are several.
fn places(out: &mut String, run: &net::NetworkRun) {
    let mut nodes: Vec<_> = run.workers.iter().map(|worker| &worker.hostname).collect();
    nodes.sort();
    nodes.dedup();
    if nodes.len() < 2 {
        return;
    }
    let first = width(run.workers.iter().map(|worker| &*worker.name));
    for worker in &run.workers {
        let _ = write!(out, "{:<first$}  on {}", worker.name, worker.hostname);
        if !worker.zone.is_empty() {
            let _ = write!(out, " in {}", worker.zone);
        }
        out.push('\n');
    }
    out.push('\n');
}

/// Mean and interval, both in the unit that suits the mean.
fn estimate(of: &net::Estimate, unit: &str) -> String {
    let Some(half) = of.ci95 else {
        return in_unit(of.mean, unit);
    };
    match scale(of.mean, unit) {
        Some((factor, digits, word)) => format!(
            "{:.digits$} ±{:.digits$} {word}",
            of.mean / factor,
            half / factor
        ),
        None => format!("{} ±{}", in_unit(of.mean, unit), in_unit(half, unit)),
    }
}

/// A value for people, in a unit of tools.
#[must_use]
pub fn in_unit(value: f64, unit: &str) -> String {
    match scale(value, unit) {
        Some((factor, digits, word)) => format!("{:.digits$} {word}", value / factor),
        None if unit == "s" => crate::summary::time((value * 1e9) as u64),
        None => format!("{value:.0} {unit}").trim_end().to_owned(),
    }
}

/// What to divide by, digits after the point, and what that is in; none for times, and for what has no scale.
fn scale(value: f64, unit: &str) -> Option<(f64, usize, &'static str)> {
    let value = value.abs();
    Some(match unit {
        "bit/s" if value >= 1e9 => (1e9, 2, "Gbit/s"),
        "bit/s" if value >= 1e6 => (1e6, 1, "Mbit/s"),
        "bit/s" if value >= 1e3 => (1e3, 1, "kbit/s"),
        "byte" if value >= 1e9 => (1e9, 2, "GB"),
        "byte" if value >= 1e6 => (1e6, 1, "MB"),
        "1/s" if value >= 1e3 => (1.0, 0, "/s"),
        "1/s" => (1.0, 1, "/s"),
        "ratio" => (1.0, 3, "(ratio)"),
        "percent" => (1.0, 1, "%"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use net::{
        Address, NetworkRun, Reading, RunEnd, TaskKey, TaskRecord, TaskState, ToolError, WorkerInfo,
    };

    fn run(workers: usize, samples: u32) -> NetworkRun {
        let name = |number: usize| format!("w{number}");
        let workers: Vec<_> = (0..workers)
            .map(|number| WorkerInfo {
                name: name(number),
                addresses: vec![Address {
                    path: "pod".to_owned(),
                    host: "10.0.0.1".to_owned(),
                }],
                hostname: format!("n{}", number / 2),
                zone: "z".to_owned(),
                network_namespace: String::new(),
            })
            .collect();
        let selection = net::Selection::default();
        let tasks = net::tasks(&workers, &selection, &[String::new()], samples)
            .into_iter()
            .map(|key| {
                let mut record = TaskRecord::pending(key);
                record.state = TaskState::Done;
                record.readings.push(Reading {
                    name: "bandwidth".to_owned(),
                    value: 9e9 + f64::from(record.key.sample) * 1e9,
                    unit: "bit/s".to_owned(),
                    labels: Default::default(),
                });
                record
            })
            .collect();
        NetworkRun {
            benchmark: "b".to_owned(),
            main_metric: "bandwidth".to_owned(),
            workers,
            lost: Vec::new(),
            tasks,
            end: RunEnd::Complete,
        }
    }

    #[test]
    fn a_matrix_with_intervals_failures_and_places() {
        let mut run = run(3, 2);
        for task in &mut run.tasks {
            let TaskKey { client, server, .. } = &task.key;
            let (client, server) = (client.as_str(), server.as_str());
            let all = (client, server) == ("w0", "w1");
            if all || (client, server) == ("w1", "w2") && task.key.sample == 2 {
                task.readings.clear();
                task.state = TaskState::Failed;
                task.error = Some(ToolError::new("server_busy", "busy"));
            }
        }
        let text = table(&run);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "b bandwidth by pod: mean of 2 samples ±95 % interval",
                "client \\ server                  w0                  w1                       w2",
                "w0                                -         server_busy       10.50 ±6.35 Gbit/s",
                "w1               10.50 ±6.35 Gbit/s                   -  10.00 Gbit/s (1 failed)",
                "w2               10.50 ±6.35 Gbit/s  10.50 ±6.35 Gbit/s                        -",
                "",
                "w0  on n0 in z",
                "w1  on n0 in z",
                "w2  on n1 in z",
                "",
            ]
        );
    }

    #[test]
    fn many_workers_are_a_list() {
        let text = table(&run(20, 1));
        assert_eq!(text.matches(" → ").count(), 380);
        assert!(text.contains("w3 → w19  10.00 Gbit/s\n"), "{text}");
    }

    #[test]
    fn units() {
        for (value, unit, expected) in [
            (34.1e9, "bit/s", "34.10 Gbit/s"),
            (12e3, "bit/s", "12.0 kbit/s"),
            (5.0, "bit/s", "5 bit/s"),
            (0.000_012, "s", "12.0us"),
            (12_345.6, "1/s", "12346 /s"),
            (12.34, "1/s", "12.3 /s"),
            (0.9, "ratio", "0.900 (ratio)"),
            (7.0, "count", "7 count"),
            (7.0, "", "7"),
        ] {
            assert_eq!(in_unit(value, unit), expected);
        }
    }
}
