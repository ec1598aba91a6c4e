use kperf_cluster::{
    RUN_LABEL,
    api::{Code, PatchType, Scope},
};
use serde_json::json;

use crate::cluster::{TestCluster, configmap};

#[tokio::test]
async fn own_namespaces_are_free_and_others_are_not() {
    let test = TestCluster::start().await;
    let session = test.session("r1", "");
    session
        .create_namespace("mine", &[("a".into(), "b".into())])
        .await
        .unwrap();
    session.create_namespace("mine", &[]).await.unwrap();
    let namespace = session.get("v1", "Namespace", "", "mine").await.unwrap();
    assert_eq!(namespace["metadata"]["labels"][RUN_LABEL], "r1");
    assert_eq!(namespace["metadata"]["labels"]["a"], "b");

    let stored = session
        .create(&configmap("mine", "x").to_string())
        .await
        .unwrap();
    assert_eq!(
        stored["metadata"]["labels"],
        json!({"app": "test", RUN_LABEL: "r1"})
    );
    let outside = session
        .create(&configmap("ns-0", "x").to_string())
        .await
        .unwrap_err();
    assert_eq!(outside.code, Code::Denied);
    assert!(
        outside.message.contains("--grant 'create:configmaps@ns-0'"),
        "{outside}"
    );
    let taken = session.create_namespace("ns-0", &[]).await.unwrap_err();
    assert_eq!(taken.code, Code::AlreadyExists);
    let denied = session.delete_namespace("ns-0").await.unwrap_err();
    assert_eq!(denied.code, Code::Denied);
    let denied = session
        .list("v1", "ConfigMap", &Scope::default())
        .await
        .unwrap_err();
    assert_eq!(denied.code, Code::Denied);
    let denied = session.get("v1", "Secret", "mine", "x").await.unwrap_err();
    assert!(denied.message.contains("get:secrets@mine"), "{denied}");

    // A name that would lead into another namespace.
    let failure = session
        .get("v1", "ConfigMap", "mine", "../../ns-0/configmaps/cm-0")
        .await
        .unwrap_err();
    assert_eq!(failure.code, Code::Invalid);
    let failure = session
        .get("v1", "ConfigMap", "mine/../ns-0", "cm-0")
        .await
        .unwrap_err();
    assert_eq!(failure.code, Code::Denied);
}

#[tokio::test]
async fn a_namespace_is_waited_for() {
    let test = TestCluster::start().await;
    let session = test.session("r1", "");
    session.create_namespace("mine", &[]).await.unwrap();
    session.delete_namespace("mine").await.unwrap();
    session
        .namespaces_gone(&["mine".to_owned()], std::time::Duration::from_secs(30))
        .await
        .unwrap();
    let denied = session
        .create(&configmap("mine", "x").to_string())
        .await
        .unwrap_err();
    assert_eq!(denied.code, Code::Denied);
}

#[tokio::test]
async fn the_label_does_not_get_onto_what_is_not_ours() {
    let test = TestCluster::start().await;
    let session = test.session(
        "r1",
        "create,patch,update,get:configmaps@ns-0 deletecollection:configmaps@ns-0",
    );
    let label = |object: &serde_json::Value| object["metadata"]["labels"][RUN_LABEL].clone();

    // Apply: on somebody's object without the label, on a new one with it.
    let theirs = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": "ns-0", "name": "cm-0", "labels": {RUN_LABEL: "r1"}}, "data": {"z": "1"},
    });
    let stored = session.apply(&theirs.to_string()).await.unwrap();
    assert!(label(&stored).is_null(), "{stored}");
    assert_eq!(stored["data"]["z"], "1");
    for _ in 0..2 {
        let ours = session
            .apply(&configmap("ns-0", "ours").to_string())
            .await
            .unwrap();
        assert_eq!(label(&ours), "r1");
    }

    // Update: as it was.
    let mut whole = session
        .get("v1", "ConfigMap", "ns-0", "cm-0")
        .await
        .unwrap();
    whole["metadata"]["labels"][RUN_LABEL] = json!("r1");
    let stored = session.update(&whole.to_string(), "").await.unwrap();
    assert!(label(&stored).is_null());
    let mut ours = session
        .get("v1", "ConfigMap", "ns-0", "ours")
        .await
        .unwrap();
    ours["metadata"]["labels"] = json!({});
    let stored = session.update(&ours.to_string(), "").await.unwrap();
    assert_eq!(label(&stored), "r1");

    // Patch: refused.
    for (patch_type, patch) in [
        (
            PatchType::Merge,
            json!({"metadata": {"labels": {RUN_LABEL: "r1"}}}),
        ),
        (
            PatchType::Json,
            json!([{"op": "add", "path": "/metadata/labels/kperf-host.io~1run", "value": "r1"}]),
        ),
    ] {
        let failure = session
            .patch(
                "v1",
                "ConfigMap",
                "ns-0",
                "cm-0",
                "",
                patch_type,
                &patch.to_string(),
            )
            .await
            .unwrap_err();
        assert!(failure.message.contains(RUN_LABEL), "{failure}");
    }

    // And a selector of the plugin's own does not widen what is deleted.
    let scope = Scope {
        namespace: "ns-0".into(),
        ..Scope::default()
    };
    session.delete_all("v1", "ConfigMap", &scope).await.unwrap();
    assert_eq!(test.names("v1", "ConfigMap").await, ["cm-0"]);
}

