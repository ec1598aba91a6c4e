//! Requests as data: method, path, body. Whatever goes into a path or a selector is checked here, so
//! that no name can lead a call elsewhere than where its grants were looked up.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{
    discovery::Resource,
    failure::ApiFailure,
    transport::{JSON, MAX_BODY_BYTES, Outgoing},
};

/// Under this name the server remembers which fields are ours.
pub const FIELD_MANAGER: &str = "kperf-host";

/// What stands in a path as it is: RFC 3986's unreserved characters, and the colon of RBAC names.
const PATH_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':');

const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// How a patch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PatchType {
    /// RFC 6902: a list of steps.
    Json,
    /// RFC 7386.
    Merge,
    /// As merge, but lists with keys are merged by them; built-in kinds only.
    Strategic,
}

impl PatchType {
    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
        }
    }
}

impl FromStr for PatchType {
    type Err = ApiFailure;

    fn from_str(text: &str) -> Result<Self, ApiFailure> {
        match text {
            "json" => Ok(Self::Json),
            "merge" => Ok(Self::Merge),
            "strategic" => Ok(Self::Strategic),
            _ => Err(ApiFailure::invalid(format!(
                "{text:?} is no type of patch; there are merge, json and strategic"
            ))),
        }
    }
}

/// Which objects of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Empty = every namespace, and what has none.
    pub namespace: String,
    /// As kubectl's `--selector`; empty = all.
    pub label_selector: String,
    /// As kubectl's `--field-selector`; empty = all.
    pub field_selector: String,
}

/// How an object is deleted; always in the background.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Overrides the object's own grace period.
    pub grace_period_seconds: Option<u32>,
    /// Only if it is still this object.
    pub uid: Option<String>,
}

impl DeleteOptions {
    fn to_bytes(&self) -> Bytes {
        let mut options = json!({
            "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background",
        });
        if let Some(seconds) = self.grace_period_seconds {
            options["gracePeriodSeconds"] = json!(seconds);
        }
        if let Some(uid) = &self.uid {
            options["preconditions"] = json!({"uid": uid});
        }
        options.to_string().into()
    }
}

/// A request that is ready to be sent, any number of times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    method: Method,
    path: String,
    query: String,
    accept: &'static str,
    content_type: &'static str,
    body: Bytes,
    /// As in reports: `POST /api/v1/namespaces/:namespace/pods`.
    series: String,
}

impl Prepared {
    fn new(method: Method, place: Place) -> Self {
        Self {
            series: format!("{method} {}", place.series),
            method,
            path: place.path,
            query: String::new(),
            accept: JSON,
            content_type: "",
            body: Bytes::new(),
        }
    }

