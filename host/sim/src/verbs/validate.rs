//! What makes an object invalid, in the words of the real server.

use serde_json::{Value, json};

use crate::{
    registry::Resource,
    status::{FieldError, Status},
};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

/// Checks that an object is one, and so are its metadata, spec and status when they are there: what comes
/// later writes into them.
pub(crate) fn shape(resource: &Resource, value: &Value) -> Result<(), Status> {
    let wrong = |field: &str| {
        Status::bad_request(format!(
            "{0} in version {1:?} cannot be handled as a {0}: json: cannot unmarshal into Go struct field {0}.{field}",
            resource.kind, resource.version
        ))
    };
    if !value.is_object() {
        return Err(wrong(""));
    }
    for field in ["metadata", "spec", "status"] {
        if value
            .get(field)
            .is_some_and(|part| !part.is_object() && !part.is_null())
        {
            return Err(wrong(field));
        }
    }
    Ok(())
}

/// Checks an object that is to be stored.
pub(crate) fn object(resource: &Resource, value: &Value) -> Result<(), Status> {
    let mut errors = Vec::new();
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    let field = "metadata.name";
    if name.is_empty() {
        errors.push(FieldError::required(
            field,
            "name or generateName is required",
        ));
    } else if resource.group.as_str() == "rbac.authorization.k8s.io" {
        if name == "." || name == ".." || name.contains(['/', '%']) {
            errors.push(FieldError::invalid(
                field,
                &json!(name),
                "may not contain '/' or '%'",
            ));
        }
    } else if resource.is("", "namespaces") || resource.is("", "services") {
        if name.len() > 63 {
            errors.push(FieldError::invalid(
                field,
                &json!(name),
                "must be no more than 63 characters",
            ));
        } else if !is_label(name) {
            errors.push(FieldError::invalid(field, &json!(name), LABEL));
        }
    } else if name.len() > 253 {
        errors.push(FieldError::invalid(
            field,
            &json!(name),
            "must be no more than 253 characters",
        ));
    } else if !name.split('.').all(is_label) {
        errors.push(FieldError::invalid(field, &json!(name), SUBDOMAIN));
    }
    for map in ["labels", "annotations"] {
        let entries = &value["metadata"][map];
        if !entries.is_null()
            && !entries
                .as_object()
                .is_some_and(|m| m.values().all(Value::is_string))
        {
            return Err(Status::bad_request(format!(
                "{} in version {:?} cannot be handled as a {}: json: cannot unmarshal into Go struct field ObjectMeta.metadata.{map} of type string",
                resource.kind, resource.version, resource.kind
            )));
        }
    }
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => containers("spec", &value["spec"], &mut errors),
        ("", "configmaps") => {
            let data = &value["data"];
            if !data.is_null()
                && !data
                    .as_object()
                    .is_some_and(|m| m.values().all(Value::is_string))
            {
                return Err(Status::bad_request(
                    "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal into Go struct field ConfigMap.data of type string",
                ));
            }
        }
        ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets") => {
            if let Some(replicas) = value["spec"]["replicas"].as_i64().filter(|n| *n < 0) {
                errors.push(FieldError::invalid(
                    "spec.replicas",
                    &json!(replicas),
                    "must be greater than or equal to 0",
                ));
            }
            let selector = &value["spec"]["selector"];
            if selector.is_null() {
                errors.push(FieldError::required("spec.selector", ""));
            } else if let Some(labels) = selector["matchLabels"].as_object() {
                let template = &value["spec"]["template"]["metadata"]["labels"];
                if labels.iter().any(|(k, v)| template.get(k) != Some(v)) {
                    errors.push(FieldError::invalid(
                        "spec.template.metadata.labels",
                        template,
                        "`selector` does not match template `labels`",
                    ));
                }
            }
            containers(
                "spec.template.spec",
                &value["spec"]["template"]["spec"],
                &mut errors,
            );
        }
        ("batch", "jobs") => containers(
            "spec.template.spec",
            &value["spec"]["template"]["spec"],
            &mut errors,
        ),
        ("apiextensions.k8s.io", _) => definition(value, &mut errors),
        _ => {}
    }
    refuse(resource, value, &errors)
}

