//! Group, version and resource of a request, and the path of their collection.

use kperf_sdk::Failure;

use crate::join_path;

/// Group, version and plural resource, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    group: String,
    version: String,
    resource: String,
}

impl Resource {
    /// Checks them with kperf's rules.
    ///
    /// The group `core` is not special: it leads to `/apis/core/…`, as in kperf.
    pub fn new(group: &str, version: &str, resource: &str) -> Result<Self, Failure> {
        let required = |key: &str, value: &str| {
            if value.is_empty() {
                let message = format!("kube metadata: {key} is required");
                return Err(Failure::invalid_config(key, message));
            }
            Ok(value.to_owned())
        };
        Ok(Self {
            group: group.to_owned(),
            version: required("version", version)?,
            resource: required("resource", resource)?,
        })
    }

    /// The path of the collection, in a namespace unless that is empty. Not yet percent-encoded.
    pub fn path(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() {
            "api".to_owned()
        } else {
            format!("apis/{}", self.group)
        };
        if namespace.is_empty() {
            return join_path(&[&root, &self.version, &self.resource]);
        }
        let scope = ["namespaces", namespace];
        join_path(&[&root, &self.version, scope[0], scope[1], &self.resource])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_groups_and_scopes() {
        let path = |group, resource, namespace| {
            Resource::new(group, "v1", resource)
                .unwrap()
                .path(namespace)
        };
        assert_eq!(path("", "nodes", ""), "/api/v1/nodes");
        assert_eq!(path("", "pods", "ns-1"), "/api/v1/namespaces/ns-1/pods");
        assert_eq!(path("apps", "deployments", ""), "/apis/apps/v1/deployments");
        assert_eq!(path("core", "pods", ""), "/apis/core/v1/pods");
    }

    #[test]
    fn version_and_resource_are_required() {
        let failure = Resource::new("", "", "pods").unwrap_err();
        assert_eq!(failure.message, "kube metadata: version is required");
        assert_eq!(failure.find_hint("key"), Some("version"));
        let failure = Resource::new("", "v1", "").unwrap_err();
        assert_eq!(failure.message, "kube metadata: resource is required");
        assert_eq!(failure.find_hint("key"), Some("resource"));
    }
}
