//! The imports of a benchmark, as the bindings want them: handles in the instance's table, everything else handed on.

use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker, Resource};

use super::{
    Action, BulkHandle, BulkOptions, BulkOutcome, Kind, Latency, LoadHandle, LoadOutcome, NodePool,
    Scope, Tracked, TrackerCounts, TrackerHandle, TrackerOptions, host::BenchmarkHost,
};
use crate::{
    guest::Guest,
    report::Label,
    sink::{Failure, failure},
    v0_1::kperf::benchmark::{cluster, load, nodes, run, tracking},
};

/// The host's side of the resource `bulk`; `None` once finished.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct OpenBulk(Option<Box<dyn BulkHandle>>);

/// The host's side of the resource `tracker`.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct OpenTracker(Arc<dyn TrackerHandle>);

/// The host's side of the resource `phase`; `None` once waited for.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct OpenLoad(Option<Box<dyn LoadHandle>>);

/// Links everything a benchmark may import.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    cluster::add_to_linker::<Guest, HasSelf<Guest>>(linker, |g| g)?;
    tracking::add_to_linker::<Guest, HasSelf<Guest>>(linker, |g| g)?;
    load::add_to_linker::<Guest, HasSelf<Guest>>(linker, |g| g)?;
    nodes::add_to_linker::<Guest, HasSelf<Guest>>(linker, |g| g)?;
    run::add_to_linker::<Guest, HasSelf<Guest>>(linker, |g| g)
}

impl Guest {
    /// The host of this benchmark. Every call of the host comes through here: the guest has stopped computing.
    fn host(&mut self) -> wasmtime::Result<Arc<dyn BenchmarkHost>> {
        let Some(powers) = &mut self.benchmark else {
            return Err(wasmtime::Error::msg("only a benchmark has these powers"));
        };
        powers.epochs_computing = 0;
        Ok(Arc::clone(&powers.host))
    }

    fn tracker(
        &mut self,
        tracker: &Resource<OpenTracker>,
    ) -> wasmtime::Result<Arc<dyn TrackerHandle>> {
        self.host()?;
        Ok(Arc::clone(&self.table.get(tracker)?.0))
    }
}

fn finished(what: &str) -> Failure {
    failure("closed", format!("the {what} is finished"))
}

impl cluster::Host for Guest {
    async fn create_namespace(
        &mut self,
        name: String,
        labels: Vec<Label>,
    ) -> wasmtime::Result<Result<(), Failure>> {
        Ok(self.host()?.create_namespace(name, labels).await)
    }

    async fn delete_namespace(&mut self, name: String) -> wasmtime::Result<Result<(), Failure>> {
        Ok(self.host()?.delete_namespace(name).await)
    }

    async fn wait_namespaces_gone(
        &mut self,
        names: Vec<String>,
        timeout_ms: u64,
    ) -> wasmtime::Result<Result<(), Failure>> {
        Ok(self.host()?.wait_namespaces_gone(names, timeout_ms).await)
    }

    async fn create(&mut self, manifest: String) -> wasmtime::Result<Result<String, Failure>> {
        Ok(self.host()?.create(manifest).await)
    }

    async fn apply(&mut self, manifest: String) -> wasmtime::Result<Result<String, Failure>> {
        Ok(self.host()?.apply(manifest).await)
    }

    async fn get(
        &mut self,
        of: Kind,
        namespace: String,
        name: String,
    ) -> wasmtime::Result<Result<String, Failure>> {
        Ok(self.host()?.get(of, namespace, name).await)
    }

    async fn list(
        &mut self,
        of: Kind,
        within: Scope,
    ) -> wasmtime::Result<Result<Vec<String>, Failure>> {
        Ok(self.host()?.list(of, within).await)
    }

    async fn patch(
        &mut self,
        of: Kind,
        namespace: String,
        name: String,
        patch_type: String,
        subresource: String,
        body: String,
    ) -> wasmtime::Result<Result<String, Failure>> {
        let host = self.host()?;
        Ok(host
            .patch(of, namespace, name, patch_type, subresource, body)
            .await)
    }

