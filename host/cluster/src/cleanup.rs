//! Deletes what a run created, found by its label: objects first, definitions of kinds next, namespaces last.
//!
//! Nothing without the run's label is asked to go, except what is in a namespace that has it. Nothing is
//! forced: what hangs on a finalizer is reported with the finalizer. A server that is away for a while is
//! waited for, until the deadline. The run's kinds are looked at once more at the end: what the server was
//! creating during the first look is there by then.

mod found;
mod look;
mod sweep;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use kperf_load::Stop;
use serde_json::Value;

use crate::{
    api::{ApiFailure, Cluster, Resource, Scope},
    run::{OUTER_RUN_LABEL, RUN_LABEL, RunId},
    session::Session,
};

pub(crate) use found::what_holds;

/// What a run created: kinds, and in which namespaces. The objects themselves are found by their label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunObjects {
    /// Few. A kind is there once, in the version that it was created in first: it is the same in each.
    kinds: Vec<(Arc<Resource>, BTreeSet<String>)>,
    /// Namespaces it asked for, and whether the server said that it made them.
    namespaces: BTreeMap<String, bool>,
    /// Creations without an answer: the server may be at work on them still.
    unanswered: u64,
}

impl RunObjects {
    /// Kinds that a run created objects of, each with the namespaces (none for kinds without); for who did not record
    /// them, but knows.
    pub fn of_kinds(kinds: impl IntoIterator<Item = (Arc<Resource>, BTreeSet<String>)>) -> Self {
        Self {
            kinds: kinds.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Notes a kind in a namespace (empty for kinds without one).
    pub(crate) fn add(&mut self, resource: &Arc<Resource>, namespace: &str) {
        let known = self
            .kinds
            .iter_mut()
            .find(|(known, _)| known.is(&resource.group, &resource.plural));
        if let Some((_, namespaces)) = known {
            if !namespaces.contains(namespace) {
                namespaces.insert(namespace.to_owned());
            }
        } else {
            let namespaces = BTreeSet::from([namespace.to_owned()]);
            self.kinds.push((Arc::clone(resource), namespaces));
        }
    }

    /// Notes a namespace that is asked for, or was created. An empty name is not known yet.
    pub(crate) fn add_namespace(&mut self, name: &str, is_created: bool) {
        if !name.is_empty() {
            *self.namespaces.entry(name.to_owned()).or_default() |= is_created;
        }
    }

    fn created_namespace(&self, name: &str) -> bool {
        self.namespaces.get(name).is_some_and(|created| *created)
    }

    /// Notes that a creation is sent; without an answer it stays so.
    pub(crate) fn ask(&mut self) {
        self.unanswered += 1;
    }

    /// Notes an answer to a creation.
    pub(crate) fn answer(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
    }

    /// Whether the run created nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Kinds, each with the namespaces it was created in.
    pub fn kinds(&self) -> impl Iterator<Item = (&Arc<Resource>, &BTreeSet<String>)> {
        self.kinds
            .iter()
            .map(|(resource, namespaces)| (resource, namespaces))
    }

    /// Where a kind was created, in whatever version.
    pub(crate) fn namespaces_of(&self, resource: &Resource) -> Vec<String> {
        self.kinds
            .iter()
            .filter(|(known, _)| known.is(&resource.group, &resource.plural))
            .flat_map(|(_, namespaces)| namespaces.iter().cloned())
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
    /// What could not be looked at and need not be, as far as can be told.
    pub notes: Vec<String>,
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
    let mut sweep = sweep::Sweep::new(cluster, run, recorded, deadline);
    let targets = match sweep.targets().await {
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
            .list_metadata(&namespaces, &scope, look::PAGE, &continue_token)
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

/// A runner group that a run has started for its load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inner {
    /// The run that started it.
    pub outer: RunId,
    /// Its own id.
    pub run: RunId,
    /// Where it is.
    pub namespace: String,
    /// Name of its Job.
    pub name: String,
    /// How long ago.
    pub age: Option<Duration>,
}

/// The runner groups that runs have started and that are there, of one run or of all.
///
/// # Errors
/// All that a list of Jobs can meet.
pub async fn inner(cluster: &Cluster, outer: Option<&RunId>) -> Result<Vec<Inner>, ApiFailure> {
    let session = Session::upkeep(cluster.clone(), Stop::new());
    let of_outer = outer.map_or_else(String::new, |outer| format!("={}", outer.as_str()));
    let scope = Scope {
        label_selector: format!("{OUTER_RUN_LABEL}{of_outer},{RUN_LABEL}"),
        ..Scope::default()
    };
    let mut found = Vec::new();
    let jobs = session.resource("batch/v1", "Job").await?;
    session
        .for_each_metadata(&jobs, &scope, |metadata| {
            let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
            let id = |label: &str| metadata["labels"][label].as_str()?.parse().ok();
            if let (Some(outer), Some(run)) = (id(OUTER_RUN_LABEL), id(RUN_LABEL)) {
                found.push(Inner {
                    outer,
                    run,
                    namespace: text("namespace"),
                    name: text("name"),
                    age: age(&metadata["creationTimestamp"]),
                });
            }
        })
        .await?;
    Ok(found)
}

pub(crate) fn age(created: &Value) -> Option<Duration> {
    let created: jiff::Timestamp = created.as_str()?.parse().ok()?;
    // A clock that is behind the server's makes no age.
    SystemTime::now()
        .duration_since(SystemTime::from(created))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(version: &str) -> Arc<Resource> {
        Arc::new(Resource {
            group: "example.io".into(),
            version: version.into(),
            plural: "widgets".into(),
            kind: "Widget".into(),
            namespaced: true,
            verbs: Vec::new(),
            subresources: Vec::new(),
        })
    }

    #[test]
    fn a_kind_is_the_same_in_every_version() {
        let mut objects = RunObjects::default();
        objects.add(&resource("v1beta1"), "a");
        objects.add(&resource("v1"), "b");
        objects.add(&resource("v1"), "a");
        assert_eq!(objects.kinds().count(), 1);
        for version in ["v1", "v1beta1", "v2"] {
            assert_eq!(objects.namespaces_of(&resource(version)), ["a", "b"]);
        }
        let mut other = (*resource("v1")).clone();
        other.group = "example.com".into();
        assert!(objects.namespaces_of(&other).is_empty());
    }

    #[test]
    fn a_creation_is_unanswered_until_it_is_answered() {
        let mut objects = RunObjects::default();
        objects.ask();
        objects.ask();
        objects.answer();
        assert_eq!(objects.unanswered, 1);
    }
}
