//! kperf's scenarios through the real binary against the simulator, each in a shortened form: the shape of what is
//! printed, that the workload beside the load happened, and that nothing of it is left.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::{
    collections::BTreeSet,
    io::BufRead as _,
    path::{Path, PathBuf},
    process::{ChildStderr, Stdio},
    sync::mpsc,
    time::Duration,
};

use kperf_tests::{Kperf, Ran, SimServer, Started, benchmark::watch_propagation, kperf, wait};
use serde_json::{Value, json};

/// What a scenario left: kperf's result, our report, and what was printed.
struct Outcome {
    result: Value,
    report: Value,
    ran: Ran,
}

impl Outcome {
    #[track_caller]
    fn metric(&self, name: &str) -> f64 {
        let metrics = self.report["metrics"].as_array().unwrap();
        let found = metrics.iter().find(|metric| metric["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {metrics:#?}"))["value"]
            .as_f64()
            .unwrap()
    }

    /// Sent by the phases of this name, by the report.
    fn sent(&self, name: &str) -> u64 {
        let phases = self.report["phases"].as_array().unwrap().iter();
        let named = phases.filter(|phase| phase["name"].as_str().unwrap().starts_with(name));
        named
            .map(|phase| phase["overall"]["sent"].as_u64().unwrap())
            .sum()
    }

    /// Requests that succeeded, and that failed, by kperf's result.
    fn answered(&self) -> (u64, usize) {
        let result = &self.result["result"];
        let failed = result["errors"].as_array().map_or(0, Vec::len);
        (result["total"].as_u64().unwrap(), failed)
    }
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object
        .as_object()
        .unwrap_or_else(|| panic!("no object: {object}"))
        .keys()
        .map(String::as_str)
        .collect()
}

/// Runs a scenario; its result has kperf's shape, and afterwards the cluster is as it was.
#[track_caller]
fn bench(kperf: &Kperf, sim: &SimServer, name: &str, flags: &[&str]) -> Outcome {
    let mut arguments = vec!["bench", "--kubeconfig", sim.kubeconfig(), name];
    arguments.extend(flags);
    arguments.extend(["--result", "result.json", "--output", "json=report.json"]);
    let ran = kperf.run(&arguments).expect(0);
    let outcome = Outcome {
        result: kperf.json("result.json"),
        report: kperf.json("report.json"),
        ran,
    };
    assert_shape(&outcome.result, sim);
    assert_clean(kperf, sim, &outcome.ran);
    outcome
}

#[track_caller]
fn assert_shape(whole: &Value, sim: &SimServer) {
    let top = ["description", "info", "loadSpec", "result"];
    assert_eq!(keys(whole), BTreeSet::from(top), "{whole:#}");
    assert!(!whole["description"].as_str().unwrap().is_empty());
    let cores = &whole["info"]["apiserver"]["cores"];
    assert_eq!(keys(cores), BTreeSet::from(["before", "after"]));
    for when in ["before", "after"] {
        let each = cores[when].as_object().unwrap();
        assert!(!each.is_empty(), "{cores:#}");
        assert!(each.values().all(|cores| cores.as_u64() > Some(0)));
    }

    let specs = whole["loadSpec"]["loadProfile"]["specs"]
        .as_array()
        .unwrap();
    for spec in specs {
        let all = [
            "rate",
            "total",
            "duration",
            "conns",
            "client",
            "contentType",
            "disableHTTP2",
            "maxRetries",
            "requests",
        ];
        assert_eq!(keys(spec), BTreeSet::from(all), "{spec:#}");
        let list = json!({
            "group": "", "version": "", "resource": "", "namespace": "",
            "limit": 0, "selector": "", "fieldSelector": "",
        });
        for request in spec["requests"].as_array().unwrap() {
            for kind in ["staleList", "quorumList"] {
                if let Some(request) = request.get(kind) {
                    assert_eq!(keys(request), keys(&list), "{request:#}");
                }
            }
        }
    }

    let result = &whole["result"];
    assert!(result["duration"].as_str().unwrap().ends_with('s'));
    assert!(result["totalReceivedBytes"].as_u64().unwrap() > 0);
    assert_eq!(result["percentileLatencies"].as_array().unwrap().len(), 6);
    assert!(result.get("latenciesByURL").is_none());
    let by_url = keys(&result["percentileLatenciesByURL"]);
    assert!(
        by_url.iter().all(|key| key.contains(&sim.url)),
        "{by_url:?}"
    );
}

