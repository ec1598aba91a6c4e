//! Prometheus as a source: questions about the window of a run, and limits on the answers.
//!
//! Enters: a file of queries and the URL of a Prometheus. Leaves: metrics of the report named like the queries, and
//! limits that are judged like all others.
//!
//! ```text
//! queries (the file, checked) → client (HTTP API) → evaluate (one answer each, aggregated) → report
//! ```
//!
//! An answer without values is no pass: a limit on it is missed, unless the file says otherwise.

mod client;
mod evaluate;
mod perfscale;
mod queries;

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

pub use client::{Client, ClientError};
pub use evaluate::{Answers, Window};
pub use queries::{Aggregate, Empty, Queries, QueriesError, Query};

use kperf_load::Stop;
use kperf_runtime::report as doc;

use crate::{
    exit::{Exit, Failed},
    report::{self, MeasuredPhase, Results, RunFacts},
    threshold::{self, ThresholdSpec},
};

/// Where Prometheus is and who asks.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Base URL; a path prefix stays.
    pub url: String,
    /// File with a bearer token; read again for each query.
    pub token_file: Option<PathBuf>,
    /// File with `USER:PASSWORD` in one line.
    pub basic_auth_file: Option<PathBuf>,
    /// Certificates to trust besides none of the machine's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Do not verify its certificate.
    pub insecure_skip_tls_verify: bool,
}

/// What is asked of Prometheus about a run.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where and who.
    pub access: Access,
    /// What.
    pub queries: Queries,
}

impl Source {
    /// Checks before a run that every query can be asked, so that a typing error costs no run.
    ///
    /// # Errors
    /// Prometheus is not reached, or refuses a query.
    pub fn check(&self) -> Result<(), Failed> {
        let checked = run(async {
            let client = Client::new(&self.access)?;
            let now = SystemTime::now();
            let window = Window::new(now - Duration::from_secs(60), now);
            for query in &self.queries.queries {
                let expression = self.queries.expression(query, &window);
                client.instant(&query.name, &expression, now).await?;
            }
            Ok(())
        });
        checked.map_err(ClientError::into_failed)
    }

    /// Asks about a run: waits until Prometheus has looked once more after its end, then asks everything. The
    /// window is one scrape interval wider on each side, so that it holds the values before and after.
    #[must_use]
    pub fn about_run(
        &self,
        start: SystemTime,
        end: SystemTime,
        stop: &Stop,
        say: impl Fn(&str),
    ) -> Answers {
        let settle = self.queries.settle;
        // A time that there is not is none to wait for: what was measured is worth more.
        let wait = end
            .checked_add(settle)
            .and_then(|settled| settled.duration_since(SystemTime::now()).ok())
            .unwrap_or_default();
        if !wait.is_zero() && !stop.is_stopped() {
            say(&format!(
                "waiting {:.0} s until Prometheus has seen the end of the run",
                wait.as_secs_f64().ceil()
            ));
        }
        let interval = self.queries.scrape_interval;
        let window = Window::new(
            start.checked_sub(interval).unwrap_or(start),
            end.checked_add(interval.min(settle)).unwrap_or(end),
        );
        let asked = run(async {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.stopped() => {}
            }
            let client = Client::new(&self.access)?;
            Ok(evaluate::ask(&client, &self.queries, &window).await)
        });
        asked.unwrap_or_else(|error: ClientError| Answers::failed(&self.queries, &error))
    }

    /// Asks about a window as it is. A Prometheus that goes away on the way leaves failures in the answers.
    ///
    /// # Errors
    /// Prometheus cannot be used at all, or it does not understand a query.
    pub fn about(&self, window: &Window) -> Result<Answers, ClientError> {
        run(async {
            let client = Client::new(&self.access)?;
            // Tells apart that it is not there from what it says about a query.
            client.instant("vector(1)", "vector(1)", window.end).await?;
            let mut answers = evaluate::ask(&client, &self.queries, window).await;
            match answers.failures.iter().position(ClientError::is_usage) {
                Some(wrong) => Err(answers.failures.swap_remove(wrong)),
                None => Ok(answers),
            }
        })
    }
}

impl ClientError {
    /// Why nothing could be done.
    pub(crate) fn into_failed(self) -> Failed {
        Failed {
            exit: if self.is_usage() {
                Exit::Usage
            } else {
                Exit::Target
            },
            error: self.into(),
        }
    }
}

fn run<T>(work: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ClientError::Access(format!("cannot start its runtime: {error}")))?
        .block_on(work)
}

/// The report with Prometheus' answers in it: their limits stand behind the user's own.
#[must_use]
pub fn with_answers(
    facts: &RunFacts,
    phases: &[MeasuredPhase],
    mut results: Results,
    limits: &[ThresholdSpec],
    answers: Answers,
) -> doc::Summary {
    results.metrics.extend(answers.metrics);
    let judged_only = answers.judged_only.len();
    results.metrics.extend(answers.judged_only);
    results.findings.extend(answers.findings);
    let limits = [limits, &answers.limits].concat();
    let mut whole = report::summary(facts, phases, results, &limits);
    let warned = threshold::evaluate(&whole, &answers.warnings);
    // They are the last of the report.
    let reported = whole.metrics.len().saturating_sub(judged_only);
    whole.metrics.truncate(reported);
    for missed in warned.into_iter().filter(|threshold| !threshold.passed) {
        whole.findings.push(doc::Finding {
            severity: "warning".to_owned(),
            code: "prometheus/limit".to_owned(),
            message: format!(
                "{}: {}",
                missed.expression,
                missed
                    .measured
                    .map_or_else(|| "no values".to_owned(), |value| format!("was {value}"))
            ),
        });
    }
    whole
}
