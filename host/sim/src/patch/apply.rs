//! Server-side apply with ownership of the appliers.
//!
//! Only managers that apply are recorded in `metadata.managedFields`; creations, updates and patches
//! are not tracked, so they never conflict with an applier. What an applier no longer mentions is
//! removed unless another applier owns it too.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::strategic;
use crate::{status::Status, store::now_rfc3339};

/// Path of a leaf, in the spelling of fieldsV1: `f:data`, `f:k`, `k:{"name":"a"}`, `v:"x"`.
type FieldPath = Vec<String>;

/// Applies `wanted` as `manager` onto `current` (`null` when there is none yet).
///
/// # Errors
/// 409 when another applier owns a field with another value and `force` is off.
pub(crate) fn apply(
    current: &Value,
    wanted: &Value,
    manager: &str,
    force: bool,
    api_version: &str,
) -> Result<Value, Status> {
    let owned = fields(wanted);
    let mut managers: Vec<Value> = current["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let is_ours = |entry: &Value| entry["manager"] == manager && entry["operation"] == "Apply";
    let before = managers
        .iter()
        .find(|e| is_ours(e))
        .map(|e| paths(&e["fieldsV1"]))
        .unwrap_or_default();
    managers.retain(|e| !is_ours(e));

    let mut conflicts = Vec::new();
    for entry in &mut managers {
        let mut theirs = paths(&entry["fieldsV1"]);
        let contested: Vec<FieldPath> = theirs
            .intersection(&owned)
            .filter(|p| {
                let (is, wanted) = (lookup(current, p), lookup(wanted, p));
                // An empty map asks for no value: merged into another, it changes nothing.
                let nothing = wanted.and_then(Value::as_object).is_some_and(Map::is_empty)
                    && is.is_some_and(Value::is_object);
                is != wanted && !nothing
            })
            .cloned()
            .collect();
        if contested.is_empty() {
            continue;
        }
        if force {
            theirs.retain(|p| !contested.contains(p));
            entry["fieldsV1"] = fields_v1(&theirs);
        } else {
            let name = entry["manager"].as_str().unwrap_or_default().to_owned();
            conflicts.extend(contested.iter().map(|p| (name.clone(), display(p))));
        }
    }
    if !conflicts.is_empty() {
        return Err(Status::apply_conflict(&conflicts));
    }

    let mut result = if current.is_object() {
        current.clone()
    } else {
        json!({})
    };
    for path in before.difference(&owned) {
        let shared = managers
            .iter()
            .any(|e| paths(&e["fieldsV1"]).contains(path));
        if !shared {
            remove(&mut result, path);
        }
    }
    overlay("", &mut result, wanted);
    managers.push(json!({
        "manager": manager,
        "operation": "Apply",
        "apiVersion": api_version,
        "time": now_rfc3339(),
        "fieldsType": "FieldsV1",
        "fieldsV1": fields_v1(&owned),
    }));
    managers.retain(|e| e["fieldsV1"].as_object().is_some_and(|f| !f.is_empty()));
    result["metadata"]["managedFields"] = Value::Array(managers);
    Ok(result)
}

/// The leaves of an applied configuration.
fn fields(wanted: &Value) -> BTreeSet<FieldPath> {
    let mut out = BTreeSet::new();
    let mut path = Vec::new();
    for (key, value) in wanted.as_object().into_iter().flatten() {
        if !matches!(key.as_str(), "kind" | "apiVersion") {
            path.push(format!("f:{key}"));
            collect(key, value, &mut path, &mut out);
            path.pop();
        }
    }
    // Identity is nobody's field.
    for name in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
    ] {
        out.remove(&vec!["f:metadata".to_owned(), format!("f:{name}")]);
    }
    out
}

fn collect(field: &str, value: &Value, path: &mut FieldPath, out: &mut BTreeSet<FieldPath>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                path.push(format!("f:{key}"));
                collect(key, value, path, out);
                path.pop();
            }
        }
        Value::Array(items) if strategic::is_set(field) => {
            for item in items {
                path.push(format!("v:{item}"));
                out.insert(path.clone());
                path.pop();
            }
        }
        Value::Array(items) => match strategic::list_key(field, items.first()) {
            Some(key) => {
                for item in items {
                    path.push(format!("k:{}", json!({ key: item[key] })));
                    collect("", item, path, out);
                    path.pop();
                }
            }
            None => {
                out.insert(path.clone());
            }
        },
        _ => {
            out.insert(path.clone());
        }
    }
}

fn fields_v1(paths: &BTreeSet<FieldPath>) -> Value {
    let mut root = Map::new();
    for path in paths {
        let mut at = &mut root;
        for step in path {
            let next = at.entry(step.clone()).or_insert_with(|| json!({}));
            let Value::Object(map) = next else { break };
            at = map;
        }
    }
    Value::Object(root)
}

fn paths(fields_v1: &Value) -> BTreeSet<FieldPath> {
    fn walk(value: &Value, path: &mut FieldPath, out: &mut BTreeSet<FieldPath>) {
        match value.as_object() {
            Some(map) if !map.is_empty() => {
                for (key, value) in map {
                    path.push(key.clone());
                    walk(value, path, out);
                    path.pop();
                }
            }
            _ if path.is_empty() => {}
            _ => {
                out.insert(path.clone());
            }
        }
    }
    let mut out = BTreeSet::new();
    walk(fields_v1, &mut Vec::new(), &mut out);
    out
}