    fn with_body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.content_type = content_type;
        self.body = body.into();
        self
    }

    fn with_query(mut self, key: &str, value: &str) -> Self {
        if !value.is_empty() {
            let mut query = form_urlencoded::Serializer::new(std::mem::take(&mut self.query));
            query.append_pair(key, value);
            self.query = query.finish();
        }
        self
    }

    /// As reports name it: `POST /api/v1/namespaces/:namespace/pods`.
    #[must_use]
    pub fn series(&self) -> &str {
        &self.series
    }

    /// Path and query.
    pub(crate) fn uri(&self) -> String {
        if self.query.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{}", self.path, self.query)
        }
    }

    pub(crate) fn outgoing<'a>(&self, uri: &'a str, max_body_bytes: usize) -> Outgoing<'a> {
        Outgoing {
            method: self.method.clone(),
            path: uri,
            accept: self.accept,
            content_type: self.content_type,
            body: self.body.clone(),
            max_body_bytes: max_body_bytes.min(MAX_BODY_BYTES),
        }
    }

    /// `GET` of one object.
    ///
    /// # Errors
    /// A name or namespace that cannot be one, as for all of these.
    pub fn get(resource: &Resource, namespace: &str, name: &str) -> Result<Self, ApiFailure> {
        Ok(Self::new(
            Method::GET,
            Place::object(resource, namespace, name, "")?,
        ))
    }

    /// `GET` of one page of a list; `limit` 0 = the whole.
    pub(crate) fn list(
        resource: &Resource,
        scope: &Scope,
        limit: u32,
        continue_token: &str,
    ) -> Result<Self, ApiFailure> {
        let limit = if limit == 0 {
            String::new()
        } else {
            limit.to_string()
        };
        Ok(
            Self::new(Method::GET, Place::collection(resource, &scope.namespace)?)
                .with_query("labelSelector", &scope.label_selector)
                .with_query("fieldSelector", &scope.field_selector)
                .with_query("limit", &limit)
                .with_query("continue", continue_token),
        )
    }

    /// Asks for `metadata` alone.
    pub(crate) fn metadata_only(mut self) -> Self {
        self.accept = METADATA_LIST;
        self
    }

    /// `POST` of a new object.
    pub fn create(
        resource: &Resource,
        namespace: &str,
        body: impl Into<Bytes>,
    ) -> Result<Self, ApiFailure> {
        let place = Place::collection(resource, namespace)?;
        if resource.namespaced && namespace.is_empty() {
            return Err(needs_namespace(resource));
        }
        Ok(Self::new(Method::POST, place)
            .with_query("fieldManager", FIELD_MANAGER)
            .with_body(JSON, body))
    }

    /// Server-side apply, by force.
    pub fn apply(
        resource: &Resource,
        namespace: &str,
        name: &str,
        body: impl Into<Bytes>,
    ) -> Result<Self, ApiFailure> {
        let place = Place::object(resource, namespace, name, "")?;
        Ok(Self::new(Method::PATCH, place)
            .with_query("fieldManager", FIELD_MANAGER)
            .with_query("force", "true")
            .with_body("application/apply-patch+yaml", body))
    }

    /// `PUT` of a whole object or, with a subresource, of that.
    pub fn update(
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        body: impl Into<Bytes>,
    ) -> Result<Self, ApiFailure> {
        let place = Place::object(resource, namespace, name, subresource)?;
        Ok(Self::new(Method::PUT, place)
            .with_query("fieldManager", FIELD_MANAGER)
            .with_body(JSON, body))
    }

    /// `PATCH`.
    pub fn patch(
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        patch_type: PatchType,
        body: impl Into<Bytes>,
    ) -> Result<Self, ApiFailure> {
        let place = Place::object(resource, namespace, name, subresource)?;
        Ok(Self::new(Method::PATCH, place)
            .with_query("fieldManager", FIELD_MANAGER)
            .with_body(patch_type.media_type(), body))
    }

    /// `DELETE` of one object.
    pub fn delete(
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Self, ApiFailure> {
        let place = Place::object(resource, namespace, name, "")?;
        Ok(Self::new(Method::DELETE, place).with_body(JSON, options.to_bytes()))
    }

    /// `DELETE` of all objects that a label selector matches. Namespaced kinds need the namespace.
    pub fn delete_collection(
        resource: &Resource,
        scope: &Scope,
        options: &DeleteOptions,
    ) -> Result<Self, ApiFailure> {
        if scope.label_selector.trim().is_empty() {
            return Err(ApiFailure::invalid(format!(
                "deleting {resource} by selector needs a label selector; without one it would delete them all"
            )));
        }
        if resource.namespaced && scope.namespace.is_empty() {
            return Err(needs_namespace(resource));
        }
        let place = Place::collection(resource, &scope.namespace)?;
        Ok(Self::new(Method::DELETE, place)
            .with_query("labelSelector", &scope.label_selector)
            .with_query("fieldSelector", &scope.field_selector)
            .with_body(JSON, options.to_bytes())
            .metadata_only())
    }
}

fn needs_namespace(resource: &Resource) -> ApiFailure {
    ApiFailure::invalid(format!(
        "{} lives in namespaces and no namespace is given; set metadata.namespace",
        resource.kind
    ))
}

/// A path, and the same with its names left out.
struct Place {
    path: String,
    series: String,
}

impl Place {
    fn collection(resource: &Resource, namespace: &str) -> Result<Self, ApiFailure> {
        let root = resource.root();
        if namespace.is_empty() {
            let path = format!("{root}/{}", resource.plural);
            return Ok(Self {
                series: path.clone(),
                path,
            });
        }
        if !resource.namespaced {
            return Err(ApiFailure::invalid(format!(
                "{} has no namespace, but {namespace:?} is given; remove metadata.namespace",
                resource.kind
            )));
        }
        if !is_namespace(namespace) {
            return Err(ApiFailure::invalid(format!(
                "{namespace:?} cannot be a namespace: at most 63 lower-case letters, digits and '-', with a letter or digit at both ends"
            )));
        }
        Ok(Self {
            path: format!("{root}/namespaces/{namespace}/{}", resource.plural),
            series: format!("{root}/namespaces/:namespace/{}", resource.plural),
        })
    }

