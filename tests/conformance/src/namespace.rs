//! A namespace of a case's own, so that cases do not meet.

use serde_json::json;

use crate::api::Api;

/// Deleted with everything in it when the value goes.
pub(crate) struct Namespace<'a> {
    api: &'a Api,
    pub(crate) name: String,
}

impl<'a> Namespace<'a> {
    pub(crate) fn create(api: &'a Api, prefix: &str) -> anyhow::Result<Self> {
        let name = api
            .post(
                "/api/v1/namespaces",
                &json!({
                    "apiVersion": "v1", "kind": "Namespace",
                    "metadata": {"generateName": format!("conformance-{prefix}-")},
                }),
            )
            .ok(201)?
            .str("/metadata/name")?;
        Ok(Self { api, name })
    }

    /// A resource, or one of its objects, of the core group: `pods`, `pods/a`.
    pub(crate) fn core(&self, resource: &str) -> String {
        format!("/api/v1/namespaces/{}/{resource}", self.name)
    }

    /// The same of a named group: `apps/v1`.
    pub(crate) fn group(&self, group_version: &str, resource: &str) -> String {
        format!("/apis/{group_version}/namespaces/{}/{resource}", self.name)
    }

    /// To be taken before `object` of the core group, such as `pods/a`, is made.
    pub(crate) fn holds(&self, object: &str) -> Held<'a> {
        Held {
            api: self.api,
            path: self.core(object),
        }
    }

    pub(crate) fn apps(&self, resource: &str) -> String {
        self.group("apps/v1", resource)
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        self.api
            .remove(&format!("/api/v1/namespaces/{}", self.name));
    }
}

/// An object that would hold its namespace for ever or for long, by a finalizer or by being on a node that is none;
/// removed at once when the value goes.
pub(crate) struct Held<'a> {
    api: &'a Api,
    path: String,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.api.remove_now(&self.path);
    }
}
