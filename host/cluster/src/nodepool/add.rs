//! Makes a pool: what is there already stays, what is missing is made.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use kperf_load::Stop;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    PoolEvent, PoolOptions, Progress, controller,
    error::PoolError,
    names::{
        CLAIM_ANNOTATION, CLAIM_RUN_LABEL, CLUSTER_WIDE, NAMESPACE, POOL_LABEL, cluster_wide,
        is_node_of, is_of, is_unserved, nodes_of,
    },
    node, shared,
    spec::PoolSpec,
};
use crate::{
    api::{ApiFailure, Cluster, Code, Resource, Scope, patiently},
    bulk::{self, BulkOptions},
    operation::{Change, Operation},
    run::RunId,
    session::Session,
    trouble::trouble,
};

/// Between two looks at nodes, at first.
const POLL: Duration = Duration::from_millis(500);
/// The longest between two looks: whether nodes are ready the server tells with all of them whole only, which must not
/// be its main work while many get ready.
const SLOWEST_POLL: Duration = Duration::from_secs(3);
/// No node gets ready for so long: why is asked then.
const SILENCE: Duration = Duration::from_secs(15);
/// Longest that giving up a claim may take after that.
const RELEASE_WITHIN: Duration = Duration::from_secs(30);
const LOOKING: &str = "looking at nodes";

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Nodes that were created.
    pub created: u32,
    /// Nodes that were there.
    pub found: u32,
    /// Whether the pool was there, complete or not.
    pub existed: bool,
}

/// Makes the pool and waits until all its nodes are ready. A pool of the same shape is completed, one of another shape
/// is an error. What was made stays when it fails. Needs a tokio runtime.
///
/// # Errors
/// See [`PoolError`].
pub async fn add(
    cluster: &Cluster,
    spec: &PoolSpec,
    options: &PoolOptions,
    stop: &Stop,
    progress: Progress<'_>,
) -> Result<Added, PoolError> {
    spec.validate()?;
    let adding = Adding::new(cluster, spec, options, stop, progress);
    adding.run().await
}

/// Makes the record of a pool of which there is nothing yet, and nothing else: [`add`] then completes it. Of two who
/// claim the same pool one gets it. So who has claimed a pool may delete it, however far [`add`] got. The record says
/// which run that is, for [`super::claimed`].
///
/// # Errors
/// [`PoolError::Taken`] if there is anything of it; and see [`PoolError`]. After an error there is nothing to delete.
pub async fn claim(
    cluster: &Cluster,
    spec: &PoolSpec,
    run: &RunId,
    options: &PoolOptions,
    stop: &Stop,
) -> Result<(), PoolError> {
    spec.validate()?;
    let claiming = Adding::new(cluster, spec, options, stop, &|_| {});
    if claiming.check().await? {
        return Err(claiming.taken());
    }
    let made = match claiming.namespace().await {
        Ok(()) => claiming.record(run).await,
        failed => failed,
    };
    if !matches!(made, Ok(()) | Err(PoolError::Taken { .. })) {
        // The caller has nothing to delete, so that what the pools share would stay if nobody else uses it. Hears no
        // stop: that may be why there is no record.
        let unstopped = Session::upkeep(cluster.clone(), Stop::new());
        let released = tokio::time::timeout(RELEASE_WITHIN, shared::release(&unstopped)).await;
        if !matches!(released, Ok(Ok(()))) {
            tracing::warn!("what node pools share may be left, and goes with the next pool");
        }
    }
    made
}

struct Adding<'a> {
    session: Arc<Session>,
    spec: &'a PoolSpec,
    options: &'a PoolOptions,
    progress: Progress<'a>,
    deadline: Instant,
    /// Nodes that were ready, and since when it is no more of them; or when that was last said.
    silence: Mutex<(u32, Instant)>,
    poll: Mutex<Duration>,
}

/// Unlike those of all who claim pools at the same time.
fn claim_token() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanoseconds = now.map_or(0, |since| since.as_nanos());
    format!("{}-{nanoseconds}", std::process::id())
}

/// What is there of a pool's nodes.
#[derive(Default)]
struct Seen {
    present: HashSet<String>,
    ready: u32,
    /// Nodes on their way out, and the name of one: something is to be done before they may go.
    leaving: u32,
    one_leaving: String,
}

impl<'a> Adding<'a> {
    fn new(
        cluster: &Cluster,
        spec: &'a PoolSpec,
        options: &'a PoolOptions,
        stop: &Stop,
        progress: Progress<'a>,
    ) -> Self {
        Self {
            session: Arc::new(Session::upkeep(cluster.clone(), stop.clone())),
            spec,
            options,
            progress,
            deadline: Instant::now() + options.timeout,
            silence: Mutex::new((0, Instant::now())),
            poll: Mutex::new(POLL),
        }
    }

