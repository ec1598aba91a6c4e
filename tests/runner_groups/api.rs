//! The way through the API without a cluster: the group is made in the simulator, which runs no processes, and the test
//! is the kubelet.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kperf_control_plane::Client;
use kperf_tests::{Kperf, Ran, SimServer, Started, kperf, wait};
use serde_json::Value;

use crate::{mixed, starts};

const NAMESPACE: &str = "/api/v1/namespaces/runnergroups-kperf-io";

fn get(client: &Client, path: &str) -> Value {
    client.get(path).unwrap().success().unwrap().json()
}

/// The files that a pod's projected volume would have.
fn mounted(kperf: &Kperf, client: &Client, group: &str) -> PathBuf {
    let job = get(
        client,
        &format!("/apis/batch/v1/namespaces/runnergroups-kperf-io/jobs/{group}"),
    );
    let folder = kperf.path("mounted");
    fs::create_dir_all(&folder).unwrap();
    let volumes = &job["spec"]["template"]["spec"]["volumes"];
    for source in volumes[0]["projected"]["sources"].as_array().unwrap() {
        let name = source["configMap"]["name"].as_str().unwrap();
        let config_map = get(client, &format!("{NAMESPACE}/configmaps/{name}"));
        for (key, text) in config_map["data"].as_object().into_iter().flatten() {
            fs::write(folder.join(key), text.as_str().unwrap()).unwrap();
        }
        for (key, text) in config_map["binaryData"].as_object().into_iter().flatten() {
            let bytes = STANDARD.decode(text.as_str().unwrap()).unwrap();
            fs::write(folder.join(key), bytes).unwrap();
        }
    }
    folder
}

/// Starts one runner as its pod would.
fn runner(kperf: &Kperf, server: &SimServer, from: &Path, group: &str, index: u32) -> Started {
    let work = kperf.path(&format!("work-{index}"));
    let mut command = kperf.command(&["runner", "pod", "-v=2", "--from"]);
    command
        .arg(from)
        .arg("--work")
        .arg(work)
        .args(["--store", &format!("kube:runnergroups-kperf-io/{group}")])
        .args([
            "--name",
            &format!("{group}-{index}-abcde"),
            "--node",
            "here",
        ])
        .args(["--kubeconfig", server.kubeconfig()])
        .env("JOB_COMPLETION_INDEX", index.to_string())
        .stdout(Stdio::null())
        .stderr(fs::File::create(kperf.path(&format!("{index}.log"))).unwrap());
    Started::new(command.spawn().unwrap())
}

fn rg(kperf: &Kperf, server: &SimServer, words: &[&str]) -> Ran {
    let head = ["rg", "--kubeconfig", server.kubeconfig()];
    kperf.run(&[&head, words].concat())
}

/// A pod that never runs keeps nobody waiting: not its siblings, and not who asks for the result.
#[test]
fn a_runner_that_never_comes_is_not_waited_for() {
    let kperf = kperf!();
    let server = kperf.sim(&[]);
    let client = Client::from_kubeconfig(&server.kubeconfig).unwrap();
    mixed(&kperf, |text| {
        text.replace("name: mixed", "name: pending")
            .replace("count: 5", "count: 2")
            .replace("readyTimeout: 60", "readyTimeout: 2")
            .replace("total: 200", "total: 40")
    });
    let rg = |words: &[&str]| rg(&kperf, &server, words);
    // No node is like that, so the simulator leaves the pods alone.
    let run = [
        "run",
        "--runner-image=x",
        "--affinity=no=node",
        "--runnergroup=mixed.yaml",
    ];
    rg(&run).expect(0);
    // Nothing is there yet, and the time is over: that is said, and is no reason to hang.
    rg(&["result", "pending", "--timeout=1s"]).expect(1).says(&[
        "what there is by now is merged",
        "no runner of group pending has a report",
    ]);
    let from = mounted(&kperf, &client, "pending");
    let mut only = runner(&kperf, &server, &from, "pending", 1);
    let status = wait(&mut only, Duration::from_secs(100)).expect("an end in time");
    let log = fs::read_to_string(kperf.path("1.log")).unwrap();
    assert!(status.success(), "{status}\n{log}");
    let result = rg(&["result", "--timeout=0", "--output", "json=whole.json"]).expect(1);
    result.says(&[
        "runner pending-0 is missing: was never ready",
        "1 of 2 runners of group pending are missing",
    ]);
    assert_eq!(kperf.json("whole.json")["overall"]["sent"], 40);
    rg(&["result", "--raw-data"])
        .expect(1)
        .says(&["was run without --raw-data"]);
}

