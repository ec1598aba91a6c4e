//! A Job on virtual nodes: made, waited for, deleted, and again.

use std::{sync::Arc, time::Duration};

use kperf_cluster::{
    Session,
    api::{ApiFailure, Code},
    nodepool::{POOL_LABEL, TAINT_KEY},
};
use serde_json::{Value, json};
use tokio::time::Instant;

const NAME: &str = "batchjobs";
const POLL: Duration = Duration::from_millis(500);
const COMPLETE_WITHIN: Duration = Duration::from_secs(15 * 60);
const GONE_WITHIN: Duration = Duration::from_secs(5 * 60);

/// What is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// Made for it, and removed with it.
    pub namespace: String,
    /// The node pool whose nodes take the pods.
    pub pool: String,
    /// Pods of each Job.
    pub pods: u32,
    /// Pods at once.
    pub parallelism: u32,
    /// Before each Job.
    pub pause: Duration,
}

impl Default for JobSpec {
    /// kperf's: 3000 pods, 100 at once.
    fn default() -> Self {
        Self {
            namespace: "warmupjob".to_owned(),
            pool: "warmup".to_owned(),
            pods: 3000,
            parallelism: 100,
            pause: Duration::from_secs(5),
        }
    }
}

/// How often it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Repeated {
    /// Jobs that were completed.
    pub(super) jobs: u64,
    /// What ended it, if that was no stop.
    pub(super) failure: Option<String>,
}

/// Repeats it in its namespace, which is there, until the session is stopped. What is there then is for the run's clean-up.
pub(super) async fn repeat(session: Arc<Session>, spec: JobSpec) -> Repeated {
    let mut repeated = Repeated::default();
    let ended = async {
        loop {
            pause(&session, spec.pause).await?;
            once(&session, &spec).await?;
            repeated.jobs += 1;
        }
    };
    let ended: Result<(), String> = ended.await;
    if !session.stop().is_stopped() {
        repeated.failure = ended.err();
    }
    repeated
}

async fn once(session: &Session, spec: &JobSpec) -> Result<(), String> {
    let said = |failure: ApiFailure| failure.to_string();
    session.create(&job(spec).to_string()).await.map_err(said)?;
    let end = Instant::now() + COMPLETE_WITHIN;
    loop {
        let job = session
            .get("batch/v1", "Job", &spec.namespace, NAME)
            .await
            .map_err(said)?;
        let has = |kind: &str| {
            let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
            conditions
                .into_iter()
                .any(|c| c["type"] == kind && c["status"] == "True")
        };
        if has("Complete") {
            break;
        }
        if has("Failed") {
            return Err("it failed".to_owned());
        }
        if Instant::now() >= end {
            let done = &job["status"]["succeeded"];
            return Err(format!(
                "{done} of {} pods are done after {} s",
                spec.pods,
                COMPLETE_WITHIN.as_secs()
            ));
        }
        pause(session, POLL).await?;
    }
    session
        .delete("batch/v1", "Job", &spec.namespace, NAME)
        .await
        .map_err(said)?;
    let end = Instant::now() + GONE_WITHIN;
    loop {
        match session.get("batch/v1", "Job", &spec.namespace, NAME).await {
            Err(failure) if failure.code == Code::NotFound => return Ok(()),
            Err(failure) => return Err(said(failure)),
            Ok(_) if Instant::now() >= end => {
                return Err(format!(
                    "it is not deleted after {} s",
                    GONE_WITHIN.as_secs()
                ));
            }
            Ok(_) => pause(session, POLL).await?,
        }
    }
}

async fn pause(session: &Session, time: Duration) -> Result<(), String> {
    tokio::select! {
        () = session.stop().stopped() => Err("stopped".to_owned()),
        () = tokio::time::sleep(time) => Ok(()),
    }
}

fn job(spec: &JobSpec) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": NAME, "namespace": spec.namespace},
        "spec": {
            "completions": spec.pods,
            "parallelism": spec.parallelism,
            "template": {
                "metadata": {"labels": {"app": "fake-pod"}},
                "spec": {
                    "restartPolicy": "Never",
                    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{
                            "matchExpressions": [{"key": POOL_LABEL, "operator": "In", "values": [spec.pool]}],
                        }],
                    }}},
                    "tolerations": [{"key": TAINT_KEY, "operator": "Exists", "effect": "NoSchedule"}],
                    "containers": [{"name": "fake-container", "image": "fake-image"}],
                },
            },
        },
    })
}