    async fn run(&self) -> Result<Added, PoolError> {
        let existed = self.check().await?;
        self.namespace().await?;
        self.controllers().await?;
        let found = self.look().await?.present.len();
        self.first().await?;
        let mut created = 0;
        let mut is_again = false;
        // A cloud may remove nodes of which it knows nothing before they are ready: then they are made anew, not
        // without end, since it may go on with that.
        loop {
            let seen = self.look().await?;
            let missing: Vec<u32> = (0..self.spec.nodes)
                .filter(|index| !seen.present.contains(&self.spec.node(*index)))
                .collect();
            created = created.max(self.spec.nodes.saturating_sub(count(found)));
            if !missing.is_empty() {
                if std::mem::replace(&mut is_again, true) {
                    self.pause(&seen).await?;
                }
                self.create(&missing, &seen).await?;
                continue;
            }
            (self.progress)(&PoolEvent::Waiting {
                ready: seen.ready,
                total: self.spec.nodes,
            });
            if seen.ready >= self.spec.nodes {
                break;
            }
            self.pause(&seen).await?;
        }
        Ok(Added {
            created,
            found: count(found),
            existed,
        })
    }

    /// That nothing else has the pool's names; whether it is there, in the same shape.
    async fn check(&self) -> Result<bool, PoolError> {
        let (session, spec) = (&self.session, self.spec);
        let foreign = |what: String| PoolError::Foreign {
            name: spec.name.clone(),
            what,
            advice: "choose another name, or remove it with what made it",
        };
        let mut existed = false;
        let wide = cluster_wide(&spec.name);
        let here = [("v1", "ConfigMap"), ("apps/v1", "StatefulSet")]
            .map(|(api_version, kind)| (api_version, kind, NAMESPACE, spec.name.as_str()));
        let at_large =
            CLUSTER_WIDE.map(|(api_version, kind)| (api_version, kind, "", wide.as_str()));
        for (api_version, kind, namespace, name) in here.into_iter().chain(at_large) {
            let what = if namespace.is_empty() {
                format!("{kind} {name}")
            } else {
                format!("{kind} {namespace}/{name}")
            };
            let object = match session.get(api_version, kind, namespace, name).await {
                Err(failure) if failure.code == Code::NotFound || is_unserved(&failure) => continue,
                object => object.map_err(|failure| self.failed(&what, failure))?,
            };
            if !is_of(&spec.name, &object["metadata"]) {
                return Err(foreign(what));
            }
            existed = true;
            if let Some(there) = controller::recorded(&object)
                && let Some(difference) = there.difference(spec)
            {
                return Err(PoolError::Exists {
                    name: spec.name.clone(),
                    difference,
                });
            }
        }
        let names: HashSet<String> = (0..spec.nodes).map(|index| spec.node(index)).collect();
        let mut stranger = None;
        let resource = self.nodes().await?;
        session
            .for_each_metadata(&resource, &Scope::default(), |metadata| {
                let name = metadata["name"].as_str().unwrap_or_default();
                let is_of_pool = metadata["labels"][POOL_LABEL] == spec.name.as_str();
                if is_node_of(&spec.name, metadata) {
                    existed = true;
                } else if is_of_pool || names.contains(name) {
                    stranger.get_or_insert_with(|| name.to_owned());
                }
            })
            .await
            .map_err(|failure| self.failed(LOOKING, failure))?;
        match stranger {
            Some(name) => Err(foreign(format!("node {name}"))),
            None => Ok(existed),
        }
    }

    /// The namespace, which may be on its way out because a last pool went.
    async fn namespace(&self) -> Result<(), PoolError> {
        while shared::is_terminating(&self.session)
            .await
            .map_err(PoolError::api(format!("namespace {NAMESPACE}")))?
        {
            if Instant::now() >= self.deadline {
                return Err(PoolError::Left {
                    name: self.spec.name.clone(),
                    left: format!(
                        "the namespace {NAMESPACE} of earlier pools, which is being deleted"
                    ),
                    within: self.options.timeout,
                });
            }
            self.pause(&Seen::default()).await?;
        }
        shared::ensure(&self.session).await
    }

    fn taken(&self) -> PoolError {
        PoolError::Taken {
            name: self.spec.name.clone(),
        }
    }

