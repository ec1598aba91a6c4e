//! Jobs: so many pods at a time until enough have ended well.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use super::{
    Kind, Worker,
    child::{BURST, ChildName, add_labels, count, from_template},
    condition::{self, Condition},
    members::{Counts, Phase},
    queue::Step,
};
use crate::{
    defaults,
    store::{Object, now_rfc3339},
};

const INDEX: &str = "batch.kubernetes.io/job-completion-index";

impl Worker {
    pub(super) fn sync_job(&mut self, namespace: &str, name: &str) {
        let Some(job) = self.read_living(Kind::Job, namespace, name) else {
            return;
        };
        if is_finished(&job.value) {
            return;
        }
        let spec = &job.value["spec"];
        let parallelism = count(&spec["parallelism"], 1);
        let completions = count(&spec["completions"], parallelism);
        let before = self.members.counts(job.uid());
        // Pods that ended and were deleted since have ended all the same.
        let succeeded = before
            .succeeded
            .max(count(&job.value["status"]["succeeded"], 0));
        let complete = succeeded >= completions;
        let failed = before.failed > count(&spec["backoffLimit"], 6);
        if complete || failed || spec["suspend"] == true {
            self.stop_pods(&job);
        } else {
            let wanted = parallelism.min(completions - succeeded);
            let busy = before.active + before.leaving;
            if busy < wanted {
                self.create_job_pods(&job, wanted - busy, completions);
            } else if before.active > wanted {
                let surplus = usize::try_from(before.active - wanted).unwrap_or(usize::MAX);
                let unwanted = self
                    .members
                    .group(job.uid())
                    .map(|group| group.least_wanted(surplus))
                    .unwrap_or_default();
                for (name, uid) in unwanted {
                    self.delete(Kind::Pod, namespace, &name, &uid);
                }
            }
        }
        let counts = self.members.counts(job.uid());
        let end = match (complete, failed) {
            (true, _) => Some(End::Complete),
            (_, true) => Some(End::Failed),
            _ => None,
        };
        let written = self.write_status(Kind::Job, &job, |value| {
            write_status(value, counts, succeeded, end);
        });
        let time_to_live = spec["ttlSecondsAfterFinished"].as_u64();
        if let (Some(job), Some(seconds), Some(_)) = (written, time_to_live, end) {
            self.after(Duration::from_secs(seconds), Step::Expire, &job);
        }
    }

    fn create_job_pods(&mut self, job: &Object, missing: u64, completions: u64) {
        let uid = job.uid();
        let mut value = from_template(&job.value["spec"]["template"]);
        add_labels(
            &mut value,
            &[
                ("batch.kubernetes.io/controller-uid", uid),
                ("batch.kubernetes.io/job-name", job.name()),
                ("controller-uid", uid),
                ("job-name", job.name()),
            ],
        );
        let missing_now = missing.min(BURST);
        let indices: Vec<Option<u64>> = if job.value["spec"]["completionMode"] == "Indexed" {
            let taken: BTreeSet<u64> = self
                .members
                .group(uid)
                .into_iter()
                .flat_map(|group| group.members.values())
                .filter(|member| member.phase != Phase::Failed)
                .filter_map(|member| member.index)
                .collect();
            (0..completions)
                .filter(|index| !taken.contains(index))
                .take(usize::try_from(missing_now).unwrap_or(usize::MAX))
                .map(Some)
                .collect()
        } else {
            (0..missing_now).map(|_| None).collect()
        };
        for index in indices {
            let mut value = value.clone();
            let mut prefix = format!("{}-", job.name());
            if let Some(index) = index {
                prefix = format!("{}-{index}-", job.name());
                let index = index.to_string();
                add_labels(&mut value, &[(INDEX, &index)]);
                let metadata = defaults::object(&mut value, "metadata");
                let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
                if let Value::Object(annotations) = annotations {
                    annotations.insert(INDEX.to_owned(), json!(index));
                }
            }
            let name = ChildName::Prefix(&prefix);
            if self
                .create_child(Kind::Pod, Kind::Job, job, name, value)
                .is_none()
            {
                return;
            }
        }
        if missing > BURST {
            self.sync_again(Kind::Job, job);
        }
    }

    fn stop_pods(&mut self, job: &Object) {
        let running = self
            .members
            .group(job.uid())
            .map(|group| group.least_wanted(usize::MAX))
            .unwrap_or_default();
        for (name, uid) in running {
            self.delete(Kind::Pod, job.namespace(), &name, &uid);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Complete,
    Failed,
}

fn is_finished(job: &Value) -> bool {
    condition::is_true(job, "Complete") || condition::is_true(job, "Failed")
}

fn write_status(job: &mut Value, counts: Counts, succeeded: u64, end: Option<End>) {
    let now = now_rfc3339();
    let suspended = job["spec"]["suspend"] == true;
    let had_suspended = job["status"]["conditions"]
        .as_array()
        .is_some_and(|list| list.iter().any(|c| c["type"] == "Suspended"));
    let status = defaults::object(job, "status");
    if !suspended {
        status
            .entry("startTime")
            .or_insert_with(|| json!(now.clone()));
    }
    for (field, count) in [
        ("active", counts.active),
        ("succeeded", succeeded),
        ("failed", counts.failed),
    ] {
        if count > 0 {
            status.insert(field.to_owned(), json!(count));
        } else {
            status.remove(field);
        }
    }
    status.insert("ready".to_owned(), json!(counts.ready));
    status.insert("terminating".to_owned(), json!(counts.leaving));
    status.insert("uncountedTerminatedPods".to_owned(), json!({}));
    if end == Some(End::Complete) {
        status.insert("completionTime".to_owned(), json!(now.clone()));
    }
    if suspended || had_suspended {
        let condition = Condition {
            kind: "Suspended",
            status: suspended,
            reason: if suspended {
                "JobSuspended"
            } else {
                "JobResumed"
            },
            message: if suspended {
                "Job suspended"
            } else {
                "Job resumed"
            },
        };
        condition::set(job, condition, &now);
    }
    let (kinds, reason, message) = match end {
        Some(End::Complete) => (
            ["SuccessCriteriaMet", "Complete"],
            "CompletionsReached",
            "Reached expected number of succeeded pods",
        ),
        Some(End::Failed) => (
            ["FailureTarget", "Failed"],
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit",
        ),
        None => return,
    };
    for kind in kinds {
        let condition = Condition {
            kind,
            status: true,
            reason,
            message,
        };
        condition::set(job, condition, &now);
    }
}
