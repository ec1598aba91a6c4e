use std::{collections::BTreeSet, time::Duration};

use kperf_cluster::{
    RunId,
    api::{Cluster, Code, ListBounds, Scope},
    cleanup,
    nodepool::{
        self, NAMESPACE, PoolError, PoolEvent, PoolOptions, PoolSpec, PoolStatus, TYPE, TYPE_LABEL,
    },
};
use kperf_load::Stop;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::cluster::TestCluster;

fn options() -> PoolOptions {
    PoolOptions {
        rate_per_sec: 0.0,
        burst: 0,
        timeout: Duration::from_secs(30),
    }
}

fn spec(name: &str, nodes: u32) -> PoolSpec {
    PoolSpec {
        nodes,
        ..PoolSpec::new(name)
    }
}

/// Hosts move their work between threads.
fn sendable<T: Send>(work: T) -> T {
    work
}

async fn add(cluster: &Cluster, spec: &PoolSpec) -> Result<nodepool::Added, PoolError> {
    let (options, stop) = (options(), Stop::new());
    sendable(nodepool::add(cluster, spec, &options, &stop, &|_| {})).await
}

async fn delete(cluster: &Cluster, name: &str) -> Result<nodepool::Deleted, PoolError> {
    let (options, stop) = (options(), Stop::new());
    sendable(nodepool::delete(cluster, name, &options, &stop, &|_| {})).await
}