#[test]
fn runners_meet_and_report_through_the_api() {
    let kperf = kperf!();
    let server = kperf.sim(&[]);
    let client = Client::from_kubeconfig(&server.kubeconfig).unwrap();
    mixed(&kperf, |text| {
        text.replace("name: mixed", "name: carried")
            .replace("count: 5", "count: 3")
            .replace("total: 200", "total: 80")
    });
    let rg = |words: &[&str]| rg(&kperf, &server, words);
    rg(&["run", "--runner-image=x", "--runnergroup=mixed.yaml"])
        .expect(0)
        .says(&["runner group carried is made"]);
    rg(&["run", "--runner-image=x", "--runnergroup=mixed.yaml"])
        .expect(2)
        .says(&["there is a runner group carried"]);
    rg(&["result", "carried", "--wait=false"])
        .expect(1)
        .says(&["runner carried-0 is missing: has no report yet"]);

    let from = mounted(&kperf, &client, "carried");
    let mut running: Vec<_> = (0..3)
        .map(|index| runner(&kperf, &server, &from, "carried", index))
        .collect();
    for (index, child) in running.iter_mut().enumerate() {
        let status = wait(child, Duration::from_secs(100)).expect("an end in time");
        let log = fs::read_to_string(kperf.path(&format!("{index}.log"))).unwrap();
        assert!(status.success(), "{status}\n{log}");
        assert!(log.contains("3 of 3 runners start in"), "{log}");
    }
    let result = rg(&["result", "--output", "json=whole.json"]).expect(0);
    assert!(
        result.stdout.contains("3 runner(s), start skew"),
        "{}",
        result.stdout
    );
    let whole = kperf.json("whole.json");
    assert_eq!(whole["overall"]["sent"], 240);
    assert_eq!(whole["overall"]["failed"], 0, "{whole:#}");
    starts(&whole, 3);
    for index in 0..3 {
        let mailbox = get(
            &client,
            &format!("{NAMESPACE}/configmaps/carried.runner-{index}"),
        );
        let mail: Value = serde_json::from_str(mailbox["data"]["mail"].as_str().unwrap()).unwrap();
        // One clock for all.
        let ahead = mail["clock_ahead_ms"].as_i64().unwrap();
        assert!(ahead.abs() < 60_000, "{mail}");
    }
    let status = rg(&["status", "-o", "json"]).expect(0);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status[0]["reported"], 3, "{status:#}");

    // A component that was changed on its way is not run.
    let part = fs::read_dir(&from)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_str().unwrap().contains(".wasm.gz."))
        .unwrap();
    let bytes = fs::read(&part).unwrap();
    fs::write(&part, &bytes[..bytes.len() / 2]).unwrap();
    let mut damaged = runner(&kperf, &server, &from, "carried", 1);
    let status = wait(&mut damaged, Duration::from_secs(60)).expect("an end in time");
    assert!(!status.success());
    rg(&["result"]).expect(1).says(&[
        "runner carried-1-abcde on here is missing: ",
        "did not arrive as it was sent",
    ]);

    rg(&["delete"]).expect(0);
    let left = get(
        &client,
        "/api/v1/configmaps?labelSelector=kperf-host.io%2Frunner-group",
    );
    assert_eq!(left["items"].as_array().unwrap().len(), 0);
    assert_eq!(client.get(NAMESPACE).unwrap().status, 404);
    rg(&["status"]).expect(0);
}
