//! The three patch types.

use serde_json::{Value, json};

use crate::{
    api::{Api, configmap, deployment},
    case::Case,
    namespace::Namespace,
};

pub(super) const CASES: &[Case] = &[
    Case::new("patch: JSON", json_patch),
    Case::new("patch: JSON whose test fails", json_test),
    Case::new("patch: JSON of a path that is not there", json_path),
    Case::new("patch: JSON that is none", json_malformed),
    Case::new("patch: merge", merge),
    Case::new("patch: merge that is none", merge_malformed),
    Case::new("patch: strategic merge by key", strategic),
    Case::new("patch: strategic merge deletes", strategic_delete),
    Case::new("patch: strategic merge replaces", strategic_replace),
    Case::new("patch: strategic merge without the key", strategic_no_key),
    Case::new("patch: strategic merge of finalizers", strategic_set),
    Case::new("patch: merge replaces lists", merge_lists),
    Case::new("patch: another media type", media_type),
    Case::new("patch: a stale revision", stale),
    Case::new("patch: another name", other_name),
    Case::new("patch: to something invalid", invalid),
];

fn with_configmap<'a>(api: &'a Api, prefix: &str) -> anyhow::Result<Namespace<'a>> {
    let ns = api.namespace(prefix)?;
    let mut body = configmap("a", json!({"k": "1", "l": "1"}));
    body["metadata"]["labels"] = json!({"one": "1"});
    api.post(ns.core("configmaps"), &body).ok(201)?;
    Ok(ns)
}

fn json_patch(api: &Api) -> anyhow::Result<()> {
    let ns = with_configmap(api, "json-patch")?;
    api.patch(
        "json",
        ns.core("configmaps/a"),
        &json!([
            {"op": "test", "path": "/data/k", "value": "1"},
            {"op": "replace", "path": "/data/k", "value": "2"},
            {"op": "add", "path": "/data/m", "value": "3"},
            {"op": "copy", "from": "/data/m", "path": "/data/n"},
            {"op": "move", "from": "/data/l", "path": "/data/o"},
            {"op": "remove", "path": "/metadata/labels/one"},
            {"op": "add", "path": "/metadata/annotations", "value": {}},
            {"op": "add", "path": "/metadata/annotations/example.com~1a", "value": "b"},
        ]),
    )
    .ok(200)?
    .is("/data", json!({"k": "2", "m": "3", "n": "3", "o": "1"}))?
    .is("/metadata/annotations", json!({"example.com/a": "b"}))?
    .lacks("/metadata/labels/one")?;
    Ok(())
}

fn json_test(api: &Api) -> anyhow::Result<()> {
    let ns = with_configmap(api, "json-test")?;
    api.patch(
        "json",
        ns.core("configmaps/a"),
        &json!([
            {"op": "replace", "path": "/data/k", "value": "2"},
            {"op": "test", "path": "/data/l", "value": "9"},
        ]),
    )
    .refused(422, "Invalid")?
    .says("the server rejected our request due to an error in our request")?
    .is("/details", json!({}))?;
    api.get(ns.core("configmaps/a"))
        .ok(200)?
        .is("/data/k", "1")?;
    Ok(())
}

fn json_path(api: &Api) -> anyhow::Result<()> {
    let ns = with_configmap(api, "json-path")?;
    for op in [
        json!({"op": "remove", "path": "/data/none"}),
        json!({"op": "replace", "path": "/none/none", "value": "1"}),
        json!({"op": "add", "path": "/none/none", "value": "1"}),
    ] {
        api.patch("json", ns.core("configmaps/a"), &json!([op]))
            .refused(422, "Invalid")?
            .says("the server rejected our request due to an error in our request")?;
    }
    Ok(())
}

fn json_malformed(api: &Api) -> anyhow::Result<()> {
    let ns = with_configmap(api, "json-malformed")?;
    for body in ["{}", "[", "1"] {
        api.call("PATCH", ns.core("configmaps/a"))
            .bytes("application/json-patch+json", body.into())
            .refused(400, "BadRequest")?;
    }
    Ok(())
}

