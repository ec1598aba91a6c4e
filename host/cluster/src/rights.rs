//! What whoever uses the host must be allowed to do: asked for beforehand, so that all that is missing is named at once.

use serde_json::{Value, json};

use crate::{
    api::{ApiFailure, Cluster, Code},
    grant::{Grant, GrantError},
};

/// Verbs on a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// Such as `create`.
    pub verbs: &'static [&'static str],
    /// Empty for the core group.
    pub group: &'static str,
    /// Plural.
    pub resource: &'static str,
    /// Whether it is needed in one namespace only.
    pub namespaced: bool,
}

impl Right {
    /// `pods` or `roles.rbac.authorization.k8s.io`.
    fn full_resource(&self) -> String {
        if self.group.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }
}

/// The same as grants of a session.
///
/// # Errors
/// The namespace cannot be one.
pub fn grants(rights: &[Right], namespace: &str) -> Result<Vec<Grant>, GrantError> {
    rights
        .iter()
        .map(|right| {
            let mut text = format!("{}:{}", right.verbs.join(","), right.full_resource());
            if right.namespaced {
                text.push_str(&format!("@{namespace}"));
            }
            text.parse()
        })
        .collect()
}

/// Asks the API server about every right; those that are missing, for people. None are with a server that does not know
/// the question.
///
/// # Errors
/// The server cannot be asked.
pub async fn missing(
    cluster: &Cluster,
    rights: &[Right],
    namespace: &str,
) -> Result<Vec<String>, ApiFailure> {
    let reviews = match cluster
        .kind("authorization.k8s.io/v1", "SelfSubjectAccessReview")
        .await
    {
        Err(failure) if failure.code == Code::NoSuchKind => return Ok(Vec::new()),
        reviews => reviews?,
    };
    let mut missing = Vec::new();
    for right in rights {
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
            let answer: Value = cluster.create(&reviews, "", &review).await?;
            if answer["status"]["allowed"] != true {
                refused.push(*verb);
            }
        }
        if !refused.is_empty() {
            let mut text = format!("{} {}", refused.join("/"), right.full_resource());
            if right.namespaced {
                text.push_str(&format!(" in {namespace}"));
            }
            missing.push(text);
        }
    }
    Ok(missing)
}
