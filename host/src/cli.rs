//! Arguments as typed. Each command is a file below `cli/`: arguments → library call → output.

use std::{path::PathBuf, time::Duration};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser as _},
};

use crate::{
    exit::{Exit, Failed},
    live::Live,
};

pub mod audit;
pub mod bench;
pub mod cleanup;
pub mod data;
pub mod merge;
pub mod net;
pub mod opened;
pub mod output;
pub mod plugin;
pub mod run;
pub mod runner;
pub mod runner_group;
pub mod runners;
pub mod server;
pub mod shell;
pub mod sim;
pub mod table;
pub mod validate;
pub mod vc;
pub mod verbosity;
pub mod warmup;

/// Benchmarks for Kubernetes API servers and clusters, with plugins as WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "kperf-host", version, propagate_version = true, after_help = Exit::table())]
pub struct Cli {
    /// More log lines on stderr: -v debug, -vv trace of this program, -vvv of its libraries too. kperf's
    /// levels are taken too: -v=2, -v=5, -v=10.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// No progress bar and no colours, also on a terminal.
    #[arg(long, global = true)]
    pub plain: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Drive load with a plugin or a profile, or run a benchmark, and report what was measured.
    Run(Box<run::RunArgs>),
    /// Run a scenario of kperf's, or a benchmark of your own, with kperf's output.
    Bench(bench::BenchArgs),
    /// kperf's own commands, with kperf's flags and output.
    Runner {
        /// What to do.
        #[command(subcommand)]
        command: runner::RunnerCommand,
    },
    /// Check limits on what a Prometheus saw in a window of time.
    Audit(Box<audit::AuditArgs>),
    /// Runner groups: the same load from many pods, or from many processes of this machine, started together.
    #[command(name = "runnergroup", alias = "rg")]
    RunnerGroup(runner_group::RunnerGroupArgs),
    /// Delete what an earlier run created and did not delete.
    Cleanup(cleanup::CleanupArgs),
    /// Merge reports of shards, pods and days into one.
    Merge(Box<merge::MergeArgs>),
    /// Network benchmarks by measuring programs such as iperf3.
    Net {
        /// What to do.
        #[command(subcommand)]
        command: net::NetCommand,
    },
    /// Virtual nodes, with kperf's flags.
    #[command(name = "virtualcluster", visible_alias = "vc")]
    Vc {
        /// What to do.
        #[command(subcommand)]
        command: vc::VcCommand,
    },
    /// Fill a server with objects, with kperf's flags.
    Data {
        /// Of what.
        #[command(subcommand)]
        command: data::DataCommand,
    },
    /// Make a control plane that grows with its load grow before something is measured on it.
    Warmup(Box<warmup::WarmupArgs>),
    /// Check a load profile; needs no cluster.
    Validate(validate::ValidateArgs),
    /// List, inspect and start plugins.
    Plugin {
        /// What to do.
        #[command(subcommand)]
        command: plugin::PluginCommand,
    },
    /// Serve the in-memory API server until Ctrl-C.
    Sim(sim::SimArgs),
    /// Print the completions of a shell.
    Completions(shell::CompletionsArgs),
    /// Print the manual page, or write all of them.
    Man(shell::ManArgs),
}

