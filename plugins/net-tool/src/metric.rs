//! Results: names, base units, labels.

use crate::ToolError;

/// One number that a tool measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Such as `bandwidth_bits_per_second`, without prefix.
    pub name: String,
    /// In the base unit; finite and not negative.
    pub value: f64,
    /// The base unit: `bit/s`, `byte`, `s`, `1/s`, `count`, `ratio` or `percent`.
    pub unit: &'static str,
    /// What tells metrics of one name apart, name and value.
    pub labels: Vec<(String, String)>,
}

impl Metric {
    /// The base unit that goes with a name, by its ending.
    pub fn unit_of(name: &str) -> &'static str {
        // Longer endings first: `_bits_per_second` is also a `_per_second`.
        const ENDINGS: [(&str, &str); 7] = [
            ("_bits_per_second", "bit/s"),
            ("_per_second", "1/s"),
            ("_seconds", "s"),
            ("_bytes", "byte"),
            ("_percent", "percent"),
            ("_ratio", "ratio"),
            ("", "count"),
        ];
        ENDINGS
            .iter()
            .find(|(ending, _)| name.ends_with(ending))
            .map_or("count", |&(_, unit)| unit)
    }
}

/// Collects metrics and refuses what cannot be a measurement.
#[derive(Debug, Default)]
pub struct Metrics {
    found: Vec<Metric>,
}

impl Metrics {
    /// Adds a metric without labels.
    ///
    /// # Errors
    /// `malformed` if the value is negative or not finite, or the metric is there already.
    pub fn add(&mut self, name: impl Into<String>, value: f64) -> Result<(), ToolError> {
        self.add_labelled(name, value, &[])
    }

    /// Adds a metric if there is a value.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_some(
        &mut self,
        name: impl Into<String>,
        value: Option<f64>,
    ) -> Result<(), ToolError> {
        value.map_or(Ok(()), |value| self.add(name, value))
    }

    /// Adds a metric with labels.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_labelled(
        &mut self,
        name: impl Into<String>,
        value: f64,
        labels: &[(&str, &str)],
    ) -> Result<(), ToolError> {
        let name = name.into();
        if !value.is_finite() || value < 0.0 {
            return Err(ToolError::malformed(format!("{name} would be {value}")));
        }
        let labels: Vec<_> = labels
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if self
            .found
            .iter()
            .any(|other| other.name == name && other.labels == labels)
        {
            return Err(ToolError::malformed(format!("the output has {name} twice")));
        }
        let unit = Metric::unit_of(&name);
        // -0.0 is a zero like any other.
        let value = value.abs();
        self.found.push(Metric {
            name,
            value,
            unit,
            labels,
        });
        Ok(())
    }

    /// What was collected, in order.
    pub fn finish(self) -> Vec<Metric> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorClass;

    #[test]
    fn only_measurements_get_in() {
        let mut metrics = Metrics::default();
        for value in [-1.0, f64::NAN, f64::INFINITY] {
            let error = metrics.add("duration_seconds", value).unwrap_err();
            assert_eq!(error.class, ErrorClass::Malformed);
        }
        metrics.add("duration_seconds", 0.0).unwrap();
        assert!(metrics.add("duration_seconds", 1.0).is_err());
        metrics
            .add_labelled("duration_seconds", 1.0, &[("test", "x")])
            .unwrap();
        assert_eq!(metrics.finish().len(), 2);
    }

    #[test]
    fn names_end_in_their_unit() {
        for (name, unit) in [
            ("bandwidth_bits_per_second", "bit/s"),
            ("message_rate_per_second", "1/s"),
            ("latency_p99_9_seconds", "s"),
            ("sent_bytes", "byte"),
            ("cpu_local_percent", "percent"),
            ("lost_ratio", "ratio"),
            ("retransmits", "count"),
        ] {
            assert_eq!(Metric::unit_of(name), unit, "{name}");
        }
    }
}
