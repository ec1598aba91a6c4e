//! `kperf-host audit`: limits on what Prometheus saw in a window of time.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use anyhow::anyhow;
use clap::Args;

use super::output::{self, OutputArgs};
use crate::{
    exit::{Exit, Failed, OrExit as _},
    export::Exports,
    live::Live,
    plugins::Plugins,
    prometheus::{self, Access, ClientError, Queries, Source, Window},
    report::{Results, RunFacts},
    run,
};

/// Which Prometheus, and what to ask.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Prometheus")]
pub struct PrometheusArgs {
    /// Ask this Prometheus the queries of --queries about the window, of a run its own.
    #[arg(long, value_name = "URL", requires = "queries")]
    pub prometheus: Option<String>,
    /// Queries with limits, YAML (see examples/queries), or an input of perfscale-audit.
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    pub queries: Option<PathBuf>,
    /// File with a bearer token for Prometheus.
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    pub prometheus_token_file: Option<PathBuf>,
    /// File with USER:PASSWORD for Prometheus.
    #[arg(
        long,
        value_name = "FILE",
        requires = "prometheus",
        conflicts_with = "prometheus_token_file"
    )]
    pub prometheus_basic_auth_file: Option<PathBuf>,
    /// Certificates to trust for Prometheus, PEM [default: the machine's].
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    pub prometheus_ca_file: Option<PathBuf>,
    /// Do not verify Prometheus' certificate.
    #[arg(long, requires = "prometheus")]
    pub prometheus_insecure_skip_tls_verify: bool,
}

impl PrometheusArgs {
    /// What the flags mean; none without a Prometheus.
    ///
    /// # Errors
    /// The file of queries cannot be used.
    pub fn source(&self) -> Result<Option<Source>, Failed> {
        let (Some(url), Some(file)) = (&self.prometheus, &self.queries) else {
            return Ok(None);
        };
        let queries = Queries::read(file).or_exit(Exit::Usage)?;
        for warning in &queries.warnings {
            tracing::warn!("--queries {}: {warning}", file.display());
        }
        Ok(Some(Source {
            access: Access {
                url: url.clone(),
                token_file: self.prometheus_token_file.clone(),
                basic_auth_file: self.prometheus_basic_auth_file.clone(),
                ca_file: self.prometheus_ca_file.clone(),
                insecure_skip_tls_verify: self.prometheus_insecure_skip_tls_verify,
            },
            queries,
        }))
    }
}

/// Arguments of `audit`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  kperf-host audit --prometheus http://127.0.0.1:9090 --queries examples/queries/api-server.yaml --last 1h
  kperf-host audit --prometheus https://prometheus --prometheus-token-file token --queries perf-audit-input.json \\
      --start 2026-11-28T19:00:00Z --end 2026-11-28T19:10:00Z --output junit=audit.xml

A missed limit, or a limit on a query without values, ends with exit code 3; a query that Prometheus does not
understand with 2, a Prometheus that is away, or goes away, with 4.")]
pub struct AuditArgs {
    /// Start of the window, RFC 3339.
    #[arg(long, value_name = "TIME", required_unless_present = "last", conflicts_with = "last", value_parser = time)]
    pub start: Option<SystemTime>,
    /// End of the window, RFC 3339 [default: now].
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub end: Option<SystemTime>,
    /// Length of the window before its end, for example 1h.
    #[arg(long, value_name = "TIME", value_parser = super::seconds_or_duration)]
    pub last: Option<Duration>,
    /// Which Prometheus, and what to ask.
    #[command(flatten)]
    pub prometheus: PrometheusArgs,
    /// A label of the audit, kept in the report. Repeatable.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// Result flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A moment in RFC 3339.
fn time(text: &str) -> Result<SystemTime, String> {
    text.parse::<jiff::Timestamp>()
        .map(SystemTime::from)
        .map_err(|error| format!("{error}; write for example 2026-11-28T19:00:00Z"))
}

/// Runs the command.
///
/// # Errors
/// Bad input, or a Prometheus that cannot be asked.
pub fn run(args: &AuditArgs, live: &Live) -> Result<Exit, Failed> {
    let usage = |error| Failed {
        exit: Exit::Usage,
        error,
    };
    let source = args
        .prometheus
        .source()?
        .ok_or_else(|| usage(anyhow!("give --prometheus and --queries")))?;
    let end = args.end.unwrap_or_else(SystemTime::now);
    let (flag, start) = match (args.start, args.last) {
        (Some(start), _) => ("--start", Some(start)),
        (None, last) => ("--last", end.checked_sub(last.unwrap_or_default())),
    };
    let start = start
        .filter(|start| *start >= SystemTime::UNIX_EPOCH)
        .ok_or_else(|| usage(anyhow!("{flag}: the window would begin before 1970")))?;
    if start >= end {
        return Err(usage(anyhow!("the window ends before it begins")));
    }
    let mut plugins = Plugins::new(super::run::limits(256)).or_exit(Exit::Failure)?;
    let labels = super::run::labels(&args.labels)?;
    let outputs = output::prepare(&args.output, &mut plugins)?;
    let on_stderr = outputs.iter().any(|output| output.destination.is_stdout());
    let run_id = run::run_id(start, run::drawn_seed());

    let window = Window::new(start, end);
    let answers = source.about(&window).map_err(ClientError::into_failed)?;
    let exports = Exports::begin(outputs, &run_id)?;
    let facts = RunFacts {
        run_id,
        description: "audit of a window of time by Prometheus".to_owned(),
        labels,
        server: source.access.url.clone(),
        environment: run::environment(&format!("Prometheus at {}", source.access.url)),
        plugins: Vec::new(),
        start,
    };
    let is_away = answers.failures.iter().any(ClientError::is_unreachable);
    let failed = !answers.failures.is_empty();
    let results = Results {
        length: Some(window.length()),
        ..Results::default()
    };
    let whole = prometheus::with_answers(&facts, &[], results, &[], answers);
    let missed = whole.thresholds.iter().any(|threshold| !threshold.passed);
    let undelivered = run::deliver(whole, exports, on_stderr, live);
    Ok(match () {
        // What was not answered missed no limit, whatever the report has to say about it.
        () if is_away => Exit::Target,
        () if failed => Exit::Failure,
        () if missed => Exit::Missed,
        () if undelivered => Exit::Output,
        () => Exit::Success,
    })
}
