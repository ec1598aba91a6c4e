//! What came of every runner of a group.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kperf_cluster::{
    api::{Cluster, ListBounds, Scope},
    trouble::trouble,
};
use kperf_load::Stop;
use serde_json::Value;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    error::GroupError,
    mail::{Mail, MailState, Start},
    objects::GROUP_LABEL,
    plan::Plan,
    status::{State, Status, statuses},
    store::{ClusterStore, Store, StoreError},
};

/// Reports that are fetched at once, and so the most that are in memory.
const PARALLEL: u32 = 16;
/// Between two looks at a group.
const POLL: Duration = Duration::from_millis(500);
/// Between two looks at the events of a Job without pods.
const EVENTS: Duration = Duration::from_secs(5);
/// Behind a start.
const TOO_LATE: Duration = Duration::from_secs(5);
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// One runner and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runner {
    /// From 0.
    pub index: u32,
    /// Name of its pod; empty if it never said a word.
    pub name: String,
    /// Where it ran.
    pub node: String,
    /// How far its clock is ahead of the API server's, milliseconds, as far as it is known.
    pub clock_ahead_ms: Option<i64>,
    /// What came of it.
    pub end: End,
}

/// What came of a runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Its report, as it wrote it.
    Reported(Vec<u8>),
    /// It said why there is none.
    Failed(String),
    /// It ended without a word after it was ready, or never was.
    Silent {
        /// Whether it was ready.
        was_ready: bool,
    },
}

/// Hands over all runners of a group in their order. A word or a report that cannot be read is a failure of its runner.
///
/// # Errors
/// The store cannot be read.
pub async fn collect(
    store: &Store,
    plan: &Plan,
    visit: &mut (dyn FnMut(Runner) + Send),
) -> Result<(), GroupError> {
    let mut first = 0;
    while first < plan.count {
        let next = first.saturating_add(PARALLEL).min(plan.count);
        let mut fetching: JoinSet<Result<Runner, StoreError>> = JoinSet::new();
        for index in first..next {
            let store = store.clone();
            fetching.spawn(async move { one(&store, index).await });
        }
        let mut batch = BTreeMap::new();
        while let Some(fetched) = fetching.join_next().await {
            let runner = fetched.map_err(|error| StoreError::new("fetching reports", error))??;
            batch.insert(runner.index, runner);
        }
        batch.into_values().for_each(&mut *visit);
        first = next;
    }
    Ok(())
}

async fn one(store: &Store, index: u32) -> Result<Runner, StoreError> {
    let unknown = |end| Runner {
        index,
        name: String::new(),
        node: String::new(),
        clock_ahead_ms: None,
        end,
    };
    let (mail, first_part) = match store.mail_and_part(index).await {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(unknown(End::Silent { was_ready: false })),
        Err(error) if error.is_of_one => return Ok(unknown(End::Failed(error.to_string()))),
        Err(error) => return Err(error),
    };
    let end = end(store, index, &mail, first_part).await;
    Ok(Runner {
        index,
        name: mail.name,
        node: mail.node,
        clock_ahead_ms: mail.clock_ahead_ms,
        end,
    })
}

async fn end(store: &Store, index: u32, mail: &Mail, first_part: Option<Vec<u8>>) -> End {
    match mail.state {
        MailState::Done => match store.report(index, mail, first_part).await {
            Ok(report) => End::Reported(report),
            Err(error) => End::Failed(error.to_string()),
        },
        MailState::Failed => End::Failed(mail.message.clone()),
        MailState::Ready => End::Silent { was_ready: true },
    }
}

/// What is known of pods of a group that failed, by runner: name, node, reason.
///
/// # Errors
/// The server cannot be asked.
pub async fn why_missing(
    cluster: &Cluster,
    namespace: &str,
    group: &str,
) -> Result<BTreeMap<u32, (String, String, String)>, GroupError> {
    let pods = pods(cluster, namespace, group, "status.phase=Failed").await?;
    Ok(pods
        .iter()
        .filter_map(|pod| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let index = pod["metadata"]["annotations"][INDEX]
                .as_str()?
                .parse()
                .ok()?;
            let trouble = trouble(pod)?;
            let why = if trouble.message.is_empty() {
                trouble.reason.clone()
            } else {
                format!("{}: {}", trouble.reason, trouble.message)
            };
            Some((index, (trouble.pod, text(&pod["spec"]["nodeName"]), why)))
        })
        .collect())
}

/// What the Job's newest event says that kept a pod from being made. None if there is no such event, or events cannot be
/// seen: they only explain.
async fn why_not_made(cluster: &Cluster, namespace: &str, group: &str) -> Option<String> {
    let events = cluster.kind("v1", "Event").await.ok()?;
    let scope = Scope {
        namespace: namespace.to_owned(),
        label_selector: String::new(),
        field_selector: format!(
            "involvedObject.kind=Job,involvedObject.name={group},reason=FailedCreate"
        ),
    };
    let events = cluster.list(&events, &scope, ListBounds::default()).await;
    newest_failure(&events.ok()?)
}