    /// Makes the record, which must not be there.
    async fn record(&self, run: &RunId) -> Result<(), PoolError> {
        let what = "making the record";
        let token = claim_token();
        let mut record = controller::record(self.spec)?;
        record["metadata"]["annotations"] = json!({CLAIM_ANNOTATION: token});
        record["metadata"]["labels"][CLAIM_RUN_LABEL] = run.as_str().into();
        let (cluster, stop) = (self.session.cluster(), self.session.stop());
        let resource = self
            .session
            .resource("v1", "ConfigMap")
            .await
            .map_err(|failure| self.failed(what, failure))?;
        // What is in flight is waited for: a record that nobody knows of would stay.
        let made = patiently(stop, || cluster.create(&resource, NAMESPACE, &record)).await;
        let Err(failure) = made else { return Ok(()) };
        // A try whose answer was lost may have made it.
        let unstopped = Stop::new();
        let there = patiently(&unstopped, || {
            cluster.get(&resource, NAMESPACE, &self.spec.name)
        });
        match there.await {
            Ok(there) if there["metadata"]["annotations"][CLAIM_ANNOTATION] == token.as_str() => {
                Ok(())
            }
            Ok(_) => Err(self.taken()),
            Err(_) => Err(self.failed(what, failure)),
        }
    }

    async fn controllers(&self) -> Result<(), PoolError> {
        (self.progress)(&PoolEvent::Controllers {
            count: self.spec.controllers(),
        });
        let mut objects = vec![controller::record(self.spec)?];
        objects.extend(controller::objects(self.spec));
        for object in objects {
            let what = format!(
                "{} {}",
                object["kind"].as_str().unwrap_or_default(),
                object["metadata"]["name"].as_str().unwrap_or_default()
            );
            match self.session.apply(&object.to_string()).await {
                Ok(_) => {}
                Err(failure) if is_unserved(&failure) && object["kind"] == "FlowSchema" => {}
                Err(failure) => return Err(PoolError::api(what)(failure)),
            }
        }
        Ok(())
    }

    /// Makes one node for each controller, and waits until they are played or the controllers run: nodes that nobody
    /// plays would be not ready for long, and a cloud may remove those.
    async fn first(&self) -> Result<(), PoolError> {
        let firsts: Vec<u32> = (0..self.spec.nodes)
            .step_by(usize::try_from(self.spec.nodes_per_controller).unwrap_or(usize::MAX))
            .collect();
        let mut is_again = false;
        loop {
            let seen = self.look().await?;
            if seen.ready >= count(firsts.len()) || self.do_controllers_run().await? {
                return Ok(());
            }
            let missing: Vec<u32> = firsts
                .iter()
                .copied()
                .filter(|index| !seen.present.contains(&self.spec.node(*index)))
                .collect();
            if missing.is_empty() || is_again {
                self.pause(&seen).await?;
            }
            if !missing.is_empty() {
                is_again = true;
                self.create(&missing, &seen).await?;
            }
        }
    }

    async fn do_controllers_run(&self) -> Result<bool, PoolError> {
        let set = self
            .session
            .get("apps/v1", "StatefulSet", NAMESPACE, &self.spec.name)
            .await
            .map_err(PoolError::api(format!("StatefulSet {}", self.spec.name)))?;
        let ready = set["status"]["readyReplicas"].as_u64().unwrap_or_default();
        Ok(ready >= u64::from(self.spec.controllers()))
    }

    /// Makes nodes, as many as there is time for.
    async fn create(&self, indices: &[u32], seen: &Seen) -> Result<(), PoolError> {
        let present = seen.present.len() as u64;
        let operations = indices.iter().map(|index| {
            Operation::of_manifest(Change::Apply, node::node(self.spec, *index).to_string())
        });
        let bulk = BulkOptions {
            name: format!("nodes of {}", self.spec.name),
            rate_per_sec: self.options.rate_per_sec,
            burst: self.options.burst,
            in_flight: 20,
            scheduled: false,
            stop_on_failure: true,
        };
        let progress = |done, _| {
            (self.progress)(&PoolEvent::Creating {
                done: present + done,
                total: u64::from(self.spec.nodes),
            });
        };
        let created = bulk::perform_each(&self.session, &bulk, operations, &progress);
        let Ok(outcome) = tokio::time::timeout_at(self.deadline, created).await else {
            return Err(self.not_ready(seen).await);
        };
        match outcome.map_err(PoolError::api("creating nodes"))?.error {
            Some(failure) => Err(self.failed("creating nodes", failure)),
            None => Ok(()),
        }
    }

    /// The pool's nodes as they are.
    async fn look(&self) -> Result<Seen, PoolError> {
        let scope = Scope {
            label_selector: nodes_of(&self.spec.name),
            ..Scope::default()
        };
        let mut seen = Seen::default();
        let resource = self.nodes().await?;
        self.session
            .for_each(&resource, &scope, |object| {
                let metadata = &object["metadata"];
                let name = metadata["name"].as_str().unwrap_or_default();
                if !metadata["deletionTimestamp"].is_null() {
                    seen.leaving += 1;
                    name.clone_into(&mut seen.one_leaving);
                    return;
                }
                if seen.present.insert(name.to_owned()) {
                    seen.ready += u32::from(node::is_ready(object));
                }
            })
            .await
            .map_err(|failure| self.failed(LOOKING, failure))?;
        Ok(seen)
    }

