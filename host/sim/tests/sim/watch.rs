//! Watches, and what the life cycle makes happen on them.

use serde_json::json;

use crate::client::{Client, small, start};

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let sim = start(small());
    let mut client = Client::new(&sim).await;
    let mut events = client
        .watch("/api/v1/configmaps?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeout=1m0s")
        .await;
    for _ in 0..6 {
        assert_eq!(events.next().await.unwrap().0, "ADDED");
    }
    let (kind, bookmark) = events.next().await.unwrap();
    assert_eq!(kind, "BOOKMARK");
    assert_eq!(
        bookmark["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    let mut other = Client::new(&sim).await;
    other
        .post(
            "/api/v1/namespaces/ns-0/configmaps",
            &json!({"metadata": {"name": "new"}}),
        )
        .await;
    let (kind, object) = events.next().await.unwrap();
    assert_eq!(
        (kind.as_str(), object["metadata"]["name"].as_str()),
        ("ADDED", Some("new"))
    );
    let refused = client
        .get("/api/v1/pods?watch=true&sendInitialEvents=true")
        .await;
    assert_eq!(refused.code, 422);
}

#[tokio::test]
async fn objects_enter_and_leave_a_selection() {
    let sim = start(small());
    let mut client = Client::new(&sim).await;
    let path = "/api/v1/namespaces/ns-0/configmaps";
    let rv = client.get(path).await.json()["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut events = client
        .watch(&format!(
            "{path}?watch=1&resourceVersion={rv}&labelSelector=on%3Dyes"
        ))
        .await;
    let mut writer = Client::new(&sim).await;
    for (patch, expected) in [
        (r#"{"metadata":{"labels":{"on":"yes"}}}"#, "ADDED"),
        (r#"{"data":{"k":"v"}}"#, "MODIFIED"),
        (r#"{"metadata":{"labels":{"on":"no"}}}"#, "DELETED"),
    ] {
        let answer = writer
            .patch(
                &format!("{path}/cm-0"),
                "application/merge-patch+json",
                patch,
            )
            .await
            .json();
        let (kind, object) = events.next().await.unwrap();
        assert_eq!(kind, expected);
        assert_eq!(
            object["metadata"]["resourceVersion"],
            answer["metadata"]["resourceVersion"]
        );
    }
}

#[tokio::test]
async fn a_watch_from_too_long_ago_is_an_error_event() {
    let sim = start(small());
    let mut client = Client::new(&sim).await;
    client
        .post(
            "/api/v1/namespaces/ns-0/configmaps",
            &json!({"metadata": {"name": "new"}}),
        )
        .await;
    sim.compact();
    let mut events = client
        .watch("/api/v1/configmaps?watch=1&resourceVersion=1")
        .await;
    let (kind, status) = events.next().await.unwrap();
    assert_eq!(
        (
            kind.as_str(),
            status["code"].as_i64(),
            status["reason"].as_str()
        ),
        ("ERROR", Some(410), Some("Expired"))
    );
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_watch_ends_at_its_timeout() {
    let sim = start(small());
    let mut client = Client::new(&sim).await;
    let rv = client.get("/api/v1/configmaps").await.json()["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut events = client
        .watch(&format!(
            "/api/v1/configmaps?watch=1&resourceVersion={rv}&timeoutSeconds=1"
        ))
        .await;
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_created_pod_is_bound_and_runs_and_goes() {
    let sim = start(small());
    let mut client = Client::new(&sim).await;
    let pods = "/api/v1/namespaces/default/pods";
    let mut events = client
        .watch(&format!("{pods}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"))
        .await;
    assert_eq!(events.next().await.unwrap().0, "BOOKMARK");
    let mut writer = Client::new(&sim).await;
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(
        writer.post(pods, &pod).await.json()["status"]["phase"],
        "Pending"
    );
    let (kind, object) = events.next().await.unwrap();
    assert_eq!(
        (kind.as_str(), object["spec"].get("nodeName")),
        ("ADDED", None)
    );
    let (_, object) = events.next().await.unwrap();
    assert!(
        object["spec"]["nodeName"]
            .as_str()
            .unwrap()
            .starts_with("node-")
    );
    let (_, object) = events.next().await.unwrap();
    assert_eq!(object["status"]["phase"], "Running");
    let deleted = writer.delete(&format!("{pods}/p")).await.json();
    assert_eq!(deleted["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(events.next().await.unwrap().0, "MODIFIED");
    assert_eq!(events.next().await.unwrap().0, "DELETED");
}

#[tokio::test]
async fn a_namespace_takes_its_contents_along() {
    let sim = start(small());
    let mut client = Client::new(&sim).await;
    let mut events = client
        .watch("/api/v1/namespaces?watch=1&fieldSelector=metadata.name%3Dns-0")
        .await;
    assert_eq!(events.next().await.unwrap().0, "ADDED");
    let mut writer = Client::new(&sim).await;
    let leaving = writer.delete("/api/v1/namespaces/ns-0").await.json();
    assert_eq!(leaving["status"]["phase"], "Terminating");
    assert_eq!(events.next().await.unwrap().0, "MODIFIED");
    let late = writer
        .post(
            "/api/v1/namespaces/ns-0/configmaps",
            &json!({"metadata": {"name": "late"}}),
        )
        .await;
    assert_eq!(late.code, 403);
    assert_eq!(events.next().await.unwrap().0, "DELETED");
    assert_eq!(
        writer.get("/api/v1/namespaces/ns-0/pods").await.json()["items"],
        json!([])
    );
    assert_eq!(
        writer.get("/api/v1/namespaces/ns-1/pods").await.json()["items"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
}

#[tokio::test]
async fn finalizers_hold_an_object() {
    let sim = start(small());
    let mut client = Client::new(&sim).await;
    let all = "/api/v1/namespaces/default/configmaps";
    client
        .post(
            all,
            &json!({"metadata": {"name": "f", "finalizers": ["example.com/x"]}}),
        )
        .await;
    let one = format!("{all}/f");
    assert!(client.delete(&one).await.json()["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(client.get(&one).await.code, 200);
    client
        .patch(
            &one,
            "application/merge-patch+json",
            r#"{"metadata":{"finalizers":null}}"#,
        )
        .await;
    assert_eq!(client.get(&one).await.code, 404);
}

#[tokio::test]
async fn dependents_go_with_their_last_owner_unless_orphaned() {
    let sim = start(small());
    let mut client = Client::new(&sim).await;
    let all = "/api/v1/namespaces/default/configmaps";
    let mut uids = Vec::new();
    for name in ["owner-0", "owner-1", "owner-2"] {
        let owner = client
            .post(all, &json!({"metadata": {"name": name}}))
            .await
            .json();
        uids.push(owner["metadata"]["uid"].clone());
    }
    let reference = |i: usize| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": format!("owner-{i}"), "uid": uids[i]});
    for (name, owners) in [
        ("alone", json!([reference(0)])),
        ("shared", json!([reference(0), reference(1)])),
        ("orphan", json!([reference(2)])),
    ] {
        client
            .post(
                all,
                &json!({"metadata": {"name": name, "ownerReferences": owners}}),
            )
            .await;
    }
    let rv = client.get(all).await.json()["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut events = client
        .watch(&format!("{all}?watch=1&resourceVersion={rv}"))
        .await;
    let mut writer = Client::new(&sim).await;
    writer
        .delete(&format!("{all}/owner-2?propagationPolicy=Orphan"))
        .await;
    writer.delete(&format!("{all}/owner-0")).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let (kind, object) = events.next().await.unwrap();
        seen.push(format!(
            "{kind} {}",
            object["metadata"]["name"].as_str().unwrap()
        ));
    }
    assert_eq!(
        seen,
        [
            "DELETED owner-2",
            "DELETED owner-0",
            "DELETED alone",
            "MODIFIED shared"
        ]
    );
    assert_eq!(writer.get(&format!("{all}/orphan")).await.code, 200);
}
