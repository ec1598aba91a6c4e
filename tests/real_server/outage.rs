//! A server that is away, or stands still.

use std::{
    thread,
    time::{Duration, Instant},
};

use kperf_control_plane::Options;
use kperf_tests::{kperf, start_until_first_interval, wait};
use serde_json::{Value, json};

use crate::{arguments, counter, errors, started, text, until};

fn number(report: &Value, name: &str) -> u64 {
    report["overall"][name].as_u64().expect("a number")
}

/// Every arrival that came due was sent or dropped, and all that was sent has an end.
#[track_caller]
fn nothing_is_lost(report: &Value, arrivals: u64) {
    let (sent, dropped) = (number(report, "sent"), counter(report, "dropped"));
    assert_eq!(counter(report, "intended"), arrivals, "{report:#}");
    assert_eq!(sent + dropped, arrivals, "{report:#}");
    let ended = number(report, "succeeded") + number(report, "failed");
    assert_eq!(ended, sent, "{report:#}");
    assert!(counter(report, "late") <= sent, "{report:#}");
}

#[test]
fn a_restart_in_the_middle_loses_no_measurement() {
    const RATE: u64 = 50;
    const DURATION: Duration = Duration::from_secs(25);
    let kperf = kperf!();
    let options = Options::api_server().own();
    let Some(mut plane) = started("a restart of the API server", options) else {
        return;
    };
    let kubeconfig = plane.kubeconfig();
    let load = format!("--rate {RATE} --duration {DURATION:?} --conns 2 --client 8");
    let mut child = start_until_first_interval(kperf.command(&arguments(
        "quorum_list version=v1 resource=namespaces",
        &["--kubeconfig", text(&kubeconfig)],
        &load,
    )));
    let killed = Instant::now();
    plane.kill_api_server().unwrap();
    thread::sleep(Duration::from_secs(1));
    plane.start_api_server().unwrap();
    let away = killed.elapsed();
    let status = wait(&mut child, Duration::from_secs(120)).expect("an end in time");
    assert_eq!(status.code(), Some(0));
    let report = kperf.json("r.json");
    nothing_is_lost(&report, RATE * DURATION.as_secs());
    assert!(number(&report, "failed") > 0, "{report:#}");
    // Load flows before and again after: of what came due meanwhile, half at least had to succeed.
    let served = DURATION.saturating_sub(away);
    assert!(
        number(&report, "succeeded") >= RATE * served.as_secs() / 2,
        "away for {away:?}: {report:#}"
    );
    for (key, _) in errors(&report) {
        // While it starts, a server may also refuse or not yet know its user.
        let is_known = ["connection/", "http/"]
            .iter()
            .any(|class| key.starts_with(class));
        assert!(is_known, "{key}");
    }
    assert!(counter(&report, "redials") >= 2, "{report:#}");
}

#[test]
fn a_paused_etcd_shows_in_the_latency() {
    let kperf = kperf!();
    let Some(plane) = started("a paused etcd", Options::api_server().own()) else {
        return;
    };
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm-0"}});
    let configmaps = "/api/v1/namespaces/default/configmaps";
    let client = plane.client().unwrap();
    until(|| client.post(configmaps, &object).unwrap().success().ok());
    let kubeconfig = plane.kubeconfig();
    let mut child = start_until_first_interval(kperf.command(&arguments(
        "put version=v1 resource=configmaps namespace=default name=cm keySpaceSize=1 payloadSize=16",
        &["--kubeconfig", text(&kubeconfig)],
        "--rate 20 --duration 8s --conns 1 --client 64",
    )));
    plane.pause_etcd().unwrap();
    thread::sleep(Duration::from_secs(2));
    plane.resume_etcd().unwrap();
    let status = wait(&mut child, Duration::from_secs(120)).expect("an end in time");
    assert_eq!(status.code(), Some(0));
    let report = kperf.json("r.json");
    nothing_is_lost(&report, 160);
    // Clients enough for all that came due in the pause.
    assert_eq!(number(&report, "sent"), 160, "{report:#}");
    let slowest = report["overall"]["service_time"]["percentiles_ns"]["p100"]
        .as_u64()
        .unwrap();
    assert!(slowest > 1_500_000_000, "{report:#}");
}
