//! What whoever makes a group must be allowed to do.

use kperf_cluster::{
    api::Cluster,
    rights::{self, Right},
};

use crate::{error::GroupError, plan::Reach};

const RBAC: &str = "rbac.authorization.k8s.io";
/// What is done to what is made.
const MADE: &[&str] = &["create", "list", "deletecollection"];

/// All that making a group and removing it need, besides the rights of its runners: nobody can hand on more than he has.
/// `everywhere` is for a load that does not stay in its group's namespace.
#[must_use]
pub fn required_rights(everywhere: bool) -> Vec<Right> {
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

/// What handing on the rights of a load in one more namespace needs.
const IN_NAMESPACES: [Right; 2] = [
    Right {
        verbs: MADE,
        group: RBAC,
        resource: "roles",
        namespaced: true,
    },
    Right {
        verbs: MADE,
        group: RBAC,
        resource: "rolebindings",
        namespaced: true,
    },
];

/// Asks the API server about the rights that the load needs in other namespaces than the group's.
///
/// # Errors
/// As [`check_rights`].
pub(crate) async fn check_reach(
    cluster: &Cluster,
    namespace: &str,
    reach: &Reach,
) -> Result<(), GroupError> {
    let mut missing = Vec::new();
    for place in reach.namespaces.iter().filter(|place| *place != namespace) {
        let of_place = rights::missing(cluster, &IN_NAMESPACES, place)
            .await
            .map_err(GroupError::api("asking which rights there are"))?;
        missing.extend(of_place);
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(GroupError::Rights(missing))
    }
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
