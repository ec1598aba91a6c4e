//! Whether a controller has all its pods, by what it says of itself.
//!
//! ClusterLoader2 counts the pods; the status of a controller says the same a moment later and costs one watch of few
//! objects instead of one of many.

use serde_json::Value;

/// What a tracker captures of a controller, in the order of [`Controller`]'s fields.
pub const CAPTURES: [&str; 6] = [
    "/metadata/generation",
    "/spec/replicas",
    "/spec/parallelism",
    "/spec/completions",
    "/spec/selector",
    "/status",
];

/// A controller as last seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Controller {
    generation: u64,
    replicas: u64,
    parallelism: u64,
    completions: Option<u64>,
    selector: Value,
    status: Value,
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whether pods of an older template do not count.
    pub updated: bool,
    /// How many pods may be missing.
    pub margin: u64,
}

impl Controller {
    /// From what a tracker captured.
    pub fn new(captures: &[String]) -> Self {
        let value = |at: usize| -> Value {
            captures
                .get(at)
                .and_then(|json| serde_json::from_str(json).ok())
                .unwrap_or_default()
        };
        Self {
            generation: value(0).as_u64().unwrap_or(0),
            replicas: value(1).as_u64().unwrap_or(1),
            parallelism: value(2).as_u64().unwrap_or(1),
            completions: value(3).as_u64(),
            selector: value(4),
            status: value(5),
        }
    }

    fn status(&self, key: &str) -> u64 {
        self.status.get(key).and_then(Value::as_u64).unwrap_or(0)
    }

    /// What it lacks; `None` = nothing, it has the pods it shall have.
    pub fn shortfall(&self, kind: &str, wanted: Wanted) -> Option<String> {
        if kind == "Job" {
            // Its status counts no generation. Pods that have succeeded are done, not missing.
            let desired = self
                .completions
                .map_or(self.parallelism, |all| all.min(self.parallelism));
            let (ready, succeeded) = (self.status("ready"), self.status("succeeded"));
            let enough = ready + succeeded + wanted.margin >= desired;
            return (!enough)
                .then(|| format!("{ready} of {desired} pods are ready, {succeeded} succeeded"));
        }
        let observed = self.status("observedGeneration");
        if observed < self.generation {
            return Some(format!(
                "its controller has seen generation {observed} of {}",
                self.generation
            ));
        }
        let (desired, there, ready, updated) = match kind {
            "DaemonSet" => (
                self.status("desiredNumberScheduled"),
                self.status("currentNumberScheduled"),
                self.status("numberReady"),
                self.status("updatedNumberScheduled"),
            ),
            _ => (
                self.replicas,
                self.status("replicas"),
                self.status("readyReplicas"),
                self.status("updatedReplicas"),
            ),
        };
        let has_updated = matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet");
        let enough = |pods: u64| pods + wanted.margin >= desired;
        if there > desired {
            return Some(format!("{there} pods are there, {desired} shall be"));
        }
        if !enough(ready) {
            return Some(format!("{ready} of {desired} pods are ready"));
        }
        if has_updated && wanted.updated && !enough(updated) {
            return Some(format!("{updated} of {desired} pods are updated"));
        }
        None
    }

    /// The label selector of its pods, as kubectl writes it; `None` if it has none that can be written.
    pub fn pod_selector(&self, kind: &str) -> Option<String> {
        let labels = match kind {
            "ReplicationController" => &self.selector,
            _ => self.selector.get("matchLabels")?,
        };
        let terms: Vec<String> = labels
            .as_object()?
            .iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
            .collect();
        (!terms.is_empty()).then(|| terms.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const EXACT: Wanted = Wanted {
        updated: true,
        margin: 0,
    };

    fn controller(generation: u64, spec: &Value, status: Value) -> Controller {
        let text = |value: &Value| match value {
            Value::Null => String::new(),
            value => value.to_string(),
        };
        Controller::new(&[
            generation.to_string(),
            text(&spec["replicas"]),
            text(&spec["parallelism"]),
            text(&spec["completions"]),
            text(&spec["selector"]),
            text(&status),
        ])
    }

    #[test]
    fn a_deployment_is_done_when_new_pods_are_ready() {
        let of = |status| controller(2, &json!({"replicas": 3}), status);
        let done = json!({"observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3});
        assert_eq!(of(done.clone()).shortfall("Deployment", EXACT), None);
        for (key, value, word) in [
            ("observedGeneration", 1, "generation"),
            ("readyReplicas", 2, "ready"),
            ("updatedReplicas", 1, "updated"),
            ("replicas", 4, "shall be"),
        ] {
            let mut status = done.clone();
            status[key] = json!(value);
            let shortfall = of(status).shortfall("Deployment", EXACT).unwrap();
            assert!(shortfall.contains(word), "{shortfall}");
        }
        let mut old = done;
        old["updatedReplicas"] = json!(0);
        old["readyReplicas"] = json!(2);
        let lenient = Wanted {
            updated: false,
            margin: 1,
        };
        assert_eq!(of(old).shortfall("Deployment", lenient), None);
        // Right after its creation there is no status at all.
        assert!(of(Value::Null).shortfall("Deployment", EXACT).is_some());
    }

    #[test]
    fn replicas_default_to_one() {
        let status = json!({"observedGeneration": 1, "replicas": 1, "readyReplicas": 1});
        let one = controller(1, &json!({}), status);
        assert_eq!(one.shortfall("ReplicaSet", EXACT), None);
        assert!(
            one.shortfall("StatefulSet", EXACT).is_some(),
            "none is updated"
        );
    }

    #[test]
    fn a_daemon_set_and_a_job_count_otherwise() {
        let status = json!({
            "observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
            "numberReady": 2, "updatedNumberScheduled": 2
        });
        assert_eq!(
            controller(1, &json!({}), status).shortfall("DaemonSet", EXACT),
            None
        );
        let job = |status| {
            controller(1, &json!({"parallelism": 5, "completions": 3}), status)
                .shortfall("Job", EXACT)
        };
        assert_eq!(job(json!({"ready": 2, "succeeded": 1})), None);
        assert!(job(json!({"ready": 2})).unwrap().contains("2 of 3"));
    }

    #[test]
    fn pods_are_found_by_the_selector() {
        let of = |selector: Value| controller(1, &json!({ "selector": selector }), Value::Null);
        let labels = json!({"matchLabels": {"app": "a", "tier": "b"}});
        assert_eq!(
            of(labels).pod_selector("Deployment").unwrap(),
            "app=a,tier=b"
        );
        let plain = of(json!({"app": "a"}));
        assert_eq!(
            plain.pod_selector("ReplicationController").unwrap(),
            "app=a"
        );
        assert_eq!(of(json!({})).pod_selector("Job"), None);
    }
}
