//! KubeVirt without KubeVirt: its kinds, and stages in which kwok plays virt-controller and virt-handler.

use anyhow::Context as _;
use serde::Deserialize as _;
use serde_json::Value;

use crate::Client;

const DEFINITIONS: &str = include_str!("kubevirt/definitions.yaml");

/// For kwok, beside those for nodes and pods.
pub(crate) const STAGES: &str = include_str!("kubevirt/stages.yaml");

/// Makes the kinds.
pub(crate) fn create(client: &Client) -> anyhow::Result<()> {
    for document in serde_yaml::Deserializer::from_str(DEFINITIONS) {
        let definition = Value::deserialize(document)?;
        client
            .post(
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                &definition,
            )?
            .success()
            .with_context(|| format!("making the kind {}", definition["metadata"]["name"]))?;
    }
    Ok(())
}

/// Whether the kinds are served and described: kwok, once started, does not look for them again.
pub(crate) fn is_served(client: &Client) -> anyhow::Result<bool> {
    let kinds = client.get("/apis/kubevirt.io/v1")?.json();
    let described = client.get("/openapi/v3/apis/kubevirt.io/v1")?.json();
    let is_described = |plural: &str| {
        let path = format!("/apis/kubevirt.io/v1/namespaces/{{namespace}}/{plural}/{{name}}");
        described["paths"][path].is_object()
    };
    let mut plurals = kinds["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|kind| kind["name"].as_str())
        .filter(|name| !name.contains('/'));
    Ok(plurals.clone().count() == 3 && plurals.all(is_described))
}
