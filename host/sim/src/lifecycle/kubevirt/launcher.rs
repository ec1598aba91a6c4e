//! The virt-launcher pod of a VirtualMachineInstance.

use serde_json::{Value, json};

use crate::{
    defaults,
    lifecycle::child::{add_labels, from_template},
    store::Object,
};

/// Seconds a launcher gets beyond what its machine gets to shut down.
const GRACE_BEYOND_SECS: i64 = 15;

/// The pod, but for its name and owner.
pub(super) fn launcher(instance: &Object) -> Value {
    let spec = &instance.value["spec"];
    let mut pod = from_template(&json!({
        "metadata": {"labels": instance.value["metadata"]["labels"]},
        "spec": {},
    }));
    add_labels(
        &mut pod,
        &[
            ("kubevirt.io", "virt-launcher"),
            ("kubevirt.io/created-by", instance.uid()),
            ("vm.kubevirt.io/name", instance.name()),
        ],
    );
    pod["metadata"]["annotations"] = json!({
        "kubevirt.io/domain": instance.name(),
        "kubectl.kubernetes.io/default-container": "compute",
    });
    let grace = spec["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    pod["spec"] = json!({
        "automountServiceAccountToken": false,
        "containers": [{
            "name": "compute",
            "image": "quay.io/kubevirt/virt-launcher:sim",
            "resources": resources(&spec["domain"]),
        }],
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": grace.saturating_add(GRACE_BEYOND_SECS),
    });
    let pod_spec = defaults::object(&mut pod, "spec");
    for field in [
        "affinity",
        "nodeSelector",
        "priorityClassName",
        "schedulerName",
        "tolerations",
    ] {
        if !spec[field].is_null() {
            pod_spec.insert(field.to_owned(), spec[field].clone());
        }
    }
    pod
}

/// What the domain asks for; a machine that says only how large it is asks for that.
fn resources(domain: &Value) -> Value {
    let mut resources = json!({"requests": {}});
    for part in ["requests", "limits"] {
        if let Value::Object(given) = &domain["resources"][part] {
            for (key, value) in given {
                resources[part][key] = value.clone();
            }
        }
    }
    let requests = defaults::object(&mut resources, "requests");
    let guest = &domain["memory"]["guest"];
    if !guest.is_null() {
        requests.entry("memory").or_insert_with(|| guest.clone());
    }
    // KubeVirt overcommits processors ten to one.
    let virtual_cpus: u64 = ["cores", "sockets", "threads"]
        .iter()
        .map(|part| domain["cpu"][*part].as_u64().unwrap_or(1).clamp(1, 1024))
        .product();
    requests
        .entry("cpu")
        .or_insert_with(|| json!(format!("{}m", virtual_cpus * 100)));
    resources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_says_what_it_needs() {
        let domain = json!({
            "cpu": {"cores": 2},
            "memory": {"guest": "1Gi"},
            "resources": {"limits": {"memory": "2Gi"}},
        });
        assert_eq!(
            resources(&domain),
            json!({"requests": {"memory": "1Gi", "cpu": "200m"}, "limits": {"memory": "2Gi"}})
        );
        let domain = json!({"resources": {"requests": {"cpu": "1", "memory": "90Mi"}}});
        assert_eq!(
            resources(&domain),
            json!({"requests": {"memory": "90Mi", "cpu": "1"}})
        );
    }
}