async fn names(
    cluster: &Cluster,
    api_version: &str,
    kind: &str,
    scope: &Scope,
) -> BTreeSet<String> {
    let resource = cluster.kind(api_version, kind).await.unwrap();
    let objects = cluster
        .list(&resource, scope, ListBounds::default())
        .await
        .unwrap();
    objects
        .iter()
        .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

async fn nodes(cluster: &Cluster) -> BTreeSet<String> {
    let scope = Scope {
        label_selector: format!("{TYPE_LABEL}={TYPE}"),
        ..Scope::default()
    };
    names(cluster, "v1", "Node", &scope).await
}

async fn in_namespace(cluster: &Cluster, api_version: &str, kind: &str) -> BTreeSet<String> {
    let scope = Scope {
        namespace: NAMESPACE.into(),
        ..Scope::default()
    };
    names(cluster, api_version, kind, &scope).await
}

async fn is_there(cluster: &Cluster, namespace: &str) -> bool {
    let namespaces = cluster.kind("v1", "Namespace").await.unwrap();
    match cluster.get(&namespaces, "", namespace).await {
        Ok(_) => true,
        Err(failure) if failure.code == Code::NotFound => false,
        Err(failure) => panic!("{failure}"),
    }
}

/// Whether a namespace is gone after a while.
async fn goes(cluster: &Cluster, namespace: &str) -> bool {
    for _ in 0..600 {
        if !is_there(cluster, namespace).await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

#[tokio::test]
async fn a_pool_is_made_once_listed_and_goes_without_a_trace() {
    let test = TestCluster::start().await;
    let cluster = &test.cluster;
    assert!(
        nodepool::list(cluster, &Stop::new())
            .await
            .unwrap()
            .is_empty()
    );
    let a = PoolSpec {
        nodes_per_controller: 10,
        ..spec("a", 25)
    };
    let events = Mutex::new(Vec::new());
    let added = nodepool::add(cluster, &a, &options(), &Stop::new(), &|event| {
        events.lock().push(event.clone());
    })
    .await
    .unwrap();
    assert_eq!((added.created, added.existed), (25, false));
    let events = events.into_inner();
    assert_eq!(events.first(), Some(&PoolEvent::Controllers { count: 3 }));
    assert_eq!(
        events.last(),
        Some(&PoolEvent::Waiting {
            ready: 25,
            total: 25
        })
    );
    // The same again is fine, and makes nothing.
    let again = add(cluster, &a).await.unwrap();
    assert_eq!((again.created, again.found, again.existed), (0, 25, true));

    add(cluster, &spec("b", 3)).await.unwrap();
    let pools = nodepool::list(cluster, &Stop::new()).await.unwrap();
    let shown: Vec<_> = pools
        .iter()
        .map(|pool| (pool.name.as_str(), pool.ready, pool.nodes, pool.status))
        .collect();
    assert_eq!(
        shown,
        [
            ("a", 25, 25, PoolStatus::Ready),
            ("b", 3, 3, PoolStatus::Ready)
        ]
    );
    assert_eq!(
        (pools[0].cpu, pools[0].memory_gib, pools[0].max_pods),
        (8, 16, 110)
    );
    assert_eq!(pools[0].controllers, 3);

    let deleted = delete(cluster, "a").await.unwrap();
    assert_eq!((deleted.nodes, deleted.existed), (25, true));
    // The other one is as it was, and what both use is there.
    assert_eq!(nodes(cluster).await.len(), 3);
    assert_eq!(
        in_namespace(cluster, "apps/v1", "StatefulSet").await,
        ["b".to_owned()].into()
    );
    assert_eq!(add(cluster, &spec("b", 3)).await.unwrap().created, 0);
    assert_eq!(
        nodepool::list(cluster, &Stop::new()).await.unwrap().len(),
        1
    );

    delete(cluster, "b").await.unwrap();
    let gone = delete(cluster, "b").await.unwrap();
    assert_eq!(gone, nodepool::Deleted::default());
    assert!(nodes(cluster).await.is_empty());
    for kind in ["ClusterRole", "ClusterRoleBinding"] {
        let left = names(
            cluster,
            "rbac.authorization.k8s.io/v1",
            kind,
            &Scope::default(),
        )
        .await;
        assert!(
            !left.iter().any(|name| name.contains("nodepool")),
            "{left:?}"
        );
    }
    // The last one took the namespace along; the seeded nodes are not anybody's.
    assert!(goes(cluster, NAMESPACE).await);
    assert_eq!(
        names(cluster, "v1", "Node", &Scope::default()).await.len(),
        2
    );
    // And a new one comes to be in the same place.
    add(cluster, &spec("b", 1)).await.unwrap();
}

#[tokio::test]
async fn pods_of_a_pool_go_with_it_and_others_stay() {
    let test = TestCluster::start().await;
    let cluster = &test.cluster;
    add(cluster, &spec("a", 2)).await.unwrap();
    let deployments = cluster.kind("apps/v1", "Deployment").await.unwrap();
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "default"},
        "spec": {
            "replicas": 20,
            "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "metadata": {"labels": {"app": "d"}},
                "spec": {
                    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [
                            {"key": "type", "operator": "In", "values": ["kperf-virtualnodes"]},
                        ]}],
                    }}},
                    "tolerations": [{"key": "kperf.io/nodepool", "operator": "Exists", "effect": "NoSchedule"}],
                    "containers": [{"name": "c", "image": "i"}],
                },
            },
        },
    });
    cluster
        .create(&deployments, "default", &deployment)
        .await
        .unwrap();
    let bound = async || {
        let pods = cluster.kind("v1", "Pod").await.unwrap();
        let scope = Scope {
            label_selector: "app=d".into(),
            ..Scope::default()
        };
        let pods = cluster
            .list(&pods, &scope, ListBounds::default())
            .await
            .unwrap();
        pods.iter()
            .filter(|pod| {
                pod["spec"]["nodeName"]
                    .as_str()
                    .is_some_and(|n| n.starts_with("a-"))
            })
            .count()
    };
    for _ in 0..200 {
        if bound().await == 20 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(bound().await, 20);
    let scope = Scope {
        namespace: "ns-0".into(),
        ..Scope::default()
    };
    let before = names(cluster, "v1", "Pod", &scope).await;
    delete(cluster, "a").await.unwrap();
    assert_eq!(bound().await, 0);
    assert_eq!(names(cluster, "v1", "Pod", &scope).await, before);
}

