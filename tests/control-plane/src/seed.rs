//! Objects to begin with, named as the simulator names its own, so that one profile fits both: namespaces
//! `ns-<i>`, in each pods `pod-<j>` and ConfigMaps `cm-<j>`, all labelled `app=sim`.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{Client, nodes};

/// Requests under way at once.
const CLIENTS: usize = 8;

/// How many objects of each kind; pods and ConfigMaps per namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seed {
    /// Namespaces `ns-<i>`.
    pub namespaces: u32,
    /// Pods `pod-<j>` with one container `app`; pod j on node j mod nodes.
    pub pods: u32,
    /// ConfigMaps `cm-<j>`.
    pub configmaps: u32,
}

impl Seed {
    pub(crate) fn create(self, client: &Client, nodes: u32) -> anyhow::Result<()> {
        let namespaces: Vec<_> = (0..self.namespaces)
            .map(|i| ("/api/v1/namespaces".to_owned(), namespace(i)))
            .collect();
        post_all(client, &namespaces)?;
        let mut objects = Vec::new();
        for i in 0..self.namespaces {
            let at = |plural: &str| format!("/api/v1/namespaces/ns-{i}/{plural}");
            // Pods need the service account, which the controller-manager makes a moment later; they come last.
            objects.extend((0..self.configmaps).map(|j| (at("configmaps"), configmap(j))));
            objects.extend((0..self.pods).map(|j| (at("pods"), pod(j, nodes))));
        }
        post_all(client, &objects)
    }

    /// Whether all pods run.
    pub(crate) fn is_running(self, client: &Client) -> anyhow::Result<bool> {
        let wanted = u64::from(self.namespaces) * u64::from(self.pods);
        if wanted == 0 {
            return Ok(true);
        }
        let path = "/api/v1/pods?labelSelector=app%3Dsim&fieldSelector=status.phase%3DRunning";
        let list = client.get(path)?.success()?.json();
        Ok(list["items"].as_array().map_or(0, Vec::len) as u64 >= wanted)
    }
}

/// Makes all objects, several at a time.
fn post_all(client: &Client, objects: &[(String, Value)]) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    while let Some((path, object)) =
                        objects.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        post(client, path, object)?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for worker in workers {
            worker
                .join()
                .map_err(|_| anyhow::anyhow!("a thread that makes objects panicked"))??;
        }
        Ok(())
    })
}

/// Tried again while the namespace has no service account yet.
fn post(client: &Client, path: &str, object: &Value) -> anyhow::Result<()> {
    let mut tries = 0;
    loop {
        let answer = client.post(path, object)?;
        tries += 1;
        if answer.status == 403 && answer.text.contains("serviceaccount") && tries < 200 {
            thread::sleep(std::time::Duration::from_millis(50));
            continue;
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        answer
            .success()
            .with_context(|| format!("making {name} at {path}"))?;
        return Ok(());
    }
}

fn namespace(i: u32) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": format!("ns-{i}"), "labels": {"app": "sim"}},
    })
}

fn configmap(j: u32) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": format!("cm-{j}"), "labels": {"app": "sim"}},
        "data": {"config.yaml": format!("index: {j}\n"), "payload": "x".repeat(256)},
    })
}

fn pod(j: u32, nodes: u32) -> Value {
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": format!("pod-{j}"), "labels": {"app": "sim"}},
        "spec": {"containers": [{"name": "app", "image": "registry.example/app:1"}]},
    });
    if let Some(node) = j.checked_rem(nodes) {
        pod["spec"]["nodeName"] = json!(nodes::name(node));
    }
    pod
}
