//! What must hold over time: memory, start-up, and numbers that do not depend on how sockets are read.

use std::{
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::{
    measure::{median, pinned, resident_kib, run},
    server::Server,
};

pub(crate) fn memory(kperf: &Path, server: &Server, seconds: u64) -> anyhow::Result<()> {
    let duration = format!("--duration={seconds}");
    let command = server.kperf(
        kperf,
        "small",
        &[&duration, "--conns=100", "--client=1000", "--shards=1"],
    );
    let mut child = pinned(1, command)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let started = Instant::now();
    let mut samples = Vec::new();
    println!("resident memory of 1000 clients on 100 connections at full speed, a sample a second");
    loop {
        std::thread::sleep(Duration::from_secs(1));
        if child.try_wait()?.is_some() {
            break;
        }
        // `taskset` has replaced itself by the client: the process is the one we started.
        if let Some(kib) = resident_kib(child.id()) {
            samples.push(kib);
        }
        if started.elapsed() > Duration::from_secs(seconds + 30) {
            child.kill()?;
            bail!("the run did not end");
        }
    }
    let mib = |kib: u64| kib as f64 / 1024.0;
    let at = |index: usize| samples.get(index).copied().unwrap_or(0);
    println!(
        "after 5 s {:.1} MiB, in the middle {:.1} MiB, at the end {:.1} MiB, most {:.1} MiB",
        mib(at(5.min(samples.len().saturating_sub(1)))),
        mib(at(samples.len() / 2)),
        mib(at(samples.len().saturating_sub(2))),
        mib(samples.iter().copied().max().unwrap_or(0)),
    );
    Ok(())
}

pub(crate) fn start(kperf: &Path, server: &Server, rounds: usize) -> anyhow::Result<()> {
    let command = server.kperf(kperf, "small", &["--total=1"]);
    run(&command)?;
    let mut walls = Vec::new();
    for _ in 0..rounds {
        walls.push(run(&command)?.wall.as_secs_f64() * 1e3);
    }
    println!(
        "a run of one request, process start to end, compiled plugin cached: median {:.1} ms of {rounds} (the request is sent before that)",
        median(walls)
    );
    Ok(())
}

pub(crate) fn pile_up(
    kperf: &Path,
    server: &Server,
    rate: u64,
    seconds: u64,
    rounds: usize,
) -> anyhow::Result<()> {
    const PERCENTILES: [&str; 4] = ["p50", "p90", "p99", "p99.9"];
    const KINDS: [(&str, &[&str]); 4] = [
        ("pile-up 100 us, kernel stamps", &[]),
        ("no pile-up, kernel stamps", &["--pile-up=0"]),
        (
            "pile-up 100 us, stamped at read",
            &["--no-kernel-timestamps"],
        ),
        (
            "no pile-up, stamped at read",
            &["--pile-up=0", "--no-kernel-timestamps"],
        ),
    ];
    println!(
        "service time in us at {rate}/s for {seconds} s, 10 connections, 100 clients, median of {rounds}"
    );
    let file = server.dir.path().join("report.json");
    let output = format!("--output=json={}", file.display());
    let (rate, duration) = (format!("--rate={rate}"), format!("--duration={seconds}"));
    let mut samples = vec![vec![Vec::new(); PERCENTILES.len()]; KINDS.len()];
    for _ in 0..rounds {
        for ((_, flags), samples) in KINDS.iter().zip(&mut samples) {
            let mut more = vec![
                rate.as_str(),
                duration.as_str(),
                "--conns=10",
                "--client=100",
                "--shards=1",
                output.as_str(),
            ];
            more.extend(*flags);
            run(&server.kperf(kperf, "small", &more))?;
            let report: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
            let percentiles = report
                .pointer("/overall/service_time/percentiles_ns")
                .context("the report has no percentiles")?;
            for (name, samples) in PERCENTILES.iter().zip(samples) {
                let ns = percentiles.get(*name).and_then(Value::as_f64);
                samples.push(ns.with_context(|| format!("no {name}"))? / 1e3);
            }
        }
    }
    println!(
        "{:<34} {:>8} {:>8} {:>8} {:>8}",
        "", "p50", "p90", "p99", "p99.9"
    );
    for ((name, _), samples) in KINDS.iter().zip(samples) {
        print!("{name:<34}");
        for samples in samples {
            print!(" {:>8.0}", median(samples));
        }
        println!();
    }
    Ok(())
}
