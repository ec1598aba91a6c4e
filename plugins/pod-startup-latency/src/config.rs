//! What the user configures.

use std::collections::BTreeMap;

use kperf_sdk::Failure;
use kperf_sdk::schemars::{self, JsonSchema};
use kperf_sdk::serde::Deserialize;
use serde_json::{Map, Value};

use crate::cl2::calls::Thresholds;
use crate::cl2::duration::parse_go_duration;
use crate::startup::Definition;

/// Measures how long pods take to start, as ClusterLoader2's PodStartupLatency does.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(
    crate = "kperf_sdk::serde",
    rename_all = "camelCase",
    deny_unknown_fields
)]
pub struct Config {
    /// A ClusterLoader2 test config, relative to the configuration file's directory. Its templates lie beside it.
    /// Without one, `workload` says what to create.
    #[serde(default)]
    pub test_config: Option<String>,
    /// Variables of the test config's templates, as of ClusterLoader2's override files: `CL2_REPLICAS: 20`.
    #[serde(default)]
    pub overrides: Map<String, Value>,
    /// `.Nodes` of the templates. Counted if absent, which needs the grant `list:nodes`.
    #[serde(default)]
    pub nodes: Option<u32>,
    /// What create, schedule, run and watch mean; numbers by one definition say nothing about the other.
    #[serde(default)]
    pub definition: Definition,
    /// Limit of the 50th, 90th and 99th percentile of `pod_startup`, as a Go duration, for measurements that name
    /// none. ClusterLoader2's 5s if absent.
    #[serde(default)]
    pub threshold: Option<String>,
    /// Most bundles of objects that are being created, patched or deleted at once by a paced phase. More than the API
    /// server's limit of mutating requests, 200 by default, only makes it refuse some.
    #[serde(default = "default_in_flight")]
    #[schemars(range(min = 1))]
    pub in_flight: u32,
    /// Whether every pod with its stamps goes into the report.
    #[serde(default)]
    pub report_pods: bool,
    /// What to create without a test config.
    #[serde(default)]
    pub workload: Option<Workload>,
}

/// Pods, created at a rate and waited for.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(
    crate = "kperf_sdk::serde",
    rename_all = "camelCase",
    deny_unknown_fields,
    default
)]
pub struct Workload {
    /// How many pods in all.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub pods: u32,
    /// Over how many namespaces they are spread.
    #[schemars(range(min = 1, max = 10_000))]
    pub namespaces: u32,
    /// Pods created per second.
    pub rate_per_second: f64,
    /// Image of their one container.
    pub image: String,
    /// Whether they tolerate KWOK's taint and go to KWOK's nodes only.
    pub kwok: bool,
    /// More tolerations, as in a pod.
    pub tolerations: Vec<Map<String, Value>>,
    /// Labels of the nodes they may go to.
    pub node_selector: BTreeMap<String, String>,
    /// How long to wait until all of them run and are ready, as a Go duration.
    pub timeout: String,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            pods: 10,
            namespaces: 1,
            rate_per_second: 10.0,
            image: "registry.k8s.io/pause:3.10".to_owned(),
            kwok: false,
            tolerations: Vec::new(),
            node_selector: BTreeMap::new(),
            timeout: "10m".to_owned(),
        }
    }
}

fn default_in_flight() -> u32 {
    200
}

/// ClusterLoader2's.
const DEFAULT_THRESHOLD_NS: u64 = 5_000_000_000;

/// Limits of `pod_startup`, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of the 50th percentile.
    pub perc50_ns: u64,
    /// Of the 90th percentile.
    pub perc90_ns: u64,
    /// Of the 99th percentile.
    pub perc99_ns: u64,
}

