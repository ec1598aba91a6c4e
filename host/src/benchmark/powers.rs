//! What a benchmark can do: the imports of its world, over the run's session with the cluster.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use kperf_cluster::{
    Session,
    api::{ApiFailure, Resource, Scope as ApiScope},
    grant::{Request, Verb},
};
use kperf_runtime::{
    BoxFuture, Failure, Label,
    benchmark::{
        BenchmarkHost, BulkHandle, BulkOptions, Kind, Latency, LoadHandle, NodePool, Scope,
        Tracked, TrackerCounts, TrackerHandle, TrackerOptions,
    },
    failure,
};
use serde_json::Value;

use super::{
    board::Board,
    bulks::{Changing, Refused},
    files, interrupted,
    loads::Loads,
    pools::Pools,
    reported::Reported,
    trackers::{self, Following},
};

/// One run's powers.
pub(crate) struct Powers {
    pub(crate) session: Arc<Session>,
    pub(crate) config: kube::Config,
    pub(crate) reported: Arc<Reported>,
    pub(crate) loads: Arc<Loads>,
    pub(crate) pools: Arc<Pools>,
    pub(crate) board: Arc<Board>,
    pub(crate) files: PathBuf,
    pub(crate) epoch: Instant,
    /// Only looks: what would change the cluster is refused.
    pub(crate) dry_run: bool,
}

/// A failure of the API as a plugin sees it.
pub(crate) fn of_api(error: &ApiFailure) -> Failure {
    failure(error.code.as_str(), error.to_string())
}

fn stored(object: Result<Value, ApiFailure>) -> Result<String, Failure> {
    object
        .map(|object| object.to_string())
        .map_err(|error| of_api(&error))
}

fn done(result: Result<(), ApiFailure>) -> Result<(), Failure> {
    result.map_err(|error| of_api(&error))
}

fn scope(within: Scope) -> ApiScope {
    ApiScope {
        namespace: within.namespace,
        label_selector: within.label_selector,
        field_selector: within.field_selector,
    }
}

impl Powers {
    /// Nothing is changed in a dry run.
    fn may_change(&self) -> Result<(), Failure> {
        if self.dry_run {
            return Err(failure(
                "denied",
                "this is a dry run, which changes nothing in the cluster",
            ));
        }
        Ok(())
    }

    /// A tracker lists and watches outside the session, so it asks here.
    async fn watchable(&self, options: &TrackerOptions) -> Result<Arc<Resource>, Failure> {
        let kind = &options.of;
        let resource = self
            .session
            .cluster()
            .kind(&kind.api_version, &kind.kind)
            .await
            .map_err(|error| of_api(&error))?;
        for verb in [Verb::List, Verb::Watch] {
            self.session
                .decide(&Request {
                    verb,
                    group: &resource.group,
                    resource: &resource.plural,
                    subresource: "",
                    namespace: Some(&options.within.namespace),
                    name: None,
                })
                .map_err(|error| of_api(&error))?;
        }
        Ok(resource)
    }
}

