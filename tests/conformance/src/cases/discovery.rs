//! Discovery, version, health, OpenAPI.

use serde_json::{Value, json};

use crate::{
    api::{Api, Reply, items},
    case::Case,
};

pub(super) const CASES: &[Case] = &[
    Case::new("discovery: /api", api_versions),
    Case::new("discovery: /apis", groups),
    Case::new("discovery: a group", group),
    Case::new("discovery: resources of the core group", core),
    Case::new("discovery: resources of apps", apps),
    Case::new("discovery: aggregated", aggregated),
    Case::new(
        "discovery: aggregated, of a version nobody has",
        aggregated_unknown,
    ),
    Case::new("discovery: /version", version),
    Case::new("discovery: health", health),
    Case::new("discovery: OpenAPI", openapi),
    Case::new("discovery: /metrics", metrics),
];

fn api_versions(api: &Api) -> anyhow::Result<()> {
    api.get("/api")
        .ok(200)?
        .is("/kind", "APIVersions")?
        .is("/versions", json!(["v1"]))?
        .has("/serverAddressByClientCIDRs/0/serverAddress")?;
    Ok(())
}

fn groups(api: &Api) -> anyhow::Result<()> {
    let reply = api
        .get("/apis")
        .ok(200)?
        .is("/kind", "APIGroupList")?
        .is("/apiVersion", "v1")?;
    for name in [
        "apps",
        "batch",
        "coordination.k8s.io",
        "rbac.authorization.k8s.io",
        "apiextensions.k8s.io",
    ] {
        let group = items(reply.at("/groups")).find(|group| group["name"] == name);
        let preferred = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
        let fits = group.is_some_and(|group| {
            group["preferredVersion"] == preferred
                && items(&group["versions"]).any(|version| *version == preferred)
        });
        if !fits {
            return Err(reply.differs(&format!("{name} with v1"), format!("{group:?}")));
        }
    }
    Ok(())
}

fn group(api: &Api) -> anyhow::Result<()> {
    api.get("/apis/apps")
        .ok(200)?
        .is("/kind", "APIGroup")?
        .is("/apiVersion", "v1")?
        .is("/name", "apps")?
        .is(
            "/preferredVersion",
            json!({"groupVersion": "apps/v1", "version": "v1"}),
        )?;
    Ok(())
}

/// One resource of a list of resources.
fn resource(reply: &Reply, name: &str) -> anyhow::Result<Value> {
    items(reply.at("/resources"))
        .find(|resource| resource["name"] == name)
        .cloned()
        .ok_or_else(|| reply.differs(&format!("the resource {name}"), "none"))
}

/// Compares what clients use of a resource; its `storageVersionHash` is the server's own affair.
fn compare(reply: &Reply, expected: Value) -> anyhow::Result<()> {
    let mut got = resource(reply, expected["name"].as_str().unwrap_or_default())?;
    if let Some(got) = got.as_object_mut() {
        got.remove("storageVersionHash");
    }
    if got == expected {
        Ok(())
    } else {
        Err(reply.differs(&expected.to_string(), got))
    }
}

fn core(api: &Api) -> anyhow::Result<()> {
    let all = [
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ];
    let reply = api
        .get("/api/v1")
        .ok(200)?
        .is("/kind", "APIResourceList")?
        .is("/groupVersion", "v1")?
        .lacks("/apiVersion")?;
    for expected in [
        json!({
            "name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": all,
            "shortNames": ["po"], "categories": ["all"],
        }),
        json!({
            "name": "configmaps", "singularName": "configmap", "namespaced": true,
            "kind": "ConfigMap", "verbs": all, "shortNames": ["cm"],
        }),
        json!({
            "name": "nodes", "singularName": "node", "namespaced": false, "kind": "Node",
            "verbs": all, "shortNames": ["no"],
        }),
        json!({
            "name": "namespaces", "singularName": "namespace", "namespaced": false,
            "kind": "Namespace", "shortNames": ["ns"],
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
        }),
        json!({
            "name": "services", "singularName": "service", "namespaced": true, "kind": "Service",
            "verbs": all, "shortNames": ["svc"], "categories": ["all"],
        }),
        json!({
            "name": "bindings", "singularName": "binding", "namespaced": true, "kind": "Binding",
            "verbs": ["create"],
        }),
        json!({
            "name": "pods/log", "singularName": "", "namespaced": true, "kind": "Pod",
            "verbs": ["get"],
        }),
        json!({
            "name": "pods/status", "singularName": "", "namespaced": true, "kind": "Pod",
            "verbs": ["get", "patch", "update"],
        }),
        json!({
            "name": "pods/binding", "singularName": "", "namespaced": true, "kind": "Binding",
            "verbs": ["create"],
        }),
        json!({
            "name": "pods/eviction", "singularName": "", "namespaced": true, "group": "policy",
            "version": "v1", "kind": "Eviction", "verbs": ["create"],
        }),
        json!({
            "name": "namespaces/finalize", "singularName": "", "namespaced": false,
            "kind": "Namespace", "verbs": ["update"],
        }),
    ] {
        compare(&reply, expected)?;
    }
    Ok(())
}

