use std::time::{Duration, Instant};

use kperf_cluster::{
    RUN_LABEL, RunId,
    api::Cluster,
    cleanup::{CleanReport, clean, runs},
};
use serde_json::{Value, json};

use tokio::sync::mpsc;

use crate::{
    cluster::{TestCluster, configmap, widget, widget_definition},
    rights::{Verdict, judged},
};

const LONG: Duration = Duration::from_secs(60);
const GRANTS: &str = "create:*.* create:customresourcedefinitions.apiextensions.k8s.io";

/// Several kinds, inside and outside the run's namespaces, and what is somebody else's beside them.
async fn fill(test: &TestCluster) -> kperf_cluster::cleanup::RunObjects {
    let session = test.session("r1", GRANTS);
    session.create_namespace("mine-a", &[]).await.unwrap();
    session.create_namespace("mine-b", &[]).await.unwrap();
    session
        .create(&widget_definition().to_string())
        .await
        .unwrap();
    for manifest in [
        configmap("mine-a", "one"),
        configmap("mine-b", "two"),
        configmap("ns-0", "outside"),
        widget("mine-a", "w"),
        widget("ns-0", "w"),
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-of-r1"},
            "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "mine-a", "name": "d"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
                "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}),
    ] {
        session.create(&manifest.to_string()).await.unwrap();
    }
    // Another run's, and nobody's.
    let other = test.session("r1-other", GRANTS);
    other.create_namespace("theirs", &[]).await.unwrap();
    other
        .create(&configmap("theirs", "x").to_string())
        .await
        .unwrap();
    other
        .create(&configmap("ns-0", "of-other-run").to_string())
        .await
        .unwrap();
    let maps = test.cluster.kind("v1", "ConfigMap").await.unwrap();
    test.cluster
        .create(&maps, "ns-0", &configmap("ns-0", "nobodys"))
        .await
        .unwrap();
    session.objects()
}

