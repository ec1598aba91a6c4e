//! The generator judges itself: could the numbers be about us rather than about the server?

use std::time::Duration;

use serde::Serialize;

use super::histogram::{quantile, time_histogram};
use crate::{
    measure::histogram::add,
    plan::{Pace, PhasePlan},
    result::{Ended, PhaseResult, ShardReport, counter},
};

/// The limits, each with its reason.
mod limit {
    use std::time::Duration;

    /// From here a shard's queue of ready work is no longer short, and latencies contain our own waiting.
    pub(super) const CPU_SUSPECT: f64 = 0.75;
    /// A full core: the closed loop measured the client, the open loop fell behind it.
    pub(super) const CPU_INVALID: f64 = 0.95;
    /// Several times the 200 µs that an idle core keeps at 10 000/s: something else ran on our core.
    pub(super) const LAG_SUSPECT: Duration = Duration::from_millis(1);
    /// As long as many an API request takes: response times are ours.
    pub(super) const LAG_INVALID: Duration = Duration::from_millis(20);
    /// Share of sends for which the source had nothing prefetched.
    pub(super) const STARVED_SUSPECT: f64 = 0.01;
    /// The source, not the plan, set the pace.
    pub(super) const STARVED_INVALID: f64 = 0.25;
    /// Share of arrivals never sent: the asked load was not offered.
    pub(super) const DROPPED_SUSPECT: f64 = 0.001;
    /// The load was another one than asked for.
    pub(super) const DROPPED_INVALID: f64 = 0.10;
    /// CPU shares over less than this are start-up.
    pub(super) const SHORTEST_CPU_WINDOW: Duration = Duration::from_millis(500);
    /// Percentiles of fewer samples than this say nothing of scheduling.
    pub(super) const FEWEST_LAGS: u64 = 20;
    /// An open loop that sent less than this share of its rate is not the load that was asked for.
    pub(super) const RATE_SUSPECT: f64 = 0.98;
}

/// How far the numbers can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The generator was not the limit.
    Certified,
    /// The generator may have coloured the numbers; the findings say which.
    Suspect,
    /// The numbers are about the generator.
    Invalid,
}

impl Level {
    /// As it stands in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certified => "certified",
            Self::Suspect => "suspect",
            Self::Invalid => "invalid",
        }
    }
}

/// Weight of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing; does not change the verdict.
    Note,
    /// Makes the verdict suspect.
    Warning,
    /// Makes the verdict invalid.
    Error,
}

/// One thing noticed, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Weight.
    pub severity: Severity,
    /// Slug: `shard-cpu`, `send-lag`, `feed-starved`, `dropped`, `rate-missed`, `closed-loop`, `no-success`, `interrupted`, `source-failed`.
    pub code: &'static str,
    /// A sentence with the number and the next step.
    pub message: String,
}

/// The judgement on a phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The worst that was found.
    pub level: Level,
    /// What was found, in order of the checks.
    pub findings: Vec<Finding>,
}

/// Judges a phase by what the engine noted about itself.
#[must_use]
pub fn self_check(result: &PhaseResult, plan: &PhasePlan) -> Verdict {
    let mut findings = Vec::new();
    check_cpu(&result.shards, &mut findings);
    check_lag(&result.shards, plan, &mut findings);
    check_feed(result, &mut findings);
    check_dropped(result, plan, &mut findings);
    check_rate(result, plan, &mut findings);
    check_end(result, &mut findings);
    let level = match findings.iter().map(|finding| finding.severity).max() {
        Some(Severity::Error) => Level::Invalid,
        Some(Severity::Warning) => Level::Suspect,
        _ => Level::Certified,
    };
    Verdict { level, findings }
}

fn graded(value: f64, suspect: f64, invalid: f64) -> Option<Severity> {
    if value >= invalid {
        Some(Severity::Error)
    } else if value >= suspect {
        Some(Severity::Warning)
    } else {
        None
    }
}

fn check_cpu(shards: &[ShardReport], findings: &mut Vec<Finding>) {
    for shard in shards {
        if shard.wall < limit::SHORTEST_CPU_WINDOW {
            continue;
        }
        let share = (shard.cpu_user + shard.cpu_system).as_secs_f64() / shard.wall.as_secs_f64();
        if let Some(severity) = graded(share, limit::CPU_SUSPECT, limit::CPU_INVALID) {
            findings.push(Finding {
                severity,
                code: "shard-cpu",
                message: format!(
                    "shard {} used {:.0} % of a core: the client may have been the limit; use more shards, more machines, or less load",
                    shard.shard,
                    share * 100.0
                ),
            });
        }
    }
}