fn apps(api: &Api) -> anyhow::Result<()> {
    let reply = api
        .get("/apis/apps/v1")
        .ok(200)?
        .is("/kind", "APIResourceList")?
        .is("/apiVersion", "v1")?
        .is("/groupVersion", "apps/v1")?;
    compare(
        &reply,
        json!({
            "name": "deployments", "singularName": "deployment", "namespaced": true,
            "kind": "Deployment", "shortNames": ["deploy"], "categories": ["all"],
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        }),
    )?;
    compare(
        &reply,
        json!({
            "name": "deployments/scale", "singularName": "", "namespaced": true,
            "group": "autoscaling", "version": "v1", "kind": "Scale",
            "verbs": ["get", "patch", "update"],
        }),
    )
}

fn aggregated(api: &Api) -> anyhow::Result<()> {
    let media = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    for (path, group, name) in [
        ("/api", Value::Null, "pods"),
        ("/apis", json!("apps"), "deployments"),
    ] {
        let reply = api
            .get(path)
            .accept(&format!("{media},application/json"))
            .ok(200)?
            .header("content-type", media)?
            .is("/kind", "APIGroupDiscoveryList")?
            .is("/apiVersion", "apidiscovery.k8s.io/v2")?;
        let found = items(reply.at("/items")).find(|item| item["metadata"]["name"] == group);
        let resource = found
            .into_iter()
            .flat_map(|group| items(&group["versions"]))
            .filter(|version| version["version"] == "v1" && version["freshness"] == "Current")
            .flat_map(|version| items(&version["resources"]))
            .find(|resource| resource["resource"] == name)
            .cloned()
            .unwrap_or_default();
        let kind = &resource["responseKind"];
        let fits = resource["scope"] == "Namespaced"
            && kind["kind"].is_string()
            && resource["verbs"]
                .as_array()
                .is_some_and(|verbs| verbs.len() == 8)
            && items(&resource["subresources"]).any(|sub| {
                sub["subresource"] == "status" && sub["verbs"] == json!(["get", "patch", "update"])
            });
        if !fits {
            return Err(reply.differs(&format!("{name} of {group}"), resource));
        }
    }
    Ok(())
}

fn aggregated_unknown(api: &Api) -> anyhow::Result<()> {
    api.get("/apis")
        .accept(
            "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList,application/json",
        )
        .ok(200)?
        .is("/kind", "APIGroupList")?;
    Ok(())
}

fn version(api: &Api) -> anyhow::Result<()> {
    let reply = api.get("/version").ok(200)?.is("/major", "1")?;
    let (minor, git) = (reply.str("/minor")?, reply.str("/gitVersion")?);
    let prefix = format!("v1.{}.", minor.trim_end_matches('+'));
    let fits = git.starts_with(&prefix) && reply.at("/platform").is_string();
    reply.check("a gitVersion that fits major and minor", fits)?;
    Ok(())
}

fn health(api: &Api) -> anyhow::Result<()> {
    for path in ["/healthz", "/readyz", "/livez", "/livez/ping"] {
        let reply = api
            .get(path)
            .ok(200)?
            .header("content-type", "text/plain; charset=utf-8")?;
        let text = reply.text();
        reply.check("ok", text == "ok")?;
    }
    let reply = api.get("/readyz?verbose").ok(200)?;
    let text = reply.text();
    reply.check(
        "checks by name and the result",
        text.contains("[+]ping ok\n") && text.ends_with("readyz check passed\n"),
    )?;
    Ok(())
}

fn openapi(api: &Api) -> anyhow::Result<()> {
    api.get("/openapi/v2").ok(200)?.is("/swagger", "2.0")?;
    let index = api.get("/openapi/v3").ok(200)?;
    let url = index.str("/paths/apis~1apps~1v1/serverRelativeURL")?;
    api.get(url)
        .ok(200)?
        .is("/openapi", "3.0.0")?
        .has("/paths/~1apis~1apps~1v1~1namespaces~1{namespace}~1deployments~1{name}/patch")?;
    Ok(())
}

fn metrics(api: &Api) -> anyhow::Result<()> {
    api.get("/api/v1/namespaces/default").ok(200)?;
    let reply = api.get("/metrics").accept("text/plain").ok(200)?;
    let text = reply.text();
    reply.check(
        "apiserver_request_total",
        text.contains("# TYPE apiserver_request_total counter"),
    )?;
    Ok(())
}
