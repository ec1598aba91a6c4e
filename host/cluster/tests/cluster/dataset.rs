use kperf_cluster::{
    api::{Cluster, Code},
    dataset::{self, DataError, DataKind, DataSet, DataSpec},
};
use kperf_load::Stop;
use parking_lot::Mutex;
use serde_json::json;

use crate::cluster::TestCluster;

async fn add(cluster: &Cluster, spec: &DataSpec) -> Result<(), DataError> {
    dataset::add(cluster, spec, 0.0, 0, &Stop::new(), &|_| {}).await
}

async fn delete(cluster: &Cluster, kind: DataKind, namespace: &str, name: &str) -> u64 {
    dataset::delete(
        cluster,
        kind,
        namespace,
        name,
        0.0,
        0,
        &Stop::new(),
        &|_, _| {},
    )
    .await
    .unwrap()
}

async fn list(cluster: &Cluster, kind: DataKind, namespace: &str) -> Vec<DataSet> {
    dataset::list(cluster, kind, namespace, &[], &Stop::new())
        .await
        .unwrap()
}

#[tokio::test]
async fn sets_of_every_kind_come_and_go() {
    let test = TestCluster::start().await;
    let cluster = &test.cluster;
    for kind in DataKind::ALL {
        let spec = DataSpec {
            namespace: "new".into(),
            total: 7,
            group_size: 3,
            ..DataSpec::new(kind, "x")
        };
        let progress = Mutex::new(0);
        dataset::add(cluster, &spec, 0.0, 0, &Stop::new(), &|done| {
            *progress.lock() = done
        })
        .await
        .unwrap();
        assert_eq!(progress.into_inner(), 7);
        // Once more, and one whose name begins the same.
        add(cluster, &spec).await.unwrap();
        let other = DataSpec {
            total: 1,
            name: "x-1".into(),
            ..spec.clone()
        };
        add(cluster, &other).await.unwrap();
        let sets = list(cluster, kind, "new").await;
        let size = match kind {
            DataKind::DaemonSet => 0,
            DataKind::Event => 5000,
            _ => 100,
        };
        assert_eq!(
            sets.iter()
                .map(|set| (set.name.as_str(), set.size, set.total))
                .collect::<Vec<_>>(),
            [("x", size, 7), ("x-1", size, 1)],
            "{kind:?}"
        );
        if kind != DataKind::DaemonSet {
            assert_eq!(sets[0].group_size, 3);
        }
        let named = dataset::list(cluster, kind, "new", &["x-1".to_owned()], &Stop::new())
            .await
            .unwrap();
        assert_eq!(named.len(), 1);
        assert_eq!(delete(cluster, kind, "new", "x").await, 7);
        assert_eq!(delete(cluster, kind, "new", "x").await, 0);
        assert_eq!(list(cluster, kind, "new").await.len(), 1);
        assert!(list(cluster, kind, "default").await.is_empty());
    }
}

/// As kperf's `put` requests do it.
#[tokio::test]
async fn labels_that_a_put_dropped_are_not_missed() {
    let test = TestCluster::start().await;
    let cluster = &test.cluster;
    add(cluster, &DataSpec::new(DataKind::ConfigMap, "x"))
        .await
        .unwrap();
    let maps = cluster.kind("v1", "ConfigMap").await.unwrap();
    for index in 0..10 {
        let name = format!("runkperf-cm-x-{index}");
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "default"}, "data": {"payload": "p"}});
        cluster
            .update(&maps, "default", &name, "", &object)
            .await
            .unwrap();
    }
    assert_eq!(
        list(cluster, DataKind::ConfigMap, "default").await[0].total,
        10
    );
    assert_eq!(
        delete(cluster, DataKind::ConfigMap, "default", "x").await,
        10
    );
}

#[tokio::test]
async fn what_only_looks_like_a_member_is_left_alone() {
    let test = TestCluster::start().await;
    let cluster = &test.cluster;
    let maps = cluster.kind("v1", "ConfigMap").await.unwrap();
    let sets = cluster.kind("apps/v1", "DaemonSet").await.unwrap();
    // A set of another name says so itself; DaemonSets of that pattern may be anybody's.
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "runkperf-cm-x-99", "namespace": "default", "labels": {"cmName": "y"},
    }});
    let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "x-0", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    });
    cluster.create(&maps, "default", &map).await.unwrap();
    cluster.create(&sets, "default", &set).await.unwrap();
    for kind in [DataKind::ConfigMap, DataKind::DaemonSet] {
        assert!(list(cluster, kind, "default").await.is_empty(), "{kind:?}");
        assert_eq!(delete(cluster, kind, "default", "x").await, 0);
    }
}

#[tokio::test]
async fn a_stop_ends_it() {
    let test = TestCluster::start().await;
    let stop = Stop::new();
    stop.stop();
    let spec = DataSpec::new(DataKind::ConfigMap, "y");
    let error = dataset::add(&test.cluster, &spec, 0.0, 0, &stop, &|_| {})
        .await
        .unwrap_err();
    assert!(matches!(error, DataError::Api { source, .. } if source.code == Code::Interrupted));
}