/// No object of the run, and no pool of virtual nodes.
#[track_caller]
fn assert_clean(kperf: &Kperf, sim: &SimServer, ran: &Ran) {
    kperf.assert_clean(sim.kubeconfig(), Some(&ran.run_id()));
    assert_no_pool(kperf, sim);
}

#[track_caller]
fn assert_no_pool(kperf: &Kperf, sim: &SimServer) {
    let listed = kperf
        .run(&[
            "vc",
            "nodepool",
            "--kubeconfig",
            sim.kubeconfig(),
            "list",
            "--output",
            "json",
        ])
        .expect(0);
    let pools: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(pools.as_array().unwrap().len(), 0, "{pools:#}");
}

#[test]
fn a_newcomer_needs_no_cluster() {
    let kperf = kperf!();
    let ran = kperf
        .run(&["bench", "node10_job1_pod100", "--sim", "--total", "60"])
        .expect(0);
    let whole: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(whole["result"]["total"], 60);
    assert_eq!(whole["loadSpec"]["count"], 1);
    assert!(
        whole["description"]
            .as_str()
            .unwrap()
            .contains("10 virtual nodes")
    );
    ran.says(&[
        "granted beyond its own namespaces",
        "create:nodes",
        "deleted node pool node10job1pod100",
    ]);
}

#[test]
fn jobs_come_and_go_beside_the_load() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let one = bench(&kperf, &sim, "node10_job1_pod100", &["--total", "100"]);
    assert_eq!(one.answered(), (100, 0));
    assert!(one.metric("jobs_completed") >= 1.0);
    let spec = &one.result["loadSpec"]["loadProfile"]["specs"][0];
    assert_eq!((&spec["rate"], &spec["conns"]), (&json!(10), &json!(10)));

    let three = bench(
        &kperf,
        &sim,
        "node100_job1_pod3k",
        &[
            "--total",
            "60",
            "--pods=60",
            "--runners",
            "4",
            "--content-type",
            "protobuf",
        ],
    );
    assert_eq!(three.answered(), (240, 0));
    assert!(three.metric("jobs_completed") >= 1.0);
    assert_eq!(three.result["loadSpec"]["count"], 4);

    // Between two deployments there is no Job to be read.
    let single = bench(
        &kperf,
        &sim,
        "node10_job1_pod1k",
        &[
            "--total",
            "80",
            "--pods",
            "50",
            "--cpu",
            "16",
            "--memory",
            "32",
            "--max-pods",
            "50",
        ],
    );
    let (succeeded, failed) = single.answered();
    assert_eq!(succeeded + failed as u64, 800);
    for error in single.result["result"]["errors"]
        .as_array()
        .into_iter()
        .flatten()
    {
        assert_eq!(error["code"], 404, "{error}");
        assert!(
            error["url"].as_str().unwrap().contains("/jobs/batchjobs"),
            "{error}"
        );
    }
    assert!(single.metric("jobs_completed") >= 1.0);
}

#[test]
fn ten_jobs_run_beside_the_load() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let ten = bench(
        &kperf,
        &sim,
        "node100_job10_pod10k",
        &["--total", "50", "--pods-per-job", "40"],
    );
    assert_eq!(ten.answered(), (500, 0));
    assert_eq!(ten.metric("jobs_begun"), 10.0);
    assert_eq!(ten.metric("jobs_completed"), 10.0);
}

#[test]
fn deployments_are_restarted_beside_the_load() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let restarts = bench(
        &kperf,
        &sim,
        "node100_pod10k",
        &[
            "--total",
            "60",
            "--deployments",
            "4",
            "--pods",
            "200",
            "--interval",
            "200ms",
            "--padding-bytes",
            "2048",
        ],
    );
    assert_eq!(restarts.answered(), (600, 0));
    assert!(restarts.metric("restarts_completed") >= 1.0);
    let info = &restarts.result["info"];
    assert_eq!(info["interval"], "200ms");
    let size = info["podSizeInBytes"].as_u64().unwrap();
    assert!(size >= 2048 && size.is_multiple_of(1024), "{size}");
}

