//! What whoever launches must be allowed to do: one table, asked for beforehand and granted to the run.

use kperf_cluster::{
    api::Cluster,
    grant::{Grant, GrantError},
};
use serde_json::{Value, json};

use crate::error::LaunchError;

const RBAC: &str = "rbac.authorization.k8s.io";

/// Verbs on a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// Such as `create`.
    pub verbs: &'static [&'static str],
    /// Empty for the core group.
    pub group: &'static str,
    /// Plural.
    pub resource: &'static str,
    /// Whether it is needed in the namespace of the run only.
    pub namespaced: bool,
}

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
    required_rights()
        .iter()
        .map(|right| {
            let mut text = format!("{}:{}", right.verbs.join(","), right.resource);
            if !right.group.is_empty() {
                text.push_str(&format!(".{}", right.group));
            }
            if right.namespaced {
                text.push_str(&format!("@{namespace}"));
            }
            text.parse()
        })
        .collect()
}

/// Asks the API server about every right, and names all that are missing at once.
///
/// # Errors
/// Rights are missing, or the server cannot be asked.
pub async fn check_rights(cluster: &Cluster, namespace: &str) -> Result<(), LaunchError> {
    let what = || LaunchError::api("asking which rights there are");
    let reviews = cluster
        .kind("authorization.k8s.io/v1", "SelfSubjectAccessReview")
        .await
        .map_err(what())?;
    let mut missing = Vec::new();
    for right in required_rights() {
        let mut refused = Vec::new();
        for verb in right.verbs {
            let attributes = json!({
                "verb": verb, "group": right.group, "resource": right.resource,
                "namespace": if right.namespaced { namespace } else { "" },
            });
            let review = json!({
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            });
            let answer: Value = cluster
                .create(&reviews, "", &review)
                .await
                .map_err(what())?;
            if answer["status"]["allowed"] != true {
                refused.push(*verb);
            }
        }
        if !refused.is_empty() {
            let mut text = format!("{} {}", refused.join("/"), right.resource);
            if !right.group.is_empty() {
                text.push_str(&format!(".{}", right.group));
            }
            if right.namespaced {
                text.push_str(&format!(" in {namespace}"));
            }
            missing.push(text);
        }
    }
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
