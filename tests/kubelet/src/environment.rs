//! The variables of a container, and `$(NAME)` in its command.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use kperf_control_plane::Client;
use serde_json::Value;

use crate::{api, volumes};

/// A container's variables.
pub(crate) type Variables = BTreeMap<String, String>;

/// Those that the container's `env` and `envFrom` say, on top of `given`. The pod must have its address.
///
/// # Errors
/// Something that a value comes from is not there (yet), or is not played here.
pub(crate) fn variables(
    client: &Client,
    pod: &Value,
    container: &Value,
    given: Variables,
) -> anyhow::Result<Variables> {
    let namespace = api::text(&pod["metadata"]["namespace"]);
    let mut variables = given;
    for source in api::list(&container["envFrom"]) {
        let prefix = api::text(&source["prefix"]);
        for (key, resource) in [("configMapRef", "configmaps"), ("secretRef", "secrets")] {
            let Some(name) = source[key]["name"].as_str() else {
                continue;
            };
            let optional = source[key]["optional"] == true;
            for (key, bytes) in volumes::data(client, namespace, resource, name, optional)? {
                variables.insert(format!("{prefix}{key}"), String::from_utf8(bytes)?);
            }
        }
    }
    for variable in api::list(&container["env"]) {
        let name = api::text(&variable["name"]);
        let value = if variable["valueFrom"].is_object() {
            from(client, pod, &variable["valueFrom"])
                .with_context(|| format!("variable {name:?}"))?
        } else {
            Some(expand(api::text(&variable["value"]), &variables))
        };
        if let Some(value) = value {
            variables.insert(name.to_owned(), value);
        }
    }
    Ok(variables)
}

fn from(client: &Client, pod: &Value, source: &Value) -> anyhow::Result<Option<String>> {
    if let Some(path) = source["fieldRef"]["fieldPath"].as_str() {
        return field(pod, path).map(Some);
    }
    let namespace = api::text(&pod["metadata"]["namespace"]);
    for (kind, resource) in [
        ("configMapKeyRef", "configmaps"),
        ("secretKeyRef", "secrets"),
    ] {
        let source = &source[kind];
        let Some(name) = source["name"].as_str() else {
            continue;
        };
        let optional = source["optional"] == true;
        let key = api::text(&source["key"]);
        let mut data = volumes::data(client, namespace, resource, name, optional)?;
        return match data.remove(key) {
            Some(bytes) => Ok(Some(String::from_utf8(bytes)?)),
            None if optional => Ok(None),
            None => bail!("there is no key {key:?} in {resource} {name:?}"),
        };
    }
    bail!("an unknown source: {source}");
}

/// A field of a pod, as the downward API has it.
///
/// # Errors
/// One that the downward API does not have.
pub(crate) fn field(pod: &Value, path: &str) -> anyhow::Result<String> {
    let metadata = &pod["metadata"];
    for (of, values) in [
        ("metadata.labels", &metadata["labels"]),
        ("metadata.annotations", &metadata["annotations"]),
    ] {
        if let Some(key) = path
            .strip_prefix(of)
            .and_then(|rest| rest.strip_prefix("['")?.strip_suffix("']"))
        {
            return Ok(api::text(&values[key]).to_owned());
        }
    }
    let value = match path {
        "metadata.name" => &metadata["name"],
        "metadata.namespace" => &metadata["namespace"],
        "metadata.uid" => &metadata["uid"],
        "spec.nodeName" => &pod["spec"]["nodeName"],
        "spec.serviceAccountName" => &pod["spec"]["serviceAccountName"],
        "status.podIP" | "status.podIPs" => &pod["status"]["podIP"],
        "status.hostIP" | "status.hostIPs" => &pod["status"]["hostIP"],
        _ => bail!("the field {path:?} is not played here"),
    };
    Ok(api::text(value).to_owned())
}

/// Replaces `$(NAME)` where there is such a variable; `$$` stands for `$`.
pub(crate) fn expand(text: &str, variables: &Variables) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, dollar) = rest.split_at(at);
        expanded.push_str(before);
        if let Some(after) = dollar.strip_prefix("$$") {
            expanded.push('$');
            rest = after;
            continue;
        }
        let reference = dollar
            .strip_prefix("$(")
            .and_then(|rest| rest.split_once(')'));
        match reference.and_then(|(name, after)| Some((variables.get(name)?, after))) {
            Some((value, after)) => {
                expanded.push_str(value);
                rest = after;
            }
            None => {
                expanded.push('$');
                rest = &dollar[1..];
            }
        }
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_are_expanded_as_kubernetes_does() {
        let variables = Variables::from([
            ("A".to_owned(), "1".to_owned()),
            ("B".to_owned(), "$(A)".to_owned()),
        ]);
        for (text, expected) in [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(B)", "$(A)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(NONE) $A ${A} $", "$(NONE) $A ${A} $"),
            ("$(A", "$(A"),
            ("", ""),
        ] {
            assert_eq!(expand(text, &variables), expected, "{text}");
        }
    }

    #[test]
    fn fields_of_a_pod() {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"a/b": "c"}},
            "spec": {"nodeName": "node-0"},
            "status": {"podIP": "127.0.1.1", "hostIP": "127.0.1.200"},
        });
        for (path, expected) in [
            ("metadata.name", "p"),
            ("metadata.namespace", "n"),
            ("metadata.labels['a/b']", "c"),
            ("metadata.labels['none']", ""),
            ("spec.nodeName", "node-0"),
            ("status.podIP", "127.0.1.1"),
            ("status.hostIP", "127.0.1.200"),
        ] {
            assert_eq!(field(&pod, path).unwrap(), expected, "{path}");
        }
        field(&pod, "spec.containers").expect_err("not of the downward API");
    }
}
