//! Scenarios and warm-ups whose load comes from pods: real kwok plays the pool's nodes, and the kubelet runs kwok and
//! the runners as processes on its own.

use std::{process::Stdio, thread, time::Duration};

use kperf_tests::{Kperf, Started, finish, kperf, wait};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::real::{World, eventually, world};

const NAMESPACE: &str = "runnergroups-kperf-io";
const JOBS: &str = "/apis/batch/v1/namespaces/runnergroups-kperf-io/jobs";

/// Longest that a command may take: the machine may be busy, and its end is what is waited for.
const LIMIT: Duration = Duration::from_secs(300);

/// The Job of a group with a name that begins so, once it is there.
fn job(world: &World, begin: &str) -> Value {
    eventually("there is a group", || {
        let named = |job: &Value| job["metadata"]["name"].as_str().unwrap().starts_with(begin);
        let jobs = world.items(JOBS);
        jobs.into_iter()
            .find(named)
            .ok_or_else(|| "no Job".to_owned())
    })
}

#[track_caller]
fn assert_no_runners(world: &World) {
    for path in [
        "/api/v1/configmaps",
        "/api/v1/pods",
        "/api/v1/serviceaccounts",
        "/apis/batch/v1/jobs",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
    ] {
        let left = world.items(&format!(
            "{path}?labelSelector=kperf-host.io%2Frunner-group"
        ));
        assert_eq!(left, Vec::<Value>::new(), "{path}");
    }
    let namespace = format!("/api/v1/namespaces/{NAMESPACE}");
    assert_eq!(world.client().get(&namespace).unwrap().status, 404);
}

/// A shortened scenario with two runners.
fn scenario<'a>(kperf: &Kperf, kubeconfig: &'a str, total: &'a str) -> std::process::Command {
    let words = "bench node10_job1_pod100 --runner-image kperf-host:test --runner-flowcontrol workload-low:500 \
                 --rg-affinity pool=load --runners 2 --nodes 2 --pods 10 --result result.json \
                 --output json=report.json --total";
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.extend([total, "--kubeconfig", kubeconfig]);
    kperf.command(&words)
}

/// At the same time, as two users would: the namespace goes with the last group.
#[test]
fn a_scenario_and_a_warm_up_from_pods_of_the_cluster() {
    let kperf = kperf!();
    let Some(world) = world() else { return };
    let kubeconfig = world.plane.kubeconfig();
    let kubeconfig = kubeconfig.to_str().unwrap();
    let command = scenario(&kperf, kubeconfig, "60");
    let running = thread::spawn(move || finish(command, LIMIT));
    let words = "warmup --runner-image kperf-host:test --rg-affinity pool=load --runner-flowcontrol workload-low:600 \
                 --runners 2 --nodes 2 --pods 5 --parallelism 5 --total 60 --rate 10 \
                 --core-warmup-ready-threshold 1000 -o json --kubeconfig";
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.push(kubeconfig);
    let command = kperf.command(&words);
    let warming = thread::spawn(move || finish(command, LIMIT));

    // What is there while it runs.
    let job = job(&world, "load-");
    let group = job["metadata"]["name"].as_str().unwrap().to_owned();
    let selector = format!("labelSelector=kperf-host.io%2Frunner-group%3D{group}");
    let of = |path: &str| world.items(&format!("{path}?{selector}"));
    let roles = of("/apis/rbac.authorization.k8s.io/v1/clusterroles");
    let schemas = of("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas");
    // Both are over before anything is judged, so that neither goes on in the next test.
    let (ran, warmed) = (running.join(), warming.join());
    let logs = world.logs(NAMESPACE);
    let (ran, warmed) = (ran.unwrap().expect(0), warmed.unwrap().expect(0));

    // Two pods where they may be, an account that may list and nothing else, and the priority.
    assert_eq!(job["spec"]["completions"], 2);
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], "kperf-host:test");
    let affinity = pod["affinity"].to_string();
    assert!(
        affinity.contains("pool") && affinity.contains("load"),
        "{affinity}"
    );
    // One for all of them, or one for each: only what they allow matters.
    let mut rules: Vec<&Value> = roles
        .iter()
        .flat_map(|role| role["rules"].as_array().unwrap())
        .collect();
    rules.sort_by_key(|rule| rule.to_string());
    let list =
        |resource: &str| json!({"apiGroups": [""], "resources": [resource], "verbs": ["list"]});
    assert_eq!(rules, [&list("events"), &list("pods")]);
    assert_eq!(schemas[0]["spec"]["matchingPrecedence"], 500);

    assert!(
        ran.stdout.contains("120 of 120 requests succeeded"),
        "{}",
        ran.stdout
    );
    let whole = kperf.json("result.json");
    assert_eq!(whole["loadSpec"]["count"], 2);
    assert_eq!(whole["loadSpec"]["nodeAffinity"], json!({"pool": ["load"]}));
    assert_eq!(whole["result"]["total"], 120, "{whole:#}\n{logs}");
    assert_eq!(
        whole["result"]["percentileLatencies"]
            .as_array()
            .unwrap()
            .len(),
        6
    );
    let runners = &whole["info"]["runners"][0];
    assert_eq!(
        (&runners["place"], &runners["reported"]),
        (&json!("cluster"), &json!(2))
    );
    let report = kperf.json("report.json");
    assert_eq!(report["phases"][0]["overall"]["sent"], 120);
    let result: Value = serde_json::from_str(&warmed.stdout).unwrap();
    assert_eq!(result["requests"], 120, "{result:#}\n{}", warmed.stderr);
    assert_no_runners(&world);
    kperf.assert_clean(kubeconfig, Some(&ran.run_id()));
    world.assert_nothing_of_pools();
}