fn containers(path: &str, spec: &Value, errors: &mut Vec<FieldError>) {
    match spec["containers"].as_array().map(Vec::as_slice) {
        None | Some([]) => errors.push(FieldError::required(&format!("{path}.containers"), "")),
        Some(all) => {
            for (i, container) in all.iter().enumerate() {
                let at = format!("{path}.containers[{i}]");
                let name = container["name"].as_str().unwrap_or_default();
                if name.is_empty() {
                    errors.push(FieldError::required(&format!("{at}.name"), ""));
                } else if !is_label(name) || name.len() > 63 {
                    errors.push(FieldError::invalid(
                        &format!("{at}.name"),
                        &json!(name),
                        LABEL,
                    ));
                }
                if container["image"].as_str().is_none_or(str::is_empty) {
                    errors.push(FieldError::required(&format!("{at}.image"), ""));
                }
            }
        }
    }
}

fn definition(value: &Value, errors: &mut Vec<FieldError>) {
    let spec = &value["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (plural, group) = (text(&spec["names"]["plural"]), text(&spec["group"]));
    for (field, value) in [
        ("spec.group", &group),
        ("spec.names.plural", &plural),
        ("spec.names.kind", &text(&spec["names"]["kind"])),
    ] {
        if value.is_empty() {
            errors.push(FieldError::required(field, ""));
        }
    }
    if !matches!(spec["scope"].as_str(), Some("Namespaced" | "Cluster")) {
        errors.push(FieldError::unsupported(
            "spec.scope",
            &text(&spec["scope"]),
            &["Cluster", "Namespaced"],
        ));
    }
    let expected = format!("{plural}.{group}");
    if value["metadata"]["name"] != expected.as_str() {
        errors.push(FieldError::invalid(
            "metadata.name",
            &value["metadata"]["name"],
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    let versions = spec["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if versions.iter().filter(|v| v["storage"] == true).count() != 1 {
        errors.push(FieldError::invalid(
            "spec.versions",
            &json!([]),
            "must have exactly one version marked as storage version",
        ));
    }
}

fn is_label(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    edge(text.chars().next())
        && edge(text.chars().next_back())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Deletion is nobody's to write down, and what is being deleted takes no more finalizers.
pub(crate) fn metadata_change(
    resource: &Resource,
    current: &Value,
    next: &Value,
) -> Result<(), Status> {
    let (old, new) = (&current["metadata"], &next["metadata"]);
    let mut errors = Vec::new();
    let leaving = &new["deletionTimestamp"];
    if !leaving.is_null() && *leaving != old["deletionTimestamp"] {
        errors.push(FieldError::invalid(
            "metadata.deletionTimestamp",
            leaving,
            "field is immutable",
        ));
    }
    let finalizers = |metadata: &Value| {
        let list = metadata["finalizers"].as_array();
        list.cloned().unwrap_or_default()
    };
    let before = finalizers(old);
    let added: Vec<String> = finalizers(new)
        .iter()
        .filter(|finalizer| !before.contains(finalizer))
        .map(Value::to_string)
        .collect();
    if !old["deletionTimestamp"].is_null() && !added.is_empty() {
        errors.push(FieldError::forbidden(
            "metadata.finalizers",
            &format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            ),
        ));
    }
    refuse(resource, next, &errors)
}

/// What selects the pods of a workload stays.
pub(crate) fn selector_change(
    resource: &Resource,
    current: &Value,
    next: &Value,
) -> Result<(), Status> {
    let selector = &next["spec"]["selector"];
    let errors = if resource.group == "apps" && *selector != current["spec"]["selector"] {
        vec![FieldError::invalid(
            "spec.selector",
            selector,
            "field is immutable",
        )]
    } else {
        Vec::new()
    };
    refuse(resource, next, &errors)
}

fn refuse(resource: &Resource, value: &Value, errors: &[FieldError]) -> Result<(), Status> {
    if errors.is_empty() {
        return Ok(());
    }
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    Err(Status::invalid(
        &resource.group,
        &resource.kind,
        name,
        errors,
    ))
}

/// What a pod's spec may change to: images, deadlines, tolerations.
pub(crate) fn pod_change(resource: &Resource, current: &Value, next: &Value) -> Result<(), Status> {
    let frozen = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        if let Value::Object(map) = &mut spec {
            for field in [
                "activeDeadlineSeconds",
                "tolerations",
                "terminationGracePeriodSeconds",
                "schedulingGates",
            ] {
                map.remove(field);
            }
            for list in ["containers", "initContainers"] {
                for container in map
                    .get_mut(list)
                    .and_then(Value::as_array_mut)
                    .into_iter()
                    .flatten()
                {
                    if let Value::Object(container) = container {
                        container.remove("image");
                    }
                }
            }
        }
        spec
    };
    if frozen(current) == frozen(next) {
        return Ok(());
    }
    let name = next["metadata"]["name"].as_str().unwrap_or_default();
    Err(Status::invalid(
        &resource.group,
        &resource.kind,
        name,
        &[FieldError::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        )],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    #[test]
    fn names() {
        let registry = Registry::builtin();
        let configmaps = registry.find("", "v1", "configmaps").unwrap();
        let named = |name: &str| object(&configmaps, &json!({"metadata": {"name": name}}));
        for good in ["a", "1698765-12", "a.b-c.d", &"a".repeat(253)] {
            assert!(named(good).is_ok(), "{good}");
        }
        for bad in ["A", "-a", "a-", "a..b", "a_b", "a/b", "é", &"a".repeat(254)] {
            assert_eq!(named(bad).unwrap_err().code, 422, "{bad}");
        }
        assert_eq!(
            named("").unwrap_err().message,
            "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required"
        );
        let roles = registry
            .find("rbac.authorization.k8s.io", "v1", "clusterroles")
            .unwrap();
        assert!(object(&roles, &json!({"metadata": {"name": "system:node"}})).is_ok());
    }

    #[test]
    fn what_is_being_deleted_takes_no_finalizers() {
        let registry = Registry::builtin();
        let configmaps = registry.find("", "v1", "configmaps").unwrap();
        let leaving = |finalizers: Value| json!({"metadata": {"name": "a", "deletionTimestamp": "2001-01-01T00:00:00Z", "finalizers": finalizers}});
        let held = leaving(json!(["x/a", "x/b"]));
        assert!(metadata_change(&configmaps, &held, &leaving(json!(["x/b"]))).is_ok());
        assert!(metadata_change(&configmaps, &held, &leaving(json!(null))).is_ok());
        let error = metadata_change(&configmaps, &held, &leaving(json!(["x/c"]))).unwrap_err();
        assert_eq!(error.code, 422);
        assert!(
            error
                .message
                .ends_with("found new finalizers []string{\"x/c\"}")
        );
        // Nor is it deleted by writing so.
        let alive = json!({"metadata": {"name": "a"}});
        assert_eq!(
            metadata_change(&configmaps, &alive, &held)
                .unwrap_err()
                .code,
            422
        );
    }

    #[test]
    fn pods_need_containers_and_keep_their_spec() {
        let registry = Registry::builtin();
        let pods = registry.find("", "v1", "pods").unwrap();
        let error = object(&pods, &json!({"metadata": {"name": "a"}, "spec": {}})).unwrap_err();
        assert_eq!(
            error.message,
            "Pod \"a\" is invalid: spec.containers: Required value"
        );
        let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "1"}]}});
        let mut image = pod.clone();
        image["spec"]["containers"][0]["image"] = json!("2");
        assert!(pod_change(&pods, &pod, &image).is_ok());
        let mut node = pod.clone();
        node["spec"]["nodeName"] = json!("n");
        assert_eq!(pod_change(&pods, &pod, &node).unwrap_err().code, 422);
    }
}
