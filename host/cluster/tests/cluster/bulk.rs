use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kperf_cluster::{
    Change, Operation, Session,
    api::{Code, PatchType, Scope},
    bulk::{Action, Bulk, BulkOptions},
};
use kperf_load::{
    Stop,
    result::{Ended, counter},
};

use crate::cluster::{TestCluster, configmap};

fn options() -> BulkOptions {
    BulkOptions {
        name: "create".into(),
        rate_per_sec: 0.0,
        burst: 0,
        in_flight: 20,
        scheduled: false,
        stop_on_failure: false,
    }
}

fn creation(namespace: &str, name: &str) -> Action {
    Action {
        at_ns: 0,
        operations: vec![Operation::of_manifest(
            Change::Create,
            configmap(namespace, name).to_string(),
        )],
    }
}

fn creations(count: usize) -> Vec<Action> {
    (0..count)
        .map(|i| creation("mine", &format!("m-{i}")))
        .collect()
}

async fn with_namespace(test: &TestCluster, grants: &str, stop: Stop) -> Arc<Session> {
    let session = test.session_until("r1", grants, stop);
    session.create_namespace("mine", &[]).await.unwrap();
    session
}

async fn count_of_ours(session: &Session) -> usize {
    let scope = Scope {
        namespace: "mine".into(),
        label_selector: session.run().selector(),
        ..Scope::default()
    };
    session.list("v1", "ConfigMap", &scope).await.unwrap().len()
}