/// Starts the log and runs the command.
///
/// # Errors
/// Whatever ended the command, with its exit code.
pub fn dispatch(cli: Cli) -> Result<Exit, Failed> {
    start_log(cli.verbose, cli.plain);
    let live = Live::new(cli.plain);
    match cli.command {
        Command::Run(args) => run::run(*args, live),
        Command::Bench(args) => bench::run(&args, &live),
        Command::Runner { command } => runner::run(command, live),
        Command::Audit(args) => audit::run(&args, &live),
        Command::RunnerGroup(args) => runner_group::run(args, &live),
        Command::Cleanup(args) => cleanup::run(&args, &live),
        Command::Merge(args) => merge::run(&args, &live),
        Command::Net { command } => net::run(command, &live),
        Command::Data { command } => data::run(command, &live),
        Command::Vc { command } => vc::run(command, &live),
        Command::Warmup(args) => {
            let mut live = live;
            warmup::run(&args, &mut live)
        }
        Command::Validate(args) => validate::run(&args, &live),
        Command::Plugin { command } => plugin::run(&command),
        Command::Sim(args) => sim::run(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
    }
}

/// Log lines go to stderr; RUST_LOG wins over the flag.
fn start_log(verbose: u8, plain: bool) {
    use std::io::IsTerminal as _;
    let ours = |level: &str| {
        [
            "host", "load", "merge", "runtime", "cluster", "network", "runners", "sim",
        ]
        .map(|room| format!("kperf_{room}={level}"))
        .join(",")
    };
    let default = match verbose {
        0 => "warn".to_owned(),
        1 => format!("warn,{}", ours("debug")),
        2 => format!("warn,{}", ours("trace")),
        _ => "debug".to_owned(),
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let colours =
        !plain && std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(verbose > 0)
        // Of a closed stderr it would tell with eprintln!, which panics there.
        .log_internal_errors(false)
        .init();
}

/// Targets that take none of the flags of `--server`.
const NOT_SERVER: [&str; 4] = ["kubeconfig", "context", "in_cluster", "sim"];
/// Targets that take none of the flags of `--sim`.
const NOT_SIM: [&str; 4] = ["kubeconfig", "context", "in_cluster", "server"];

/// Where the load goes.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Target")]
pub struct TargetArgs {
    /// Kubeconfig file [default: $KUBECONFIG, then ~/.kube/config, then the pod's service account].
    // Clap refuses an empty path before anyone can say what it means: to kperf, the service account.
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current context].
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Use the pod's service account.
    #[arg(long, conflicts_with_all = ["kubeconfig", "context", "server", "sim"])]
    pub in_cluster: bool,
    /// URL of the API server, in place of a kubeconfig.
    #[arg(long, value_name = "URL", conflicts_with_all = ["kubeconfig", "context", "sim"])]
    pub server: Option<String>,
    // Clap drops `requires = "server"` when another target rules `server` out, so each flag of --server
    // names the other targets itself: no flag is ever taken and ignored.
    /// Bearer token for --server [default: $KPERF_TOKEN, unless --token-file is given].
    // Not clap's `env`: a variable is no wish for --server, and must not clash with --token-file.
    #[arg(long, value_name = "TOKEN", requires = "server", conflicts_with_all = NOT_SERVER)]
    pub token: Option<String>,
    /// File with the bearer token for --server; read again when it changes.
    #[arg(
        long,
        value_name = "FILE",
        requires = "server",
        conflicts_with_all = NOT_SERVER,
        conflicts_with = "token"
    )]
    pub token_file: Option<PathBuf>,
    /// Certificates to trust for --server, PEM.
    #[arg(long, value_name = "FILE", requires = "server", conflicts_with_all = NOT_SERVER)]
    pub ca_file: Option<PathBuf>,
    /// Client certificate for --server, PEM.
    #[arg(
        long,
        value_name = "FILE",
        requires = "server",
        requires = "client_key",
        conflicts_with_all = NOT_SERVER
    )]
    pub client_certificate: Option<PathBuf>,
    /// Key of the client certificate, PEM.
    #[arg(
        long,
        value_name = "FILE",
        requires = "server",
        requires = "client_certificate",
        conflicts_with_all = NOT_SERVER
    )]
    pub client_key: Option<PathBuf>,
    /// Do not verify the server's certificate.
    #[arg(long, requires = "server", conflicts_with_all = NOT_SERVER)]
    pub insecure_skip_tls_verify: bool,
    /// Start the in-memory API server in this process and use it. Optional value:
    /// comma-separated counts, for example nodes=10,namespaces=4,pods=250,configmaps=100 (the default;
    /// pods and configmaps are per namespace).
    #[arg(long, value_name = "OBJECTS", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["kubeconfig", "context"])]
    pub sim: Option<String>,
    /// Faults of --sim, for example latency=5ms,stall=1s@3s,429=0.1:1s,goaway=50 (see `sim --help`).
    #[arg(long, value_name = "FAULTS", requires = "sim", conflicts_with_all = NOT_SIM)]
    pub sim_faults: Option<String>,
}

/// kperf's load flags; each overrides the profile.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Load")]
pub struct LoadArgs {
    /// Requests per second, 0 = closed loop: as fast as the clients go.
    #[arg(long, value_name = "PER_SECOND", allow_negative_numbers = true)]
    pub rate: Option<f64>,
    /// Requests in all [default: the profile's; 1000 when there is no duration either].
    #[arg(long, value_name = "N")]
    pub total: Option<u64>,
    /// How long to send: seconds, or with a unit (90s, 5m). Ignored when a total is set.
    #[arg(long, value_name = "TIME", value_parser = seconds_or_duration)]
    pub duration: Option<Duration>,
    /// Connections, all opened before the first request [default: the profile's, else 1].
    #[arg(long, value_name = "N")]
    pub conns: Option<u32>,
    /// Clients; client i works on connection i mod conns [default: the profile's, else 1].
    #[arg(long, value_name = "N")]
    pub client: Option<u32>,
    /// What to accept.
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<ContentType>,
    /// Use HTTP/1.1, one socket per client.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", require_equals = true)]
    pub disable_http2: Option<bool>,
    /// How often a 429 or 5xx with Retry-After is tried again.
    #[arg(long, value_name = "N")]
    pub max_retries: Option<u32>,
    /// User-Agent of the requests.
    #[arg(long, value_name = "TEXT")]
    pub user_agent: Option<String>,
}

