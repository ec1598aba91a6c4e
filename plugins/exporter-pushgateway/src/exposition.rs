//! Prometheus text exposition, format 0.0.4.
//!
//! Enters: samples by family. Leaves: text in which every family stands together under one HELP and one TYPE, no
//! sample appears twice, nothing has a timestamp, and every line ends with a line feed. A counter or distribution
//! given twice for the same labels is added up, a gauge keeps the last value: a gateway refuses duplicates.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

use crate::latency::Latency;

/// Content type of what [`Exposition::text`] returns.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Families by name.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    families: BTreeMap<String, Family>,
}

#[derive(Debug)]
struct Family {
    help: String,
    samples: Samples,
}

#[derive(Debug)]
enum Samples {
    Counter(BTreeMap<Labels, u64>),
    Gauge(BTreeMap<Labels, f64>),
    Histogram(BTreeMap<Labels, Latency>),
    Summary(BTreeMap<Labels, Latency>),
}

/// Label pairs of one sample. Names are sanitised, empty values dropped (an empty label is an absent one).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Labels(Vec<(String, String)>);

impl Labels {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a label of ours.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        if !value.is_empty() {
            self.0.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Adds a label from outside whose name is known; one that is there already goes to the others.
    pub(crate) fn with_known(self, name: &str, value: &str) -> Self {
        if self.0.iter().any(|(existing, _)| existing == name) {
            self.with_foreign(name, value)
        } else {
            self.with(name, value)
        }
    }

    /// Adds a label from outside under the prefix `label_`, so that it meets none of ours and none of Prometheus'.
    /// Names that become equal by sanitising are told apart by a number.
    pub(crate) fn with_foreign(mut self, name: &str, value: &str) -> Self {
        let plain = format!("label_{}", sanitised(name));
        let mut unique = plain.clone();
        let mut number = 1_u32;
        while self.0.iter().any(|(existing, _)| *existing == unique) {
            number = number.saturating_add(1);
            unique = format!("{plain}_{number}");
        }
        if !value.is_empty() {
            self.0.push((unique, value.to_owned()));
        }
        self
    }
}

impl Exposition {
    /// Adds to a counter. `name` must end in `_total`.
    pub(crate) fn counter(&mut self, name: &str, help: &str, labels: Labels, value: u64) {
        if let Samples::Counter(samples) =
            self.family(name, help, || Samples::Counter(BTreeMap::new()))
        {
            let total = samples.entry(labels).or_default();
            *total = total.saturating_add(value);
        }
    }

    /// Sets a gauge. `name` must not end in a suffix of another type.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, labels: Labels, value: f64) {
        if let Samples::Gauge(samples) = self.family(name, help, || Samples::Gauge(BTreeMap::new()))
        {
            samples.insert(labels, value);
        }
    }

    /// Adds a distribution as buckets.
    pub(crate) fn histogram(&mut self, name: &str, help: &str, labels: Labels, value: &Latency) {
        if let Samples::Histogram(samples) =
            self.family(name, help, || Samples::Histogram(BTreeMap::new()))
        {
            samples.entry(labels).or_default().add(value);
        }
    }

    /// Adds a distribution as quantiles.
    pub(crate) fn summary(&mut self, name: &str, help: &str, labels: Labels, value: &Latency) {
        if let Samples::Summary(samples) =
            self.family(name, help, || Samples::Summary(BTreeMap::new()))
        {
            samples.entry(labels).or_default().add(value);
        }
    }

    fn family(&mut self, name: &str, help: &str, empty: impl FnOnce() -> Samples) -> &mut Samples {
        let family = self
            .families
            .entry(name.to_owned())
            .or_insert_with(|| Family {
                help: help.to_owned(),
                samples: empty(),
            });
        &mut family.samples
    }

    /// The whole text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (name, family) in &self.families {
            // Writing to a String cannot fail.
            let _ = family.write(name, &mut text);
        }
        text
    }
}

