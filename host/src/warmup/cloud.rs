//! What EKS' own DaemonSets need so that virtual nodes may stay.

use kperf_cluster::api::{ApiFailure, Cluster, Code, PatchType};
use serde_json::json;

/// They tolerate everything, and would never get ready on virtual nodes.
const DAEMON_SETS: [&str; 2] = ["aws-node", "kube-proxy"];

/// Takes their tolerations.
pub(super) async fn prepare_eks(cluster: &Cluster) -> Result<(), ApiFailure> {
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
    Ok(())
}
