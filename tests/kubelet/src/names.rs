//! Names of services, replaced by the address of a pod: there is no cluster DNS here, and nobody answers at the
//! addresses of services.

use anyhow::bail;
use kperf_control_plane::Client;
use serde_json::Value;

use crate::api;

const SUFFIX: &str = ".svc";
const LONG_SUFFIX: &str = ".svc.cluster.local";

/// The text with every `NAME.NAMESPACE.svc` replaced. `asking` is the pod whose container it is for.
///
/// # Errors
/// A service has no ready pod yet, which may change.
pub(crate) fn resolve(client: &Client, asking: &Value, text: &str) -> anyhow::Result<String> {
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let length = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        match service(word) {
            Some((name, namespace)) => {
                resolved.push_str(&address(client, asking, name, namespace)?);
            }
            None => resolved.push_str(word),
        }
        let between = after.find(is_of_name).unwrap_or(after.len());
        resolved.push_str(&after[..between]);
        rest = &after[between..];
    }
    Ok(resolved)
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')
}

/// Name and namespace of a service's full name.
fn service(word: &str) -> Option<(&str, &str)> {
    let stem = word
        .strip_suffix(LONG_SUFFIX)
        .or_else(|| word.strip_suffix(SUFFIX))?;
    let (name, namespace) = stem.split_once('.')?;
    let is_name = |text: &str| !text.is_empty() && !text.contains(['.', '_']);
    (is_name(name) && is_name(namespace)).then_some((name, namespace))
}

fn address(client: &Client, asking: &Value, name: &str, namespace: &str) -> anyhow::Result<String> {
    let path = format!("/api/v1/namespaces/{namespace}/services/{name}");
    let service = client.get(&path)?.success()?.json();
    let Some(selector) = service["spec"]["selector"].as_object() else {
        bail!("{name}.{namespace}{SUFFIX}: a service without a selector");
    };
    // Its own container is not running yet, and waits for nobody.
    let metadata = &asking["metadata"];
    let is_own = metadata["namespace"] == namespace
        && selector
            .iter()
            .all(|(key, value)| metadata["labels"][key] == *value);
    if is_own {
        return Ok(api::text(&asking["status"]["podIP"]).to_owned());
    }
    let selector: Vec<String> = selector
        .iter()
        .map(|(key, value)| format!("{}%3D{}", key.replace('/', "%2F"), api::text(value)))
        .collect();
    let selector = selector.join("%2C");
    let path = format!("/api/v1/namespaces/{namespace}/pods?labelSelector={selector}");
    let pods = client.get(&path)?.success()?.json();
    let running = api::list(&pods["items"])
        .iter()
        .find(|pod| pod["status"]["phase"] == "Running");
    match running {
        Some(pod) => Ok(api::text(&pod["status"]["podIP"]).to_owned()),
        None => bail!("{name}.{namespace}{SUFFIX}: no pod of it runs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_names_of_services() {
        for (word, expected) in [
            ("a.b.svc", Some(("a", "b"))),
            ("a-1.b.svc.cluster.local", Some(("a-1", "b"))),
            ("a.svc", None),
            ("a.b.c.svc", None),
            (".b.svc", None),
            ("a.b", None),
            ("lib.so.svc2", None),
        ] {
            assert_eq!(service(word), expected, "{word}");
        }
    }
}
