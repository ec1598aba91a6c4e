//! Where the cycles of the client go, by part.

use std::{collections::BTreeMap, path::Path, process::Stdio};

use anyhow::{Context as _, bail};

use crate::{
    measure::{on_path, pinned, words},
    server::Server,
};

/// Parts by the crate at the start of a symbol's path.
const PARTS: [(&str, &[&str]); 6] = [
    ("load engine", &["kperf_load"]),
    ("histograms", &["hdrhistogram"]),
    ("TLS", &["tokio_rustls", "rustls", "ring"]),
    ("tokio", &["tokio", "mio"]),
    ("plugin and its runtime", &["kperf_runtime", "wasmtime"]),
    ("allocator", &["mi"]),
];

pub(crate) fn profile(kperf: &Path, server: &Server, requests: u64) -> anyhow::Result<()> {
    if !on_path("perf") {
        bail!("perf is not installed; install the package linux-perf");
    }
    let file = server.dir.path().join("perf.data").display().to_string();
    let total = format!("--total={requests}");
    for (name, clients) in [("10 x 10", "--client=100"), ("10 x 1", "--client=10")] {
        let mut command = words(&["perf", "record", "-q", "-F", "1999", "-o", &file, "--"]);
        let run = [total.as_str(), clients, "--conns=10", "--shards=1"];
        command.extend(server.kperf(kperf, "small", &run));
        let status = pinned(1, command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if !status.success() {
            bail!("perf record ended with {status}");
        }
        let report = pinned(
            1,
            words(&[
                "perf",
                "report",
                "-i",
                &file,
                "--stdio",
                "-g",
                "none",
                "-F",
                "overhead,dso,sym",
            ]),
        )
        .stderr(Stdio::null())
        .output()?;
        let mut parts: Vec<(&str, f64)> = sum(&String::from_utf8_lossy(&report.stdout))?
            .into_iter()
            .collect();
        parts.sort_by(|a, b| b.1.total_cmp(&a.1));
        println!("small, {name}: share of samples");
        for (part, share) in parts {
            println!("  {share:>5.1} %  {part}");
        }
    }
    Ok(())
}

/// Adds up the lines `12.3%  DSO  [k] symbol`.
fn sum(report: &str) -> anyhow::Result<BTreeMap<&'static str, f64>> {
    let mut parts = BTreeMap::new();
    for line in report.lines() {
        let mut words = line.split_whitespace();
        let Some(share) = words.next().and_then(|word| word.strip_suffix('%')) else {
            continue;
        };
        let share: f64 = share
            .parse()
            .with_context(|| format!("not a line of perf: {line:?}"))?;
        let object = words.next().unwrap_or_default();
        let symbol = words.skip(1).collect::<Vec<_>>().join(" ");
        *parts.entry(part(object, &symbol)).or_insert(0.0) += share;
    }
    if parts.is_empty() {
        bail!("perf reported nothing");
    }
    Ok(parts)
}

fn part(object: &str, symbol: &str) -> &'static str {
    if object.starts_with("[kernel") {
        return "kernel";
    }
    if object.starts_with("libc") || object == "[vdso]" {
        return "libc (copies, clocks, system calls)";
    }
    // The first crate in the path that is not the standard library: `<core::pin::Pin<P> as tokio::…`.
    let owner = symbol
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .find(|word| {
            PARTS
                .iter()
                .any(|(_, crates)| crates.iter().any(|name| starts(word, name)))
        });
    let Some(owner) = owner else {
        return "other";
    };
    PARTS
        .iter()
        .find(|(_, crates)| crates.iter().any(|name| starts(owner, name)))
        .map_or("other", |(part, _)| part)
}

/// A crate's own name, or a C symbol with its prefix.
fn starts(word: &str, name: &str) -> bool {
    word == name
        || word
            .trim_start_matches('_')
            .strip_prefix(name)
            .is_some_and(|rest| matches!(name, "mi" | "ring") && rest.starts_with('_'))
}
