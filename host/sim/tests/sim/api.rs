//! Verbs, errors, selectors and negotiation.

use http::Method;
use serde_json::{Value, json};

use crate::client::{Client, Protocol, small, start};

fn names(list: &Value) -> Vec<&str> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["metadata"]["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn seeded_objects_are_where_the_documentation_says() {
    let sim = start(small());
    let mut client = Client::new(&sim).await;
    let pods = client.get("/api/v1/pods").await.json();
    assert_eq!(pods["kind"], "PodList");
    assert_eq!(pods["items"].as_array().unwrap().len(), 10);
    // Items of built-in kinds carry no kind.
    assert!(pods["items"][0].get("kind").is_none());
    let pod = client
        .get("/api/v1/namespaces/ns-1/pods/pod-3")
        .await
        .json();
    assert_eq!(pod["spec"]["nodeName"], "node-1");
    assert_eq!(pod["metadata"]["labels"]["app"], "sim");
    assert_eq!(pod["status"]["phase"], "Running");
    let on_node = client
        .get("/api/v1/namespaces/ns-0/pods?fieldSelector=spec.nodeName%3Dnode-1")
        .await
        .json();
    assert_eq!(names(&on_node), ["pod-1", "pod-3"]);
    let some = client
        .get("/api/v1/namespaces/ns-0/configmaps?labelSelector=app+in+(sim),x!=y&limit=2")
        .await
        .json();
    assert_eq!(names(&some), ["cm-0", "cm-1"]);
    assert!(some["metadata"].get("remainingItemCount").is_none());
    let log = client
        .get("/api/v1/namespaces/ns-0/pods/pod-0/log?container=app&tailLines=2&timeout=1m0s")
        .await;
    assert_eq!(log.body.iter().filter(|b| **b == b'\n').count(), 2);
    let log = client
        .get("/api/v1/namespaces/ns-0/pods/pod-0/log?limitBytes=10")
        .await;
    assert_eq!(log.body.len(), 10);
    let log = client
        .get("/api/v1/namespaces/ns-0/pods/pod-0/log?container=x")
        .await;
    assert_eq!(
        (log.code.as_u16(), log.json()["message"].as_str()),
        (400, Some("container x is not valid for pod pod-0"))
    );
}

#[tokio::test]
async fn who_may_do_what() {
    let sim = start(small());
    let mut client = Client::new(&sim).await;
    client.authorization = Some("Bearer wrong".to_owned());
    let answer = client.get("/api/v1/pods").await;
    assert_eq!(
        (answer.code.as_u16(), answer.json()["reason"].as_str()),
        (401, Some("Unauthorized"))
    );
    client.authorization = None;
    let answer = client.get("/api/v1/namespaces/ns-0/pods").await;
    assert_eq!(answer.code, 403);
    assert_eq!(
        answer.json()["message"],
        "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in the namespace \"ns-0\""
    );
    assert_eq!(client.get("/readyz").await.body.as_ref(), b"ok");
    assert_eq!(client.get("/version").await.code, 200);
    let mut by_certificate = Client::connect(&sim, Protocol::Http1, true).await;
    assert_eq!(by_certificate.get("/api/v1/pods").await.code, 200);
}

