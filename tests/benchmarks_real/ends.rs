//! Runs that are interrupted, killed, or lose their API server for a while.

use std::{
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use kperf_tests::{
    Kperf,
    benchmark::{distribution, watch_propagation},
    kperf, wait,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    Plane,
    density::{PHASES, arguments, numbers},
    plane,
};

fn start(kperf: &Kperf, arguments: &[String]) -> Child {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = kperf.command(&arguments);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

const INSTANCES: &str = "/apis/kubevirt.io/v1/virtualmachineinstances?resourceVersion=0";

/// Waits until a list has so many objects.
#[track_caller]
fn until(plane: &mut Plane, list: &str, count: usize) {
    let client = plane.get().client().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    let there = || {
        let list = client.get(list).unwrap().json();
        list["items"].as_array().map_or(0, Vec::len)
    };
    while there() < count {
        assert!(Instant::now() < end, "not {count} of {list} in a minute");
        thread::sleep(Duration::from_millis(20));
    }
}

/// How many objects have a time, and how many have none.
fn counts(distribution: &Value) -> (u64, u64) {
    let count = distribution["times"]["count"].as_u64().unwrap();
    (count, distribution["missing"].as_u64().unwrap())
}

#[test]
fn nothing_is_left_after_a_signal() {
    let kperf = kperf!();
    let Some(mut plane) = plane("signals") else {
        return;
    };
    let kubeconfig = plane.kubeconfig();
    let arguments = arguments(&kperf, &kubeconfig);
    // While the first are created, in the middle, and while the last become ready or the first are deleted.
    for count in [1, 50, 100] {
        let mut child = start(&kperf, &arguments);
        until(&mut plane, INSTANCES, count);
        kill(
            Pid::from_raw(i32::try_from(child.id()).unwrap()),
            Signal::SIGINT,
        )
        .unwrap();
        let told = Instant::now();
        let status = wait(&mut child, Duration::from_secs(120)).expect("an end in time");
        println!(
            "SIGINT at {count} instances: over after {:?}",
            told.elapsed()
        );
        assert_eq!(status.code(), Some(130), "at {count} instances");
        plane.assert_nothing_labelled();
        kperf.assert_clean(&kubeconfig, None);
    }

    let mut child = start(&kperf, &arguments);
    until(&mut plane, INSTANCES, 40);
    child.kill().unwrap();
    child.wait().unwrap();
    let listed = kperf
        .run(&["cleanup", "--list", "--kubeconfig", &kubeconfig])
        .expect(0);
    let run = listed.stdout.split('\t').next().unwrap().to_owned();
    assert!(run.starts_with('r'), "{listed:?}");
    let cleaned = kperf
        .run(&["cleanup", "--run", &run, "--kubeconfig", &kubeconfig])
        .expect(0);
    println!("SIGKILL: {}", cleaned.stderr);
    cleaned.says(&["deleted", "virtualmachineinstances"]);
    plane.assert_nothing_labelled();
    kperf.assert_clean(&kubeconfig, Some(&run));
}

#[test]
fn a_restart_of_the_server_loses_no_object() {
    let kperf = kperf!();
    let Some(mut plane) = plane("a restart of the API server") else {
        return;
    };
    let kubeconfig = plane.kubeconfig();
    let mut child = start(&kperf, &arguments(&kperf, &kubeconfig));
    until(&mut plane, INSTANCES, 40);
    plane.get().kill_api_server().unwrap();
    let killed = Instant::now();
    thread::sleep(Duration::from_secs(1));
    plane.get().start_api_server().unwrap();
    println!("the API server was away for {:?}", killed.elapsed());
    let status = wait(&mut child, Duration::from_secs(180)).expect("an end in time");
    let report = kperf.json("r.json");
    assert_eq!(status.code(), Some(0), "{report:#}");

    // Every object was created once, went through every phase, and went.
    let created = &report["phases"][0]["overall"];
    assert_eq!(created["succeeded"], 100, "{created:#}");
    let table = &report["objects"][0];
    let milestone = |name: &str| {
        let milestones = table["milestones"].as_array().unwrap();
        milestones.iter().find(|m| m["name"] == name).unwrap()
    };
    for name in PHASES.into_iter().chain(["deleted"]) {
        let received = numbers(&milestone(name)["received_ns"]);
        assert_eq!(received.len(), 100, "{name}");
        assert!(received.iter().all(|ns| *ns > 0), "{name}");
    }
    // What became known only after the server was back has no time of receipt, and is counted as such.
    for phase in PHASES {
        let (count, missing) = counts(distribution(&report, &format!("sent_to_{phase}")));
        println!("{phase}: {count} with a time of receipt, {missing} without");
        assert_eq!(count + missing, 100, "{phase}");
        assert!(count > 0, "{phase}");
    }
    let metrics = report["metrics"].as_array().unwrap();
    let reconnects = metrics.iter().find(|m| m["name"] == "watch_reconnects");
    assert!(
        reconnects.unwrap()["value"].as_f64() >= Some(1.0),
        "{metrics:#?}"
    );
    // The objects' own times do not depend on who watches.
    let whole = distribution(&report, "created_to_running");
    assert_eq!(counts(whole), (100, 0));
    plane.assert_nothing_labelled();
    kperf.assert_clean(&kubeconfig, None);
}

/// The same with requests in flight whose fate nobody can tell when the server dies, and with one that ends in its
/// own way.
#[test]
fn no_creation_is_lost_or_made_twice() {
    let kperf = kperf!();
    let component = watch_propagation();
    let Some(mut plane) = plane("a restart amid creations") else {
        return;
    };
    let kubeconfig = plane.kubeconfig();
    for gracefully in [false, true] {
        let words = [
            "run",
            "--plugin",
            component.to_str().unwrap(),
            "--set",
            "objects=1000",
            "--set",
            "ratePerSecond=200",
            "--kubeconfig",
            &kubeconfig,
            "--output",
            "json=r.json",
        ];
        let mut child = start(&kperf, &words.map(str::to_owned));
        let created = "/api/v1/configmaps?labelSelector=watched%3Dtrue&resourceVersion=0";
        until(&mut plane, created, 300);
        if gracefully {
            plane.get().stop_api_server().unwrap();
        } else {
            plane.get().kill_api_server().unwrap();
        }
        plane.get().start_api_server().unwrap();
        let status = wait(&mut child, Duration::from_secs(180)).expect("an end in time");
        let report = kperf.json("r.json");
        for phase in report["phases"].as_array().unwrap() {
            println!("{}: {}", phase["name"], phase["overall"]["errors"]);
            assert_eq!(phase["overall"]["succeeded"], 1000, "{phase:#}");
        }
        assert_eq!(status.code(), Some(0), "{report:#}");
        let propagation = distribution(&report, "propagation");
        let (count, missing) = counts(propagation);
        println!("{count} with a time of receipt, {missing} without");
        assert_eq!(count + missing, 1000, "{propagation}");
        plane.assert_nothing_labelled();
        kperf.assert_clean(&kubeconfig, None);
    }
}
