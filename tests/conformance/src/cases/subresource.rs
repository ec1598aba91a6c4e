//! status, scale, log, binding, eviction, finalize.

use serde_json::{Value, json};

use crate::{
    api::{Api, deployment, idle_pod},
    case::Case,
};

pub(super) const CASES: &[Case] = &[
    Case::new("subresource: status is written by itself", status),
    Case::new("subresource: status by patch", status_patch),
    Case::new("subresource: scale", scale),
    Case::new("subresource: scale of nothing", no_scale),
    Case::new("subresource: log of a pod that has no node", log),
    Case::new("subresource: log of no pod", no_log),
    Case::new("subresource: log of a container that is none", no_container),
    Case::new("subresource: binding", binding),
    Case::new("subresource: eviction", eviction),
];

/// An Ingress of a class that no controller takes, so that nothing but its case writes its status.
fn idle_ingress(port: u16) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "a"},
        "spec": {
            "ingressClassName": "nobody",
            "defaultBackend": {"service": {"name": "a", "port": {"number": port}}},
        },
    })
}

fn status(api: &Api) -> anyhow::Result<()> {
    const PORT: &str = "/spec/defaultBackend/service/port/number";
    const ADDRESS: &str = "/status/loadBalancer/ingress/0/ip";
    let ns = api.namespace("status")?;
    let path = |name: &str| ns.group("networking.k8s.io/v1", name);
    let with_address = |port: u16, address: &str| {
        let mut body = idle_ingress(port);
        body["status"] = json!({"loadBalancer": {"ingress": [{"ip": address}]}});
        body
    };
    api.post(path("ingresses"), &idle_ingress(80)).ok(201)?;
    // Of an object sent to its status, the status is taken.
    api.put(path("ingresses/a/status"), &with_address(81, "192.0.2.1"))
        .ok(200)?
        .is("/kind", "Ingress")?
        .is(ADDRESS, "192.0.2.1")?
        .is(PORT, 80)?
        .is("/metadata/generation", 1)?;
    // And of one sent to itself, everything else.
    api.put(path("ingresses/a"), &with_address(82, "192.0.2.2"))
        .ok(200)?
        .is(ADDRESS, "192.0.2.1")?
        .is(PORT, 82)?
        .is("/metadata/generation", 2)?;
    api.get(path("ingresses/a/status"))
        .ok(200)?
        .is("/kind", "Ingress")?
        .is(ADDRESS, "192.0.2.1")?;
    Ok(())
}

fn status_patch(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("status-patch")?;
    api.post(ns.core("pods"), &idle_pod("a")).ok(201)?;
    api.patch(
        "strategic-merge",
        ns.core("pods/a/status"),
        &json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}, "metadata": {"labels": {"l": "1"}}}),
    )
    .ok(200)?
    .is("/status/conditions/0/type", "Ready")?;
    api.patch(
        "strategic-merge",
        ns.core("pods/a/status"),
        &json!({"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "Initialized", "status": "True"}]}}),
    )
    .ok(200)?
    .is("/status/conditions/0/status", "False")?
    .is("/status/conditions/1/type", "Initialized")?
    .lacks("/status/conditions/2")?;
    Ok(())
}

fn scale(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("scale")?;
    let mut body = deployment("a");
    body["spec"]["paused"] = json!(true);
    api.post(ns.apps("deployments"), &body).ok(201)?;
    api.get(ns.apps("deployments/a/scale"))
        .ok(200)?
        .is("/kind", "Scale")?
        .is("/apiVersion", "autoscaling/v1")?
        .is("/metadata/name", "a")?
        .is("/status/selector", "app=a")?
        .is("/status/replicas", 0)?;
    api.patch(
        "merge",
        ns.apps("deployments/a/scale"),
        &json!({"spec": {"replicas": 2}}),
    )
    .ok(200)?
    .is("/spec/replicas", 2)?;
    api.get(ns.apps("deployments/a"))
        .ok(200)?
        .is("/spec/replicas", 2)?
        .is("/metadata/generation", 2)?;
    Ok(())
}

fn no_scale(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("no-scale")?;
    api.get(ns.apps("deployments/a/scale"))
        .refused(404, "NotFound")?
        .says("deployments.apps \"a\" not found")?;
    Ok(())
}

fn log(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("log")?;
    api.post(ns.core("pods"), &idle_pod("a")).ok(201)?;
    let reply = api.get(ns.core("pods/a/log")).ok(204)?;
    let empty = reply.body.is_empty();
    reply.check("an empty log", empty)?;
    Ok(())
}

fn no_log(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("no-log")?;
    api.get(ns.core("pods/a/log"))
        .refused(404, "NotFound")?
        .says("pods \"a\" not found")?
        .about("", "pods", "a")?;
    Ok(())
}

fn no_container(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("no-container")?;
    let mut pod = idle_pod("a");
    pod["spec"]["containers"] =
        json!([{"name": "one", "image": "one"}, {"name": "two", "image": "two"}]);
    api.post(ns.core("pods"), &pod).ok(201)?;
    api.get(ns.core("pods/a/log"))
        .query("container", "three")
        .refused(400, "BadRequest")?
        .says("container three is not valid for pod a")?;
    api.get(ns.core("pods/a/log"))
        .refused(400, "BadRequest")?
        .says("a container name must be specified for pod a, choose one of: [one two]")?;
    api.get(ns.core("pods/a/log"))
        .query("tailLines", "-1")
        .query("container", "one")
        .refused(422, "Invalid")?
        .about("", "PodLogOptions", "a")?
        .causes(&[("FieldValueInvalid", "tailLines")])?;
    Ok(())
}

fn binding(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("binding")?;
    let _held = ns.holds("pods/a");
    api.post(ns.core("pods"), &idle_pod("a")).ok(201)?;
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "nowhere"},
    });
    api.post(ns.core("pods/a/binding"), &binding)
        .ok(201)?
        .is("/kind", "Status")?
        .is("/status", "Success")?
        .is("/code", 201)?;
    api.get(ns.core("pods/a"))
        .ok(200)?
        .is("/spec/nodeName", "nowhere")?;
    api.post(ns.core("pods/a/binding"), &binding)
        .refused(409, "Conflict")?
        .about("", "pods/binding", "a")?
        .says("Operation cannot be fulfilled on pods/binding \"a\": pod a is already assigned to node \"nowhere\"")?;
    Ok(())
}

fn eviction(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("eviction")?;
    api.post(ns.core("pods"), &idle_pod("a")).ok(201)?;
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}});
    api.post(ns.core("pods/a/eviction"), &eviction)
        .ok(201)?
        .is("/kind", "Status")?
        .is("/status", "Success")?;
    api.get(ns.core("pods/a")).refused(404, "NotFound")?;
    api.post(ns.core("pods/a/eviction"), &eviction)
        .refused(404, "NotFound")?;
    Ok(())
}