/// One pod is weighed, and no list of all of them is needed for that: it would be too much at once.
#[test]
fn pods_may_be_large() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let large = bench(
        &kperf,
        &sim,
        "node100_pod10k",
        &[
            "--total",
            "2",
            "--runners",
            "1",
            "--deployments",
            "1",
            "--pods",
            "110",
            "--nodes",
            "10",
            "--padding-bytes",
            "180000",
        ],
    );
    assert_eq!(large.answered(), (2, 0));
    let size = large.result["info"]["podSizeInBytes"].as_u64().unwrap();
    assert!(size >= 175 * 1024, "{size}");
}

#[test]
fn config_maps_are_listed_and_updated() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let lists = bench(
        &kperf,
        &sim,
        "list_configmaps",
        &[
            "--duration",
            "2",
            "--configmap-amount",
            "50",
            "--size",
            "500",
            "--group-size",
            "10",
        ],
    );
    assert_eq!(lists.sent("create ConfigMaps"), 50);
    let (succeeded, failed) = lists.answered();
    assert!(succeeded > 100 && failed == 0, "{succeeded} {failed}");
    assert_eq!(lists.result["info"]["configmapSizeInBytes"], 500);
    let time = lists.result["info"]["runningTime"].as_str().unwrap();
    let seconds: f64 = time.strip_suffix('s').unwrap().parse().unwrap();
    // It was asked to run for two.
    assert!(seconds >= 1.0, "{time}");

    let updates = bench(
        &kperf,
        &sim,
        "read_update",
        &[
            "--total",
            "30",
            "--read-update-configmap-total",
            "20",
            "--read-ratio",
            "0.25",
        ],
    );
    assert_eq!(updates.answered(), (300, 0));
    assert_eq!(updates.metric("watches"), 20.0);
    // Patches that change nothing tell no watch.
    let patches = {
        let series = updates.report["series"].as_array().unwrap().iter();
        let patches = series.filter(|one| one["name"].as_str().unwrap().starts_with("PATCH"));
        patches
            .map(|one| one["sent"].as_f64().unwrap())
            .sum::<f64>()
    };
    let told = updates.metric("watch_events") - 20.0;
    assert!(
        told > patches * 0.5 && told <= patches,
        "{patches} patches, {told} events"
    );
}

/// kperf's default is `default`; here it is a namespace that goes with the run.
#[test]
fn a_namespace_that_is_there_is_refused_with_the_reason() {
    kperf!()
        .run(&[
            "bench",
            "read_update",
            "--sim",
            "--total",
            "5",
            "--read-update-namespace",
            "default",
        ])
        .expect(5)
        .says(&["already", "must be a new namespace"]);
}

#[test]
fn ciliums_objects_are_made_and_unmade() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let flags = [
        "--total",
        "100",
        "--runners",
        "1",
        "--num-cilium-identities",
        "40",
        "--num-cilium-endpoints",
        "30",
    ];
    let lists = bench(&kperf, &sim, "cilium_cr_list", &flags);
    assert_eq!(lists.answered(), (100, 0));
    assert_eq!(lists.sent("create ciliumidentities"), 40);
    assert_eq!(lists.sent("create ciliumendpoints"), 30);
    assert_eq!(lists.result["info"]["numCiliumIdentities"], 40);
    // Had a definition stayed, it could not be made again.
    let _ = bench(&kperf, &sim, "cilium_cr_list", &flags);
}

#[test]
fn a_series_of_phases_is_one_load() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let series = bench(
        &kperf,
        &sim,
        "timeseries_replay",
        &["--duration", "3", "--runners", "2"],
    );
    let specs = &series.result["loadSpec"]["loadProfile"]["specs"];
    assert_eq!(specs.as_array().unwrap().len(), 3);
    let (succeeded, failed) = series.answered();
    assert_eq!(failed, 0);
    assert_eq!(series.sent("load-"), succeeded);
    // The rush has its whole rate, from each of the two runners.
    let phases = series.report["phases"].as_array().unwrap();
    let rates = phases.iter().map(|phase| {
        assert!(phase["overall"]["sent"].as_u64() > Some(0), "{phase:#}");
        let settings = &phase["settings"];
        settings["rate"]
            .as_str()
            .unwrap_or_else(|| panic!("{settings:#}"))
    });
    assert_eq!(rates.collect::<Vec<_>>(), ["20", "200", "50"]);
}

