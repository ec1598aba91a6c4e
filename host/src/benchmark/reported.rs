//! What a benchmark reports as it goes: kept here, so that a benchmark that fails later loses nothing.

use std::time::Duration;

use kperf_load::result::Ended;
use kperf_runtime::report as doc;
use parking_lot::Mutex;
use serde_json::Value;

use crate::report::{self, MeasuredPhase, Results};

/// Most entries of each sort; a benchmark that reports more is wrong about what a report is.
const MOST: usize = 10_000;
/// Longest text of an entry, in bytes; longer ones are cut.
const TEXT_BYTES: usize = 16 << 10;
/// Longest name or label.
const WORD_BYTES: usize = 256;
/// Labels of one entry.
const MOST_LABELS: usize = 32;
/// Most values in all distributions together.
const MOST_VALUES: usize = 20_000_000;
/// Most rows in all object tables together.
const MOST_ROWS: usize = 1_000_000;

fn cut(mut text: String, bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes));
    text
}

fn cut_labels(mut labels: Vec<doc::Label>) -> Vec<doc::Label> {
    labels.truncate(MOST_LABELS);
    for label in &mut labels {
        label.key = cut(std::mem::take(&mut label.key), WORD_BYTES);
        label.value = cut(std::mem::take(&mut label.value), WORD_BYTES);
    }
    labels
}

/// A load as it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoadUse {
    /// The load profile, as the benchmark gave it.
    pub(crate) profile: Value,
    /// How many did it.
    pub(crate) runners: u32,
}

impl LoadUse {
    /// The profile has been read as YAML, of which JSON is a part; what is more than JSON is shown as it was written.
    pub(crate) fn new(profile: &str, runners: u32) -> Self {
        Self {
            profile: serde_json::from_str(profile).unwrap_or_else(|_| profile.into()),
            runners,
        }
    }
}

/// The runners of a load, if it did not come from this process.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunnersUse {
    /// Name of the load.
    pub(crate) load: String,
    /// `cluster` or `local`.
    pub(crate) place: &'static str,
    /// How many there were to be.
    pub(crate) count: u32,
    /// How many of them have a report.
    pub(crate) reported: usize,
    /// From the first start to the last; none if that is not known.
    pub(crate) start_skew_seconds: Option<f64>,
}

/// What the run was, besides what it measured.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// In words; empty = not said.
    pub(crate) description: String,
    /// By name, in the order they were reported.
    pub(crate) facts: Vec<(String, Value)>,
    /// In the order they were started.
    pub(crate) loads: Vec<LoadUse>,
    /// In the order they ended.
    pub(crate) runners: Vec<RunnersUse>,
}

impl Told {
    /// Adds the facts as the report has them: texts as they are, everything else as JSON. What the host says is not
    /// replaced, nor said twice: a benchmark's fact of the same name is `benchmark/<name>`.
    pub(crate) fn add_to(&self, environment: &mut Vec<(String, String)>) {
        let own = environment.len();
        for (name, value) in &self.facts {
            let text = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let is_taken = environment.iter().take(own).any(|(key, _)| key == name);
            environment.push((apart(name, is_taken), text));
        }
    }
}

/// A benchmark's fact, apart from one of the host's that has its name.
pub(super) fn apart(name: &str, is_taken: bool) -> String {
    if is_taken {
        format!("benchmark/{name}")
    } else {
        name.to_owned()
    }
}

/// What was reported so far.
#[derive(Default)]
pub(crate) struct Reported(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    results: Results,
    phases: Vec<MeasuredPhase>,
    told: Told,
    values: usize,
    rows: usize,
    left_out: u64,
}

impl Kept {
    fn take_if(&mut self, fits: bool) -> bool {
        if !fits {
            self.left_out += 1;
        }
        fits
    }

    fn take_if_room(&mut self, length: impl Fn(&Results) -> usize) -> bool {
        let fits = length(&self.results) < MOST;
        self.take_if(fits)
    }
}

impl Reported {
    pub(crate) fn metric(&self, name: String, value: f64, unit: String, labels: Vec<doc::Label>) {
        let mut kept = self.0.lock();
        if kept.take_if_room(|results| results.metrics.len()) {
            kept.results.metrics.push(doc::Metric {
                name: cut(name, WORD_BYTES),
                // JSON has no others, and neither has a judgement.
                value: if value.is_finite() { value } else { 0.0 },
                unit: cut(unit, WORD_BYTES),
                labels: cut_labels(labels),
            });
        }
    }

    /// Adds a distribution, and gives it back.
    pub(crate) fn distribution(
        &self,
        name: String,
        labels: Vec<doc::Label>,
        values_ns: Vec<u64>,
        missing: u64,
    ) -> doc::Distribution {
        let count = values_ns.len();
        let (name, labels) = (cut(name, WORD_BYTES), cut_labels(labels));
        let distribution = report::distribution(name, labels, values_ns, missing);
        let mut kept = self.0.lock();
        let fits = kept.values + count <= MOST_VALUES && kept.results.distributions.len() < MOST;
        if kept.take_if(fits) {
            kept.values += count;
            kept.results.distributions.push(distribution.clone());
        }
        distribution
    }

