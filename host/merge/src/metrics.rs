//! Numbers that are neither latencies nor counts, merged as their meaning allows.
//!
//! CPU adds up. Of a quantile, such as that of send lag, the worst is kept with the runner it is of: quantiles do not add
//! up. Rates are computed anew from sums. Of everything else nobody here knows what it means (an API server's memory
//! as each runner saw it must not be added up): what all runners say alike is said once, a few different values are
//! kept each with its `runner`, and of many the least, the mean and the greatest, by the label `of-runners`.

use crate::{
    document,
    facts::position,
    merged::{Labels, Metric},
    series::same_labels,
};

/// Values of one metric kept each.
const EACH: usize = 16;
/// Different metrics; later ones are left out and counted.
const MOST: usize = 20_000;
/// Names a runner in a metric's labels.
pub(crate) const RUNNER: &str = "runner";
/// Says which of many values one is.
const OF_RUNNERS: &str = "of-runners";

/// What becomes of a metric; names are those of documents.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Sum,
    Worst,
    Keep,
    /// Computed anew.
    Derived,
}

fn rule(name: &str) -> Rule {
    match name {
        "cpu" => Rule::Sum,
        "send_lag_p50" | "send_lag_p99" | "send_lag_max" | "shard_cpu" => Rule::Worst,
        "achieved_rate" | "received_rate" | "cpu_per_request" | START_SKEW | LONGEST => {
            Rule::Derived
        }
        _ if name.starts_with("runner_") => Rule::Derived,
        _ => Rule::Keep,
    }
}

/// How far apart runners started, in a merged document.
pub(crate) const START_SKEW: &str = "start_skew";
/// How long the runner took that took longest, in a merged document.
pub(crate) const LONGEST: &str = "longest_runner";

/// All metrics of a run or a phase.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    all: Vec<Sum>,
    pub(crate) left_out: u64,
}

#[derive(Clone, Debug)]
struct Sum {
    name: String,
    unit: String,
    labels: Labels,
    rule: Rule,
    count: u64,
    sum: f64,
    least: (String, f64),
    greatest: (String, f64),
    each: Vec<(String, f64)>,
}

impl Metrics {
    pub(crate) fn add(&mut self, runner: &str, metrics: &[document::Metric<'_>]) {
        for (at, metric) in metrics.iter().enumerate() {
            let name = metric.name.as_str();
            let (Some(value), false) = (metric.value, rule(name) == Rule::Derived) else {
                continue;
            };
            let is_it = |known: &Sum| {
                known.name == name
                    && known.unit == metric.unit.as_str()
                    && same_labels(&known.labels, &metric.labels)
            };
            let at = position(&self.all, at, is_it).unwrap_or(self.all.len());
            match self.all.get_mut(at) {
                Some(known) => known.put(runner, value),
                None if at >= MOST => self.left_out += 1,
                None => self.all.push(Sum::new(runner, metric, value)),
            }
        }
    }

    pub(crate) fn absorb(&mut self, other: Self) {
        self.left_out += other.left_out;
        for (at, theirs) in other.all.into_iter().enumerate() {
            let is_it = |known: &Sum| {
                known.name == theirs.name
                    && known.unit == theirs.unit
                    && known.labels == theirs.labels
            };
            let at = position(&self.all, at, is_it).unwrap_or(self.all.len());
            match self.all.get_mut(at) {
                Some(known) => known.absorb(theirs),
                None if at >= MOST => self.left_out += 1,
                None => self.all.push(theirs),
            }
        }
    }

    /// Sum of a metric that adds up.
    pub(crate) fn sum(&self, name: &str) -> Option<f64> {
        let found = self.all.iter().find(|metric| metric.name == name);
        found.map(|metric| metric.sum)
    }

    /// Everything but what is computed anew, of so many runners.
    pub(crate) fn merged(self, runners: u64) -> Vec<Metric> {
        let mut merged = Vec::new();
        for metric in self.all {
            metric.emit(runners, &mut merged);
        }
        merged
    }
}

impl Sum {
    fn new(runner: &str, metric: &document::Metric<'_>, value: f64) -> Self {
        let first = (runner.to_owned(), value);
        let labels = metric.labels.iter();
        Self {
            name: metric.name.to_owned(),
            unit: metric.unit.to_owned(),
            labels: labels
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            rule: rule(metric.name.as_str()),
            count: 1,
            sum: value,
            least: first.clone(),
            greatest: first.clone(),
            each: vec![first],
        }
    }

    fn put(&mut self, runner: &str, value: f64) {
        self.count += 1;
        self.sum += value;
        if value < self.least.1 {
            self.least = (runner.to_owned(), value);
        }
        if value > self.greatest.1 {
            self.greatest = (runner.to_owned(), value);
        }
        if self.rule == Rule::Keep && self.each.len() < EACH {
            self.each.push((runner.to_owned(), value));
        }
    }

