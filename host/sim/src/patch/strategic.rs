//! Strategic merge patch: merge patch in which lists of the known fields merge by key.
//!
//! The real server reads keys from the Go types; here they stand in one table by field name, which is
//! unambiguous for the built-in kinds except for `ports`.

use serde_json::{Map, Value};

use crate::status::Status;

/// Applies a strategic merge patch.
///
/// # Errors
/// 400 when the patch is no JSON object, 500 for a directive the real server does not know.
pub(crate) fn apply(mut object: Value, patch: &[u8]) -> Result<Value, Status> {
    let patch: Value = serde_json::from_slice(patch)
        .map_err(|e| Status::bad_request(format!("error decoding patch: {e}")))?;
    let Value::Object(patch) = patch else {
        return Err(Status::bad_request(
            "error decoding patch: json: cannot unmarshal into a map",
        ));
    };
    if !object.is_object() {
        object = Value::Object(Map::new());
    }
    if let Value::Object(map) = &mut object {
        merge_map(map, patch)?;
    }
    Ok(object)
}

/// How a list merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lists {
    /// Items are maps with this key.
    ByKey(&'static str),
    /// Items are a set of scalars.
    Set,
    Replace,
}

/// The merge key of the list in `field`; `sample` settles `ports`.
fn lists(field: &str, sample: Option<&Value>) -> Lists {
    Lists::ByKey(match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets"
        | "secrets"
        | "resourceClaims"
        | "webhooks" => "name",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "ports" => {
            if sample.is_some_and(|item| item.get("containerPort").is_some()) {
                "containerPort"
            } else {
                "port"
            }
        }
        "conditions" | "addresses" => "type",
        "ownerReferences" => "uid",
        "hostAliases" | "podIPs" | "hostIPs" => "ip",
        "topologySpreadConstraints" => "topologyKey",
        "finalizers" | "podCIDRs" => return Lists::Set,
        _ => return Lists::Replace,
    })
}

/// Key of a list for server-side apply, which uses the same keys.
pub(super) fn list_key(field: &str, sample: Option<&Value>) -> Option<&'static str> {
    match lists(field, sample) {
        Lists::ByKey(key) => Some(key),
        Lists::Set | Lists::Replace => None,
    }
}

/// Whether the list in `field` is a set of scalars.
pub(super) fn is_set(field: &str) -> bool {
    lists(field, None) == Lists::Set
}

fn merge_map(target: &mut Map<String, Value>, mut patch: Map<String, Value>) -> Result<(), Status> {
    match patch.remove("$patch").as_ref().and_then(Value::as_str) {
        None | Some("merge") => {}
        Some("replace") => {
            *target = patch;
            return Ok(());
        }
        Some("delete") => {
            target.clear();
            return Ok(());
        }
        Some(other) => {
            return Err(Status::unclassified(format!(
                "unknown patch type found: {other}"
            )));
        }
    }
    if let Some(Value::Array(keep)) = patch.remove("$retainKeys") {
        target.retain(|key, _| keep.iter().any(|k| k == key));
    }
    let mut orders = Vec::new();
    for (key, value) in patch {
        if let Some(field) = key.strip_prefix("$setElementOrder/") {
            orders.push((field.to_owned(), value));
        } else if let Some(field) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(list)), Value::Array(gone)) = (target.get_mut(field), &value)
            {
                list.retain(|item| !gone.contains(item));
            }
        } else {
            merge_field(target, key, value)?;
        }
    }
    for (field, order) in orders {
        reorder(target, &field, &order);
    }
    Ok(())
}

fn merge_field(target: &mut Map<String, Value>, key: String, value: Value) -> Result<(), Status> {
    match value {
        Value::Null => {
            target.remove(&key);
        }
        Value::Object(patch) => {
            let slot = target
                .entry(key)
                .or_insert_with(|| Value::Object(Map::new()));
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            if let Value::Object(map) = slot {
                merge_map(map, patch)?;
            }
        }
        Value::Array(items) => {
            let how = lists(&key, items.first());
            let slot = target
                .entry(key)
                .or_insert_with(|| Value::Array(Vec::new()));
            match (how, slot) {
                (Lists::ByKey(by), Value::Array(list)) => merge_by_key(list, items, by)?,
                (Lists::Set, Value::Array(list)) => {
                    for item in items {
                        if !list.contains(&item) {
                            list.push(item);
                        }
                    }
                }
                (_, slot) => *slot = Value::Array(items),
            }
        }
        scalar => {
            target.insert(key, scalar);
        }
    }
    Ok(())
}