#[tokio::test]
async fn another_shape_and_foreign_names_are_refused() {
    let test = TestCluster::start().await;
    let cluster = &test.cluster;
    add(cluster, &spec("a", 2)).await.unwrap();
    let error = add(cluster, &spec("a", 3)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "nodepool a already exists, with nodes=2 (not 3); give it the same shape, or delete it first (`vc nodepool delete a`)"
    );
    // Seeded nodes have the names that a pool `node` would give its own.
    let error = add(cluster, &spec("node", 2)).await.unwrap_err();
    assert!(
        matches!(&error, PoolError::Foreign { what, .. } if what.starts_with("node node-")),
        "{error}"
    );
    // Nodes of kperf's own.
    let resource = cluster.kind("v1", "Node").await.unwrap();
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {
        "name": "k-0", "labels": {"type": "kperf-virtualnodes", "alpha.kperf.io/nodepool": "k"},
    }});
    cluster.create(&resource, "", &node).await.unwrap();
    for result in [
        add(cluster, &spec("k", 2)).await.map(drop),
        delete(cluster, "k").await.map(drop),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, PoolError::Foreign { .. }), "{error}");
    }
    let pools = nodepool::list(cluster, &Stop::new()).await.unwrap();
    let k = pools.iter().find(|pool| pool.name == "k").unwrap();
    assert_eq!((k.status, k.nodes), (PoolStatus::NotManaged, 1));
    // Nothing was made in passing.
    assert_eq!(
        in_namespace(cluster, "v1", "ServiceAccount").await,
        ["a".to_owned()].into()
    );
}

#[tokio::test]
async fn what_is_missing_is_made_again() {
    let test = TestCluster::start().await;
    let cluster = &test.cluster;
    let a = spec("a", 5);
    add(cluster, &a).await.unwrap();
    for (api_version, kind, namespace, name) in [
        ("v1", "Node", "", "a-3"),
        ("apps/v1", "StatefulSet", NAMESPACE, "a"),
    ] {
        let resource = cluster.kind(api_version, kind).await.unwrap();
        cluster
            .delete(&resource, namespace, name, &Default::default())
            .await
            .unwrap();
    }
    let again = add(cluster, &a).await.unwrap();
    assert_eq!((again.created, again.found), (1, 4));
    assert_eq!(nodes(cluster).await.len(), 5);
    assert_eq!(
        in_namespace(cluster, "apps/v1", "StatefulSet").await,
        ["a".to_owned()].into()
    );
}

