//! Limits on results: `pod_startup p99 <= 5s`, `errors ratio <= 0.1%`, `achieved-rate >= 950`.
//!
//! Enters: what the user wrote, and the report. Leaves: for each limit what was measured and whether it was kept.
//! A limit on something that was not measured is not kept: a run that measured nothing passes nothing. NaN, as of 0/0,
//! was not measured; infinity was, and is more than any limit.
//!
//! ```text
//! LIMIT     = SUBJECT [STATISTIC] COMPARISON NUMBER[UNIT]
//! SUBJECT   = [NAME[LABELS]] response | [NAME[LABELS]] service     times of requests; all of them without a name
//!           | [NAME[LABELS]] errors                                failed requests
//!           | NAME[LABELS]                                         a distribution, a metric, or a counter
//! NAME      = word | "any text"
//! LABELS    = {key="value", …}
//! STATISTIC = p50 … p99.99 | min | max | mean | count | missing    of times
//!           | ratio | count                                        of errors
//! COMPARISON = <= | < | >= | > | ==
//! UNIT      = ns | us | ms | s | m | h | %
//! ```
//!
//! Where several distributions, series or metrics match, the worst of those that were measured counts.

use kperf_runtime::report::{Counter, Distribution, Histogram, Label, Series, Summary, Threshold};

mod parse;

pub use parse::ParseError;

/// A limit as it was written, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct ThresholdSpec {
    expression: String,
    subject: Subject,
    statistic: Statistic,
    comparison: Comparison,
    /// In the base unit.
    limit: f64,
    unit: Unit,
}

/// What is limited.
#[derive(Clone, Debug, PartialEq)]
enum Subject {
    /// Times of requests.
    Times(Selector, Clock),
    /// Failed requests.
    Errors(Selector),
    /// A distribution, a metric or a counter, whichever the report has by that name.
    Named(Selector),
}

/// Which of several: by name, and by labels that must all be there. Without either it is everything together.
#[derive(Clone, Debug, Default, PartialEq)]
struct Selector {
    name: Option<String>,
    labels: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Clock {
    Response,
    Service,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Statistic {
    /// From 0 to 1.
    Quantile(f64),
    Min,
    Max,
    Mean,
    Count,
    Missing,
    Ratio,
    /// The number itself.
    Value,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
}

/// What the limit is in, once converted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Seconds,
    Ratio,
    /// A number without a unit.
    Plain,
}

/// A number and what it is in.
struct Measured {
    value: f64,
    unit: String,
}

impl Measured {
    fn seconds(ns: f64) -> Self {
        Self {
            value: ns / 1e9,
            unit: "seconds".to_owned(),
        }
    }

    fn count(value: u64) -> Self {
        Self {
            value: value as f64,
            unit: "count".to_owned(),
        }
    }
}

impl ThresholdSpec {
    /// Reads a limit.
    ///
    /// # Errors
    /// What cannot be read, where it is, and what may stand there.
    pub fn parse(expression: &str) -> Result<Self, ParseError> {
        parse::spec(expression)
    }

    /// As it was written.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// Whether `one` is further on the wrong side of the limit than `other`.
    /// Whether it is about what the server says of itself.
    pub(crate) fn is_of_server(&self) -> bool {
        let Subject::Named(Selector {
            name: Some(name), ..
        }) = &self.subject
        else {
            return false;
        };
        name.starts_with("server-") || name.starts_with("server_")
    }

    pub(crate) fn is_worse(&self, one: f64, other: f64) -> bool {
        self.comparison.is_worse(one, other, self.limit)
    }

    /// What became of it.
    fn judge(&self, whole: &Summary) -> Threshold {
        let measured = self
            .measured(whole)
            .into_iter()
            .filter(|one| !one.value.is_nan() && self.unit.fits(&one.unit))
            .reduce(|worst, one| {
                if self.is_worse(one.value, worst.value) {
                    one
                } else {
                    worst
                }
            });
        let passed = measured
            .as_ref()
            .is_some_and(|one| self.comparison.holds(one.value, self.limit));
        let (value, unit) = match measured {
            Some(Measured { value, unit }) => (Some(value), unit),
            None => (None, self.unit.word().to_owned()),
        };
        Threshold {
            expression: self.expression.clone(),
            measured: value,
            limit: self.limit,
            unit,
            passed,
        }
    }

    /// Everything that matches and has a value.
    fn measured(&self, whole: &Summary) -> Vec<Measured> {
        match &self.subject {
            Subject::Times(selector, clock) => selector
                .series(whole)
                .into_iter()
                .filter_map(|series| self.of_times(clock.times(series)))
                .collect(),
            Subject::Errors(selector) => selector
                .series(whole)
                .into_iter()
                .filter_map(|series| self.of_errors(series))
                .collect(),
            Subject::Named(selector) if self.statistic == Statistic::Value => {
                let metrics = selector.metrics(whole);
                if metrics.is_empty() {
                    selector.counter(whole).into_iter().collect()
                } else {
                    metrics
                }
            }
            Subject::Named(selector) => selector
                .distributions(whole)
                .filter_map(|one| match self.statistic {
                    Statistic::Missing => Some(Measured::count(one.missing)),
                    _ => self.of_times(&one.times),
                })
                .collect(),
        }
    }

