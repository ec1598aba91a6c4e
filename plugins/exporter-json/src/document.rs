//! The report document, version 1: the shapes that are written, and nothing else.
//!
//! Enters: nothing. Leaves: types whose serialised form *is* `report-v1.schema.json`; a test derives the schema from
//! them and compares. Names are snake_case, the words of the WIT; a unit is the last part of a name (`_ns`, `_bytes`,
//! `_unix_us`). A field is added in place, a field that changes or goes makes `report/v2`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

/// Identifies the format and its version in every document.
pub(crate) const SCHEMA_NAME: &str = "kperf-host/report/v1";

/// Everything one run measured. Field names are snake_case and end in their unit: `_ns` is nanoseconds, `_bytes` is
/// bytes, `_unix_us` is microseconds since 1970-01-01T00:00:00Z. Objects with free keys (`labels`, `settings`,
/// `environment`, `counters`, `errors`) come from open sets: a later host may add keys.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Report {
    /// Format and version of this document: always `kperf-host/report/v1`.
    #[schemars(extend("const" = SCHEMA_NAME))]
    pub(crate) schema: &'static str,
    /// Unique name of the run.
    pub(crate) run_id: String,
    /// Version of the host that measured.
    pub(crate) host_version: String,
    /// What the user called the run; may be empty.
    pub(crate) description: String,
    /// The user's own labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// When the run began, RFC 3339 in UTC with up to microseconds.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) start: String,
    /// When the run began, microseconds since the Unix epoch.
    pub(crate) start_unix_us: u64,
    /// How long the run took, nanoseconds.
    pub(crate) length_ns: u64,
    /// How the run ended: `completed`, `interrupted` or `failed`.
    pub(crate) ended: String,
    /// The load generator's judgement of itself: `certified`, `suspect` or `invalid`. Reasons are in `findings`.
    pub(crate) verdict: String,
    /// What the run wants to say: reasons of the verdict, errors of plugins, warnings.
    pub(crate) findings: Vec<Finding>,
    /// The target: scheme, host and port, and the path prefix if it has one.
    pub(crate) server: String,
    /// Facts about machine and target.
    pub(crate) environment: BTreeMap<String, String>,
    /// Every plugin that took part.
    pub(crate) plugins: Vec<Plugin>,
    /// Numbers about the whole run that are neither latencies nor counts.
    pub(crate) metrics: Vec<Metric>,
    /// How long things took that are no requests, for example the start of pods.
    pub(crate) distributions: Vec<Distribution>,
    /// Objects that were followed, one table for each tracker.
    pub(crate) objects: Vec<ObjectTable>,
    /// Limits that were set, and what became of them.
    pub(crate) thresholds: Vec<Threshold>,
    /// All requests of all phases together.
    pub(crate) overall: Series,
    /// All phases together, by kind of request.
    pub(crate) series: Vec<Series>,
    /// The stages of the run in order, each with its own settings.
    pub(crate) phases: Vec<Phase>,
    /// What each interval measured, in order; only with the option `intervals`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Interval>")]
    pub(crate) intervals: Option<Vec<Box<RawValue>>>,
    /// How many intervals at the end of the run were left out because `maxIntervalBytes` was reached;
    /// only with the option `intervals`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub(crate) intervals_dropped: Option<u64>,
}

/// One stage of the run.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Phase {
    /// Name of the phase.
    pub(crate) name: String,
    /// When it began, RFC 3339 in UTC with up to microseconds.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) start: String,
    /// When it began, microseconds since the Unix epoch.
    pub(crate) start_unix_us: u64,
    /// First intended send to last answer, nanoseconds.
    pub(crate) length_ns: u64,
    /// How it ended: `completed`, `interrupted` or `failed`.
    pub(crate) ended: String,
    /// What was asked for, by name: `rate`, `total`, `duration_ns`, `conns`, `clients`, `shards`, `content_type`, …
    /// Every value is text, as it was given.
    pub(crate) settings: BTreeMap<String, String>,
    /// Counts around the requests: `intended`, `sent`, `late`, `dropped`, `redials`, `goaways`, …
    pub(crate) counters: BTreeMap<String, u64>,
    /// Numbers that are neither latencies nor counts: `achieved_rate`, `cpu_per_request`, `send_lag_p99`, …
    pub(crate) metrics: Vec<Metric>,
    /// All series of the phase together.
    pub(crate) overall: Series,
    /// By kind of request, in the order of the templates.
    pub(crate) series: Vec<Series>,
    /// Every exchange; only when raw data was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Raw")]
    pub(crate) raw: Option<Raw>,
}

