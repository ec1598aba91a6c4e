//! Replacement.

use serde_json::{Value, json};

use crate::{
    api::{Api, configmap, deployment},
    case::Case,
};

pub(super) const CASES: &[Case] = &[
    Case::new("update: replaces all of it", replaces),
    Case::new("update: a stale revision", stale),
    Case::new("update: another uid", other_uid),
    Case::new("update: another name", other_name),
    Case::new("update: another namespace", other_namespace),
    Case::new("update: what does not exist", missing),
    Case::new("update: a lease that does not exist", missing_lease),
    Case::new("update: nothing changed", unchanged),
    Case::new(
        "update: the generation counts changes of the spec",
        generation,
    ),
    Case::new("update: the server's metadata stays", owned),
    Case::new("update: an immutable ConfigMap", immutable),
    Case::new("update: the selector of a deployment", selector),
    Case::new("update: dry run", dry_run),
];

fn made(api: &Api, path: String, body: &Value) -> anyhow::Result<Value> {
    Ok(api.post(path, body).ok(201)?.value)
}

fn replaces(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("update")?;
    let mut body = configmap("a", json!({"k": "1", "l": "1"}));
    body["metadata"]["labels"] = json!({"l": "1"});
    let old = made(api, ns.core("configmaps"), &body)?;
    // Without a revision, whatever is there is replaced.
    let new = api
        .put(ns.core("configmaps/a"), &configmap("a", json!({"m": "2"})))
        .ok(200)?
        .is("/data", json!({"m": "2"}))?
        .lacks("/metadata/labels")?
        .is("/metadata/uid", old["metadata"]["uid"].clone())?;
    let mut third = new.value.clone();
    third["data"] = json!({"n": "3"});
    api.put(ns.core("configmaps/a"), &third)
        .ok(200)?
        .is("/data", json!({"n": "3"}))?;
    Ok(())
}

fn stale(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("stale")?;
    let old = made(
        api,
        ns.core("configmaps"),
        &configmap("a", json!({"k": "1"})),
    )?;
    let mut new = old.clone();
    new["data"]["k"] = json!("2");
    api.put(ns.core("configmaps/a"), &new).ok(200)?;
    new["data"]["k"] = json!("3");
    api.put(ns.core("configmaps/a"), &new)
        .refused(409, "Conflict")?
        .says("Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again")?
        .about("", "configmaps", "a")?;
    Ok(())
}

fn other_uid(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("other-uid")?;
    let old = made(api, ns.core("configmaps"), &configmap("a", json!({})))?;
    let mut body = configmap("a", json!({"k": "v"}));
    body["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000000");
    let uid = old["metadata"]["uid"].as_str().unwrap_or_default();
    api.put(ns.core("configmaps/a"), &body)
        .refused(409, "Conflict")?
        .about("", "configmaps", "a")?
        .mentions("Operation cannot be fulfilled on configmaps \"a\": ")?
        .mentions(&format!(
            "Precondition failed: UID in precondition: 00000000-0000-0000-0000-000000000000, UID in object meta: {uid}"
        ))?;
    Ok(())
}

fn other_name(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("other-name")?;
    made(api, ns.core("configmaps"), &configmap("a", json!({})))?;
    api.put(ns.core("configmaps/a"), &configmap("b", json!({})))
        .refused(400, "BadRequest")?
        .says("the name of the object (b) does not match the name on the URL (a)")?;
    Ok(())
}

fn other_namespace(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("update-namespace")?;
    made(api, ns.core("configmaps"), &configmap("a", json!({})))?;
    let mut body = configmap("a", json!({}));
    body["metadata"]["namespace"] = json!("default");
    api.put(ns.core("configmaps/a"), &body)
        .refused(400, "BadRequest")?
        .says(
            "the namespace of the provided object does not match the namespace sent on the request",
        )?;
    Ok(())
}

fn missing(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("update-missing")?;
    api.put(ns.apps("deployments/a"), &deployment("a"))
        .refused(404, "NotFound")?
        .says("deployments.apps \"a\" not found")?
        .about("apps", "deployments", "a")?;
    Ok(())
}

