//! Benchmarks: do something to a cluster, and measure it.
//!
//! A benchmark is straight-line code: create, wait, measure, delete. Enters: the run's context and the configuration.
//! Leaves: objects in the cluster for as long as the run lasts, and results in the report. The host paces, sends,
//! retries, watches and stamps; whatever was created it deletes afterwards, also when the benchmark fails or traps.
//!
//! ```
//! use kperf_sdk::benchmark::prelude::*;
//!
//! /// What to create.
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(crate = "kperf_sdk::serde", deny_unknown_fields)]
//! struct Config {
//!     /// How many pods.
//!     pods: u64,
//! }
//!
//! struct PodsPerSecond;
//!
//! impl Benchmark for PodsPerSecond {
//!     type Config = Config;
//!
//!     fn run(context: RunContext, config: Config) -> Result<Verdict, Failure> {
//!         let namespace = context.name("pods");
//!         cluster::create_namespace(&namespace, &[])?;
//!         let pods = Kind::new("v1", "Pod");
//!         let tracker = Tracker::start(
//!             &TrackerOptions::new("pods", pods, Scope::namespace(&namespace))
//!                 .milestone(Milestone::new("created").api_time("/metadata/creationTimestamp"))
//!                 .milestone(Milestone::new("running").when(Check::equals("/status/phase", "Running"))),
//!         )?;
//!         let bulk = Bulk::new(&BulkOptions::rate("create pods", 50.0));
//!         for number in 0..config.pods {
//!             bulk.push(&[Action::of(Operation::create(&json!({
//!                 "apiVersion": "v1", "kind": "Pod",
//!                 "metadata": { "namespace": namespace, "name": format!("pod-{number}") },
//!                 "spec": { "containers": [{ "name": "pause", "image": "pause" }] },
//!             })))])?;
//!         }
//!         bulk.finish()?;
//!         tracker.wait("running", config.pods, 60_000)?;
//!         let startup = tracker.report_latency("startup", &[], "sent", "running", clock::RECEIVED)?;
//!         Ok(Verdict::passed_if(startup.p99_ns < 5_000_000_000, "99 % of the pods ran within 5 s"))
//!     }
//! }
//!
//! kperf_sdk::export_benchmark!(PodsPerSecond, name = "pods_per_second", summary = "Starts pods.");
//! ```
//!
//! The calls go to the host and exist in a component only: natively they panic. Keep what can be wrong without a
//! cluster in functions of its own, and run the whole against `kperf-host run --sim`.

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::exports::kperf::benchmark::benchmark as world;
pub use crate::bindings::exports::kperf::benchmark::benchmark::{RunContext, Verdict};
use crate::bindings::kperf::core::vocabulary::PluginInfo;
use crate::failure::{Failure, find_label};
use crate::identity::{Identity, describe};

/// Calls on the cluster: see the WIT interface `kperf:benchmark/cluster` for codes and grants.
pub mod cluster {
    pub use crate::bindings::kperf::benchmark::cluster::{
        Action, Bulk, BulkOptions, BulkOutcome, Kind, Operation, Scope, apply, create,
        create_namespace, delete, delete_all, delete_namespace, get, list, patch,
        wait_namespaces_gone,
    };
}

/// Trackers: many objects, one watch, stamps by the host.
pub mod tracking {
    pub use crate::bindings::kperf::benchmark::tracking::{
        Check, Latency, Milestone, MilestoneCount, Stamp, Tracked, Tracker, TrackerCounts,
        TrackerOptions,
    };
}

/// Load phases in the foreground and in the background.
pub mod load {
    pub use crate::bindings::kperf::benchmark::load::{Outcome, Phase};
}

/// Virtual nodes, played by kwok; needs the grant `create:nodes`.
pub mod nodes {
    pub use crate::bindings::kperf::benchmark::nodes::{Pool, add_pool, delete_pool};
}

