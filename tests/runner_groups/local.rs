//! `rg run --local N`: the whole way with processes of this machine.

use std::{
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use kperf_tests::{Started, finish, kperf, repository, wait};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{metric, mixed, runners, starts};

#[test]
fn three_processes_are_one_report() {
    let kperf = kperf!();
    let example = repository().join("examples/runner-groups/lists.yaml");
    let text = std::fs::read_to_string(example).unwrap();
    assert!(text.contains("duration: 10"));
    let group = kperf.write("lists.yaml", &text.replace("duration: 10", "total: 100"));
    let ran = kperf
        .run(&[
            "rg",
            "run",
            "--local",
            "3",
            "--sim",
            "--seed",
            "7",
            "--runnergroup",
            &format!("file://{}", group.display()),
            "--output",
            "json=whole.json",
            "--output",
            "kperf-json={group}-kperf.json",
        ])
        .expect(0);
    ran.says(&["lists: 3 of 3 runners ready"]);
    assert!(
        ran.stdout.contains("3 runner(s), start skew"),
        "{}",
        ran.stdout
    );
    for runner in ["lists-0", "lists-1", "lists-2"] {
        assert!(ran.stdout.contains(runner), "{}", ran.stdout);
    }
    let whole = kperf.json("whole.json");
    assert_eq!(whole["overall"]["sent"], 300);
    assert_eq!(whole["overall"]["succeeded"], 300);
    assert_eq!(whole["phases"][0]["overall"]["sent"], 300);
    assert_eq!(whole["series"].as_array().unwrap().len(), 3);
    assert_eq!(metric(&whole, "runners"), 3.0);
    starts(&whole, 3);
    // The server's side of it, from before the start to the end.
    assert_eq!(server_lists(&whole), 300.0);
    assert!(
        !whole["findings"]
            .to_string()
            .contains("server/fewer-requests")
    );
    let flat = kperf.json("lists-kperf.json");
    assert_eq!(flat["total"], 300);
    assert!(flat["percentileLatencies"].is_array(), "{flat:#}");
    // Every runner draws its own numbers, and the same ones again with the same seed.
    let series = |report: &Value| report["series"][0]["sent"].as_u64().unwrap();
    let again = kperf
        .run(&[
            "runnergroup",
            "run",
            "--local=3",
            "--sim",
            "--seed=7",
            "--runnergroup",
            "lists.yaml",
            "--output=json=again.json",
        ])
        .expect(0);
    drop(again);
    assert_eq!(series(&kperf.json("again.json")), series(&whole));
}

/// Requests for lists and watches that the server counted.
fn server_lists(report: &Value) -> f64 {
    let all = report["metrics"].as_array().unwrap().iter();
    let is_of_load = |verb: &Value| verb == "LIST" || verb == "WATCH";
    all.filter(|one| one["name"] == "server_requests" && is_of_load(&one["labels"]["verb"]))
        .map(|one| one["value"].as_f64().unwrap())
        .sum()
}

#[test]
fn a_limit_may_be_about_the_server() {
    let kperf = kperf!();
    let run = |limit: &str, flags: &[&str], code| {
        kperf.write(
            "group.yaml",
            &format!(
                "count: 2
loadProfile:
  version: 1
  thresholds: ['{limit}']
  specs:
    - {{total: 20, conns: 1, client: 1, requests: [{{shares: 1, staleList: {{version: v1, resource: pods}}}}]}}
"
            ),
        );
        let words = "rg run --local 2 --sim --runnergroup group.yaml --output json=r.json";
        let words: Vec<&str> = words
            .split_whitespace()
            .chain(flags.iter().copied())
            .collect();
        kperf.run(&words).expect(code);
        kperf.json("r.json")
    };
    let requests = "server-requests{verb=\"LIST\"} <= ";
    run(&format!("{requests}40"), &[], 0);
    let report = run(&format!("{requests}39"), &[], 3);
    assert_eq!(report["thresholds"][0]["measured"], 40.0, "{report:#}");
    // Nobody looked: it is neither kept nor missed.
    let report = run(&format!("{requests}39"), &["--server-metrics=off"], 0);
    assert_eq!(server_lists(&report), 0.0);
    assert_eq!(report["thresholds"].as_array().unwrap().len(), 0);
    let findings = report["findings"].to_string();
    assert!(findings.contains("server/limit-not-judged"), "{findings}");
}

#[test]
fn two_groups_run_at_the_same_time() {
    let kperf = kperf!();
    let profile = "
  version: 1
  specs:
    - {total: 50, conns: 1, client: 2, requests: [{shares: 1, staleList: {version: v1, resource: pods}}]}
";
    kperf.write("a.yaml", &format!("count: 9\nloadProfile:{profile}"));
    kperf.write(
        "b.yaml",
        &format!("count: 9\nname: other\nloadProfile:{profile}"),
    );
    let with = |output: &str| {
        let words = "rg run --local 2 --sim --runnergroup a.yaml --runnergroup b.yaml --output";
        let mut words: Vec<&str> = words.split_whitespace().collect();
        words.push(output);
        kperf.run(&words)
    };
    with("json={group}.json").expect(0);
    for group in ["a", "other"] {
        let report = kperf.json(&format!("{group}.json"));
        assert_eq!(report["overall"]["sent"], 100, "{group}");
        // It cannot tell them apart, and says so.
        assert_eq!(server_lists(&report), 200.0);
        let findings = report["findings"].to_string();
        assert!(findings.contains("server/of-all-groups"), "{findings}");
    }
    with("json=one.json")
        .expect(2)
        .says(&["put {group} into the destination"]);
}

/// One is killed while all are at work: the others count, and it is named.
#[test]
fn a_runner_that_dies_is_named() {
    let kperf = kperf!();
    let name = format!("mortal-{}", std::process::id());
    mixed(&kperf, |text| {
        text.replace("name: mixed", &format!("name: {name}"))
            .replace("rate: 40", "rate: 20")
            .replace("total: 200", "total: 160")
    });
    let mut command = kperf.command(&[
        "rg",
        "run",
        "--local",
        "3",
        "--sim",
        "--runnergroup",
        "mixed.yaml",
        "--output",
        "json=whole.json",
    ]);
    command.stdin(Stdio::null());
    let begin = format!("{name}-1");
    let killer = thread::spawn(move || {
        let end = Instant::now() + Duration::from_secs(60);
        let id = loop {
            // Until they agree on a start, there is nothing to kill amid.
            let started = runners(&begin).into_iter().find(|runner| {
                let store = runner.store.strip_prefix("dir:").unwrap_or_default();
                Path::new(store).join("start.json").exists()
            });
            if let Some(runner) = started {
                break runner.id;
            }
            assert!(Instant::now() < end, "no start with {begin}");
            thread::sleep(Duration::from_millis(20));
        };
        // 160 requests take eight seconds.
        thread::sleep(Duration::from_millis(1500));
        kill(Pid::from_raw(id), Signal::SIGKILL).unwrap();
    });
    let ran = finish(command, Duration::from_secs(120)).expect(1);
    killer.join().unwrap();
    ran.says(&[
        &format!("runner {name}-1"),
        "is missing: ended without a report: signal: 9",
        &format!("1 of 3 runners of group {name} are missing"),
    ]);
    let whole = kperf.json("whole.json");
    assert_eq!(whole["overall"]["sent"], 320);
    assert_ne!(whole["verdict"], "certified", "somebody is missing");
    let findings = whole["findings"].to_string();
    assert!(findings.contains(&format!("{name}-1")), "{findings}");
    // The limit of the profile is for the whole.
    assert_eq!(whole["thresholds"][0]["expression"], "response p99 <= 5s");
    assert!(runners(&name).is_empty(), "nothing is left running");
}

/// However the process ends that they are for, runners of this machine end with it.
#[test]
fn nothing_outlives_the_process() {
    let kperf = kperf!();
    let name = format!("orphans-{}", std::process::id());
    mixed(&kperf, |text| {
        text.replace("name: mixed", &format!("name: {name}"))
            .replace("rate: 40", "rate: 1")
            .replace("total: 200", "total: 600")
    });
    let mut command = kperf.command(&[
        "rg",
        "run",
        "--local=3",
        "--sim",
        "--runnergroup=mixed.yaml",
    ]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut parent = Started::new(command.spawn().unwrap());
    let until = |what: &str, fits: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(60);
        while !fits() {
            assert!(Instant::now() < end, "never: {what}");
            thread::sleep(Duration::from_millis(50));
        }
    };
    until("three runners", &|| runners(&name).len() == 3);
    let store = runners(&name)[0].store.clone();
    let store = Path::new(store.strip_prefix("dir:").unwrap()).to_owned();
    until("a start", &|| store.join("start.json").exists());
    parent.kill().unwrap();
    wait(&mut parent, Duration::from_secs(10)).unwrap();
    until("no runners", &|| runners(&name).is_empty());
    let folder = store.parent().unwrap();
    until("no folder", &|| !folder.exists());
}

#[test]
fn what_is_wrong_is_said_before_anything_runs() {
    let kperf = kperf!();
    let run = |text: &str| {
        kperf.write("group.yaml", text);
        kperf
            .run(&[
                "rg",
                "run",
                "--local=2",
                "--sim",
                "--runnergroup",
                "group.yaml",
            ])
            .expect(2)
    };
    run("cuont: 2\nloadProfile: {version: 1}").says(&[
        "group.yaml:1:1: cuont: unknown key; did you mean `count`?",
        "specs must be provided",
    ]);
    run("count: 2\nloadProfile:\n  version: 1\n  specs:\n    - requests:\n        - {shares: 1, staleList: {version: v1, resource: pods, limit: 5}}")
        .says(&["group.yaml:6:"]);
    kperf
        .run(&[
            "rg",
            "run",
            "--local=2",
            "--sim",
            "--runnergroup",
            "http://x",
        ])
        .expect(2)
        .says(&["unsupported RunnerGroupSpec's URI scheme: http"]);

    // In a cluster, whatever a stranger's component asks for has to be granted.
    let server = kperf.sim(&[]);
    mixed(&kperf, |text| {
        text.replace("grants: ['get:configmaps@ns-0']\n", "")
    });
    let words = "rg run --runner-image x --runnergroup mixed.yaml --kubeconfig";
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.push(server.kubeconfig());
    kperf
        .run(&words)
        .expect(2)
        .says(&["add --grant 'get:configmaps@ns-0'"]);
    kperf
        .run(&["rg", "run", "--runnergroup=x", "--server-metrics=ends"])
        .expect(2)
        .says(&["add --wait to --server-metrics"]);
    kperf
        .run(&[
            "rg",
            "run",
            "--runnergroup=x",
            "--runner-flowcontrol=exempt",
        ])
        .expect(2)
        .says(&["expected PriorityLevel:MatchingPrecedence format, but got exempt"]);
}
