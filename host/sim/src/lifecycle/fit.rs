//! Whether a pod may run on a node: selectors, node affinity, taints and tolerations.

use serde_json::Value;

/// What of a node pods choose by.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct NodeFacts {
    pub(super) name: String,
    pub(super) labels: Value,
    pub(super) taints: Vec<Taint>,
    pub(super) cordoned: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taint {
    key: String,
    value: String,
    effect: String,
}

impl NodeFacts {
    pub(super) fn read(node: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            name: text(&node["metadata"]["name"]),
            labels: node["metadata"]["labels"].clone(),
            taints: node["spec"]["taints"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|taint| Taint {
                    key: text(&taint["key"]),
                    value: text(&taint["value"]),
                    effect: text(&taint["effect"]),
                })
                .collect(),
            cordoned: node["spec"]["unschedulable"] == true,
        }
    }

    pub(super) fn evicts(&self) -> bool {
        self.taints.iter().any(|taint| taint.effect == "NoExecute")
    }
}

/// What of a pod decides where it may run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Constraints {
    selector: Value,
    /// `nodeSelectorTerms` of the required node affinity: one must match.
    terms: Value,
    tolerations: Value,
}

/// Taints a DaemonSet's pods tolerate unasked.
const DAEMON_TAINTS: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// The tolerations a DaemonSet adds to its pods.
pub(super) fn daemon_tolerations() -> impl Iterator<Item = Value> {
    DAEMON_TAINTS.iter().map(
        |(key, effect)| serde_json::json!({"key": key, "operator": "Exists", "effect": effect}),
    )
}

fn required_terms(spec: &Value) -> &Value {
    &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
}

/// The only node a pod's affinity allows, as DaemonSets write it.
pub(super) fn pinned_to(spec: &Value) -> Option<String> {
    let [term] = required_terms(spec).as_array()?.as_slice() else {
        return None;
    };
    let [field] = term["matchFields"].as_array()?.as_slice() else {
        return None;
    };
    let [name] = field["values"].as_array()?.as_slice() else {
        return None;
    };
    (field["key"] == "metadata.name" && field["operator"] == "In")
        .then(|| name.as_str().map(str::to_owned))?
}

impl Constraints {
    pub(super) fn read(spec: &Value) -> Self {
        Self {
            selector: spec["nodeSelector"].clone(),
            terms: required_terms(spec).clone(),
            tolerations: spec["tolerations"].clone(),
        }
    }

    /// The same text for the same constraints.
    pub(super) fn signature(&self) -> String {
        format!("{}\n{}\n{}", self.selector, self.terms, self.tolerations)
    }

    /// Why the node is no choice; `None` when it is one.
    pub(super) fn refusal(&self, node: &NodeFacts) -> Option<&'static str> {
        if node.cordoned && !self.tolerates("node.kubernetes.io/unschedulable", "", "NoSchedule") {
            return Some("node(s) were unschedulable");
        }
        if !self.selects(node) {
            return Some("node(s) didn't match Pod's node affinity/selector");
        }
        let untolerated = node.taints.iter().any(|taint| {
            matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
                && !self.tolerates(&taint.key, &taint.value, &taint.effect)
        });
        untolerated.then_some("node(s) had untolerated taint(s)")
    }

    /// Whether a pod that runs on the node may stay.
    pub(super) fn endures(&self, node: &NodeFacts) -> bool {
        node.taints
            .iter()
            .filter(|taint| taint.effect == "NoExecute")
            .all(|taint| self.tolerates(&taint.key, &taint.value, &taint.effect))
    }

    fn selects(&self, node: &NodeFacts) -> bool {
        let selected = self
            .selector
            .as_object()
            .is_none_or(|wanted| wanted.iter().all(|(k, v)| node.labels.get(k) == Some(v)));
        let matches = self.terms.as_array().is_none_or(|terms| {
            terms.iter().any(|term| {
                let labels = |key: &str| node.labels.get(key).and_then(Value::as_str);
                let fields = |key: &str| (key == "metadata.name").then_some(node.name.as_str());
                let (expressions, on_fields) = (&term["matchExpressions"], &term["matchFields"]);
                // A term without requirements matches nothing.
                let any = [expressions, on_fields]
                    .iter()
                    .any(|list| list.as_array().is_some_and(|list| !list.is_empty()));
                any && all_match(expressions, labels) && all_match(on_fields, fields)
            })
        });
        selected && matches
    }

    fn tolerates(&self, key: &str, value: &str, effect: &str) -> bool {
        self.tolerations
            .as_array()
            .into_iter()
            .flatten()
            .any(|toleration| {
                let text = |field: &str| toleration[field].as_str().unwrap_or_default();
                let exists = text("operator") == "Exists";
                (text("effect").is_empty() || text("effect") == effect)
                    && (text("key") == key || (text("key").is_empty() && exists))
                    && (exists || text("value") == value)
            })
    }
}