/// The run itself: files, time, progress, results.
pub mod run {
    pub use crate::bindings::kperf::benchmark::run::{
        describe, now_ns, progress, read_file, report_distribution, report_fact, report_finding,
        report_metric, sleep,
    };
}

/// The clocks that latencies can be computed by.
pub mod clock {
    /// When the host received each event. Nanoseconds; one clock for everything.
    pub const RECEIVED: &str = "received";
    /// What the objects say of themselves. Mostly whole seconds, by the clocks of the cluster.
    pub const API: &str = "api";
}

/// What a benchmark's source usually needs in scope.
pub mod prelude {
    pub use super::cluster::{
        self, Action, Bulk, BulkOptions, BulkOutcome, Kind, Operation, Scope,
    };
    pub use super::tracking::{
        Check, Latency, Milestone, Stamp, Tracked, Tracker, TrackerCounts, TrackerOptions,
    };
    pub use super::{Benchmark, RunContext, Verdict, clock, load, nodes, run};
    pub use crate::config::NoConfig;
    pub use crate::failure::{Failure, Label};
    pub use schemars::{self, JsonSchema};
    pub use serde::{self, Deserialize, Serialize};
    pub use serde_json::{self, Value, json};
}

use cluster::{Action, BulkOptions, BulkOutcome, Kind, Operation, Scope};
use tracking::{Check, Milestone, TrackerOptions};

/// A benchmark: one call is one run.
pub trait Benchmark: Sized + 'static {
    /// The configuration; [`NoConfig`](crate::NoConfig) if there is none. Its schema is derived.
    type Config: DeserializeOwned + JsonSchema;

    /// The configuration used when the user gives none; `{}` is used if there is none here either.
    fn default_config() -> Option<Value> {
        None
    }

    /// The grants that are needed beyond the run's own namespaces, for example `list,watch:nodes`.
    fn wanted_grants() -> Vec<String> {
        Vec::new()
    }

    /// The whole benchmark. An error is reported as the plugin's; results until then are kept.
    fn run(context: RunContext, config: Self::Config) -> Result<Verdict, Failure>;
}

/// Exports a type that implements [`Benchmark`](benchmark::Benchmark) as the component's plugin.
///
/// `export_benchmark!(MyType)`, or `export_benchmark!(MyType, name = "my_name", summary = "…")` where `Cargo.toml`
/// should not decide.
#[macro_export]
macro_rules! export_benchmark {
    ($plugin:ty $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::__export!(
            world: BENCHMARK, "component-type:kperf:benchmark",
            exports: [benchmark::benchmark => __export_kperf_benchmark_benchmark_0_1_0_cabi],
            plugin: $crate::benchmark::Component, $plugin $(, $key = $value)*
        );
    };
}

impl RunContext {
    /// A name for something of this run: `prefix-` and the run's id, unlike any other run's.
    pub fn name(&self, prefix: &str) -> String {
        format!("{prefix}-{}", self.run_id)
    }

    /// The first label of the run with this key.
    pub fn label(&self, key: &str) -> Option<&str> {
        find_label(&self.labels, key)
    }
}

impl Verdict {
    /// It went well.
    pub fn passed(message: impl Into<String>) -> Self {
        Self::passed_if(true, message)
    }

    /// It did not go well, which was the question; what could not be done is a [`Failure`] instead.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::passed_if(false, message)
    }

    /// One or the other.
    pub fn passed_if(passed: bool, message: impl Into<String>) -> Self {
        Self {
            passed,
            message: message.into(),
        }
    }
}

impl Kind {
    /// As manifests spell it: `Kind::new("apps/v1", "Deployment")`.
    pub fn new(api_version: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            api_version: api_version.into(),
            kind: kind.into(),
        }
    }
}

impl Scope {
    /// Everything in one namespace.
    pub fn namespace(name: impl Into<String>) -> Self {
        Self {
            namespace: name.into(),
            ..Self::everywhere()
        }
    }

