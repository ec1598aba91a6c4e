//! What a plugin may do to the cluster: one pure decision, [`decide`].
//!
//! A grant is written `VERBS:RESOURCE[.GROUP][@NAMESPACE]`:
//!
//! | text | covers |
//! | --- | --- |
//! | `list,watch:nodes` | two verbs on nodes, a resource of the core group |
//! | `*:pods@kube-system` | every verb on pods in one namespace |
//! | `create,delete:customresourcedefinitions.apiextensions.k8s.io` | a resource of a named group |
//! | `update:virtualmachines/start.subresources.kubevirt.io` | a subresource, and only that |
//! | `get:pods/*` | every subresource of pods, but not pods |
//! | `get:*` | every resource of the core group, no subresource |
//! | `get:*.*` | every resource of every group, no subresource |
//!
//! Verbs are Kubernetes' own. Without `@` a grant holds in every namespace and for what has none.
//! A server-side apply is a `patch`, and a `create` where it creates.
//!
//! Without any grant a plugin may create namespaces, get and delete those the run created, and do in
//! them whatever stays in them: not read or change `secrets` (create and delete are fine), not touch
//! `rbac.authorization.k8s.io`, not use `exec`, `attach`, `portforward`, `proxy`, `token` and the like
//! of anything. Everything else is refused.

mod http;
mod text;

use std::{collections::BTreeSet, fmt};

pub use http::Asked;
pub use text::GrantError;

use crate::api::request::is_namespace;

/// What is done to a resource, in Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "they are what they are called")]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Get,
        Self::List,
        Self::Watch,
        Self::Create,
        Self::Update,
        Self::Patch,
        Self::Delete,
        Self::DeleteCollection,
    ];

    /// As in a grant.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// A permission beyond the default. Parsed from and shown as in the table above.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// Empty = every verb.
    verbs: BTreeSet<Verb>,
    /// Empty = core, `*` = every group.
    group: String,
    /// `*` = every resource.
    resource: String,
    /// Empty = the resource itself, `*` = every subresource.
    subresource: String,
    /// `None` = everywhere.
    namespace: Option<String>,
    /// Empty = all objects. Not in the text: only who knows the requests beforehand can say it.
    names: BTreeSet<String>,
}

/// What a plugin asks to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Verb.
    pub verb: Verb,
    /// Empty for the core group.
    pub group: &'a str,
    /// Plural, as in paths.
    pub resource: &'a str,
    /// Empty without one.
    pub subresource: &'a str,
    /// `None` (or empty) for what has no namespace and for every namespace at once.
    pub namespace: Option<&'a str>,
    /// `None` (or empty) when it is not about one object.
    pub name: Option<&'a str>,
}

/// What is allowed to a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Given by the user.
    pub grants: Vec<Grant>,
    /// Created by the run.
    pub namespaces: BTreeSet<String>,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    request: String,
    /// What would have allowed it; nothing would if the request is malformed.
    pub missing: Option<Box<Grant>>,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the run may not {}; ", self.request)?;
        match &self.missing {
            Some(grant) => write!(f, "to allow it, add --grant '{grant}'"),
            None => f.write_str("there is no such resource or namespace, so no grant allows it"),
        }
    }
}

impl std::error::Error for Denied {}

/// Subresources that lead out of a namespace, into a container, or to credentials, whatever they belong to.
const LEADING_OUT: &[&str] = &[
    "exec",
    "attach",
    "portforward",
    "proxy",
    "token",
    "console",
    "vnc",
    "usbredir",
    "vsock",
];
const RBAC: &str = "rbac.authorization.k8s.io";

/// Decides. Reads nothing but its arguments.
///
/// # Errors
/// The refusal, with the grant that is missing.
pub fn decide(policy: &Policy, request: &Request<'_>) -> Result<(), Denied> {
    decide_with(&policy.grants, Some(&policy.namespaces), request)
}

/// The same for who has nothing but grants: no namespace is his own, and none may be made without a grant.
///
/// # Errors
/// The refusal, with the grant that is missing.
pub fn decide_by_grants(grants: &[Grant], request: &Request<'_>) -> Result<(), Denied> {
    decide_with(grants, None, request)
}

fn decide_with(
    grants: &[Grant],
    defaults: Option<&BTreeSet<String>>,
    request: &Request<'_>,
) -> Result<(), Denied> {
    let mut request = *request;
    // `pods/exec` given as a resource is still the subresource.
    if request.subresource.is_empty()
        && let Some((resource, subresource)) = request.resource.split_once('/')
    {
        request.resource = resource;
        request.subresource = subresource;
    }
    request.namespace = request.namespace.filter(|namespace| !namespace.is_empty());
    request.name = request.name.filter(|name| !name.is_empty());
    if !is_well_formed(&request) {
        return Err(Denied {
            request: described(&request),
            missing: None,
        });
    }
    let allowed = grants.iter().any(|grant| grant.covers(&request))
        || defaults.is_some_and(|namespaces| is_default(namespaces, &request));
    if allowed {
        return Ok(());
    }
    Err(Denied {
        request: described(&request),
        missing: Some(Box::new(Grant {
            names: BTreeSet::new(),
            verbs: BTreeSet::from([request.verb]),
            group: request.group.to_owned(),
            resource: request.resource.to_owned(),
            subresource: request.subresource.to_owned(),
            namespace: place(&request).map(str::to_owned),
        })),
    })
}

