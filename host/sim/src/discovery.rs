//! Everything that is not a resource: health, version, discovery, OpenAPI, metrics.

use std::sync::Arc;

use http::{HeaderMap, StatusCode, header::ACCEPT};
use serde_json::{Value, json};

use crate::{
    answer::{Answer, JSON},
    body::Body,
    handle::Shared,
    registry::{Registry, Resource},
    status::Status,
};

/// Version the server claims, and behaves like.
pub(crate) const GIT_VERSION: &str = "v1.33.4";

const ALL_VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// Health endpoints: open to everybody, never faulty.
pub(crate) fn health(path: &str, query: &str) -> Option<Answer> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut segments = path.strip_prefix('/')?.split('/');
    let probe = segments.next()?;
    if !matches!(probe, "healthz" | "livez" | "readyz") {
        return None;
    }
    match (segments.next(), segments.next()) {
        (None, None)
            if form_urlencoded::parse(query.as_bytes()).any(|(key, _)| key == "verbose") =>
        {
            let text = format!("[+]ping ok\n[+]etcd ok\n{probe} check passed\n");
            Some(Answer::text(StatusCode::OK, text))
        }
        (None | Some("ping" | "etcd"), None) => Some(Answer::text(StatusCode::OK, &b"ok"[..])),
        _ => None,
    }
}

/// Answers GET of a path that is no resource.
pub(crate) fn serve(
    shared: &Arc<Shared>,
    path: &str,
    headers: &HeaderMap,
) -> Result<Answer, Status> {
    let registry = shared.store.registry();
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    Ok(match segments.as_slice() {
        [] => Answer::json(&json!({"paths": paths(&registry)})),
        ["version"] => Answer::json(&version()),
        ["metrics"] => Answer::new(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            Body::Whole(shared.metrics.render(&shared.store, shared.threads).into()),
        ),
        ["api"] if wants_aggregated(headers) => aggregated(&registry, true),
        ["apis"] if wants_aggregated(headers) => aggregated(&registry, false),
        ["api"] => Answer::json(&json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": shared.url.split("//").nth(1).unwrap_or_default()}],
        })),
        ["apis"] => {
            let groups: Vec<Value> = groups(&registry)
                .iter()
                .map(|g| group(&registry, g))
                .collect();
            Answer::json(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["api", "v1"] => resources(&registry, "", "v1"),
        ["apis", name] if groups(&registry).iter().any(|g| g == name) => {
            let mut value = group(&registry, name);
            value["kind"] = json!("APIGroup");
            value["apiVersion"] = json!("v1");
            Answer::json(&value)
        }
        ["apis", name, version]
            if registry
                .resources()
                .iter()
                .any(|r| r.group.as_str() == *name && r.version.as_str() == *version) =>
        {
            resources(&registry, name, version)
        }
        ["openapi", "v2"] => openapi_v2(headers)?,
        ["openapi", "v3"] => openapi_v3_index(&registry),
        ["openapi", "v3", "api", version] => openapi_v3(&registry, "", version),
        ["openapi", "v3", "apis", group, version] => openapi_v3(&registry, group, version),
        _ => return nothing_at(shared, path),
    })
}

/// The answer to a path that leads nowhere: a Status below a built-in group, text elsewhere.
///
/// # Errors
/// Such a Status.
pub(crate) fn nothing_at(shared: &Shared, path: &str) -> Result<Answer, Status> {
    let mut segments = path.split('/').filter(|s| !s.is_empty());
    let served = match (segments.next(), segments.next()) {
        (Some("api"), Some(_)) => true,
        (Some("apis"), Some(group)) => shared
            .store
            .registry()
            .resources()
            .iter()
            .any(|r| !r.custom && r.group == group),
        _ => false,
    };
    if served {
        Err(Status::nothing_there())
    } else {
        Ok(Answer::page_not_found())
    }
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "33", "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2025-08-13T10:00:00Z", "goVersion": "", "compiler": "rustc", "platform": "linux/amd64",
    })
}

