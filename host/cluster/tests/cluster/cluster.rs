//! A simulator, and sessions on it.

use std::{sync::Arc, time::Duration, time::Instant};

use kperf_cluster::{
    Session, TargetSource,
    api::{Cluster, RetryLimits},
    resolve,
};
use kperf_load::Stop;
use kperf_sim::{Lifecycle, Sim, SimConfig};
use serde_json::{Value, json};

pub(crate) struct TestCluster {
    pub(crate) sim: Sim,
    pub(crate) cluster: Cluster,
}

impl TestCluster {
    pub(crate) async fn start() -> Self {
        Self::start_with(SimConfig::default().tls).await
    }

    /// Without TLS, so that a [`crate::rights::judged`] server can stand in front of it.
    pub(crate) async fn start_plain() -> Self {
        Self::start_with(false).await
    }

    async fn start_with(tls: bool) -> Self {
        let sim = Sim::start(SimConfig {
            tls,
            seed_objects: "nodes=2,namespaces=1,pods=1,configmaps=1,secrets=1"
                .parse()
                .unwrap(),
            lifecycle: Lifecycle {
                terminate: Duration::from_millis(5),
                ..Lifecycle::default()
            },
            ..SimConfig::default()
        })
        .unwrap();
        let source = TargetSource::from_kubeconfig_text(&sim.kubeconfig()).unwrap();
        let target = resolve(&source).await.unwrap();
        let cluster = Cluster::new(target.config).unwrap();
        Self { sim, cluster }
    }

    /// A session with these grants, separated by white space.
    pub(crate) fn session(&self, run: &str, grants: &str) -> Arc<Session> {
        self.session_until(run, grants, Stop::new())
    }

    pub(crate) fn session_until(&self, run: &str, grants: &str, stop: Stop) -> Arc<Session> {
        let grants = grants
            .split_whitespace()
            .map(|grant| grant.parse().unwrap())
            .collect();
        let limits = RetryLimits {
            retries: 20,
            first: Duration::from_millis(1),
            longest: Duration::from_millis(10),
            ..RetryLimits::default()
        };
        let session = Session::new(
            self.cluster.clone(),
            run.parse().unwrap(),
            grants,
            Instant::now(),
            stop,
        );
        Arc::new(session.with_limits(limits))
    }

    /// Names of the objects of a kind, whosoever they are.
    pub(crate) async fn names(&self, api_version: &str, kind: &str) -> Vec<String> {
        let resource = self.cluster.kind(api_version, kind).await.unwrap();
        let objects = self
            .cluster
            .list(&resource, &Default::default(), Default::default())
            .await
            .unwrap();
        objects
            .iter()
            .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

pub(crate) fn configmap(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": "test"}},
        "data": {"a": "b"},
    })
}

pub(crate) fn widget_definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.io"},
        "spec": {
            "group": "example.io", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

pub(crate) fn widget(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "example.io/v1", "kind": "Widget",
        "metadata": {"namespace": namespace, "name": name},
    })
}
