//! Flags that say what a network benchmark measures, wherever it runs.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser as _},
};
use kperf_network::{Placement, Selection, Tolerance};
use serde_json::{Map, Value};

use crate::{
    cli::output,
    exit::{Exit, Failed, OrExit as _},
    network::{Axis, Measurement},
};

/// How tolerances are written, for `--help`.
pub const TOLERANCES: &str = "Tolerances between paths:
  PATH [METRIC] within N% of PATH
  The mean of the first path may be at most N % worse than that of the second,
  for each pair and each set of parameters. Of bandwidths and rates more is better,
  of times, counts and ratios less. Without METRIC it is the tool's main metric.
  Where no worker has both paths (pod and host), pairs of the same two nodes are
  compared. What was not measured is not within any tolerance, and 100 % or more
  is none where more is better. Misses end the command with code 3.
";

/// What is measured.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Measurement")]
pub struct MeasureArgs {
    /// The tool: iperf3-tcp, netperf-tcp-rr, netperf-tcp-stream, qperf-tcp, fortio-tcp, fortio-http, or a plugin file.
    #[arg(long, value_name = "TOOL")]
    pub benchmark: String,
    /// Set one parameter of the tool (see `plugin inspect`). Repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Measure every pair with each of these values of a parameter; several make a matrix. Repeatable.
    #[arg(long = "vary", value_name = "KEY=A,B,…")]
    pub vary: Vec<String>,
    /// How often each pair is measured; from two on, results have a 95 % confidence interval.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub samples: u32,
    /// Least time limit of one task; the tool may ask for more.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = crate::cli::seconds_or_duration)]
    pub task_limit: Duration,
    /// A further program that workers may run, by its bare name, for tools of third parties. Repeatable.
    #[arg(long = "allow", value_name = "PROGRAM")]
    pub allow: Vec<String>,
    /// Which pairs.
    #[command(flatten)]
    pub pairs: PairArgs,
    /// What is good enough.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Which pairs are measured, and over which paths.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Pairs")]
pub struct PairArgs {
    /// Only pairs of workers that are on the same node, on other nodes, on other nodes of the same zone, or in other
    /// zones; several add up [default: all].
    #[arg(
        long,
        value_name = "WHERE,…",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(Placement::ALL.map(Placement::word))
            .try_map(|word| word.parse::<Placement>())
    )]
    pub pairs: Vec<Placement>,
    /// Only over these paths, of those that workers have, such as pod, service or host; a pair needs them at both ends.
    #[arg(long = "path", value_name = "PATH,…", value_delimiter = ',')]
    pub paths: Vec<String>,
    /// Clients only on this node. Repeatable.
    #[arg(long = "client-node", value_name = "NODE")]
    pub client_nodes: Vec<String>,
    /// Servers only on this node. Repeatable.
    #[arg(long = "server-node", value_name = "NODE")]
    pub server_nodes: Vec<String>,
    /// Clients only in this worker. Repeatable.
    #[arg(long = "client-worker", value_name = "WORKER")]
    pub client_workers: Vec<String>,
    /// Servers only in this worker. Repeatable.
    #[arg(long = "server-worker", value_name = "WORKER")]
    pub server_workers: Vec<String>,
}

/// What is good enough.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// A limit that decides about the exit code: METRIC OP LIMIT, for example
    /// `network-bandwidth_bits_per_second >= 1000000000`. Repeatable.
    #[arg(long = "threshold", value_name = "EXPRESSION")]
    pub thresholds: Vec<String>,
    /// How much worse one path may be than another, for example `pod within 10% of host` (see below). Repeatable.
    #[arg(long = "tolerance", value_name = "EXPRESSION")]
    pub tolerances: Vec<Tolerance>,
}

impl MeasureArgs {
    /// The document that these flags stand for.
    ///
    /// # Errors
    /// Flags that cannot be read. What the tool makes of parameters is known only by [`Measurement::prepare`].
    pub fn measurement(&self) -> Result<Measurement, Failed> {
        let mut parameters = Map::new();
        for set in &self.sets {
            output::assign(&mut parameters, set)
                .with_context(|| format!("--set {set}"))
                .or_exit(Exit::Usage)?;
        }
        let vary = self
            .vary
            .iter()
            .map(|text| axis(text).with_context(|| format!("--vary {text}")))
            .collect::<anyhow::Result<Vec<_>>>()
            .or_exit(Exit::Usage)?;
        Ok(Measurement {
            benchmark: self.benchmark.clone(),
            parameters,
            vary,
            samples: self.samples,
            task_limit_seconds: self.task_limit.as_secs()
                + u64::from(self.task_limit.subsec_nanos() > 0),
            pairs: self.pairs.selection(),
            tolerances: self.limits.tolerances.clone(),
            thresholds: self.limits.thresholds.clone(),
            allow: self.allow.clone(),
        })
    }
}

impl PairArgs {
    fn selection(&self) -> Selection {
        Selection {
            placements: self.pairs.clone(),
            paths: self.paths.clone(),
            client_nodes: self.client_nodes.clone(),
            server_nodes: self.server_nodes.clone(),
            client_workers: self.client_workers.clone(),
            server_workers: self.server_workers.clone(),
        }
    }
}

/// `KEY=A,B,…`; values are JSON where they read as such.
fn axis(text: &str) -> anyhow::Result<Axis> {
    let Some((key, values)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
        bail!("not KEY=A,B,…");
    };
    let values = split(values)
        .map(|value| {
            if value.trim().is_empty() {
                bail!("an empty value; write KEY=A,B,…");
            }
            let as_json = serde_json::from_str(value);
            Ok(as_json.unwrap_or_else(|_| Value::String(value.to_owned())))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Axis {
        parameter: key.to_owned(),
        values,
    })
}

/// By the commas that are in no list, object or text.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    let mut quoted = false;
    text.split(move |c| {
        match c {
            '"' => quoted = !quoted,
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth -= 1,
            _ => {}
        }
        c == ',' && depth <= 0 && !quoted
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn axes() {
        let values = |text: &str| axis(text).unwrap().values;
        assert_eq!(values("streams=1,4"), [json!(1), json!(4)]);
        assert_eq!(
            values("congestion=cubic,\"7\""),
            [json!("cubic"), json!("7")]
        );
        assert_eq!(
            values("percentiles=[50,99],[90]"),
            [json!([50, 99]), json!([90])]
        );
        assert_eq!(values("a=\"x,y\",z"), [json!("x,y"), json!("z")]);
        for bad in ["streams", "=1", "streams=", "streams=1,,2"] {
            assert!(axis(bad).is_err(), "{bad}");
        }
    }
}
