//! `kperf-host merge`: report documents in, one report out.

use std::{
    fs::File,
    io::{self, Read as _},
    num::NonZero,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use clap::Args;
use kperf_merge::{Options, merge_all};
use kperf_runtime::Limits;

use crate::{
    cli::output::{self, OutputArgs},
    exit::{Exit, Failed, OrExit as _},
    export::Exports,
    live::Live,
    merge,
    plugins::Plugins,
    run,
    threshold::ThresholdSpec,
};

/// Damaged documents that are told one by one.
const TOLD: usize = 10;

/// Arguments of `merge`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  kperf-host merge shard-1.json shard-2.json.gz
  kperf-host merge results/ --output json=whole.json --threshold 'response p99 <= 1s'
  kperf-host merge results/ --skip-bad --output kperf-json --output-set kperf-json.format=flat

The exit code is that of the worst run: 5 if a plugin failed in one, 130 if one was interrupted, 3 if a limit was not kept.
")]
pub struct MergeArgs {
    /// What `--output json=FILE` wrote, plain or compressed with gzip; a folder means every .json and .json.gz in it,
    /// - means one document on standard input.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Leave out documents that cannot be merged, and say so in the report; without it they are an error.
    #[arg(long)]
    pub skip_bad: bool,
    /// Merge runs of different profiles too: other phases, settings or plugins.
    #[arg(long)]
    pub mixed: bool,
    /// Most runners whose own numbers are in the report.
    #[arg(long, value_name = "N", default_value_t = merge::LINES)]
    pub runner_lines: usize,
    /// A limit that decides about the exit code, on top of those the documents were judged by, which are judged
    /// anew. Repeatable.
    #[arg(long = "threshold", value_name = "EXPRESSION")]
    pub thresholds: Vec<String>,
    /// Result flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// No documents, documents that do not merge, an output that cannot be used.
pub fn run(args: &MergeArgs, live: &Live) -> Result<Exit, Failed> {
    let limits = args
        .thresholds
        .iter()
        .map(|text| ThresholdSpec::parse(text).with_context(|| format!("--threshold {text}")))
        .collect::<anyhow::Result<Vec<_>>>()
        .or_exit(Exit::Usage)?;
    let mut plugins = Plugins::new(Limits::default()).or_exit(Exit::Failure)?;
    let outputs = output::prepare(&args.output, &mut plugins)?;
    let on_stderr = outputs.iter().any(|output| output.destination.is_stdout());
    let files = documents(&args.files)?;

    let options = Options {
        mixed: args.mixed,
        raw_data: args.output.raw_data,
        run_id: None,
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let name = |path: &PathBuf| path.display().to_string();
    let outcome = merge_all(options, &files, threads, name, |path, buffer| {
        read(path, buffer)
    });
    let all = files.len();
    for refused in outcome.refused.iter().take(TOLD) {
        live.say(&format!("not merged: {refused}"));
    }
    let bad = outcome.refused.len();
    if bad > TOLD {
        live.say(&format!("not merged: {} more", bad - TOLD));
    }
    let merged = match outcome.merged {
        Some(merged) if bad == 0 || args.skip_bad => merged,
        Some(_) => {
            return Err(Failed {
                exit: Exit::Failure,
                error: anyhow!(
                    "{bad} of {all} documents cannot be merged; --skip-bad merges the others"
                ),
            });
        }
        None => {
            return Err(Failed {
                exit: Exit::Failure,
                error: anyhow!("none of {all} documents can be merged"),
            });
        }
    };
    let report = merge::report(merged, &limits, args.runner_lines);
    let exit = merge::exit(&report.summary, 0);
    let exports = Exports::begin(outputs, &report.summary.run_id)?;
    for interval in report.intervals {
        exports.interval(interval);
    }
    let failures = run::deliver(report.summary, exports, on_stderr, live);
    Ok(match exit {
        Exit::Success if failures => Exit::Output,
        exit => exit,
    })
}

/// The documents in the order they were named; those of a folder by name.
fn documents(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failed> {
    let mut documents = Vec::with_capacity(given.len());
    for path in given {
        if !path.is_dir() {
            documents.push(path.clone());
            continue;
        }
        let mut inside = of_folder(path)
            .with_context(|| format!("cannot read folder {}", path.display()))
            .or_exit(Exit::Usage)?;
        if inside.is_empty() {
            return Err(Failed {
                exit: Exit::Usage,
                error: anyhow!("no .json or .json.gz in folder {}", path.display()),
            });
        }
        inside.sort();
        documents.append(&mut inside);
    }
    Ok(documents)
}

fn of_folder(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut documents = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_hidden = name.starts_with('.');
        if !is_hidden && (name.ends_with(".json") || name.ends_with(".json.gz")) && path.is_file() {
            documents.push(path);
        }
    }
    Ok(documents)
}

fn read(path: &Path, buffer: &mut Vec<u8>) -> io::Result<()> {
    let read = if path == Path::new("-") {
        io::stdin().lock().read_to_end(buffer)
    } else {
        File::open(path)?.read_to_end(buffer)
    };
    read.map(drop)
}