    fn object(
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
    ) -> Result<Self, ApiFailure> {
        if resource.namespaced && namespace.is_empty() {
            return Err(needs_namespace(resource));
        }
        let mut place = Self::collection(resource, namespace)?;
        if !is_object_name(name) {
            return Err(ApiFailure::invalid(format!(
                "{name:?} cannot be the name of an object: names are not empty, not '.' or '..', and have no '/' and no '%'"
            )));
        }
        place.path.push('/');
        place.path.extend(utf8_percent_encode(name, PATH_SEGMENT));
        place.series.push_str("/:name");
        if !subresource.is_empty() {
            if !subresource
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            {
                return Err(ApiFailure::invalid(format!(
                    "{subresource:?} is no subresource; there are status, scale and the like"
                )));
            }
            for text in [&mut place.path, &mut place.series] {
                text.push('/');
                text.push_str(subresource);
            }
        }
        Ok(place)
    }
}

/// Whether a text can be the name of a namespace (RFC 1123 label).
#[must_use]
pub(crate) fn is_namespace(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() <= 63
        && text.bytes().all(|b| inner(b) || b == b'-')
        && text.bytes().next().is_some_and(inner)
        && text.bytes().last().is_some_and(inner)
}

/// Whether the server takes a text as a segment of a path.
fn is_object_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && text.len() <= 253 && !text.contains(['/', '%', '\0'])
}

/// An object to be sent, with what its path is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The whole.
    pub value: Value,
    /// For example `apps/v1`.
    pub api_version: String,
    /// For example `Deployment`.
    pub kind: String,
    /// `metadata.namespace`; empty without one.
    pub namespace: String,
    /// `metadata.name`; empty when the server is to generate one.
    pub name: String,
}

impl Manifest {
    /// Reads the JSON text of an object.
    ///
    /// # Errors
    /// When it is no object, or lacks what every object has.
    pub fn parse(text: &str) -> Result<Self, ApiFailure> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| ApiFailure::invalid(format!("a manifest is not JSON: {error}")))?;
        let field = |value: &Value, name: &str| -> Result<String, ApiFailure> {
            match value {
                Value::Null => Ok(String::new()),
                Value::String(text) => Ok(text.clone()),
                _ => Err(ApiFailure::invalid(format!(
                    "a manifest's {name} is not a text"
                ))),
            }
        };
        let manifest = Self {
            api_version: field(&value["apiVersion"], "apiVersion")?,
            kind: field(&value["kind"], "kind")?,
            namespace: field(&value["metadata"]["namespace"], "metadata.namespace")?,
            name: field(&value["metadata"]["name"], "metadata.name")?,
            value,
        };
        let lacks = |what: &str| {
            Err(ApiFailure::invalid(format!(
                "a manifest has no {what}{}",
                manifest.described()
            )))
        };
        if !manifest.value["metadata"].is_object() {
            return lacks("metadata");
        }
        if manifest.api_version.is_empty() {
            return lacks("apiVersion");
        }
        if manifest.kind.is_empty() {
            return lacks("kind");
        }
        if manifest.name.is_empty() && manifest.value["metadata"]["generateName"].is_null() {
            return lacks("metadata.name (nor metadata.generateName)");
        }
        Ok(manifest)
    }

    fn described(&self) -> String {
        if self.kind.is_empty() && self.name.is_empty() {
            String::new()
        } else {
            format!(": {self}")
        }
    }
}

