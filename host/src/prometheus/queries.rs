//! The file of queries.
//!
//! ```yaml
//! scrapeInterval: 30s            # of Prometheus; also the step of ranges
//! settle: 30s                    # how long after a run to wait, so that its end was seen
//! queries:
//!   - name: api_p99              # name of the metric in the report
//!     expr: histogram_quantile(0.99, sum by (le) (rate(apiserver_request_duration_seconds_bucket[$window])))
//!     unit: seconds
//!     thresholds: ["<= 500ms"]
//!   - name: api_memory
//!     expr: process_resident_memory_bytes{job="apiserver"}
//!     aggregate: max             # of all steps within the window; without it, one value at its end
//!     severity: warning          # a missed limit does not change the exit code
//!     empty: pass                # no values are fine (default: fail; zero = they are a 0)
//! ```
//!
//! `$window` stands for the length of the window in whole seconds (`42s`), `$rate` for four scrape intervals.

use std::{path::Path, time::Duration};

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::{Window, perfscale};
use crate::{cli::duration, profile, threshold::ThresholdSpec};

/// What Prometheus does unless the file says otherwise; as perfscale-audit has it.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(30);
/// Longer than any Prometheus' interval or any wait for it: whoever writes more has a unit wrong.
pub(super) const MAX_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// Of a range.
const MAX_STEP: Duration = Duration::from_secs(366 * 24 * 3600);
/// So many scrape intervals hold a rate, whatever the phase.
const RATE_INTERVALS: u32 = 4;

/// Why a file of queries cannot be used.
#[derive(Debug, Error)]
#[error("--queries {file}: {reason}")]
pub struct QueriesError {
    /// As the user wrote it.
    pub file: String,
    /// Where it is wrong, and how.
    pub reason: String,
}

/// How the values of a series within the window become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregate {
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// The mean.
    Avg,
    /// The last.
    Last,
    /// The sum.
    Sum,
}

/// What no values mean for the limits of a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Empty {
    /// Missed.
    #[default]
    Fail,
    /// Not judged.
    Pass,
    /// Judged as 0.
    Zero,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    #[default]
    Error,
    Warning,
}

/// One query.
#[derive(Clone, Debug)]
pub struct Query {
    /// Name of the metric in the report.
    pub name: String,
    /// PromQL, with its placeholders.
    pub expr: String,
    /// Unit of the metric.
    pub unit: String,
    /// What is made of a range; none = one value at the end of the window.
    pub aggregate: Option<Aggregate>,
    /// Between the steps of a range; none = the scrape interval.
    pub step: Option<Duration>,
    /// What no values mean.
    pub empty: Empty,
    /// Limits that decide about the exit code.
    pub limits: Vec<ThresholdSpec>,
    /// Limits that are only said.
    pub warnings: Vec<ThresholdSpec>,
}

/// The file.
#[derive(Clone, Debug)]
pub struct Queries {
    /// How often Prometheus looks.
    pub scrape_interval: Duration,
    /// How long after a run to wait.
    pub settle: Duration,
    /// The queries, in their order.
    pub queries: Vec<Query>,
    /// What of the file means nothing here, with what to do about it.
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    #[serde(default)]
    scrape_interval: Option<String>,
    #[serde(default)]
    settle: Option<String>,
    queries: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    name: String,
    expr: String,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    aggregate: Option<Aggregate>,
    #[serde(default)]
    step: Option<String>,
    #[serde(default)]
    thresholds: Vec<String>,
    #[serde(default)]
    severity: Severity,
    #[serde(default)]
    empty: Empty,
    /// For readers of the file.
    #[serde(default)]
    #[allow(dead_code, reason = "for people, not for us")]
    description: String,
}

impl Queries {
    /// Reads a file of queries, or an input of perfscale-audit.
    ///
    /// # Errors
    /// Names the file, the query and the key.
    pub fn read(path: &Path) -> Result<Self, QueriesError> {
        let failed = |reason: String| QueriesError {
            file: path.display().to_string(),
            reason,
        };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        Self::parse(&text).map_err(failed)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let value = profile::yaml_value(text).map_err(|error| error.to_string())?;
        if perfscale::is_input(&value) {
            return perfscale::queries(&value);
        }
        let file: File = serde_json::from_value(value).map_err(|error| error.to_string())?;
        let time = |key: &str, text: Option<String>| {
            text.map(|text| duration(&text).map_err(|error| format!("{key}: {error}")))
                .transpose()
        };
        let scrape_interval =
            time("scrapeInterval", file.scrape_interval)?.unwrap_or(SCRAPE_INTERVAL);
        if scrape_interval < Duration::from_millis(100) {
            return Err("scrapeInterval: must be at least 100ms".to_owned());
        }
        let settle = time("settle", file.settle)?.unwrap_or(scrape_interval);
        for (key, interval) in [("scrapeInterval", scrape_interval), ("settle", settle)] {
            if interval > MAX_INTERVAL {
                return Err(format!("{key}: must be at most 24h"));
            }
        }
        if file.queries.is_empty() {
            return Err("queries: there is none".to_owned());
        }
        let mut queries: Vec<Query> = Vec::new();
        for (number, value) in file.queries.into_iter().enumerate() {
            let name = value["name"]
                .as_str()
                .unwrap_or("without a name")
                .to_owned();
            let query = Query::of(value)
                .map_err(|reason| format!("queries[{number}] ({name}): {reason}"))?;
            if queries.iter().any(|known| known.name == query.name) {
                return Err(format!("queries[{number}]: the name {name} is there twice"));
            }
            queries.push(query);
        }
        Ok(Self {
            scrape_interval,
            settle,
            queries,
            warnings: Vec::new(),
        })
    }