async fn uid_of(session: &Session, name: &str) -> String {
    let object = session.get("v1", "ConfigMap", "mine", name).await.unwrap();
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn stamps_are_of_one_object_and_its_creation() {
    let test = TestCluster::start().await;
    let session = with_namespace(&test, "", Stop::new()).await;
    let maps = session.cluster().kind("v1", "ConfigMap").await.unwrap();
    let manifest = configmap("mine", "x").to_string();
    session.create(&manifest).await.unwrap();
    let first = uid_of(&session, "x").await;
    let created = session.stamps().get(&maps, "mine", "x", &first).unwrap();
    session.apply(&manifest).await.unwrap();
    let applied = session.stamps().get(&maps, "mine", "x", &first);
    assert_eq!(applied, Some(created));

    session
        .delete("v1", "ConfigMap", "mine", "x")
        .await
        .unwrap();
    session.apply(&manifest).await.unwrap();
    let second = uid_of(&session, "x").await;
    assert_ne!(first, second);
    let later = session.stamps().get(&maps, "mine", "x", &second).unwrap();
    assert!(later.sent_ns >= created.answered_ns);
    assert_eq!(
        session.stamps().get(&maps, "mine", "x", &first),
        Some(created)
    );
}

#[tokio::test]
async fn five_hundred_at_a_pace() {
    let test = TestCluster::start().await;
    let session = with_namespace(&test, "", Stop::new()).await;
    let bulk = Bulk::start(
        &session,
        &BulkOptions {
            rate_per_sec: 1000.0,
            burst: 100,
            ..options()
        },
    )
    .unwrap();
    let began = Instant::now();
    bulk.push(creations(500)).await.unwrap();
    let outcome = bulk.finish().await;
    // 400 of them wait for their turn. A pace is never too fast, however slow the machine.
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert_eq!(
        (outcome.actions, outcome.succeeded, outcome.failed),
        (500, 500, 0),
        "{:?}",
        outcome.messages
    );
    assert_eq!(outcome.error, None);
    assert_eq!(outcome.phase.ended, Ended::Completed);
    let [series] = outcome.phase.series.as_slice() else {
        panic!("{:?}", outcome.phase.series);
    };
    assert_eq!(series.name, "POST /api/v1/namespaces/:namespace/configmaps");
    assert_eq!(series.service_time.len(), 500);
    assert!(series.response_time.max() >= series.service_time.min());
    assert_eq!(outcome.phase.counters[counter::INTENDED], 500);
    assert_eq!(outcome.phase.counters[counter::DROPPED], 0);
    assert_eq!(count_of_ours(&session).await, 500);

    let maps = session.cluster().kind("v1", "ConfigMap").await.unwrap();
    let uid = uid_of(&session, "m-499").await;
    let stamp = session.stamps().get(&maps, "mine", "m-499", &uid).unwrap();
    assert!(stamp.sent_ns >= 400_000_000 && stamp.answered_ns > stamp.sent_ns);
    assert_eq!(session.stamps().get(&maps, "mine", "m-498", &uid), None);
}

#[tokio::test]
async fn actions_run_in_parallel_up_to_the_bound() {
    let test = TestCluster::start().await;
    let session = with_namespace(&test, "", Stop::new()).await;
    // The kind is known, so that only the creations wait.
    session.cluster().kind("v1", "ConfigMap").await.unwrap();
    test.sim.faults().set("latency=200ms".parse().unwrap());
    let bulk = Bulk::start(
        &session,
        &BulkOptions {
            in_flight: 50,
            ..options()
        },
    )
    .unwrap();
    bulk.push(creations(100)).await.unwrap();
    let outcome = bulk.finish().await;
    assert_eq!(outcome.succeeded, 100);
    let maps = session.cluster().kind("v1", "ConfigMap").await.unwrap();
    test.sim.faults().set("".parse().unwrap());
    let mut stamps = Vec::new();
    for i in 0..100 {
        let name = format!("m-{i}");
        let uid = uid_of(&session, &name).await;
        stamps.extend(session.stamps().get(&maps, "mine", &name, &uid));
    }
    assert_eq!(stamps.len(), 100);
    let most_at_once = stamps
        .iter()
        .map(|one| {
            let others = stamps
                .iter()
                .filter(|other| other.sent_ns <= one.sent_ns && one.sent_ns < other.answered_ns);
            others.count()
        })
        .max();
    assert_eq!(most_at_once, Some(50));
}

#[tokio::test]
async fn what_finds_no_place_is_late() {
    let test = TestCluster::start().await;
    let session = with_namespace(&test, "", Stop::new()).await;
    session.cluster().kind("v1", "ConfigMap").await.unwrap();
    test.sim.faults().set("latency=100ms".parse().unwrap());
    let bulk = Bulk::start(
        &session,
        &BulkOptions {
            rate_per_sec: 1000.0,
            in_flight: 1,
            ..options()
        },
    )
    .unwrap();
    bulk.push(creations(5)).await.unwrap();
    let outcome = bulk.finish().await;
    assert_eq!(outcome.late, 4);
    let series = &outcome.phase.series[0];
    // The last one was due after 4 ms and answered after 500.
    assert!(series.response_time.max() >= 480_000_000);
    assert!(series.response_time.max() > series.service_time.max());
}

#[tokio::test]
async fn operations_of_an_action_are_done_in_turn() {
    let test = TestCluster::start().await;
    let session = with_namespace(&test, "", Stop::new()).await;
    let named = |change, name: &str, body: &str| Operation {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: "mine".into(),
        name: name.into(),
        ..Operation::of_manifest(change, body)
    };
    let bulk = Bulk::start(
        &session,
        &BulkOptions {
            scheduled: true,
            ..options()
        },
    )
    .unwrap();
    let actions = (0..50)
        .map(|i| {
            let name = format!("m-{i}");
            let mut action = creation("mine", &name);
            action.at_ns = i * 1_000_000;
            action.operations.extend([
                named(
                    Change::Patch(PatchType::Merge),
                    &name,
                    r#"{"data":{"x":"y"}}"#,
                ),
                Operation::of_manifest(Change::Apply, configmap("mine", &name).to_string()),
                named(Change::Delete, &name, ""),
                // Gone already, which is fine.
                named(Change::Delete, &name, ""),
            ]);
            action
        })
        .collect();
    bulk.push(actions).await.unwrap();
    let order = bulk.push(vec![creation("mine", "x")]).await.unwrap_err();
    assert_eq!(order.code, Code::Invalid);
    let outcome = bulk.finish().await;
    assert_eq!(
        (outcome.actions, outcome.succeeded, outcome.failed),
        (50, 250, 0),
        "{:?}",
        outcome.messages
    );
    assert_eq!(outcome.phase.series.len(), 3);
    assert_eq!(count_of_ours(&session).await, 0);
}

#[tokio::test]
async fn faults_are_tried_again_and_counted() {
    let test = TestCluster::start().await;
    let session = with_namespace(&test, "", Stop::new()).await;
    test.sim
        .faults()
        .set("429=0.2:0s,reset=0.1,seed=5".parse().unwrap());
    let bulk = Bulk::start(&session, &options()).unwrap();
    bulk.push(creations(300)).await.unwrap();
    let outcome = bulk.finish().await;
    test.sim.faults().set("".parse().unwrap());
    assert_eq!(
        (outcome.succeeded, outcome.failed),
        (300, 0),
        "{:?}",
        outcome.messages
    );
    assert!(outcome.retries > 30, "{}", outcome.retries);
    assert_eq!(outcome.phase.counters[counter::RETRIES], outcome.retries);
    assert_eq!(count_of_ours(&session).await, 300);
}

#[tokio::test]
async fn failures_are_classed_and_their_first_messages_kept() {
    let test = TestCluster::start().await;
    let session = with_namespace(&test, "", Stop::new()).await;
    session
        .create(&configmap("mine", "same").to_string())
        .await
        .unwrap();
    let bulk = Bulk::start(&session, &options()).unwrap();
    let actions = (0..30).map(|_| creation("mine", "same")).collect();
    bulk.push(actions).await.unwrap();
    let broken = Operation::of_manifest(Change::Create, "{");
    bulk.push(vec![Action {
        at_ns: 0,
        operations: vec![broken],
    }])
    .await
    .unwrap();
    let outcome = bulk.finish().await;
    assert_eq!((outcome.succeeded, outcome.failed), (0, 31));
    assert_eq!(outcome.messages["http/409"].len(), 20);
    assert_eq!(outcome.messages["unknown/invalid"].len(), 1);
    let series = outcome
        .phase
        .series
        .iter()
        .find(|series| series.name.starts_with("POST"))
        .unwrap();
    assert_eq!(series.errors["http/409"], 30);
}

#[tokio::test]
async fn a_denied_operation_ends_it() {
    let test = TestCluster::start().await;
    let session = with_namespace(&test, "", Stop::new()).await;
    let bulk = Bulk::start(&session, &options()).unwrap();
    bulk.push(vec![creation("ns-0", "x")]).await.unwrap();
    let refused = loop {
        // It is found out in the background.
        if let Err(refused) = bulk.push(vec![creation("ns-0", "x")]).await {
            break refused;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(refused.code, Code::Denied);
    let outcome = bulk.finish().await;
    assert_eq!(outcome.error, Some(refused.clone()));
    assert!(
        refused.message.contains("create:configmaps@ns-0"),
        "{refused}"
    );
    assert!(matches!(outcome.phase.ended, Ended::Failed(_)));
    assert_eq!(outcome.succeeded, 0);
    assert_eq!(test.names("v1", "ConfigMap").await, ["cm-0"]);
}

#[tokio::test]
async fn the_first_failure_can_end_it() {
    let test = TestCluster::start().await;
    let session = with_namespace(&test, "", Stop::new()).await;
    let bulk = Bulk::start(
        &session,
        &BulkOptions {
            in_flight: 1,
            stop_on_failure: true,
            ..options()
        },
    )
    .unwrap();
    let mut actions = creations(3);
    actions.insert(1, creation("mine", "m-0"));
    bulk.push(actions).await.unwrap();
    let outcome = bulk.finish().await;
    assert_eq!((outcome.succeeded, outcome.failed), (1, 1));
    assert_eq!(outcome.error.unwrap().code, Code::AlreadyExists);
    assert_eq!(outcome.phase.counters[counter::DROPPED], 2);
}

#[tokio::test]
async fn a_stop_ends_it_and_keeps_what_was_done() {
    let test = TestCluster::start().await;
    let stop = Stop::new();
    let session = with_namespace(&test, "", stop.clone()).await;
    let bulk = Bulk::start(
        &session,
        &BulkOptions {
            scheduled: true,
            ..options()
        },
    )
    .unwrap();
    let mut actions = creations(4);
    actions[3].at_ns = 3_600_000_000_000;
    bulk.push(actions).await.unwrap();
    while session.stamps().len() < 4 {
        // Three of the bulk and the namespace.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stop.stop();
    let outcome = bulk.finish().await;
    assert_eq!(outcome.succeeded, 3);
    assert_eq!(outcome.phase.ended, Ended::Interrupted);
    assert_eq!(outcome.phase.counters[counter::DROPPED], 1);
    assert_eq!(outcome.error.unwrap().code, Code::Interrupted);
    let refused = session.create_namespace("other", &[]).await.unwrap_err();
    assert_eq!(refused.code, Code::Interrupted);
}

#[tokio::test]
async fn an_abort_gives_up_what_is_in_flight() {
    let test = TestCluster::start().await;
    let stop = Stop::new();
    let session = with_namespace(&test, "", stop.clone()).await;
    session.cluster().kind("v1", "ConfigMap").await.unwrap();
    test.sim.faults().set("latency=10m".parse().unwrap());
    let bulk = Bulk::start(&session, &options()).unwrap();
    bulk.push(creations(3)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.abort();
    let outcome = bulk.finish().await;
    assert_eq!(outcome.succeeded, 0);
    assert_eq!(outcome.phase.ended, Ended::Interrupted);
}
