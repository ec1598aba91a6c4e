//! The Events controllers write about what they did, and their end after an hour, as on a real server.

use std::{collections::VecDeque, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::Worker;
use crate::{
    store::{Object, new_uid, now_rfc3339},
    verbs::remove_now,
};

/// kube-apiserver's default of `--event-ttl`.
const TIME_TO_LIVE: Duration = Duration::from_secs(3600);
/// Events of ours that are kept whatever their age; a long run must not fill the memory with them.
const KEPT: usize = 20_000;

/// Our events, oldest first.
#[derive(Debug, Default)]
pub(super) struct EventLog(VecDeque<Written>);

#[derive(Debug)]
struct Written {
    at: Instant,
    namespace: String,
    name: String,
    uid: String,
}

/// Who says what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report<'a> {
    pub(super) component: &'a str,
    pub(super) kind: &'a str,
    pub(super) reason: &'a str,
    pub(super) action: &'a str,
    pub(super) message: &'a str,
}

impl Worker {
    /// Writes an Event about an object.
    pub(super) fn report(&mut self, about: &Object, report: Report<'_>) {
        let Some(events) = self.store.resource("", "v1", "events") else {
            return;
        };
        let name = format!("{}.{:016x}", about.name(), self.random());
        let now = jiff::Timestamp::now();
        let uid = new_uid();
        let value = json!({
            "metadata": {
                "name": name, "namespace": about.namespace(), "uid": uid, "creationTimestamp": now_rfc3339(),
            },
            "involvedObject": {
                "kind": about.value["kind"], "apiVersion": about.value["apiVersion"],
                "namespace": about.namespace(), "name": about.name(), "uid": about.uid(),
                "resourceVersion": about.revision.to_string(),
            },
            "type": report.kind,
            "reason": report.reason,
            "action": report.action,
            "message": report.message,
            "eventTime": micro_time(now),
            "firstTimestamp": null,
            "lastTimestamp": null,
            "reportingComponent": report.component,
            "reportingInstance": format!("{}-sim", report.component),
            "source": {"component": report.component},
        });
        if self.is_leaving_namespace(about.namespace())
            || self
                .store
                .create(&events, about.namespace(), &name, value)
                .is_err()
        {
            return;
        }
        let now = Instant::now();
        self.events.0.push_back(Written {
            at: now,
            namespace: about.namespace().to_owned(),
            name,
            uid,
        });
        while self.events.0.len() > KEPT
            || self
                .events
                .0
                .front()
                .is_some_and(|first| now.duration_since(first.at) > TIME_TO_LIVE)
        {
            if let Some(old) = self.events.0.pop_front() {
                remove_now(&self.store, &events, &old.namespace, &old.name, &old.uid);
            }
        }
    }
}

/// `metav1.MicroTime`.
fn micro_time(at: jiff::Timestamp) -> Value {
    json!(at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_times_have_six_digits() {
        let at = jiff::Timestamp::new(1_700_000_000, 1_002_000).unwrap();
        assert_eq!(micro_time(at), "2023-11-14T22:13:20.001002Z");
    }
}
