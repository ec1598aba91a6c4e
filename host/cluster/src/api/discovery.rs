//! Which kinds the server serves, asked once and kept.

use std::{collections::HashMap, fmt, sync::Arc};

use parking_lot::RwLock;
use serde_json::Value;

use super::{
    failure::{ApiFailure, Code},
    transport::{JSON, Transport},
};

/// Answers with everything of all groups at once; older servers ignore the first and send the second.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
/// Other kinds named in the message about a missing one.
const MAX_SUGGESTIONS: usize = 8;

/// A resource of the API: where objects of a kind live.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// Empty for the core group.
    pub group: String,
    /// For example `v1`.
    pub version: String,
    /// As in paths: `pods`.
    pub plural: String,
    /// As in manifests: `Pod`.
    pub kind: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// What can be done: `create`, `deletecollection`, …
    pub verbs: Vec<String>,
    /// For example `status`.
    pub subresources: Vec<String>,
}

impl Resource {
    /// `v1` or `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        group_version(&self.group, &self.version)
    }

    /// As kube's client, and a [`crate::track::TrackSpec`], want it.
    #[must_use]
    pub fn api_resource(&self) -> kube::core::ApiResource {
        kube::core::ApiResource {
            group: self.group.clone(),
            version: self.version.clone(),
            api_version: self.api_version(),
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        }
    }

    /// Whether discovery lists the verb.
    #[must_use]
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }

    /// Whether it is this one, in any version.
    #[must_use]
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    /// `/apis/apps/v1`.
    pub(crate) fn root(&self) -> String {
        root(&self.group, &self.version)
    }
}

/// `pods` or `deployments.apps`.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plural)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{group}/{version}")
    }
}

/// By group version, then kind.
type Known = HashMap<String, HashMap<String, Arc<Resource>>>;

/// What was asked so far.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    known: RwLock<Known>,
}

impl Discovery {
    /// The resource of a kind. What is not known is asked for, once per call: CRDs come and go.
    pub(crate) async fn kind(
        &self,
        transport: &Transport,
        api_version: &str,
        kind: &str,
    ) -> Result<Arc<Resource>, ApiFailure> {
        if let Some(found) = self.look_up(api_version, kind) {
            return Ok(found);
        }
        let (group, version) = split(api_version)?;
        if kind.is_empty() {
            return Err(ApiFailure::invalid(
                "the kind is empty; write it as manifests do, for example Pod",
            ));
        }
        match one_version(transport, group, version).await {
            Ok(resources) => self.keep(api_version, resources),
            Err(failure) if failure.code == Code::NotFound => {
                self.known.write().remove(api_version);
            }
            Err(failure) => return Err(failure),
        }
        match self.look_up(api_version, kind) {
            Some(found) => Ok(found),
            None => Err(self.missing(transport, api_version, kind).await),
        }
    }

    fn look_up(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        self.known.read().get(api_version)?.get(kind).cloned()
    }

    fn keep(&self, api_version: &str, resources: Vec<Resource>) {
        let mut kinds = HashMap::new();
        for resource in resources {
            // The first one of a kind is the one that stores it.
            kinds
                .entry(resource.kind.clone())
                .or_insert_with(|| Arc::new(resource));
        }
        self.known.write().insert(api_version.to_owned(), kinds);
    }

    /// Says what there is instead.
    async fn missing(&self, transport: &Transport, api_version: &str, kind: &str) -> ApiFailure {
        let all = everything(transport).await.unwrap_or_default();
        let other_versions: Vec<String> = all
            .iter()
            .filter(|resource| resource.kind == kind)
            .map(Resource::api_version)
            .collect();
        let mut alike: Vec<&str> = all
            .iter()
            .filter(|resource| resource.api_version() == api_version)
            .map(|resource| resource.kind.as_str())
            .collect();
        alike.sort_unstable();
        alike.dedup();
        let hint = if !other_versions.is_empty() {
            format!("there is {kind} in {}", list(&other_versions))
        } else if let Some(spelling) = alike.iter().find(|known| known.eq_ignore_ascii_case(kind)) {
            format!("it is spelt {spelling}")
        } else if alike.is_empty() {
            format!(
                "the server serves no {api_version}; is its CustomResourceDefinition installed?"
            )
        } else {
            format!("{api_version} has {}", list(&alike))
        };
        ApiFailure::own(
            Code::NoSuchKind,
            format!("no kind {kind:?} in {api_version:?}: {hint}"),
        )
    }
}

fn list<T: AsRef<str>>(names: &[T]) -> String {
    let shown: Vec<&str> = names
        .iter()
        .take(MAX_SUGGESTIONS)
        .map(AsRef::as_ref)
        .collect();
    let more = names.len().saturating_sub(shown.len());
    let mut text = shown.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// Group and version of an `apiVersion`, checked to be fit for a path.
fn split(api_version: &str) -> Result<(&str, &str), ApiFailure> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let is_name = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'))
            && !text.starts_with('.')
    };
    let group_is_good = group.is_empty() != api_version.contains('/');
    if group_is_good && (group.is_empty() || is_name(group)) && is_name(version) {
        Ok((group, version))
    } else {
        Err(ApiFailure::invalid(format!(
            "{api_version:?} is no API version; write v1 or apps/v1"
        )))
    }
}

