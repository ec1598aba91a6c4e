//! Deletes what a run created, found by its label: objects first, definitions of kinds next, namespaces last.
//!
//! Nothing without the run's label is asked to go, except what is in a namespace that has it. Nothing is
//! forced: what hangs on a finalizer is reported with the finalizer. A server that is away for a while is
//! waited for, until the deadline.

mod found;
mod sweep;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::{
    api::{ApiFailure, Cluster, Resource, Scope},
    run::{RUN_LABEL, RunId},
};

pub(crate) use found::what_holds;

/// What a run created: kinds, and in which namespaces. The objects themselves are found by their label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunObjects {
    kinds: BTreeMap<Arc<Resource>, BTreeSet<String>>,
}

impl RunObjects {
    /// Notes a kind in a namespace (empty for kinds without one).
    pub(crate) fn add(&mut self, resource: &Arc<Resource>, namespace: &str) {
        if let Some(namespaces) = self.kinds.get_mut(resource) {
            if !namespaces.contains(namespace) {
                namespaces.insert(namespace.to_owned());
            }
        } else {
            self.kinds
                .insert(Arc::clone(resource), BTreeSet::from([namespace.to_owned()]));
        }
    }

    /// Whether the run created nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Kinds, each with the namespaces it was created in.
    pub fn kinds(&self) -> impl Iterator<Item = (&Arc<Resource>, &BTreeSet<String>)> {
        self.kinds.iter()
    }

    pub(crate) fn namespaces_of(&self, resource: &Resource) -> Vec<String> {
        self.kinds
            .get(resource)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }
}

/// An object that is still there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    /// `pods` or `deployments.apps`.
    pub resource: String,
    /// Empty for kinds without one.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// What it waits for: `finalizer example.io/guard`, …
    pub holding: String,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.resource)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        write!(f, "{}: {}", self.name, self.holding)
    }
}

/// What a clean-up did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CleanReport {
    /// Objects that were there with the run's label and are gone, by resource.
    pub deleted: BTreeMap<String, u64>,
    /// What is still there, at most 100 of each resource.
    pub left: Vec<Left>,
    /// How many are still there.
    pub left_count: u64,
    /// What went wrong and was not made good by a later try, without repetition.
    pub errors: Vec<String>,
}

impl CleanReport {
    /// Whether nothing of the run is left, for all that could be seen.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.left_count == 0 && self.errors.is_empty()
    }
}

/// How far a clean-up is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanProgress {
    /// Objects gone.
    pub deleted: u64,
    /// Objects known to be there still.
    pub left: u64,
}

/// Deletes everything of a run, within a time. `recorded` is what the run says it created; without it
/// every kind the server serves is looked at, which takes a request for each.
pub async fn clean(
    cluster: &Cluster,
    run: &RunId,
    recorded: Option<&RunObjects>,
    within: Duration,
    mut progress: impl FnMut(&CleanProgress),
) -> CleanReport {
    let deadline = tokio::time::Instant::now() + within;
    let mut sweep = sweep::Sweep::new(cluster, run, deadline);
    let targets = match sweep.targets(recorded).await {
        Ok(targets) => targets,
        Err(failure) => {
            return CleanReport {
                errors: vec![format!(
                    "nothing was deleted: what there is could not be found: {failure}"
                )],
                ..CleanReport::default()
            };
        }
    };
    sweep.run(targets, &mut progress).await;
    sweep.into_report()
}

/// A run that left something behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRun {
    /// Its id, as the label says it; a value that is none is left out.
    pub run: RunId,
    /// Its namespaces.
    pub namespaces: Vec<String>,
    /// Age of the oldest of them.
    pub age: Option<Duration>,
}

/// Runs that have namespaces, oldest first.
///
/// # Errors
/// All that a list of namespaces can meet.
pub async fn runs(cluster: &Cluster) -> Result<Vec<FoundRun>, ApiFailure> {
    let namespaces = cluster.kind("v1", "Namespace").await?;
    let scope = Scope {
        label_selector: RUN_LABEL.to_owned(),
        ..Scope::default()
    };
    let mut by_run: BTreeMap<RunId, FoundRun> = BTreeMap::new();
    let mut continue_token = String::new();
    loop {
        let page = cluster
            .list_metadata(&namespaces, &scope, sweep::PAGE, &continue_token)
            .await?;
        for metadata in &page.items {
            let Some(run) = metadata["labels"][RUN_LABEL]
                .as_str()
                .and_then(|text| text.parse::<RunId>().ok())
            else {
                continue;
            };
            let found = by_run.entry(run.clone()).or_insert_with(|| FoundRun {
                run,
                namespaces: Vec::new(),
                age: None,
            });
            let name = metadata["name"].as_str().unwrap_or_default();
            found.namespaces.push(name.to_owned());
            found.age = found.age.max(age(&metadata["creationTimestamp"]));
        }
        continue_token = page.continue_token;
        if continue_token.is_empty() {
            break;
        }
    }
    let mut runs: Vec<FoundRun> = by_run.into_values().collect();
    runs.sort_by_key(|found| std::cmp::Reverse(found.age));
    Ok(runs)
}

fn age(created: &Value) -> Option<Duration> {
    let created: jiff::Timestamp = created.as_str()?.parse().ok()?;
    // A clock that is behind the server's makes no age.
    SystemTime::now()
        .duration_since(SystemTime::from(created))
        .ok()
}