async fn assert_only_others_left(test: &TestCluster) {
    assert_eq!(
        test.names("v1", "ConfigMap").await,
        ["cm-0", "nobodys", "of-other-run", "x"]
    );
    let namespaces = test.names("v1", "Namespace").await;
    assert!(
        namespaces.contains(&"theirs".to_owned()) && namespaces.contains(&"ns-0".to_owned()),
        "{namespaces:?}"
    );
    assert!(!namespaces.iter().any(|name| name.starts_with("mine")));
    assert_eq!(test.names("v1", "Node").await.len(), 2);
    let definitions = test
        .names("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        .await;
    assert!(!definitions.contains(&"widgets.example.io".to_owned()));
    assert!(test.names("v1", "PersistentVolume").await.is_empty());
}

fn run() -> RunId {
    "r1".parse().unwrap()
}

#[tokio::test]
async fn by_record_and_by_discovery_come_to_the_same() {
    let mut reports: Vec<CleanReport> = Vec::new();
    for is_recorded in [true, false] {
        let test = TestCluster::start().await;
        let objects = fill(&test).await;
        let mut last = None;
        let report = clean(
            &test.cluster,
            &run(),
            is_recorded.then_some(&objects),
            LONG,
            |progress| last = Some(progress.clone()),
        )
        .await;
        assert!(report.is_complete(), "{report:?}");
        assert_only_others_left(&test).await;
        assert_eq!(last.map(|p| (p.deleted, p.left)), Some((10, 0)));
        reports.push(report);
    }
    assert_eq!(reports[0], reports[1]);
    let deleted: Value = json!(reports[0].deleted);
    assert_eq!(
        deleted,
        json!({
            "configmaps": 3, "customresourcedefinitions.apiextensions.k8s.io": 1, "deployments.apps": 1,
            "namespaces": 2, "persistentvolumes": 1, "widgets.example.io": 2,
        })
    );
}

#[tokio::test]
async fn a_second_clean_up_finds_nothing() {
    let test = TestCluster::start().await;
    let objects = fill(&test).await;
    for _ in 0..2 {
        let report = clean(&test.cluster, &run(), Some(&objects), LONG, |_| {}).await;
        assert!(report.is_complete(), "{report:?}");
    }
    let report = clean(&test.cluster, &run(), None, LONG, |_| {}).await;
    assert_eq!(report, CleanReport::default());
}

#[tokio::test]
async fn what_hangs_is_named_and_the_rest_goes() {
    let test = TestCluster::start().await;
    let session = test.session("r1", "create:configmaps@ns-0");
    session.create_namespace("mine", &[]).await.unwrap();
    session
        .create(&configmap("mine", "free").to_string())
        .await
        .unwrap();
    let mut held = configmap("ns-0", "held");
    held["metadata"]["finalizers"] = json!(["example.io/guard"]);
    session.create(&held.to_string()).await.unwrap();
    let report = clean(
        &test.cluster,
        &run(),
        Some(&session.objects()),
        Duration::from_secs(6),
        |_| {},
    )
    .await;
    assert!(!report.is_complete());
    assert_eq!(report.errors, Vec::<String>::new());
    assert_eq!(report.left_count, 1);
    assert_eq!(
        report.left[0].to_string(),
        "configmaps ns-0/held: waits for finalizer example.io/guard"
    );
    assert_eq!(
        json!(report.deleted),
        json!({"configmaps": 1, "namespaces": 1})
    );
}

#[tokio::test]
async fn faults_are_lived_through() {
    let test = TestCluster::start().await;
    let objects = fill(&test).await;
    test.sim
        .faults()
        .set("429=0.2:0s,5xx=0.1,reset=0.1,seed=3".parse().unwrap());
    let report = clean(&test.cluster, &run(), Some(&objects), LONG, |_| {}).await;
    assert!(report.is_complete(), "{report:?}");
    test.sim.faults().set("".parse().unwrap());
    assert_only_others_left(&test).await;
}

#[tokio::test]
async fn a_server_that_is_gone_is_an_error_in_time() {
    let test = TestCluster::start().await;
    let objects = fill(&test).await;
    let TestCluster { sim, cluster } = test;
    sim.stop();
    for recorded in [Some(&objects), None] {
        let began = Instant::now();
        let within = Duration::from_secs(2);
        let report = clean(&cluster, &run(), recorded, within, |_| {}).await;
        // With room for a machine that is busy; it must not be a request's own deadline of a minute.
        assert!(began.elapsed() < Duration::from_secs(30));
        assert!(!report.is_complete());
        assert!(
            report.errors[0].contains("connection refused"),
            "{report:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_silent_is_an_error_in_time() {
    let test = TestCluster::start().await;
    let objects = fill(&test).await;
    test.sim.faults().set("latency=10m".parse().unwrap());
    let report = clean(
        &test.cluster,
        &run(),
        Some(&objects),
        Duration::from_secs(2),
        |_| {},
    )
    .await;
    assert!(!report.errors.is_empty());
}

#[tokio::test]
async fn runs_are_listed() {
    let test = TestCluster::start().await;
    fill(&test).await;
    let mut found = runs(&test.cluster).await.unwrap();
    found.sort_by(|a, b| a.run.cmp(&b.run));
    let names: Vec<_> = found
        .iter()
        .map(|found| (found.run.as_str(), found.namespaces.join(" ")))
        .collect();
    assert_eq!(
        names,
        [
            ("r1", "mine-a mine-b".to_owned()),
            ("r1-other", "theirs".to_owned())
        ]
    );
    assert!(found.iter().all(|found| found.age.is_some()));
}

/// The test's cluster, with a judge before it.
async fn behind(
    test: &TestCluster,
    judge: impl Fn(&str) -> Verdict + Send + Sync + 'static,
) -> Cluster {
    judged(test.sim.address(), &test.sim.kubeconfig(), judge).await
}

fn secret(namespace: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": "of-r1"},
    })
    .to_string()
}

#[tokio::test]
async fn what_may_not_be_listed_goes_with_its_namespace() {
    for is_recorded in [true, false] {
        let test = TestCluster::start_plain().await;
        let session = test.session("r1", "");
        session.create_namespace("mine", &[]).await.unwrap();
        session.create(&secret("mine")).await.unwrap();
        let objects = session.objects();
        let cluster = behind(&test, |request| {
            if request.starts_with("GET") && request.contains("/secrets") {
                Verdict::Forbid
            } else {
                Verdict::Pass
            }
        })
        .await;
        let recorded = is_recorded.then_some(&objects);
        // The second one finds no namespace any more.
        for _ in 0..2 {
            let report = clean(&cluster, &run(), recorded, LONG, |_| {}).await;
            assert!(report.is_complete(), "{report:?}");
            assert_eq!(report.notes.len(), 1, "{report:?}");
            assert!(report.notes[0].starts_with("secrets: "), "{report:?}");
        }
        let left = test.names("v1", "Secret").await;
        assert!(!left.contains(&"of-r1".to_owned()), "{left:?}");
    }
}

#[tokio::test]
async fn what_may_not_be_listed_outside_is_an_error() {
    let test = TestCluster::start_plain().await;
    let session = test.session("r1", "create:secrets@ns-0");
    session.create_namespace("mine", &[]).await.unwrap();
    // It is somebody else's, although the run asked for it.
    session.create_namespace("ns-0", &[]).await.unwrap_err();
    session.create(&secret("ns-0")).await.unwrap();
    let cluster = behind(&test, |request| {
        if request.starts_with("GET") && request.contains("/secrets") {
            Verdict::Forbid
        } else {
            Verdict::Pass
        }
    })
    .await;
    let report = clean(&cluster, &run(), Some(&session.objects()), LONG, |_| {}).await;
    assert_eq!(report.errors, ["secrets: not for you"]);
    assert!(!report.is_complete());
}

#[tokio::test]
async fn rights_that_went_with_a_namespace_are_not_missed() {
    let test = TestCluster::start_plain().await;
    let session = test.session("r1", "create:secrets@ns-0");
    session.create_namespace("mine", &[]).await.unwrap();
    session.create(&secret("mine")).await.unwrap();
    session.create(&secret("ns-0")).await.unwrap();
    let cluster = behind(&test, |request| {
        let is_elsewhere = request.contains("/secrets") && !request.contains("/ns-0/");
        if request.starts_with("GET") && is_elsewhere {
            Verdict::Forbid
        } else {
            Verdict::Pass
        }
    })
    .await;
    let report = clean(&cluster, &run(), Some(&session.objects()), LONG, |_| {}).await;
    assert!(report.is_complete(), "{report:?}");
    let left = test.names("v1", "Secret").await;
    assert!(!left.contains(&"of-r1".to_owned()), "{left:?}");
}

#[tokio::test]
async fn namespaces_that_may_not_be_listed_are_deleted_by_name() {
    let test = TestCluster::start_plain().await;
    let session = test.session("r1", "");
    session.create_namespace("mine", &[]).await.unwrap();
    session.create_namespace("ns-0", &[]).await.unwrap_err();
    let cluster = behind(&test, |request| {
        if request.starts_with("GET /api/v1/namespaces?") {
            Verdict::Forbid
        } else {
            Verdict::Pass
        }
    })
    .await;
    let report = clean(&cluster, &run(), Some(&session.objects()), LONG, |_| {}).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(json!(report.deleted), json!({"namespaces": 1}));
    let left = test.names("v1", "Namespace").await;
    assert!(left.contains(&"ns-0".to_owned()), "{left:?}");
    assert!(!left.contains(&"mine".to_owned()), "{left:?}");
}

#[tokio::test]
async fn what_comes_after_the_first_look_is_found() {
    let test = TestCluster::start_plain().await;
    let session = test.session("r1", "create:configmaps@ns-0");
    session
        .create(&configmap("ns-0", "early").to_string())
        .await
        .unwrap();
    let maps = test.cluster.kind("v1", "ConfigMap").await.unwrap();
    test.cluster
        .delete(&maps, "ns-0", "early", &Default::default())
        .await
        .unwrap();
    // The first list is empty, but before its answer arrives there is an object.
    let (hold, mut held) = mpsc::unbounded_channel();
    let first = std::sync::Mutex::new(Some(hold));
    let cluster = behind(&test, move |request| {
        if request.starts_with("GET /api/v1/configmaps?")
            && let Some(hold) = first.lock().unwrap().take()
        {
            Verdict::Hold(hold)
        } else {
            Verdict::Pass
        }
    })
    .await;
    let direct = test.cluster.clone();
    let late = tokio::spawn(async move {
        let done = held.recv().await.unwrap();
        let mut late = configmap("ns-0", "late");
        late["metadata"]["labels"] = json!({RUN_LABEL: "r1"});
        direct.create(&maps, "ns-0", &late).await.unwrap();
        done.send(()).unwrap();
    });
    let report = clean(&cluster, &run(), Some(&session.objects()), LONG, |_| {}).await;
    late.await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(json!(report.deleted), json!({"configmaps": 1}));
    assert_eq!(test.names("v1", "ConfigMap").await, ["cm-0"]);
}
