//! The tracker against the simulator: everything is written over HTTP, and the counts are exact.

use std::time::{Duration, Instant};

use http::{Method, Request};
use kperf_cluster::track::{Access, Check, Clock, Op, TrackOptions, Tracker};
use kperf_sim::{Sim, SimConfig};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::objects::{GONE, READY, SEEN, config, configmaps, quick, soon, start};

const PATH: &str = "/api/v1/namespaces/ns-0/configmaps";

fn sim() -> Sim {
    Sim::start(SimConfig {
        tls: false,
        open: true,
        seed_objects: "nodes=2,namespaces=2,pods=0,configmaps=3".parse().unwrap(),
        ..SimConfig::default()
    })
    .unwrap()
}

/// Writes to the simulator.
struct Writer(kube::Client);

impl Writer {
    fn new(sim: &Sim) -> Self {
        Self(kube::Client::try_from(config(&sim.url())).unwrap())
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: &Value) -> Value {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .body(body.to_string().into_bytes())
            .unwrap();
        let text = self.0.request_text(request).await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    async fn create(&self, path: &str, body: &Value) -> Value {
        self.send(Method::POST, path, "application/json", body)
            .await
    }

    async fn patch(&self, path: &str, body: &Value) {
        self.send(Method::PATCH, path, "application/merge-patch+json", body)
            .await;
    }

    async fn delete(&self, path: &str) {
        self.send(Method::DELETE, path, "application/json", &json!({}))
            .await;
    }
}

fn thing(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"run": "mine"}}, "data": {"phase": "new"}})
}

#[tokio::test]
async fn every_step_is_counted() {
    let sim = sim();
    let writer = Writer::new(&sim);
    let mut spec = configmaps();
    spec.label_selector = "run=mine".into();
    spec.capture = vec!["/data/phase".into()];
    writer.create(PATH, &thing("before")).await;
    let tracker = start(&sim.url(), &spec).await.unwrap();
    assert_eq!((tracker.counts().seen, tracker.counts().events), (1, 0));
    for i in 0..50 {
        writer.create(PATH, &thing(&format!("t-{i}"))).await;
    }
    // Neither of these is selected.
    writer
        .create("/api/v1/namespaces/ns-1/configmaps", &thing("elsewhere"))
        .await;
    writer
        .create(PATH, &json!({"metadata": {"name": "unlabelled"}}))
        .await;
    for i in 0..40 {
        writer
            .patch(
                &format!("{PATH}/t-{i}"),
                &json!({"data": {"phase": "ready"}}),
            )
            .await;
    }
    for i in 0..30 {
        writer.delete(&format!("{PATH}/t-{i}")).await;
    }
    // To leave the selection is to be gone.
    writer
        .patch(
            &format!("{PATH}/t-49"),
            &json!({"metadata": {"labels": {"run": "other"}}}),
        )
        .await;
    let counts = tracker.wait(GONE, 31, soon()).await.unwrap().counts;
    assert_eq!(counts.reached, [51, 40, 31]);
    assert_eq!(counts.now, [20, 10, 31]);
    assert_eq!((counts.seen, counts.alive, counts.events), (51, 20, 121));
    assert_eq!((counts.failures, counts.relists, counts.garbage), (0, 0, 0));
    assert_eq!(tracker.missing(READY, 0..0).unwrap().count, 11);
    let pairs = tracker.pairs(SEEN, READY, Clock::Received).unwrap();
    assert_eq!(
        (pairs.durations_ns.len(), pairs.lacking, pairs.inexact),
        (40, 11, 0)
    );
    assert!(pairs.durations_ns.iter().all(|ns| *ns > 0));
    let objects = tracker.objects(0..100);
    assert_eq!(objects[0].name, "before");
    assert!(objects[0].stamps[SEEN].unwrap().initial);
    let first = &objects[1];
    assert_eq!(
        (first.name.as_str(), first.captures[0].as_deref()),
        ("t-0", Some("\"ready\""))
    );
    assert!(first.stamps[SEEN].unwrap().api_unix_us.is_some());
    assert!(tracker.wait_now(READY, 10, soon()).await.unwrap().reached);
    for i in 30..49 {
        writer.delete(&format!("{PATH}/t-{i}")).await;
    }
    writer.delete(&format!("{PATH}/before")).await;
    assert!(tracker.wait_gone(soon()).await.unwrap().reached);
}

#[tokio::test]
async fn a_name_made_again_is_another_object() {
    let sim = sim();
    let writer = Writer::new(&sim);
    let mut spec = configmaps();
    spec.label_selector = "run=mine".into();
    let tracker = start(&sim.url(), &spec).await.unwrap();
    let mut uids = Vec::new();
    for _ in 0..2 {
        let made = writer.create(PATH, &thing("again")).await;
        uids.push(made["metadata"]["uid"].as_str().unwrap().to_owned());
        writer.delete(&format!("{PATH}/again")).await;
    }
    let counts = tracker.wait(GONE, 2, soon()).await.unwrap().counts;
    assert_eq!((counts.seen, counts.alive), (2, 0));
    let seen: Vec<_> = tracker.objects(0..5).into_iter().map(|o| o.uid).collect();
    assert_eq!(seen, uids);
}

