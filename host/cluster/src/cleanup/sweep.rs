//! The work of a clean-up: ask to go, look again, until nothing is left or time is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

use super::{
    CleanProgress, CleanReport, Left, RunObjects,
    found::Found,
    look::{Look, Target, is_passing, timely},
};
use crate::{
    api::{ApiFailure, Cluster, Code, Resource},
    run::RunId,
};

/// Time a server gets to end the creations it did not answer, before the last look.
const SETTLE: Duration = Duration::from_secs(2);
/// First and longest pause between two looks at the same kinds.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));
/// Requests at once.
const PARALLEL: usize = 16;
/// Names reported of each resource.
const MAX_NAMED: usize = 100;
/// Errors reported.
const ERRORS_KEPT: usize = 20;

/// What is known of a target.
#[derive(Debug, Default)]
struct State {
    /// By namespace and name.
    seen: BTreeSet<(String, String)>,
    left: Vec<Found>,
    error: Option<ApiFailure>,
    /// Where its objects can be; `None` if they live in no namespace.
    within: Option<Within>,
}

/// Where objects of a namespaced kind can be.
#[derive(Debug, PartialEq, Eq)]
enum Within {
    /// In namespaces that the run created.
    Own,
    /// In others as well.
    Anywhere,
    /// Nobody recorded it.
    Unknown,
}

pub(super) struct Sweep<'a> {
    cluster: &'a Cluster,
    run: &'a RunId,
    recorded: Option<&'a RunObjects>,
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
    pub(super) fn new(
        cluster: &'a Cluster,
        run: &'a RunId,
        recorded: Option<&'a RunObjects>,
        deadline: Instant,
    ) -> Self {
        Self {
            cluster,
            run,
            recorded,
            deadline,
            states: BTreeMap::new(),
        }
    }

    /// The kinds to look at. Waits for a server that is away.
    pub(super) async fn targets(&self) -> Result<Vec<Target>, ApiFailure> {
        if let Some(recorded) = self.recorded {
            return Ok(recorded
                .kinds()
                .map(|(resource, namespaces)| Target {
                    resource: Arc::clone(resource),
                    namespaces: namespaces.clone(),
                    names: if resource.is("", "namespaces") {
                        recorded.namespaces.keys().cloned().collect()
                    } else {
                        BTreeSet::new()
                    },
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
                names: BTreeSet::new(),
            })
            .collect())
    }

    pub(super) async fn run(
        &mut self,
        targets: Vec<Target>,
        progress: &mut impl FnMut(&CleanProgress),
    ) {
        let mut stages: [Vec<Target>; 3] = Default::default();
        let all = targets.clone();
        for target in targets {
            stages[stage(&target.resource)].push(target);
        }
        let mut unfinished = Vec::new();
        for (number, mut targets) in stages.into_iter().enumerate() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let until = if number == 2 {
                // With its namespace goes what would not go before it. A little time is for the last look.
                targets.append(&mut unfinished);
                Instant::now() + left * 9 / 10
            } else {
                // What hangs must not keep the next stage from its time.
                Instant::now() + left / 2
            };
            unfinished.append(&mut self.stage(targets, until, progress).await);
        }
        self.last_look(all, unfinished, progress).await;
    }

    /// Looks again: at what is not done, at what could not be looked at or asked to go (its namespace may have
    /// taken it along), and at all that the run recorded.
    async fn last_look(
        &mut self,
        all: Vec<Target>,
        unfinished: Vec<Target>,
        progress: &mut impl FnMut(&CleanProgress),
    ) {
        let are_namespaces_gone = self.are_namespaces_gone();
        let is_wanted = |target: &Target| {
            let state = self.states.get(&target.resource.to_string());
            let is_clean =
                state.is_some_and(|state| state.error.is_none() && state.left.is_empty());
            match self.recorded {
                // Nothing can come into a namespace that is gone.
                Some(recorded) => {
                    !(is_clean
                        && are_namespaces_gone
                        && target.resource.namespaced
                        && target.is_within_own(recorded))
                }
                None => {
                    let is_same = |other: &Target| other.resource == target.resource;
                    !is_clean || unfinished.iter().any(is_same)
                }
            }
        };
        let mut targets: Vec<Target> = all.into_iter().filter(is_wanted).collect();
        if targets.is_empty() {
            return;
        }
        if let Some(recorded) = self.recorded
            && are_namespaces_gone
        {
            // With a namespace go the rights in it.
            for target in &mut targets {
                let is_other = |namespace: &String| !recorded.created_namespace(namespace);
                target.namespaces.retain(is_other);
            }
        }
        if self
            .recorded
            .is_some_and(|recorded| recorded.unanswered > 0)
        {
            let left = self.deadline.saturating_duration_since(Instant::now());
            tokio::time::sleep(SETTLE.min(left / 2)).await;
        }
        if Instant::now() < self.deadline {
            self.stage(targets, self.deadline, progress).await;
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
        state.within = target.resource.namespaced.then(|| match self.recorded {
            None => Within::Unknown,
            Some(recorded) if target.is_within_own(recorded) => Within::Own,
            Some(_) => Within::Anywhere,
        });
        state.error = look.error;
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

    /// Whether the run's namespaces were looked for, and none is left.
    fn are_namespaces_gone(&self) -> bool {
        self.states
            .get("namespaces")
            .is_some_and(|state| state.error.is_none() && state.left.is_empty())
    }

    pub(super) fn into_report(self) -> CleanReport {
        let mut report = CleanReport::default();
        let are_namespaces_gone = self.are_namespaces_gone();
        for (resource, mut state) in self.states {
            if are_namespaces_gone && let Some(note) = state.taken_along() {
                report.notes.push(format!("{resource}: {note}"));
                // From a look before they went.
                state.left.clear();
                state.error = None;
            }
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

impl State {
    /// What to say instead of an error, now that the run's namespaces are gone; `None` if it stays an error.
    fn taken_along(&self) -> Option<String> {
        let error = self.error.as_ref()?;
        match self.within.as_ref()? {
            Within::Own => Some(format!(
                "went with the namespaces of the run, but could not be looked at: {error}"
            )),
            Within::Unknown if error.code == Code::Forbidden && self.left.is_empty() => {
                Some(format!(
                    "what was in the namespaces of the run went with them; whether there is more could not be looked \
                 at: {error}"
                ))
            }
            _ => None,
        }
    }
}
