//! CustomResourceDefinitions and their resources.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{api::Api, case::Case};

pub(super) const CASES: &[Case] = &[
    Case::new("custom: a definition makes a resource", resource),
    Case::new("custom: patches and updates", patches),
    Case::new("custom: status by itself", status),
    Case::new("custom: a watch from before the beginning", expired_watch).compacts(),
    Case::new("custom: a definition that is invalid", invalid),
];

/// A definition of a case's own; deleted, with all its objects, when the value goes.
struct Definition<'a> {
    api: &'a Api,
    group: String,
}

impl<'a> Definition<'a> {
    fn create(api: &'a Api, group: &str) -> anyhow::Result<Self> {
        let group = format!("{group}.conformance.example");
        let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let answer = api.post(definitions, &Self::body(&group)).ok(201)?;
        // Only now is there something of ours to delete.
        let this = Self { api, group };
        answer.is("/kind", "CustomResourceDefinition")?;
        // Established, it takes another moment until every handler knows it.
        let end = Instant::now() + Duration::from_secs(60);
        while api.get(this.path("gadgets")).send()?.status != 200 {
            anyhow::ensure!(
                Instant::now() < end,
                "gadgets are not served after a minute"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(this)
    }

    fn body(group: &str) -> Value {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("gadgets.{group}")},
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "shortNames": ["gd"]},
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {
                        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    }},
                    "subresources": {"status": {}},
                }],
            },
        })
    }

    fn path(&self, resource: &str) -> String {
        format!("/apis/{}/v1/namespaces/default/{resource}", self.group)
    }

    fn gadget(&self, name: &str) -> Value {
        json!({
            "apiVersion": format!("{}/v1", self.group), "kind": "Gadget",
            "metadata": {"name": name}, "spec": {"size": 1, "parts": ["a", "b"]},
        })
    }
}

impl Drop for Definition<'_> {
    fn drop(&mut self) {
        self.api.remove(&format!(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.{}",
            self.group
        ));
    }
}

fn resource(api: &Api) -> anyhow::Result<()> {
    let crd = Definition::create(api, "resource")?;
    let version = format!("{}/v1", crd.group);
    api.post(crd.path("gadgets"), &crd.gadget("a"))
        .ok(201)?
        .is("/kind", "Gadget")?
        .is("/metadata/generation", 1)?;
    // Items of a custom resource say what they are.
    api.get(crd.path("gadgets"))
        .ok(200)?
        .is("/kind", "GadgetList")?
        .is("/apiVersion", version.as_str())?
        .is("/items/0/kind", "Gadget")?
        .is("/items/0/apiVersion", version.as_str())?;
    api.get(crd.path("gadgets/none"))
        .refused(404, "NotFound")?
        .says(&format!("gadgets.{} \"none\" not found", crd.group))?
        .about(&crd.group, "gadgets", "none")?;
    api.get(format!("/apis/{version}"))
        .ok(200)?
        .is("/kind", "APIResourceList")?
        .is("/groupVersion", version.as_str())?
        .is("/resources/0/name", "gadgets")?
        .is("/resources/0/shortNames", json!(["gd"]))?;
    let mut events = api
        .get(crd.path("gadgets"))
        .query("timeoutSeconds", "30")
        .watch()?;
    events.expect("ADDED", "a")?;
    api.delete(crd.path("gadgets/a"))
        .ok(200)?
        .is("/status", "Success")?;
    events.expect("DELETED", "a")?;
    Ok(())
}

fn patches(api: &Api) -> anyhow::Result<()> {
    let crd = Definition::create(api, "patches")?;
    api.post(crd.path("gadgets"), &crd.gadget("a")).ok(201)?;
    api.patch(
        "merge",
        crd.path("gadgets/a"),
        &json!({"spec": {"size": null, "parts": ["c"]}}),
    )
    .ok(200)?
    .is("/spec", json!({"parts": ["c"]}))?
    .is("/metadata/generation", 2)?;
    api.patch(
        "strategic-merge",
        crd.path("gadgets/a"),
        &json!({"spec": {"size": 2}}),
    )
    .refused(415, "UnsupportedMediaType")?
    .mentions(
        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
    )?;
    api.put(crd.path("gadgets/a"), &crd.gadget("a"))
        .refused(422, "Invalid")?
        .causes(&[("FieldValueInvalid", "metadata.resourceVersion")])?
        .mentions("must be specified for an update")?;
    api.apply(crd.path("gadgets/b"), "one", &crd.gadget("b"))
        .ok(201)?
        .is("/spec/size", 1)?;
    Ok(())
}

fn status(api: &Api) -> anyhow::Result<()> {
    let crd = Definition::create(api, "status")?;
    let mut body = crd.gadget("a");
    body["status"] = json!({"ready": true});
    api.post(crd.path("gadgets"), &body)
        .ok(201)?
        .lacks("/status")?;
    api.patch(
        "merge",
        crd.path("gadgets/a/status"),
        &json!({"status": {"ready": true}, "spec": {"size": 9}}),
    )
    .ok(200)?
    .is("/status", json!({"ready": true}))?
    .is("/spec/size", 1)?
    .is("/metadata/generation", 1)?;
    Ok(())
}

fn expired_watch(api: &Api) -> anyhow::Result<()> {
    let crd = Definition::create(api, "expired-watch")?;
    api.post(crd.path("gadgets"), &crd.gadget("a")).ok(201)?;
    // A cache remembers nothing from before it was made, as this one just was; without one, history has to go.
    api.forget();
    let mut events = api
        .get(crd.path("gadgets"))
        .query("resourceVersion", "1")
        .query("timeoutSeconds", "5")
        .watch()?;
    let status = events.expect("ERROR", "")?;
    let fits = status["kind"] == "Status"
        && status["code"] == 410
        && status["reason"] == "Expired"
        && status["status"] == "Failure"
        && status["message"]
            .as_str()
            .is_some_and(|message| message.starts_with("too old resource version: 1 ("));
    anyhow::ensure!(fits, "expected a Status 410 Expired, got {status}");
    events.expect_end()
}

fn invalid(api: &Api) -> anyhow::Result<()> {
    api.post(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        &json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "wrong.conformance.example"},
            "spec": {
                "group": "conformance.example", "scope": "Namespaced",
                "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"},
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }],
            },
        }),
    )
    .refused(422, "Invalid")?
    .about(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "wrong.conformance.example",
    )?
    .causes(&[("FieldValueInvalid", "metadata.name")])?
    .mentions("must be spec.names.plural+\".\"+spec.group")?;
    Ok(())
}