#[tokio::test]
async fn a_load_writes_only_into_own_namespaces() {
    let test = TestCluster::start().await;
    let session = test.session("r1", "*:*.* *:pods/*");
    session.create_namespace("mine", &[]).await.unwrap();
    let own = "/api/v1/namespaces/mine/configmaps";
    let object = format!("{own}/x");
    let theirs = "/api/v1/namespaces/ns-0/configmaps";
    for (method, path) in [
        ("GET", "/version"),
        ("GET", "/api/v1/nodes?watch=1"),
        ("GET", theirs),
        ("DELETE", "/api/v1/namespaces/ns-0/configmaps/x"),
        ("POST", own),
        ("PUT", &object),
        ("PATCH", &object),
        ("DELETE", own),
        (
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        ),
    ] {
        session.gate(method, path).unwrap();
    }
    for (method, path, why) in [
        ("POST", theirs, "not labelled"),
        ("POST", "/api/v1/namespaces", "not labelled"),
        ("POST", "/api/v1/persistentvolumes", "not labelled"),
        ("POST", "/api/v1/configmaps", "not labelled"),
        (
            "PUT",
            "/api/v1/namespaces/ns-0/configmaps/x",
            "may change objects only",
        ),
        (
            "PATCH",
            "/api/v1/namespaces/mine",
            "may change objects only",
        ),
        ("PATCH", "/api/v1/nodes/n", "may change objects only"),
        ("GET", "/metrics", "no grant can allow"),
        ("GET", "/api/v1/nodes#", "no grant can allow"),
    ] {
        let refused = session.gate(method, path).unwrap_err();
        assert_eq!(refused.code, Code::Denied);
        assert!(refused.message.contains(why), "{refused}");
        assert!(refused.message.contains(path), "{refused}");
    }
    let session = test.session("r2", "");
    let refused = session.gate("GET", "/api/v1/nodes").unwrap_err();
    assert!(refused.message.contains("list:nodes"), "{refused}");
}

#[tokio::test]
async fn a_namespace_that_went_is_remembered() {
    let test = TestCluster::start().await;
    let session = test.session("r1", "");
    let both = ["a".to_owned(), "b".to_owned()];
    for name in &both {
        session.create_namespace(name, &[]).await.unwrap();
    }
    session.delete_namespace("b").await.unwrap();
    let timeout = session
        .namespaces_gone(&both, std::time::Duration::from_millis(1500))
        .await
        .unwrap_err();
    assert_eq!(timeout.code, Code::Timeout, "{timeout}");
    session.delete_namespace("a").await.unwrap();
    let long = std::time::Duration::from_secs(30);
    // The second time one of them, the third time both are known to be gone.
    session.namespaces_gone(&both, long).await.unwrap();
    session.namespaces_gone(&both, long).await.unwrap();
    // It is somebody else's under the same name.
    test.session("r2", "")
        .create_namespace("a", &[])
        .await
        .unwrap();
    session.namespaces_gone(&both, long).await.unwrap();
    let denied = session.delete_namespace("a").await.unwrap_err();
    assert_eq!(denied.code, Code::Denied);
    let denied = session
        .namespaces_gone(&["ns-0".to_owned()], long)
        .await
        .unwrap_err();
    assert_eq!(denied.code, Code::Denied);
    // And once more its own.
    session.create_namespace("b", &[]).await.unwrap();
    session.delete_namespace("b").await.unwrap();
}

#[tokio::test]
async fn a_namespace_that_goes_is_not_created() {
    let test = TestCluster::start().await;
    let session = test.session("r1", "");
    session.create_namespace("mine", &[]).await.unwrap();
    let mut held = configmap("mine", "held");
    held["metadata"]["finalizers"] = json!(["example.io/guard"]);
    session.create(&held.to_string()).await.unwrap();
    session.delete_namespace("mine").await.unwrap();
    let conflict = session.create_namespace("mine", &[]).await.unwrap_err();
    assert_eq!(conflict.code, Code::Conflict);
    assert!(conflict.message.contains("is being deleted"), "{conflict}");
    session
        .patch(
            "v1",
            "ConfigMap",
            "mine",
            "held",
            "",
            PatchType::Merge,
            r#"{"metadata":{"finalizers":null}}"#,
        )
        .await
        .unwrap();
    session
        .namespaces_gone(&["mine".to_owned()], std::time::Duration::from_secs(30))
        .await
        .unwrap();
    session.create_namespace("mine", &[]).await.unwrap();
}

#[tokio::test]
async fn a_namespace_taken_over_is_not_owned() {
    let test = TestCluster::start().await;
    let session = test.session("r1", "");
    session.create_namespace("mine", &[]).await.unwrap();
    // Behind its back.
    let namespaces = test.cluster.kind("v1", "Namespace").await.unwrap();
    test.cluster
        .delete(&namespaces, "", "mine", &Default::default())
        .await
        .unwrap();
    let other = test.session("r2", "");
    while other.create_namespace("mine", &[]).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let taken = session.create_namespace("mine", &[]).await.unwrap_err();
    assert_eq!(taken.code, Code::AlreadyExists);
    let denied = session.delete_namespace("mine").await.unwrap_err();
    assert_eq!(denied.code, Code::Denied);
}
