//! Tolerances between paths: `pod within 10% of host`.
//!
//! ```text
//! TOLERANCE = PATH [METRIC] within NUMBER% of PATH
//! ```
//!
//! The mean of the first path may be so much worse than that of the second, for each pair and each set of parameters;
//! being better is never wrong. Of rates and bandwidths more is better, of times, counts and ratios less is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{
    run::NetworkRun,
    stats::{Difference, difference, estimate},
    task::TaskRecord,
};

/// How much worse one path may be than another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tolerance {
    /// The path that is judged.
    pub path: String,
    /// The metric to compare; the tool's main metric when there is none.
    pub metric: Option<String>,
    /// How much worse it may be, as a part of the reference: 0.1 is 10 %.
    pub ratio: f64,
    /// The path it is compared with.
    pub reference: String,
}

/// A tolerance that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}`: {reason}; write PATH [METRIC] within N% of PATH, for example `pod within 10% of host`"
)]
pub struct ToleranceError {
    /// As it was written.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl FromStr for Tolerance {
    type Err = ToleranceError;

    fn from_str(text: &str) -> Result<Self, ToleranceError> {
        let error = |reason: String| ToleranceError {
            text: text.chars().take(200).collect(),
            reason,
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (path, metric, percent, reference) = match words.as_slice() {
            [path, "within", percent, "of", reference] => (path, None, percent, reference),
            [path, metric, "within", percent, "of", reference] => {
                (path, Some(metric), percent, reference)
            }
            _ if !words.contains(&"within") => {
                return Err(error("the word `within` is missing".to_owned()));
            }
            _ if !words.contains(&"of") => {
                return Err(error("the word `of` is missing".to_owned()));
            }
            _ => return Err(error("it is not of this form".to_owned())),
        };
        let number = percent
            .strip_suffix('%')
            .ok_or_else(|| error(format!("`{percent}` is no percentage, such as 10%")))?;
        let ratio = number
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite() && *number >= 0.0)
            .ok_or_else(|| error(format!("`{number}` is no number from 0 up")))?
            / 100.0;
        if path == reference {
            return Err(error(format!("`{path}` is compared with itself")));
        }
        Ok(Self {
            path: (*path).to_owned(),
            metric: metric.map(|metric| (*metric).to_owned()),
            ratio,
            reference: (*reference).to_owned(),
        })
    }
}

impl TryFrom<String> for Tolerance {
    type Error = ToleranceError;

    fn try_from(text: String) -> Result<Self, ToleranceError> {
        text.parse()
    }
}

impl From<Tolerance> for String {
    fn from(tolerance: Tolerance) -> Self {
        tolerance.to_string()
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path)?;
        if let Some(metric) = &self.metric {
            write!(f, " {metric}")?;
        }
        // A percentage as it was written, not 10.000000000000002.
        let percent = (self.ratio * 1e8).round() / 1e6;
        write!(f, " within {percent}% of {}", self.reference)
    }
}

/// A tolerance on one pair with one set of parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The tolerance as text.
    pub tolerance: String,
    /// The client's end: its worker, or its node where the paths have workers of their own. Empty when nothing at all
    /// was measured.
    pub client: String,
    /// The server's end, likewise.
    pub server: String,
    /// The tool's parameters.
    pub variant: String,
    /// Least that the first path may be of the second where more is better, else most: 0.9 or 1.1 for 10 %.
    pub limit: f64,
    /// What came out.
    pub outcome: Outcome,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Both paths were measured.
    Compared {
        /// Mean of the path that is judged.
        mean: f64,
        /// Mean of the path it is compared with.
        reference: f64,
        /// Unit of both.
        unit: String,
        /// Its mean minus the limit, in the same unit, and how far that can be trusted.
        difference: Difference,
        /// Whether it is within the tolerance.
        passed: bool,
    },
    /// There is nothing to compare.
    NotMeasured {
        /// Why.
        reason: String,
    },
}

impl Check {
    /// Whether the tolerance was kept. What was not measured was not kept.
    #[must_use]
    pub fn passed(&self) -> bool {
        matches!(self.outcome, Outcome::Compared { passed: true, .. })
    }

    /// The first mean as a part of the second.
    #[must_use]
    pub fn measured(&self) -> Option<f64> {
        match &self.outcome {
            Outcome::Compared {
                mean, reference, ..
            } => Some(mean / reference).filter(|ratio| ratio.is_finite()),
            Outcome::NotMeasured { .. } => None,
        }
    }
}

/// Whether a bigger value of a unit is a better one.
fn more_is_better(unit: &str) -> bool {
    !matches!(unit, "s" | "count" | "ratio" | "percent")
}

/// The two ends and the tool's parameters.
type Place<'a> = (&'a str, &'a str, &'a str);

/// Tasks of one path, by place.
type Places<'a> = BTreeMap<Place<'a>, Vec<&'a TaskRecord>>;

/// The samples of a metric in some tasks, with their unit.
struct Samples<'a> {
    unit: &'a str,
    values: Vec<f64>,
}

