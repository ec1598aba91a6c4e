//! Launches in whose middle something ends.

use kperf_tests::kperf;

use crate::{Launch, ORCHESTRATOR, WORLD, count, eventually, keys};

#[test]
fn ctrl_c_keeps_what_was_measured_and_removes_everything() {
    let kperf = kperf!();
    let Some(world) = WORLD.as_ref() else { return };
    let space = "net-ctrl-c";
    let launch = Launch::iperf3(world, kperf, space).with(&["--output", "json=r.json"]);
    let launcher = launch.start();
    world.until_said(space, "[3/6]");
    launcher.signal();
    let (stdout, stderr) = launcher.end(130);
    world.assert_gone(&launch.kperf, space);
    let results = launch.results();
    let (done, cancelled) = (count(&results, 4), count(&results, 7));
    assert!(done >= 2, "{results:#}");
    assert_eq!(done + cancelled, 6, "{results:#}");
    assert_eq!(results["end"], "stopped");
    assert!(stdout.contains("bit/s"), "{stdout}");
    assert!(stderr.contains("asking the orchestrator"), "{stderr}");
    let report = launch.kperf.json("r.json");
    assert!(!report["metrics"].as_array().unwrap().is_empty());
}

#[test]
fn a_second_ctrl_c_gives_up_and_says_what_is_left() {
    let kperf = kperf!();
    let Some(world) = WORLD.as_ref() else { return };
    let space = "net-give-up";
    let launch = Launch::iperf3(world, kperf, space);
    let launcher = launch.start();
    world.until_said(space, "[1/6]");
    launcher.signal();
    // Two at once would be one.
    std::thread::sleep(std::time::Duration::from_millis(200));
    launcher.signal();
    let (_, stderr) = launcher.end(130);
    assert!(stderr.contains("given up"), "{stderr}");
    let namespace = world.get(&format!("/api/v1/namespaces/{space}"));
    let run = namespace["metadata"]["labels"]["kperf-host.io/run"].as_str();
    let admin = world.plane.kubeconfig();
    let words = ["cleanup", "--run", run.unwrap(), "--kubeconfig"];
    let mut command = launch.kperf.command(&words);
    command.arg(&admin);
    kperf_tests::finish(command, crate::NOT_HANGING).expect(0);
    world.assert_gone(&launch.kperf, space);
}

#[test]
fn an_orchestrator_that_dies_goes_on_where_it_was() {
    let kperf = kperf!();
    let Some(world) = WORLD.as_ref() else { return };
    let space = "net-restart";
    let launch = Launch::iperf3(world, kperf, space);
    let launcher = launch.start();
    world.until_said(space, "[3/6]");
    world.kubelet.crash(space, ORCHESTRATOR);
    launcher.end(0);
    world.assert_gone(&launch.kperf, space);
    let results = launch.results();
    assert_eq!(count(&results, 4), 6, "{results:#}");
    let mut keys = keys(&results);
    keys.dedup();
    assert_eq!(keys.len(), 6);
    // Each of the first two began once: it was not measured again.
    let log = world.log(space, ORCHESTRATOR);
    for first in ["[1/6]", "[2/6]"] {
        assert_eq!(log.matches(first).count(), 1, "{log}");
    }
    assert!(log.matches("3 of 3 workers").count() >= 2, "{log}");
}

#[test]
fn workers_that_die_come_back() {
    let kperf = kperf!();
    let Some(world) = WORLD.as_ref() else { return };
    let space = "net-crash";
    let launch = Launch::iperf3(world, kperf, space).with(&["--samples", "2"]);
    let launcher = launch.start();
    world.until_said(space, "[2/12]");
    world.kubelet.crash(space, "kperf-worker-1");
    world.until_said(space, "worker kperf-worker-1 is lost");
    // The task that it was at is lost with it, if there was one.
    let (_, stderr) = end_of_either(launcher);
    world.assert_gone(&launch.kperf, space);
    let results = launch.results();
    let (done, cancelled) = (count(&results, 4), count(&results, 7));
    assert!(
        done >= 10 && done + cancelled == 12,
        "{stderr}\n{results:#}"
    );
    // It measured again after it was back.
    let results = results["results"].as_array().unwrap();
    let later = results.iter().filter(|result| {
        let task = &result["task"];
        result["sample"] == 2 && task["client"]["worker"] == "kperf-worker-1"
    });
    assert_eq!(
        later.filter(|result| result["task"]["status"] == 4).count(),
        2
    );
}

fn end_of_either(mut launcher: crate::Launcher) -> (String, String) {
    let status = kperf_tests::wait(&mut launcher.child, crate::NOT_HANGING);
    let code = status.expect("an end in time").code();
    let (stdout, stderr) = (
        launcher.stdout.join().unwrap(),
        launcher.stderr.join().unwrap(),
    );
    assert!(matches!(code, Some(0 | 1)), "{code:?}\n{stdout}\n{stderr}");
    (stdout, stderr)
}

#[test]
fn the_run_completes_without_a_worker_whose_pod_is_gone() {
    let kperf = kperf!();
    let Some(world) = WORLD.as_ref() else { return };
    let space = "net-gone";
    let launch = Launch::iperf3(world, kperf, space).with(&["--timeout", "30s"]);
    let launcher = launch.start();
    world.until_said(space, "[2/6]");
    let pod = format!("/api/v1/namespaces/{space}/pods/kperf-worker-2");
    world.client().delete(&pod).unwrap().success().unwrap();
    eventually("a worker that is gone", || {
        let log = world.log(space, ORCHESTRATOR);
        let said = "worker kperf-worker-2 is lost";
        log.contains(said).then_some(()).ok_or(log)
    });
    let (_, stderr) = launcher.end(1);
    world.assert_gone(&launch.kperf, space);
    let results = launch.results();
    assert_eq!(results["end"], "complete", "{results:#}");
    let (done, cancelled) = (count(&results, 4), count(&results, 7));
    assert!(done >= 2 && cancelled >= 1, "{results:#}");
    assert_eq!(done + cancelled, 6, "{results:#}");
    // Those without it were all measured.
    let others = results["results"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|result| {
            let task = &result["task"];
            let has = |end: &str| task[end]["worker"] == "kperf-worker-2";
            !has("client") && !has("server")
        });
    assert!(others.clone().all(|result| result["task"]["status"] == 4));
    assert_eq!(others.count(), 2);
    assert!(stderr.contains("lost kperf-worker-2"), "{stderr}");
}

#[test]
fn pods_that_do_not_come_up_say_why() {
    let kperf = kperf!();
    let Some(world) = WORLD.as_ref() else { return };
    let space = "net-no-image";
    let launch = Launch::iperf3(world, kperf, space).with(&[
        "--orch-image",
        "registry.example/kperf-host:1",
        "--timeout",
        "3s",
    ]);
    let mut launch = launch;
    for word in &mut launch.words {
        if word == "registry.example/kperf-host-worker:1" {
            *word = "registry.invalid/kperf-host-worker:1".to_owned();
        }
    }
    let (_, stderr) = launch.start().end(1);
    assert!(stderr.contains("ErrImagePull"), "{stderr}");
    assert!(stderr.contains("kperf-worker-0"), "{stderr}");
    world.assert_gone(&launch.kperf, space);
}
