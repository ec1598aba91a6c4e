//! Names, labels and defaults that others rely on: kperf's, except where kperf's would clash.

use serde_json::Value;

use crate::api::ApiFailure;

/// Where the controllers of all pools are.
pub const NAMESPACE: &str = "virtualnodes-kperf-io";
/// On every virtual node: its value selects them all.
pub const TYPE_LABEL: &str = "type";
/// Value of [`TYPE_LABEL`].
pub const TYPE: &str = "kperf-virtualnodes";
/// On everything of a pool: its name.
pub const POOL_LABEL: &str = "alpha.kperf.io/nodepool";
/// Keeps real pods off virtual nodes; effect `NoSchedule`.
pub const TAINT_KEY: &str = "kperf.io/nodepool";
/// Value of the taint.
pub const TAINT_VALUE: &str = "fake";
/// On a node: the pod of the controller that plays it. kperf's nodes do not have it.
pub const CONTROLLER_LABEL: &str = "kperf-host.io/nodepool-controller";
/// On a pool's record: who made it, so that of two who want the same pool one knows that it is the other's.
pub(super) const CLAIM_ANNOTATION: &str = "kperf-host.io/nodepool-claim";
/// On a pool's record: the run that claimed it. Not the label of what a run creates, which a clean-up deletes one by
/// one: a pool goes as a whole, in an order of its own, and its record last.
pub(super) const CLAIM_RUN_LABEL: &str = "kperf-host.io/nodepool-run";
/// On what is in the namespace, as kperf's releases have it.
pub(super) const MANAGED_LABEL: &str = "virtualnodes.kperf.io/managed";
/// Tells what we made from what kperf, or somebody else, made under the same name.
pub(super) const OWNER_LABEL: &str = "app.kubernetes.io/managed-by";
pub(super) const OWNER: &str = "kperf-host";
/// The priority level of the controllers' requests, of all pools and of kperf's too.
pub(super) const PRIORITY_LEVEL: &str = "custom-system";

/// What plays the nodes unless told otherwise; the version kperf pins.
pub const KWOK_IMAGE: &str = "registry.k8s.io/kwok/kwok:v0.7.0";
/// Nodes that one controller plays unless told otherwise: renewals of leases keep up with many more.
pub const NODES_PER_CONTROLLER: u32 = 1000;
/// So many that a slip of the finger does not make a million nodes.
pub(super) const MAX_NODES: u32 = 100_000;

/// Selects what is a pool's and was made here.
pub(super) fn ours_of(pool: &str) -> String {
    format!("{POOL_LABEL}={pool},{OWNER_LABEL}={OWNER}")
}

/// Selects a pool's nodes.
#[must_use]
pub fn nodes_of(pool: &str) -> String {
    format!("{POOL_LABEL}={pool},{CONTROLLER_LABEL}")
}

/// Of what a pool has in the cluster at large; kperf uses the pool's bare name, which may be that of a role of the
/// system.
pub(super) fn cluster_wide(pool: &str) -> String {
    format!("kperf-nodepool-{pool}")
}

/// The kinds of which a pool has one each in the cluster at large, by that name.
pub(super) const CLUSTER_WIDE: [(&str, &str); 3] = [
    ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
];

/// Whether an object is the pool's and was made here, by the `metadata` of it.
pub(super) fn is_of(pool: &str, metadata: &Value) -> bool {
    let labels = &metadata["labels"];
    labels[OWNER_LABEL] == OWNER && labels[POOL_LABEL] == pool
}

/// Whether a node is the pool's and was made here, by the `metadata` of it.
pub(super) fn is_node_of(pool: &str, metadata: &Value) -> bool {
    let labels = &metadata["labels"];
    labels[POOL_LABEL] == pool && labels[CONTROLLER_LABEL].is_string()
}

/// Whether the server does not serve a kind at all.
pub(super) fn is_unserved(failure: &ApiFailure) -> bool {
    failure.code == crate::api::Code::NoSuchKind
}
