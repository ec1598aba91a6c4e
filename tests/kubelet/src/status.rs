//! What the API server is told about a pod.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::{
    api,
    container::{Container, Exit, State},
};

/// Where a pod is, and since when.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) node: Ipv4Addr,
    pub(crate) pod: Ipv4Addr,
    pub(crate) started: String,
}

/// How far a pod is, from its containers and their restart policy.
pub(crate) fn phase(init: &[Container], main: &[Container], policy: &str) -> &'static str {
    let failed = |container: &Container| container.exit().is_some_and(|exit| exit.code != 0);
    if init.iter().any(failed) && policy == "Never" {
        return "Failed";
    }
    let is_initialized = init.iter().all(|container| container.exit().is_some());
    let has_begun = |container: &Container| {
        container.exit().is_some()
            || container.restarts > 0
            || matches!(container.state, State::Running { .. })
    };
    if !is_initialized || !main.iter().all(has_begun) {
        return "Pending";
    }
    let is_over = |container: &Container| match container.exit() {
        Some(exit) => match policy {
            "Never" => true,
            "OnFailure" => exit.code == 0,
            _ => false,
        },
        None => false,
    };
    if !main.iter().all(is_over) {
        return "Running";
    }
    if main.iter().any(failed) {
        "Failed"
    } else {
        "Succeeded"
    }
}

/// The status of a pod, as a strategic merge patch.
pub(crate) fn status(place: &Place, init: &[Container], main: &[Container], phase: &str) -> Value {
    let is_initialized = init.iter().all(|container| container.exit().is_some());
    let is_ready = phase == "Running" && main.iter().all(Container::is_running);
    let reason = match phase {
        "Succeeded" | "Failed" => Some("PodCompleted"),
        _ if is_ready => None,
        _ => Some("ContainersNotReady"),
    };
    let condition = |kind: &str, holds: bool, reason: Option<&str>| {
        json!({
            "type": kind,
            "status": if holds { "True" } else { "False" },
            "reason": reason,
            "lastTransitionTime": api::now(),
        })
    };
    json!({"status": {
        "phase": phase,
        "hostIP": place.node,
        "hostIPs": [{"ip": place.node}],
        "podIP": place.pod,
        "podIPs": [{"ip": place.pod}],
        "startTime": place.started,
        "conditions": [
            condition("Initialized", is_initialized, None),
            condition("ContainersReady", is_ready, reason),
            condition("Ready", is_ready, reason),
        ],
        "initContainerStatuses": init.iter().map(container).collect::<Vec<_>>(),
        "containerStatuses": main.iter().map(container).collect::<Vec<_>>(),
    }})
}

fn container(container: &Container) -> Value {
    let state = match &container.state {
        State::Waiting { reason, message } => {
            json!({"waiting": {"reason": reason, "message": message}})
        }
        State::Running { since } => json!({"running": {"startedAt": since}}),
        State::Terminated(exit) => json!({"terminated": terminated(exit)}),
    };
    let last = container.last.as_ref().map(terminated);
    let image = &container.spec["image"];
    json!({
        "name": container.name(),
        "image": image,
        "imageID": image,
        "ready": container.is_running(),
        "started": container.is_running(),
        "restartCount": container.restarts,
        "state": state,
        "lastState": last.map_or_else(|| json!({}), |last| json!({"terminated": last})),
    })
}

fn terminated(exit: &Exit) -> Value {
    json!({
        "exitCode": exit.code,
        "reason": exit.reason,
        "message": exit.message,
        "startedAt": exit.started,
        "finishedAt": exit.finished,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn containers(states: &[Option<i32>]) -> Vec<Container> {
        let of = |state: &Option<i32>| {
            let mut container = Container::new(&json!({"name": "c", "image": "i"}));
            container.state = match state {
                None => State::Running { since: api::now() },
                Some(code) => State::Terminated(Exit {
                    code: *code,
                    reason: String::new(),
                    message: String::new(),
                    started: api::now(),
                    finished: api::now(),
                }),
            };
            container
        };
        states.iter().map(of).collect()
    }

    #[test]
    fn phases_follow_the_restart_policy() {
        for (init, main, policy, expected) in [
            (&[][..], &[None][..], "Always", "Running"),
            (&[], &[Some(0)], "Always", "Running"),
            (&[], &[Some(0)], "OnFailure", "Succeeded"),
            (&[], &[Some(1)], "OnFailure", "Running"),
            (&[], &[Some(1)], "Never", "Failed"),
            (&[], &[Some(0), Some(0)], "Never", "Succeeded"),
            (&[], &[Some(0), Some(2)], "Never", "Failed"),
            (&[], &[Some(1), None], "Never", "Running"),
            (&[None], &[None], "Never", "Pending"),
            (&[Some(1)], &[None], "Never", "Failed"),
            (&[Some(0)], &[None], "Never", "Running"),
        ] {
            let phase = phase(&containers(init), &containers(main), policy);
            assert_eq!(phase, expected, "{init:?} {main:?} {policy}");
        }
        let waiting = [Container::new(&json!({"name": "c"}))];
        assert_eq!(phase(&[], &waiting, "Always"), "Pending");
    }
}