    /// What is sent for a query.
    #[must_use]
    pub fn expression(&self, query: &Query, window: &Window) -> String {
        let whole = |length: Duration| format!("{}s", length.as_secs_f64().ceil().max(1.0));
        query
            .expr
            .replace("$window", &whole(window.length()))
            .replace(
                "$rate",
                &whole(self.scrape_interval.saturating_mul(RATE_INTERVALS)),
            )
    }
}

impl Query {
    /// A query without limits.
    pub(super) fn new(name: &str, expr: String, unit: &str) -> Self {
        Self {
            name: name.to_owned(),
            expr,
            unit: unit.to_owned(),
            aggregate: None,
            step: None,
            empty: Empty::Fail,
            limits: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn of(value: Value) -> Result<Self, String> {
        let entry: Entry = serde_json::from_value(value).map_err(|error| error.to_string())?;
        if entry.name.is_empty() || !entry.name.chars().all(is_of_name) {
            return Err("name: must be letters, digits and any of `_-.:/`".to_owned());
        }
        if entry.expr.trim().is_empty() {
            return Err("expr: is empty".to_owned());
        }
        if entry.step.is_some() && entry.aggregate.is_none() {
            return Err("step: is for a range; say with `aggregate` what is made of it".to_owned());
        }
        let step = entry
            .step
            .map(|text| duration(&text).map_err(|error| format!("step: {error}")))
            .transpose()?;
        if step.is_some_and(|step| step < Duration::from_millis(100)) {
            return Err("step: must be at least 100ms".to_owned());
        }
        if step.is_some_and(|step| step > MAX_STEP) {
            return Err("step: must be at most 8784h, a year".to_owned());
        }
        let mut query = Self {
            aggregate: entry.aggregate,
            step,
            empty: entry.empty,
            ..Self::new(&entry.name, entry.expr, &entry.unit)
        };
        for limit in &entry.thresholds {
            let limit = query.limit(limit)?;
            match entry.severity {
                Severity::Error => query.limits.push(limit),
                Severity::Warning => query.warnings.push(limit),
            }
        }
        Ok(query)
    }

    /// A limit on this query, as it stands in the file: `<= 0.5`.
    pub(super) fn limit(&self, text: &str) -> Result<ThresholdSpec, String> {
        ThresholdSpec::parse(&format!("\"{}\" {}", self.name, text.trim()))
            .map_err(|error| format!("thresholds: {error}"))
    }
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_-.:/".contains(letter)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_file_is_read() {
        let queries = Queries::parse(
            "scrapeInterval: 1s\nqueries:\n\
             - {name: a, expr: 'rate(x[$window])', unit: seconds, thresholds: ['<= 500ms']}\n\
             - {name: b, expr: 'y[$rate]', aggregate: max, step: 2s, severity: warning, empty: pass, thresholds: ['< 5', '>= 1']}\n",
        )
        .unwrap();
        assert_eq!(queries.settle, Duration::from_secs(1));
        let [a, b] = &queries.queries[..] else {
            panic!("{queries:?}");
        };
        assert_eq!(
            (a.limits.len(), a.aggregate, a.empty),
            (1, None, Empty::Fail)
        );
        assert_eq!((b.limits.len(), b.warnings.len()), (0, 2));
        assert_eq!(
            (b.aggregate, b.step),
            (Some(Aggregate::Max), Some(Duration::from_secs(2)))
        );
        let now = SystemTime::now();
        let window = Window::new(now - Duration::from_millis(41_500), now);
        assert_eq!(queries.expression(a, &window), "rate(x[42s])");
        assert_eq!(queries.expression(b, &window), "y[4s]");
        // As perfscale-audit has it.
        let plain = Queries::parse("queries: [{name: a, expr: up}]").unwrap();
        assert_eq!(
            (plain.scrape_interval, plain.settle),
            (SCRAPE_INTERVAL, SCRAPE_INTERVAL)
        );
    }

    #[test]
    fn mistakes_name_query_and_key() {
        for (text, reason) in [
            ("queries: []", "queries: there is none"),
            ("querys: []", "querys"),
            ("queries: [{name: a, expr: ''}]", "queries[0] (a): expr"),
            (
                "queries: [{name: a}]",
                "queries[0] (a): missing field `expr`",
            ),
            (
                "queries: [{expr: up}]",
                "queries[0] (without a name): missing field `name`",
            ),
            (
                "queries: [{name: 'a b', expr: up}]",
                "queries[0] (a b): name",
            ),
            (
                "queries: [{name: a, expr: up, unti: s}]",
                "queries[0] (a): unknown field `unti`",
            ),
            (
                "queries: [{name: a, expr: up, thresholds: ['5']}]",
                "queries[0] (a): thresholds",
            ),
            (
                "queries: [{name: a, expr: up, aggregate: most}]",
                "queries[0] (a): unknown variant",
            ),
            (
                "queries: [{name: a, expr: up, step: 1s}]",
                "queries[0] (a): step: is for a range",
            ),
            (
                "queries: [{name: a, expr: up}, {name: a, expr: up}]",
                "the name a is there twice",
            ),
            (
                "{scrapeInterval: 5, queries: [{name: a, expr: up}]}",
                "expected a string",
            ),
            (
                "{scrapeInterval: 9000000s, queries: [{name: a, expr: up}]}",
                "scrapeInterval: must be at most 24h",
            ),
            (
                "{settle: 100000s, queries: [{name: a, expr: up}]}",
                "settle: must be at most 24h",
            ),
            (
                "queries: [{name: a, expr: up, aggregate: max, step: 40000000s}]",
                "queries[0] (a): step: must be at most",
            ),
            (
                "{scrapeInterval: 5x, queries: [{name: a, expr: up}]}",
                "scrapeInterval: ",
            ),
        ] {
            let error = Queries::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
