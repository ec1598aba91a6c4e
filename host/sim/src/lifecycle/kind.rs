//! The kinds whose changes somebody follows up.

use serde_json::Value;

use crate::registry::Resource;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Namespace,
    Node,
    Pod,
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Job,
    VirtualMachine,
    VirtualMachineInstance,
    VirtualMachineInstanceReplicaSet,
}

/// Kind, group, plural, name in references.
const TABLE: [(Kind, &str, &str, &str); 11] = [
    (Kind::Pod, "", "pods", "Pod"),
    (Kind::Node, "", "nodes", "Node"),
    (Kind::Namespace, "", "namespaces", "Namespace"),
    (Kind::Deployment, "apps", "deployments", "Deployment"),
    (Kind::ReplicaSet, "apps", "replicasets", "ReplicaSet"),
    (Kind::StatefulSet, "apps", "statefulsets", "StatefulSet"),
    (Kind::DaemonSet, "apps", "daemonsets", "DaemonSet"),
    (Kind::Job, "batch", "jobs", "Job"),
    (
        Kind::VirtualMachine,
        "kubevirt.io",
        "virtualmachines",
        "VirtualMachine",
    ),
    (
        Kind::VirtualMachineInstance,
        "kubevirt.io",
        "virtualmachineinstances",
        "VirtualMachineInstance",
    ),
    (
        Kind::VirtualMachineInstanceReplicaSet,
        "kubevirt.io",
        "virtualmachineinstancereplicasets",
        "VirtualMachineInstanceReplicaSet",
    ),
];

impl Kind {
    /// The kind of a resource, if its changes are followed.
    pub(crate) fn of(resource: &Resource) -> Option<Self> {
        TABLE
            .iter()
            .find(|(_, group, plural, _)| resource.is(group, plural))
            .map(|(kind, ..)| *kind)
    }

    /// The kind an owner reference names.
    pub(super) fn of_reference(reference: &Value) -> Option<Self> {
        let name = reference["kind"].as_str()?;
        let api_version = reference["apiVersion"].as_str()?;
        let group = api_version
            .split_once('/')
            .map_or("", |(group, _version)| group);
        TABLE
            .iter()
            .find(|(_, of, _, kind)| *of == group && *kind == name)
            .map(|(kind, ..)| *kind)
    }

    /// Group and plural; all of them have a version v1.
    pub(super) fn resource(self) -> (&'static str, &'static str) {
        TABLE
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or(("", ""), |(_, group, plural, _)| (group, plural))
    }

    pub(super) fn is_kubevirt(self) -> bool {
        self.resource().0 == "kubevirt.io"
    }
}