#[test]
fn flags_come_from_the_scenario() {
    let kperf = kperf!();
    let help = kperf.run(&["bench", "node100_pod10k", "--help"]).expect(0);
    for part in [
        "--padding-bytes",
        "--max-pods",
        "[default: 110]",
        "--content-type <json|protobuf>",
        "--vc-affinity",
        "--sim",
        "--kwok-image",
        "--nodes-timeout",
    ] {
        assert!(help.stdout.contains(part), "no {part} in\n{}", help.stdout);
    }
    let general = kperf.run(&["bench", "--help"]).expect(0);
    assert!(
        general.stdout.contains("cilium_cr_list"),
        "{}",
        general.stdout
    );
    for (flags, says) in [
        (
            &["node100_pod10k", "--sim", "--no-such-flag"][..],
            "--no-such-flag",
        ),
        (&["node100_pod10k", "--sim", "--total", "many"], "/total"),
        (
            &["node100_pod10k", "--sim", "--interval", "soon"],
            "interval",
        ),
        (
            &[
                "timeseries_replay",
                "--sim",
                "--duration",
                "18446744073709551615",
            ],
            "/duration",
        ),
        (
            &["list_configmaps", "--sim", "--padding-bytes", "8"],
            "--padding-bytes",
        ),
        (&["stale_list", "--sim"], "not a benchmark"),
        (
            &["--runner-image", "x", "list_configmaps", "--sim"],
            "the simulator runs no pods",
        ),
        (
            &[
                "--runner-flowcontrol",
                "workload-low:9",
                "list_configmaps",
                "--sim",
            ],
            "give --runner-image too",
        ),
        (
            &["--runner-flowcontrol", "exempt", "list_configmaps", "--sim"],
            "PriorityLevel:MatchingPrecedence",
        ),
        (
            &["node10_job1_pod100", "--sim", "--output", "json"],
            "--result",
        ),
        (&[], "which scenario"),
    ] {
        let arguments: Vec<&str> = ["bench"].iter().chain(flags).copied().collect();
        kperf.run(&arguments).expect(2).says(&[says]);
    }
    kperf
        .run(&["bench", "no_such_scenario", "--sim"])
        .expect(5)
        .says(&["no_such_scenario"]);
    let dry = kperf
        .run(&["bench", "node10_job1_pod100", "--sim", "--dry-run"])
        .expect(0);
    let whole: Value = serde_json::from_str(&dry.stdout).unwrap();
    assert_eq!(
        (&whole["loadSpec"], &whole["result"]["total"]),
        (&Value::Null, &json!(0))
    );
}

/// A stranger's benchmark is a scenario too; what it may do, the user says.
#[test]
fn a_third_partys_scenario() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let component = watch_propagation();
    let component = component.to_str().unwrap();
    let arguments = [
        "bench",
        component,
        "--kubeconfig",
        sim.kubeconfig(),
        "--objects",
        "40",
        "--rate-per-second=100",
        "--list-rate",
        "20",
    ];
    let ran = kperf.run(&arguments).expect(0);
    let whole: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(whole["loadSpec"]["count"], 1);
    // Its load, not what it created beside it.
    let by_url = keys(&whole["result"]["percentileLatenciesByURL"]);
    assert!(
        by_url.iter().all(|key| key.starts_with("LIST")) && !by_url.is_empty(),
        "{by_url:?}"
    );
    kperf.assert_clean(sim.kubeconfig(), Some(&ran.run_id()));

    // The same component as a bundled one may not do what its name gets that one.
    let copy = kperf.path("scenario.wasm");
    std::fs::copy(bundled(), &copy).unwrap();
    let strange = ["bench", "./scenario.wasm", "--sim", "--total", "20"];
    kperf
        .run(&strange)
        .expect(5)
        .says(&["--grant 'create:nodes'"]);
    let granted = [
        &strange[..],
        &["--grant", "create:nodes", "--grant", "list:pods,events"],
    ]
    .concat();
    kperf.run(&granted).expect(2).says(&["--grant"]);
    let granted = [
        &strange[..],
        &[
            "--grant",
            "create:nodes",
            "--grant",
            "list:pods",
            "--grant",
            "list:events",
        ],
    ]
    .concat();
    let _ = kperf.run(&granted).expect(0);
    // Runners may not do what the run may not, wherever they are.
    let locally = [
        &strange[..],
        &["--local", "--grant", "create:nodes", "--grant", "list:pods"],
    ]
    .concat();
    kperf
        .run(&locally)
        .expect(5)
        .says(&["the run may not list events", "--grant 'list:events'"]);
}