/// Of events the newest one's reason and message.
fn newest_failure(events: &[Value]) -> Option<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let at = |event: &Value| {
        let first = ["lastTimestamp", "eventTime"].into_iter();
        let mut times = first.map(|key| text(&event[key]));
        let made = text(&event["metadata"]["creationTimestamp"]);
        times.find(|time| !time.is_empty()).unwrap_or(made)
    };
    let failures = events
        .iter()
        .filter(|event| event["reason"] == "FailedCreate");
    let newest = failures.max_by_key(|event| at(event))?;
    Some(format!(
        "no pod can be made: {}: {}",
        text(&newest["reason"]),
        text(&newest["message"])
    ))
}

async fn pods(
    cluster: &Cluster,
    namespace: &str,
    group: &str,
    field_selector: &str,
) -> Result<Vec<Value>, GroupError> {
    let what = || GroupError::api(format!("looking at the pods of runner group {group}"));
    let pods = cluster.kind("v1", "Pod").await.map_err(what())?;
    let scope = Scope {
        namespace: namespace.to_owned(),
        label_selector: format!("{GROUP_LABEL}={group}"),
        field_selector: field_selector.to_owned(),
    };
    cluster
        .list(&pods, &scope, ListBounds::default())
        .await
        .map_err(what())
}

/// Waits until all runners of a group are over, or their reports are there; what it is like then. Whoever was not ready at
/// the start does not run any more, and is not waited for: its pod may never be. `within` none = however long it takes.
/// Says what changes, and what keeps pods from running.
///
/// # Errors
/// There is no such group any more, or the server cannot be asked.
pub async fn finished(
    cluster: &Cluster,
    namespace: &str,
    group: &str,
    within: Option<Duration>,
    stop: &Stop,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Status, GroupError> {
    let deadline = within.map(|within| Instant::now() + within);
    let store = ClusterStore::new(cluster.clone(), namespace, group, stop.clone());
    let mut said = String::new();
    let mut troubled = String::new();
    let mut next_events = Instant::now();
    loop {
        if stop.is_stopped() {
            return Err(GroupError::Stopped);
        }
        let found = kperf_cluster::api::patiently(stop, || async {
            match statuses(cluster, namespace, Some(group)).await {
                Err(GroupError::Api { failure, .. }) => Err(failure),
                other => Ok(other),
            }
        })
        .await
        .map_err(GroupError::api("asking how far a runner group is"))??;
        let Some(status) = found.into_iter().next() else {
            return Err(StoreError::new(
                format!("runner group {group}"),
                format!("there is none of that name in {namespace}"),
            )
            .into());
        };
        let news = format!(
            "{group}: {} of {} runners ready, {} reported, {} failed",
            status.ready, status.count, status.reported, status.failed
        );
        if news != said {
            say(&news);
            said = news;
        }
        if status.state == State::Finished || status.reported == status.count {
            return Ok(status);
        }
        let (ready, count) = (status.ready, status.count);
        if 0 < ready && ready < count && status.at_work == 0 && is_past(store.start().await?) {
            return Ok(status);
        }
        if status.ready + status.failed < status.count {
            let pending = pods(cluster, namespace, group, "status.phase=Pending").await?;
            let mut found = pending
                .iter()
                .find_map(trouble)
                .map(|trouble| trouble.to_string());
            if found.is_none()
                && pending.is_empty()
                && status.ready == 0
                && Instant::now() >= next_events
            {
                next_events = Instant::now() + EVENTS;
                found = why_not_made(cluster, namespace, group).await;
            }
            if let Some(found) = found {
                let text = format!("{group}: {found}");
                if text != troubled {
                    say(&text);
                    troubled = text;
                }
            }
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(GroupError::TimedOut {
                name: group.to_owned(),
                last: if troubled.is_empty() {
                    said
                } else {
                    format!("{said}; {troubled}")
                },
            });
        }
        tokio::select! {
            () = stop.stopped() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Whether a start was so long ago that nobody takes part in it who did not yet; clocks may differ.
fn is_past(start: Option<Start>) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    start.is_some_and(|start| Duration::from_micros(start.start_unix_us) + TOO_LATE < now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DirectoryStore;

    #[test]
    fn the_newest_event_says_why_there_are_no_pods() {
        let event = |reason: &str, at: &str, message: &str| serde_json::json!({"reason": reason, "lastTimestamp": at, "message": message});
        let events = [
            event("FailedCreate", "2026-01-01T00:00:09Z", "quota exceeded"),
            event(
                "FailedCreate",
                "2026-01-01T00:00:01Z",
                "error looking up service account",
            ),
            event("SuccessfulCreate", "2026-01-01T00:01:00Z", "made"),
        ];
        assert_eq!(
            newest_failure(&events).unwrap(),
            "no pod can be made: FailedCreate: quota exceeded"
        );
        assert_eq!(newest_failure(&events[2..]), None);
    }

    #[tokio::test]
    async fn a_word_that_cannot_be_read_is_its_runners_failure() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::Directory(DirectoryStore::new(folder.path()));
        let plan = Plan::new("g", "r", 3, 1);
        let mail = Mail::new(MailState::Ready, "g-0", "n");
        store.deliver(0, &plan, mail, b"{}").await.unwrap();
        std::fs::write(folder.path().join("runner-1.json"), "\0").unwrap();
        let mut ends = Vec::new();
        collect(&store, &plan, &mut |runner| ends.push(runner.end))
            .await
            .unwrap();
        assert_eq!(ends[0], End::Reported(b"{}".to_vec()));
        assert!(matches!(&ends[1], End::Failed(why) if why.contains("runner-1.json")));
        assert_eq!(ends[2], End::Silent { was_ready: false });
    }
}