fn missing_lease(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("update-lease")?;
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"},
        "spec": {"holderIdentity": "me"},
    });
    // Some kinds are made by their first update.
    api.put(ns.group("coordination.k8s.io/v1", "leases/a"), &lease)
        .ok(201)?
        .has("/metadata/uid")?;
    Ok(())
}

fn unchanged(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("unchanged")?;
    let old = made(
        api,
        ns.core("configmaps"),
        &configmap("a", json!({"k": "v"})),
    )?;
    api.put(ns.core("configmaps/a"), &old).ok(200)?.is(
        "/metadata/resourceVersion",
        old["metadata"]["resourceVersion"].clone(),
    )?;
    Ok(())
}

fn generation(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("generation")?;
    let mut body = deployment("a");
    made(api, ns.apps("deployments"), &body)?;
    body["metadata"]["labels"] = json!({"l": "1"});
    api.put(ns.apps("deployments/a"), &body)
        .ok(200)?
        .is("/metadata/generation", 1)?;
    body["spec"]["minReadySeconds"] = json!(3);
    api.put(ns.apps("deployments/a"), &body)
        .ok(200)?
        .is("/metadata/generation", 2)?;
    Ok(())
}

fn owned(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("update-owned")?;
    let old = made(api, ns.core("configmaps"), &configmap("a", json!({})))?;
    let mut body = configmap("a", json!({"k": "v"}));
    body["metadata"]["creationTimestamp"] = json!("2001-01-01T00:00:00Z");
    api.put(ns.core("configmaps/a"), &body).ok(200)?.is(
        "/metadata/creationTimestamp",
        old["metadata"]["creationTimestamp"].clone(),
    )?;
    // Nothing is deleted by writing that it is.
    body["metadata"]["deletionTimestamp"] = json!("2001-01-01T00:00:00Z");
    api.put(ns.core("configmaps/a"), &body)
        .refused(422, "Invalid")?
        .is("/details/causes/0/reason", "FieldValueInvalid")?
        .is("/details/causes/0/field", "metadata.deletionTimestamp")?
        .says("ConfigMap \"a\" is invalid: metadata.deletionTimestamp: Invalid value: \"2001-01-01T00:00:00Z\": field is immutable")?;
    Ok(())
}

fn immutable(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("immutable")?;
    let mut body = configmap("a", json!({"k": "1"}));
    body["immutable"] = json!(true);
    made(api, ns.core("configmaps"), &body)?;
    body["data"]["k"] = json!("2");
    api.put(ns.core("configmaps/a"), &body)
        .refused(422, "Invalid")?
        .causes(&[("FieldValueForbidden", "data")])?
        .says("ConfigMap \"a\" is invalid: data: Forbidden: field is immutable when `immutable` is set")?;
    Ok(())
}

fn selector(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("update-selector")?;
    let mut body = deployment("a");
    made(api, ns.apps("deployments"), &body)?;
    body["spec"]["selector"]["matchLabels"] = json!({"app": "b"});
    body["spec"]["template"]["metadata"]["labels"] = json!({"app": "b"});
    api.put(ns.apps("deployments/a"), &body)
        .refused(422, "Invalid")?
        .causes(&[("FieldValueInvalid", "spec.selector")])?
        .mentions("field is immutable")?;
    Ok(())
}

fn dry_run(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("update-dry")?;
    let old = made(
        api,
        ns.core("configmaps"),
        &configmap("a", json!({"k": "1"})),
    )?;
    let revision = old["metadata"]["resourceVersion"].clone();
    api.put(ns.core("configmaps/a"), &configmap("a", json!({"k": "2"})))
        .query("dryRun", "All")
        .ok(200)?
        .is("/data/k", "2")?
        .is("/metadata/resourceVersion", revision.clone())?;
    api.patch(
        "merge",
        ns.core("configmaps/a"),
        &json!({"data": {"k": "3"}}),
    )
    .query("dryRun", "All")
    .ok(200)?
    .is("/data/k", "3")?
    .is("/metadata/resourceVersion", revision.clone())?;
    api.get(ns.core("configmaps/a"))
        .ok(200)?
        .is("/data/k", "1")?
        .is("/metadata/resourceVersion", revision)?;
    Ok(())
}