    fn absorb(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
        if other.least.1 < self.least.1 {
            self.least = other.least;
        }
        if other.greatest.1 > self.greatest.1 {
            self.greatest = other.greatest;
        }
        let room = EACH.saturating_sub(self.each.len());
        if self.rule == Rule::Keep {
            self.each.extend(other.each.into_iter().take(room));
        }
    }

    fn emit(&self, runners: u64, into: &mut Vec<Metric>) {
        let one = |value: f64, labels: Labels| Metric {
            name: self.name.clone(),
            value,
            unit: self.unit.clone(),
            labels,
        };
        let of = |(runner, value): &(String, f64)| one(*value, self.with_runner(runner));
        let all_alike = self.least.1 == self.greatest.1 && self.count >= runners;
        match self.rule {
            Rule::Sum => into.push(one(self.sum, self.labels.clone())),
            Rule::Worst if runners > 1 => into.push(of(&self.greatest)),
            Rule::Worst | Rule::Keep if all_alike => {
                into.push(one(self.greatest.1, self.labels.clone()));
            }
            Rule::Worst | Rule::Keep if self.count <= EACH as u64 => {
                into.extend(self.each.iter().map(of));
            }
            Rule::Worst | Rule::Keep => {
                let labelled = |mut labels: Labels, which: &str| {
                    labels.push((OF_RUNNERS.to_owned(), which.to_owned()));
                    labels
                };
                let mean = self.sum / self.count as f64;
                into.push(one(
                    self.least.1,
                    labelled(self.with_runner(&self.least.0), "least"),
                ));
                into.push(one(mean, labelled(self.labels.clone(), "mean")));
                into.push(one(
                    self.greatest.1,
                    labelled(self.with_runner(&self.greatest.0), "greatest"),
                ));
            }
            Rule::Derived => {}
        }
    }

    /// The labels, with whose value it is. A merged document names runners already: `monday/pod-3`.
    fn with_runner(&self, runner: &str) -> Labels {
        let mut labels = self.labels.clone();
        match labels.iter_mut().find(|(key, _)| key == RUNNER) {
            Some((_, inner)) => *inner = format!("{runner}/{inner}"),
            None => labels.push((RUNNER.to_owned(), runner.to_owned())),
        }
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(json: &str) -> Vec<document::Metric<'_>> {
        serde_json::from_str(json).unwrap()
    }

    fn merged(of_runners: &[&str]) -> Vec<String> {
        let mut all = Metrics::default();
        for (at, json) in of_runners.iter().enumerate() {
            all.add(&format!("r{at}"), &metrics(json));
        }
        let shown = all
            .merged(of_runners.len() as u64)
            .into_iter()
            .map(|metric| {
                let labels: Vec<String> = metric
                    .labels
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                format!("{} {} {}", metric.name, metric.value, labels.join(","))
            });
        shown.collect()
    }

    #[test]
    fn each_metric_merges_as_its_meaning_allows() {
        let one = r#"[{"name":"cpu","value":1.5,"unit":"seconds"},
            {"name":"send_lag_p99","value":0.25,"unit":"seconds"},
            {"name":"achieved_rate","value":7,"unit":"x"},
            {"name":"server_cores","value":4,"unit":"count","labels":{"instance":"a"}},
            {"name":"server_cpu","value":2,"unit":"seconds"}]"#;
        let two = r#"[{"name":"cpu","value":0.5,"unit":"seconds"},
            {"name":"server_cores","value":4,"unit":"count","labels":{"instance":"a"}},
            {"name":"send_lag_p99","value":0.5,"unit":"seconds"},
            {"name":"server_cpu","value":3,"unit":"seconds"},
            {"name":"nothing","value":null,"unit":"seconds"},
            {"name":"mine","value":1,"unit":"seconds"}]"#;
        assert_eq!(
            merged(&[one, two]),
            [
                "cpu 2 ",
                "send_lag_p99 0.5 runner=r1",
                "server_cores 4 instance=a",
                "server_cpu 2 runner=r0",
                "server_cpu 3 runner=r1",
                "mine 1 runner=r1",
            ]
        );
    }

    #[test]
    fn many_different_values_are_bounded() {
        let texts: Vec<String> = (0..100)
            .map(|value| format!(r#"[{{"name":"odd","value":{value},"unit":"count"}}]"#))
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert_eq!(
            merged(&texts),
            [
                "odd 0 runner=r0,of-runners=least",
                "odd 49.5 of-runners=mean",
                "odd 99 runner=r99,of-runners=greatest",
            ]
        );
    }

    #[test]
    fn names_of_runners_nest() {
        let json = r#"[{"name":"odd","value":1,"unit":"x","labels":{"runner":"pod-3"}}]"#;
        assert_eq!(merged(&[json, "[]"]), ["odd 1 runner=r0/pod-3"]);
    }
}
