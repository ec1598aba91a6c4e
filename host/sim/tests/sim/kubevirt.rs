//! KubeVirt's machines.

use kperf_sim::SimConfig;
use serde_json::{Value, json};

use crate::{
    client::Client,
    workloads::{created, items, quick, sim, until},
};

const MACHINES: &str = "/apis/kubevirt.io/v1/namespaces/ns-0/virtualmachines";
const INSTANCES: &str = "/apis/kubevirt.io/v1/namespaces/ns-0/virtualmachineinstances";
const SETS: &str = "/apis/kubevirt.io/v1/namespaces/ns-0/virtualmachineinstancereplicasets";
const PODS: &str = "/api/v1/namespaces/ns-0/pods";

fn config() -> SimConfig {
    let mut config = quick(2);
    config.seed_objects.kubevirt = true;
    config
}

fn instance_spec() -> Value {
    json!({
        "terminationGracePeriodSeconds": 0,
        "domain": {
            "devices": {"disks": [{"name": "disk0", "disk": {"bus": "virtio"}}]},
            "resources": {"requests": {"cpu": "100m", "memory": "90Mi"}},
        },
        "volumes": [{"name": "disk0", "containerDisk": {"image": "cirros"}}],
    })
}

fn instance(name: &str) -> Value {
    json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
        "metadata": {"name": name, "labels": {"load": "1"}}, "spec": instance_spec(),
    })
}

fn phases(instance: &Value) -> Vec<&str> {
    instance["status"]["phaseTransitionTimestamps"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| {
            assert!(entry["phaseTransitionTimestamp"].is_string(), "{entry}");
            entry["phase"].as_str().unwrap()
        })
        .collect()
}

fn is_running(instance: &Value) -> bool {
    instance["status"]["phase"] == "Running"
}

#[tokio::test]
async fn an_instance_runs_in_a_launcher_and_goes() {
    let (server, mut client) = sim(config()).await;
    let mut watcher = Client::new(&server).await;
    let mut events = watcher.watch(&format!("{INSTANCES}?watch=true")).await;
    let made = created(&mut client, INSTANCES, &instance("vmi")).await;
    let mut seen: Vec<String> = Vec::new();
    let mut last = Value::Null;
    while !is_running(&last) {
        let (_, object) = events.next().await.unwrap();
        let phase = object["status"]["phase"].as_str().unwrap_or_default();
        if seen.last().map(String::as_str) != Some(phase) {
            seen.push(phase.to_owned());
        }
        last = object;
    }
    assert_eq!(seen, ["", "Pending", "Scheduling", "Scheduled", "Running"]);
    assert_eq!(
        phases(&last),
        ["Pending", "Scheduling", "Scheduled", "Running"]
    );
    assert_eq!(
        last["metadata"]["finalizers"],
        json!(["foregroundDeleteVirtualMachine"])
    );
    let true_conditions: Vec<&str> = last["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["status"] == "True")
        .map(|c| c["type"].as_str().unwrap())
        .collect();
    assert_eq!(true_conditions, ["Ready", "LiveMigratable"]);

    let uid = made["metadata"]["uid"].as_str().unwrap();
    let pods = client
        .get(&format!(
            "{PODS}?labelSelector=kubevirt.io%3Dvirt-launcher,kubevirt.io/created-by%3D{uid},load%3D1"
        ))
        .await
        .json();
    let [pod] = items(&pods) else {
        panic!("one launcher, not {pods}")
    };
    let name = pod["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("virt-launcher-vmi-"), "{name}");
    assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], uid);
    assert_eq!(pod["spec"]["nodeName"], last["status"]["nodeName"]);

    client.delete(&format!("{INSTANCES}/vmi")).await;
    let mut succeeded = false;
    loop {
        let (kind, object) = events.next().await.unwrap();
        succeeded |= kind == "MODIFIED" && object["status"]["phase"] == "Succeeded";
        if kind == "DELETED" {
            break;
        }
    }
    assert!(succeeded);
    let pods = client.get(PODS).await.json();
    assert!(items(&pods).is_empty(), "{pods}");
}

