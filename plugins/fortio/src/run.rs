//! A run of calls and the metrics in it, whatever it was written as.

use net_tool::{ErrorClass, Metric, Metrics, Output, ToolError};

use crate::{Kind, log};

/// A run of calls.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) kind: Kind,
    pub(crate) asked: Asked,
    pub(crate) duration_seconds: f64,
    /// Failed ones included, here and in the times.
    pub(crate) calls: u64,
    pub(crate) calls_per_second: f64,
    pub(crate) min_seconds: f64,
    pub(crate) mean_seconds: f64,
    pub(crate) max_seconds: f64,
    pub(crate) stddev_seconds: f64,
    /// Percent and seconds.
    pub(crate) percentiles: Vec<(f64, f64)>,
    /// HTTP: status or -1. TCP: `OK` or a message. With how many calls ended so.
    pub(crate) endings: Vec<(String, u64)>,
    pub(crate) sent_bytes: Option<u64>,
    pub(crate) received_bytes: Option<u64>,
    /// Opened in all; more than were asked for means that some were lost.
    pub(crate) connections: Option<u64>,
}

/// How long the run was meant to be.
#[derive(Debug)]
pub(crate) enum Asked {
    Seconds(f64),
    Calls(u64),
    /// fortio says itself that it was interrupted, in these words.
    Interrupted(String),
    Unknown,
}

/// A run shorter than this share of what was asked was interrupted, which fortio does not say.
const WHOLE_RUN: f64 = 0.9;

/// More than anybody asks for.
const MOST_PERCENTILES: usize = 1_000;

impl Run {
    /// # Errors
    /// `interrupted`; the reason if all calls failed, else `no_data`; `connection_lost` if the server was gone for
    /// some; `malformed` if the numbers do not fit one another.
    pub(crate) fn metrics(&self, output: &Output) -> Result<Vec<Metric>, ToolError> {
        self.check_numbers()?;
        self.check_whole()?;
        let errors = self.errors()?;
        self.check_errors(errors, output)?;
        let calls = number(self.calls);
        let mut metrics = Metrics::default();
        metrics.add("requests_per_second", self.calls_per_second)?;
        metrics.add(
            "successful_requests_per_second",
            number(self.calls - errors) / self.duration_seconds,
        )?;
        for (name, seconds) in [
            ("min", self.min_seconds),
            ("mean", self.mean_seconds),
            ("max", self.max_seconds),
            ("stddev", self.stddev_seconds),
        ] {
            metrics.add(format!("latency_{name}_seconds"), seconds)?;
        }
        if self.percentiles.len() > MOST_PERCENTILES {
            let message = format!("{} percentiles", self.percentiles.len());
            return Err(ToolError::malformed(message));
        }
        for &(percent, seconds) in &self.percentiles {
            if !(percent > 0.0 && percent <= 100.0) {
                return Err(ToolError::malformed(format!("percentile {percent}")));
            }
            let name = percent.to_string().replace('.', "_");
            metrics.add(format!("latency_p{name}_seconds"), seconds)?;
        }
        metrics.add("requests", calls)?;
        metrics.add("errors", number(errors))?;
        metrics.add("error_ratio", number(errors) / calls)?;
        metrics.add("duration_seconds", self.duration_seconds)?;
        metrics.add_some("sent_bytes", self.sent_bytes.map(number))?;
        metrics.add_some("received_bytes", self.received_bytes.map(number))?;
        metrics.add_some("connections", self.connections.map(number))?;
        Ok(metrics.finish())
    }

    /// Calls that did not end well.
    fn errors(&self) -> Result<u64, ToolError> {
        let mut errors = 0;
        for (ending, calls) in &self.endings {
            let good = match self.kind {
                Kind::Tcp => ending == "OK",
                Kind::Http => {
                    let status: i64 = ending
                        .parse()
                        .map_err(|_| ToolError::malformed(format!("`{ending}` is no status")))?;
                    // As fortio has it.
                    (200..300).contains(&status) || status == 418
                }
            };
            if !good {
                errors += calls;
            }
        }
        Ok(errors)
    }

    /// Whether all counts and times could come from one run; a flipped digit mostly shows here.
    fn check_numbers(&self) -> Result<(), ToolError> {
        if self.calls == 0 {
            return Err(ToolError::no_data("0 calls"));
        }
        let endings = self
            .endings
            .iter()
            .try_fold(0_u64, |sum, (_, calls)| sum.checked_add(*calls));
        if endings != Some(self.calls) {
            let message = format!("{} calls, but not as many endings", self.calls);
            return Err(ToolError::malformed(message));
        }
        let rate = number(self.calls) / self.duration_seconds;
        if !rate.is_finite() || (rate - self.calls_per_second).abs() > rate * 0.01 {
            let message = format!(
                "{} calls in {} s are not {} a second",
                self.calls, self.duration_seconds, self.calls_per_second
            );
            return Err(ToolError::malformed(message));
        }
        // Sums of many times are rounded.
        let ordered = self.min_seconds <= self.mean_seconds * 1.01
            && self.mean_seconds <= self.max_seconds * 1.01;
        if !ordered {
            return Err(ToolError::malformed("the mean is not between min and max"));
        }
        Ok(())
    }

    fn check_whole(&self) -> Result<(), ToolError> {
        let message = match &self.asked {
            Asked::Interrupted(words) => words.clone(),
            Asked::Seconds(asked) if self.duration_seconds < asked * WHOLE_RUN => {
                format!("the run took {}s of {asked}s", self.duration_seconds)
            }
            Asked::Calls(asked) if self.calls < *asked => {
                format!("{} calls of {asked}", self.calls)
            }
            Asked::Seconds(_) | Asked::Calls(_) | Asked::Unknown => return Ok(()),
        };
        Err(ToolError::new(ErrorClass::Interrupted, message))
    }

    /// Single failures are part of the result; a server that was not there is not.
    fn check_errors(&self, errors: u64, output: &Output) -> Result<(), ToolError> {
        if errors == 0 {
            return Ok(());
        }
        let dominating = self
            .endings
            .iter()
            .filter(|(ending, _)| ending != "OK")
            .max_by_key(|(_, calls)| *calls);
        let (ending, calls) =
            dominating.map_or(("", 0), |(ending, calls)| (ending.as_str(), *calls));
        // HTTP has -1 for every failure to get an answer; why, only the log says.
        let reason = match self.kind {
            Kind::Http if ending == "-1" => log::reason(output),
            Kind::Http => None,
            Kind::Tcp => {
                let mut words = self.endings.iter().map(|(ending, _)| ending.as_str());
                let refused = words.find(|words| {
                    ErrorClass::of_message(words) == Some(ErrorClass::ConnectionRefused)
                });
                let words = refused.unwrap_or(ending);
                ErrorClass::of_message(words).map(|class| ToolError::new(class, words))
            }
        };
        if errors == self.calls {
            return Err(match reason {
                Some(reason) => reason,
                None => {
                    ToolError::no_data(format!("`{ending}` for {calls} of {} calls", self.calls))
                }
            });
        }
        match reason {
            Some(reason) if reason.class == ErrorClass::ConnectionRefused => Err(ToolError::new(
                ErrorClass::ConnectionLost,
                format!(
                    "{errors} of {} calls failed: {}",
                    self.calls, reason.message
                ),
            )),
            _ => Ok(()),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of calls and bytes stay below 2^53"
)]
fn number(count: u64) -> f64 {
    count as f64
}