/// Processes of this machine, each with the whole profile, are one load: in kperf's result, in the report, and when one
/// of them dies.
#[test]
fn runners_of_this_machine_are_one_load() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let three = bench(
        &kperf,
        &sim,
        "node10_job1_pod100",
        &["--local", "--runners", "3", "--total", "40", "--pods", "20"],
    );
    assert_eq!(three.answered(), (120, 0));
    assert_eq!(three.result["loadSpec"]["count"], 3);
    let runners = &three.result["info"]["runners"][0];
    assert_eq!(
        (&runners["place"], &runners["count"], &runners["reported"]),
        (&json!("local"), &json!(3), &json!(3))
    );
    assert!(runners["startSkewSeconds"].is_number(), "{runners}");
    assert_eq!(three.sent("load"), 120);
    let metrics = three.report["metrics"].as_array().unwrap();
    let each: Vec<&Value> = metrics
        .iter()
        .filter(|metric| metric["name"] == "runner_sent")
        .map(|metric| &metric["value"])
        .collect();
    assert_eq!(each, [&json!(40.0); 3]);
    let series = three.report["phases"][0]["series"].as_array().unwrap();
    let counted: u64 = series
        .iter()
        .map(|one| one["response_time"]["count"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, 120, "times of all runners are in the histograms");
    assert!(three.metric("jobs_completed") >= 1.0);
}

/// A plugin says how many runners a load has: as processes of this machine only so many are possible.
#[test]
fn runners_of_this_machine_are_few() {
    let kperf = kperf!();
    kperf
        .run(&[
            "bench",
            "list_configmaps",
            "--sim",
            "--local",
            "--configmap-amount",
            "5",
            "--runners",
            "65",
        ])
        .expect(5)
        .says(&["65 runners at once as processes of this machine are wanted, at most 64"]);
}

/// The component of a bundled scenario, as cargo built it.
fn bundled() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_kperf-host-under-test"));
    let target = binary.parent().and_then(Path::parent).unwrap();
    target.join("plugins/wasm32-wasip2/plugin/node10_job1_pod100.wasm")
}

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

/// Ctrl-C: what was measured is printed, and the nodes are gone.
#[test]
fn an_interrupted_scenario_leaves_nothing() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let mut child = Started::new(
        kperf
            .command(&[
                "bench",
                "node10_job1_pod100",
                "--kubeconfig",
                sim.kubeconfig(),
                "--total",
                "100000",
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
    let mut child = Started::new(
        kperf
            .command(&[
                "bench",
                "node10_job1_pod100",
                "--kubeconfig",
                sim.kubeconfig(),
                "--total",
                "100000",
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
    child.kill().unwrap();
    child.wait().unwrap();

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

/// What kperf takes with every scenario is taken.
#[test]
fn kperfs_own_command_lines_are_understood() {
    let kperf = kperf!();
    let ran = kperf
        .run(&[
            "bench",
            "timeseries_replay",
            "--sim",
            "--total",
            "5",
            "--cpu",
            "4",
            "--duration",
            "0",
            "--dry-run",
        ])
        .expect(0);
    ran.says(&["--total means nothing", "--cpu means nothing"]);
    kperf
        .run(&[
            "bench",
            "list_configmaps",
            "--sim",
            "--total",
            "5",
            "--duration",
            "0",
            "--configmap-amount",
            "5",
        ])
        .expect(0);
    let help = kperf.run(&["bench", "read_update", "--help"]).expect(0);
    assert!(!help.stdout.contains("--max-pods"), "{}", help.stdout);
    assert!(
        !help.stdout.contains("Flags that every scenario has"),
        "{}",
        help.stdout
    );
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