#[tokio::test]
async fn a_machine_has_its_instance_while_it_is_to_run() {
    let (_server, mut client) = sim(config()).await;
    let machine = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "vm"},
        "spec": {"runStrategy": "Always", "template": {"metadata": {"labels": {"a": "b"}}, "spec": instance_spec()}},
    });
    created(&mut client, MACHINES, &machine).await;
    let one = format!("{MACHINES}/vm");
    let vm = until(&mut client, &one, |vm| vm["status"]["ready"] == true).await;
    assert_eq!(vm["status"]["created"], true);
    assert_eq!(vm["status"]["printableStatus"], "Running");
    assert_eq!(vm["status"]["conditions"][0]["type"], "Ready");
    assert_eq!(vm["status"]["conditions"][0]["status"], "True");
    let instance = client.get(&format!("{INSTANCES}/vm")).await.json();
    assert_eq!(
        instance["metadata"]["ownerReferences"][0]["kind"],
        "VirtualMachine"
    );
    assert_eq!(instance["metadata"]["labels"]["a"], "b");
    // An instance that is taken away comes again.
    client.delete(&format!("{INSTANCES}/vm")).await;
    until(&mut client, &format!("{INSTANCES}/vm"), |again| {
        is_running(again) && again["metadata"]["uid"] != instance["metadata"]["uid"]
    })
    .await;
    client
        .patch(
            &one,
            "application/merge-patch+json",
            r#"{"spec":{"runStrategy":"Halted"}}"#,
        )
        .await;
    let vm = until(&mut client, &one, |vm| {
        vm["status"]["printableStatus"] == "Stopped"
    })
    .await;
    assert_eq!(vm["status"]["ready"], false);
    client
        .patch(
            &one,
            "application/merge-patch+json",
            r#"{"spec":{"runStrategy":null,"running":true}}"#,
        )
        .await;
    until(&mut client, &one, |vm| vm["status"]["ready"] == true).await;
    client.delete(&one).await;
    until(&mut client, MACHINES, |list| items(list).is_empty()).await;
    // The machine goes after its instance.
    assert_eq!(client.get(&format!("{INSTANCES}/vm")).await.code, 404);
}

#[tokio::test]
async fn a_set_of_instances_has_as_many_as_asked_for() {
    let (_server, mut client) = sim(config()).await;
    let set = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceReplicaSet", "metadata": {"name": "rs"},
        "spec": {
            "replicas": 4, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": instance_spec()},
        },
    });
    created(&mut client, SETS, &set).await;
    let one = format!("{SETS}/rs");
    let status = until(&mut client, &one, |set| set["status"]["readyReplicas"] == 4).await;
    assert_eq!(status["status"]["replicas"], 4);
    let scaled = client
        .patch(
            &format!("{one}/scale"),
            "application/merge-patch+json",
            r#"{"spec":{"replicas":1}}"#,
        )
        .await;
    assert_eq!(scaled.code, 200);
    until(&mut client, INSTANCES, |list| items(list).len() == 1).await;
    until(&mut client, &one, |set| set["status"]["replicas"] == 1).await;
    client.delete(&one).await;
    until(&mut client, INSTANCES, |list| items(list).is_empty()).await;
    until(&mut client, PODS, |list| items(list).is_empty()).await;
}

#[tokio::test]
async fn a_namespace_with_machines_empties_itself() {
    let (_server, mut client) = sim(config()).await;
    for i in 0..5 {
        created(&mut client, INSTANCES, &instance(&format!("vmi-{i}"))).await;
        let machine = json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": format!("vm-{i}")},
            "spec": {"running": true, "template": {"spec": instance_spec()}},
        });
        created(&mut client, MACHINES, &machine).await;
    }
    until(&mut client, INSTANCES, |list| {
        items(list).len() == 10 && items(list).iter().all(is_running)
    })
    .await;
    client.delete("/api/v1/namespaces/ns-0").await;
    until(&mut client, "/api/v1/namespaces/ns-0", |answer| {
        answer["code"] == 404
    })
    .await;
    for path in [INSTANCES, MACHINES, PODS] {
        let list = client.get(path).await.json();
        assert!(items(&list).is_empty(), "{list}");
    }
}

#[tokio::test]
async fn without_the_option_there_is_no_kubevirt() {
    let (_server, mut client) = sim(quick(1)).await;
    assert_eq!(client.get(INSTANCES).await.code, 404);
}

/// A measurement, not a test: `cargo test -p kperf-sim --test sim density -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "prints figures; run it by name"]
#[allow(clippy::print_stdout, reason = "what it is for")]
async fn density() {
    for count in [500usize, 1000, 2000] {
        let mut config = quick(100);
        config.seed_objects.kubevirt = true;
        let (_server, mut client) = sim(config).await;
        let begin = std::time::Instant::now();
        for i in 0..count {
            created(&mut client, INSTANCES, &instance(&format!("vmi-{i}"))).await;
        }
        let created_in = begin.elapsed();
        // A question whose answer is short, until few are left.
        let others = format!("{INSTANCES}?limit=1&labelSelector=load%3D1,!kubevirt.io/nodeName");
        until(&mut client, &others, |list| items(list).is_empty()).await;
        until(&mut client, INSTANCES, |list| {
            items(list).len() == count && items(list).iter().all(is_running)
        })
        .await;
        println!(
            "{count} instances: created in {created_in:?}, all running after {:?}",
            begin.elapsed()
        );
    }
}