#[tokio::test]
async fn create_replace_patch_delete() {
    let sim = start(small());
    let mut client = Client::new(&sim).await;
    let all = "/api/v1/namespaces/default/configmaps";
    let one = "/api/v1/namespaces/default/configmaps/a";
    let created = client
        .post(all, &json!({"metadata": {"name": "a"}, "data": {"x": "1"}}))
        .await;
    assert_eq!(created.code, 201);
    let created = created.json();
    assert_eq!(created["kind"], "ConfigMap");
    let again = client.post(all, &json!({"metadata": {"name": "a"}})).await;
    assert_eq!(
        (again.code.as_u16(), again.json()["message"].as_str()),
        (409, Some("configmaps \"a\" already exists"))
    );
    let missing = client.post(all, &json!({"data": {}})).await;
    assert_eq!(missing.code, 422);
    let generated = client
        .post(all, &json!({"metadata": {"generateName": "g-"}}))
        .await
        .json();
    assert_eq!(generated["metadata"]["name"].as_str().unwrap().len(), 7);
    let nowhere = client
        .post(
            "/api/v1/namespaces/none/configmaps",
            &json!({"metadata": {"name": "a"}}),
        )
        .await;
    assert_eq!(
        (nowhere.code.as_u16(), nowhere.json()["message"].as_str()),
        (404, Some("namespaces \"none\" not found"))
    );

    let mut next = created.clone();
    next["data"] = json!({"x": "2"});
    let replaced = client.put(one, &next).await.json();
    assert_ne!(
        replaced["metadata"]["resourceVersion"],
        created["metadata"]["resourceVersion"]
    );
    let stale = client.put(one, &json!({"metadata": {"name": "a", "resourceVersion": created["metadata"]["resourceVersion"]}, "data": {"y": "1"}})).await;
    assert_eq!(stale.code, 409);
    assert_eq!(
        stale.json()["message"],
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    // Without a revision a replacement is unconditional; one that changes nothing keeps the revision.
    let forced = client
        .put(one, &json!({"metadata": {"name": "a"}, "data": {"x": "3"}}))
        .await
        .json();
    let same = client
        .put(one, &json!({"metadata": {"name": "a"}, "data": {"x": "3"}}))
        .await
        .json();
    assert_eq!(
        forced["metadata"]["resourceVersion"],
        same["metadata"]["resourceVersion"]
    );
    let wrong = client.put(one, &json!({"metadata": {"name": "b"}})).await;
    assert_eq!(
        wrong.json()["message"],
        "the name of the object (b) does not match the name on the URL (a)"
    );

    let merged = client
        .patch(one, "application/merge-patch+json", r#"{"data":{"m":"1"}}"#)
        .await
        .json();
    assert_eq!(merged["data"], json!({"x": "3", "m": "1"}));
    let patched = client
        .patch(
            one,
            "application/json-patch+json",
            r#"[{"op":"remove","path":"/data/m"}]"#,
        )
        .await
        .json();
    assert_eq!(patched["data"], json!({"x": "3"}));
    let strategic = client
        .patch(
            one,
            "application/strategic-merge-patch+json",
            r#"{"data":{"s":"1"}}"#,
        )
        .await
        .json();
    assert_eq!(strategic["data"]["s"], "1");
    let applied = client
        .patch(
            &format!("{one}?fieldManager=t"),
            "application/apply-patch+yaml",
            "apiVersion: v1\nkind: ConfigMap\ndata: {z: \"1\"}\n",
        )
        .await
        .json();
    assert_eq!(applied["data"]["z"], "1");
    assert_eq!(client.patch(one, "text/plain", "{}").await.code, 415);

    let dry = client.delete(&format!("{one}?dryRun=All")).await;
    assert_eq!(dry.code, 200);
    let deleted = client.delete(one).await.json();
    assert_eq!(
        (
            deleted["status"].as_str(),
            deleted["details"]["name"].as_str()
        ),
        (Some("Success"), Some("a"))
    );
    let gone = client.get(one).await;
    assert_eq!(
        (gone.code.as_u16(), gone.json()["message"].as_str()),
        (404, Some("configmaps \"a\" not found"))
    );
    assert_eq!(
        client
            .delete(&format!("{all}?labelSelector=none"))
            .await
            .json()["items"],
        json!([])
    );
}

#[tokio::test]
async fn lists_go_page_by_page_and_expire() {
    let sim = start(small());
    let mut client = Client::new(&sim).await;
    let path = "/api/v1/configmaps?limit=4";
    let first = client.get(path).await.json();
    let (token, rv) = (
        first["metadata"]["continue"].as_str().unwrap(),
        &first["metadata"]["resourceVersion"],
    );
    assert_eq!(first["metadata"]["remainingItemCount"], 2);
    client
        .post(
            "/api/v1/namespaces/ns-1/configmaps",
            &json!({"metadata": {"name": "zz"}}),
        )
        .await;
    let second = client.get(&format!("{path}&continue={token}")).await.json();
    assert_eq!(names(&second), ["cm-1", "cm-2"]);
    assert_eq!(second["metadata"]["resourceVersion"], *rv);
    let exact = client
        .get(&format!(
            "/api/v1/configmaps?resourceVersion={}&resourceVersionMatch=Exact",
            rv.as_str().unwrap()
        ))
        .await
        .json();
    assert_eq!(names(&exact).len(), 6);

    sim.compact();
    let expired = client.get(&format!("{path}&continue={token}")).await;
    assert_eq!(
        (expired.code.as_u16(), expired.json()["reason"].as_str()),
        (410, Some("Expired"))
    );
    let on = expired.json()["metadata"]["continue"]
        .as_str()
        .unwrap()
        .to_owned();
    let rest = client.get(&format!("{path}&continue={on}")).await.json();
    assert_eq!(names(&rest), ["cm-1", "cm-2", "zz"]);
    let future = client
        .get("/api/v1/configmaps?resourceVersion=999999")
        .await;
    assert_eq!(future.code, 504);
    assert_eq!(
        future.json()["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
    assert_eq!(
        client
            .get("/api/v1/configmaps?resourceVersionMatch=Exact")
            .await
            .code,
        422
    );
    assert_eq!(client.get("/api/v1/configmaps?continue=x").await.code, 400);
    assert_eq!(
        client
            .get("/api/v1/configmaps?fieldSelector=a%3Db")
            .await
            .code,
        400
    );
}

#[tokio::test]
async fn what_we_cannot_do_is_refused_as_a_server_refuses_it() {
    let sim = start(small());
    let mut client = Client::new(&sim).await;
    let accept = |value| [("accept", value)];
    let pods = "/api/v1/namespaces/ns-0/pods";
    let protobuf = client
        .send(
            Method::GET,
            pods,
            &accept("application/vnd.kubernetes.protobuf"),
            "",
        )
        .await
        .unwrap();
    assert_eq!(
        (protobuf.code.as_u16(), protobuf.json()["reason"].as_str()),
        (406, Some("NotAcceptable"))
    );
    let either = client
        .send(
            Method::GET,
            pods,
            &accept("application/vnd.kubernetes.protobuf, */*"),
            "",
        )
        .await
        .unwrap();
    assert_eq!(either.headers["content-type"], "application/json");
    let table = client
        .send(
            Method::GET,
            pods,
            &accept("application/json;as=Table;v=v1;g=meta.k8s.io"),
            "",
        )
        .await
        .unwrap()
        .json();
    assert_eq!(
        (
            table["kind"].as_str(),
            table["rows"][0]["cells"][1].as_str()
        ),
        (Some("Table"), Some("1/1"))
    );
    let unknown = client.get("/api/v1/nothing").await;
    assert_eq!(
        (unknown.code.as_u16(), unknown.json()["message"].as_str()),
        (
            404,
            Some("the server could not find the requested resource")
        )
    );
    assert_eq!(
        client.get("/apis/none/v1/x").await.body.as_ref(),
        b"404 page not found\n"
    );
    assert_eq!(
        client
            .send(
                Method::POST,
                "/api/v1/namespaces/ns-0/pods/pod-0",
                &[],
                "{}"
            )
            .await
            .unwrap()
            .code,
        405
    );
    assert_eq!(client.get(&format!("{pods}?timeout=abc")).await.code, 400);
    let large = vec![b' '; 3 * 1024 * 1024 + 1];
    assert_eq!(
        client
            .send(Method::POST, pods, &[], large)
            .await
            .unwrap()
            .code,
        413
    );
    for nonsense in ["", "{", "[]", "null", "\"x\""] {
        let answer = client
            .send(Method::POST, pods, &[], nonsense)
            .await
            .unwrap();
        assert_eq!(answer.code, 400, "{nonsense}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(
        client
            .send(Method::POST, pods, &[], deep)
            .await
            .unwrap()
            .code,
        400
    );
    let odd = json!({"metadata": {"name": "x", "labels": 5, "annotations": []}, "spec": []});
    assert_eq!(client.post(pods, &odd).await.code, 400);
    let odd = json!({"metadata": {"name": "x"}, "spec": {"containers": {"a": 1}}});
    assert_eq!(client.post(pods, &odd).await.code, 422);
    let odd = client
        .patch(
            &format!("{pods}/pod-0"),
            "application/merge-patch+json",
            r#"{"metadata":null,"spec":null}"#,
        )
        .await;
    assert!(odd.code.is_client_error(), "{}", odd.code);
    // Shapes that would be written into later; the connection must live through all of them.
    let pod = format!("{pods}/pod-0");
    for patch in [
        r#"{"spec":[]}"#,
        r#"{"spec":"x"}"#,
        r#"{"metadata":"x"}"#,
        r#"{"metadata":{"finalizers":7,"labels":[]}}"#,
        r#"{"spec":{"containers":[1,null]}}"#,
    ] {
        let answer = client
            .patch(&pod, "application/merge-patch+json", patch)
            .await;
        assert!(answer.code.is_client_error(), "{patch}: {}", answer.code);
    }
    let whole = r#"[{"op":"replace","path":"","value":5}]"#;
    let answer = client
        .patch(&pod, "application/json-patch+json", whole)
        .await;
    assert_eq!(answer.code, 400);
    for path in [
        "/api/v1/namespaces/ns-0",
        "/api/v1/nodes/node-0",
        "/api/v1/namespaces/ns-0/pods/pod-0",
    ] {
        let status = format!("{path}/status");
        let answer = client
            .patch(&status, "application/merge-patch+json", r#"{"status":"x"}"#)
            .await;
        assert_eq!(answer.code, 400, "{path}");
        let answer = client
            .patch(
                &status,
                "application/merge-patch+json",
                r#"{"status":null}"#,
            )
            .await;
        assert_eq!(answer.code, 200, "{path}");
    }
    assert_eq!(client.delete(&pod).await.code, 200);
    assert_eq!(client.delete("/api/v1/namespaces/ns-0").await.code, 200);
}

#[tokio::test]
async fn custom_resources_come_and_go_with_their_definition() {
    let sim = start(small());
    let mut client = Client::new(&sim).await;
    let definition = json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}}],
        },
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(client.post(definitions, &definition).await.code, 201);
    let widgets = "/apis/example.com/v1/namespaces/default/widgets";
    let widget = client
        .post(
            widgets,
            &json!({"metadata": {"name": "w"}, "spec": {"size": 1}, "status": {"x": 1}}),
        )
        .await
        .json();
    assert_eq!(
        (
            widget["metadata"]["generation"].as_i64(),
            widget.get("status")
        ),
        (Some(1), None)
    );
    let one = format!("{widgets}/w");
    let status = client
        .patch(
            &format!("{one}/status"),
            "application/merge-patch+json",
            r#"{"status":{"ready":true},"spec":{"size":9}}"#,
        )
        .await
        .json();
    assert_eq!(
        (
            status["spec"]["size"].as_i64(),
            status["status"]["ready"].as_bool()
        ),
        (Some(1), Some(true))
    );
    assert_eq!(
        client
            .patch(&one, "application/strategic-merge-patch+json", "{}")
            .await
            .code,
        415
    );
    let list = client.get("/apis/example.com/v1/widgets").await.json();
    assert_eq!(
        (list["kind"].as_str(), list["items"][0]["kind"].as_str()),
        (Some("WidgetList"), Some("Widget"))
    );
    client
        .delete(&format!("{definitions}/widgets.example.com"))
        .await;
    assert_eq!(client.get(widgets).await.code, 404);
}
