//! KubeVirt: its resources, and what virt-controller and virt-handler make of them.

mod definitions;
mod instance;
mod launcher;
mod machine;

use serde_json::{Value, json};

pub(crate) use definitions::definitions;

/// Takes a finalizer from an object; whether none is left.
fn remove_finalizer(value: &mut Value, finalizer: &str) -> bool {
    match value["metadata"]["finalizers"].as_array_mut() {
        Some(list) => {
            list.retain(|f| f != finalizer);
            list.is_empty()
        }
        None => true,
    }
}

fn add_finalizer(value: &mut Value, finalizer: &str) {
    let metadata = crate::defaults::object(value, "metadata");
    let list = metadata.entry("finalizers").or_insert_with(|| json!([]));
    if !list.is_array() {
        *list = json!([]);
    }
    if let Value::Array(list) = list
        && !list.iter().any(|f| f == finalizer)
    {
        list.push(json!(finalizer));
    }
}