impl BenchmarkHost for Powers {
    fn create_namespace(
        &self,
        name: String,
        labels: Vec<Label>,
    ) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            self.may_change()?;
            let labels: Vec<(String, String)> = labels
                .into_iter()
                .map(|label| (label.key, label.value))
                .collect();
            done(self.session.create_namespace(&name, &labels).await)
        })
    }

    fn delete_namespace(&self, name: String) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            self.may_change()?;
            done(self.session.delete_namespace(&name).await)
        })
    }

    fn wait_namespaces_gone(
        &self,
        names: Vec<String>,
        timeout_ms: u64,
    ) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            let timeout = Duration::from_millis(timeout_ms);
            done(self.session.namespaces_gone(&names, timeout).await)
        })
    }

    fn create(&self, manifest: String) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(async move {
            self.may_change()?;
            stored(self.session.create(&manifest).await)
        })
    }

    fn apply(&self, manifest: String) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(async move {
            self.may_change()?;
            stored(self.session.apply(&manifest).await)
        })
    }

    fn get(
        &self,
        of: Kind,
        namespace: String,
        name: String,
    ) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(async move {
            stored(
                self.session
                    .get(&of.api_version, &of.kind, &namespace, &name)
                    .await,
            )
        })
    }

    fn list(&self, of: Kind, within: Scope) -> BoxFuture<'_, Result<Vec<String>, Failure>> {
        Box::pin(async move {
            let objects = self
                .session
                .list(&of.api_version, &of.kind, &scope(within))
                .await
                .map_err(|error| of_api(&error))?;
            Ok(objects.iter().map(Value::to_string).collect())
        })
    }

    fn patch(
        &self,
        of: Kind,
        namespace: String,
        name: String,
        patch_type: String,
        subresource: String,
        body: String,
    ) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(async move {
            self.may_change()?;
            let patch_type = super::bulks::patch_type(&patch_type)?;
            stored(
                self.session
                    .patch(
                        &of.api_version,
                        &of.kind,
                        &namespace,
                        &name,
                        &subresource,
                        patch_type,
                        &body,
                    )
                    .await,
            )
        })
    }

    fn delete(
        &self,
        of: Kind,
        namespace: String,
        name: String,
    ) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            self.may_change()?;
            done(
                self.session
                    .delete(&of.api_version, &of.kind, &namespace, &name)
                    .await,
            )
        })
    }

    fn delete_all(&self, of: Kind, within: Scope) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            self.may_change()?;
            done(
                self.session
                    .delete_all(&of.api_version, &of.kind, &scope(within))
                    .await,
            )
        })
    }

    fn bulk(&self, options: BulkOptions) -> Box<dyn BulkHandle> {
        match self
            .may_change()
            .and_then(|()| Changing::start(&self.session, &self.reported, options))
        {
            Ok(bulk) => Box::new(bulk),
            Err(failure) => Box::new(Refused(failure)),
        }
    }

    fn track(
        &self,
        options: TrackerOptions,
    ) -> BoxFuture<'_, Result<Box<dyn TrackerHandle>, Failure>> {
        Box::pin(async move {
            let resource = self.watchable(&options).await?;
            let spec = trackers::spec(&options, &resource)?;
            let start = Following::start(
                self.config.clone(),
                &spec,
                resource,
                Arc::clone(&self.session),
                Arc::clone(&self.reported),
                self.epoch,
            );
            let tracker = tokio::select! {
                biased;
                () = self.session.stop().stopped() => return Err(interrupted()),
                started = start => Arc::new(started?),
            };
            self.board.follow(&tracker);
            Ok(Box::new(Followed {
                tracker,
                board: Arc::clone(&self.board),
            }) as Box<dyn TrackerHandle>)
        })
    }

    fn load(
        &self,
        name: String,
        profile: String,
        runners: u32,
    ) -> BoxFuture<'_, Result<Box<dyn LoadHandle>, Failure>> {
        Box::pin(async move {
            self.may_change()?;
            tokio::select! {
                biased;
                () = self.session.stop().stopped() => Err(interrupted()),
                started = self.loads.start(name, &profile, runners) => started,
            }
        })
    }

    fn add_pool(&self, pool: NodePool) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            self.may_change()?;
            self.pools.add(pool).await
        })
    }

    fn delete_pool(&self, name: String) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            self.may_change()?;
            self.pools.delete(&name).await
        })
    }

    fn read_file(&self, path: String) -> Result<String, Failure> {
        files::read(&self.files, &path)
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn sleep(&self, ms: u64) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = self.session.stop().stopped() => Err(interrupted()),
                () = tokio::time::sleep(Duration::from_millis(ms)) => Ok(()),
            }
        })
    }

    fn progress(&self, what: String, done: u64, total: u64) {
        self.board.step(what, done, total);
    }

    fn describe(&self, text: String) {
        self.reported.describe(text);
    }

    fn report_fact(&self, name: String, value: String) {
        self.reported.fact(name, value);
    }

    fn report_metric(&self, name: String, value: f64, unit: String, labels: Vec<Label>) {
        self.reported.metric(name, value, unit, labels);
    }

    fn report_distribution(&self, name: String, labels: Vec<Label>, values_ns: Vec<u64>) {
        self.reported.distribution(name, labels, values_ns, 0);
    }

    fn report_finding(&self, severity: String, code: String, message: String) {
        self.reported.finding(&severity, code, message);
    }
}

/// A tracker that a plugin holds: shown as long as it does.
struct Followed {
    tracker: Arc<Following>,
    board: Arc<Board>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.board.unfollow(&self.tracker);
    }
}

impl TrackerHandle for Followed {
    fn counts(&self) -> TrackerCounts {
        self.tracker.counts()
    }

    fn wait(
        &self,
        milestone: String,
        count: u64,
        timeout_ms: u64,
    ) -> BoxFuture<'_, Result<(), Failure>> {
        self.tracker.wait(milestone, count, timeout_ms)
    }

    fn objects(&self, offset: u64) -> Vec<Tracked> {
        self.tracker.objects(offset)
    }

    fn report_latency(
        &self,
        name: String,
        labels: Vec<Label>,
        from: &str,
        to: &str,
        clock: &str,
    ) -> Result<Latency, Failure> {
        self.tracker.report_latency(name, labels, from, to, clock)
    }

    fn report_objects(&self) {
        self.tracker.report_objects();
    }

    fn stop(&self) {
        self.tracker.stop();
        self.board.unfollow(&self.tracker);
    }
}