#[tokio::test]
async fn a_node_that_nobody_plays_is_waited_for_in_vain() {
    let test = TestCluster::start().await;
    let cluster = &test.cluster;
    // Its condition stands, and nobody changes it.
    add(cluster, &spec("a", 1)).await.unwrap();
    let resource = cluster.kind("v1", "Node").await.unwrap();
    let mut node: Value = cluster.get(&resource, "", "a-0").await.unwrap();
    node["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
    cluster
        .update(&resource, "", "a-0", "status", &node)
        .await
        .unwrap();
    let short = PoolOptions {
        timeout: Duration::from_millis(200),
        ..options()
    };
    let error = nodepool::add(cluster, &spec("a", 1), &short, &Stop::new(), &|_| {})
        .await
        .unwrap_err();
    assert!(
        matches!(
            &error,
            PoolError::NotReady {
                ready: 0,
                total: 1,
                ..
            }
        ),
        "{error}"
    );
    let stop = Stop::new();
    stop.stop();
    let error = nodepool::add(cluster, &spec("a", 1), &short, &stop, &|_| {})
        .await
        .unwrap_err();
    assert!(error.is_interrupted(), "{error}");
    // It goes all the same.
    assert_eq!(delete(cluster, "a").await.unwrap().nodes, 1);
}

async fn claim(cluster: &Cluster, spec: &PoolSpec) -> Result<(), PoolError> {
    let run = "r1".parse().unwrap();
    sendable(nodepool::claim(
        cluster,
        spec,
        &run,
        &options(),
        &Stop::new(),
    ))
    .await
}

#[tokio::test]
async fn of_two_who_want_a_pool_one_gets_it() {
    let test = TestCluster::start().await;
    let cluster = &test.cluster;
    let a = spec("a", 2);
    let all = tokio::join!(
        claim(cluster, &a),
        claim(cluster, &a),
        claim(cluster, &a),
        claim(cluster, &a)
    );
    let all = [all.0, all.1, all.2, all.3];
    assert_eq!(all.iter().filter(|one| one.is_ok()).count(), 1, "{all:?}");
    for lost in all.iter().filter_map(|one| one.as_ref().err()) {
        assert!(matches!(lost, PoolError::Taken { .. }), "{lost}");
    }
    assert_eq!(add(cluster, &a).await.unwrap().created, 2);
    let error = claim(cluster, &a).await.unwrap_err();
    assert!(
        error.to_string().contains("vc nodepool delete a"),
        "{error}"
    );
    // Its record alone is gone: it is somebody's all the same.
    let records = cluster.kind("v1", "ConfigMap").await.unwrap();
    cluster
        .delete(&records, NAMESPACE, "a", &Default::default())
        .await
        .unwrap();
    claim(cluster, &a).await.unwrap_err();
    let stop = Stop::new();
    stop.stop();
    let run = "r1".parse().unwrap();
    let error = nodepool::claim(cluster, &spec("b", 1), &run, &options(), &stop).await;
    assert!(error.unwrap_err().is_interrupted());
    assert_eq!(
        in_namespace(cluster, "v1", "ConfigMap").await,
        BTreeSet::new()
    );
}

/// Whoever claims has nothing to delete after an error, and so must find nothing left.
#[tokio::test]
async fn a_claim_that_fails_leaves_nothing() {
    let test = TestCluster::start().await;
    let cluster = &test.cluster;
    let too_large = PoolSpec {
        kwok_image: "x".repeat(4 << 20),
        ..spec("a", 1)
    };
    let error = claim(cluster, &too_large).await.unwrap_err();
    assert!(matches!(error, PoolError::Api { .. }), "{error}");
    assert!(goes(cluster, NAMESPACE).await);
}

/// So that a run that was killed can be cleaned up after.
#[tokio::test]
async fn a_claimed_pool_says_whose_it_is() {
    let test = TestCluster::start().await;
    let cluster = &test.cluster;
    let [of_it, of_another] = ["r1", "r2"].map(|run| run.parse::<RunId>().unwrap());
    let stop = Stop::new();
    let whose = async |run: Option<&RunId>| {
        let claimed = nodepool::claimed(cluster, run, &stop).await.unwrap();
        let each = claimed.into_iter().map(|one| (one.run, one.pool));
        each.collect::<Vec<_>>()
    };
    assert_eq!(whose(None).await, []);
    claim(cluster, &spec("a", 2)).await.unwrap();
    let a = [(of_it.clone(), "a".to_owned())];
    assert_eq!(whose(None).await, a);
    // The record that is applied then is the same, and nobody claims what is added by itself.
    add(cluster, &spec("a", 2)).await.unwrap();
    add(cluster, &spec("b", 1)).await.unwrap();
    assert_eq!(whose(None).await, a);
    assert_eq!(whose(Some(&of_it)).await, a);
    assert_eq!(whose(Some(&of_another)).await, []);
    // What a run created goes one by one; a pool does not.
    let within = Duration::from_secs(30);
    let report = cleanup::clean(cluster, &of_it, None, within, |_| {}).await;
    assert!(
        report.is_complete() && report.deleted.is_empty(),
        "{report:?}"
    );
    assert_eq!(nodes(cluster).await.len(), 3);
    delete(cluster, "a").await.unwrap();
    assert_eq!(whose(None).await, []);
}

#[tokio::test]
async fn pods_of_a_real_node_with_a_name_of_the_pool_stay() {
    let test = TestCluster::start().await;
    let cluster = &test.cluster;
    let pods = || async {
        let pods = cluster.kind("v1", "Pod").await.unwrap();
        let pods = cluster
            .list(&pods, &Scope::default(), ListBounds::default())
            .await
            .unwrap();
        let on = pods.iter().map(|pod| pod["spec"]["nodeName"].clone());
        on.filter(|node| node == "node-0" || node == "node-00000")
            .count()
    };
    let nodes: Vec<String> = names(cluster, "v1", "Node", &Scope::default())
        .await
        .into_iter()
        .collect();
    // The real node's name is `<pool>-<i>`, as `node-0`; the record has it, for it came before the node.
    let (pool, _) = nodes[0].rsplit_once('-').unwrap();
    let before = pods().await;
    assert!(before > 0, "{nodes:?}");
    let namespaces = cluster.kind("v1", "Namespace").await.unwrap();
    let namespace =
        json!({"metadata": {"name": NAMESPACE}, "apiVersion": "v1", "kind": "Namespace"});
    cluster.create(&namespaces, "", &namespace).await.unwrap();
    let records = cluster.kind("v1", "ConfigMap").await.unwrap();
    let text = serde_json::to_string(&spec(pool, 5)).unwrap();
    let record = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": pool, "namespace": NAMESPACE, "labels": {
            "alpha.kperf.io/nodepool": pool, "app.kubernetes.io/managed-by": "kperf-host",
        }},
        "data": {"nodepool.json": text},
    });
    cluster.create(&records, NAMESPACE, &record).await.unwrap();
    let deleted = delete(cluster, pool).await.unwrap();
    assert_eq!((deleted.existed, deleted.pods), (true, 0));
    assert_eq!(pods().await, before);
}

