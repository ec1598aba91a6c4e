//! The work of a clean-up: ask to go, look again, until nothing is left or time is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

use super::{CleanProgress, CleanReport, Left, RunObjects, found::Found};
use crate::{
    api::{ApiFailure, Cluster, Code, DeleteOptions, Resource, Scope},
    run::RunId,
};

/// Objects in one page of a list.
pub(super) const PAGE: u32 = 500;
/// First and longest pause between two looks at the same kinds.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));
/// Requests at once.
const PARALLEL: usize = 16;
/// Names reported of each resource.
const MAX_NAMED: usize = 100;
/// Errors reported.
const ERRORS_KEPT: usize = 20;

/// A kind, and where the run says it created it; empty = anywhere.
#[derive(Clone, Debug)]
pub(super) struct Target {
    resource: Arc<Resource>,
    namespaces: BTreeSet<String>,
}

/// What is known of a target.
#[derive(Debug, Default)]
struct State {
    /// By namespace and name.
    seen: BTreeSet<(String, String)>,
    left: Vec<Found>,
    error: Option<String>,
}

pub(super) struct Sweep<'a> {
    cluster: &'a Cluster,
    run: &'a RunId,
    deadline: Instant,
    states: BTreeMap<String, State>,
}

/// Definitions go after the objects they define, namespaces after everything.
fn stage(resource: &Resource) -> usize {
    if resource.is("", "namespaces") {
        2
    } else if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
        1
    } else {
        0
    }
}

impl<'a> Sweep<'a> {
    pub(super) fn new(cluster: &'a Cluster, run: &'a RunId, deadline: Instant) -> Self {
        Self {
            cluster,
            run,
            deadline,
            states: BTreeMap::new(),
        }
    }

