//! The CustomResourceDefinitions of KubeVirt that are played, without their schemas.

use serde_json::{Value, json};

/// Kind, plural, short names, categories, subresources, printed columns.
type Row = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    Value,
    Value,
);

/// All of them.
pub(crate) fn definitions() -> Vec<Value> {
    let column =
        |name: &str, kind: &str, path: &str| json!({"name": name, "type": kind, "jsonPath": path});
    let age = column("Age", "date", ".metadata.creationTimestamp");
    let ready = column(
        "Ready",
        "string",
        ".status.conditions[?(@.type=='Ready')].status",
    );
    let scale = json!({
        "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.labelSelector",
    });
    let rows: [Row; 3] = [
        (
            "VirtualMachine",
            "virtualmachines",
            &["vm", "vms"],
            &["all"],
            json!({"status": {}}),
            json!([
                age,
                column("Status", "string", ".status.printableStatus"),
                ready
            ]),
        ),
        // As KubeVirt has it: what writes the status of an instance writes the instance.
        (
            "VirtualMachineInstance",
            "virtualmachineinstances",
            &["vmi", "vmis"],
            &["all"],
            Value::Null,
            json!([
                age,
                column("Phase", "string", ".status.phase"),
                column("IP", "string", ".status.interfaces[0].ipAddress"),
                column("NodeName", "string", ".status.nodeName"),
                ready,
            ]),
        ),
        (
            "VirtualMachineInstanceReplicaSet",
            "virtualmachineinstancereplicasets",
            &["vmirs", "vmirss"],
            &["all"],
            json!({"status": {}, "scale": scale}),
            json!([
                column("Desired", "integer", ".spec.replicas"),
                column("Current", "integer", ".status.replicas"),
                column("Ready", "integer", ".status.readyReplicas"),
                age,
            ]),
        ),
    ];
    rows.into_iter().map(definition).collect()
}

fn definition((kind, plural, short, categories, subresources, columns): Row) -> Value {
    let mut version = json!({
        "name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        "additionalPrinterColumns": columns,
    });
    if !subresources.is_null() {
        version["subresources"] = subresources;
    }
    json!({
        "metadata": {
            "name": format!("{plural}.kubevirt.io"),
            "labels": {"app.kubernetes.io/component": "kubevirt", "kubevirt.io": ""},
        },
        "spec": {
            "group": "kubevirt.io",
            "names": {
                "kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase(),
                "shortNames": short, "categories": categories,
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    })
}
