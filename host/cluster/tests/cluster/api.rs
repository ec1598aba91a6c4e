use kperf_cluster::api::{Code, ListBounds, PatchType, Scope};
use serde_json::json;

use crate::cluster::{TestCluster, configmap, widget, widget_definition};

#[tokio::test]
async fn every_verb() {
    let test = TestCluster::start().await;
    let cluster = &test.cluster;
    let maps = cluster.kind("v1", "ConfigMap").await.unwrap();
    assert!(maps.namespaced && maps.can("deletecollection"));

    let stored = cluster
        .create(&maps, "ns-0", &configmap("ns-0", "x"))
        .await
        .unwrap();
    assert!(stored["metadata"]["uid"].is_string());
    let again = cluster
        .create(&maps, "ns-0", &configmap("ns-0", "x"))
        .await
        .unwrap_err();
    assert_eq!(
        (again.code, again.class.as_str()),
        (Code::AlreadyExists, "http/409")
    );

    let merged = cluster
        .patch(
            &maps,
            "ns-0",
            "x",
            "",
            PatchType::Merge,
            r#"{"data":{"c":"d"}}"#,
        )
        .await
        .unwrap();
    assert_eq!(merged["data"], json!({"a": "b", "c": "d"}));
    let mut whole = merged;
    whole["data"] = json!({"e": "f"});
    cluster
        .update(&maps, "ns-0", "x", "", &whole)
        .await
        .unwrap();
    let stale = cluster
        .update(&maps, "ns-0", "x", "", &whole)
        .await
        .unwrap_err();
    assert_eq!(stale.code, Code::Conflict);
    let mut applied = configmap("ns-0", "y");
    applied["data"] = json!({"g": "h"});
    cluster.apply(&maps, "ns-0", "y", &applied).await.unwrap();
    cluster.apply(&maps, "ns-0", "y", &applied).await.unwrap();
    assert_eq!(
        cluster.get(&maps, "ns-0", "y").await.unwrap()["data"],
        json!({"g": "h"})
    );

    let scope = Scope {
        namespace: "ns-0".into(),
        label_selector: "app=test".into(),
        ..Scope::default()
    };
    let listed = cluster
        .list(&maps, &scope, ListBounds::default())
        .await
        .unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0]["kind"], "ConfigMap");
    let few = ListBounds {
        objects: 1,
        ..ListBounds::default()
    };
    let failure = cluster.list(&maps, &scope, few).await.unwrap_err();
    assert_eq!(failure.code, Code::TooLarge);
    let small = ListBounds {
        bytes: 100,
        ..ListBounds::default()
    };
    let failure = cluster.list(&maps, &scope, small).await.unwrap_err();
    assert_eq!(failure.code, Code::TooLarge);

    cluster
        .delete(&maps, "ns-0", "y", &Default::default())
        .await
        .unwrap();
    let failure = cluster.get(&maps, "ns-0", "y").await.unwrap_err();
    assert_eq!(failure.code, Code::NotFound);
    cluster
        .delete_collection(&maps, &scope, &Default::default())
        .await
        .unwrap();
    assert_eq!(test.names("v1", "ConfigMap").await, ["cm-0"]);
}

#[tokio::test]
async fn a_list_has_all_pages() {
    let test = TestCluster::start().await;
    let maps = test.cluster.kind("v1", "ConfigMap").await.unwrap();
    for i in 0..1100 {
        let name = format!("m-{i}");
        test.cluster
            .create(&maps, "default", &configmap("default", &name))
            .await
            .unwrap();
    }
    assert_eq!(test.names("v1", "ConfigMap").await.len(), 1101);
}

#[tokio::test]
async fn kinds_are_found_when_they_come() {
    let test = TestCluster::start().await;
    let cluster = &test.cluster;
    let missing = cluster.kind("example.io/v1", "Widget").await.unwrap_err();
    assert_eq!(missing.code, Code::NoSuchKind);
    assert!(
        missing.message.contains("CustomResourceDefinition"),
        "{missing}"
    );
    let definitions = cluster
        .kind("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        .await
        .unwrap();
    cluster
        .create(&definitions, "", &widget_definition())
        .await
        .unwrap();
    let widgets = cluster.kind("example.io/v1", "Widget").await.unwrap();
    cluster
        .create(&widgets, "default", &widget("default", "w"))
        .await
        .unwrap();
    assert_eq!(widgets.to_string(), "widgets.example.io");
}

#[tokio::test]
async fn a_missing_kind_says_what_there_is() {
    let test = TestCluster::start().await;
    for (api_version, kind, part) in [
        ("v1", "pod", "spelt Pod"),
        ("v1", "Deployment", "Deployment in apps/v1"),
        ("apps/v1", "Nonsense", "apps/v1 has"),
        ("nowhere/v1", "Nonsense", "serves no nowhere/v1"),
    ] {
        let failure = test.cluster.kind(api_version, kind).await.unwrap_err();
        assert_eq!(failure.code, Code::NoSuchKind);
        assert!(failure.message.contains(part), "{failure}");
    }
}

#[tokio::test]
async fn every_resource_is_known() {
    let test = TestCluster::start().await;
    let resources = test.cluster.resources().await.unwrap();
    let deployments = resources
        .iter()
        .find(|r| r.to_string() == "deployments.apps")
        .unwrap();
    let by_kind = test.cluster.kind("apps/v1", "Deployment").await.unwrap();
    assert_eq!(*deployments, *by_kind);
}

#[tokio::test]
async fn a_server_that_is_gone_is_unreachable() {
    let test = TestCluster::start().await;
    test.cluster.kind("v1", "Pod").await.unwrap();
    test.sim.stop();
    let failure = test.cluster.kind("v1", "Unknown").await.unwrap_err();
    assert_eq!(failure.code, Code::Unreachable);
    let failure = test.cluster.kind("v1", "Unknown").await.unwrap_err();
    assert_eq!(failure.class, "connection/connection refused");
    assert!(!failure.may_have_happened);
}