fn merge(api: &Api) -> anyhow::Result<()> {
    let ns = with_configmap(api, "merge")?;
    api.patch(
        "merge",
        ns.core("configmaps/a"),
        &json!({"data": {"k": null, "m": "3"}, "metadata": {"labels": {"two": "2"}}}),
    )
    .ok(200)?
    .is("/data", json!({"l": "1", "m": "3"}))?
    .is("/metadata/labels", json!({"one": "1", "two": "2"}))?;
    api.patch("merge", ns.core("configmaps/a"), &json!({"data": null}))
        .ok(200)?
        .lacks("/data")?;
    Ok(())
}

fn merge_malformed(api: &Api) -> anyhow::Result<()> {
    let ns = with_configmap(api, "merge-malformed")?;
    for kind in ["merge", "strategic-merge"] {
        for body in ["[]", "{", "1"] {
            api.call("PATCH", ns.core("configmaps/a"))
                .bytes(&format!("application/{kind}-patch+json"), body.into())
                .refused(400, "BadRequest")?;
        }
    }
    Ok(())
}

/// A deployment with two containers, one of them with an environment.
fn with_deployment<'a>(api: &'a Api, prefix: &str) -> anyhow::Result<Namespace<'a>> {
    let ns = api.namespace(prefix)?;
    let mut body = deployment("a");
    body["spec"]["template"]["spec"]["containers"] = json!([
        {"name": "app", "image": "one", "env": [{"name": "X", "value": "1"}], "args": ["a", "b"]},
        {"name": "side", "image": "two"},
    ]);
    api.post(ns.apps("deployments"), &body).ok(201)?;
    Ok(ns)
}

fn containers(value: Value) -> Value {
    json!({"spec": {"template": {"spec": {"containers": value}}}})
}

const CONTAINERS: &str = "/spec/template/spec/containers";