impl LoadArgs {
    /// A flag of these that was given, for messages.
    #[must_use]
    pub fn given(&self) -> Option<&'static str> {
        [
            (self.rate.is_some(), "--rate"),
            (self.total.is_some(), "--total"),
            (self.duration.is_some(), "--duration"),
            (self.conns.is_some(), "--conns"),
            (self.client.is_some(), "--client"),
            (self.content_type.is_some(), "--content-type"),
            (self.disable_http2.is_some(), "--disable-http2"),
            (self.max_retries.is_some(), "--max-retries"),
        ]
        .into_iter()
        .find_map(|(given, flag)| given.then_some(flag))
    }
}

/// Flags of the engine that kperf does not have.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Engine")]
pub struct EngineArgs {
    /// Seed of every random choice [default: drawn; the summary says which].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Threads that send, each with its own connections [default: by cores and connections].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub shards: Option<u32>,
    /// Longest wait for an answer, 0 = forever. Plugins send it as `timeout=` too.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = seconds_or_duration)]
    pub deadline: Duration,
    /// Arrivals within one tick are released together.
    #[arg(long, value_name = "TIME", default_value = "100us", value_parser = duration)]
    pub tick: Duration,
    /// Longest wait for answers to pile up before they are read, 0 = off. Only from 4 requests in
    /// flight per connection, and never past a send that is due.
    #[arg(long, value_name = "TIME", default_value = "100us", value_parser = duration)]
    pub pile_up: Duration,
    /// Stamp answers when they are read, not when the kernel received them.
    #[arg(long)]
    pub no_kernel_timestamps: bool,
    /// Arrivals that may wait for a free client before more are dropped
    /// [default: ten seconds of arrivals, at least 10000].
    #[arg(long, value_name = "N")]
    pub max_backlog: Option<u64>,
    /// Length of an interval.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = seconds_or_duration)]
    pub interval: Duration,
}

/// What to accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ContentType {
    /// `application/json`
    Json,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

/// A number a second, from 0.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.0 => Ok(rate),
        _ => Err("give a number from 0".to_owned()),
    }
}

/// A plain number is seconds, as kperf has it; else a number with a unit.
fn seconds_or_duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return bounded(text, seconds);
    }
    duration(text)
}

/// A number with a unit: `100us`, `1.5s`, `2m`, `1h`; parts add up (`1m30s`). A lone 0 needs none.
///
/// # Errors
/// Names what could not be read.
pub fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut sum = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(|| {
                format!("`{text}` has no unit; write for example 100us, 5ms, 90s, 5m")
            })?;
        let (number, after) = rest.split_at(digits);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let value: f64 = number
            .parse()
            .map_err(|_| format!("`{number}` in `{text}` is not a number"))?;
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => {
                return Err(format!(
                    "`{unit}` in `{text}` is not a unit; use ns, us, ms, s, m or h"
                ));
            }
        };
        sum += value * seconds;
        rest = next;
    }
    if text.is_empty() {
        return Err("empty; write for example 100us, 5ms, 90s, 5m".to_owned());
    }
    bounded(text, sum)
}

/// Longest time that can be asked for: clocks can add it up without an end in sight.
const LONGEST_YEARS: u64 = 100;

fn bounded(text: &str, seconds: f64) -> Result<Duration, String> {
    let longest = Duration::from_secs(LONGEST_YEARS * 365 * 24 * 3600);
    // What is too large for a duration is too large as well.
    if seconds > longest.as_secs_f64() {
        return Err(format!(
            "`{text}` is longer than {LONGEST_YEARS} years, the longest time there is here"
        ));
    }
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations() {
        assert_eq!(duration("100us"), Ok(Duration::from_micros(100)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(seconds_or_duration("60"), Ok(Duration::from_secs(60)));
        assert!(duration("60").unwrap_err().contains("no unit"));
        assert!(duration("6 parsecs").unwrap_err().contains("not a unit"));
        assert!(duration("").is_err());
        for text in ["1e19", "1e300", "inf", "4000000000"] {
            let error = seconds_or_duration(text).unwrap_err();
            assert!(error.contains("100 years"), "{error}");
        }
        let error = duration("999999999999h").unwrap_err();
        assert!(error.contains("100 years"), "{error}");
        assert!(seconds_or_duration("nan").is_err());
        let longest = seconds_or_duration("3153600000").unwrap();
        assert!(std::time::Instant::now().checked_add(longest).is_some());
        assert!(duration("-1s").is_err());
    }
}
