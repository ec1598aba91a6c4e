//! A member of a set as an object.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{DataKind, DataSpec};
use crate::nodepool::{TAINT_KEY, TYPE, TYPE_LABEL};

/// The i-th object. The payload depends on set and index alone, so that the same set is the same.
pub(super) fn object(spec: &DataSpec, index: u64) -> Value {
    let kind = spec.kind;
    let mut object = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind(),
        "metadata": {
            "name": kind.member(&spec.name, index),
            "namespace": spec.namespace,
            "labels": spec.labels(index),
        },
    });
    match kind {
        DataKind::ConfigMap => object["data"] = json!({"data": letters(spec, index)}),
        DataKind::Secret => {
            object["type"] = json!("Opaque");
            object["data"] = json!({"data": STANDARD.encode(letters(spec, index))});
        }
        DataKind::DaemonSet => object["spec"] = daemon_set(spec, index),
        DataKind::Event => {
            let (involved_kind, involved_name) = &spec.involved;
            object["involvedObject"] = json!({
                "apiVersion": "v1", "kind": involved_kind, "name": involved_name, "namespace": spec.namespace,
            });
            object["reason"] = json!(spec.reason);
            object["type"] = json!(spec.event_type);
            object["message"] = json!(letters(spec, index));
            object["source"] = json!({"component": "kperf-host"});
            object["count"] = json!(1);
        }
    }
    object
}

/// Bytes of payload that an object has.
pub(super) fn payload_bytes(kind: DataKind, object: &Value) -> u64 {
    let text = match kind {
        DataKind::ConfigMap => &object["data"]["data"],
        // What it came from is a quarter shorter, give or take the padding.
        DataKind::Secret => {
            let text = object["data"]["data"].as_str().unwrap_or_default();
            return STANDARD.decode(text).map_or(0, |bytes| bytes.len() as u64);
        }
        DataKind::DaemonSet => return 0,
        DataKind::Event => &object["message"],
    };
    text.as_str().map_or(0, |text| text.len() as u64)
}

fn daemon_set(spec: &DataSpec, index: u64) -> Value {
    let labels = spec.labels(index);
    json!({
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{
                        "matchExpressions": [{"key": TYPE_LABEL, "operator": "In", "values": [TYPE]}],
                    }],
                }}},
                "tolerations": [{"key": TAINT_KEY, "operator": "Exists", "effect": "NoSchedule"}],
                "containers": [{"name": "fake-container", "image": "fake-image"}],
            },
        },
    })
}

/// Letters that look random and do not compress well.
fn letters(spec: &DataSpec, index: u64) -> String {
    const ALPHABET: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijkl";
    // FNV-1a: the same on every machine.
    let mut state = spec
        .name
        .bytes()
        .chain(index.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let size = usize::try_from(spec.size).unwrap_or_default();
    let mut text = String::with_capacity(size);
    while text.len() < size {
        let mut bits = splitmix(&mut state);
        // Ten letters of six bits.
        for _ in 0..10.min(size - text.len()) {
            text.push(char::from(ALPHABET[usize::from(bits as u8 & 63)]));
            bits >>= 6;
        }
    }
    text
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_kperfs_name_labels_and_its_size() {
        let mut spec = DataSpec::new(DataKind::ConfigMap, "x");
        spec.size = 123;
        let object = object(&spec, 3);
        assert_eq!(object["metadata"]["name"], "runkperf-cm-x-3");
        assert_eq!(
            object["metadata"]["labels"],
            json!({"app": "runkperf", "cmName": "x", "ownerID": "0"})
        );
        let text = object["data"]["data"].as_str().unwrap();
        assert_eq!(text.len(), 123);
        assert!(text.bytes().all(|b| b.is_ascii_alphabetic()));
    }

    #[test]
    fn sizes_are_read_back() {
        for kind in [DataKind::ConfigMap, DataKind::Secret, DataKind::Event] {
            for size in [1, 10, 11, 5000] {
                let mut spec = DataSpec::new(kind, "x");
                spec.size = size;
                assert_eq!(payload_bytes(kind, &object(&spec, 0)), size);
            }
        }
    }

    #[test]
    fn payloads_differ_but_do_not_change() {
        let spec = DataSpec::new(DataKind::ConfigMap, "x");
        assert_eq!(object(&spec, 1), object(&spec, 1));
        assert_ne!(letters(&spec, 1), letters(&spec, 2));
        assert_ne!(
            letters(&spec, 1),
            letters(&DataSpec::new(DataKind::ConfigMap, "y"), 1)
        );
    }
}