fn paths(registry: &Registry) -> Vec<String> {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for group in groups(registry) {
        paths.push(format!("/apis/{group}"));
        paths.extend(
            versions(registry, &group)
                .iter()
                .map(|v| format!("/apis/{group}/{v}")),
        );
    }
    paths.extend(
        [
            "/healthz",
            "/livez",
            "/metrics",
            "/openapi/v2",
            "/openapi/v3",
            "/readyz",
            "/version",
        ]
        .map(str::to_owned),
    );
    paths
}

/// Named groups in the order of the table.
fn groups(registry: &Registry) -> Vec<String> {
    let mut groups: Vec<String> = Vec::new();
    for resource in registry.resources() {
        if !resource.group.is_empty() && !groups.iter().any(|g| *g == resource.group) {
            groups.push(resource.group.clone());
        }
    }
    groups
}

fn versions(registry: &Registry, group: &str) -> Vec<String> {
    let mut versions: Vec<String> = Vec::new();
    for resource in registry
        .resources()
        .iter()
        .filter(|r| r.group.as_str() == group)
    {
        if !versions.iter().any(|v| *v == resource.version) {
            versions.push(resource.version.clone());
        }
    }
    versions
}

fn group(registry: &Registry, name: &str) -> Value {
    let versions: Vec<Value> = versions(registry, name)
        .iter()
        .map(|v| json!({"groupVersion": format!("{name}/{v}"), "version": v}))
        .collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions.first()})
}

fn verbs(resource: &Resource) -> &'static [&'static str] {
    if resource.is("", "bindings") {
        &["create"]
    } else if resource.is("", "namespaces") {
        &[
            "create", "delete", "get", "list", "patch", "update", "watch",
        ]
    } else {
        ALL_VERBS
    }
}

/// Kind (with its group and version) and verbs of a subresource.
fn subresource(
    resource: &Resource,
    name: &str,
) -> (String, String, String, &'static [&'static str]) {
    let own = || {
        (
            resource.group.clone(),
            resource.version.clone(),
            resource.kind.clone(),
        )
    };
    let ((group, version, kind), verbs): (_, &'static [&'static str]) = match name {
        "scale" => (
            (
                "autoscaling".to_owned(),
                "v1".to_owned(),
                "Scale".to_owned(),
            ),
            &["get", "patch", "update"],
        ),
        "binding" => (
            (String::new(), "v1".to_owned(), "Binding".to_owned()),
            &["create"],
        ),
        "eviction" => (
            ("policy".to_owned(), "v1".to_owned(), "Eviction".to_owned()),
            &["create"],
        ),
        "log" => (own(), &["get"]),
        "finalize" => (own(), &["update"]),
        _ => (own(), &["get", "patch", "update"]),
    };
    (group, version, kind, verbs)
}

fn resources(registry: &Registry, group: &str, version: &str) -> Answer {
    let mut list = Vec::new();
    for resource in registry
        .resources()
        .iter()
        .filter(|r| r.group.as_str() == group && r.version.as_str() == version)
    {
        let mut entry = json!({
            "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": verbs(resource),
        });
        if !resource.short_names.is_empty() {
            entry["shortNames"] = json!(resource.short_names);
        }
        if !resource.categories.is_empty() {
            entry["categories"] = json!(resource.categories);
        }
        list.push(entry);
        for name in &resource.subresources {
            let (sub_group, sub_version, kind, verbs) = subresource(resource, name);
            let mut entry = json!({
                "name": format!("{}/{name}", resource.plural), "singularName": "", "namespaced": resource.namespaced,
                "kind": kind, "verbs": verbs,
            });
            if (sub_group.as_str(), sub_version.as_str()) != (group, version) {
                entry["group"] = json!(sub_group);
                entry["version"] = json!(sub_version);
            }
            list.push(entry);
        }
    }
    let group_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    let mut value =
        json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": list});
    // The core group's list says nothing of its own version.
    if !group.is_empty() {
        value["apiVersion"] = json!("v1");
    }
    Answer::json(&value)
}

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

fn wants_aggregated(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|media| {
            let has = |part: &str| media.split(';').any(|p| p.trim() == part);
            has("application/json")
                && has("g=apidiscovery.k8s.io")
                && has("v=v2")
                && has("as=APIGroupDiscoveryList")
        })
}