    /// Every namespace, and what has none.
    pub fn everywhere() -> Self {
        Self {
            namespace: String::new(),
            label_selector: String::new(),
            field_selector: String::new(),
        }
    }

    /// Only what this label selector chooses.
    #[must_use]
    pub fn labels(mut self, selector: impl Into<String>) -> Self {
        self.label_selector = selector.into();
        self
    }

    /// Only what this field selector chooses.
    #[must_use]
    pub fn fields(mut self, selector: impl Into<String>) -> Self {
        self.field_selector = selector.into();
        self
    }
}

impl Operation {
    /// Creates what the manifest describes.
    pub fn create(manifest: &Value) -> Self {
        Self::manifest("create", manifest)
    }

    /// Applies what the manifest describes, server-side.
    pub fn apply(manifest: &Value) -> Self {
        Self::manifest("apply", manifest)
    }

    /// Deletes an object; that it is gone already is a success.
    pub fn delete(of: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            verb: "delete".to_owned(),
            of,
            namespace: namespace.into(),
            name: name.into(),
            patch_type: String::new(),
            body: String::new(),
        }
    }

    /// Merges a patch into an object (RFC 7386).
    pub fn merge_patch(
        of: Kind,
        namespace: impl Into<String>,
        name: impl Into<String>,
        patch: &Value,
    ) -> Self {
        Self {
            verb: "patch".to_owned(),
            patch_type: "merge".to_owned(),
            body: patch.to_string(),
            ..Self::delete(of, namespace, name)
        }
    }

    fn manifest(verb: &str, manifest: &Value) -> Self {
        Self {
            verb: verb.to_owned(),
            of: Kind::new("", ""),
            namespace: String::new(),
            name: String::new(),
            patch_type: String::new(),
            body: manifest.to_string(),
        }
    }
}

impl Action {
    /// One operation, when the bulk's pace says.
    pub fn of(operation: Operation) -> Self {
        Self::all(vec![operation])
    }

    /// Several operations one after the other, as one unit of the pace.
    pub fn all(operations: Vec<Operation>) -> Self {
        Self {
            at_ns: 0,
            operations,
        }
    }

    /// At this time from the start of a bulk that is [scheduled](BulkOptions::scheduled).
    #[must_use]
    pub fn at_ns(mut self, at_ns: u64) -> Self {
        self.at_ns = at_ns;
        self
    }
}

impl BulkOptions {
    /// As fast as `in_flight` actions at once can go.
    pub fn unpaced(name: impl Into<String>, in_flight: u32) -> Self {
        Self {
            name: name.into(),
            rate_per_second: 0.0,
            burst: 1,
            scheduled: false,
            in_flight,
            stop_on_failure: false,
        }
    }

    /// Open loop: each action at a time computed from its number.
    pub fn rate(name: impl Into<String>, rate_per_second: f64) -> Self {
        Self {
            rate_per_second,
            ..Self::unpaced(name, 0)
        }
    }

    /// Each action at the time it brings.
    pub fn scheduled(name: impl Into<String>) -> Self {
        Self {
            scheduled: true,
            ..Self::unpaced(name, 0)
        }
    }

    /// Actions that may be due at once at the start.
    #[must_use]
    pub fn burst(mut self, burst: u32) -> Self {
        self.burst = burst;
        self
    }

    /// Most actions at once.
    #[must_use]
    pub fn in_flight(mut self, in_flight: u32) -> Self {
        self.in_flight = in_flight;
        self
    }

    /// The first operation that fails for good ends the bulk.
    #[must_use]
    pub fn stop_on_failure(mut self) -> Self {
        self.stop_on_failure = true;
        self
    }
}

impl BulkOutcome {
    /// Operations that were done per second; unlike `achieved_rate` it leaves out those that failed. 0 when the bulk
    /// took no time.
    pub fn succeeded_per_sec(&self) -> f64 {
        if self.length_ns == 0 {
            return 0.0;
        }
        self.succeeded as f64 * 1e9 / self.length_ns as f64
    }
}

