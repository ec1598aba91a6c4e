//! Asks every query and makes metrics, limits and findings of the answers.

use std::time::{Duration, SystemTime};

use kperf_runtime::report as doc;

use super::{
    client::{Client, ClientError, Series},
    queries::{Aggregate, Empty, Queries, Query},
};
use crate::{report::labels, threshold::ThresholdSpec};

/// So many series of one query are reported. Limits are judged on all.
const MAX_SERIES: usize = 100;
/// Prometheus gives no more points of a range.
const MAX_POINTS: u32 = 10_000;

/// The time that is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// From.
    pub start: SystemTime,
    /// To.
    pub end: SystemTime,
}

impl Window {
    /// A window; one that ends before it begins is empty.
    #[must_use]
    pub fn new(start: SystemTime, end: SystemTime) -> Self {
        Self {
            start: start.min(end),
            end,
        }
    }

    /// Its length.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.end.duration_since(self.start).unwrap_or_default()
    }
}

/// What came of the queries.
#[derive(Debug, Default)]
pub struct Answers {
    /// Named like the queries.
    pub metrics: Vec<doc::Metric>,
    /// More than are reported: for limits alone.
    pub judged_only: Vec<doc::Metric>,
    /// Limits that decide about the exit code.
    pub limits: Vec<ThresholdSpec>,
    /// Limits that are only said.
    pub warnings: Vec<ThresholdSpec>,
    /// What is to be read.
    pub findings: Vec<doc::Finding>,
    /// Why queries have no answer.
    pub failures: Vec<ClientError>,
}

impl Answers {
    /// Nothing could be asked. Limits stay, and are missed.
    pub(super) fn failed(queries: &Queries, error: &ClientError) -> Self {
        let mut answers = Self::default();
        answers.fail(error.clone());
        for query in &queries.queries {
            answers.limits.extend(query.limits.iter().cloned());
            answers.warnings.extend(query.warnings.iter().cloned());
        }
        answers
    }

    fn fail(&mut self, error: ClientError) {
        self.say("error", "failed", error.to_string());
        self.failures.push(error);
    }

    fn say(&mut self, severity: &str, code: &str, message: String) {
        self.findings.push(doc::Finding {
            severity: severity.to_owned(),
            code: format!("prometheus/{code}"),
            message,
        });
    }

    fn add(&mut self, query: &Query, mut series: Vec<(Vec<(String, String)>, f64)>) {
        if series.len() > MAX_SERIES {
            self.say(
                "warning",
                "series-cut",
                format!(
                    "query {}: has {} series; limits are judged on all of them, and {MAX_SERIES} are reported; aggregate them with `sum by` or `max by`",
                    query.name,
                    series.len()
                ),
            );
            // What a limit is judged by is among those that are reported.
            for limit in query.limits.iter().chain(&query.warnings) {
                let worst = (0..series.len()).reduce(|worst, at| {
                    if limit.is_worse(series[at].1, series[worst].1) {
                        at
                    } else {
                        worst
                    }
                });
                if let Some(worst) = worst {
                    series[..=worst].rotate_right(1);
                }
            }
        }
        if series.is_empty() {
            match query.empty {
                Empty::Zero => series.push((Vec::new(), 0.0)),
                Empty::Pass => {
                    let message = format!("query {}: no values, which the file allows", query.name);
                    self.say("info", "empty", message);
                    return;
                }
                Empty::Fail => {
                    let message = format!(
                        "query {}: no values; is the metric scraped, and was the window long enough?",
                        query.name
                    );
                    self.say("warning", "empty", message);
                }
            }
        }
        for (number, (pairs, value)) in series.into_iter().enumerate() {
            let metrics = if number < MAX_SERIES {
                &mut self.metrics
            } else {
                &mut self.judged_only
            };
            metrics.push(doc::Metric {
                name: query.name.clone(),
                value,
                unit: query.unit.clone(),
                labels: labels(&pairs),
            });
        }
        self.limits.extend(query.limits.iter().cloned());
        self.warnings.extend(query.warnings.iter().cloned());
    }
}

