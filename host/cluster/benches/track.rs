//! What does it cost to track 10 000 objects through 4 milestones?
//!
//! Takes pods and virtual machine instances, as large as real ones (with managedFields), through created,
//! scheduled, running and gone, and gives every event to the ledger as it stands on a watch. Prints the CPU
//! time of this thread per event and the bytes on the heap per object beside the bars (10 µs and 1 KB).
//!
//! Run: `cargo bench -p kperf-cluster --bench track`.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints its numbers and has nobody to report an error to"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use kperf_cluster::track::{Check, Ledger, Milestone, Op, TrackOptions, TrackSpec};
use kube::core::{ApiResource, GroupVersionKind};
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

const OBJECTS: usize = 10_000;
const BAR_US_PER_EVENT: f64 = 10.0;
const BAR_BYTES_PER_OBJECT: f64 = 1024.0;

/// The system's allocator, with a count of bytes in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

#[allow(
    unsafe_code,
    reason = "an allocator is unsafe to be one; this only adds and passes on"
)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as our caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// CPU time of this thread.
fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map(Duration::from)
        .expect("the clock of this thread")
}

fn condition(name: &str, status: &str) -> Value {
    json!({"lastProbeTime": null, "lastTransitionTime": "2026-01-02T03:04:06Z", "status": status, "type": name})
}

