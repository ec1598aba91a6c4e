//! The pods to create: kperf's, with a label that finds them again.

use kperf_sdk::generator::Part;
use kperf_sdk::serde_json::{Value, json};

use crate::names::Names;

/// Where a part of the body that differs from pod to pod goes, until the text is cut there.
const NUMBER: &str = "\u{1}number\u{1}";
const PAYLOAD: &str = "\u{1}payload\u{1}";

/// A pod's JSON, cut where name and payload go.
#[derive(Debug)]
pub(crate) struct PodBody {
    before: String,
    between: String,
    after: String,
}

impl PodBody {
    pub(crate) fn new(namespace: &str, names: &Names, virtual_nodes: bool) -> Self {
        let text = pod(namespace, names, virtual_nodes).to_string();
        let mark = |mark| Value::from(mark).to_string().replace('"', "");
        // The namespace is the user's and may hold anything, even these marks. It stands after the name and before
        // the payload, so that the last payload and the first number are ours.
        let (rest, after) = text.rsplit_once(&mark(PAYLOAD)).unwrap_or((&text, ""));
        let (before, between) = rest.split_once(&mark(NUMBER)).unwrap_or((rest, ""));
        Self {
            before: before.to_owned(),
            between: between.to_owned(),
            after: after.to_owned(),
        }
    }

    /// The body of the pod with this number.
    #[inline]
    pub(crate) fn of(&self, number: u64, payload: impl Part) -> impl Part {
        (&self.before, number, &self.between, payload, &self.after)
    }
}

fn pod(namespace: &str, names: &Names, virtual_nodes: bool) -> Value {
    let mut spec = json!({
        "containers": [{
            "name": "fake-container",
            "image": "registry.k8s.io/pause:3.10",
            "env": [{"name": "PAYLOAD", "value": PAYLOAD}],
        }],
    });
    if virtual_nodes && let Some(spec) = spec.as_object_mut() {
        spec.insert(
            "nodeSelector".to_owned(),
            json!({"type": "kperf-virtualnodes"}),
        );
        spec.insert(
            "tolerations".to_owned(),
            json!([{"key": "kperf.io/nodepool", "operator": "Exists", "effect": "NoSchedule"}]),
        );
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": format!("{}{NUMBER}", names.prefix()),
            "namespace": namespace,
            "labels": {"app": "fake-pod", "kperf.io/run": names.run_label()},
        },
        "spec": spec,
    })
}
