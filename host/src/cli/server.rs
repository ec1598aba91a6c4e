//! Flags about the server's own numbers.

use std::time::Duration;

use anyhow::anyhow;
use clap::{Args, ValueEnum};

use crate::{
    exit::{Exit, Failed},
    server_side::ServerMetrics,
};

/// Of intervals; a longer one would see no more than both ends of a run.
const MAX_INTERVAL: Duration = Duration::from_secs(24 * 3600);

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
    #[arg(long, value_name = "TIME", value_parser = interval)]
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
    ///
    /// # Errors
    /// They contradict each other.
    pub fn when(&self) -> Result<ServerMetrics, Failed> {
        Ok(match (self.server_metrics, self.server_metrics_interval) {
            (Some(When::Off), Some(_)) => {
                return Err(Failed {
                    exit: Exit::Usage,
                    error: anyhow!(
                        "--server-metrics=off asks for nothing, and --server-metrics-interval for more than the usual; leave out one of them"
                    ),
                });
            }
            (Some(When::Off), None) => ServerMetrics::Off,
            (_, Some(every)) if !every.is_zero() => ServerMetrics::Every(every),
            (Some(When::Intervals), _) => ServerMetrics::Every(Duration::from_secs(1)),
            (Some(When::Ends), _) => ServerMetrics::Ends { asked: true },
            (None, _) => ServerMetrics::Ends { asked: false },
        })
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = super::seconds_or_duration(text)?;
    if interval > MAX_INTERVAL {
        return Err("must be at most 24h".to_owned());
    }
    Ok(interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_is_not_asked_again_and_again() {
        let when = |server_metrics, seconds: Option<u64>| {
            ServerArgs {
                server_metrics,
                server_metrics_interval: seconds.map(Duration::from_secs),
            }
            .when()
        };
        assert_eq!(when(Some(When::Off), None).unwrap(), ServerMetrics::Off);
        let every = ServerMetrics::Every(Duration::from_secs(2));
        assert_eq!(when(None, Some(2)).unwrap(), every);
        assert_eq!(when(Some(When::Intervals), Some(2)).unwrap(), every);
        let failed = when(Some(When::Off), Some(2)).unwrap_err();
        assert_eq!(failed.exit, Exit::Usage);
        assert!(failed.to_string().contains("--server-metrics=off"));
    }

    #[test]
    fn intervals_are_bounded() {
        assert_eq!(interval("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(interval("24h"), Ok(MAX_INTERVAL));
        for text in ["1e19", "25h", "-1", "nan"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}