impl Tolerance {
    /// What became of it, for every pair that has one of the two paths. Where no worker has both, pairs are those of
    /// nodes: a worker in the network of a node is compared with a worker in a pod on it.
    #[must_use]
    pub fn judge(&self, run: &NetworkRun) -> Vec<Check> {
        let workers = [&self.path, &self.reference].map(|path| places(run, path, by_worker));
        let [judged, reference] = &workers;
        let unmeasured: Vec<_> = [(&self.path, judged), (&self.reference, reference)]
            .into_iter()
            .filter(|(_, places)| places.is_empty())
            .map(|(path, _)| format!("nothing was measured by {path}"))
            .collect();
        if !unmeasured.is_empty() {
            return vec![self.not_measured(run, ("", "", ""), unmeasured.join(", and "))];
        }
        let [judged, reference] = if judged.keys().any(|place| reference.contains_key(place)) {
            workers
        } else {
            [&self.path, &self.reference].map(|path| places(run, path, by_node))
        };
        let all: BTreeSet<&Place<'_>> = judged.keys().chain(reference.keys()).collect();
        all.into_iter()
            .map(|place| self.check(run, *place, judged.get(place), reference.get(place)))
            .collect()
    }

    fn check(
        &self,
        run: &NetworkRun,
        place: Place<'_>,
        judged: Option<&Vec<&TaskRecord>>,
        reference: Option<&Vec<&TaskRecord>>,
    ) -> Check {
        let metric = self.metric(run);
        let samples = |tasks, path| samples(tasks, path, metric);
        let (judged, reference) = match (
            samples(judged, &self.path),
            samples(reference, &self.reference),
        ) {
            (Ok(judged), Ok(reference)) => (judged, reference),
            (Err(reason), Ok(_)) | (Ok(_), Err(reason)) => {
                return self.not_measured(run, place, reason);
            }
            (Err(one), Err(other)) => {
                return self.not_measured(run, place, format!("{one}; {other}"));
            }
        };
        let more = more_is_better(judged.unit);
        // Anything above nothing would keep it, and it would look as if something had been checked.
        if more && self.ratio >= 1.0 {
            let reason = format!(
                "of {metric} more is better, so it cannot be worse by 100 % or more; choose less"
            );
            return self.not_measured(run, place, reason);
        }
        let limit = self.limit(more);
        let means = estimate(&judged.values).zip(estimate(&reference.values));
        let apart = difference(&judged.values, &reference.values, limit);
        let (Some((mean, of_reference)), Some(apart)) = (means, apart) else {
            // Cannot be: there are samples.
            return self.not_measured(run, place, "there are no samples".to_owned());
        };
        let passed = if more {
            apart.value >= 0.0
        } else {
            apart.value <= 0.0
        };
        self.outcome(
            place,
            limit,
            Outcome::Compared {
                mean: mean.mean,
                reference: of_reference.mean,
                unit: judged.unit.to_owned(),
                difference: apart,
                passed,
            },
        )
    }

    fn metric<'a>(&'a self, run: &'a NetworkRun) -> &'a str {
        self.metric.as_deref().unwrap_or(&run.main_metric)
    }

    fn limit(&self, more: bool) -> f64 {
        if more {
            1.0 - self.ratio
        } else {
            1.0 + self.ratio
        }
    }

    fn not_measured(&self, run: &NetworkRun, place: Place<'_>, reason: String) -> Check {
        let metric = self.metric(run);
        let unit = run
            .tasks
            .iter()
            .flat_map(|task| &task.readings)
            .find(|reading| reading.name == metric)
            .map_or("", |reading| &reading.unit);
        let limit = self.limit(more_is_better(unit));
        self.outcome(place, limit, Outcome::NotMeasured { reason })
    }

    fn outcome(&self, (client, server, variant): Place<'_>, limit: f64, outcome: Outcome) -> Check {
        Check {
            tolerance: self.to_string(),
            client: client.to_owned(),
            server: server.to_owned(),
            variant: variant.to_owned(),
            limit,
            outcome,
        }
    }
}

fn places<'a>(
    run: &'a NetworkRun,
    path: &str,
    ends: impl Fn(&'a NetworkRun, &'a TaskRecord) -> (&'a str, &'a str),
) -> Places<'a> {
    let mut places = Places::new();
    for task in run.tasks.iter().filter(|task| task.key.path == path) {
        let (client, server) = ends(run, task);
        let place = (client, server, &*task.key.variant);
        places.entry(place).or_default().push(task);
    }
    places
}

fn by_worker<'a>(_: &'a NetworkRun, task: &'a TaskRecord) -> (&'a str, &'a str) {
    (&task.key.client, &task.key.server)
}

/// A worker of a node that is not known stands for itself.
fn by_node<'a>(run: &'a NetworkRun, task: &'a TaskRecord) -> (&'a str, &'a str) {
    let node = |name: &'a String| {
        run.worker(name)
            .map(|worker| &*worker.hostname)
            .filter(|node| !node.is_empty())
            .unwrap_or(name)
    };
    (node(&task.key.client), node(&task.key.server))
}

/// The values of a metric, or why there are none.
fn samples<'a>(
    tasks: Option<&Vec<&'a TaskRecord>>,
    path: &str,
    metric: &str,
) -> Result<Samples<'a>, String> {
    let Some(tasks) = tasks else {
        return Err(format!("not measured by {path}"));
    };
    if metric.is_empty() {
        return Err("no metric is named, and the tool's main metric is not known".to_owned());
    }
    let readings: Vec<_> = tasks
        .iter()
        .filter_map(|task| task.readings.iter().find(|reading| reading.name == metric))
        .collect();
    let error = || tasks.iter().find_map(|task| task.error.as_ref());
    match (readings.first(), error()) {
        (Some(first), _) => Ok(Samples {
            unit: &first.unit,
            values: readings.iter().map(|reading| reading.value).collect(),
        }),
        (None, Some(error)) => Err(format!("by {path}: {}: {}", error.class, error.message)),
        (None, None) => Err(format!("by {path} the tool reports no {metric}")),
    }
}

#[cfg(test)]
mod tests;