fn check_lag(shards: &[ShardReport], plan: &PhasePlan, findings: &mut Vec<Finding>) {
    let mut lag = time_histogram();
    for shard in shards {
        add(&mut lag, &shard.send_lag);
    }
    if lag.len() < limit::FEWEST_LAGS {
        return;
    }
    let p99 = Duration::from_nanos(quantile(&lag, 0.99).unwrap_or_default());
    // A tick is asked for: waiting for its end is not lag.
    let own = p99.saturating_sub(plan.tick);
    let severity = if own >= limit::LAG_INVALID {
        Severity::Error
    } else if own >= limit::LAG_SUSPECT {
        Severity::Warning
    } else {
        return;
    };
    findings.push(Finding {
        severity,
        code: "send-lag",
        message: format!(
            "one request in a hundred left {own:?} or more after its time although a client was free: this machine is too busy; free a core for each shard or lower the rate"
        ),
    });
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

fn count(result: &PhaseResult, name: &str) -> u64 {
    result.counters.get(name).copied().unwrap_or_default()
}

fn check_feed(result: &PhaseResult, findings: &mut Vec<Finding>) {
    let starved = count(result, counter::FEED_STARVED);
    let share = ratio(starved, count(result, counter::SENT).max(starved));
    if let Some(severity) = graded(share, limit::STARVED_SUSPECT, limit::STARVED_INVALID) {
        findings.push(Finding {
            severity,
            code: "feed-starved",
            message: format!(
                "{starved} times a request was due and the generator had none ready ({:.1} % of requests): the generator is too slow or waits for outcomes; use more shards or a faster generator",
                share * 100.0
            ),
        });
    }
}

fn check_dropped(result: &PhaseResult, plan: &PhasePlan, findings: &mut Vec<Finding>) {
    if plan.pace == Pace::Closed {
        findings.push(Finding {
            severity: Severity::Note,
            code: "closed-loop",
            message: "closed loop: a slow server slows the load down with it, and its waiting is not in the numbers; set a rate to measure response time".to_owned(),
        });
        return;
    }
    let dropped = count(result, counter::DROPPED);
    let share = ratio(dropped, count(result, counter::INTENDED));
    let severity = if result.ended == Ended::Interrupted {
        None
    } else {
        graded(share, limit::DROPPED_SUSPECT, limit::DROPPED_INVALID)
    };
    if let Some(severity) = severity {
        findings.push(Finding {
            severity,
            code: "dropped",
            message: format!(
                "{dropped} arrivals ({:.1} %) were never sent: all clients were busy; add clients, or lower the rate to what the server takes",
                share * 100.0
            ),
        });
    }
}

fn check_rate(result: &PhaseResult, plan: &PhasePlan, findings: &mut Vec<Finding>) {
    let (Pace::Open { rate_per_sec }, Some(duration), Ended::Completed) =
        (plan.pace, plan.duration, &result.ended)
    else {
        return;
    };
    let asked = rate_per_sec * duration.as_secs_f64();
    let total = plan.total.map_or(f64::INFINITY, |total| total as f64);
    let sent = count(result, counter::SENT) as f64;
    // Ten requests are too few for a share.
    if asked.min(total) >= 10.0
        && sent < asked.min(total) * limit::RATE_SUSPECT
        && count(result, counter::DROPPED) == 0
    {
        findings.push(Finding {
            severity: Severity::Warning,
            code: "rate-missed",
            message: format!(
                "{sent} of {:.0} requests were sent: the generator ended early or could not follow the rate",
                asked.min(total)
            ),
        });
    }
}

fn check_end(result: &PhaseResult, findings: &mut Vec<Finding>) {
    match &result.ended {
        Ended::Completed => {}
        Ended::Interrupted => findings.push(Finding {
            severity: Severity::Note,
            code: "interrupted",
            message:
                "the phase was stopped before its end; the numbers cover what was sent until then"
                    .to_owned(),
        }),
        Ended::Failed(error) => findings.push(Finding {
            severity: Severity::Error,
            code: "source-failed",
            message: format!("the phase ended early: {}", error.message),
        }),
    }
    let sent = count(result, counter::SENT);
    if sent > 0 && result.series.iter().all(|series| series.succeeded == 0) {
        findings.push(Finding {
            severity: Severity::Error,
            code: "no-success",
            message: format!(
                "none of {sent} requests succeeded, so no latency was measured; the errors of each series say why"
            ),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::HeaderValue;

    use super::*;
    use crate::result::Series;

    fn plan(pace: Pace) -> PhasePlan {
        PhasePlan {
            name: "p".into(),
            pace,
            total: None,
            duration: Some(Duration::from_secs(10)),
            clients: 1,
            max_retries: 0,
            deadline: None,
            max_backlog: 10,
            tick: Duration::ZERO,
            accept: HeaderValue::from_static("application/json"),
            seed: 1,
            interval: Duration::from_secs(1),
            raw: false,
            failures: false,
        }
    }

    fn result(counters: &[(&'static str, u64)], cpu: Duration, lag: Duration) -> PhaseResult {
        let mut series = Series::empty("s");
        series.succeeded = 1;
        let mut send_lag = time_histogram();
        send_lag.record_n(lag.as_nanos() as u64, 100).unwrap();
        PhaseResult {
            name: "p".into(),
            start: SystemTime::UNIX_EPOCH,
            length: Duration::from_secs(10),
            series: vec![series],
            counters: counters.iter().copied().collect(),
            shards: vec![ShardReport {
                shard: 0,
                cpu_user: cpu,
                cpu_system: Duration::ZERO,
                wall: Duration::from_secs(10),
                send_lag,
            }],
            raw: None,
            ended: Ended::Completed,
        }
    }

    fn codes(verdict: &Verdict) -> Vec<&str> {
        verdict.findings.iter().map(|f| f.code).collect()
    }

    const OPEN: Pace = Pace::Open {
        rate_per_sec: 100.0,
    };
    const SENT: &[(&str, u64)] = &[(counter::INTENDED, 1000), (counter::SENT, 1000)];

    #[test]
    fn a_quiet_run_is_certified() {
        let verdict = self_check(
            &result(SENT, Duration::from_secs(1), Duration::from_micros(50)),
            &plan(OPEN),
        );
        assert_eq!(verdict.level, Level::Certified);
        assert!(verdict.findings.is_empty());
    }

    #[test]
    fn a_busy_core_is_suspect_then_invalid() {
        let quiet = Duration::from_micros(50);
        let verdict = self_check(&result(SENT, Duration::from_secs(8), quiet), &plan(OPEN));
        assert_eq!(
            (verdict.level, codes(&verdict)),
            (Level::Suspect, vec!["shard-cpu"])
        );
        let verdict = self_check(&result(SENT, Duration::from_secs(10), quiet), &plan(OPEN));
        assert_eq!(verdict.level, Level::Invalid);
    }

    #[test]
    fn lag_is_judged_beyond_the_tick() {
        let lagging = result(SENT, Duration::ZERO, Duration::from_micros(1500));
        let verdict = self_check(&lagging, &plan(OPEN));
        assert_eq!(codes(&verdict), ["send-lag"]);
        let mut ticking = plan(OPEN);
        ticking.tick = Duration::from_millis(1);
        assert_eq!(self_check(&lagging, &ticking).level, Level::Certified);
    }

    #[test]
    fn starving_and_dropping_are_named() {
        let counters = [
            (counter::INTENDED, 1000),
            (counter::SENT, 500),
            (counter::DROPPED, 500),
            (counter::FEED_STARVED, 100),
        ];
        let verdict = self_check(
            &result(&counters, Duration::ZERO, Duration::ZERO),
            &plan(OPEN),
        );
        assert_eq!(verdict.level, Level::Invalid);
        assert_eq!(codes(&verdict), ["feed-starved", "dropped"]);
    }

    #[test]
    fn failures_and_closed_loops_are_said() {
        let mut failed = result(SENT, Duration::ZERO, Duration::ZERO);
        failed.series[0].succeeded = 0;
        failed.ended = Ended::Failed(crate::request::SourceError {
            code: "trap".into(),
            message: "it trapped".into(),
        });
        let verdict = self_check(&failed, &plan(Pace::Closed));
        assert_eq!(
            codes(&verdict),
            ["closed-loop", "source-failed", "no-success"]
        );
        assert_eq!(verdict.level, Level::Invalid);
    }
}