#[tokio::test]
async fn what_a_stranger_has_under_a_pools_name_in_the_cluster_at_large_stays() {
    let test = TestCluster::start().await;
    let cluster = &test.cluster;
    let roles = cluster
        .kind("rbac.authorization.k8s.io/v1", "ClusterRole")
        .await
        .unwrap();
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "kperf-nodepool-a"}, "rules": [],
    });
    cluster.create(&roles, "", &role).await.unwrap();
    let error = add(cluster, &spec("a", 1)).await.unwrap_err();
    assert!(
        matches!(&error, PoolError::Foreign { what, .. } if what == "ClusterRole kperf-nodepool-a"),
        "{error}"
    );
    let deleted = delete(cluster, "a").await.unwrap();
    assert_eq!(deleted, nodepool::Deleted::default());
    cluster.get(&roles, "", "kperf-nodepool-a").await.unwrap();
}

#[tokio::test]
async fn nodes_that_hang_on_a_finalizer_do_not_keep_it_for_ever() {
    let test = TestCluster::start().await;
    let cluster = &test.cluster;
    let a = spec("a", 2);
    add(cluster, &a).await.unwrap();
    let resource = cluster.kind("v1", "Node").await.unwrap();
    let mut node: Value = cluster.get(&resource, "", "a-1").await.unwrap();
    node["metadata"]["finalizers"] = json!(["example.io/hangs"]);
    cluster
        .update(&resource, "", "a-1", "", &node)
        .await
        .unwrap();
    cluster
        .delete(&resource, "", "a-1", &Default::default())
        .await
        .unwrap();
    let short = PoolOptions {
        timeout: Duration::from_millis(700),
        ..options()
    };
    let adding = async {
        let stop = Stop::new();
        nodepool::add(cluster, &a, &short, &stop, &|_| {}).await
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), adding).await;
    let error = ended.expect("it hears its timeout").unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, PoolError::NotReady { .. }), "{said}");
    assert!(said.contains("a-1"), "{said}");
}

#[tokio::test]
async fn what_a_deletion_that_was_cut_off_left_goes_with_the_next() {
    let test = TestCluster::start().await;
    let cluster = &test.cluster;
    let namespaces = cluster.kind("v1", "Namespace").await.unwrap();
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"app.kubernetes.io/managed-by": "kperf-host"}},
    });
    cluster.create(&namespaces, "", &namespace).await.unwrap();
    let deleted = delete(cluster, "a").await.unwrap();
    assert!(!deleted.existed);
    assert!(goes(cluster, NAMESPACE).await);
}
