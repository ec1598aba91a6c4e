//! A run's dealings with the cluster: every call checked against its grants, everything it creates
//! labelled, recorded and stamped. The host's own upkeep goes the same way without grants and label.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use kperf_load::Stop;
use parking_lot::{Mutex, MutexGuard, RwLock};
use serde_json::{Value, json};

use crate::{
    api::{
        ApiFailure, Cluster, Code, DeleteOptions, ListBounds, PatchType, Resource, RetryLimits,
        Scope,
        retry::{Repeatable, with_retries},
    },
    cleanup::RunObjects,
    grant::{Grant, Policy, Request, Verb, decide},
    operation::{Change, Operation},
    run::RunId,
    stamps::Stamps,
};

/// Between two looks at namespaces that are to vanish.
const POLL: Duration = Duration::from_millis(500);

/// One run and its cluster.
#[derive(Debug)]
pub struct Session {
    cluster: Cluster,
    run: RunId,
    policy: RwLock<Policy>,
    /// Namespaces that the run owned until they went.
    gone: Mutex<BTreeSet<String>>,
    objects: Mutex<RunObjects>,
    stamps: Stamps,
    epoch: Instant,
    stop: Stop,
    limits: RetryLimits,
    /// Whose calls these are: a run's, or the host's own.
    is_upkeep: bool,
}

impl Session {
    /// A session that has created nothing yet. `epoch` is the start of the run, from which stamps count;
    /// `stop` ends it: what is not sent fails with `interrupted`, an abort gives up what is in flight.
    #[must_use]
    pub fn new(
        cluster: Cluster,
        run: RunId,
        grants: Vec<Grant>,
        epoch: Instant,
        stop: Stop,
    ) -> Self {
        Self {
            cluster,
            run,
            policy: RwLock::new(Policy {
                grants,
                ..Policy::default()
            }),
            gone: Mutex::default(),
            objects: Mutex::default(),
            stamps: Stamps::default(),
            epoch,
            stop,
            limits: RetryLimits::default(),
            is_upkeep: false,
        }
    }

    /// A session for what the host itself sets up and what outlives a run, such as node pools: nothing asks
    /// for grants, nothing gets a run's label, nothing is recorded or stamped.
    #[must_use]
    pub fn upkeep(cluster: Cluster, stop: Stop) -> Self {
        Self {
            is_upkeep: true,
            ..Self::new(cluster, RunId::none(), Vec::new(), Instant::now(), stop)
        }
    }

    /// Whether it is the host's own and no run's.
    pub(crate) fn is_upkeep(&self) -> bool {
        self.is_upkeep
    }

    /// The same with other bounds of retries.
    #[must_use]
    pub fn with_limits(mut self, limits: RetryLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The API without grants; for the host's own work.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Whose session it is.
    #[must_use]
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// What ends it.
    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// When each object was asked for.
    #[must_use]
    pub fn stamps(&self) -> &Stamps {
        &self.stamps
    }

    /// What the run created so far, for [`crate::cleanup::clean`].
    #[must_use]
    pub fn objects(&self) -> RunObjects {
        self.objects.lock().clone()
    }

    pub(crate) fn objects_mut(&self) -> MutexGuard<'_, RunObjects> {
        self.objects.lock()
    }

    pub(crate) fn limits(&self) -> &RetryLimits {
        &self.limits
    }

