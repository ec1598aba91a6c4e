//! Runs that are interrupted, killed, or lose their API server for a while.

use std::{
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use kperf_tests::{Kperf, benchmark::distribution, kperf, wait};
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

/// How many instances there are.
fn instances(plane: &mut Plane) -> usize {
    let path = "/apis/kubevirt.io/v1/virtualmachineinstances?resourceVersion=0";
    let list = plane.get().client().unwrap().get(path).unwrap();
    list.json()["items"].as_array().map_or(0, Vec::len)
}

/// Waits until there are so many instances.
#[track_caller]
fn until_instances(plane: &mut Plane, count: usize) {
    let end = Instant::now() + Duration::from_secs(60);
    while instances(plane) < count {
        assert!(Instant::now() < end, "not {count} instances in a minute");
        thread::sleep(Duration::from_millis(20));
    }
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
        until_instances(&mut plane, count);
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
    until_instances(&mut plane, 40);
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
    until_instances(&mut plane, 40);
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
    let of = |found: &Value| {
        let count = found["times"]["count"].as_u64().unwrap();
        (count, found["missing"].as_u64().unwrap())
    };
    // What became known only after the server was back has no time of receipt, and is counted as such.
    for phase in PHASES {
        let (count, missing) = of(distribution(&report, &format!("sent_to_{phase}")));
        println!("{phase}: {count} with a time of receipt, {missing} without");
        assert_eq!(count + missing, 100, "{phase}");
        assert!(count > 0, "{phase}");
    }
    // The objects' own times do not depend on who watches.
    assert_eq!(of(distribution(&report, "created_to_running")), (100, 0));
    plane.assert_nothing_labelled();
    kperf.assert_clean(&kubeconfig, None);
}
