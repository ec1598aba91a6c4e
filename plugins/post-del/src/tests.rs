use super::*;
use kperf_sdk::testing::{self, Opened, Request};
use std::collections::BTreeSet;

fn with(key: &str, value: Value) -> Value {
    let mut config = PostDel::default_config().unwrap();
    config[key] = value;
    config
}

fn open(config: Value) -> Opened<PostDel> {
    testing::open(config).unwrap()
}

fn name(request: &Request) -> String {
    if request.method == "POST" {
        let body: Value = serde_json::from_str(&request.body).unwrap();
        return body["metadata"]["name"].as_str().unwrap().to_owned();
    }
    let path = request.path.strip_suffix("?timeout=1m0s").unwrap();
    let name = path.strip_prefix("/api/v1/namespaces/ns-0/pods/").unwrap();
    name.to_owned()
}

/// Takes requests until `n` of a method were seen, answering them with `status`.
fn drive(
    opened: &Opened<PostDel>,
    n: usize,
    method: &str,
    status: impl Fn(&str) -> u32,
) -> Vec<Request> {
    let mut seen = Vec::new();
    for _ in 0..1_000 {
        let (requests, done) = opened.next(16).unwrap();
        assert!(!done);
        let outcomes: Vec<_> = requests.iter().map(|r| (r, status(&r.method))).collect();
        opened.observe(&outcomes);
        seen.extend(requests.into_iter().filter(|r| r.method == method));
        if seen.len() >= n {
            break;
        }
    }
    seen
}

#[test]
fn series_and_paths_are_kperfs() {
    let opened = open(with("namespace", json!("ns1")));
    let [create, delete] = &opened.templates[..] else {
        panic!("two templates");
    };
    assert_eq!(
        create.series,
        "POST /api/v1/namespaces/ns1/pods?timeout=1m0s"
    );
    assert_eq!(create.path, "/api/v1/namespaces/ns1/pods?timeout=1m0s");
    assert_eq!(
        delete.series,
        "DELETE /api/v1/namespaces/ns1/pods/:name?timeout=1m0s"
    );
    // kperf sends neither with a content type.
    assert!(create.headers.is_empty() && delete.headers.is_empty());
}

#[test]
fn the_pod_is_kperfs() {
    let (requests, _) = open(PostDel::default_config().unwrap()).next(1).unwrap();
    let pod: Value = serde_json::from_str(&requests[0].body).unwrap();
    assert_eq!(
        (&pod["apiVersion"], &pod["kind"]),
        (&json!("v1"), &json!("Pod"))
    );
    assert_eq!(pod["metadata"]["namespace"], "ns-0");
    assert_eq!(
        pod["metadata"]["labels"],
        json!({"app": "fake-pod", "kperf.io/run": "test-run"})
    );
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["name"], "fake-container");
    assert_eq!(container["image"], "registry.k8s.io/pause:3.10");
    assert_eq!(container["env"][0]["name"], "PAYLOAD");
    assert_eq!(container["env"][0]["value"].as_str().unwrap().len(), 256);
    assert_eq!(pod["spec"].as_object().unwrap().len(), 1);
}

#[test]
fn pods_for_virtual_nodes_select_and_tolerate_them() {
    let (requests, _) = open(with("virtualNodes", json!(true))).next(1).unwrap();
    let pod: Value = serde_json::from_str(&requests[0].body).unwrap();
    assert_eq!(
        pod["spec"]["nodeSelector"],
        json!({"type": "kperf-virtualnodes"})
    );
    assert_eq!(pod["spec"]["tolerations"][0]["key"], "kperf.io/nodepool");
}

#[test]
fn odd_namespaces_stay_inside_their_string() {
    for namespace in ["a\"}b", "\u{1}number\u{1}", "\u{1}payload\u{1}"] {
        let (requests, _) = open(with("namespace", json!(namespace))).next(2).unwrap();
        let pod: Value = serde_json::from_str(&requests[1].body).unwrap();
        assert_eq!(pod["metadata"]["namespace"], namespace);
        assert!(pod["metadata"]["name"].as_str().unwrap().ends_with("-0-1"));
    }
}

#[test]
fn nothing_is_deleted_before_a_creation_succeeded() {
    for status in [0, 409, 500] {
        let opened = open(PostDel::default_config().unwrap());
        let posts = drive(&opened, 300, "POST", |_| status);
        let names: BTreeSet<_> = posts.iter().map(name).collect();
        assert_eq!(names.len(), posts.len(), "names repeat");
        let (requests, _) = opened.next(100).unwrap();
        assert!(requests.iter().all(|request| request.method == "POST"));
    }
}

