//! Makes a pool: what is there already stays, what is missing is made.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use kperf_load::Stop;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    PoolEvent, PoolOptions, Progress, controller,
    error::PoolError,
    names::{CONTROLLER_LABEL, NAMESPACE, OWNER, OWNER_LABEL, POOL_LABEL, is_unserved, nodes_of},
    node, shared,
    spec::PoolSpec,
};
use crate::{
    api::{ApiFailure, Cluster, Code, Resource, Scope},
    bulk::{self, BulkOptions},
    operation::{Change, Operation},
    session::Session,
};

/// Between two looks at nodes.
const POLL: Duration = Duration::from_millis(500);
/// No node gets ready for so long: why is asked then.
const SILENCE: Duration = Duration::from_secs(15);
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
    let adding = Adding {
        session: Arc::new(Session::upkeep(cluster.clone(), stop.clone())),
        spec,
        options,
        progress,
        deadline: Instant::now() + options.timeout,
        silence: Mutex::new((0, Instant::now())),
    };
    adding.run().await
}

struct Adding<'a> {
    session: Arc<Session>,
    spec: &'a PoolSpec,
    options: &'a PoolOptions,
    progress: Progress<'a>,
    deadline: Instant,
    /// Nodes that were ready, and since when it is no more of them; or when that was last said.
    silence: Mutex<(u32, Instant)>,
}

/// What is there of a pool's nodes.
#[derive(Default)]
struct Seen {
    present: HashSet<String>,
    ready: u32,
}

impl Adding<'_> {
    async fn run(&self) -> Result<Added, PoolError> {
        let existed = self.check().await?;
        self.namespace().await?;
        self.controllers().await?;
        let found = self.look().await?.present.len();
        self.first().await?;
        let mut created = 0;
        // A cloud may remove nodes of which it knows nothing before they are ready: then they are made anew.
        loop {
            let seen = self.look().await?;
            let missing: Vec<u32> = (0..self.spec.nodes)
                .filter(|index| !seen.present.contains(&self.spec.node(*index)))
                .collect();
            created = created.max(self.spec.nodes.saturating_sub(count(found)));
            if !missing.is_empty() {
                self.create(&missing, seen.present.len()).await?;
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
        for (api_version, kind) in [("v1", "ConfigMap"), ("apps/v1", "StatefulSet")] {
            let what = format!("{kind} {NAMESPACE}/{}", spec.name);
            let object = match session.get(api_version, kind, NAMESPACE, &spec.name).await {
                Err(failure) if failure.code == Code::NotFound => continue,
                object => object.map_err(PoolError::api(&what))?,
            };
            let labels = &object["metadata"]["labels"];
            if labels[OWNER_LABEL] != OWNER || labels[POOL_LABEL] != spec.name.as_str() {
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
                let labels = &metadata["labels"];
                let is_of_pool = labels[POOL_LABEL] == spec.name.as_str();
                let is_ours = is_of_pool && labels[CONTROLLER_LABEL].is_string();
                if !is_ours && (is_of_pool || names.contains(name)) {
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
            if missing.is_empty() {
                self.pause(&seen).await?;
            } else {
                self.create(&missing, seen.present.len()).await?;
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

    async fn create(&self, indices: &[u32], present: usize) -> Result<(), PoolError> {
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
        let outcome = bulk::perform_each(&self.session, &bulk, operations, &|done, _| {
            (self.progress)(&PoolEvent::Creating {
                done: present as u64 + done,
                total: u64::from(self.spec.nodes),
            });
        })
        .await
        .map_err(PoolError::api("creating nodes"))?;
        match outcome.error {
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
                if !metadata["deletionTimestamp"].is_null() {
                    return;
                }
                let name = metadata["name"].as_str().unwrap_or_default();
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

    /// Waits before the next look, if there is time for one.
    async fn pause(&self, seen: &Seen) -> Result<(), PoolError> {
        if Instant::now() >= self.deadline {
            return Err(PoolError::NotReady {
                name: self.spec.name.clone(),
                ready: seen.ready,
                total: self.spec.nodes,
                within: self.options.timeout,
                why: self.what_controllers_say().await,
            });
        }
        if self.is_silent(seen.ready) {
            let why = self.what_controllers_say().await;
            (self.progress)(&PoolEvent::Trouble { why });
        }
        tokio::select! {
            () = self.session.stop().stopped() => Err(PoolError::Interrupted {
                name: self.spec.name.clone(),
            }),
            () = tokio::time::sleep(POLL) => Ok(()),
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
            troubles.extend(trouble(pod));
        }
        if troubles.is_empty() {
            format!("its controllers run; see their logs in {NAMESPACE}")
        } else {
            let shown: Vec<String> = troubles.into_iter().take(3).collect();
            format!("controllers in {NAMESPACE}: {}", shown.join("; "))
        }
    }
}

/// Why a pod does not run, if it does not.
fn trouble(pod: &Value) -> Option<String> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let status = &pod["status"];
    let of_container = |container: &Value| {
        let waiting = &container["state"]["waiting"];
        let reason = waiting["reason"].as_str()?;
        let message = waiting["message"].as_str().unwrap_or_default();
        Some(
            format!("{name} waits: {reason} {message}")
                .trim()
                .to_owned(),
        )
    };
    let containers = status["containerStatuses"].as_array().into_iter().flatten();
    if let Some(trouble) = containers.into_iter().find_map(of_container) {
        return Some(trouble);
    }
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let unscheduled = conditions
        .into_iter()
        .find(|c| c["type"] == "PodScheduled" && c["status"] == "False");
    if let Some(condition) = unscheduled {
        let message = condition["message"].as_str().unwrap_or_default();
        return Some(format!("{name} has no node: {message}"));
    }
    let phase = status["phase"].as_str().unwrap_or("Unknown");
    (phase != "Running").then(|| format!("{name} is {phase}"))
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
        assert_eq!(trouble(&pod(json!({"phase": "Running"}))), None);
        assert_eq!(
            trouble(&pod(json!({"phase": "Pending", "containerStatuses": [
                {"state": {"waiting": {"reason": "ErrImagePull", "message": "no such host"}}},
            ]}))),
            Some("a-0 waits: ErrImagePull no such host".to_owned())
        );
        assert_eq!(
            trouble(&pod(json!({"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"},
            ]}))),
            Some("a-0 has no node: 0/2 nodes are available".to_owned())
        );
        assert_eq!(
            trouble(&pod(json!({"phase": "Failed"}))),
            Some("a-0 is Failed".to_owned())
        );
    }
}