fn all_match<'a>(requirements: &Value, found: impl Fn(&str) -> Option<&'a str>) -> bool {
    requirements
        .as_array()
        .into_iter()
        .flatten()
        .all(|requirement| {
            let value = found(requirement["key"].as_str().unwrap_or_default());
            let values = &requirement["values"];
            let among = || {
                let values = values.as_array().into_iter().flatten();
                value.is_some_and(|value| values.into_iter().any(|v| v == value))
            };
            let compared = |fits: fn(&i64, &i64) -> bool| {
                let bound: Option<i64> = values[0].as_str().and_then(|v| v.parse().ok());
                let value: Option<i64> = value.and_then(|v| v.parse().ok());
                matches!((value, bound), (Some(value), Some(bound)) if fits(&value, &bound))
            };
            match requirement["operator"].as_str() {
                Some("In") => among(),
                Some("NotIn") => !among(),
                Some("Exists") => value.is_some(),
                Some("DoesNotExist") => value.is_none(),
                Some("Gt") => compared(i64::gt),
                Some("Lt") => compared(i64::lt),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node() -> NodeFacts {
        NodeFacts::read(&json!({
            "metadata": {"name": "n", "labels": {"zone": "a", "size": "5"}},
            "spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]},
        }))
    }

    fn fits(spec: &Value) -> bool {
        Constraints::read(spec).refusal(&node()).is_none()
    }

    #[test]
    fn taints_need_tolerations() {
        assert!(!fits(&json!({})));
        for toleration in [
            json!({"operator": "Exists"}),
            json!({"key": "k", "operator": "Exists"}),
            json!({"key": "k", "value": "v", "effect": "NoSchedule"}),
            json!({"key": "k", "operator": "Equal", "value": "v"}),
        ] {
            assert!(fits(&json!({"tolerations": [toleration]})), "{toleration}");
        }
        for toleration in [
            json!({"key": "other", "operator": "Exists"}),
            json!({"key": "k", "value": "w"}),
            json!({"key": "k", "operator": "Exists", "effect": "NoExecute"}),
        ] {
            assert!(!fits(&json!({"tolerations": [toleration]})), "{toleration}");
        }
    }

    #[test]
    fn selectors_and_affinity() {
        let with = |mut spec: Value| {
            spec["tolerations"] = json!([{"operator": "Exists"}]);
            fits(&spec)
        };
        assert!(with(json!({"nodeSelector": {"zone": "a"}})));
        assert!(!with(json!({"nodeSelector": {"zone": "b"}})));
        let affinity = |expression: Value| {
            with(
                json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [expression]}],
                }}}}),
            )
        };
        assert!(affinity(
            json!({"key": "zone", "operator": "In", "values": ["a", "b"]})
        ));
        assert!(!affinity(
            json!({"key": "zone", "operator": "NotIn", "values": ["a"]})
        ));
        assert!(affinity(
            json!({"key": "none", "operator": "NotIn", "values": ["a"]})
        ));
        assert!(affinity(json!({"key": "zone", "operator": "Exists"})));
        assert!(!affinity(
            json!({"key": "zone", "operator": "DoesNotExist"})
        ));
        assert!(affinity(
            json!({"key": "size", "operator": "Gt", "values": ["4"]})
        ));
        assert!(!affinity(json!({"key": "zone", "operator": "Near"})));
    }

    #[test]
    fn a_pinned_pod_names_its_node() {
        let spec = |name: &str| {
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}],
        }}}, "tolerations": [{"operator": "Exists"}]})
        };
        assert_eq!(pinned_to(&spec("n")).as_deref(), Some("n"));
        assert_eq!(pinned_to(&json!({})), None);
        assert!(fits(&spec("n")));
        assert!(!fits(&spec("m")));
    }
}