/// Ctrl-C: the runners report what they have, and are gone.
#[test]
fn an_interrupted_scenario_takes_its_runners_along() {
    let kperf = kperf!();
    let Some(world) = world() else { return };
    let kubeconfig = world.plane.kubeconfig();
    let mut child = Started::new(
        scenario(&kperf, kubeconfig.to_str().unwrap(), "100000")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(kperf.path("said")).unwrap())
            .spawn()
            .unwrap(),
    );
    let job = job(&world, "load-");
    let start = format!(
        "/api/v1/namespaces/{NAMESPACE}/configmaps/{}.start",
        job["metadata"]["name"].as_str().unwrap()
    );
    eventually("the runners agree on a start", || {
        let answer = world.client().get(&start).unwrap();
        let is_agreed = answer.status == 200 && answer.json()["data"]["start"].is_string();
        is_agreed.then_some(()).ok_or(answer.text)
    });
    // It is at most some seconds ahead.
    thread::sleep(Duration::from_secs(3));
    kill(
        Pid::from_raw(i32::try_from(child.id()).unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
    let status = wait(&mut child, LIMIT).expect("an end in time");
    let said = std::fs::read_to_string(kperf.path("said")).unwrap();
    assert_eq!(status.code(), Some(130), "{said}");
    let whole = kperf.json("result.json");
    assert!(
        whole["result"]["total"].as_u64().unwrap() > 0,
        "{said}\n{whole:#}"
    );
    assert_eq!(
        whole["info"]["runners"][0]["reported"], 2,
        "{said}\n{whole:#}"
    );
    assert_no_runners(&world);
    world.assert_nothing_of_pools();
}

/// SIGKILL leaves no time for anything: the runners, the pool and the namespaces are found by the run, and go.
#[test]
fn a_killed_scenario_is_cleaned_up_after_with_its_runners() {
    let kperf = kperf!();
    let Some(world) = world() else { return };
    let kubeconfig = world.plane.kubeconfig();
    let kubeconfig = kubeconfig.to_str().unwrap();
    let mut child = Started::new(
        scenario(&kperf, kubeconfig, "100000")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let job = job(&world, "load-");
    child.kill().unwrap();
    child.wait().unwrap();

    let listed = kperf
        .run(&["cleanup", "--list", "--kubeconfig", kubeconfig])
        .expect(0)
        .stdout;
    let labels = &job["metadata"]["labels"];
    let run = labels["kperf-host.io/outer-run"].as_str().unwrap();
    let group = job["metadata"]["name"].as_str().unwrap();
    assert!(listed.starts_with(&format!("{run}\t")), "{listed}");
    let left = format!("\tjob1pod100,runnergroup/{group},nodepool/node10job1pod100\n");
    assert!(listed.ends_with(&left), "{listed}");
    let command = kperf.command(&["cleanup", "--run", run, "--kubeconfig", kubeconfig]);
    finish(command, LIMIT)
        .expect(0)
        .says(&["deleted node pool node10job1pod100 with 2 nodes"]);
    assert_no_runners(&world);
    kperf.assert_clean(kubeconfig, Some(run));
    world.assert_nothing_of_pools();
}
