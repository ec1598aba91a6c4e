//! What EKS needs so that virtual nodes may stay.

use kperf_cluster::{
    api::{ApiFailure, Cluster, Code, ListBounds, PatchType, Scope},
    nodepool::PoolSpec,
};
use serde_json::json;

/// Its own DaemonSets tolerate everything, and would never get ready on virtual nodes.
const DAEMON_SETS: [&str; 2] = ["aws-node", "kube-proxy"];

/// Takes the tolerations of EKS' DaemonSets, and lends the pool the identity of a real node: nodes that EC2 does not
/// know are deleted.
pub(super) async fn prepare_eks(cluster: &Cluster, pool: &mut PoolSpec) -> Result<(), ApiFailure> {
    let sets = cluster.kind("apps/v1", "DaemonSet").await?;
    let patch = json!({"spec": {"template": {"spec": {"tolerations": null}}}}).to_string();
    for name in DAEMON_SETS {
        let patched = cluster
            .patch(
                &sets,
                "kube-system",
                name,
                "",
                PatchType::Merge,
                patch.clone(),
            )
            .await;
        match patched {
            Err(failure) if failure.code != Code::NotFound => return Err(failure),
            _ => {}
        }
    }
    if pool.shared_provider_id.is_empty() {
        let nodes = cluster.kind("v1", "Node").await?;
        let scope = Scope {
            label_selector: "node.kubernetes.io/instance-type=m4.large".to_owned(),
            ..Scope::default()
        };
        let nodes = cluster.list(&nodes, &scope, ListBounds::default()).await?;
        if let Some(id) = nodes
            .iter()
            .find_map(|node| node["spec"]["providerID"].as_str())
        {
            pool.shared_provider_id = id.to_owned();
        }
    }
    Ok(())
}