#[test]
fn the_oldest_is_deleted_first_and_once() {
    let opened = open(PostDel::default_config().unwrap());
    let deletes = drive(&opened, 100, "DELETE", |method| {
        if method == "POST" { 201 } else { 200 }
    });
    let numbers: Vec<u64> = deletes.iter().map(|request| request.tag).collect();
    assert!(
        numbers.iter().copied().eq(0..numbers.len() as u64),
        "{numbers:?}"
    );
    for request in &deletes {
        assert!(name(request).ends_with(&format!("-0-{}", request.tag)));
        assert_eq!(request.body, "");
    }
}

#[test]
fn the_delete_ratio_holds() {
    let opened = open(PostDel::default_config().unwrap());
    let mut deletes = 0;
    for _ in 0..250 {
        let (requests, _) = opened.next(16).unwrap();
        deletes += requests.iter().filter(|r| r.method == "DELETE").count();
        let outcomes: Vec<_> = requests.iter().map(|r| (r, 200)).collect();
        opened.observe(&outcomes);
    }
    // 4000 draws at 0.4, five standard deviations; the first batches have nothing to delete.
    assert!((1_430..=1_755).contains(&deletes), "{deletes}");
    let none = open(with("deleteRatio", json!(0)));
    assert!(drive(&none, 200, "POST", |_| 201).len() >= 200);
    assert!(drive(&none, 1, "DELETE", |_| 201).is_empty());
}

#[test]
fn a_failed_delete_comes_back_at_the_end_unless_the_object_is_gone() {
    for (status, comes_back) in [
        (500, true),
        (0, true),
        (409, true),
        (404, false),
        (200, false),
    ] {
        let opened = open(PostDel::default_config().unwrap());
        // Two objects exist.
        let (posts, _) = opened.next(8).unwrap();
        opened.observe(&[(&posts[0], 201), (&posts[1], 201)]);
        let mut deletes = Vec::new();
        for _ in 0..200 {
            let (requests, _) = opened.next(1).unwrap();
            if requests[0].method == "DELETE" {
                deletes.push(requests[0].tag);
                opened.observe(&[(&requests[0], status)]);
            }
        }
        if comes_back {
            assert!(
                deletes.starts_with(&[0, 1, 0, 1, 0]),
                "{status}: {deletes:?}"
            );
        } else {
            assert_eq!(deletes, [0, 1], "{status}");
        }
    }
}

#[test]
fn choices_repeat_with_the_seed_and_names_differ_by_shard() {
    let bodies = |seed, shard| {
        let context = OpenContext {
            seed,
            shard,
            shards: 2,
            ..testing::context()
        };
        let opened =
            testing::open_with::<PostDel>(&context, PostDel::default_config().unwrap()).unwrap();
        let (requests, _) = opened.next(32).unwrap();
        requests
            .into_iter()
            .map(|request| request.body)
            .collect::<Vec<_>>()
    };
    assert_eq!(bodies(1, 0), bodies(1, 0));
    assert_ne!(bodies(1, 0), bodies(2, 0));
    let names = |shard| {
        let bodies = bodies(1, shard);
        let names = bodies.iter().map(|body| {
            let pod: Value = serde_json::from_str(body).unwrap();
            pod["metadata"]["name"].as_str().unwrap().to_owned()
        });
        names.collect::<BTreeSet<_>>()
    };
    assert!(names(0).is_disjoint(&names(1)));
}

#[test]
fn wrong_fields_are_refused_in_kperfs_words() {
    let ratio = |ratio: &str| {
        format!(
            "delete ratio must be between 0 and 0.5: {ratio}, create proportion should be greater than delete"
        )
    };
    for (key, value, message) in [
        (
            "version",
            json!(""),
            "kube metadata: version is required".to_owned(),
        ),
        (
            "resource",
            json!(""),
            "kube metadata: resource is required".to_owned(),
        ),
        (
            "resource",
            json!("jobs"),
            "failed to render jobs template: unsupported resource type: jobs".to_owned(),
        ),
        ("deleteRatio", json!(0.6), ratio("0.6")),
        ("deleteRatio", json!(-0.1), ratio("-0.1")),
        (
            "payloadSize",
            json!(-1),
            "payloadSize must >= 0: -1".to_owned(),
        ),
    ] {
        let failure = testing::open::<PostDel>(with(key, value)).err().unwrap();
        assert_eq!(
            (failure.code.as_str(), &failure.message),
            ("invalid-config", &message)
        );
        assert_eq!(failure.find_hint("key"), Some(key));
    }
    assert!(testing::open::<PostDel>(with("deleteRatio", json!(0.5))).is_ok());
}