fn merge_by_key(list: &mut Vec<Value>, items: Vec<Value>, by: &str) -> Result<(), Status> {
    if items
        .iter()
        .any(|item| item.get("$patch").is_some_and(|p| p == "replace"))
    {
        *list = items
            .into_iter()
            .filter(|item| item.get("$patch").is_none())
            .collect();
        return Ok(());
    }
    for item in items {
        let Value::Object(mut item) = item else {
            return Err(Status::unclassified(
                "invalid object type in a list of maps",
            ));
        };
        let Some(key) = item.get(by).cloned() else {
            return Err(Status::unclassified(format!(
                "map: {} does not contain declared merge key: {by}",
                Value::Object(item)
            )));
        };
        let position = list
            .iter()
            .position(|existing| existing.get(by) == Some(&key));
        if item.get("$patch").is_some_and(|p| p == "delete") {
            list.retain(|existing| existing.get(by) != Some(&key));
            continue;
        }
        match position.and_then(|at| list.get_mut(at)) {
            Some(Value::Object(existing)) => merge_map(existing, item)?,
            _ => {
                item.remove("$patch");
                let mut fresh = Map::new();
                merge_map(&mut fresh, item)?;
                list.push(Value::Object(fresh));
            }
        }
    }
    Ok(())
}

fn reorder(target: &mut Map<String, Value>, field: &str, order: &Value) {
    let (Some(Value::Array(list)), Value::Array(order)) = (target.get_mut(field), order) else {
        return;
    };
    let key = list_key(field, list.first());
    let place = |item: &Value| {
        order.iter().position(|wanted| match key {
            Some(key) => wanted.get(key) == item.get(key),
            None => wanted == item,
        })
    };
    // Items the order does not name stay behind those it does.
    list.sort_by_key(|item| place(item).unwrap_or(usize::MAX));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(object: Value, patch: Value) -> Value {
        apply(object, patch.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn lists_merge_by_their_keys() {
        let pod = json!({"spec": {"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}], "tolerations": [{"key": "a"}]}});
        let after = patched(
            pod,
            json!({"spec": {"containers": [{"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}]}, {"name": "c"}], "tolerations": [{"key": "b"}]}}),
        );
        assert_eq!(
            after,
            json!({"spec": {"containers": [
                {"name": "a", "image": "2", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
                {"name": "b"}, {"name": "c"},
            ], "tolerations": [{"key": "b"}]}})
        );
    }

    #[test]
    fn directives() {
        let object = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "strategy": {"type": "x", "y": 1}}, "metadata": {"finalizers": ["a", "b"]}});
        let after = patched(
            object,
            json!({
                "spec": {
                    "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}],
                    "containers": [{"$patch": "delete", "name": "a"}, {"name": "c"}],
                    "strategy": {"$patch": "replace", "type": "z"},
                },
                "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]},
            }),
        );
        assert_eq!(
            after,
            json!({"spec": {"containers": [{"name": "c"}, {"name": "b"}], "strategy": {"type": "z"}}, "metadata": {"finalizers": ["b", "c"]}})
        );
    }

    #[test]
    fn hostile_patches_are_errors() {
        let object = json!({"spec": {"containers": [{"name": "a"}]}});
        for patch in [
            "[]",
            "{",
            r#"{"spec":{"containers":[{"image":"x"}]}}"#,
            r#"{"spec":{"containers":["a"]}}"#,
            r#"{"$patch":"explode"}"#,
        ] {
            assert!(apply(object.clone(), patch.as_bytes()).is_err(), "{patch}");
        }
        assert_eq!(
            patched(json!({"a": 1}), json!({"a": {"b": 2}})),
            json!({"a": {"b": 2}})
        );
    }
}