    /// Nanoseconds from the start of the run.
    pub(crate) fn ns_at(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether the run may do it; for calls that are not made through the session, such as watches.
    ///
    /// # Errors
    /// `denied`, with the missing grant.
    pub fn decide(&self, request: &Request<'_>) -> Result<(), ApiFailure> {
        if self.is_upkeep {
            return Ok(());
        }
        Ok(decide(&self.policy.read(), request)?)
    }

    /// Whether the run may do everything that a grant allows, and so may hand it on.
    ///
    /// # Errors
    /// `denied`, with the first grant that is missing.
    pub fn covers(&self, grant: &Grant) -> Result<(), ApiFailure> {
        grant
            .requests()
            .try_for_each(|request| self.decide(&request))
    }

    pub(crate) fn owns_namespace(&self, namespace: &str) -> bool {
        self.policy.read().namespaces.contains(namespace)
    }

    pub(crate) fn own_namespace(&self, namespace: &str) {
        if !namespace.is_empty() {
            self.policy.write().namespaces.insert(namespace.to_owned());
            self.objects.lock().add_namespace(namespace, true);
        }
    }

    /// It went; whoever creates it next, it is not the run's by what was known.
    fn disown_namespace(&self, namespace: &str) {
        if self.policy.write().namespaces.remove(namespace) {
            self.gone.lock().insert(namespace.to_owned());
        }
    }

    pub(crate) fn record(&self, resource: &Arc<Resource>, namespace: &str, name: &str) {
        let mut objects = self.objects.lock();
        objects.add(resource, namespace);
        if resource.is("", "namespaces") {
            objects.add_namespace(name, false);
        }
    }

    /// A read, tried again where that helps.
    pub(crate) async fn read<T, F>(&self, call: impl FnMut() -> F) -> Result<T, ApiFailure>
    where
        F: Future<Output = Result<T, ApiFailure>>,
    {
        if self.stop.is_stopped() {
            return Err(ApiFailure::interrupted());
        }
        tokio::select! {
            biased;
            () = self.stop.stopped() => Err(ApiFailure::interrupted()),
            tried = with_retries(&self.limits, Repeatable::Yes, &self.stop, call) => tried.result,
        }
    }

    /// Where objects of a kind live.
    pub(crate) async fn resource(
        &self,
        api_version: &str,
        kind: &str,
    ) -> Result<Arc<Resource>, ApiFailure> {
        self.read(|| self.cluster.kind(api_version, kind)).await
    }

    /// Does an operation; the object as stored, null for a deletion.
    async fn change(&self, operation: &Operation) -> Result<Value, ApiFailure> {
        let body = self.perform(operation).await?.result?;
        if operation.change == Change::Delete {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|error| {
            ApiFailure::own(Code::Failed, format!("the answer is not JSON: {error}"))
        })
    }

    /// Creates an object with the run's label; as stored.
    ///
    /// # Errors
    /// `denied` without a grant, and all that a request can meet; as for all of these.
    pub async fn create(&self, manifest: &str) -> Result<Value, ApiFailure> {
        self.change(&Operation::of_manifest(Change::Create, manifest))
            .await
    }

    /// Server-side apply, by force; as stored. What it creates has the run's label; what is somebody
    /// else's does not get it.
    ///
    /// # Errors
    /// See [`Session::create`].
    pub async fn apply(&self, manifest: &str) -> Result<Value, ApiFailure> {
        self.change(&Operation::of_manifest(Change::Apply, manifest))
            .await
    }

    /// Replaces an object, or its subresource; as stored.
    ///
    /// # Errors
    /// See [`Session::create`].
    pub async fn update(&self, manifest: &str, subresource: &str) -> Result<Value, ApiFailure> {
        self.change(&Operation {
            subresource: subresource.to_owned(),
            ..Operation::of_manifest(Change::Update, manifest)
        })
        .await
    }

    /// Changes an object, or its subresource; as stored.
    ///
    /// # Errors
    /// See [`Session::create`].
    #[allow(clippy::too_many_arguments, reason = "each is a part of the request")]
    pub async fn patch(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
        subresource: &str,
        patch_type: PatchType,
        patch: &str,
    ) -> Result<Value, ApiFailure> {
        self.change(&Operation {
            change: Change::Patch(patch_type),
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
            body: patch.to_owned(),
        })
        .await
    }

    /// Deletes an object in the background; not to be there is a success.
    ///
    /// # Errors
    /// See [`Session::create`].
    pub async fn delete(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<(), ApiFailure> {
        self.change(&Operation {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Operation::of_manifest(Change::Delete, "")
        })
        .await
        .map(drop)
    }

    /// An object as stored. `namespace` is empty for kinds without one.
    ///
    /// # Errors
    /// See [`Session::create`].
    pub async fn get(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Value, ApiFailure> {
        let resource = self.resource(api_version, kind).await?;
        self.decide(&Request {
            verb: Verb::Get,
            group: &resource.group,
            resource: &resource.plural,
            subresource: "",
            namespace: Some(namespace),
            name: Some(name),
        })?;
        self.read(|| self.cluster.get(&resource, namespace, name))
            .await
    }

    /// Objects as stored, all pages, at most as many as [`ListBounds`] says.
    ///
    /// # Errors
    /// `too-large` beyond; and see [`Session::create`].
    pub async fn list(
        &self,
        api_version: &str,
        kind: &str,
        scope: &Scope,
    ) -> Result<Vec<Value>, ApiFailure> {
        let resource = self.resource(api_version, kind).await?;
        self.decide(&Request {
            verb: Verb::List,
            group: &resource.group,
            resource: &resource.plural,
            subresource: "",
            namespace: Some(&scope.namespace),
            name: None,
        })?;
        self.read(|| self.cluster.list(&resource, scope, ListBounds::default()))
            .await
    }

    /// Looks at objects page by page, however many there are; for the host's own work. A list that is so slow that
    /// its revision is gone begins again: `look` then sees what it has seen before.
    pub(crate) async fn for_each(
        &self,
        resource: &Resource,
        scope: &Scope,
        look: impl FnMut(&Value),
    ) -> Result<(), ApiFailure> {
        self.for_each_item(resource, scope, false, look).await
    }

    /// The same with the `metadata` of each, without the rest crossing the wire.
    pub(crate) async fn for_each_metadata(
        &self,
        resource: &Resource,
        scope: &Scope,
        mut look: impl FnMut(&Value),
    ) -> Result<(), ApiFailure> {
        self.for_each_item(resource, scope, true, |item| look(&item["metadata"]))
            .await
    }

    async fn for_each_item(
        &self,
        resource: &Resource,
        scope: &Scope,
        metadata_only: bool,
        mut look: impl FnMut(&Value),
    ) -> Result<(), ApiFailure> {
        const RESTARTS: u32 = 3;
        let mut restarts = 0;
        let mut continue_token = String::new();
        loop {
            let page = self
                .read(|| {
                    self.cluster
                        .page(resource, scope, &continue_token, metadata_only)
                })
                .await;
            match page {
                Err(failure) if failure.status == 410 && restarts < RESTARTS => {
                    restarts += 1;
                    continue_token.clear();
                }
                Err(failure) => return Err(failure),
                Ok((items, next)) => {
                    items.iter().for_each(&mut look);
                    if next.is_empty() {
                        return Ok(());
                    }
                    continue_token = next;
                }
            }
        }
    }

    /// Deletes the objects of a kind that the run created, within the scope. Returns before they are gone.
    /// An empty namespace means each namespace in which the run created that kind.
    ///
    /// # Errors
    /// See [`Session::create`].
    pub async fn delete_all(
        &self,
        api_version: &str,
        kind: &str,
        scope: &Scope,
    ) -> Result<(), ApiFailure> {
        let resource = self.resource(api_version, kind).await?;
        if resource.is("", "namespaces") {
            return Err(ApiFailure::invalid(
                "the server does not delete namespaces by selector; delete them one by one",
            ));
        }
        let namespaces = if resource.namespaced && scope.namespace.is_empty() {
            self.objects.lock().namespaces_of(&resource)
        } else {
            vec![scope.namespace.clone()]
        };
        let mut label_selector = self.run.selector();
        if !scope.label_selector.trim().is_empty() {
            label_selector = format!("{label_selector},{}", scope.label_selector);
        }
        for namespace in namespaces {
            self.decide(&Request {
                verb: Verb::DeleteCollection,
                group: &resource.group,
                resource: &resource.plural,
                subresource: "",
                namespace: Some(&namespace),
                name: None,
            })?;
            let here = Scope {
                namespace,
                label_selector: label_selector.clone(),
                field_selector: scope.field_selector.clone(),
            };
            let options = DeleteOptions::default();
            self.read(|| self.cluster.delete_collection(&resource, &here, &options))
                .await?;
        }
        Ok(())
    }

    /// Creates a namespace that the run then owns. One that it owns already is fine.
    ///
    /// # Errors
    /// `already-exists` if it is not the run's, `conflict` while it is being deleted; and see [`Session::create`].
    pub async fn create_namespace(
        &self,
        name: &str,
        labels: &[(String, String)],
    ) -> Result<(), ApiFailure> {
        let labels: serde_json::Map<String, Value> = labels
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect();
        let manifest = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
        });
        match self.create(&manifest.to_string()).await {
            Err(failure) if failure.code == Code::AlreadyExists && self.owns_namespace(name) => {
                let namespace = self.get("v1", "Namespace", "", name).await?;
                let metadata = &namespace["metadata"];
                if !self.run.owns(metadata) {
                    // Ours went, and somebody else was faster.
                    self.disown_namespace(name);
                    return Err(failure);
                }
                if metadata["deletionTimestamp"].is_null() {
                    return Ok(());
                }
                Err(ApiFailure::own(
                    Code::Conflict,
                    format!(
                        "namespace {name:?} is being deleted; wait until it is gone, then create it anew"
                    ),
                ))
            }
            result => result.map(drop),
        }
    }

    /// Deletes a namespace that the run owns. Returns before it is gone.
    ///
    /// # Errors
    /// See [`Session::create`].
    pub async fn delete_namespace(&self, name: &str) -> Result<(), ApiFailure> {
        self.delete("v1", "Namespace", "", name).await
    }

    /// Waits until namespaces are gone; the run then no longer owns them. Of those it owned before, it is known.
    ///
    /// # Errors
    /// `timeout`, which says what holds on; and see [`Session::create`].
    pub async fn namespaces_gone(
        &self,
        names: &[String],
        timeout: Duration,
    ) -> Result<(), ApiFailure> {
        let deadline = tokio::time::Instant::now() + timeout;
        let mut left: Vec<String> = names.to_vec();
        loop {
            let mut holding = None;
            while let Some(name) = left.last() {
                if !self.owns_namespace(name) && self.gone.lock().contains(name) {
                    left.pop();
                    continue;
                }
                let was_ours = self.owns_namespace(name);
                match self.get("v1", "Namespace", "", name).await {
                    Err(failure) if failure.code == Code::NotFound => {
                        self.disown_namespace(name);
                        left.pop();
                    }
                    Err(failure) => return Err(failure),
                    // Ours went, and somebody else created it anew.
                    Ok(namespace) if was_ours && !self.run.owns(&namespace["metadata"]) => {
                        self.disown_namespace(name);
                        left.pop();
                    }
                    Ok(namespace) => {
                        holding = Some(crate::cleanup::what_holds(&namespace));
                        break;
                    }
                }
            }
            let (Some(holding), Some(name)) = (holding, left.last()) else {
                return Ok(());
            };
            if tokio::time::Instant::now() >= deadline {
                return Err(ApiFailure::own(
                    Code::Timeout,
                    format!(
                        "{} of {} namespaces are still there after {} s; {name}: {holding}",
                        left.len(),
                        names.len(),
                        timeout.as_secs_f64(),
                    ),
                ));
            }
            tokio::select! {
                () = self.stop.stopped() => return Err(ApiFailure::interrupted()),
                () = tokio::time::sleep(POLL.min(timeout)) => {}
            }
        }
    }
}