#[tokio::test]
async fn a_watch_that_finds_its_history_compacted_lists_again() {
    let sim = sim();
    let writer = Writer::new(&sim);
    let mut spec = configmaps();
    spec.label_selector = "run=mine".into();
    // Watches end after a second or two, in peace.
    let options = TrackOptions {
        watch_length: Duration::from_secs(1),
        page_items: 7,
        ..quick()
    };
    for i in 0..20 {
        writer.create(PATH, &thing(&format!("t-{i}"))).await;
    }
    let tracker = Tracker::start(config(&sim.url()), &spec, &options, Instant::now())
        .await
        .unwrap();
    assert_eq!(tracker.counts().seen, 20);
    let deadline = soon();
    let mut unselected = 0;
    while tracker.counts().relists == 0 {
        assert!(Instant::now() < deadline);
        // The revision moves on unseen, and the one we are at is forgotten.
        let other = json!({"data": {"n": unselected.to_string()}});
        writer.patch(&format!("{PATH}/cm-0"), &other).await;
        sim.compact();
        unselected += 1;
    }
    for i in 0..20 {
        writer
            .patch(
                &format!("{PATH}/t-{i}"),
                &json!({"data": {"phase": "ready"}}),
            )
            .await;
        writer.delete(&format!("{PATH}/t-{i}")).await;
        writer.create(PATH, &thing(&format!("t-{i}"))).await;
        sim.compact();
    }
    let counts = tracker
        .wait_for(deadline, |c| c.seen == 40 && c.alive == 20)
        .await
        .unwrap()
        .counts;
    assert_eq!((counts.reached[SEEN], counts.reached[GONE]), (40, 20));
    assert_eq!((counts.now[SEEN], counts.garbage), (20, 0));
    assert!(counts.reached[READY] <= 20);
}

#[tokio::test]
async fn a_server_that_misbehaves_changes_no_count() {
    let sim = sim();
    let writer = Writer::new(&sim);
    let mut spec = configmaps();
    spec.label_selector = "run=mine".into();
    let options = TrackOptions {
        watch_length: Duration::from_secs(1),
        page_items: 3,
        ..quick()
    };
    for i in 0..10 {
        writer.create(PATH, &thing(&format!("t-{i}"))).await;
    }
    sim.faults().set(
        "429=0.1:0s,5xx=0.2,reset=0.2,truncate=0.2,seed=3"
            .parse()
            .unwrap(),
    );
    let tracker = Tracker::start(config(&sim.url()), &spec, &options, Instant::now())
        .await
        .unwrap();
    assert_eq!(tracker.counts().seen, 10);
    sim.faults().set("".parse().unwrap());
    for i in 0..10 {
        writer
            .patch(
                &format!("{PATH}/t-{i}"),
                &json!({"data": {"phase": "ready"}}),
            )
            .await;
    }
    let counts = tracker.wait(READY, 10, soon()).await.unwrap().counts;
    assert_eq!(counts.reached, [10, 10, 0]);
}

#[test]
fn a_runtime_of_one_thread_is_enough() {
    let sim = sim();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut spec = configmaps();
        spec.namespace = None;
        let client = kube::Client::try_from(config(&sim.url())).unwrap();
        for access in [Access::Client(client), config(&sim.url()).into()] {
            let tracker = Tracker::start(access, &spec, &quick(), Instant::now())
                .await
                .unwrap();
            let before = tracker.counts().seen;
            let made = Writer::new(&sim)
                .create(PATH, &json!({"metadata": {"generateName": "t-"}}))
                .await;
            let waited = tracker
                .wait_for(soon(), |c| c.seen == before + 1)
                .await
                .unwrap();
            assert!(waited.reached);
            let all = tracker.objects(0..1000);
            assert_eq!(
                all.last().unwrap().name,
                made["metadata"]["name"].as_str().unwrap()
            );
        }
    });
}

#[tokio::test]
async fn pods_live_through_their_milestones() {
    let sim = sim();
    let writer = Writer::new(&sim);
    let mut spec = configmaps();
    spec.resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod"));
    let condition = |name: &str| {
        Check::new(
            format!("/status/conditions/[type={name}]/status"),
            Op::Equals,
            "True",
        )
    };
    spec.milestones[1].checks = vec![condition("Ready")];
    spec.milestones[1].api_time = Some("/status/conditions/[type=Ready]/lastTransitionTime".into());
    let mut scheduled = spec.milestones[1].clone();
    scheduled.checks = vec![condition("PodScheduled")];
    spec.milestones.push(scheduled);
    let tracker = start(&sim.url(), &spec).await.unwrap();
    let path = "/api/v1/namespaces/ns-0/pods";
    for i in 0..20 {
        let pod = json!({
            "metadata": {"name": format!("p-{i}")},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        });
        writer.create(path, &pod).await;
    }
    assert!(tracker.wait(READY, 20, soon()).await.unwrap().reached);
    for i in 0..20 {
        writer.delete(&format!("{path}/p-{i}")).await;
    }
    let counts = tracker.wait_gone(soon()).await.unwrap().counts;
    assert_eq!(counts.reached, [20, 20, 20, 20]);
    assert_eq!(counts.now, [0, 0, 20, 0]);
    for (from, to) in [(SEEN, 3), (3, READY), (READY, GONE)] {
        let pairs = tracker.pairs(from, to, Clock::Received).unwrap();
        assert_eq!(pairs.durations_ns.len(), 20);
        assert!(pairs.durations_ns.iter().all(|ns| *ns >= 0));
    }
    assert_eq!(
        tracker
            .pairs(SEEN, READY, Clock::Api)
            .unwrap()
            .durations_ns
            .len(),
        20
    );
}