async fn one_version(
    transport: &Transport,
    group: &str,
    version: &str,
) -> Result<Vec<Resource>, ApiFailure> {
    let list = transport.get_json(&root(group, version), JSON).await?;
    Ok(of_resource_list(&list, group, version))
}

/// Every resource in the version the server prefers, one entry for each group and plural.
pub(crate) async fn everything(transport: &Transport) -> Result<Vec<Resource>, ApiFailure> {
    let mut all = Vec::new();
    for path in ["/api", "/apis"] {
        let answer = transport.get_json(path, AGGREGATED).await?;
        if answer["kind"] == "APIGroupDiscoveryList" {
            of_aggregated(&answer, &mut all);
        } else {
            walk(transport, &answer, &mut all).await?;
        }
    }
    let mut seen = std::collections::HashSet::new();
    all.retain(|resource| seen.insert((resource.group.clone(), resource.plural.clone())));
    Ok(all)
}

/// Asks group by group, for servers before 1.30.
async fn walk(
    transport: &Transport,
    answer: &Value,
    all: &mut Vec<Resource>,
) -> Result<(), ApiFailure> {
    let core = answer["versions"]
        .as_array()
        .filter(|_| answer["kind"] == "APIVersions");
    let mut versions: Vec<(String, String)> = core
        .into_iter()
        .flatten()
        .filter_map(|version| Some((String::new(), version.as_str()?.to_owned())))
        .collect();
    for group in answer["groups"].as_array().into_iter().flatten() {
        let name = group["name"].as_str().unwrap_or_default();
        let preferred = group["preferredVersion"]["version"].as_str();
        let others = group["versions"].as_array().into_iter().flatten();
        let others = others.filter_map(|version| version["version"].as_str());
        for version in preferred
            .into_iter()
            .chain(others.filter(|version| Some(*version) != preferred))
        {
            versions.push((name.to_owned(), version.to_owned()));
        }
    }
    for (group, version) in versions {
        match one_version(transport, &group, &version).await {
            Ok(resources) => all.extend(resources),
            // An aggregated API whose server is down says 503; the rest is still worth knowing.
            Err(failure) if failure.status != 0 => {
                tracing::warn!(%group, %version, %failure, "left out of discovery");
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|text| text.as_str().map(str::to_owned))
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn of_resource_list(list: &Value, group: &str, version: &str) -> Vec<Resource> {
    let mut resources: Vec<Resource> = Vec::new();
    let mut subresources: Vec<(String, String)> = Vec::new();
    for entry in list["resources"].as_array().into_iter().flatten() {
        let name = entry["name"].as_str().unwrap_or_default();
        match name.split_once('/') {
            Some((parent, sub)) => subresources.push((parent.to_owned(), sub.to_owned())),
            None => resources.push(Resource {
                group: group.to_owned(),
                version: version.to_owned(),
                plural: name.to_owned(),
                kind: text(&entry["kind"]),
                namespaced: entry["namespaced"] == true,
                verbs: texts(&entry["verbs"]),
                subresources: Vec::new(),
            }),
        }
    }
    for (parent, sub) in subresources {
        if let Some(resource) = resources.iter_mut().find(|r| r.plural == parent) {
            resource.subresources.push(sub);
        }
    }
    resources
}

fn of_aggregated(list: &Value, all: &mut Vec<Resource>) {
    for group in list["items"].as_array().into_iter().flatten() {
        let group_name = text(&group["metadata"]["name"]);
        for version in group["versions"].as_array().into_iter().flatten() {
            for entry in version["resources"].as_array().into_iter().flatten() {
                let subresources = entry["subresources"].as_array().into_iter().flatten();
                all.push(Resource {
                    group: group_name.clone(),
                    version: text(&version["version"]),
                    plural: text(&entry["resource"]),
                    kind: text(&entry["responseKind"]["kind"]),
                    namespaced: entry["scope"] == "Namespaced",
                    verbs: texts(&entry["verbs"]),
                    subresources: subresources.map(|sub| text(&sub["subresource"])).collect(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn api_versions_are_checked_before_they_become_paths() {
        assert_eq!(split("v1").unwrap(), ("", "v1"));
        assert_eq!(split("kubevirt.io/v1").unwrap(), ("kubevirt.io", "v1"));
        for bad in [
            "", "/v1", "apps/", "a/b/c", "../v1", "v1?x", "Apps/v1", "..", "apps/..", "a%2f/v1",
        ] {
            assert_eq!(split(bad).unwrap_err().code, Code::Invalid, "{bad}");
        }
    }

    #[test]
    fn both_forms_of_discovery_agree() {
        let flat = of_resource_list(
            &json!({"resources": [
                {"name": "deployments", "kind": "Deployment", "namespaced": true, "verbs": ["get", "list"]},
                {"name": "deployments/scale", "kind": "Scale", "namespaced": true, "verbs": ["get"]},
            ]}),
            "apps",
            "v1",
        );
        let mut aggregated = Vec::new();
        of_aggregated(
            &json!({"items": [{"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [{
                "resource": "deployments", "responseKind": {"kind": "Deployment"}, "scope": "Namespaced",
                "verbs": ["get", "list"], "subresources": [{"subresource": "scale"}],
            }]}]}]}),
            &mut aggregated,
        );
        assert_eq!(flat, aggregated);
        assert_eq!(flat[0].to_string(), "deployments.apps");
        assert!(flat[0].can("list") && !flat[0].can("delete"));
    }
}
