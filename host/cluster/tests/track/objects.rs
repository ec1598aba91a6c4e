//! Specs and objects the tests share.

use std::time::{Duration, Instant};

use kperf_cluster::track::{Check, Milestone, Op, TrackError, TrackOptions, TrackSpec, Tracker};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

pub(crate) const SEEN: usize = 0;
pub(crate) const READY: usize = 1;
pub(crate) const GONE: usize = 2;

/// Things are ready when `data.phase` is `ready`.
pub(crate) fn configmaps() -> TrackSpec {
    let kind = GroupVersionKind::gvk("", "v1", "ConfigMap");
    let mut spec = TrackSpec::new("things", ApiResource::from_gvk(&kind), true);
    spec.namespace = Some("ns-0".into());
    spec.milestones = vec![
        Milestone {
            name: "seen".into(),
            api_time: Some("/metadata/creationTimestamp".into()),
            ..Milestone::default()
        },
        Milestone {
            name: "ready".into(),
            checks: vec![Check::new("/data/phase", Op::Equals, "ready")],
            api_time: Some("/data/at".into()),
            ..Milestone::default()
        },
        Milestone {
            name: "gone".into(),
            deleted: true,
            ..Milestone::default()
        },
    ];
    spec
}

/// As real, in less time.
pub(crate) fn quick() -> TrackOptions {
    TrackOptions {
        first_backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(20),
        refusal_grace: Duration::from_millis(100),
        ..TrackOptions::default()
    }
}

/// Far away: tests that come so far fail.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

pub(crate) fn config(url: &str) -> kube::Config {
    kube::Config::new(url.parse().unwrap())
}

pub(crate) async fn start(url: &str, spec: &TrackSpec) -> Result<Tracker, TrackError> {
    Tracker::start(config(url), spec, &quick(), Instant::now()).await
}

pub(crate) fn object(name: &str, version: u32, phase: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "ns-0", "uid": format!("uid-of-{name}"),
            "resourceVersion": version.to_string(), "creationTimestamp": "2026-01-02T03:04:05Z",
        },
        "data": {"phase": phase, "at": "2026-01-02T03:04:07Z"},
    })
}

pub(crate) fn event(kind: &str, name: &str, version: u32, phase: &str) -> String {
    format!(
        "{}\n",
        json!({"type": kind, "object": object(name, version, phase)})
    )
}

pub(crate) fn bookmark(version: u32) -> String {
    let object = json!({"metadata": {"resourceVersion": version.to_string()}});
    format!("{}\n", json!({"type": "BOOKMARK", "object": object}))
}

pub(crate) fn page(objects: &[Value], version: u32, next: &str) -> String {
    let metadata = json!({"resourceVersion": version.to_string(), "continue": next});
    json!({"kind": "ConfigMapList", "metadata": metadata, "items": objects}).to_string()
}

pub(crate) fn status(code: u16, message: &str) -> String {
    json!({"kind": "Status", "code": code, "message": message}).to_string()
}
