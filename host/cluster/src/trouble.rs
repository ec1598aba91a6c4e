//! Why a pod does not run, from its status.

use serde_json::Value;

/// What keeps a pod from running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Name of the pod.
    pub pod: String,
    /// As Kubernetes says it: `ImagePullBackOff`, `CrashLoopBackOff`, `Unschedulable`, …
    pub reason: String,
    /// What Kubernetes says about it, and how the container ended.
    pub message: String,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.pod, self.reason)?;
        if !self.message.is_empty() {
            write!(f, " ({})", self.message)?;
        }
        Ok(())
    }
}

/// Reasons to wait that are none to worry.
const COMING_UP: &[&str] = &["ContainerCreating", "PodInitializing"];

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What is wrong with a pod, if anything is. A pod that is being made, runs or has succeeded is fine.
#[must_use]
pub fn trouble(pod: &Value) -> Option<Trouble> {
    let status = &pod["status"];
    let of = |reason: String, message: String| {
        Some(Trouble {
            pod: text(&pod["metadata"]["name"]),
            reason,
            message,
        })
    };
    for key in ["initContainerStatuses", "containerStatuses"] {
        for container in status[key].as_array().into_iter().flatten() {
            let waiting = &container["state"]["waiting"];
            let reason = text(&waiting["reason"]);
            if !reason.is_empty() && !COMING_UP.contains(&reason.as_str()) {
                let mut message = text(&waiting["message"]);
                let last = &container["lastState"]["terminated"];
                if last.is_object() {
                    message = format!("{}; {message}", ended(last));
                }
                return of(reason, message);
            }
            let terminated = &container["state"]["terminated"];
            if terminated["exitCode"]
                .as_i64()
                .is_some_and(|code| code != 0)
            {
                return of(text(&terminated["reason"]), ended(terminated));
            }
        }
    }
    if status["phase"] == "Failed" {
        let reason = text(&status["reason"]);
        let reason = if reason.is_empty() {
            "Failed".to_owned()
        } else {
            reason
        };
        return of(reason, text(&status["message"]));
    }
    status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "PodScheduled" && condition["status"] == "False")
        .and_then(|condition| of(text(&condition["reason"]), text(&condition["message"])))
}

fn ended(terminated: &Value) -> String {
    let mut said = format!("it ended with exit code {}", terminated["exitCode"]);
    let message = text(&terminated["message"]);
    if !message.is_empty() {
        said.push_str(&format!(": {}", message.trim_end()));
    }
    said
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn troubles_are_told_from_coming_up() {
        let waiting = |reason: &str| json!({"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "why"}}}]});
        let crash = json!({"containerStatuses": [{
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
            "lastState": {"terminated": {"exitCode": 2, "message": "no config\n"}},
        }]});
        let unschedulable = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"},
        ]});
        for (status, expected) in [
            (json!({}), None),
            (
                json!({"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}),
                None,
            ),
            (waiting("ContainerCreating"), None),
            (
                json!({"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"exitCode": 0}}}]}),
                None,
            ),
            (
                waiting("ImagePullBackOff"),
                Some("p: ImagePullBackOff (why)"),
            ),
            (
                waiting("CreateContainerConfigError"),
                Some("p: CreateContainerConfigError (why)"),
            ),
            (
                crash,
                Some("p: CrashLoopBackOff (it ended with exit code 2: no config; back-off)"),
            ),
            (unschedulable, Some("p: Unschedulable (0/2 nodes)")),
            (
                json!({"phase": "Failed", "reason": "Evicted", "message": "disk"}),
                Some("p: Evicted (disk)"),
            ),
            (
                json!({"containerStatuses": [{"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}),
                Some("p: OOMKilled (it ended with exit code 137)"),
            ),
        ] {
            let found = trouble(&json!({"metadata": {"name": "p"}, "status": status}));
            assert_eq!(
                found.map(|found| found.to_string()).as_deref(),
                expected,
                "{status}"
            );
        }
    }
}
