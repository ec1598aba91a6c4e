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
    let mut orders = Map::new();
    let mut fields = Vec::new();
    for (key, value) in patch {
        if let Some(field) = key.strip_prefix("$setElementOrder/") {
            orders.insert(field.to_owned(), value);
        } else if let Some(field) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(list)), Value::Array(gone)) = (target.get_mut(field), &value)
            {
                list.retain(|item| !gone.contains(item));
            }
            drop_if_empty(target, field);
        } else {
            fields.push((key, value));
        }
    }
    for (key, value) in fields {
        let order = orders.remove(&key);
        merge_field(target, key, value, order)?;
    }
    // Orders of lists that are not patched otherwise.
    for (field, order) in orders {
        merge_field(target, field, Value::Array(Vec::new()), Some(order))?;
    }
    Ok(())
}

/// An empty list is not written at all.
fn drop_if_empty(target: &mut Map<String, Value>, field: &str) {
    if target
        .get(field)
        .is_some_and(|list| list.as_array().is_some_and(Vec::is_empty))
    {
        target.remove(field);
    }
}

fn merge_field(
    target: &mut Map<String, Value>,
    key: String,
    value: Value,
    order: Option<Value>,
) -> Result<(), Status> {
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
            let before = match target.get(&key) {
                Some(Value::Array(list)) => list.clone(),
                _ => Vec::new(),
            };
            let how = lists(&key, items.first().or(before.first()));
            let order = match order {
                Some(Value::Array(order)) => order,
                _ => items.clone(),
            };
            let mut list = before.clone();
            let by = match how {
                Lists::ByKey(by) => {
                    merge_by_key(&mut list, items, by)?;
                    Some(by)
                }
                Lists::Set => {
                    for item in items {
                        if !list.contains(&item) {
                            list.push(item);
                        }
                    }
                    None
                }
                Lists::Replace => {
                    target.insert(key, Value::Array(items));
                    return Ok(());
                }
            };
            let list = arrange(list, &order, &before, by);
            target.insert(key.clone(), Value::Array(list));
            drop_if_empty(target, &key);
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

/// The order of a merged list: what the patch names in the patch's order, the rest as it was before; where the two
/// meet, the rest goes first only if it stood before the other.
fn arrange(list: Vec<Value>, order: &[Value], before: &[Value], by: Option<&str>) -> Vec<Value> {
    let place = |order: &[Value], item: &Value| {
        order.iter().position(|other| match by {
            Some(key) => other.get(key) == item.get(key),
            None => other == item,
        })
    };
    let (mut named, mut rest): (Vec<Value>, Vec<Value>) = list
        .into_iter()
        .partition(|item| place(order, item).is_some());
    named.sort_by_key(|item| place(order, item));
    rest.sort_by_key(|item| place(before, item));
    let mut out = Vec::with_capacity(named.len() + rest.len());
    let (mut named, mut rest) = (named.into_iter().peekable(), rest.into_iter().peekable());
    while let (Some(new), Some(old)) = (named.peek(), rest.peek()) {
        let first = match (place(before, old), place(before, new)) {
            (Some(old), Some(new)) => old < new,
            _ => false,
        };
        out.extend(if first { rest.next() } else { named.next() });
    }
    out.extend(named);
    out.extend(rest);
    out
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
                {"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]},
                {"name": "c"}, {"name": "b"},
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
            json!({"spec": {"containers": [{"name": "c"}, {"name": "b"}], "strategy": {"type": "z"}}, "metadata": {"finalizers": ["c", "b"]}})
        );
    }

    #[test]
    fn what_a_patch_names_comes_in_its_order() {
        let list = |names: &[&str]| {
            let items: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            json!({ "containers": items })
        };
        for (before, patch, after) in [
            (&["a", "b"][..], &["c"][..], &["c", "a", "b"][..]),
            (&["a", "b"], &["b", "c"], &["a", "b", "c"]),
            (&["a", "b", "c"], &["c", "a"], &["b", "c", "a"]),
        ] {
            assert_eq!(patched(list(before), list(patch)), list(after), "{patch:?}");
        }
        // A list that ends empty is not written.
        let gone = json!({"containers": [{"name": "a", "$patch": "delete"}]});
        assert_eq!(patched(list(&["a"]), gone), json!({}));
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