impl Family {
    fn write(&self, name: &str, to: &mut String) -> fmt::Result {
        let kind = match self.samples {
            Samples::Counter(_) => "counter",
            Samples::Gauge(_) => "gauge",
            Samples::Histogram(_) => "histogram",
            Samples::Summary(_) => "summary",
        };
        writeln!(
            to,
            "# HELP {name} {}",
            self.help.replace('\\', "\\\\").replace('\n', "\\n")
        )?;
        writeln!(to, "# TYPE {name} {kind}")?;
        match &self.samples {
            Samples::Counter(samples) => {
                for (labels, value) in samples {
                    sample(to, name, "", labels, None, &value.to_string())?;
                }
            }
            Samples::Gauge(samples) => {
                for (labels, value) in samples {
                    sample(to, name, "", labels, None, &number(*value))?;
                }
            }
            Samples::Histogram(samples) => {
                for (labels, latency) in samples {
                    for (bound, count) in latency.cumulative() {
                        sample(
                            to,
                            name,
                            "_bucket",
                            labels,
                            Some(("le", &number(bound))),
                            &count.to_string(),
                        )?;
                    }
                    sums(to, name, labels, latency)?;
                }
            }
            Samples::Summary(samples) => {
                for (labels, latency) in samples {
                    for (q, seconds) in latency.quantiles() {
                        sample(
                            to,
                            name,
                            "",
                            labels,
                            Some(("quantile", &number(*q))),
                            &number(*seconds),
                        )?;
                    }
                    sums(to, name, labels, latency)?;
                }
            }
        }
        Ok(())
    }
}

fn sums(to: &mut String, name: &str, labels: &Labels, latency: &Latency) -> fmt::Result {
    sample(
        to,
        name,
        "_sum",
        labels,
        None,
        &number(latency.sum_seconds()),
    )?;
    sample(
        to,
        name,
        "_count",
        labels,
        None,
        &latency.count().to_string(),
    )
}

fn sample(
    to: &mut String,
    name: &str,
    suffix: &str,
    labels: &Labels,
    own: Option<(&str, &str)>,
    value: &str,
) -> fmt::Result {
    write!(to, "{name}{suffix}")?;
    let pairs = labels
        .0
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .chain(own);
    let mut separator = '{';
    for (label, value) in pairs {
        write!(to, "{separator}{label}=\"{}\"", escaped(value))?;
        separator = ',';
    }
    if separator == ',' {
        to.push('}');
    }
    writeln!(to, " {value}")
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// A Go float: decimal point, `NaN`, `+Inf`, `-Inf`.
fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}

/// Letters, digits and `_` only; anything else becomes `_`.
pub(crate) fn sanitised(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_stands_together_however_its_samples_came() {
        let mut exposition = Exposition::default();
        exposition.counter("a_total", "A.", Labels::new().with("x", "1"), 1);
        exposition.gauge("b", "B\\ and\nmore.", Labels::new(), 0.5);
        exposition.counter("a_total", "A.", Labels::new().with("x", "2"), 2);
        exposition.counter("a_total", "A.", Labels::new().with("x", "1"), 10);
        assert_eq!(
            exposition.text(),
            "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"1\"} 11\na_total{x=\"2\"} 2\n\
             # HELP b B\\\\ and\\nmore.\n# TYPE b gauge\nb 0.5\n"
        );
    }

    #[test]
    fn label_values_are_escaped_and_empty_ones_dropped() {
        let mut exposition = Exposition::default();
        let labels = Labels::new()
            .with("a", "x\"y\\z\n")
            .with("b", "")
            .with("c", "ü\r");
        exposition.gauge("g", "G.", labels, 1.0);
        assert!(
            exposition
                .text()
                .ends_with("g{a=\"x\\\"y\\\\z\\n\",c=\"ü\r\"} 1\n")
        );
    }

    #[test]
    fn foreign_labels_cannot_collide() {
        let labels = Labels::new()
            .with("le", "own")
            .with_foreign("le", "1")
            .with_foreign("a-b", "2");
        let labels = labels
            .with_foreign("a.b", "3")
            .with_foreign("__name__", "4");
        let names: Vec<&str> = labels.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "le",
                "label_le",
                "label_a_b",
                "label_a_b_2",
                "label___name__"
            ]
        );
    }

    #[test]
    fn numbers_are_what_go_reads() {
        for (value, text) in [
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
            (0.00025, "0.00025"),
            (1e9, "1000000000"),
            (60.0, "60"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn distributions_have_ascending_buckets_sum_and_count() {
        let bounds = [0.5, 2.0, 10.0];
        let latency = Latency::from_values(
            &bounds,
            &[(100_000_000, 2), (1_000_000_000, 1), (20_000_000_000, 1)],
        );
        let mut exposition = Exposition::default();
        exposition.histogram(
            "h_seconds",
            "H.",
            Labels::new().with("series", "s"),
            &latency,
        );
        assert_eq!(
            exposition.text(),
            "# HELP h_seconds H.\n# TYPE h_seconds histogram\n\
             h_seconds_bucket{series=\"s\",le=\"0.5\"} 2\nh_seconds_bucket{series=\"s\",le=\"2\"} 3\n\
             h_seconds_bucket{series=\"s\",le=\"10\"} 3\nh_seconds_bucket{series=\"s\",le=\"+Inf\"} 4\n\
             h_seconds_sum{series=\"s\"} 21.2\nh_seconds_count{series=\"s\"} 4\n"
        );
    }
}
