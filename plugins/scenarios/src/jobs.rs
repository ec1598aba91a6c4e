//! Jobs on virtual nodes.

use kperf_sdk::benchmark::prelude::*;

use crate::{
    end::{LOOK_MS, Work},
    pool::pod_spec,
};

/// Between the end of a Job and its next beginning; kperf's.
const PAUSE_MS: u64 = 5_000;
/// Longest time for a Job to complete, or to go; kperf's.
const PATIENCE_MS: u64 = 15 * 60 * 1_000;

/// A Job of pods that end by themselves.
#[derive(Clone, Copy, Debug)]
pub struct JobShape<'a> {
    /// Where.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// How many pods have to end well.
    pub pods: u32,
    /// How many at once.
    pub parallelism: u32,
    /// On whose nodes.
    pub pool: &'a str,
    /// Seconds that it stays once it has finished; none = until it is deleted.
    pub ttl_seconds: Option<u32>,
}

impl JobShape<'_> {
    /// As the API takes it.
    pub fn manifest(&self) -> Value {
        let mut pod = pod_spec(self.pool);
        if let Some(pod) = pod.as_object_mut() {
            pod.insert("restartPolicy".to_owned(), "Never".into());
        }
        let mut spec = json!({
            "completions": self.pods,
            "parallelism": self.parallelism,
            "backoffLimit": 3,
            "template": {"metadata": {"labels": {"app": "fake-pod"}}, "spec": pod},
        });
        if let (Some(seconds), Some(spec)) = (self.ttl_seconds, spec.as_object_mut()) {
            spec.insert("ttlSecondsAfterFinished".to_owned(), seconds.into());
        }
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"namespace": self.namespace, "name": self.name},
            "spec": spec,
        })
    }
}

/// Jobs.
pub fn kind() -> Kind {
    Kind::new("batch/v1", "Job")
}

/// Follows the Jobs of a namespace from creation to their end.
///
/// # Errors
/// As `tracker.start`.
pub fn track(namespace: &str) -> Result<Tracker, Failure> {
    Tracker::start(
        &TrackerOptions::new("jobs", kind(), Scope::namespace(namespace))
            .milestone(Milestone::new("created").api_time("/metadata/creationTimestamp"))
            .milestone(
                Milestone::new("complete")
                    .when(Check::condition("Complete"))
                    .api_time("/status/completionTime"),
            )
            .milestone(Milestone::new("failed").when(Check::condition("Failed"))),
    )
}

/// Creates the Job, waits until it is complete, deletes it and begins anew, until the load has ended.
///
/// # Errors
/// As [`Work::of`].
pub fn repeat(phase: &load::Phase, job: &JobShape<'_>) -> Result<Work, Failure> {
    Work::of(rounds(phase, job))
}

fn rounds(phase: &load::Phase, job: &JobShape<'_>) -> Result<String, Failure> {
    let tracker = track(job.namespace)?;
    let manifest = job.manifest().to_string();
    let mut begun = 0;
    let mut completed = 0;
    loop {
        cluster::create(&manifest)?;
        begun += 1;
        if !reached(phase, &tracker, "complete", begun)? {
            break;
        }
        completed += 1;
        run::progress("Jobs completed beside the load", completed, 0);
        cluster::delete(&kind(), job.namespace, job.name)?;
        if !reached(phase, &tracker, "gone", begun)? || phase.ended_within(PAUSE_MS)? {
            break;
        }
    }
    tracker.report_latency(
        "job_completion",
        &[],
        "created",
        "complete",
        clock::RECEIVED,
    )?;
    run::report_metric("jobs_begun", begun as f64, "objects", &[]);
    run::report_metric("jobs_completed", completed as f64, "objects", &[]);
    Ok(format!(
        "beside them the Job of {} pods was completed {completed} times",
        job.pods
    ))
}

/// Whether so many Jobs reached the milestone before the load ended.
///
/// # Errors
/// A Job failed, or it took too long.
pub fn reached(
    phase: &load::Phase,
    tracker: &Tracker,
    milestone: &str,
    count: u64,
) -> Result<bool, Failure> {
    for _ in 0..PATIENCE_MS / LOOK_MS {
        match tracker.wait(milestone, count, LOOK_MS) {
            Ok(()) => return Ok(true),
            Err(failure) if failure.code == "timeout" => {}
            Err(failure) => return Err(failure),
        }
        let counts = tracker.counts();
        let failed = counts.milestones.iter().find(|one| one.name == "failed");
        if failed.is_some_and(|failed| failed.reached > 0) {
            return Err(Failure::new(
                "job",
                "a Job failed; its pods do not end as those on virtual nodes do",
            ));
        }
        if phase.ended_within(0)? {
            return Ok(false);
        }
    }
    Err(Failure::new(
        "timeout",
        format!(
            "{count} Jobs were to be {milestone} within {} minutes",
            PATIENCE_MS / 60_000
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_for_its_own_pool_and_has_a_ttl_only_if_asked() {
        let mut job = JobShape {
            namespace: "n",
            name: "batchjobs",
            pods: 100,
            parallelism: 10,
            pool: "node10job1pod100",
            ttl_seconds: None,
        };
        let manifest = job.manifest();
        assert_eq!(manifest["spec"]["completions"], 100);
        let pod = &manifest["spec"]["template"]["spec"];
        assert_eq!(pod["restartPolicy"], "Never");
        let affinity = pod["affinity"].to_string();
        assert!(affinity.contains("node10job1pod100"), "{affinity}");
        assert!(manifest["spec"].get("ttlSecondsAfterFinished").is_none());
        job.ttl_seconds = Some(0);
        assert_eq!(job.manifest()["spec"]["ttlSecondsAfterFinished"], 0);
    }
}
