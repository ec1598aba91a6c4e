//! What whoever launches must be allowed to do: one table, asked for beforehand and granted to the run.

use kperf_cluster::{
    api::Cluster,
    grant::{Grant, GrantError},
    rights::{self, Right},
};

use crate::error::LaunchError;

const RBAC: &str = "rbac.authorization.k8s.io";

/// All that a launch and its clean-up need. The right to `patch` ConfigMaps is handed on to the orchestrator; nobody
/// can hand on more than he has.
#[must_use]
pub fn required_rights() -> Vec<Right> {
    let right = |verbs, group, resource, namespaced| Right {
        verbs,
        group,
        resource,
        namespaced,
    };
    vec![
        right(&["list"], "", "nodes", false),
        right(
            &["create", "get", "list", "delete"],
            "",
            "namespaces",
            false,
        ),
        right(
            &["create", "list", "deletecollection"],
            "",
            "serviceaccounts",
            true,
        ),
        right(&["create", "list", "deletecollection"], RBAC, "roles", true),
        right(
            &["create", "list", "deletecollection"],
            RBAC,
            "rolebindings",
            true,
        ),
        right(&["create", "list", "deletecollection"], "", "secrets", true),
        right(
            &["create", "get", "list", "patch", "deletecollection"],
            "",
            "configmaps",
            true,
        ),
        right(
            &["create", "list", "delete", "deletecollection"],
            "",
            "services",
            true,
        ),
        right(
            &["create", "list", "delete", "deletecollection"],
            "",
            "pods",
            true,
        ),
    ]
}

/// The same as grants of a session.
pub(crate) fn grants(namespace: &str) -> Result<Vec<Grant>, GrantError> {
    rights::grants(&required_rights(), namespace)
}

/// Asks the API server about every right, and names all that are missing at once.
///
/// # Errors
/// Rights are missing, or the server cannot be asked.
pub async fn check_rights(cluster: &Cluster, namespace: &str) -> Result<(), LaunchError> {
    let missing = rights::missing(cluster, &required_rights(), namespace)
        .await
        .map_err(LaunchError::api("asking which rights there are"))?;
    if missing.is_empty() {
        Ok(())
    } else {
        Err(LaunchError::Rights(missing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_right_can_be_granted() {
        assert_eq!(grants("ns").unwrap().len(), required_rights().len());
        // Nothing reads secrets, and nothing is asked for that leads further than its own namespace.
        for right in required_rights() {
            assert!(right.resource != "secrets" || !right.verbs.contains(&"get"));
            assert!(right.namespaced || matches!(right.resource, "nodes" | "namespaces"));
        }
    }
}
