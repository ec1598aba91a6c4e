//! How the server says no, apart from what single verbs have of their own.

use serde_json::json;

use crate::{
    api::{Api, configmap, deployment},
    case::Case,
};

pub(super) const CASES: &[Case] = &[
    Case::new("refusal: 404 of an object", not_found),
    Case::new(
        "refusal: 404 of an object of a named group",
        not_found_group,
    ),
    Case::new("refusal: 404 of a resource or group", unknown_resource),
    Case::new("refusal: 404 of a path", unknown_path),
    Case::new("refusal: 404 of a subresource", unknown_subresource),
    Case::new("refusal: 405", method),
    Case::new("refusal: 406", not_acceptable),
    Case::new("refusal: 415", media_type),
    Case::new("refusal: 400 of a body that is no JSON", no_json),
    Case::new("refusal: 400 of a body of another kind", other_kind),
    Case::new("refusal: 400 of an empty body", empty_body),
    Case::new("refusal: 422 names every field", invalid),
    Case::new("refusal: 413", too_large),
];

fn not_found(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("not-found")?;
    for call in [
        api.get(ns.core("configmaps/none")),
        api.delete(ns.core("configmaps/none")),
        api.put(ns.core("configmaps/none"), &configmap("none", json!({}))),
        api.patch("merge", ns.core("configmaps/none"), &json!({})),
        api.patch("json", ns.core("configmaps/none"), &json!([])),
        api.patch("strategic-merge", ns.core("configmaps/none"), &json!({})),
    ] {
        call.refused(404, "NotFound")?
            .says("configmaps \"none\" not found")?
            .about("", "configmaps", "none")?
            .is("/metadata", json!({}))?
            .header("content-type", "application/json")?;
    }
    Ok(())
}

fn not_found_group(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("not-found-group")?;
    api.get(ns.apps("deployments/none"))
        .refused(404, "NotFound")?
        .says("deployments.apps \"none\" not found")?
        .about("apps", "deployments", "none")?;
    Ok(())
}

fn unknown_resource(api: &Api) -> anyhow::Result<()> {
    for path in [
        "/api/v1/namespaces/default/gadgets",
        "/api/v1/gadgets/a",
        "/apis/apps/v1/namespaces/default/gadgets",
        "/apis/apps/v7/deployments",
        "/api/v2",
    ] {
        let reply = api.get(path).refused(404, "NotFound")?;
        reply.says("the server could not find the requested resource")?;
    }
    Ok(())
}

fn unknown_path(api: &Api) -> anyhow::Result<()> {
    for path in [
        "/none",
        "/apis/none.example",
        "/apis/none.example/v1/gadgets",
    ] {
        let reply = api.get(path).ok(404)?;
        let text = reply.text();
        reply
            .header("content-type", "text/plain; charset=utf-8")?
            .check("404 page not found", text == "404 page not found\n")?;
    }
    Ok(())
}

fn unknown_subresource(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("no-subresource")?;
    api.post(ns.core("configmaps"), &configmap("a", json!({})))
        .ok(201)?;
    api.get(ns.core("configmaps/a/status"))
        .refused(404, "NotFound")?
        .says("the server could not find the requested resource")?
        .is("/details", json!({}))?;
    Ok(())
}

fn method(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("method")?;
    for call in [
        api.put(ns.core("configmaps"), &configmap("a", json!({}))),
        api.patch("merge", ns.core("configmaps"), &json!({})),
        api.post(ns.core("configmaps/a"), &configmap("a", json!({}))),
        // Selects nothing by its name either, should a server allow it after all.
        api.delete("/api/v1/namespaces?fieldSelector=metadata.name%3Dno-such-namespace"),
    ] {
        call.refused(405, "MethodNotAllowed")?
            .says("the server does not allow this method on the requested resource")?
            .is("/details", json!({}))?;
    }
    Ok(())
}

fn not_acceptable(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("not-acceptable")?;
    for accept in ["text/html", "application/*"] {
        api.get(ns.core("configmaps"))
            .accept(accept)
            .refused(406, "NotAcceptable")?
            .mentions("406: Not Acceptable\n\nAvailable representations: application/json, application/yaml")?
            .is("/details", json!({}))?;
    }
    for accept in [
        "application/json;as=Gadget;g=meta.k8s.io;v=v1",
        "application/json;as=Table;g=meta.k8s.io;v=v9",
    ] {
        api.get(ns.core("configmaps"))
            .accept(accept)
            .refused(406, "NotAcceptable")?
            .mentions("only the following media types are accepted: application/json")?;
    }
    Ok(())
}

fn media_type(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("media-type")?;
    api.post(ns.core("configmaps"), &configmap("a", json!({})))
        .content_type("text/html")
        .refused(415, "UnsupportedMediaType")?
        .mentions("the body of the request was in an unknown format - accepted media types include: application/json")?;
    Ok(())
}

fn no_json(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("no-json")?;
    api.call("POST", ns.core("configmaps"))
        .bytes("application/json", b"{\"kind\": ".to_vec())
        .refused(400, "BadRequest")?
        .mentions("the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error")?;
    Ok(())
}

fn other_kind(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("other-kind")?;
    api.post(
        ns.core("configmaps"),
        &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}),
    )
    .refused(400, "BadRequest")?
    .mentions("Secret in version \"v1\" cannot be handled as a ConfigMap")?;
    api.post(
        ns.apps("deployments"),
        &json!({"apiVersion": "v1", "kind": "Deployment", "metadata": {"name": "a"}}),
    )
    .refused(400, "BadRequest")?;
    Ok(())
}

fn empty_body(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("empty-body")?;
    api.call("POST", ns.core("configmaps"))
        .bytes("application/json", Vec::new())
        .refused(400, "BadRequest")?;
    Ok(())
}

fn invalid(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("invalid")?;
    let mut wrong = deployment("a");
    wrong["spec"]["selector"] = json!({"matchLabels": {"app": "other"}});
    api.post(ns.apps("deployments"), &wrong)
        .refused(422, "Invalid")?
        .about("apps", "Deployment", "a")?
        .causes(&[("FieldValueInvalid", "spec.template.metadata.labels")])?
        .mentions(
            "Deployment.apps \"a\" is invalid: spec.template.metadata.labels: Invalid value: ",
        )?
        .mentions("`selector` does not match template `labels`")?;
    api.post(ns.core("configmaps"), &configmap("Not_A_Name", json!({})))
        .refused(422, "Invalid")?
        .about("", "ConfigMap", "Not_A_Name")?
        .causes(&[("FieldValueInvalid", "metadata.name")])?
        .says("ConfigMap \"Not_A_Name\" is invalid: metadata.name: Invalid value: \"Not_A_Name\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')")?;
    api.post(
        ns.core("pods"),
        &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": []}}),
    )
    .refused(422, "Invalid")?
    .causes(&[("FieldValueRequired", "spec.containers")])?
    .says("Pod \"a\" is invalid: spec.containers: Required value")?;
    api.post(
        ns.core("pods"),
        &json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
            "spec": {"containers": [{"image": "one"}, {"name": "b"}]},
        }),
    )
    .refused(422, "Invalid")?
    .causes(&[
        ("FieldValueRequired", "spec.containers[0].name"),
        ("FieldValueRequired", "spec.containers[1].image"),
    ])?;
    Ok(())
}

fn too_large(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("too-large")?;
    let body = configmap("a", json!({"k": "x".repeat(3 * 1024 * 1024)}));
    api.post(ns.core("configmaps"), &body)
        .refused(413, "RequestEntityTooLarge")?
        .says("Request entity too large: limit is 3145728")?;
    Ok(())
}
