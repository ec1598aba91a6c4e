//! What whoever makes a group must be allowed to do.

use kperf_cluster::{
    api::Cluster,
    rights::{self, Right},
};

use crate::error::GroupError;

const RBAC: &str = "rbac.authorization.k8s.io";

/// All that making a group and removing it need, besides the rights of its runners: nobody can hand on more than he has.
/// `everywhere` is for a load that does not stay in its group's namespace.
#[must_use]
pub fn required_rights(everywhere: bool) -> Vec<Right> {
    const MADE: &[&str] = &["create", "list", "deletecollection"];
    let right = |verbs, group, resource, namespaced| Right {
        verbs,
        group,
        resource,
        namespaced,
    };
    let mut rights = vec![
        right(
            &["create", "get", "list", "patch", "deletecollection"],
            "",
            "configmaps",
            true,
        ),
        right(
            &["create", "get", "list", "deletecollection"],
            "batch",
            "jobs",
            true,
        ),
        right(&["list", "deletecollection"], "", "pods", true),
        right(MADE, "", "serviceaccounts", true),
        right(MADE, RBAC, "roles", true),
        right(MADE, RBAC, "rolebindings", true),
        right(MADE, "flowcontrol.apiserver.k8s.io", "flowschemas", false),
    ];
    if everywhere {
        rights.push(right(MADE, RBAC, "clusterroles", false));
        rights.push(right(MADE, RBAC, "clusterrolebindings", false));
    }
    rights
}

/// Asks the API server about every right, and names all that are missing at once.
///
/// # Errors
/// Rights are missing, or the server cannot be asked.
pub async fn check_rights(
    cluster: &Cluster,
    namespace: &str,
    everywhere: bool,
) -> Result<(), GroupError> {
    let missing = rights::missing(cluster, &required_rights(everywhere), namespace)
        .await
        .map_err(GroupError::api("asking which rights there are"))?;
    if missing.is_empty() {
        Ok(())
    } else {
        Err(GroupError::Rights(missing))
    }
}
