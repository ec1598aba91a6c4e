//! How far groups are, from their Jobs and from what runners said.

use std::collections::{BTreeMap, BTreeSet};

use kperf_cluster::{
    RUN_LABEL,
    api::{Cluster, ListBounds, Scope},
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    error::GroupError,
    mail::MailState,
    objects::{GROUP_LABEL, RUNNER_STATE_LABEL, runner_of_mailbox},
};

/// kperf's words for how far a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// There is no Job, or it has not begun.
    Unknown,
    /// Some runners are not over.
    Running,
    /// All are.
    Finished,
}

impl State {
    /// kperf's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Running => "running",
            Self::Finished => "finished",
        }
    }
}

/// How far one group is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Id of its run.
    pub run: String,
    /// Runners.
    pub count: u32,
    /// Runners that said that they are ready, those that are done among them.
    pub ready: u32,
    /// Runners that are ready and neither done nor ended.
    pub at_work: u32,
    /// Runners whose report is there.
    pub reported: u32,
    /// Runners that ended well.
    pub succeeded: u32,
    /// Runners that did not.
    pub failed: u32,
    /// How far it is.
    pub state: State,
    /// When its Job began, RFC 3339; none before that.
    pub start: Option<String>,
}

impl Status {
    /// From a Job, and the runners of it by state.
    fn of(job: &Value, states: &BTreeMap<String, BTreeSet<u32>>) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| u32::try_from(value.as_u64().unwrap_or(0)).unwrap_or(0);
        let labels = &job["metadata"]["labels"];
        let status = &job["status"];
        let count = number(&job["spec"]["completions"]);
        let (succeeded, failed) = (number(&status["succeeded"]), number(&status["failed"]));
        let start = status["startTime"].as_str().map(str::to_owned);
        let none = BTreeSet::new();
        let of = |state: MailState| states.get(state.as_str()).unwrap_or(&none);
        let ended = |key: &str| indexes(status[key].as_str().unwrap_or_default());
        let ended = &ended("failedIndexes") | &ended("completedIndexes");
        let number_of = |runners: &BTreeSet<u32>| u32::try_from(runners.len()).unwrap_or(u32::MAX);
        let reported = number_of(of(MailState::Done));
        Self {
            name: text(&labels[GROUP_LABEL]),
            run: text(&labels[RUN_LABEL]),
            count,
            ready: number_of(of(MailState::Ready)) + reported,
            at_work: number_of(&(of(MailState::Ready) - &ended)),
            reported,
            succeeded,
            failed,
            state: match &start {
                None => State::Unknown,
                Some(_) if succeeded + failed >= count => State::Finished,
                Some(_) => State::Running,
            },
            start,
        }
    }
}

/// All groups of a namespace, or one of them, by name.
///
/// # Errors
/// The server cannot be asked.
pub async fn statuses(
    cluster: &Cluster,
    namespace: &str,
    group: Option<&str>,
) -> Result<Vec<Status>, GroupError> {
    let what = || GroupError::api("asking how far runner groups are");
    let selector = match group {
        Some(group) => format!("{GROUP_LABEL}={group}"),
        None => GROUP_LABEL.to_owned(),
    };
    let scope = |label_selector: String| Scope {
        namespace: namespace.to_owned(),
        label_selector,
        ..Scope::default()
    };
    let jobs = cluster.kind("batch/v1", "Job").await.map_err(what())?;
    let found = cluster
        .list(&jobs, &scope(selector.clone()), ListBounds::default())
        .await
        .map_err(what())?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let config_maps = cluster.kind("v1", "ConfigMap").await.map_err(what())?;
    let boxes = scope(format!("{selector},{RUNNER_STATE_LABEL}"));
    let mut states: BTreeMap<String, BTreeMap<String, BTreeSet<u32>>> = BTreeMap::new();
    for metadata in cluster
        .metadata(&config_maps, &boxes)
        .await
        .map_err(what())?
    {
        let label = |key: &str| {
            metadata["labels"][key]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let group = label(GROUP_LABEL);
        let name = metadata["name"].as_str().unwrap_or_default();
        let Some(runner) = runner_of_mailbox(&group, name) else {
            continue;
        };
        let of_group = states.entry(group).or_default();
        let of_state = of_group.entry(label(RUNNER_STATE_LABEL)).or_default();
        of_state.insert(runner);
    }
    let none = BTreeMap::new();
    let mut statuses: Vec<Status> = found
        .iter()
        .map(|job| {
            let name = job["metadata"]["labels"][GROUP_LABEL]
                .as_str()
                .unwrap_or_default();
            Status::of(job, states.get(name).unwrap_or(&none))
        })
        .collect();
    statuses.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(statuses)
}

/// What a Job calls indexes: `0,2-4`.
pub(crate) fn indexes(text: &str) -> BTreeSet<u32> {
    text.split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let first: u32 = first.trim().parse().ok()?;
            let last: u32 = last.trim().parse().ok()?;
            // A Job has 100 000 at most when it counts failures by index.
            Some(first..=last.min(first.saturating_add(100_000)))
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn indexes_are_read() {
        assert_eq!(indexes("0,2-4,7"), [0, 2, 3, 4, 7].into());
        assert_eq!(indexes(""), [].into());
        assert_eq!(indexes("x,5"), [5].into());
    }

    #[test]
    fn states_are_kperfs() {
        let job = |status: Value| {
            json!({
                "metadata": {"labels": {GROUP_LABEL: "g", RUN_LABEL: "r"}},
                "spec": {"completions": 3},
                "status": status,
            })
        };
        let states = BTreeMap::from([
            ("ready".to_owned(), [1].into()),
            ("done".to_owned(), [0].into()),
        ]);
        let of = |status| Status::of(&job(status), &states);
        assert_eq!(of(json!({})).state, State::Unknown);
        let started = "2026-01-01T00:00:00Z";
        let running = of(json!({"startTime": started, "succeeded": 1, "failed": 1}));
        assert_eq!(running.state, State::Running);
        assert_eq!((running.ready, running.reported), (2, 1));
        assert_eq!(running.at_work, 1);
        let killed = of(json!({"startTime": started, "failed": 1, "failedIndexes": "1"}));
        assert_eq!((killed.ready, killed.at_work), (2, 0));
        let finished = of(json!({"startTime": started, "succeeded": 2, "failed": 1}));
        assert_eq!(finished.state, State::Finished);
        assert_eq!(finished.start.as_deref(), Some(started));
    }
}