/// Asks everything, one after the other.
pub(super) async fn ask(client: &Client, queries: &Queries, window: &Window) -> Answers {
    let mut answers = Answers::default();
    for warning in &queries.warnings {
        answers.say("warning", "ignored-key", warning.clone());
    }
    if window.length() < queries.scrape_interval.saturating_mul(2) {
        answers.say(
            "warning",
            "short-window",
            format!(
                "Prometheus looks every {} s and the window is {:.1} s: rates over it may have no values",
                queries.scrape_interval.as_secs_f64(),
                window.length().as_secs_f64()
            ),
        );
    }
    for query in &queries.queries {
        let expression = queries.expression(query, window);
        let answer = match query.aggregate {
            None => client.instant(&query.name, &expression, window.end).await,
            Some(_) => {
                let step = query.step.unwrap_or(queries.scrape_interval);
                let step = step.max(window.length() / MAX_POINTS);
                let window = (window.start, window.end);
                client.range(&query.name, &expression, window, step).await
            }
        };
        match answer {
            Ok(answer) => {
                for warning in answer.warnings {
                    let message = format!("query {}: {warning}", query.name);
                    answers.say("warning", "warning", message);
                }
                let aggregate = query.aggregate.unwrap_or(Aggregate::Last);
                let series = answer
                    .series
                    .into_iter()
                    .filter_map(|series| Some((aggregate.of(&series)?, series.labels)))
                    .map(|(value, labels)| (labels, value))
                    .collect();
                answers.add(query, series);
            }
            Err(error) => {
                answers.fail(error);
                // Not measured is not kept.
                answers.limits.extend(query.limits.iter().cloned());
                answers.warnings.extend(query.warnings.iter().cloned());
            }
        }
    }
    answers
}

impl Aggregate {
    /// None without values.
    fn of(self, series: &Series) -> Option<f64> {
        let values = series.values.iter().map(|(_, value)| *value);
        match self {
            Self::Max => values.reduce(f64::max),
            Self::Min => values.reduce(f64::min),
            Self::Last => series.values.last().map(|(_, value)| *value),
            Self::Sum => values.reduce(|sum, value| sum + value),
            Self::Avg => values
                .reduce(|sum, value| sum + value)
                .map(|sum| sum / series.values.len() as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_aggregated() {
        let series = Series {
            labels: Vec::new(),
            values: vec![(1.0, 4.0), (2.0, 1.0), (3.0, 1.0)],
        };
        let none = Series {
            labels: Vec::new(),
            values: Vec::new(),
        };
        for (aggregate, value) in [
            (Aggregate::Max, 4.0),
            (Aggregate::Min, 1.0),
            (Aggregate::Avg, 2.0),
            (Aggregate::Last, 1.0),
            (Aggregate::Sum, 6.0),
        ] {
            assert_eq!(aggregate.of(&series), Some(value));
            assert_eq!(aggregate.of(&none), None);
        }
    }

    #[test]
    fn no_values_are_no_pass_unless_the_file_says_so() {
        for (empty, metrics, limits) in [
            (Empty::Fail, 0, 1),
            (Empty::Pass, 0, 0),
            (Empty::Zero, 1, 1),
        ] {
            let mut query = Query::new("a", "up".to_owned(), "");
            query.empty = empty;
            query.limits.push(query.limit("<= 1").unwrap());
            let mut answers = Answers::default();
            answers.add(&query, Vec::new());
            assert_eq!(
                (answers.metrics.len(), answers.limits.len()),
                (metrics, limits)
            );
        }
    }

    #[test]
    fn series_are_bounded() {
        let mut query = Query::new("a", "up".to_owned(), "");
        query.limits.push(query.limit("<= 10").unwrap());
        query.warnings.push(query.limit(">= 1").unwrap());
        let mut series = vec![(Vec::new(), 1.0); 1000];
        series[500].1 = 999.0;
        series[700].1 = -1.0;
        let mut answers = Answers::default();
        answers.add(&query, series);
        assert_eq!(answers.metrics.len(), MAX_SERIES);
        assert_eq!(answers.judged_only.len(), 1000 - MAX_SERIES);
        assert_eq!(answers.findings[0].code, "prometheus/series-cut");
        for worst in [999.0, -1.0] {
            assert!(answers.metrics.iter().any(|metric| metric.value == worst));
        }
    }
}