    async fn delete(
        &mut self,
        of: Kind,
        namespace: String,
        name: String,
    ) -> wasmtime::Result<Result<(), Failure>> {
        Ok(self.host()?.delete(of, namespace, name).await)
    }

    async fn delete_all(
        &mut self,
        of: Kind,
        within: Scope,
    ) -> wasmtime::Result<Result<(), Failure>> {
        Ok(self.host()?.delete_all(of, within).await)
    }
}

impl cluster::HostBulk for Guest {
    async fn new(&mut self, options: BulkOptions) -> wasmtime::Result<Resource<OpenBulk>> {
        let bulk = self.host()?.bulk(options);
        Ok(self.table.push(OpenBulk(Some(bulk)))?)
    }

    async fn push(
        &mut self,
        bulk: Resource<OpenBulk>,
        actions: Vec<Action>,
    ) -> wasmtime::Result<Result<(), Failure>> {
        self.host()?;
        Ok(match &mut self.table.get_mut(&bulk)?.0 {
            Some(bulk) => bulk.push(actions).await,
            None => Err(finished("bulk")),
        })
    }

    async fn finish(
        &mut self,
        bulk: Resource<OpenBulk>,
    ) -> wasmtime::Result<Result<BulkOutcome, Failure>> {
        self.host()?;
        Ok(match self.table.get_mut(&bulk)?.0.take() {
            Some(bulk) => bulk.finish().await,
            None => Err(finished("bulk")),
        })
    }

    async fn drop(&mut self, bulk: Resource<OpenBulk>) -> wasmtime::Result<()> {
        self.table.delete(bulk)?;
        Ok(())
    }
}

impl tracking::Host for Guest {}

impl tracking::HostTracker for Guest {
    async fn start(
        &mut self,
        options: TrackerOptions,
    ) -> wasmtime::Result<Result<Resource<OpenTracker>, Failure>> {
        match self.host()?.track(options).await {
            Ok(tracker) => Ok(Ok(self.table.push(OpenTracker(tracker.into()))?)),
            Err(failure) => Ok(Err(failure)),
        }
    }

    async fn counts(&mut self, tracker: Resource<OpenTracker>) -> wasmtime::Result<TrackerCounts> {
        Ok(self.tracker(&tracker)?.counts())
    }

    async fn wait(
        &mut self,
        tracker: Resource<OpenTracker>,
        milestone: String,
        count: u64,
        timeout_ms: u64,
    ) -> wasmtime::Result<Result<(), Failure>> {
        let tracker = self.tracker(&tracker)?;
        Ok(tracker.wait(milestone, count, timeout_ms).await)
    }

    async fn objects(
        &mut self,
        tracker: Resource<OpenTracker>,
        offset: u64,
    ) -> wasmtime::Result<Vec<Tracked>> {
        Ok(self.tracker(&tracker)?.objects(offset))
    }

    async fn report_latency(
        &mut self,
        tracker: Resource<OpenTracker>,
        name: String,
        labels: Vec<Label>,
        from: String,
        to: String,
        clock: String,
    ) -> wasmtime::Result<Result<Latency, Failure>> {
        let tracker = self.tracker(&tracker)?;
        Ok(tracker.report_latency(name, labels, &from, &to, &clock))
    }

    async fn report_objects(&mut self, tracker: Resource<OpenTracker>) -> wasmtime::Result<()> {
        self.tracker(&tracker)?.report_objects();
        Ok(())
    }

    async fn stop(&mut self, tracker: Resource<OpenTracker>) -> wasmtime::Result<()> {
        self.tracker(&tracker)?.stop();
        Ok(())
    }

    async fn drop(&mut self, tracker: Resource<OpenTracker>) -> wasmtime::Result<()> {
        self.table.delete(tracker)?;
        Ok(())
    }
}