/// The server compares these byte by byte, so a spelling it does not use is no other name for the same thing.
fn is_well_formed(request: &Request<'_>) -> bool {
    let is_word = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    is_word(request.resource)
        && (request.subresource.is_empty() || is_word(request.subresource))
        && (request.group.is_empty() || request.group.split('.').all(is_word))
        && request.namespace.is_none_or(is_namespace)
}

fn is_namespaces(request: &Request<'_>) -> bool {
    request.group.is_empty() && request.resource == "namespaces"
}

/// Where the request is: a Namespace is in itself, as in RBAC.
fn place<'a>(request: &Request<'a>) -> Option<&'a str> {
    if is_namespaces(request) {
        request.name.filter(|name| is_namespace(name))
    } else {
        request.namespace
    }
}

fn is_default(own: &BTreeSet<String>, request: &Request<'_>) -> bool {
    if is_namespaces(request) {
        return request.subresource.is_empty()
            && match request.verb {
                // The name is free, or the server refuses.
                Verb::Create => true,
                Verb::Get | Verb::Delete => request.name.is_some_and(|name| own.contains(name)),
                _ => false,
            };
    }
    let inside = request
        .namespace
        .is_some_and(|namespace| own.contains(namespace));
    let reveals_secrets = request.group.is_empty()
        && request.resource == "secrets"
        && !matches!(
            request.verb,
            Verb::Create | Verb::Delete | Verb::DeleteCollection
        );
    inside
        && !reveals_secrets
        && request.group != RBAC
        && !LEADING_OUT.contains(&request.subresource)
}

impl Grant {
    /// Where it holds; none = everywhere.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Everything it allows, verb by verb and object by object, as it would be asked for.
    pub fn requests(&self) -> impl Iterator<Item = Request<'_>> {
        let namespace = self.namespace.as_deref();
        // A Namespace is in itself.
        let name = namespace.filter(|_| self.group.is_empty() && self.resource == "namespaces");
        let mut names: Vec<Option<&str>> = self.names.iter().map(|name| Some(&**name)).collect();
        if names.is_empty() {
            names.push(name);
        }
        Verb::ALL
            .into_iter()
            .filter(|verb| self.verbs.is_empty() || self.verbs.contains(verb))
            .flat_map(move |verb| names.clone().into_iter().map(move |name| (verb, name)))
            .map(move |(verb, name)| Request {
                verb,
                group: &self.group,
                resource: &self.resource,
                subresource: &self.subresource,
                namespace,
                name,
            })
    }

    /// The same for these objects only.
    #[must_use]
    pub fn of_objects(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.names = names.into_iter().collect();
        self
    }

    /// The resource if the grant is for all its subresources at once.
    #[must_use]
    pub fn every_subresource_of(&self) -> Option<&str> {
        (self.subresource == "*").then_some(&self.resource)
    }

    /// The same as a rule of a Role or ClusterRole. None for what RBAC cannot say: `*` as a resource covers every
    /// subresource (`exec`, `proxy`, `token`) there as well, which was not granted, and `pods/*` covers nothing at all.
    #[must_use]
    pub fn rule(&self) -> Option<serde_json::Value> {
        if self.resource == "*" || self.subresource == "*" {
            return None;
        }
        let resource = match self.subresource.as_str() {
            "" => self.resource.clone(),
            subresource => format!("{}/{subresource}", self.resource),
        };
        // RBAC's `*` is more verbs than there are here, `impersonate` among them.
        let verbs: Vec<&str> = Verb::ALL
            .iter()
            .filter(|verb| self.verbs.is_empty() || self.verbs.contains(verb))
            .map(|verb| verb.as_str())
            .collect();
        let mut rule = serde_json::json!({
            "apiGroups": [self.group], "resources": [resource], "verbs": verbs,
        });
        if !self.names.is_empty() {
            rule["resourceNames"] = serde_json::json!(self.names);
        }
        Some(rule)
    }

    fn covers(&self, request: &Request<'_>) -> bool {
        let fits = |pattern: &str, text: &str| pattern == "*" || pattern == text;
        (self.verbs.is_empty() || self.verbs.contains(&request.verb))
            && fits(&self.group, request.group)
            && fits(&self.resource, request.resource)
            // The resource's own `*` is not one of its subresources.
            && match self.subresource.as_str() {
                "" => request.subresource.is_empty(),
                "*" => !request.subresource.is_empty(),
                name => name == request.subresource,
            }
            && (self.names.is_empty() || request.name.is_some_and(|name| self.names.contains(name)))
            && self
                .namespace
                .as_deref()
                .is_none_or(|namespace| place(request) == Some(namespace))
    }
}

fn described(request: &Request<'_>) -> String {
    let mut text = format!("{} {}", request.verb.as_str(), request.resource);
    if !request.subresource.is_empty() {
        text.push_str(&format!("/{}", request.subresource));
    }
    if !request.group.is_empty() {
        text.push_str(&format!(".{}", request.group));
    }
    match (request.namespace, request.name) {
        (Some(namespace), _) => text.push_str(&format!(" in namespace {namespace:?}")),
        (None, Some(name)) => text.push_str(&format!(" {name:?}")),
        (None, None) => text.push_str(" in the whole cluster"),
    }
    text
}

#[cfg(test)]
mod tests;