/// One kind of request.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Series {
    /// As the generator's template named it, for example `LIST /api/v1/pods?limit=500&timeout=1m0s`.
    pub(crate) name: String,
    /// Labels of the series; left out when there are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    /// Requests sent; a retry is not another one.
    pub(crate) sent: u64,
    /// Requests answered well: 2xx, body read to its end.
    pub(crate) succeeded: u64,
    /// Requests that failed; by class in `errors`.
    pub(crate) failed: u64,
    /// Bytes of response bodies received.
    pub(crate) received_bytes: u64,
    /// Failures by class, for example `http/429` or `connection/connection refused`.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Other counts: `late`, `retries`, `watch_events`, …
    pub(crate) counters: BTreeMap<String, u64>,
    /// Successes, from the *intended* send to the last byte. The number to report.
    pub(crate) response_time: Histogram,
    /// Successes, from the *actual* send to the last byte: what the server alone took.
    pub(crate) service_time: Histogram,
}

/// A distribution of durations. With a count of 0 every other field is left out.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend(
    "if" = { "properties": { "count": { "minimum": 1 } } },
    "then" = { "required": ["min_ns", "max_ns", "mean_ns", "stddev_ns", "percentiles_ns"] }
))]
pub(crate) struct Histogram {
    /// How many values were recorded.
    pub(crate) count: u64,
    /// Smallest value, nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub(crate) min_ns: Option<u64>,
    /// Largest value, nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub(crate) max_ns: Option<u64>,
    /// Arithmetic mean, nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64")]
    pub(crate) mean_ns: Option<f64>,
    /// Standard deviation, nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64")]
    pub(crate) stddev_ns: Option<f64>,
    /// Percentiles by name, `p0` to `p100` with `p99.9` and `p99.99` between: the smallest recorded value with at
    /// least that share of all values at or below it, nanoseconds, within the histogram's precision.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "BTreeMap<String, u64>")]
    #[schemars(extend("propertyNames" = { "pattern": "^p[0-9]+([.][0-9]+)?$" }))]
    pub(crate) percentiles_ns: Option<Percentiles>,
    /// The whole histogram in HdrHistogram's V2 encoding, deflated, base64: files merge from this without loss.
    /// Left out of intervals unless `intervalHistograms` is set, and of sums if `derivedHistograms` is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    #[schemars(extend("contentEncoding" = "base64"))]
    pub(crate) hdr_v2_deflate_base64: Option<String>,
}

/// Percentiles in ascending order, written as an object.
pub(crate) struct Percentiles(pub(crate) Vec<(String, u64)>);

impl Serialize for Percentiles {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value_ns)| (name, value_ns)))
    }
}

/// A number that is neither a latency nor a count.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Metric {
    /// Its name; not unique where `labels` tell several apart.
    pub(crate) name: String,
    /// The number, in `unit`; null when it is not finite.
    pub(crate) value: Option<f64>,
    /// Base unit: `seconds`, `bytes`, `ratio`, `requests-per-second`, …
    pub(crate) unit: String,
    /// Labels of the metric; left out when there are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
}

/// How long something took, over many objects.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Distribution {
    /// What took so long, for example `pod_startup`; not unique where `labels` tell several apart.
    pub(crate) name: String,
    /// Labels of the distribution; left out when there are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    /// The times. Their percentiles are exact: nearest rank over all values.
    pub(crate) times: Histogram,
    /// Objects that have no value because they never came that far.
    pub(crate) missing: u64,
}