fn strategic(api: &Api) -> anyhow::Result<()> {
    let ns = with_deployment(api, "strategic")?;
    let reply = api
        .patch(
            "strategic-merge",
            ns.apps("deployments/a"),
            &containers(json!([
                {"name": "app", "image": "three", "env": [{"name": "Y", "value": "2"}], "args": ["c"]},
                {"name": "new", "image": "four"},
            ])),
        )
        .ok(200)?;
    let part = |pointer: &str| reply.at(&format!("{CONTAINERS}{pointer}")).clone();
    let all = reply.at(CONTAINERS).as_array().map_or(0, Vec::len);
    // New items stand before those that were there.
    let got = json!([all, part("/0/name"), part("/1/name"), part("/2/name")]);
    let app = crate::api::items(reply.at(CONTAINERS))
        .find(|container| container["name"] == "app")
        .cloned()
        .unwrap_or_default();
    let fits = all == 3
        && app["image"] == "three"
        && app["args"] == json!(["c"])
        && app["env"] == json!([{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]);
    if !fits {
        return Err(reply.differs(
            "three containers, app with image three, environment Y and X, args c",
            app,
        ));
    }
    if got != json!([3, "app", "new", "side"]) {
        return Err(reply.differs("app, new, side", got));
    }
    Ok(())
}

fn strategic_delete(api: &Api) -> anyhow::Result<()> {
    let ns = with_deployment(api, "strategic-delete")?;
    api.patch(
        "strategic-merge",
        ns.apps("deployments/a"),
        &containers(json!([
            {"name": "side", "$patch": "delete"},
            {"name": "app", "env": [{"name": "X", "$patch": "delete"}]},
        ])),
    )
    .ok(200)?
    .is(&format!("{CONTAINERS}/0/name"), "app")?
    .lacks(&format!("{CONTAINERS}/0/env"))?
    .lacks(&format!("{CONTAINERS}/1"))?;
    Ok(())
}

fn strategic_replace(api: &Api) -> anyhow::Result<()> {
    let ns = with_deployment(api, "strategic-replace")?;
    api.patch(
        "strategic-merge",
        ns.apps("deployments/a"),
        &containers(json!([{"name": "only", "image": "five"}, {"$patch": "replace"}])),
    )
    .ok(200)?
    .is(&format!("{CONTAINERS}/0/name"), "only")?
    .lacks(&format!("{CONTAINERS}/1"))?;
    api.patch(
        "strategic-merge",
        ns.apps("deployments/a"),
        &json!({"spec": {"strategy": {"$patch": "replace", "type": "Recreate"}}}),
    )
    .ok(200)?
    .is("/spec/strategy", json!({"type": "Recreate"}))?;
    Ok(())
}

fn strategic_no_key(api: &Api) -> anyhow::Result<()> {
    let ns = with_deployment(api, "strategic-no-key")?;
    api.patch(
        "strategic-merge",
        ns.apps("deployments/a"),
        &containers(json!([{"image": "five"}])),
    )
    .refused(500, "")?
    .mentions("does not contain declared merge key: name")?;
    Ok(())
}

fn strategic_set(api: &Api) -> anyhow::Result<()> {
    let ns = with_configmap(api, "strategic-set")?;
    let _held = ns.holds("configmaps/a");
    let path = ns.core("configmaps/a");
    let finalizers = |patch: Value| {
        api.patch("strategic-merge", path.clone(), &json!({"metadata": patch}))
            .ok(200)
    };
    finalizers(json!({"finalizers": ["example.com/a"]}))?;
    finalizers(json!({"finalizers": ["example.com/b", "example.com/a"]}))?.is(
        "/metadata/finalizers",
        json!(["example.com/b", "example.com/a"]),
    )?;
    finalizers(json!({"$deleteFromPrimitiveList/finalizers": ["example.com/a"]}))?
        .is("/metadata/finalizers", json!(["example.com/b"]))?;
    finalizers(json!({"finalizers": null}))?.lacks("/metadata/finalizers")?;
    Ok(())
}

fn merge_lists(api: &Api) -> anyhow::Result<()> {
    let ns = with_deployment(api, "merge-lists")?;
    api.patch(
        "merge",
        ns.apps("deployments/a"),
        &containers(json!([{"name": "only", "image": "five"}])),
    )
    .ok(200)?
    .is(&format!("{CONTAINERS}/0/name"), "only")?
    .lacks(&format!("{CONTAINERS}/1"))?;
    Ok(())
}

fn media_type(api: &Api) -> anyhow::Result<()> {
    let ns = with_configmap(api, "patch-type")?;
    for content_type in ["application/json", "text/plain"] {
        api.call("PATCH", ns.core("configmaps/a"))
            .bytes(content_type, b"{}".to_vec())
            .refused(415, "UnsupportedMediaType")?
            .says("415: Unsupported Media Type")?
            .is("/details", json!({}))?;
    }
    Ok(())
}

fn stale(api: &Api) -> anyhow::Result<()> {
    let ns = with_configmap(api, "patch-stale")?;
    api.patch(
        "merge",
        ns.core("configmaps/a"),
        &json!({"metadata": {"resourceVersion": "1"}, "data": {"k": "9"}}),
    )
    .refused(409, "Conflict")?
    .mentions("the object has been modified")?
    .about("", "configmaps", "a")?;
    Ok(())
}

fn other_name(api: &Api) -> anyhow::Result<()> {
    let ns = with_configmap(api, "patch-name")?;
    api.patch(
        "merge",
        ns.core("configmaps/a"),
        &json!({"metadata": {"name": "b"}}),
    )
    .refused(400, "BadRequest")?
    .says("the name of the object (b) does not match the name on the URL (a)")?;
    Ok(())
}

fn invalid(api: &Api) -> anyhow::Result<()> {
    let ns = with_deployment(api, "patch-invalid")?;
    api.patch(
        "merge",
        ns.apps("deployments/a"),
        &json!({"spec": {"replicas": -1}}),
    )
    .refused(422, "Invalid")?
    .about("apps", "Deployment", "a")?
    .causes(&[("FieldValueInvalid", "spec.replicas")])?
    .says("Deployment.apps \"a\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0")?;
    Ok(())
}