    async fn nodes(&self) -> Result<Arc<Resource>, PoolError> {
        self.session
            .resource("v1", "Node")
            .await
            .map_err(|failure| self.failed(LOOKING, failure))
    }

    fn failed(&self, what: &str, failure: ApiFailure) -> PoolError {
        if failure.code == Code::Interrupted {
            PoolError::Interrupted {
                name: self.spec.name.clone(),
            }
        } else {
            PoolError::api(what)(failure)
        }
    }

    /// Waits before the next look, longer each time, if there is time for one.
    async fn pause(&self, seen: &Seen) -> Result<(), PoolError> {
        if Instant::now() >= self.deadline {
            return Err(self.not_ready(seen).await);
        }
        if self.is_silent(seen.ready) {
            let why = self.what_controllers_say().await;
            (self.progress)(&PoolEvent::Trouble { why });
        }
        let poll = {
            let mut next = self.poll.lock();
            let poll = *next;
            *next = (poll * 2).min(SLOWEST_POLL);
            poll
        };
        tokio::select! {
            () = self.session.stop().stopped() => Err(PoolError::Interrupted {
                name: self.spec.name.clone(),
            }),
            () = tokio::time::sleep(poll) => Ok(()),
        }
    }

    async fn not_ready(&self, seen: &Seen) -> PoolError {
        let said = self.what_controllers_say().await;
        PoolError::NotReady {
            name: self.spec.name.clone(),
            ready: seen.ready,
            total: self.spec.nodes,
            within: self.options.timeout,
            why: match seen.leaving {
                0 => said,
                leaving => format!(
                    "{leaving} are being deleted and do not go, {} for example (see its finalizers); {said}",
                    seen.one_leaving
                ),
            },
        }
    }

    /// Whether no node has got ready for a while; true once in that while.
    fn is_silent(&self, ready: u32) -> bool {
        let (known, since) = &mut *self.silence.lock();
        if ready == *known && since.elapsed() < SILENCE {
            return false;
        }
        let is_silent = ready == *known;
        (*known, *since) = (ready, Instant::now());
        is_silent
    }

    /// For the message about nodes that do not get ready.
    async fn what_controllers_say(&self) -> String {
        let scope = Scope {
            namespace: NAMESPACE.to_owned(),
            label_selector: super::names::ours_of(&self.spec.name),
            ..Scope::default()
        };
        let pods = match self.session.list("v1", "Pod", &scope).await {
            Ok(pods) => pods,
            Err(failure) => return format!("its controllers cannot be looked at: {failure}"),
        };
        if pods.is_empty() {
            return format!("no controller of it has a pod in {NAMESPACE}");
        }
        let mut troubles = BTreeSet::new();
        for pod in &pods {
            troubles.extend(why_not(pod));
        }
        if troubles.is_empty() {
            format!("its controllers run; see their logs in {NAMESPACE}")
        } else {
            let shown: Vec<String> = troubles.into_iter().take(3).collect();
            format!("controllers in {NAMESPACE}: {}", shown.join("; "))
        }
    }
}

/// Why a pod does not run, if it does not: as all pods say it, or that it is not so far yet. Of controllers that is
/// something to say too, once no node has got ready for a while.
fn why_not(pod: &Value) -> Option<String> {
    if let Some(trouble) = trouble(pod) {
        return Some(trouble.to_string());
    }
    let phase = pod["status"]["phase"].as_str().unwrap_or("Unknown");
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    (phase != "Running").then(|| format!("{name}: {phase}"))
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_keeps_a_controller_from_running_is_said() {
        let pod = |status: Value| json!({"metadata": {"name": "a-0"}, "status": status});
        let waiting = |reason: &str| {
            let waiting = json!({"reason": reason, "message": "no such host"});
            json!({"phase": "Pending", "containerStatuses": [{"state": {"waiting": waiting}}]})
        };
        for (status, said) in [
            (json!({"phase": "Running"}), None),
            (
                waiting("ErrImagePull"),
                Some("a-0: ErrImagePull (no such host)"),
            ),
            (waiting("ContainerCreating"), Some("a-0: Pending")),
            (json!({"phase": "Failed"}), Some("a-0: Failed")),
            (json!({}), Some("a-0: Unknown")),
        ] {
            assert_eq!(why_not(&pod(status)).as_deref(), said);
        }
    }
}