    pub(crate) fn objects(&self, table: doc::ObjectTable) {
        let mut kept = self.0.lock();
        let rows = kept.rows + table.objects.len();
        if kept.take_if(rows <= MOST_ROWS) {
            kept.rows = rows;
            kept.results.objects.push(table);
        }
    }

    pub(crate) fn finding(&self, severity: &str, code: String, message: String) {
        let mut kept = self.0.lock();
        if kept.take_if_room(|results| results.findings.len()) {
            let severity = match severity {
                "warning" | "error" => severity,
                _ => "info",
            };
            kept.results.findings.push(doc::Finding {
                severity: severity.to_owned(),
                code: cut(code, WORD_BYTES),
                message: cut(message, TEXT_BYTES),
            });
        }
    }

    pub(crate) fn phase(&self, phase: MeasuredPhase) {
        let mut kept = self.0.lock();
        let fits = kept.phases.len() < MOST;
        if kept.take_if(fits) {
            kept.phases.push(phase);
        }
    }

    pub(crate) fn describe(&self, text: String) {
        self.0.lock().told.description = cut(text, TEXT_BYTES);
    }

    /// Adds a fact, or replaces the one of that name. What is no JSON is a text.
    pub(crate) fn fact(&self, name: String, value: String) {
        let (name, value) = (cut(name, WORD_BYTES), cut(value, TEXT_BYTES));
        let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
        let mut kept = self.0.lock();
        let known = kept.told.facts.iter().position(|(known, _)| *known == name);
        match known.and_then(|at| kept.told.facts.get_mut(at)) {
            Some((_, known)) => *known = value,
            None => {
                let fits = kept.told.facts.len() < MOST_LABELS;
                if kept.take_if(fits) {
                    kept.told.facts.push((name, value));
                }
            }
        }
    }

    pub(crate) fn load(&self, load: LoadUse) {
        let mut kept = self.0.lock();
        let fits = kept.told.loads.len() < MOST;
        if kept.take_if(fits) {
            kept.told.loads.push(load);
        }
    }

    pub(crate) fn runners(&self, runners: RunnersUse) {
        let mut kept = self.0.lock();
        let fits = kept.told.runners.len() < MOST;
        if kept.take_if(fits) {
            kept.told.runners.push(runners);
        }
    }

    /// Everything, at the end of the run.
    pub(crate) fn take(
        &self,
        length: Duration,
        ended: Ended,
    ) -> (Vec<MeasuredPhase>, Results, Told) {
        let mut kept = std::mem::take(&mut *self.0.lock());
        if kept.left_out > 0 {
            kept.results.findings.push(doc::Finding {
                severity: "warning".to_owned(),
                code: "report/left-out".to_owned(),
                message: format!(
                    "the benchmark reported more than a report holds; {} entries were left out",
                    kept.left_out
                ),
            });
        }
        kept.results.length = Some(length);
        kept.results.ended = Some(ended);
        kept.phases.sort_by_key(|phase| phase.result.start);
        (kept.phases, kept.results, kept.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_rank_and_exact() {
        let reported = Reported::default();
        let values = (1..=10).rev().map(|n| n * 1_000_000_007).collect();
        let given = reported.distribution("d".to_owned(), Vec::new(), values, 2);
        let at = |q: f64| {
            let quantile = given.times.quantiles.iter().find(|known| known.q == q);
            quantile.unwrap().value_ns / 1_000_000_007
        };
        assert_eq!(
            (at(0.0), at(0.5), at(0.9), at(0.99), at(1.0)),
            (1, 5, 9, 10, 10)
        );
        assert_eq!(given.times.max_ns, 10_000_000_070);
        assert_eq!((given.times.count, given.missing), (10, 2));
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let reported = Reported::default();
        for _ in 0..=MOST {
            reported.finding("odd", "c".to_owned(), "m".to_owned());
        }
        let (_, results, _) = reported.take(Duration::ZERO, Ended::Completed);
        assert_eq!(results.findings.len(), MOST + 1);
        assert_eq!(results.findings[0].severity, "info");
        assert_eq!(results.findings[MOST].code, "report/left-out");
    }

    #[test]
    fn facts_are_json_or_else_texts() {
        let reported = Reported::default();
        for (name, value) in [
            ("podSizeInBytes", "7"),
            ("interval", "10s"),
            ("podSizeInBytes", "1024"),
        ] {
            reported.fact(name.to_owned(), value.to_owned());
        }
        let (_, _, told) = reported.take(Duration::ZERO, Ended::Completed);
        assert_eq!(
            told.facts,
            [
                ("podSizeInBytes".to_owned(), Value::from(1024)),
                ("interval".to_owned(), Value::from("10s")),
            ]
        );
        let pair = |key: &str, text: &str| (key.to_owned(), text.to_owned());
        let mut environment = vec![pair("interval", "the host's")];
        told.add_to(&mut environment);
        assert_eq!(
            environment,
            [
                pair("interval", "the host's"),
                pair("podSizeInBytes", "1024"),
                pair("benchmark/interval", "10s"),
            ]
        );
    }
}
