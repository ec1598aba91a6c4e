//! How long does it take to merge the reports of ten thousand runners, and in how much memory?
//!
//! Makes 10 000 distinct reports (10 000 requests each, three kinds of request), writes them as files as a runner
//! delivers them (compact JSON, gzip), and merges them from the files in processes of their own: the first 100, then all, so
//! that peak memory can be compared; on one thread and on two. The files come from the page cache.
//!
//! Run: `cargo bench -p kperf-merge`; `-- --reports N --requests N --plain --derived` change what is merged.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a program that prints what it measured"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use flate2::{Compression, write::GzEncoder};
use kperf_merge::{Options, merge_all};
use nix::sys::resource::{UsageWho, getrusage};
use support::{Random, Run, document, exchanges};

struct Asked {
    reports: usize,
    requests: usize,
    plain: bool,
    derived: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, dir, reports, threads] = arguments.as_slice()
        && flag == "--child"
    {
        merge(
            Path::new(dir),
            reports.parse().unwrap(),
            threads.parse().unwrap(),
        );
        return;
    }
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse().ok()
    };
    let asked = Asked {
        reports: value("--reports").unwrap_or(10_000),
        requests: value("--requests").unwrap_or(10_000),
        plain: arguments.iter().any(|argument| argument == "--plain"),
        derived: arguments.iter().any(|argument| argument == "--derived"),
    };
    let dir = std::env::temp_dir().join(format!("kperf-merge-bench-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let (json, stored) = write_reports(&dir, &asked);
    println!(
        "{} reports of {} requests: {:.1} KiB of JSON each, {:.1} KiB as stored",
        asked.reports,
        asked.requests,
        json / 1024.0,
        stored / 1024.0
    );
    println!(
        "{:>8} {:>8} {:>9} {:>9} {:>14} {:>10}",
        "reports", "threads", "seconds", "CPU s", "CPU us/report", "peak MiB"
    );
    let few = asked.reports.min(100);
    for (reports, threads) in [(few, 1), (asked.reports, 1), (few, 2), (asked.reports, 2)] {
        // The best of three: other work on the machine only ever adds.
        let best = (0..3)
            .map(|_| {
                let output = Command::new(std::env::current_exe().unwrap())
                    .args([
                        "--child",
                        dir.to_str().unwrap(),
                        &reports.to_string(),
                        &threads.to_string(),
                    ])
                    .output()
                    .unwrap();
                let text = String::from_utf8(output.stdout).unwrap();
                let numbers = text.split_whitespace().map(|one| one.parse().unwrap());
                let [seconds, cpu, peak] = numbers.collect::<Vec<f64>>()[..] else {
                    unreachable!("three numbers");
                };
                (seconds, cpu, peak)
            })
            .min_by(|one, other| one.0.total_cmp(&other.0))
            .unwrap();
        println!(
            "{reports:>8} {threads:>8} {:>9.3} {:>9.3} {:>14.1} {:>10.1}",
            best.0,
            best.1,
            best.1 / reports as f64 * 1e6,
            best.2
        );
    }
    fs::remove_dir_all(&dir).unwrap();
}

/// Mean sizes: as JSON and as stored.
fn write_reports(dir: &Path, asked: &Asked) -> (f64, f64) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let numbers: Vec<usize> = (0..asked.reports).collect();
    let sums: Vec<(usize, usize)> = std::thread::scope(|scope| {
        let parts: Vec<_> = numbers
            .chunks(asked.reports.div_ceil(threads))
            .map(|part| {
                scope.spawn(|| {
                    let sizes = part.iter().map(|number| write_report(dir, *number, asked));
                    sizes.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
                })
            })
            .collect();
        parts.into_iter().map(|part| part.join().unwrap()).collect()
    });
    let (json, stored) = sums
        .iter()
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    (
        json as f64 / asked.reports as f64,
        stored as f64 / asked.reports as f64,
    )
}

fn write_report(dir: &Path, number: usize, asked: &Asked) -> (usize, usize) {
    let mut random = Random::new(number as u64 + 1);
    let exchanges = exchanges(&mut random, asked.requests);
    let id = format!("r{number:x}-{:06x}", random.below(1 << 24));
    let text = serde_json::to_vec(&document(&Run {
        id: &id,
        start_unix_us: 1_795_000_000_000_000 + random.below(20_000),
        length_ns: 60_000_000_000 + random.below(10_000_000),
        exchanges: &exchanges,
        derived: asked.derived,
    }))
    .unwrap();
    let stored = if asked.plain {
        text.clone()
    } else {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&text).unwrap();
        encoder.finish().unwrap()
    };
    fs::write(path(dir, number), &stored).unwrap();
    (text.len(), stored.len())
}

fn path(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("runner-{number}.json"))
}

/// Prints seconds, seconds of CPU and peak MiB of this process.
fn merge(dir: &Path, reports: usize, threads: usize) {
    let numbers: Vec<usize> = (0..reports).collect();
    let begin = Instant::now();
    let outcome = merge_all(
        Options::default(),
        &numbers,
        threads,
        |number| format!("runner-{number}"),
        |number, buffer| {
            fs::File::open(path(dir, *number))?
                .read_to_end(buffer)
                .map(drop)
        },
    );
    let seconds = begin.elapsed().as_secs_f64();
    assert!(outcome.refused.is_empty(), "{:?}", outcome.refused.first());
    let merged = outcome.merged.unwrap();
    assert_eq!(merged.runners.len(), reports);
    assert_eq!(
        merged.overall.sent,
        merged.runners.iter().map(|line| line.sent).sum::<u64>()
    );
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let cpu = usage.user_time() + usage.system_time();
    let cpu = cpu.tv_sec() as f64 + cpu.tv_usec() as f64 / 1e6;
    println!("{seconds} {cpu} {}", usage.max_rss() as f64 / 1024.0);
}