impl Check {
    /// `op` with a value; see the WIT record `check` for both.
    pub fn new(path: impl Into<String>, op: impl Into<String>, value: &Value) -> Self {
        Self {
            path: path.into(),
            op: op.into(),
            value: value.to_string(),
        }
    }

    /// The field is there and not null.
    pub fn exists(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            op: "exists".to_owned(),
            value: String::new(),
        }
    }

    /// The field has this value.
    pub fn equals(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(path, "equals", &value.into())
    }

    /// The field has one of these values.
    pub fn one_of<V: Into<Value>>(
        path: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        Self::new(
            path,
            "one-of",
            &values.into_iter().map(Into::into).collect(),
        )
    }

    /// The number is at least this.
    pub fn at_least(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(path, "at-least", &value.into())
    }

    /// The number is at least that of another field; absent, it is 0.
    pub fn at_least_field(path: impl Into<String>, other: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            op: "at-least-field".to_owned(),
            value: Value::from(other.into()).to_string(),
        }
    }

    /// The condition of this type has the status `True`.
    pub fn condition(kind: &str) -> Self {
        Self::equals(format!("/status/conditions/[type={kind}]/status"), "True")
    }
}

impl Milestone {
    /// Reached as soon as an object is seen, unless more is asked for.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            checks: Vec::new(),
            on_deletion: false,
            api_time: String::new(),
        }
    }

    /// Asks for one more condition.
    #[must_use]
    pub fn when(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Reached by the deletion of the object.
    #[must_use]
    pub fn on_deletion(mut self) -> Self {
        self.on_deletion = true;
        self
    }

    /// Where the object itself says when.
    #[must_use]
    pub fn api_time(mut self, path: impl Into<String>) -> Self {
        self.api_time = path.into();
        self
    }
}

impl TrackerOptions {
    /// No milestones yet.
    pub fn new(name: impl Into<String>, of: Kind, within: Scope) -> Self {
        Self {
            name: name.into(),
            of,
            within,
            milestones: Vec::new(),
            capture: Vec::new(),
        }
    }

    /// Adds a milestone.
    #[must_use]
    pub fn milestone(mut self, milestone: Milestone) -> Self {
        self.milestones.push(milestone);
        self
    }

    /// Keeps the latest value at this path for each object.
    #[must_use]
    pub fn capture(mut self, path: impl Into<String>) -> Self {
        self.capture.push(path.into());
        self
    }
}

/// The component around a benchmark; named by [`export_benchmark!`].
pub struct Component<B, I>(PhantomData<(B, I)>);

impl<B: Benchmark, I: Identity> crate::bindings::exports::kperf::core::identity::Guest
    for Component<B, I>
{
    fn describe() -> PluginInfo {
        describe::<I>(crate::config::schema::<B::Config>(B::default_config()))
    }
}

impl<B: Benchmark, I: Identity> world::Guest for Component<B, I> {
    fn wanted_grants() -> Vec<String> {
        B::wanted_grants()
    }

    fn run(context: RunContext, config: String) -> Result<Verdict, Failure> {
        B::run(context, crate::config::parse(&config)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_no_rate() {
        let outcome = |succeeded, failed, length_ns| BulkOutcome {
            actions: succeeded + failed,
            succeeded,
            failed,
            errors: Vec::new(),
            messages: Vec::new(),
            length_ns,
            achieved_rate: 0.0,
            late: 0,
        };
        assert_eq!(outcome(30, 70, 2_000_000_000).succeeded_per_sec(), 15.0);
        assert_eq!(outcome(0, 5, 1_000).succeeded_per_sec(), 0.0);
        assert_eq!(outcome(0, 0, 0).succeeded_per_sec(), 0.0);
    }
}
