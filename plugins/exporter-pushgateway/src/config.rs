//! The plugin's configuration and the rules its schema cannot hold.

use std::collections::BTreeMap;

use kperf_sdk::Failure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pushes results to a Prometheus Pushgateway as text exposition 0.0.4 (`pushgateway=http://host:9091`). To a file or
/// standard output it writes the same text, for example for the textfile collector of node_exporter.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Config {
    /// First label of the grouping key. A push with the same key takes the place of the one before.
    #[schemars(length(min = 1))]
    pub(crate) job: String,
    /// Further labels of the grouping key, name to value. Choose ones that stay the same from run to run: the
    /// gateway keeps a group until it is deleted. Reports of network benchmarks have `benchmark` among them, unless
    /// it is set here.
    #[schemars(extend("propertyNames" = { "pattern": "^(_?[a-zA-Z][a-zA-Z0-9_]*|_)$" }))]
    pub(crate) grouping: BTreeMap<String, String>,
    /// PUT replaces the whole group, POST only the metrics of the same names in it.
    pub(crate) method: Method,
    /// How latencies are written: as histograms with `buckets`, which can be aggregated over series and runs, or as
    /// summaries with quantiles, which are more precise and cannot.
    pub(crate) latency: Shape,
    /// Upper bounds of the histogram buckets in seconds, strictly ascending.
    #[schemars(length(min = 1, max = 200))]
    #[schemars(extend("items" = { "type": "number", "exclusiveMinimum": 0 }))]
    pub(crate) buckets: Vec<f64>,
    /// Also push the totals so far at every interval of the run. Only for destinations that are a URL.
    pub(crate) per_interval: bool,
}

/// How the gateway treats what it already has.
// Serialize, so that the schema can say the default.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Method {
    /// Replaces the whole group.
    Put,
    /// Replaces only metrics of the same names.
    Post,
}

impl Method {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Put => "PUT",
            Self::Post => "POST",
        }
    }
}

/// How a distribution is written.
// Serialize, so that the schema can say the default.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Shape {
    /// Counts by bucket.
    Histogram,
    /// Quantiles.
    Summary,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            job: "kperf".to_owned(),
            grouping: BTreeMap::new(),
            method: Method::Put,
            latency: Shape::Histogram,
            buckets: vec![
                0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
            ],
            per_interval: false,
        }
    }
}

/// Labels the samples carry themselves; the gateway would overwrite them with those of the grouping key, and
/// samples that differ only there would collide.
const OWN_LABELS: [&str; 12] = [
    "series",
    "phase",
    "result",
    "class",
    "event",
    "verdict",
    "severity",
    "distribution",
    "threshold",
    "unit",
    "le",
    "quantile",
];

impl Config {
    /// What a schema cannot say.
    ///
    /// # Errors
    /// `invalid-config` naming the key.
    pub(crate) fn validate(&self) -> Result<(), Failure> {
        if self.job.is_empty() {
            return Err(Failure::invalid_config(
                "job",
                "job must not be empty: the Pushgateway refuses it",
            ));
        }
        for name in self.grouping.keys() {
            let key = format!("grouping.{name}");
            if !is_label_name(name) {
                let message = format!(
                    "grouping.{name} is not a label name: use letters, digits and _, no digit first, no __ in front"
                );
                return Err(Failure::invalid_config(key, message));
            }
            if name == "job" {
                return Err(Failure::invalid_config(
                    key,
                    "grouping.job is set by `job`; leave it out here",
                ));
            }
            if OWN_LABELS.contains(&name.as_str()) {
                let message = format!(
                    "grouping.{name} would overwrite the label `{name}` of the samples; choose another name"
                );
                return Err(Failure::invalid_config(key, message));
            }
        }
        let ascending = self
            .buckets
            .windows(2)
            .all(|pair| pair.first() < pair.last());
        if self.buckets.is_empty()
            || !ascending
            || !self
                .buckets
                .iter()
                .all(|bound| bound.is_finite() && *bound > 0.0)
        {
            let message = "buckets must be numbers above 0 in strictly ascending order, in seconds";
            return Err(Failure::invalid_config("buckets", message));
        }
        Ok(())
    }
}

fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with("__")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Result<Config, Failure> {
        let config: Config = kperf_sdk::config::parse(json)?;
        config.validate().map(|()| config)
    }

    #[test]
    fn nothing_configured_is_a_put_for_job_kperf_with_histograms() {
        let config = parsed("{}").unwrap();
        assert_eq!(
            (config.job.as_str(), config.method, config.latency),
            ("kperf", Method::Put, Shape::Histogram)
        );
        assert!(!config.per_interval);
    }

    #[test]
    fn mistakes_name_their_key() {
        for (json, key) in [
            (r#"{"job": ""}"#, "job"),
            (r#"{"grouping": {"a-b": "x"}}"#, "grouping.a-b"),
            (r#"{"grouping": {"1a": "x"}}"#, "grouping.1a"),
            (r#"{"grouping": {"": "x"}}"#, "grouping."),
            (r#"{"grouping": {"__x": "x"}}"#, "grouping.__x"),
            (r#"{"grouping": {"job": "x"}}"#, "grouping.job"),
            (r#"{"grouping": {"series": "x"}}"#, "grouping.series"),
            (r#"{"buckets": []}"#, "buckets"),
            (r#"{"buckets": [0.1, 0.1]}"#, "buckets"),
            (r#"{"buckets": [0.2, 0.1]}"#, "buckets"),
            (r#"{"buckets": [-1]}"#, "buckets"),
            (r#"{"method": "DELETE"}"#, "method"),
            (r#"{"latency": "gauge"}"#, "latency"),
        ] {
            let failure = parsed(json).unwrap_err();
            assert_eq!(failure.code, "invalid-config", "{json}");
            assert_eq!(failure.find_hint("key"), Some(key), "{json}");
        }
        assert!(
            parsed(r#"{"jobs": "x"}"#)
                .unwrap_err()
                .message
                .contains("jobs")
        );
    }

    #[test]
    fn the_schema_refuses_what_it_can() {
        let schema = kperf_sdk::config::schema::<Config>(None);
        let validator = jsonschema::validator_for(&schema).unwrap();
        for (json, valid) in [
            (r#"{}"#, true),
            (
                r#"{"grouping": {"zone": "a/b", "_": "x", "_a1": ""}, "method": "POST", "latency": "summary"}"#,
                true,
            ),
            (r#"{"grouping": {"a-b": "x"}}"#, false),
            (r#"{"grouping": {"__a": "x"}}"#, false),
            (r#"{"grouping": {"a": 1}}"#, false),
            (r#"{"job": ""}"#, false),
            (r#"{"buckets": [0]}"#, false),
            (r#"{"buckets": []}"#, false),
            (r#"{"method": "put"}"#, false),
            (r#"{"extra": 1}"#, false),
        ] {
            let value: serde_json::Value = serde_json::from_str(json).unwrap();
            assert_eq!(validator.is_valid(&value), valid, "{json}");
        }
    }
}
