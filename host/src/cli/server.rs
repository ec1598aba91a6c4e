//! Flags about the server's own numbers.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::server_side::ServerMetrics;

/// Flags about the server's own numbers.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// When to ask every API server instance for its own numbers (cores, CPU, memory, requests and their times,
    /// rejections, etcd): one GET of /metrics each. `ends` is before the first phase and after the last one
    /// [default: ends, without a warning where the server does not show them].
    #[arg(long, value_name = "WHEN")]
    pub server_metrics: Option<When>,
    /// Ask again and again during the run as well, at most ten times a second; a line each on stderr.
    #[arg(long, value_name = "TIME", value_parser = super::seconds_or_duration)]
    pub server_metrics_interval: Option<Duration>,
}

/// When to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// Never.
    Off,
    /// Before and after.
    Ends,
    /// Every second as well.
    Intervals,
}

impl ServerArgs {
    /// What the flags mean.
    #[must_use]
    pub fn when(&self) -> ServerMetrics {
        match (self.server_metrics, self.server_metrics_interval) {
            (Some(When::Off), _) => ServerMetrics::Off,
            (_, Some(every)) if !every.is_zero() => ServerMetrics::Every(every),
            (Some(When::Intervals), _) => ServerMetrics::Every(Duration::from_secs(1)),
            (Some(When::Ends), _) => ServerMetrics::Ends { asked: true },
            (None, _) => ServerMetrics::Ends { asked: false },
        }
    }
}
