//! What was found of a run, and why it is still there.

use serde_json::Value;

/// One labelled object.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// Whether it was asked to go.
    pub(super) leaving: bool,
    pub(super) holding: String,
}

impl Found {
    pub(super) fn new(metadata: &Value) -> Self {
        let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
        Self {
            namespace: text("namespace"),
            name: text("name"),
            uid: text("uid"),
            leaving: !metadata["deletionTimestamp"].is_null(),
            holding: holding(metadata),
        }
    }
}

fn holding(metadata: &Value) -> String {
    let finalizers: Vec<&str> = metadata["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    match (
        metadata["deletionTimestamp"].is_null(),
        finalizers.as_slice(),
    ) {
        (true, _) => "not deleted yet".to_owned(),
        (false, []) => "being deleted".to_owned(),
        (false, [one]) => format!("waits for finalizer {one}"),
        (false, several) => format!("waits for finalizers {}", several.join(", ")),
    }
}

/// Why a namespace is still there: what its conditions say of its content, else its own finalizers.
pub(crate) fn what_holds(namespace: &Value) -> String {
    let said: Vec<&str> = namespace["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|condition| condition["status"] == "True")
        .filter_map(|condition| condition["message"].as_str())
        .collect();
    if said.is_empty() {
        holding(&namespace["metadata"])
    } else {
        said.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_holds_is_said() {
        let at = "2026-01-01T00:00:00Z";
        for (metadata, holding) in [
            (json!({}), "not deleted yet"),
            (json!({"finalizers": ["a"]}), "not deleted yet"),
            (json!({"deletionTimestamp": at}), "being deleted"),
            (
                json!({"deletionTimestamp": at, "finalizers": ["x.io/a"]}),
                "waits for finalizer x.io/a",
            ),
            (
                json!({"deletionTimestamp": at, "finalizers": ["a", "b"]}),
                "waits for finalizers a, b",
            ),
        ] {
            assert_eq!(Found::new(&metadata).holding, holding);
        }
        let namespace = json!({
            "metadata": {"deletionTimestamp": at},
            "status": {"conditions": [
                {"type": "NamespaceDeletionDiscoveryFailure", "status": "False", "message": "fine"},
                {"type": "NamespaceFinalizersRemaining", "status": "True", "message": "x.io/a in 1 instances"},
            ]},
        });
        assert_eq!(what_holds(&namespace), "x.io/a in 1 instances");
    }
}