/// Whether a list item is the one a `k:` or `v:` step means.
fn is_item(item: &Value, step: &str) -> bool {
    if let Some(keys) = step.strip_prefix("k:") {
        let keys: Value = serde_json::from_str(keys).unwrap_or_default();
        keys.as_object()
            .is_some_and(|keys| keys.iter().all(|(k, v)| item.get(k) == Some(v)))
    } else {
        step.strip_prefix("v:")
            .and_then(|v| serde_json::from_str::<Value>(v).ok())
            .is_some_and(|v| v == *item)
    }
}

fn lookup<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter()
        .try_fold(value, |at, step| match step.strip_prefix("f:") {
            Some(key) => at.get(key),
            None => at.as_array()?.iter().find(|item| is_item(item, step)),
        })
}

fn remove(value: &mut Value, path: &[String]) {
    let Some((step, rest)) = path.split_first() else {
        return;
    };
    if let Some(key) = step.strip_prefix("f:") {
        let Value::Object(map) = value else { return };
        if rest.is_empty() {
            map.remove(key);
        } else if let Some(child) = map.get_mut(key) {
            remove(child, rest);
            if child.as_object().is_some_and(Map::is_empty)
                || child.as_array().is_some_and(Vec::is_empty)
            {
                map.remove(key);
            }
        }
    } else if let Value::Array(list) = value {
        let Some(at) = list.iter().position(|item| is_item(item, step)) else {
            return;
        };
        // The key goes last: with it the item goes.
        let is_key = |field: &str| {
            step.strip_prefix("k:")
                .is_some_and(|keys| keys.contains(&format!("{field:?}")))
        };
        let gone = match rest {
            [] => true,
            [field] => field.strip_prefix("f:").is_some_and(is_key),
            _ => false,
        };
        if gone {
            list.remove(at);
        } else if let Some(item) = list.get_mut(at) {
            remove(item, rest);
        }
    }
}

fn overlay(field: &str, target: &mut Value, wanted: &Value) {
    match (target, wanted) {
        (Value::Object(target), Value::Object(wanted)) => {
            for (key, value) in wanted {
                overlay(key, target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(target), Value::Array(wanted)) if strategic::is_set(field) => {
            for item in wanted {
                if !target.contains(item) {
                    target.push(item.clone());
                }
            }
        }
        (Value::Array(target), Value::Array(wanted))
            if strategic::list_key(field, wanted.first()).is_some() =>
        {
            let key = strategic::list_key(field, wanted.first()).unwrap_or_default();
            for item in wanted {
                match target.iter_mut().find(|t| t.get(key) == item.get(key)) {
                    Some(existing) => overlay("", existing, item),
                    None => target.push(item.clone()),
                }
            }
        }
        (target, wanted) => *target = wanted.clone(),
    }
}

/// `.data.k` and `.spec.containers[name="a"].image`, as conflicts are shown.
fn display(path: &[String]) -> String {
    path.iter().fold(String::new(), |text, step| {
        if let Some(key) = step.strip_prefix("f:") {
            format!("{text}.{key}")
        } else if let Some(keys) = step.strip_prefix("k:") {
            let keys: Value = serde_json::from_str(keys).unwrap_or_default();
            let parts: Vec<String> = keys
                .as_object()
                .into_iter()
                .flatten()
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            format!("{text}[{}]", parts.join(","))
        } else {
            format!(
                "{text}[{}]",
                step.strip_prefix("v:")
                    .map_or_else(String::new, |v| format!("={v}"))
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(current: &Value, wanted: Value, manager: &str, force: bool) -> Result<Value, Status> {
        apply(current, &wanted, manager, force, "v1")
    }

    #[test]
    fn what_an_applier_drops_is_removed() {
        let first = run(
            &Value::Null,
            json!({"metadata": {"name": "a"}, "data": {"x": "1", "y": "2"}}),
            "m",
            false,
        )
        .unwrap();
        let second = run(
            &first,
            json!({"metadata": {"name": "a"}, "data": {"x": "1"}}),
            "m",
            false,
        )
        .unwrap();
        assert_eq!(second["data"], json!({"x": "1"}));
        assert_eq!(
            second["metadata"]["managedFields"][0]["fieldsV1"],
            json!({"f:data": {"f:x": {}}})
        );
        assert_eq!(second["metadata"]["name"], "a");
    }

    #[test]
    fn another_appliers_value_is_a_conflict_until_forced() {
        let first = run(&Value::Null, json!({"data": {"x": "1"}}), "alice", false).unwrap();
        let error = run(&first, json!({"data": {"x": "2"}}), "bob", false).unwrap_err();
        assert_eq!((error.code, error.reason), (409, "Conflict"));
        assert_eq!(
            error.message,
            "Apply failed with 1 conflict: conflict with \"alice\": .data.x"
        );
        let forced = run(&first, json!({"data": {"x": "2"}}), "bob", true).unwrap();
        assert_eq!(forced["data"]["x"], "2");
        assert_eq!(
            forced["metadata"]["managedFields"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        // The same value is shared, not contested.
        let shared = run(&first, json!({"data": {"x": "1"}}), "bob", false).unwrap();
        let dropped = run(
            &shared,
            json!({"metadata": {"labels": {"l": "1"}}}),
            "bob",
            false,
        )
        .unwrap();
        assert_eq!(dropped["data"]["x"], "1");
    }

    #[test]
    fn keyed_lists_are_owned_by_item() {
        let first = run(&Value::Null, json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}}), "m", false).unwrap();
        let second = run(
            &first,
            json!({"spec": {"containers": [{"name": "b", "image": "2"}]}}),
            "m",
            false,
        )
        .unwrap();
        assert_eq!(
            second["spec"]["containers"],
            json!([{"name": "b", "image": "2"}])
        );
    }
}
