//! Scenarios that end in other ways than their own, and pools that are not theirs.

use std::{
    io::BufRead as _,
    process::{ChildStderr, Stdio},
    sync::mpsc,
    time::Duration,
};

use kperf_control_plane::Client;
use kperf_tests::{Kperf, Ran, SimServer, Started, kperf, wait};

use crate::{assert_clean, assert_no_pool};

/// What a process says, read as it says it.
fn lines_of(stderr: ChildStderr) -> mpsc::Receiver<String> {
    let (line, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for said in std::io::BufReader::new(stderr).lines() {
            let Ok(said) = said else { return };
            line.send(said).ok();
        }
    });
    lines
}

/// Reads until a line has `part`; two minutes of silence, or the end, are too late for it.
#[track_caller]
fn until(lines: &mpsc::Receiver<String>, part: &str, said: &mut String) {
    loop {
        let line = lines
            .recv_timeout(Duration::from_secs(120))
            .unwrap_or_else(|why| panic!("no `{part}`: {why}: {said}"));
        said.push_str(&line);
        said.push('\n');
        if line.contains(part) {
            return;
        }
    }
}

/// A scenario that has done something, what it goes on to say, and what it has said.
fn at_work(kperf: &Kperf, sim: &SimServer) -> (Started, mpsc::Receiver<String>, String) {
    let mut child = Started::new(
        kperf
            .command(&[
                "bench",
                "node10_job1_pod100",
                "--kubeconfig",
                sim.kubeconfig(),
                "--total",
                "100000",
                "--kwok-image=registry.example/kwok:1",
                "--result",
                "result.json",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let lines = lines_of(child.stderr.take().unwrap());
    let mut said = String::new();
    until(&lines, "Jobs completed beside the load", &mut said);
    (child, lines, said)
}

/// Ctrl-C: what was measured is printed, and the nodes are gone.
#[test]
fn an_interrupted_scenario_leaves_nothing() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let (mut child, lines, mut said) = at_work(&kperf, &sim);
    let id = i32::try_from(child.id()).unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(id),
        nix::sys::signal::Signal::SIGINT,
    )
    .unwrap();
    let status = wait(&mut child, Duration::from_secs(60));
    // It has ended, and its stderr with it.
    for line in lines {
        said.push_str(&line);
        said.push('\n');
    }
    let status = status.unwrap_or_else(|| panic!("no end in time: {said}"));
    assert_eq!(status.code(), Some(130), "{said}");
    let whole = kperf.json("result.json");
    assert!(whole["result"]["total"].as_u64().unwrap() > 0, "{whole:#}");
    let ran = Ran {
        code: status.code(),
        stdout: String::new(),
        stderr: said,
    };
    assert_clean(&kperf, &sim, &ran);
}

/// SIGKILL leaves no time for anything: what is left is shown, and goes, nodes and what plays them too.
#[test]
fn a_killed_scenario_is_cleaned_up_after() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let (mut child, _lines, said) = at_work(&kperf, &sim);
    child.kill().unwrap();
    child.wait().unwrap();
    // What plays the nodes is what was asked for.
    let client = Client::from_kubeconfig(&sim.kubeconfig).unwrap();
    let controllers = "/apis/apps/v1/namespaces/virtualnodes-kperf-io/statefulsets";
    let controllers = client.get(controllers).unwrap().text;
    assert!(
        controllers.contains("registry.example/kwok:1"),
        "{controllers}"
    );

    let cleanup = |words: &[&str]| {
        let head = ["cleanup", "--kubeconfig", sim.kubeconfig()];
        kperf.run(&[&head[..], words].concat()).expect(0)
    };
    let listed = cleanup(&["--list"]).stdout;
    let fields: Vec<&str> = listed.trim_end().split('\t').collect();
    let [run, _, left] = fields[..] else {
        panic!("{listed}")
    };
    let left: Vec<&str> = left.split(',').collect();
    assert_eq!(left, ["job1pod100", "nodepool/node10job1pod100"], "{said}");
    cleanup(&["--run", run]).says(&["deleted node pool node10job1pod100 with 10 nodes"]);
    kperf.assert_clean(sim.kubeconfig(), Some(run));
    assert_no_pool(&kperf, &sim);
}

/// As `2>&1 | head -1` does it: what is said is for nobody, and everything else goes on.
#[test]
fn a_closed_stderr_ends_nothing() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let mut child = Started::new(
        kperf
            .command(&[
                // What is logged goes there too.
                "-vv",
                "bench",
                "node10_job1_pod100",
                "--kubeconfig",
                sim.kubeconfig(),
                "--total",
                "20",
                "--result",
                "result.json",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    drop(child.stderr.take());
    let status = wait(&mut child, Duration::from_secs(120)).expect("an end in time");
    assert_eq!(status.code(), Some(0));
    assert_eq!(kperf.json("result.json")["result"]["total"], 20);
    kperf.assert_clean(sim.kubeconfig(), None);
    assert_no_pool(&kperf, &sim);
}

/// Nodes of somebody else are not taken.
#[test]
fn a_pool_of_that_name_is_somebodys() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let pool = |words: &[&str]| {
        let head = ["vc", "nodepool", "--kubeconfig", sim.kubeconfig()];
        let _ = kperf.run(&[&head[..], words].concat()).expect(0);
    };
    pool(&["add", "node10job1pod100", "--nodes", "2"]);
    kperf
        .run(&[
            "bench",
            "node10_job1_pod100",
            "--kubeconfig",
            sim.kubeconfig(),
            "--total",
            "10",
        ])
        .expect(5)
        .says(&["already", "vc nodepool delete node10job1pod100"]);
    pool(&["delete", "node10job1pod100"]);
    assert_no_pool(&kperf, &sim);
}
