//! Lists: their shape and their order.

use serde_json::{Value, json};

use crate::{
    api::{Api, configmap, deployment, items},
    case::Case,
};

pub(super) const CASES: &[Case] = &[
    Case::new("list: shape", shape),
    Case::new("list: empty", empty),
    Case::new("list: all namespaces", all_namespaces),
    Case::new("list: ordered by namespace and name", ordered),
    Case::new("list: named group", named_group),
    Case::new("list: cluster scope", cluster_scope),
    Case::new("list: namespace that does not exist", no_namespace),
    Case::new("get: kind, version and server's metadata", get),
];

fn shape(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("list-shape")?;
    api.post(ns.core("secrets"), &json!({"metadata": {"name": "a"}}))
        .ok(201)?;
    let list = api
        .get(ns.core("secrets"))
        .ok(200)?
        .header("content-type", "application/json")?
        .is("/kind", "SecretList")?
        .is("/apiVersion", "v1")?
        .lacks("/metadata/continue")?
        .lacks("/metadata/remainingItemCount")?
        .lacks("/metadata/selfLink")?
        .names(&["a"])?
        // The kind of an item follows from the kind of its list.
        .lacks("/items/0/kind")?
        .lacks("/items/0/apiVersion")?
        .is("/items/0/metadata/namespace", ns.name.as_str())?;
    let (whole, item) = (
        list.revision()?,
        list.str("/items/0/metadata/resourceVersion")?,
    );
    let fits = item.parse::<u64>().is_ok_and(|item| item <= whole);
    list.check("a list not older than its items", fits)?;
    Ok(())
}

fn empty(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("list-empty")?;
    let list = api
        .get(ns.core("secrets"))
        .ok(200)?
        .is("/items", json!([]))?
        .is("/kind", "SecretList")?;
    list.revision()?;
    Ok(())
}

fn all_namespaces(api: &Api) -> anyhow::Result<()> {
    let (one, two) = (api.namespace("list-one")?, api.namespace("list-two")?);
    for ns in [&one, &two] {
        let mut secret = json!({"metadata": {"name": "a"}});
        secret["metadata"]["labels"] = json!({"list-all": one.name});
        api.post(ns.core("secrets"), &secret).ok(201)?;
    }
    api.get("/api/v1/secrets")
        .query("labelSelector", &format!("list-all={}", one.name))
        .ok(200)?
        .names(&["a", "a"])?;
    Ok(())
}

fn ordered(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("list-order")?;
    for name in ["b", "a-1", "a", "a.1", "10", "9"] {
        api.post(ns.core("secrets"), &json!({"metadata": {"name": name}}))
            .ok(201)?;
    }
    api.get(ns.core("secrets"))
        .ok(200)?
        .names(&["10", "9", "a", "a-1", "a.1", "b"])?;
    Ok(())
}

fn named_group(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("list-group")?;
    api.post(ns.apps("deployments"), &deployment("a")).ok(201)?;
    api.get(ns.apps("deployments"))
        .ok(200)?
        .is("/kind", "DeploymentList")?
        .is("/apiVersion", "apps/v1")?
        .lacks("/items/0/kind")?;
    Ok(())
}

fn cluster_scope(api: &Api) -> anyhow::Result<()> {
    let list = api
        .get("/api/v1/namespaces")
        .ok(200)?
        .is("/kind", "NamespaceList")?;
    let names: Vec<&Value> = items(list.at("/items"))
        .map(|item| &item["metadata"]["name"])
        .collect();
    let all = ["default", "kube-system", "kube-public", "kube-node-lease"]
        .iter()
        .all(|name| names.iter().any(|n| n == name));
    list.check("the namespaces that every cluster has", all)?;
    Ok(())
}

fn no_namespace(api: &Api) -> anyhow::Result<()> {
    api.get("/api/v1/namespaces/conformance-there-is-none/secrets")
        .ok(200)?
        .is("/items", json!([]))?;
    Ok(())
}

fn get(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("get")?;
    let created = api
        .post(ns.core("configmaps"), &configmap("a", json!({"k": "v"})))
        .ok(201)?;
    let got = api
        .get(ns.core("configmaps/a"))
        .ok(200)?
        .is("/kind", "ConfigMap")?
        .is("/apiVersion", "v1")?
        .is("/metadata/name", "a")?
        .is("/metadata/namespace", ns.name.as_str())?
        .is("/data", json!({"k": "v"}))?
        .has("/metadata/uid")?
        .has("/metadata/creationTimestamp")?
        .lacks("/metadata/generation")?;
    let same = [
        "/metadata/uid",
        "/metadata/resourceVersion",
        "/metadata/creationTimestamp",
    ]
    .iter()
    .all(|pointer| got.at(pointer) == created.at(pointer));
    got.check("what the creation answered", same)?;
    Ok(())
}
