//! What the user sees during a run, on stderr: a bar on a terminal, else a line per interval.

use std::{
    fmt,
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kperf_load::{
    measure,
    plan::PhasePlan,
    result::{Interval, counter},
};

use crate::{
    server_side::Point,
    summary::{self, time},
};

mod steps;

pub use steps::Steps;

/// A line on stderr. Whoever read it may be gone, as in `2>&1 | head -1`: that is no reason to leave what was made in a
/// cluster, as the panic of `eprintln!` would.
pub fn say(text: impl fmt::Display) {
    writeln!(std::io::stderr().lock(), "{text}").ok();
}

/// Shows progress of one phase after the other.
#[derive(Debug)]
pub struct Live {
    on_terminal: bool,
    bar: Option<ProgressBar>,
    sent: u64,
    failed: u64,
    elapsed: Duration,
}

impl Live {
    /// `plain` forbids the bar.
    #[must_use]
    pub fn new(plain: bool) -> Self {
        Self {
            on_terminal: !plain
                && std::io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none(),
            bar: None,
            sent: 0,
            failed: 0,
            elapsed: Duration::ZERO,
        }
    }

    /// Whether there are no bars.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.on_terminal
    }

    /// A line for the user, above the bar if there is one.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => say(text),
        }
    }

    /// A phase begins.
    pub fn begin(&mut self, plan: &PhasePlan) {
        self.sent = 0;
        self.failed = 0;
        self.elapsed = Duration::ZERO;
        if !self.on_terminal {
            return;
        }
        let length = match (plan.total, plan.duration) {
            (Some(total), _) => Some(total),
            (None, Some(duration)) => u64::try_from(duration.as_millis()).ok(),
            (None, None) => None,
        };
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:30}] {percent:>3}% {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(plan.name.clone());
        self.bar = Some(bar);
    }

    /// An interval is over.
    pub fn interval(&mut self, plan: &PhasePlan, interval: &Interval) {
        let sent = interval.counters.get(counter::SENT).copied().unwrap_or(0);
        let failed: u64 = interval.series.iter().map(|series| series.failed).sum();
        self.sent += sent;
        self.failed += failed;
        self.elapsed += interval.length;
        let mut response = measure::time_histogram();
        for series in &interval.series {
            // Same bounds by construction.
            response.add(&series.response_time).ok();
        }
        let rate = sent as f64 / interval.length.as_secs_f64().max(1e-9);
        let mut text = format!("{rate:>9.0}/s");
        for (name, q) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
            if let Some(ns) = measure::quantile(&response, q) {
                text.push_str(&format!("  {name} {:>7}", time(ns)));
            }
        }
        for name in [counter::LATE, counter::DROPPED, counter::GOAWAYS] {
            if let Some(count) = interval.counters.get(name).filter(|count| **count > 0) {
                text.push_str(&format!("  {count} {name}"));
            }
        }
        if failed > 0 {
            text.push_str(&format!("  {failed} failed"));
        }
        match &self.bar {
            Some(bar) => {
                let done = if plan.total.is_some() {
                    self.sent
                } else {
                    u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX)
                };
                bar.set_position(done);
                bar.set_message(text);
            }
            None => say(format_args!(
                "{} {:>5.0}s  {text}  {} in flight",
                plan.name,
                self.elapsed.as_secs_f64(),
                interval.in_flight
            )),
        }
    }

    /// What the server's instances did in an interval of theirs.
    pub fn server(&self, points: &[Point]) {
        for point in points {
            let seconds = point.elapsed.as_secs_f64().max(1e-9);
            let mut text = format!("{:>9.0}/s answered", point.requests / seconds);
            if let Some(cpu) = point.cpu_seconds {
                text.push_str(&format!("  {:.2} cores", cpu / seconds));
            }
            if let Some(bytes) = point.resident_bytes {
                text.push_str(&format!("  {}", summary::bytes(bytes as u64)));
            }
            if let Some(p99) = point.times.quantile(0.99) {
                text.push_str(&format!("  p99 {}", time((p99.value * 1e9) as u64)));
            }
            self.say(&format!(
                "server {} {:>5.0}s  {text}",
                point.instance,
                point.at.as_secs_f64()
            ));
        }
    }

    /// The phase is over.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