/// `Pod default/x`.
impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(group: &str, plural: &str, namespaced: bool) -> Resource {
        Resource {
            group: group.to_owned(),
            version: "v1".to_owned(),
            plural: plural.to_owned(),
            kind: "Kind".to_owned(),
            namespaced,
            verbs: Vec::new(),
            subresources: Vec::new(),
        }
    }

    #[test]
    fn paths_and_series() {
        let pods = resource("", "pods", true);
        let roles = resource("rbac.authorization.k8s.io", "clusterroles", false);
        let get = Prepared::get(&pods, "ns", "a.b-c").unwrap();
        assert_eq!(get.uri(), "/api/v1/namespaces/ns/pods/a.b-c");
        assert_eq!(get.series(), "GET /api/v1/namespaces/:namespace/pods/:name");
        let get = Prepared::get(&roles, "", "system:a b?").unwrap();
        assert_eq!(
            get.uri(),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:a%20b%3F"
        );
        let create = Prepared::create(&pods, "ns", "{}").unwrap();
        assert_eq!(
            create.uri(),
            "/api/v1/namespaces/ns/pods?fieldManager=kperf-host"
        );
        assert_eq!(create.series(), "POST /api/v1/namespaces/:namespace/pods");
        let patch = Prepared::patch(&pods, "ns", "x", "status", PatchType::Merge, "{}").unwrap();
        assert_eq!(
            patch.series(),
            "PATCH /api/v1/namespaces/:namespace/pods/:name/status"
        );
        let list = Prepared::list(
            &pods,
            &Scope {
                label_selector: "a=b,c in (d)&limit=1".into(),
                ..Scope::default()
            },
            5,
            "",
        )
        .unwrap();
        assert_eq!(
            list.uri(),
            "/api/v1/pods?labelSelector=a%3Db%2Cc+in+%28d%29%26limit%3D1&limit=5"
        );
    }

    #[test]
    fn names_cannot_lead_elsewhere() {
        let pods = resource("", "pods", true);
        let nodes = resource("", "nodes", false);
        for name in ["", ".", "..", "a/b", "../x", "a%2fb", "a\0"] {
            assert!(Prepared::get(&pods, "ns", name).is_err(), "{name:?}");
            assert!(Prepared::get(&nodes, "", name).is_err(), "{name:?}");
        }
        for namespace in [
            "",
            "..",
            "a/b",
            "A",
            "-a",
            "a-",
            "a.b",
            "a%2f",
            "kube-system/pods",
        ] {
            assert!(
                Prepared::get(&pods, namespace, "x").is_err(),
                "{namespace:?}"
            );
            assert!(
                Prepared::create(&pods, namespace, "").is_err(),
                "{namespace:?}"
            );
        }
        assert!(Prepared::get(&nodes, "ns", "x").is_err());
        for sub in ["../x", "a/b", "Status", "status?x"] {
            assert!(
                Prepared::update(&pods, "ns", "x", sub, "").is_err(),
                "{sub:?}"
            );
        }
    }

    #[test]
    fn a_collection_is_never_deleted_without_a_selector() {
        let pods = resource("", "pods", true);
        let delete = |namespace: &str, selector: &str| {
            let scope = Scope {
                namespace: namespace.into(),
                label_selector: selector.into(),
                ..Scope::default()
            };
            Prepared::delete_collection(&pods, &scope, &DeleteOptions::default())
        };
        assert!(delete("ns", "").is_err());
        assert!(delete("ns", "  ").is_err());
        assert!(delete("", "a=b").is_err());
        assert!(delete("ns", "a=b").is_ok());
    }

    #[test]
    fn manifests_say_what_they_lack() {
        for (text, part) in [
            ("", "not JSON"),
            ("[]", "no metadata"),
            (
                r#"{"kind":"Pod","metadata":{"name":"x"}}"#,
                "no apiVersion: Pod x",
            ),
            (r#"{"apiVersion":"v1","metadata":{"name":"x"}}"#, "no kind"),
            (r#"{"apiVersion":"v1","kind":"Pod"}"#, "no metadata"),
            (
                r#"{"apiVersion":"v1","kind":"Pod","metadata":{}}"#,
                "metadata.name",
            ),
            (
                r#"{"apiVersion":1,"kind":"Pod","metadata":{}}"#,
                "apiVersion is not a text",
            ),
        ] {
            let failure = Manifest::parse(text).unwrap_err();
            assert!(failure.message.contains(part), "{text}: {failure}");
        }
        let manifest = Manifest::parse(
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"a","generateName":"x-"}}"#,
        )
        .unwrap();
        assert_eq!(
            (manifest.namespace.as_str(), manifest.name.as_str()),
            ("a", "")
        );
    }
}