fn aggregated(registry: &Registry, core: bool) -> Answer {
    let names = if core {
        vec![String::new()]
    } else {
        groups(registry)
    };
    let items: Vec<Value> = names
        .iter()
        .map(|name| {
            let versions: Vec<Value> = versions(registry, name)
                .iter()
                .map(|version| {
                    let resources: Vec<Value> = registry
                        .resources()
                        .iter()
                        .filter(|r| r.group.as_str() == name && r.version.as_str() == version)
                        .map(|r| aggregated_resource(r))
                        .collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            let metadata = if core {
                json!({"creationTimestamp": null})
            } else {
                json!({"name": name, "creationTimestamp": null})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let mut answer = Answer::json(&json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    }));
    answer.content_type = AGGREGATED;
    answer
}

fn aggregated_resource(resource: &Resource) -> Value {
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|name| {
            let (group, version, kind, verbs) = subresource(resource, name);
            json!({"subresource": name, "responseKind": {"group": group, "version": version, "kind": kind}, "verbs": verbs})
        })
        .collect();
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": verbs(resource),
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    if !subresources.is_empty() {
        entry["subresources"] = json!(subresources);
    }
    entry
}

/// An OpenAPI v2 document without schemas; the protobuf form is refused.
fn openapi_v2(headers: &HeaderMap) -> Result<Answer, Status> {
    let accept: Vec<&str> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .collect();
    if !accept.is_empty()
        && !accept
            .iter()
            .any(|a| a.contains("json") || a.contains("*/*"))
    {
        return Err(Status::not_acceptable());
    }
    Ok(Answer::json(&json!({
        "swagger": "2.0", "info": {"title": "Kubernetes", "version": GIT_VERSION}, "paths": {}, "definitions": {},
    })))
}

fn openapi_v3_index(registry: &Registry) -> Answer {
    let mut paths = serde_json::Map::new();
    let mut add = |path: String| {
        let document = openapi_document(registry, &path);
        // The hash lets clients cache: it must change with the document.
        let hash = document
            .to_string()
            .bytes()
            .fold(0, |h, b| crate::faults::mix(h ^ u64::from(b)));
        paths.insert(
            path.clone(),
            json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash:016X}")}),
        );
    };
    add("api/v1".to_owned());
    for group in groups(registry) {
        for version in versions(registry, &group) {
            add(format!("apis/{group}/{version}"));
        }
    }
    Answer::json(&json!({ "paths": paths }))
}

fn openapi_v3(registry: &Registry, group: &str, version: &str) -> Answer {
    if !registry
        .resources()
        .iter()
        .any(|r| r.group.as_str() == group && r.version.as_str() == version)
    {
        return Answer::page_not_found();
    }
    let path = if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    };
    let text = format!("{}\n", openapi_document(registry, &path));
    Answer::new(StatusCode::OK, JSON, Body::Whole(text.into()))
}

/// Paths with the query parameters clients look for (`fieldValidation`, `dryRun`); no schemas, so that
/// clients leave validation to the server.
fn openapi_document(registry: &Registry, path: &str) -> Value {
    let mut paths = serde_json::Map::new();
    let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    for resource in registry.resources() {
        let prefix = if resource.group.is_empty() {
            format!("api/{}", resource.version)
        } else {
            format!("apis/{}/{}", resource.group, resource.version)
        };
        if prefix != path {
            continue;
        }
        let middle = if resource.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let kind =
            json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
        let operation = |action: &str| {
            json!({
                "x-kubernetes-action": action,
                "x-kubernetes-group-version-kind": kind,
                "parameters": [parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation"), parameter("force")],
                "responses": {"200": {"description": "OK"}},
            })
        };
        paths.insert(
            format!("/{prefix}{middle}/{}", resource.plural),
            json!({"post": operation("post")}),
        );
        paths.insert(
            format!("/{prefix}{middle}/{}/{{name}}", resource.plural),
            json!({"put": operation("put"), "patch": operation("patch")}),
        );
    }
    json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": GIT_VERSION}, "paths": paths,
        "components": {"schemas": {}},
    })
}
