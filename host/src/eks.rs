//! What Amazon's clusters want of virtual nodes: nodes that EC2 does not know are deleted, unless they have the identity
//! of one that it does know.

use kperf_cluster::api::{ApiFailure, Cluster, ListBounds, Scope};

/// Selects the real nodes of which kperf borrows the provider ID.
pub const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type=m4.large";

/// The provider ID of a real node; none if there is no such node.
///
/// # Errors
/// All that a list can meet.
pub async fn provider_id(cluster: &Cluster) -> Result<Option<String>, ApiFailure> {
    let nodes = cluster.kind("v1", "Node").await?;
    let scope = Scope {
        label_selector: INSTANCE_TYPE.to_owned(),
        ..Scope::default()
    };
    let found = cluster.list(&nodes, &scope, ListBounds::default()).await?;
    Ok(found
        .iter()
        .find_map(|node| node["spec"]["providerID"].as_str())
        .map(str::to_owned))
}

/// What is said where there is none.
#[must_use]
pub fn no_provider_id() -> String {
    format!("--eks: there is no node with {INSTANCE_TYPE} and a provider ID")
}