    /// The kinds to look at. Waits for a server that is away.
    pub(super) async fn targets(
        &self,
        recorded: Option<&RunObjects>,
    ) -> Result<Vec<Target>, ApiFailure> {
        if let Some(recorded) = recorded {
            return Ok(recorded
                .kinds()
                .map(|(resource, namespaces)| Target {
                    resource: Arc::clone(resource),
                    namespaces: namespaces.clone(),
                })
                .collect());
        }
        let mut pause = PAUSES.0;
        let resources = loop {
            match timely(self.deadline, self.cluster.resources()).await {
                Ok(resources) => break resources,
                Err(failure) if !is_passing(&failure) => return Err(failure),
                Err(failure) => {
                    if Instant::now() + pause >= self.deadline {
                        return Err(failure);
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        };
        Ok(resources
            .into_iter()
            // Events are the server's, and expire by themselves.
            .filter(|resource| {
                resource.can("list") && resource.can("delete") && resource.plural != "events"
            })
            .map(|resource| Target {
                resource: Arc::new(resource),
                namespaces: BTreeSet::new(),
            })
            .collect())
    }

    pub(super) async fn run(
        &mut self,
        targets: Vec<Target>,
        progress: &mut impl FnMut(&CleanProgress),
    ) {
        let mut stages: [Vec<Target>; 3] = Default::default();
        for target in targets {
            stages[stage(&target.resource)].push(target);
        }
        let mut unfinished = Vec::new();
        for (number, mut targets) in stages.into_iter().enumerate() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let until = if number == 2 {
                // With its namespace goes what would not go before it.
                targets.append(&mut unfinished);
                self.deadline
            } else {
                // What hangs must not keep the next stage from its time.
                Instant::now() + left / 2
            };
            unfinished.append(&mut self.stage(targets, until, progress).await);
        }
    }

    /// Returns the targets that are not done.
    async fn stage(
        &mut self,
        mut targets: Vec<Target>,
        until: Instant,
        progress: &mut impl FnMut(&CleanProgress),
    ) -> Vec<Target> {
        let mut pause = PAUSES.0;
        loop {
            let mut looked: JoinSet<(Target, Look)> = JoinSet::new();
            let mut next = targets.into_iter();
            let mut unfinished = Vec::new();
            loop {
                while looked.len() < PARALLEL
                    && let Some(target) = next.next()
                {
                    let (cluster, run) = (self.cluster.clone(), self.run.clone());
                    looked.spawn(async move {
                        let look = Look::at(&cluster, &run, &target, until).await;
                        (target, look)
                    });
                }
                match looked.join_next().await {
                    None => break,
                    Some(Ok((target, look))) => {
                        if self.note(&target, look) {
                            unfinished.push(target);
                        }
                    }
                    // Only a panic of ours ends here; the others go on.
                    Some(Err(error)) => tracing::error!(%error, "a look at a kind was lost"),
                }
            }
            progress(&self.progress());
            if unfinished.is_empty() || Instant::now() + pause >= until {
                return unfinished;
            }
            targets = unfinished;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Whether the target wants another look.
    fn note(&mut self, target: &Target, look: Look) -> bool {
        let state = self.states.entry(target.resource.to_string()).or_default();
        state.error = look.error.map(|failure| failure.to_string());
        if let Some(found) = look.found {
            for object in &found {
                let key = (object.namespace.clone(), object.name.clone());
                state.seen.insert(key);
            }
            state.left = found;
        }
        let passing = state.error.is_some() && !look.hopeless;
        !state.left.is_empty() && !look.hopeless || passing
    }

    fn progress(&self) -> CleanProgress {
        let seen: usize = self.states.values().map(|state| state.seen.len()).sum();
        let left: usize = self.states.values().map(|state| state.left.len()).sum();
        CleanProgress {
            deleted: seen.saturating_sub(left) as u64,
            left: left as u64,
        }
    }

    pub(super) fn into_report(self) -> CleanReport {
        let mut report = CleanReport::default();
        for (resource, state) in self.states {
            let gone = state.seen.len().saturating_sub(state.left.len()) as u64;
            if gone > 0 {
                report.deleted.insert(resource.clone(), gone);
            }
            report.left_count += state.left.len() as u64;
            for found in state.left.into_iter().take(MAX_NAMED) {
                report.left.push(Left {
                    resource: resource.clone(),
                    namespace: found.namespace,
                    name: found.name,
                    holding: found.holding,
                });
            }
            if let Some(error) = state.error {
                let error = format!("{resource}: {error}");
                if report.errors.len() < ERRORS_KEPT && !report.errors.contains(&error) {
                    report.errors.push(error);
                }
            }
        }
        report
    }
}

/// One look at one kind: what there is, after it was asked to go.
#[derive(Debug, Default)]
struct Look {
    /// `None` when it could not be listed.
    found: Option<Vec<Found>>,
    error: Option<ApiFailure>,
    /// Another look would meet the same.
    hopeless: bool,
}

impl Look {
    async fn at(cluster: &Cluster, run: &RunId, target: &Target, until: Instant) -> Self {
        let found = match list(cluster, run, target, until).await {
            Ok(found) => found,
            // The kind itself is gone, and its objects with it.
            Err(failure) if failure.code == Code::NotFound => Vec::new(),
            Err(failure) => {
                return Self {
                    hopeless: !is_passing(&failure),
                    error: Some(failure),
                    found: None,
                };
            }
        };
        let mut look = Self::default();
        if let Err(failure) = ask_to_go(cluster, run, &target.resource, &found, until).await {
            look.hopeless = !is_passing(&failure);
            look.error = Some(failure);
        }
        look.found = Some(found);
        look
    }
}

/// Whether a failure may be gone the next time.
fn is_passing(failure: &ApiFailure) -> bool {
    matches!(
        failure.code,
        Code::Throttled | Code::Timeout | Code::Unreachable | Code::Conflict
    ) || failure.status >= 500
        || failure.status == 410
}

async fn timely<T>(
    until: Instant,
    call: impl Future<Output = Result<T, ApiFailure>>,
) -> Result<T, ApiFailure> {
    match tokio::time::timeout_at(until, call).await {
        Ok(result) => result,
        Err(_) => Err(ApiFailure::own(
            Code::Timeout,
            "the time for cleaning up was over before the server answered",
        )),
    }
}

/// Everything of a kind that carries the label: in the whole cluster or, where that is forbidden, in the
/// namespaces the run says.
async fn list(
    cluster: &Cluster,
    run: &RunId,
    target: &Target,
    until: Instant,
) -> Result<Vec<Found>, ApiFailure> {
    match list_in(cluster, run, &target.resource, "", until).await {
        Err(failure)
            if failure.code == Code::Forbidden
                && target.resource.namespaced
                && !target.namespaces.is_empty() =>
        {
            let mut all = Vec::new();
            for namespace in &target.namespaces {
                match list_in(cluster, run, &target.resource, namespace, until).await {
                    // Where a namespace is gone, rights in it can be gone as well.
                    Err(gone) if gone.code == Code::NotFound => {}
                    result => all.extend(result?),
                }
            }
            Ok(all)
        }
        result => result,
    }
}

async fn list_in(
    cluster: &Cluster,
    run: &RunId,
    resource: &Resource,
    namespace: &str,
    until: Instant,
) -> Result<Vec<Found>, ApiFailure> {
    let scope = Scope {
        namespace: namespace.to_owned(),
        label_selector: run.selector(),
        ..Scope::default()
    };
    let mut found = Vec::new();
    let mut continue_token = String::new();
    loop {
        let page = timely(
            until,
            cluster.list_metadata(resource, &scope, PAGE, &continue_token),
        )
        .await?;
        // What the server selected is looked at again: nothing else must ever be deleted.
        let ours = page.items.iter().filter(|metadata| run.owns(metadata));
        found.extend(ours.map(Found::new));
        continue_token = page.continue_token;
        if continue_token.is_empty() {
            return Ok(found);
        }
    }
}

async fn ask_to_go(
    cluster: &Cluster,
    run: &RunId,
    resource: &Resource,
    found: &[Found],
    until: Instant,
) -> Result<(), ApiFailure> {
    let staying = || found.iter().filter(|object| !object.leaving);
    let mut first_failure = Ok(());
    if resource.can("deletecollection") && !resource.is("", "namespaces") {
        let namespaces: BTreeSet<&str> = staying().map(|o| o.namespace.as_str()).collect();
        let options = DeleteOptions::default();
        for namespace in namespaces {
            let scope = Scope {
                namespace: namespace.to_owned(),
                label_selector: run.selector(),
                ..Scope::default()
            };
            let call = cluster.delete_collection(resource, &scope, &options);
            let result = timely(until, call).await;
            first_failure = first_failure.and(tolerate_gone(result));
        }
        return first_failure;
    }
    for object in staying() {
        let options = DeleteOptions {
            // Not one that came after it under the same name.
            uid: Some(object.uid.clone()),
            ..DeleteOptions::default()
        };
        let call = cluster.delete(resource, &object.namespace, &object.name, &options);
        let result = timely(until, call).await;
        first_failure = first_failure.and(tolerate_gone(result));
    }
    first_failure
}

fn tolerate_gone(result: Result<(), ApiFailure>) -> Result<(), ApiFailure> {
    match result {
        Err(failure) if failure.code == Code::NotFound => Ok(()),
        result => result,
    }
}