/// Objects that were followed. Columns hold a row for each object, in the order the objects were first seen.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct ObjectTable {
    /// Name of the tracker.
    pub(crate) name: String,
    /// For example `v1`.
    pub(crate) api_version: String,
    /// For example `Pod`.
    pub(crate) kind: String,
    /// Namespaces of the objects; empty text for objects without one.
    #[schemars(with = "Vec<String>")]
    pub(crate) namespaces: Box<RawValue>,
    /// Names of the objects.
    #[schemars(with = "Vec<String>")]
    pub(crate) names: Box<RawValue>,
    /// When the objects reached each milestone.
    pub(crate) milestones: Vec<Milestone>,
}

/// When every object of a table reached one milestone.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Milestone {
    /// Name of the milestone.
    pub(crate) name: String,
    /// When the host received it, nanoseconds from the start of the run; 0 = never.
    #[schemars(with = "Vec<u64>")]
    pub(crate) received_ns: Box<RawValue>,
    /// The objects' own times, microseconds since the Unix epoch; 0 = none.
    #[schemars(with = "Vec<u64>")]
    pub(crate) api_unix_us: Box<RawValue>,
}

/// A limit that was set, and what became of it.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Threshold {
    /// As it was written: `pod_startup p99 <= 5s`.
    pub(crate) expression: String,
    /// What was measured, in `unit`; null when nothing was.
    pub(crate) measured: Option<f64>,
    /// The limit, in `unit`; null when it is not finite.
    pub(crate) limit: Option<f64>,
    /// Base unit: `seconds`, `ratio`, …
    pub(crate) unit: String,
    /// Whether the limit was kept.
    pub(crate) passed: bool,
}

/// Something the run wants to say.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Finding {
    /// `info`, `warning` or `error`.
    pub(crate) severity: String,
    /// Slug, for example `self-check/shard-cpu`.
    pub(crate) code: String,
    /// One sentence.
    pub(crate) message: String,
}

/// A plugin that took part.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Plugin {
    /// Its name.
    pub(crate) name: String,
    /// Its semantic version.
    pub(crate) version: String,
    /// Lower-case hexadecimal SHA-256 of the component.
    pub(crate) sha256: String,
    /// The world it was used as, for example `generator`.
    pub(crate) world: String,
}

/// Every exchange of a phase as columns of equal length, in the order they ended.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Raw {
    /// Index into the phase's `series`.
    #[schemars(with = "Vec<u32>")]
    pub(crate) series: Box<RawValue>,
    /// Intended send time, microseconds since the Unix epoch.
    #[schemars(with = "Vec<u64>")]
    pub(crate) intended_unix_us: Box<RawValue>,
    /// From the intended send to the end, nanoseconds.
    #[schemars(with = "Vec<u64>")]
    pub(crate) response_ns: Box<RawValue>,
    /// From the actual send to the end, nanoseconds.
    #[schemars(with = "Vec<u64>")]
    pub(crate) service_ns: Box<RawValue>,
    /// 0 for a success, else 1 + index into `failures`.
    #[schemars(with = "Vec<u32>")]
    pub(crate) failure: Box<RawValue>,
    /// The distinct failures that `failure` refers to.
    pub(crate) failures: Vec<FailedExchange>,
}

/// What one kind of failure said.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct FailedExchange {
    /// `http`, `http2-protocol`, `connection` or `unknown`.
    pub(crate) class: String,
    /// HTTP status, 0 without one.
    pub(crate) status: u32,
    /// What was said; empty for `http`.
    pub(crate) message: String,
}

/// What one interval of a phase measured. Series without a request are left out.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Interval {
    /// Name of the phase.
    pub(crate) phase: String,
    /// Number of the interval, from 0.
    pub(crate) index: u32,
    /// When it began, RFC 3339 in UTC with up to microseconds.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) start: String,
    /// When it began, microseconds since the Unix epoch.
    pub(crate) start_unix_us: u64,
    /// Its length as measured, nanoseconds.
    pub(crate) length_ns: u64,
    /// Counts of the phase within the interval.
    pub(crate) counters: BTreeMap<String, u64>,
    /// By kind of request.
    pub(crate) series: Vec<Series>,
}
