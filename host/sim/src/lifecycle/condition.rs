//! Conditions in a status.

use serde_json::{Value, json};

use crate::defaults;

/// A condition as controllers write it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition<'a> {
    pub(super) kind: &'a str,
    pub(super) status: bool,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
}

/// Sets a condition in the status of an object. `lastTransitionTime` moves only with the condition's status.
pub(super) fn set(object: &mut Value, condition: Condition<'_>, now: &str) {
    let mut next = json!({
        "type": condition.kind,
        "status": if condition.status { "True" } else { "False" },
        "lastTransitionTime": now,
    });
    for (key, text) in [("reason", condition.reason), ("message", condition.message)] {
        if !text.is_empty() {
            next[key] = json!(text);
        }
    }
    let conditions = defaults::object(object, "status")
        .entry("conditions")
        .or_insert_with(|| json!([]));
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(list) = conditions.as_array_mut() else {
        return;
    };
    match list.iter_mut().find(|c| c["type"] == condition.kind) {
        Some(existing) => {
            if existing["status"] == next["status"] && existing["lastTransitionTime"].is_string() {
                next["lastTransitionTime"] = existing["lastTransitionTime"].clone();
            }
            *existing = next;
        }
        None => list.push(next),
    }
}

/// Whether a condition of an object is True.
pub(super) fn is_true(object: &Value, kind: &str) -> bool {
    object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|c| c["type"] == kind && c["status"] == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_with_the_status() {
        let mut object = json!({});
        let ready = |status| Condition {
            kind: "Ready",
            status,
            reason: "R",
            message: "",
        };
        set(&mut object, ready(true), "1");
        set(&mut object, ready(true), "2");
        assert_eq!(object["status"]["conditions"][0]["lastTransitionTime"], "1");
        assert!(is_true(&object, "Ready"));
        set(&mut object, ready(false), "3");
        assert_eq!(
            object["status"]["conditions"],
            json!([{"type": "Ready", "status": "False", "reason": "R", "lastTransitionTime": "3"}])
        );
    }
}
