//! What stands behind the imports of a benchmark. The runtime only checks sizes and keeps handles; whoever implements
//! these decides what is granted, and does it.
//!
//! Every call may be cancelled by dropping its future.

use super::{
    Action, BulkOptions, BulkOutcome, Kind, Latency, LoadOutcome, NodePool, Scope, Tracked,
    TrackerCounts, TrackerOptions,
};
use crate::{
    report::Label,
    sink::{BoxFuture, Failure},
};

/// One run's cluster, load engine, files, clock and report. Failure codes are those of the WIT.
pub trait BenchmarkHost: Send + Sync {
    /// `cluster.create-namespace`.
    fn create_namespace(
        &self,
        name: String,
        labels: Vec<Label>,
    ) -> BoxFuture<'_, Result<(), Failure>>;

    /// `cluster.delete-namespace`.
    fn delete_namespace(&self, name: String) -> BoxFuture<'_, Result<(), Failure>>;

    /// `cluster.wait-namespaces-gone`.
    fn wait_namespaces_gone(
        &self,
        names: Vec<String>,
        timeout_ms: u64,
    ) -> BoxFuture<'_, Result<(), Failure>>;

    /// `cluster.create`.
    fn create(&self, manifest: String) -> BoxFuture<'_, Result<String, Failure>>;

    /// `cluster.apply`.
    fn apply(&self, manifest: String) -> BoxFuture<'_, Result<String, Failure>>;

    /// `cluster.get`.
    fn get(
        &self,
        of: Kind,
        namespace: String,
        name: String,
    ) -> BoxFuture<'_, Result<String, Failure>>;

    /// `cluster.list`.
    fn list(&self, of: Kind, within: Scope) -> BoxFuture<'_, Result<Vec<String>, Failure>>;

    /// `cluster.patch`.
    fn patch(
        &self,
        of: Kind,
        namespace: String,
        name: String,
        patch_type: String,
        subresource: String,
        body: String,
    ) -> BoxFuture<'_, Result<String, Failure>>;

    /// `cluster.delete`.
    fn delete(
        &self,
        of: Kind,
        namespace: String,
        name: String,
    ) -> BoxFuture<'_, Result<(), Failure>>;

    /// `cluster.delete-all`.
    fn delete_all(&self, of: Kind, within: Scope) -> BoxFuture<'_, Result<(), Failure>>;

    /// Begins a `cluster.bulk`; what is wrong with its options is said by its first call.
    fn bulk(&self, options: BulkOptions) -> Box<dyn BulkHandle>;

    /// `tracking.tracker.start`.
    fn track(
        &self,
        options: TrackerOptions,
    ) -> BoxFuture<'_, Result<Box<dyn TrackerHandle>, Failure>>;

    /// `load.phase.start`.
    fn load(
        &self,
        name: String,
        profile: String,
        runners: u32,
    ) -> BoxFuture<'_, Result<Box<dyn LoadHandle>, Failure>>;

    /// `nodes.add-pool`.
    fn add_pool(&self, pool: NodePool) -> BoxFuture<'_, Result<(), Failure>>;

    /// `nodes.delete-pool`.
    fn delete_pool(&self, name: String) -> BoxFuture<'_, Result<(), Failure>>;

    /// `run.read-file`.
    fn read_file(&self, path: String) -> Result<String, Failure>;

    /// `run.now-ns`.
    fn now_ns(&self) -> u64;

    /// `run.sleep`.
    fn sleep(&self, ms: u64) -> BoxFuture<'_, Result<(), Failure>>;

    /// `run.progress`.
    fn progress(&self, what: String, done: u64, total: u64);

    /// `run.describe`.
    fn describe(&self, text: String);

    /// `run.report-fact`.
    fn report_fact(&self, name: String, value: String);

    /// `run.report-metric`.
    fn report_metric(&self, name: String, value: f64, unit: String, labels: Vec<Label>);

    /// `run.report-distribution`.
    fn report_distribution(&self, name: String, labels: Vec<Label>, values_ns: Vec<u64>);

    /// `run.report-finding`.
    fn report_finding(&self, severity: String, code: String, message: String);
}

/// `cluster.bulk`. Dropped without [`BulkHandle::finish`], it must stop sending.
pub trait BulkHandle: Send {
    /// `push`: waits for room.
    fn push(&mut self, actions: Vec<Action>) -> BoxFuture<'_, Result<(), Failure>>;

    /// `finish`.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<BulkOutcome, Failure>>;
}

/// `tracking.tracker`. Dropped, it must stop watching.
pub trait TrackerHandle: Send + Sync {
    /// `counts`.
    fn counts(&self) -> TrackerCounts;

    /// `wait`.
    fn wait(
        &self,
        milestone: String,
        count: u64,
        timeout_ms: u64,
    ) -> BoxFuture<'_, Result<(), Failure>>;

    /// `objects`.
    fn objects(&self, offset: u64) -> Vec<Tracked>;

    /// `report-latency`.
    ///
    /// # Errors
    /// There is no such milestone or clock.
    fn report_latency(
        &self,
        name: String,
        labels: Vec<Label>,
        from: &str,
        to: &str,
        clock: &str,
    ) -> Result<Latency, Failure>;

    /// `report-objects`.
    fn report_objects(&self);

    /// `stop`.
    fn stop(&self);
}

/// `load.phase`. Dropped without [`LoadHandle::wait`], it must stop sending.
pub trait LoadHandle: Send {
    /// `ended-within`.
    fn ended_within(&mut self, timeout_ms: u64) -> BoxFuture<'_, Result<bool, Failure>>;

    /// `wait`.
    fn wait(self: Box<Self>) -> BoxFuture<'static, Result<LoadOutcome, Failure>>;

    /// `stop`.
    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<LoadOutcome, Failure>>;
}
