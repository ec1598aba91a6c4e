//! The books against lines as API servers write them.

use serde_json::{Value, json};

use super::*;
use crate::track::{
    object::tests::{milestone, pods},
    spec::{Check, Milestone, Op},
};

fn uid(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

fn pod(n: u32, version: u32, status: &Value) -> Value {
    json!({
        "kind": "Pod",
        "metadata": {
            "name": format!("pod-{n}"), "namespace": "ns", "uid": uid(n),
            "resourceVersion": version.to_string(), "creationTimestamp": "2026-01-02T03:04:05Z",
            "managedFields": [{"manager": "x", "fieldsV1": {"f:status": {"f:phase": {}}}}],
        },
        "status": status,
    })
}

fn line(kind: &str, object: &Value) -> Vec<u8> {
    json!({"type": kind, "object": object})
        .to_string()
        .into_bytes()
}

fn ready() -> Milestone {
    Milestone {
        api_time: Some("/status/conditions/[type=Ready]/lastTransitionTime".into()),
        ..milestone(
            "ready",
            vec![Check::new(
                "/status/conditions/[type=Ready]/status",
                Op::Equals,
                "True",
            )],
        )
    }
}

fn ledger() -> Ledger {
    let mut spec = pods();
    spec.milestones = vec![
        Milestone {
            api_time: Some("/metadata/creationTimestamp".into()),
            ..milestone("seen", vec![])
        },
        ready(),
        Milestone {
            deleted: true,
            ..milestone("gone", vec![])
        },
    ];
    spec.capture = vec!["/status/node".into(), "/status".into()];
    Ledger::new(&spec, &TrackOptions::default()).unwrap()
}

fn conditions(ready: &str) -> Value {
    json!({"node": "n-1", "conditions": [
        {"status": "True", "type": "Other", "lastTransitionTime": "2020-01-01T00:00:00Z"},
        {"lastTransitionTime": "2026-01-02T03:04:06.5+00:00", "status": ready, "type": "Ready"},
        {"type": "Ready", "status": "never looked at"},
    ]})
}

#[test]
fn a_life_is_counted_once() {
    let mut ledger = ledger();
    for (at, kind, status) in [
        (10, "ADDED", json!({})),
        (20, "MODIFIED", conditions("False")),
        (30, "MODIFIED", conditions("True")),
        (40, "MODIFIED", conditions("False")),
        (50, "MODIFIED", conditions("True")),
    ] {
        ledger
            .event(&line(kind, &pod(1, at, &status)), u64::from(at))
            .unwrap();
    }
    let counts = ledger.counts();
    assert_eq!((counts.seen, counts.alive, counts.events), (1, 1, 5));
    assert_eq!(counts.reached, [1, 1, 0]);
    assert_eq!(counts.now, [1, 1, 0]);
    ledger
        .event(&line("DELETED", &pod(1, 60, &conditions("True"))), 60)
        .unwrap();
    let counts = ledger.counts();
    assert_eq!((counts.seen, counts.alive), (1, 0));
    assert_eq!(counts.reached, [1, 1, 1]);
    assert_eq!(counts.now, [0, 0, 1]);
    let object = &ledger.objects(0..10)[0];
    assert_eq!((object.name.as_str(), &*object.namespace), ("pod-1", "ns"));
    assert_eq!(object.uid, uid(1));
    let received: Vec<_> = object
        .stamps
        .iter()
        .flatten()
        .map(|s| s.received_ns)
        .collect();
    assert_eq!(received, [10, 30, 60]);
    let api: Vec<_> = object
        .stamps
        .iter()
        .flatten()
        .map(|s| s.api_unix_us)
        .collect();
    assert_eq!(
        api,
        [
            Some(1_767_323_045_000_000),
            Some(1_767_323_046_500_000),
            None
        ]
    );
    assert!(object.stamps.iter().flatten().all(Stamp::exact));
    assert_eq!(object.captures[0].as_deref(), Some("\"n-1\""));
    assert_eq!(
        object.captures[1].as_deref(),
        Some(&*conditions("True").to_string())
    );
    assert_eq!(ledger.resource_version, "60");
}

#[test]
fn the_current_state_goes_back() {
    let mut ledger = ledger();
    for n in 0..3 {
        ledger
            .event(&line("ADDED", &pod(n, 1, &conditions("True"))), 1)
            .unwrap();
    }
    ledger
        .event(&line("MODIFIED", &pod(0, 2, &conditions("False"))), 2)
        .unwrap();
    assert_eq!(ledger.counts().reached[1], 3);
    assert_eq!(ledger.counts().now[1], 2);
}

#[test]
fn an_api_time_may_come_later() {
    let bare = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    let times = |ledger: &Ledger| -> Vec<_> {
        let objects = ledger.objects(0..10);
        let ready = objects.iter().map(|object| object.stamps[1].unwrap());
        ready
            .map(|stamp| (stamp.received_ns, stamp.api_unix_us))
            .collect()
    };
    let mut ledger = ledger();
    for n in 0..2 {
        ledger.event(&line("ADDED", &pod(n, 1, &bare)), 1).unwrap();
    }
    // One was unready in between: the time is that of its second time.
    ledger
        .event(&line("MODIFIED", &pod(1, 2, &conditions("False"))), 2)
        .unwrap();
    assert_eq!(times(&ledger), [(1, None), (1, None)]);
    for n in 0..2 {
        ledger
            .event(&line("MODIFIED", &pod(n, 3, &conditions("True"))), 3)
            .unwrap();
    }
    let at = Some(1_767_323_046_500_000);
    assert_eq!(times(&ledger), [(1, at), (1, None)]);
    assert_eq!(ledger.counts().reached[1], 2);
}

#[test]
fn last_words_reach_a_milestone() {
    let mut ledger = ledger();
    ledger
        .event(&line("ADDED", &pod(1, 1, &json!({}))), 1)
        .unwrap();
    ledger
        .event(&line("DELETED", &pod(1, 2, &conditions("True"))), 2)
        .unwrap();
    assert_eq!(ledger.counts().reached, [1, 1, 1]);
    assert_eq!(ledger.counts().now, [0, 0, 1]);
}

#[test]
fn back_in_the_selection_is_alive_again() {
    let mut ledger = ledger();
    for kind in ["ADDED", "DELETED", "ADDED"] {
        ledger
            .event(&line(kind, &pod(1, 1, &json!({}))), 1)
            .unwrap();
    }
    assert_eq!((ledger.counts().seen, ledger.counts().alive), (1, 1));
    assert_eq!(ledger.counts().now, [1, 0, 0]);
    assert_eq!(ledger.counts().reached, [1, 0, 1]);
}

#[test]
fn a_list_says_who_is_gone_and_counts_nobody_twice() {
    let mut ledger = ledger();
    let page = |pods: &[Value], version: &str| {
        json!({"items": pods, "metadata": {"resourceVersion": version}})
            .to_string()
            .into_bytes()
    };
    let first = page(
        &[pod(1, 1, &json!({})), pod(2, 2, &conditions("True"))],
        "5",
    );
    ledger.begin_list();
    let meta = ledger.page(&first, 10, Origin::Initial).unwrap();
    ledger.end_list(meta.resource_version, 10);
    assert!(ledger.objects(0..9)[1].stamps[1].unwrap().initial);
    // 1 becomes ready and 2 vanishes while nobody looks; 3 is new.
    let second = page(
        &[pod(1, 7, &conditions("True")), pod(3, 8, &json!({}))],
        "9",
    );
    for at in [20, 30] {
        ledger.begin_list();
        let meta = ledger.page(&second, at, Origin::Relist).unwrap();
        ledger.end_list(meta.resource_version, at);
    }
    let counts = ledger.counts();
    assert_eq!((counts.seen, counts.alive, counts.events), (3, 2, 0));
    assert_eq!(counts.reached, [3, 2, 1]);
    assert_eq!(counts.now, [2, 1, 1]);
    let objects = ledger.objects(0..9);
    let inferred = |object: usize, milestone: usize| {
        let stamp = objects[object].stamps[milestone].unwrap();
        assert!(stamp.inferred && !stamp.initial);
        stamp.received_ns
    };
    assert_eq!(inferred(0, 1), 20);
    assert_eq!(inferred(1, 2), 20);
    assert_eq!(inferred(2, 0), 20);
    assert!(!objects[1].alive);
    assert_eq!(ledger.resource_version, "9");
}

#[test]
fn a_name_used_again_is_another_object() {
    let mut ledger = ledger();
    ledger
        .event(&line("ADDED", &pod(1, 1, &json!({}))), 1)
        .unwrap();
    ledger
        .event(&line("DELETED", &pod(1, 2, &json!({}))), 2)
        .unwrap();
    let mut again = pod(1, 3, &json!({}));
    again["metadata"]["uid"] = json!("some-other-uid");
    ledger.event(&line("ADDED", &again), 3).unwrap();
    assert_eq!((ledger.counts().seen, ledger.counts().alive), (2, 1));
    assert_eq!(ledger.objects(1..2)[0].uid, "some-other-uid");
}

#[test]
fn garbage_changes_nothing() {
    let mut ledger = ledger();
    let good = line("ADDED", &pod(1, 1, &json!({})));
    let mut lines: Vec<Vec<u8>> = (0..good.len()).map(|end| good[..end].to_vec()).collect();
    lines.extend([
        b"null".to_vec(),
        b"[]".to_vec(),
        b"{}".to_vec(),
        b"\xff\xfe".to_vec(),
        [&good[..], b"x"].concat(),
        line("NEWS", &pod(1, 1, &json!({}))),
        line("ADDED", &json!(3)),
        line("ADDED", &json!({"metadata": {"uid": uid(1)}})),
        br#"{"object":{}}"#.to_vec(),
        br#"{"type":7,"object":{}}"#.to_vec(),
        br#"{"type":"ERROR","object":7}"#.to_vec(),
        "[".repeat(100_000).into_bytes(),
        format!(
            r#"{{"type":"ADDED","object":{}"#,
            r#"{"status":"#.repeat(100_000)
        )
        .into_bytes(),
    ]);
    for line in lines {
        let result = ledger.event(&line, 1);
        assert!(
            matches!(result, Err(LineError::Garbage(_))),
            "{result:?}: {}",
            String::from_utf8_lossy(&line[..line.len().min(300)])
        );
    }
    assert_eq!(ledger.counts().seen, 0);
    assert_eq!(ledger.resource_version, "");
    for page in [
        &b"{}"[..],
        b"null",
        b"{\"items\":7}",
        b"{\"metadata\":{},\"items\":[]}",
    ] {
        assert!(ledger.page(page, 1, Origin::Initial).is_err());
    }
    assert!(
        ledger
            .page(
                br#"{"metadata":{"resourceVersion":"4"},"items":null}"#,
                1,
                Origin::Initial
            )
            .is_ok()
    );
}

#[test]
fn the_keys_of_an_event_stand_in_any_order() {
    let mut ledger = ledger();
    let object = pod(1, 1, &conditions("True"));
    let line = format!(r#" {{ "object": {object}, "more": [1], "type": "ADDED" }} "#);
    ledger.event(line.as_bytes(), 1).unwrap();
    assert_eq!(ledger.counts().reached, [1, 1, 0]);
}

#[test]
fn errors_of_the_server_are_told_apart() {
    let mut ledger = ledger();
    for (object, expected) in [
        (
            json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}),
            410,
        ),
        (
            json!({"reason": "Gone", "message": "a \"quoted\" word"}),
            410,
        ),
        (json!({"code": 403, "reason": "Forbidden"}), 403),
        (json!({}), 0),
    ] {
        match ledger.event(&line("ERROR", &object), 1) {
            Err(LineError::Status { code, message }) => {
                assert_eq!(code, expected);
                assert_eq!(message, object["message"].as_str().unwrap_or_default());
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn bookmarks_only_move_the_revision() {
    let mut ledger = ledger();
    let bookmark = json!({"kind": "Pod", "metadata": {"resourceVersion": "77"}});
    ledger.event(&line("BOOKMARK", &bookmark), 1).unwrap();
    assert_eq!(ledger.resource_version, "77");
    assert_eq!(
        (
            ledger.counts().bookmarks,
            ledger.counts().seen,
            ledger.counts().events
        ),
        (1, 0, 0)
    );
}

#[test]
fn the_ledger_has_a_limit() {
    let options = TrackOptions {
        max_objects: 2,
        max_capture_bytes: 10,
        ..TrackOptions::default()
    };
    let mut spec = pods();
    spec.capture = vec!["/metadata/name".into()];
    let mut ledger = Ledger::new(&spec, &options).unwrap();
    ledger
        .event(&line("ADDED", &pod(1, 1, &json!({}))), 1)
        .unwrap();
    ledger
        .event(&line("ADDED", &pod(2, 1, &json!({}))), 1)
        .unwrap();
    assert_eq!(ledger.counts().captures_dropped, 1);
    let result = ledger.event(&line("ADDED", &pod(3, 1, &json!({}))), 1);
    assert!(matches!(
        result,
        Err(LineError::Limit(TrackError::TooManyObjects {
            limit: 2,
            ..
        }))
    ));
    ledger
        .event(&line("MODIFIED", &pod(2, 1, &json!({}))), 1)
        .unwrap();
}

#[test]
fn paths_lead_to_every_kind_of_place() {
    let object = json!({
        "metadata": {"name": "x", "namespace": "ns", "uid": "u"},
        "a/b": {"~": 1},
        "list": [10, {"k": 7, "v": "seven"}, [1, 2], {"k": true, "v": "yes"}, {"k": "q\"", "v": "quote"}],
        "map": {"0": "zero", "01": "zero-one"},
        "nothing": null,
        "odd": "text where an object should be",
    });
    for (path, expected) in [
        ("/a~1b/~0", Some("1")),
        ("/list/0", Some("10")),
        ("/list/2/1", Some("2")),
        ("/list/9", None),
        ("/list/01", None),
        ("/list/[k=7]/v", Some("\"seven\"")),
        ("/list/[k=true]/v", Some("\"yes\"")),
        ("/list/[k=q\"]/v", Some("\"quote\"")),
        ("/list/[k=q\"]", Some(r#"{"k":"q\"","v":"quote"}"#)),
        ("/list/[k=8]/v", None),
        ("/map/0", Some("\"zero\"")),
        ("/map/01", Some("\"zero-one\"")),
        ("/nothing", None),
        ("/nothing/at/all", None),
        ("/odd/field", None),
        ("/odd/[k=v]/field", None),
        ("/map/[k=v]", None),
        ("", Some(&*object.to_string())),
    ] {
        let mut spec = pods();
        // Beside it what contains it, so that wholes and parts are wanted at once.
        spec.capture = vec![path.into(), "/list".into(), "/map".into()];
        let mut ledger = Ledger::new(&spec, &TrackOptions::default()).unwrap();
        ledger.event(&line("ADDED", &object), 1).unwrap();
        let record = &ledger.objects(0..1)[0];
        assert_eq!(record.captures[0].as_deref(), expected, "{path}");
        assert_eq!(
            record.captures[2].as_deref(),
            Some(&*object["map"].to_string())
        );
    }
}
