//! `rg status`: kperf's table, or the same as data.

use std::io::Write as _;

use anyhow::Context as _;
use clap::ValueEnum;
use kperf_runners::{Status, statuses};

use super::{Connected, StatusArgs};
use crate::exit::{Exit, Failed, OrExit as _};

/// How to print it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// A list of objects.
    Json,
    /// The same.
    Yaml,
}

/// Runs the command.
///
/// # Errors
/// The cluster cannot be asked, or there is no such group.
pub(super) fn run(args: &StatusArgs) -> Result<Exit, Failed> {
    let connected = Connected::new(&args.place.target)?;
    let namespace = &args.place.namespace;
    // Says of a name that is none what there is.
    if !args.groups.is_empty() {
        connected.groups(namespace, &args.groups)?;
    }
    let mut found = connected
        .runtime
        .block_on(statuses(&connected.cluster, namespace, None))
        .or_exit(Exit::Target)?;
    found.retain(|status| args.groups.is_empty() || args.groups.contains(&status.name));
    let text = match args.output {
        Format::Table => table(&found),
        Format::Json => serde_json::to_string_pretty(&found)
            .map(|text| text + "\n")
            .or_exit(Exit::Failure)?,
        Format::Yaml => serde_yaml::to_string(&found).or_exit(Exit::Failure)?,
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")
        .or_exit(Exit::Failure)?;
    Ok(Exit::Success)
}

/// kperf's columns, and how many are ready.
fn table(found: &[Status]) -> String {
    let rows: Vec<[String; 7]> = found
        .iter()
        .map(|status| {
            [
                status.name.clone(),
                status.count.to_string(),
                status.succeeded.to_string(),
                status.failed.to_string(),
                status.state.as_str().to_owned(),
                status.start.clone().unwrap_or_else(|| "unknown".to_owned()),
                status.ready.to_string(),
            ]
        })
        .collect();
    let head = [
        "NAME",
        "COUNT",
        "SUCCEEDED",
        "FAILED",
        "STATE",
        "START",
        "READY",
    ]
    .map(str::to_owned);
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            std::iter::once(&head)
                .chain(&rows)
                .filter_map(|row| row.get(column))
                .map(String::len)
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(&rows) {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("   ").trim_end());
        text.push('\n');
    }
    text
}