impl Config {
    /// What the schema cannot say.
    ///
    /// # Errors
    /// `invalid-config`, by key.
    pub fn check(&self) -> Result<(), Failure> {
        if self.test_config.is_some() && self.workload.is_some() {
            return Err(Failure::invalid_config(
                "workload",
                "workload and testConfig exclude each other: the test config says what to create",
            ));
        }
        if self.in_flight == 0 {
            return Err(Failure::invalid_config(
                "inFlight",
                "inFlight must be above 0",
            ));
        }
        if let Some(threshold) = &self.threshold {
            duration_ns("threshold", threshold)?;
        }
        let Some(workload) = &self.workload else {
            return Ok(());
        };
        for (key, number) in [
            ("workload.pods", workload.pods),
            ("workload.namespaces", workload.namespaces),
        ] {
            if number == 0 {
                return Err(Failure::invalid_config(
                    key,
                    format!("{key} must be above 0"),
                ));
            }
        }
        if workload.namespaces > workload.pods {
            return Err(Failure::invalid_config(
                "workload.namespaces",
                format!(
                    "{} pods cannot be spread over {} namespaces",
                    workload.pods, workload.namespaces
                ),
            ));
        }
        if !workload.rate_per_second.is_finite() || workload.rate_per_second <= 0.0 {
            return Err(Failure::invalid_config(
                "workload.ratePerSecond",
                "workload.ratePerSecond must be above 0",
            ));
        }
        duration_ns("workload.timeout", &workload.timeout).map(drop)
    }

    /// The limits of a measurement: its own, else the configuration's, else ClusterLoader2's.
    ///
    /// # Errors
    /// `threshold` is not a duration.
    pub fn limits(&self, of: &Thresholds) -> Result<Limits, Failure> {
        let general = match (of.all_ns, &self.threshold) {
            (Some(ns), _) => ns,
            (None, Some(text)) => duration_ns("threshold", text)?,
            (None, None) => DEFAULT_THRESHOLD_NS,
        };
        Ok(Limits {
            perc50_ns: of.perc50_ns.unwrap_or(general),
            perc90_ns: of.perc90_ns.unwrap_or(general),
            perc99_ns: of.perc99_ns.unwrap_or(general),
        })
    }
}

fn duration_ns(key: &str, text: &str) -> Result<u64, Failure> {
    parse_go_duration(text)
        .map_err(|message| Failure::invalid_config(key, format!("{key}: {message}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Config {
        kperf_sdk::config::parse(json).unwrap()
    }

    #[test]
    fn nothing_need_be_configured() {
        let config = parse("{}");
        config.check().unwrap();
        assert_eq!(config.definition, Definition::Watch2026);
        let limits = config.limits(&Thresholds::default()).unwrap();
        assert_eq!(limits.perc99_ns, 5_000_000_000);
        assert_eq!(
            parse(r#"{"workload": {}}"#).workload,
            Some(Workload::default())
        );
    }

    #[test]
    fn mistakes_are_named_by_key() {
        for (json, key) in [
            (r#"{"testConfig": "a.yaml", "workload": {}}"#, "workload"),
            (r#"{"threshold": "5"}"#, "threshold"),
            (r#"{"inFlight": 0}"#, "inFlight"),
            (r#"{"workload": {"pods": 0}}"#, "workload.pods"),
            (
                r#"{"workload": {"pods": 2, "namespaces": 3}}"#,
                "workload.namespaces",
            ),
            (
                r#"{"workload": {"ratePerSecond": 0}}"#,
                "workload.ratePerSecond",
            ),
            (r#"{"workload": {"timeout": "x"}}"#, "workload.timeout"),
        ] {
            let failure = parse(json).check().unwrap_err();
            assert_eq!(failure.find_hint("key"), Some(key), "{json}");
        }
        assert!(kperf_sdk::config::parse::<Config>(r#"{"definition": "2025"}"#).is_err());
        assert!(kperf_sdk::config::parse::<Config>(r#"{"testconfig": "a"}"#).is_err());
    }

    #[test]
    fn a_measurements_own_threshold_goes_first() {
        let config = parse(r#"{"threshold": "7s", "definition": "api-2024"}"#);
        let of = |all_ns, perc99_ns| Thresholds {
            all_ns,
            perc99_ns,
            ..Thresholds::default()
        };
        let seconds = |of: &Thresholds| {
            let limits = config.limits(of).unwrap();
            [limits.perc50_ns, limits.perc90_ns, limits.perc99_ns].map(|ns| ns / 1_000_000_000)
        };
        assert_eq!(seconds(&of(None, None)), [7, 7, 7]);
        assert_eq!(seconds(&of(Some(20_000_000_000), None)), [20, 20, 20]);
        assert_eq!(seconds(&of(None, Some(9_000_000_000))), [7, 7, 9]);
    }
}