impl load::Host for Guest {}

impl load::HostPhase for Guest {
    async fn start(
        &mut self,
        name: String,
        profile: String,
        runners: u32,
    ) -> wasmtime::Result<Result<Resource<OpenLoad>, Failure>> {
        match self.host()?.load(name, profile, runners).await {
            Ok(load) => Ok(Ok(self.table.push(OpenLoad(Some(load)))?)),
            Err(failure) => Ok(Err(failure)),
        }
    }

    async fn ended_within(
        &mut self,
        phase: Resource<OpenLoad>,
        timeout_ms: u64,
    ) -> wasmtime::Result<Result<bool, Failure>> {
        self.host()?;
        Ok(match &mut self.table.get_mut(&phase)?.0 {
            Some(load) => load.ended_within(timeout_ms).await,
            None => Ok(true),
        })
    }

    async fn wait(
        &mut self,
        phase: Resource<OpenLoad>,
    ) -> wasmtime::Result<Result<LoadOutcome, Failure>> {
        self.host()?;
        Ok(match self.table.get_mut(&phase)?.0.take() {
            Some(load) => load.wait().await,
            None => Err(finished("load phase")),
        })
    }

    async fn stop(
        &mut self,
        phase: Resource<OpenLoad>,
    ) -> wasmtime::Result<Result<LoadOutcome, Failure>> {
        self.host()?;
        Ok(match self.table.get_mut(&phase)?.0.take() {
            Some(load) => load.stop().await,
            None => Err(finished("load phase")),
        })
    }

    async fn drop(&mut self, phase: Resource<OpenLoad>) -> wasmtime::Result<()> {
        self.table.delete(phase)?;
        Ok(())
    }
}

impl nodes::Host for Guest {
    async fn add_pool(&mut self, pool: NodePool) -> wasmtime::Result<Result<(), Failure>> {
        Ok(self.host()?.add_pool(pool).await)
    }

    async fn delete_pool(&mut self, name: String) -> wasmtime::Result<Result<(), Failure>> {
        Ok(self.host()?.delete_pool(name).await)
    }
}

impl run::Host for Guest {
    async fn read_file(&mut self, path: String) -> wasmtime::Result<Result<String, Failure>> {
        Ok(self.host()?.read_file(path))
    }

    async fn now_ns(&mut self) -> wasmtime::Result<u64> {
        // Not through `host`: a loop around the clock computes.
        Ok(self
            .benchmark
            .as_ref()
            .map_or(0, |powers| powers.host.now_ns()))
    }

    async fn sleep(&mut self, ms: u64) -> wasmtime::Result<Result<(), Failure>> {
        Ok(self.host()?.sleep(ms).await)
    }

    async fn progress(&mut self, what: String, done: u64, total: u64) -> wasmtime::Result<()> {
        self.host()?.progress(what, done, total);
        Ok(())
    }

    async fn describe(&mut self, text: String) -> wasmtime::Result<()> {
        self.host()?.describe(text);
        Ok(())
    }

    async fn report_fact(&mut self, name: String, value: String) -> wasmtime::Result<()> {
        self.host()?.report_fact(name, value);
        Ok(())
    }

    async fn report_metric(
        &mut self,
        name: String,
        value: f64,
        unit: String,
        labels: Vec<Label>,
    ) -> wasmtime::Result<()> {
        self.host()?.report_metric(name, value, unit, labels);
        Ok(())
    }

    async fn report_distribution(
        &mut self,
        name: String,
        labels: Vec<Label>,
        values_ns: Vec<u64>,
    ) -> wasmtime::Result<()> {
        self.host()?.report_distribution(name, labels, values_ns);
        Ok(())
    }

    async fn report_finding(
        &mut self,
        severity: String,
        code: String,
        message: String,
    ) -> wasmtime::Result<()> {
        self.host()?.report_finding(severity, code, message);
        Ok(())
    }
}
