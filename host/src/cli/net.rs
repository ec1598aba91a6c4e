//! `kperf-host net`: network benchmarks by measuring programs such as iperf3.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use kperf_runtime::{Limits, ParsedOutput, ToolOutput};
use serde_json::{Map, Value, json};

use crate::{
    exit::{Exit, Failed, OrExit as _},
    live::Live,
    network::{load_tool, result_name},
    plugins::Plugins,
};

pub mod deliver;
pub mod launch;
pub mod local;
pub mod measure;
pub mod orchestrator;
pub mod progress;
pub mod report;
pub mod worker;

/// The commands of `net`.
#[derive(Debug, Subcommand)]
pub enum NetCommand {
    /// Run a network benchmark between worker processes on this machine; no cluster needed.
    Run(Box<local::RunArgs>),
    /// Be a worker: run what an orchestrator asks for, within the allow list.
    Worker(Box<worker::WorkerArgs>),
    /// Be the orchestrator of workers anywhere: pair them, measure, keep and hand over the results.
    Orchestrator(Box<orchestrator::OrchestratorArgs>),
    /// Run a network benchmark between pods of a cluster: deploy, wait, fetch the results, remove everything.
    Launch(Box<launch::LaunchArgs>),
    /// Judge, show and export the results file of an earlier run, of this program or another.
    Report(report::ReportArgs),
    /// Say what the output of a measuring program means, as one JSON object.
    Parse(ParseArgs),
}

/// Arguments of `net parse`.
#[derive(Debug, Args)]
#[command(after_long_help = "Prints one JSON object:
  {\"benchmark\": …, \"metrics\": [{\"name\", \"value\", \"unit\", \"labels\": {…}}]}   exit 0
  {\"benchmark\": …, \"error\": {\"class\", \"message\"}}                          exit 8

Examples:
  kperf-host net parse --benchmark iperf3-tcp iperf3.json
  fortio load -json - … 2>&1 | kperf-host net parse --benchmark fortio-tcp -
  kperf-host net parse --benchmark ./mine.wasm --exit-code 1 --stderr err.txt out.txt
")]
pub struct ParseArgs {
    /// The tool: iperf3-tcp, netperf-tcp-rr, netperf-tcp-stream, qperf-tcp, fortio-tcp, fortio-http, or a plugin file.
    #[arg(long, value_name = "TOOL")]
    pub benchmark: String,
    /// The command that was run, for what its output does not say itself. Quotes as in a shell; nothing is run.
    #[arg(long, value_name = "COMMAND")]
    pub command: Option<String>,
    /// The status it exited with.
    #[arg(long, value_name = "N", conflicts_with_all = ["signal", "timed_out"], allow_negative_numbers = true)]
    pub exit_code: Option<i32>,
    /// The signal that ended it, for example SIGTERM.
    #[arg(long, value_name = "NAME")]
    pub signal: Option<String>,
    /// It was ended at its time limit.
    #[arg(long)]
    pub timed_out: bool,
    /// What it wrote to standard error, when that was kept apart.
    #[arg(long, value_name = "FILE")]
    pub stderr: Option<PathBuf>,
    /// What it wrote to standard output, or both streams mixed; - is standard input.
    #[arg(value_name = "STDOUT_FILE")]
    pub stdout: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// Bad input, or a plugin that cannot be used.
pub fn run(command: NetCommand, live: &Live) -> Result<Exit, Failed> {
    match command {
        NetCommand::Run(args) => local::run(*args, live),
        NetCommand::Worker(args) => worker::run(*args),
        NetCommand::Orchestrator(args) => orchestrator::run(&args, live),
        NetCommand::Launch(args) => launch::run(*args, live),
        NetCommand::Report(args) => report::run(&args, live),
        NetCommand::Parse(args) => parse(&args),
    }
}

fn parse(args: &ParseArgs) -> Result<Exit, Failed> {
    let mut plugins = Plugins::new(Limits::default()).or_exit(Exit::Failure)?;
    let plugin = load_tool(&mut plugins, &args.benchmark)?;
    let arguments = match &args.command {
        Some(command) => shlex::split(command)
            .ok_or_else(|| anyhow!("--command {command}: its quotes do not end"))
            .or_exit(Exit::Usage)?
            .into_iter()
            .skip(1)
            .collect(),
        None => Vec::new(),
    };
    let output = ToolOutput {
        arguments,
        stdout: read(&args.stdout)?,
        stderr: args
            .stderr
            .as_deref()
            .map(read)
            .transpose()?
            .unwrap_or_default(),
        exit_code: args.exit_code,
        signal: args.signal.clone().unwrap_or_default(),
        timed_out: args.timed_out,
        clipped: false,
    };
    let config = plugin.resolve_config(None).or_exit(Exit::Failure)?;
    let tool = plugin.open_tool(&config).or_exit(Exit::Plugin)?;
    let parsed = tool.parse(output);
    let benchmark = result_name(&plugin);
    print(&document(&benchmark, &parsed))?;
    Ok(if parsed.is_ok() {
        Exit::Success
    } else {
        Exit::NoResult
    })
}

/// What an output says, as it is printed and kept.
#[must_use]
pub fn document(benchmark: &str, parsed: &ParsedOutput) -> Value {
    match parsed {
        Ok(readings) => {
            let metrics: Vec<Value> = readings
                .iter()
                .map(|reading| {
                    let labels: Map<String, Value> = reading
                        .labels
                        .iter()
                        .map(|label| (label.key.clone(), json!(label.value)))
                        .collect();
                    json!({
                        "name": reading.name,
                        "value": reading.value,
                        "unit": reading.unit,
                        "labels": labels,
                    })
                })
                .collect();
            json!({ "benchmark": benchmark, "metrics": metrics })
        }
        Err(error) => json!({
            "benchmark": benchmark,
            "error": { "class": error.class, "message": error.message },
        }),
    }
}

fn read(path: &Path) -> Result<String, Failed> {
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    read.with_context(|| format!("cannot read {}", path.display()))
        .or_exit(Exit::Usage)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn print(value: &Value) -> Result<(), Failed> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{value}")
        .context("cannot write to standard output")
        .or_exit(Exit::Failure)
}