    fn of_times(&self, times: &Histogram) -> Option<Measured> {
        if self.statistic == Statistic::Count {
            return Some(Measured::count(times.count));
        }
        if times.count == 0 {
            return None;
        }
        let ns = match self.statistic {
            Statistic::Quantile(q) => quantile_ns(times, q)? as f64,
            Statistic::Min => times.min_ns as f64,
            Statistic::Max => times.max_ns as f64,
            Statistic::Mean => times.mean_ns,
            // The parser lets none of these stand behind times.
            Statistic::Count | Statistic::Missing | Statistic::Ratio | Statistic::Value => {
                return None;
            }
        };
        Some(Measured::seconds(ns))
    }

    fn of_errors(&self, series: &Series) -> Option<Measured> {
        if self.statistic == Statistic::Count {
            return Some(Measured::count(series.failed));
        }
        (series.sent > 0).then(|| Measured {
            value: series.failed as f64 / series.sent as f64,
            unit: "ratio".to_owned(),
        })
    }
}

/// Judges every limit, in their order.
#[must_use]
pub fn evaluate(whole: &Summary, specs: &[ThresholdSpec]) -> Vec<Threshold> {
    specs.iter().map(|spec| spec.judge(whole)).collect()
}

impl Clock {
    fn times(self, series: &Series) -> &Histogram {
        match self {
            Self::Response => &series.response_time,
            Self::Service => &series.service_time,
        }
    }
}

impl Comparison {
    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::AtMost => value <= limit,
            Self::Below => value < limit,
            Self::AtLeast => value >= limit,
            Self::Above => value > limit,
            Self::Equal => value == limit,
        }
    }

    /// Whether `one` is further on the wrong side than `other`.
    fn is_worse(self, one: f64, other: f64, limit: f64) -> bool {
        match self {
            Self::AtMost | Self::Below => one > other,
            Self::AtLeast | Self::Above => one < other,
            Self::Equal => (one - limit).abs() > (other - limit).abs(),
        }
    }
}

impl Unit {
    /// A limit without a unit is one in the base unit of whatever was measured.
    fn fits(self, unit: &str) -> bool {
        match self {
            Self::Plain => true,
            Self::Seconds | Self::Ratio => self.word() == unit,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Ratio => "ratio",
            Self::Plain => "",
        }
    }
}

impl Selector {
    /// Series by their exact names; all requests together when nothing is asked for.
    fn series<'a>(&self, whole: &'a Summary) -> Vec<&'a Series> {
        if *self == Self::default() {
            return vec![&whole.overall];
        }
        whole
            .series
            .iter()
            .filter(|one| {
                self.name.as_ref().is_none_or(|name| *name == one.name)
                    && self.has_labels(&one.labels)
            })
            .collect()
    }

    fn distributions<'a>(&self, whole: &'a Summary) -> impl Iterator<Item = &'a Distribution> {
        whole
            .distributions
            .iter()
            .filter(|one| self.is_named(&one.name) && self.has_labels(&one.labels))
    }

    /// Of the run; of its phases where the run as a whole has none of that name.
    fn metrics(&self, whole: &Summary) -> Vec<Measured> {
        let matching = |metrics: &[kperf_runtime::report::Metric]| -> Vec<Measured> {
            metrics
                .iter()
                .filter(|one| self.is_named(&one.name) && self.has_labels(&one.labels))
                .map(|one| Measured {
                    value: one.value,
                    unit: one.unit.clone(),
                })
                .collect()
        };
        let of_run = matching(&whole.metrics);
        if !of_run.is_empty() {
            return of_run;
        }
        let phases = whole.phases.iter();
        phases.flat_map(|one| matching(&one.metrics)).collect()
    }

    /// Counters have no labels.
    fn counter(&self, whole: &Summary) -> Option<Measured> {
        if !self.labels.is_empty() || whole.phases.is_empty() {
            return None;
        }
        let own = [
            ("sent", whole.overall.sent),
            ("succeeded", whole.overall.succeeded),
            ("failed", whole.overall.failed),
        ];
        if let Some((_, value)) = own.into_iter().find(|(name, _)| self.is_named(name)) {
            return Some(Measured::count(value));
        }
        let of_phases = whole.phases.iter().flat_map(|phase| &phase.counters);
        let sum = self
            .sum(of_phases)
            .or_else(|| self.sum(whole.overall.counters.iter()));
        // Of these a run that had none need not speak.
        let known = ["late", "dropped"].iter().any(|name| self.is_named(name));
        sum.or(known.then_some(0)).map(Measured::count)
    }

    fn sum<'a>(&self, counters: impl Iterator<Item = &'a Counter>) -> Option<u64> {
        counters
            .filter(|one| self.is_named(&one.name))
            .map(|one| one.value)
            .reduce(u64::saturating_add)
    }

    /// `-` and `_` are the same: some formats write one, some the other.
    fn is_named(&self, name: &str) -> bool {
        let plain = |c| if c == '_' { '-' } else { c };
        self.name
            .as_ref()
            .is_some_and(|asked| asked.chars().map(plain).eq(name.chars().map(plain)))
    }

    /// A label that is not there is an empty one.
    fn has_labels(&self, labels: &[Label]) -> bool {
        self.labels.iter().all(|(key, value)| {
            let found = labels.iter().find(|label| label.key == *key);
            found.map_or("", |label| &label.value) == value
        })
    }
}

/// As the host reports it, exact where it is; else from the whole histogram, if that is there.
fn quantile_ns(times: &Histogram, q: f64) -> Option<u64> {
    let reported = times.quantiles.iter().find(|one| (one.q - q).abs() < 1e-9);
    if let Some(one) = reported {
        return Some(one.value_ns);
    }
    let whole = kperf_load::measure::decode(&times.hdr_v2_deflate).ok()?;
    kperf_load::measure::quantile(&whole, q)
}

#[cfg(test)]
mod tests;