/// Who wrote which fields: half of what a real object weighs.
fn managed_fields(entries: usize) -> Value {
    let fields = json!({
        "f:metadata": {"f:annotations": {".": {}, "f:kubernetes.io/config.seen": {}}, "f:labels": {".": {}, "f:app": {}, "f:pod-template-hash": {}}},
        "f:spec": {"f:containers": {"k:{\"name\":\"main\"}": {".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:resources": {}, "f:terminationMessagePath": {}}}},
        "f:status": {"f:conditions": {"k:{\"type\":\"Ready\"}": {".": {}, "f:lastProbeTime": {}, "f:lastTransitionTime": {}, "f:status": {}, "f:type": {}}}},
    });
    (0..entries)
        .map(|i| json!({"apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields, "manager": format!("manager-{i}"), "operation": "Update", "time": "2026-01-02T03:04:06Z"}))
        .collect()
}

fn metadata(kind: &str, i: usize, version: usize, managers: usize) -> Value {
    json!({
        "annotations": {"kubernetes.io/config.seen": "2026-01-02T03:04:05.123456789Z", "kubernetes.io/config.source": "api"},
        "creationTimestamp": "2026-01-02T03:04:05Z", "generateName": format!("{kind}-"),
        "labels": {"app": kind, "pod-template-hash": "5d59d67564"},
        "managedFields": managed_fields(managers), "name": format!("{kind}-{i:05}-5d59d67564-x{i:05}"), "namespace": format!("ns-{}", i % 20),
        "ownerReferences": [{"apiVersion": "apps/v1", "blockOwnerDeletion": true, "controller": true, "kind": "ReplicaSet", "name": format!("{kind}-5d59d67564"), "uid": "f9c4f7a2-93cc-4a4e-a3f1-0242ac110002"}],
        "resourceVersion": version.to_string(), "uid": format!("6f0d0a5e-0000-4000-8000-{i:012x}"),
    })
}

/// A pod at a stage of its life: created, scheduled, running, about to go.
fn pod(i: usize, stage: usize, version: usize) -> Value {
    let yes = |at: usize| if stage >= at { "True" } else { "False" };
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata("web", i, version, 2),
        "spec": {"containers": [{"image": "registry.example.com/team/web:1.27.3", "imagePullPolicy": "IfNotPresent", "name": "main", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}, "volumeMounts": [{"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "name": "kube-api-access", "readOnly": true}]}],
            "nodeName": format!("node-{}", i % 100), "restartPolicy": "Always", "schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 30},
        "status": {"conditions": [condition("PodReadyToStartContainers", yes(2)), condition("Initialized", "True"), condition("Ready", yes(2)), condition("ContainersReady", yes(2)), condition("PodScheduled", yes(1))],
            "hostIP": "10.0.0.1", "phase": if stage >= 2 { "Running" } else { "Pending" }, "podIP": "10.1.2.3", "qosClass": "Burstable", "startTime": "2026-01-02T03:04:05Z"},
    })
}

/// A virtual machine instance at a stage of its life.
fn vmi(i: usize, stage: usize, version: usize) -> Value {
    let phases = ["Pending", "Scheduled", "Running", "Running"];
    let times: Vec<_> = phases[..=stage.min(2)]
        .iter()
        .map(|phase| json!({"phase": phase, "phaseTransitionTimestamp": "2026-01-02T03:04:07Z"}))
        .collect();
    json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": metadata("vmi", i, version, 3),
        "spec": {"domain": {"cpu": {"cores": 1, "model": "host-model", "sockets": 1, "threads": 1}, "devices": {"disks": [{"disk": {"bus": "virtio"}, "name": "root"}], "interfaces": [{"masquerade": {}, "name": "default"}]}, "firmware": {"uuid": "5d307ca9-b3ef-428c-8861-06e72d69f223"}, "machine": {"type": "q35"}, "resources": {"requests": {"memory": "128Mi"}}},
            "networks": [{"name": "default", "pod": {}}], "volumes": [{"containerDisk": {"image": "registry.example.com/cirros:1.0"}, "name": "root"}]},
        "status": {"activePods": {"2f5bd5c1-1ed4-4e1a-9a2f-8f6a0f8a0c4e": "node-1"}, "conditions": [condition("Ready", if stage >= 2 { "True" } else { "False" }), condition("LiveMigratable", "True")],
            "nodeName": format!("node-{}", i % 100), "phase": phases[stage], "phaseTransitionTimestamps": times, "qosClass": "Burstable"},
    })
}

fn milestone(name: &str, checks: Vec<Check>, api_time: &str) -> Milestone {
    Milestone {
        name: name.into(),
        checks,
        deleted: false,
        api_time: Some(api_time.into()),
    }
}

fn gone() -> Milestone {
    Milestone {
        name: "gone".into(),
        deleted: true,
        ..Milestone::default()
    }
}

fn pods() -> TrackSpec {
    let kind = GroupVersionKind::gvk("", "v1", "Pod");
    let mut spec = TrackSpec::new("pods", ApiResource::from_gvk(&kind), true);
    let is_true = |name: &str| {
        let path = format!("/status/conditions/[type={name}]/");
        let check = Check::new(format!("{path}status"), Op::Equals, "True");
        milestone(name, vec![check], &format!("{path}lastTransitionTime"))
    };
    spec.milestones = vec![
        milestone("created", vec![], "/metadata/creationTimestamp"),
        is_true("PodScheduled"),
        is_true("Ready"),
        gone(),
    ];
    spec.capture = vec!["/spec/nodeName".into()];
    spec
}

fn vmis() -> TrackSpec {
    let kind = GroupVersionKind::gvk("kubevirt.io", "v1", "VirtualMachineInstance");
    let mut spec = TrackSpec::new("vmis", ApiResource::from_gvk(&kind), true);
    let phase = |phases: &[&str]| {
        milestone(
            phases[0],
            vec![Check::new("/status/phase", Op::OneOf, json!(phases))],
            &format!(
                "/status/phaseTransitionTimestamps/[phase={}]/phaseTransitionTimestamp",
                phases[0]
            ),
        )
    };
    spec.milestones = vec![
        milestone("created", vec![], "/metadata/creationTimestamp"),
        phase(&["Scheduled", "Running"]),
        phase(&["Running"]),
        gone(),
    ];
    spec.capture = vec!["/status/nodeName".into()];
    spec
}

fn main() {
    for (what, spec, object) in [
        ("pods", pods(), pod as fn(usize, usize, usize) -> Value),
        ("virtual machine instances", vmis(), vmi),
    ] {
        let mut ledger = Ledger::new(&spec, &TrackOptions::default()).expect("spec");
        let before = IN_USE.load(Ordering::Relaxed);
        let (mut spent, mut bytes, mut events) = (Duration::ZERO, 0, 0);
        for (stage, kind) in ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
            .iter()
            .enumerate()
        {
            // A thousand lines at a time, which no cache of a processor holds.
            for block in 0..OBJECTS / 1000 {
                let lines: Vec<Vec<u8>> = (0..1000)
                    .map(|i| {
                        let object = object(block * 1000 + i, stage, events + i);
                        format!("{{\"type\":\"{kind}\",\"object\":{object}}}").into_bytes()
                    })
                    .collect();
                let begin = cpu();
                for line in &lines {
                    ledger.event(line, 1).expect("an event");
                }
                spent += cpu().saturating_sub(begin);
                bytes += lines.iter().map(Vec::len).sum::<usize>();
                events += lines.len();
            }
        }
        let heap = IN_USE.load(Ordering::Relaxed).saturating_sub(before);
        let counts = ledger.counts();
        assert_eq!(counts.reached, [OBJECTS as u64; 4]);
        let us = spent.as_secs_f64() * 1e6 / events as f64;
        let per_object = heap as f64 / OBJECTS as f64;
        println!(
            "{what}: {events} events of {} bytes, {OBJECTS} objects x 4 milestones: {us:.2} us CPU per event ({:.2} of the bar of {BAR_US_PER_EVENT} us, {:.0} MB/s), {per_object:.0} bytes per object ({:.2} of the bar of {BAR_BYTES_PER_OBJECT})",
            bytes / events,
            us / BAR_US_PER_EVENT,
            bytes as f64 / 1e6 / spent.as_secs_f64(),
            per_object / BAR_BYTES_PER_OBJECT,
        );
    }
}
