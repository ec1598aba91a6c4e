//! Benchmarks through the real binary against the simulator: what they measure, what they may, and that nothing of
//! them is left, however they end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::{
    io::BufRead as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use kperf_tests::{
    Kperf, SimServer,
    benchmark::{distribution, watch_propagation},
    build_plugin, kperf, repository, wait,
};
use serde_json::json;

#[track_caller]
fn assert_clean(kperf: &Kperf, sim: &SimServer, run: Option<&str>) {
    kperf.assert_clean(sim.kubeconfig(), run);
}

fn hostile() -> PathBuf {
    build_plugin(
        &repository().join("tests/components/benchmark"),
        "hostile_benchmark",
    )
}

/// A stranger's benchmark: its results are in the report, with a load phase that ran beside it.
#[test]
fn a_third_partys_benchmark() {
    let kperf = kperf!();
    let component = watch_propagation();
    let sim = kperf.sim(&[]);
    let ran = kperf
        .run(&[
            "run",
            "--plugin",
            component.to_str().unwrap(),
            "--set",
            "objects=120",
            "--set",
            "ratePerSecond=200",
            "--set",
            "listRate=20",
            "--kubeconfig",
            sim.kubeconfig(),
            "--output",
            "json=r.json",
            "--threshold",
            "propagation p99 <= 1m",
            "--threshold",
            "creation-rate >= 1",
        ])
        .expect(0);
    let report = kperf.json("r.json");
    let propagation = distribution(&report, "propagation");
    assert_eq!(propagation["times"]["count"], 120);
    assert_eq!(propagation["missing"], 0);
    assert_eq!(distribution(&report, "lifetime")["times"]["count"], 120);
    let phases = report["phases"].as_array().unwrap();
    let sent = |name: &str| {
        let phase = phases.iter().find(|phase| phase["name"] == name);
        phase.unwrap()["overall"]["sent"].as_u64().unwrap()
    };
    assert_eq!(sent("create ConfigMaps"), 120);
    assert_eq!(sent("delete ConfigMaps"), 120);
    assert!(sent("lists") > 0);
    let thresholds = report["thresholds"].as_array().unwrap();
    assert!(
        thresholds.iter().all(|t| t["passed"] == true),
        "{thresholds:?}"
    );
    assert_eq!(report["ended"], "completed");
    assert!(ran.stdout.contains("propagation"), "{}", ran.stdout);
    assert_clean(&kperf, &sim, Some(&ran.run_id()));

    // A limit that is not kept is said, and decides.
    let missed = kperf
        .run(&[
            "run",
            "--plugin",
            component.to_str().unwrap(),
            "--set",
            "objects=5",
            "--sim",
            "--threshold",
            "propagation max <= 1ns",
        ])
        .expect(3);
    assert!(missed.stdout.contains("MISSED"), "{}", missed.stdout);
}

/// A plugin that misbehaves is stopped with one clear sentence, and the cluster is clean afterwards.
#[test]
fn what_a_hostile_benchmark_may_not_do() {
    let kperf = kperf!();
    let component = hostile();
    let sim = kperf.sim(&[]);
    for (misbehave, code, says) in [
        ("trap", 5, "the moon is not full"),
        ("loop", 5, "ended after 3 s"),
        ("clock", 5, "ended after 3 s"),
        ("grow", 5, "its limit is 32 MiB"),
        ("secrets", 5, "--grant 'list:secrets'"),
        ("own-secrets", 5, "--grant 'list:secrets@"),
        (
            "foreign-namespace",
            5,
            "--grant 'create:configmaps@default'",
        ),
        ("foreign-bulk", 5, "--grant 'delete:pods@ns-0'"),
        ("take-namespace", 5, "already"),
        ("delete-namespace", 5, "--grant 'delete:namespaces"),
        ("watch-all", 5, "--grant 'list:pods'"),
        ("climb", 5, "only files below"),
        ("bad-path", 5, "no/slash"),
        ("no-kind", 5, "Nothing"),
        ("bad-profile", 5, "requests"),
        (
            "load-abroad",
            5,
            "0 sent: the load asks for GET /api/v1/secrets",
        ),
        ("fail", 5, "the moon is not full [moon]"),
        ("verdict", 3, "the moon is not full"),
        ("no", 0, "behaved"),
    ] {
        let set = format!("misbehave={misbehave}");
        let memory = if misbehave == "grow" { "32" } else { "256" };
        let ran = kperf
            .run(&[
                "run",
                "--plugin",
                component.to_str().unwrap(),
                "--set",
                &set,
                "--kubeconfig",
                sim.kubeconfig(),
                "--plugin-memory",
                memory,
                "--timeout",
                if matches!(misbehave, "loop" | "clock") {
                    "3s"
                } else {
                    "60s"
                },
                "--output",
                "json=r.json",
            ])
            .expect(code);
        let all = format!("{}{}", ran.stdout, ran.stderr);
        assert!(all.contains(says), "{misbehave}: no `{says}` in\n{all}");
        // What was reported before is there.
        let report = kperf.json("r.json");
        let metrics = report["metrics"].as_array().unwrap();
        assert!(metrics.iter().any(|m| m["name"] == "before"), "{misbehave}");
        let created = &report["phases"][0]["overall"]["succeeded"];
        assert_eq!(created, 10, "{misbehave}");
        assert_clean(&kperf, &sim, Some(&ran.run_id()));
    }
}

/// A grant is as wide as it says: what was refused works, and no more.
#[test]
fn a_grant_is_taken_by_its_words() {
    let kperf = kperf!();
    let component = hostile();
    let component = component.to_str().unwrap();
    let run = |misbehave: &str, grant: &str| {
        let set = format!("misbehave={misbehave}");
        kperf.run(&[
            "run", "--plugin", component, "--set", &set, "--sim", "--grant", grant,
        ])
    };
    let _ = run("secrets", "list:secrets").expect(0);
    let _ = run("secrets", "list:secrets@default").expect(5);
    let _ = run("secrets", "watch:secrets").expect(5);
    let _ = run("foreign-namespace", "create:configmaps@default").expect(0);
    let _ = run("foreign-bulk", "*:pods@ns-0").expect(0);
    let _ = run("watch-all", "list,watch:pods").expect(0);
    run("watch-all", "list;watch:pods")
        .expect(2)
        .says(&["--grant"]);
    let inspected = kperf.run(&["plugin", "inspect", component]).expect(0);
    assert!(
        inspected.stdout.contains("list:secrets"),
        "{}",
        inspected.stdout
    );
}

/// Interrupted at any moment, the host leaves nothing; killed, `cleanup` finds it all.
#[test]
fn nothing_is_left_after_a_signal() {
    let kperf = kperf!();
    let component = watch_propagation();
    let sim = kperf.sim(&[]);
    let start = || {
        let mut command = kperf.command(&[
            "run",
            "--plugin",
            component.to_str().unwrap(),
            "--set",
            "objects=400",
            "--set",
            "ratePerSecond=200",
            "--set",
            "listRate=20",
            "--kubeconfig",
            sim.kubeconfig(),
        ]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    // Ten moments over the life of the run: from before its first request to its clean-up.
    for moment in [30, 150, 400, 700, 1100, 1600, 2200, 2900, 3800, 4600] {
        let mut child = start();
        std::thread::sleep(Duration::from_millis(moment));
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).ok();
        let status = wait(&mut child, Duration::from_secs(60)).expect("an end in time");
        // Before the handler stands a signal ends the process as it does by default, and after the end there is
        // nobody to interrupt.
        assert!(
            matches!(status.code(), Some(130 | 0) | None),
            "{moment} ms: {status}"
        );
        assert_clean(&kperf, &sim, None);
    }
    for moment in [800, 2500] {
        let mut child = start();
        std::thread::sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        child.wait().unwrap();
        let listed = kperf
            .run(&["cleanup", "--list", "--kubeconfig", sim.kubeconfig()])
            .expect(0);
        let run = listed.stdout.split('\t').next().unwrap().to_owned();
        assert!(run.starts_with('r'), "{listed:?}");
        kperf
            .run(&["cleanup", "--run", &run, "--kubeconfig", sim.kubeconfig()])
            .expect(0)
            .says(&["deleted"]);
        assert_clean(&kperf, &sim, Some(&run));
    }
    // An id that is none never becomes a selector.
    for bad in ["", "a,b", "a b", "!x"] {
        let _ = kperf
            .run(&["cleanup", "--run", bad, "--kubeconfig", sim.kubeconfig()])
            .expect(2);
    }
}

/// One that does not listen to the interrupt is ended all the same; `--keep` keeps, until `cleanup`.
#[test]
fn a_deaf_benchmark_ends_and_keep_keeps() {
    let kperf = kperf!();
    let component = hostile();
    let sim = kperf.sim(&[]);
    let mut command = kperf.command(&[
        "run",
        "--plugin",
        component.to_str().unwrap(),
        "--set",
        "misbehave=deaf",
        "--kubeconfig",
        sim.kubeconfig(),
    ]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It says so when the benchmark begins; the handler of signals stands long before.
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().starts_with("run r")));
    std::thread::sleep(Duration::from_secs(1));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let status = wait(&mut child, Duration::from_secs(60)).expect("an end in time");
    assert_eq!(status.code(), Some(130));
    assert_clean(&kperf, &sim, None);

    let kept = kperf
        .run(&[
            "run",
            "--plugin",
            component.to_str().unwrap(),
            "--set",
            "misbehave=no",
            "--keep",
            "--kubeconfig",
            sim.kubeconfig(),
        ])
        .expect(0);
    let run = kept.run_id();
    let listed = kperf
        .run(&["cleanup", "--list", "--kubeconfig", sim.kubeconfig()])
        .expect(0);
    assert!(listed.stdout.starts_with(&run), "{listed:?}");
    let _ = kperf
        .run(&["cleanup", "--run", &run, "--kubeconfig", sim.kubeconfig()])
        .expect(0);
    assert_clean(&kperf, &sim, Some(&run));
}

/// The seed's example, unchanged but for the wait at its end: phases as histograms, and everything gone.
#[test]
fn kubevirt_density_on_the_simulator() {
    let kperf = kperf!();
    let sim = kperf.sim(&["--objects", "nodes=20,pods=0,kubevirt=true"]);
    let config =
        kperf.density(|text| text.replace("waitWhenFinished: 30s", "waitWhenFinished: 100ms"));
    let ran = kperf
        .run(&[
            "run",
            "--plugin",
            "kubevirt_density",
            "--config",
            config.to_str().unwrap(),
            "--kubeconfig",
            sim.kubeconfig(),
            "--output",
            "json=r.json",
        ])
        .expect(0);
    let report = kperf.json("r.json");
    for name in [
        "sent_to_created",
        "sent_to_scheduling",
        "sent_to_scheduled",
        "sent_to_running",
        "created_to_running",
        "deletion",
    ] {
        let found = distribution(&report, name);
        assert_eq!(found["times"]["count"], 100, "{name}");
    }
    // Each phase comes after the one before.
    let p50 = |name: &str| {
        let p50 = &distribution(&report, name)["times"]["percentiles_ns"]["p50"];
        p50.as_u64().unwrap_or_else(|| panic!("{name}: {p50}"))
    };
    assert!(p50("sent_to_scheduling") <= p50("sent_to_scheduled"));
    assert!(p50("sent_to_scheduled") <= p50("sent_to_running"));
    let table = &report["objects"][0];
    assert_eq!(table["kind"], "VirtualMachineInstance", "{table}");
    assert_clean(&kperf, &sim, Some(&ran.run_id()));

    // A dry run says what it would do, and does nothing.
    let dry = kperf
        .run(&[
            "run",
            "--plugin",
            "kubevirt_density",
            "--config",
            config.to_str().unwrap(),
            "--kubeconfig",
            sim.kubeconfig(),
            "--dry-run",
        ])
        .expect(0);
    assert!(dry.stdout.contains("kubevirt-density-1"), "{}", dry.stdout);
    assert_clean(&kperf, &sim, None);

    // Without KubeVirt the kind is missing, which is said.
    let plain = kperf.sim(&[]);
    kperf
        .run(&[
            "run",
            "--plugin",
            "kubevirt_density",
            "--config",
            config.to_str().unwrap(),
            "--kubeconfig",
            plain.kubeconfig(),
        ])
        .expect(5);
    assert_clean(&kperf, &plain, None);
}

/// The options that only show over time: iterations, namespaces of their own, a wait that is too short, mistakes.
#[test]
fn options_of_a_density_workload() {
    let kperf = kperf!();
    let sim = kperf.sim(&["--objects", "nodes=20,pods=0,kubevirt=true"]);
    let run = |config: &Path, code: i32| {
        kperf
            .run(&[
                "run",
                "--plugin",
                "kubevirt_density",
                "--config",
                config.to_str().unwrap(),
                "--kubeconfig",
                sim.kubeconfig(),
                "--output",
                "json=r.json",
            ])
            .expect(code)
    };
    let quick = |text: String| {
        text.replace("waitWhenFinished: 30s", "waitWhenFinished: 0")
            .replace("replicas: 100", "replicas: 5")
            .replace("qps: 20", "qps: 0")
    };
    let iterated = kperf.density(|text| {
        quick(text)
            .replace("iterationCount: 1", "iterationCount: 3")
            .replace("iterationInterval: 0", "iterationInterval: 200ms")
            .replace("namespacedIterations: false", "namespacedIterations: true")
    });
    let ran = run(&iterated, 0);
    let report = kperf.json("r.json");
    let running: Vec<_> = report["distributions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|d| d["name"] == "sent_to_running")
        .collect();
    assert_eq!(running.len(), 3);
    assert!(running.iter().all(|d| d["times"]["count"] == 5));
    assert_clean(&kperf, &sim, Some(&ran.run_id()));

    // Without clean-up between the iterations the host cleans at the end.
    let kept = kperf.density(|text| {
        quick(text)
            .replace("iterationCount: 1", "iterationCount: 2")
            .replace("namespacedIterations: false", "namespacedIterations: true")
            .replace("iterationCleanup: true", "iterationCleanup: false")
    });
    let ran = run(&kept, 0);
    assert_clean(&kperf, &sim, Some(&ran.run_id()));

    // The host keeps a namespace that was deleted until it is gone, and the next iteration needs it again.
    let raced = kperf.density(|text| {
        quick(text)
            .replace("iterationCount: 1", "iterationCount: 2")
            .replace(
                "iterationDeletionWait: true",
                "iterationDeletionWait: false",
            )
    });
    let ran = run(&raced, 0);
    let report = kperf.json("r.json");
    let all = report["distributions"].as_array().unwrap();
    let running: Vec<_> = all
        .iter()
        .filter(|d| d["name"] == "sent_to_running")
        .map(|d| (&d["labels"]["iteration"], &d["times"]["count"]))
        .map(|(iteration, count)| (iteration.as_str().unwrap(), count.as_u64().unwrap()))
        .collect();
    assert_eq!(running, [("1", 5), ("2", 5)]);
    assert!(all.iter().all(|d| d["name"] != "deletion"), "{all:#?}");
    assert_clean(&kperf, &sim, Some(&ran.run_id()));

    // Workloads of one name in one namespace, whose objects stay: none sees the other's.
    let workload = |prefix: &str, replicas: u32| {
        format!(
            "- name: same\n  iterationCreationWait: true\n  objects:\n  - replicas: {replicas}\n    \
             inputVars: {{namespace: same}}\n    objectTemplate: |\n      apiVersion: v1\n      kind: ConfigMap\n      \
             metadata: {{name: \"{prefix}-{{{{.replica}}}}\", namespace: \"{{{{.namespace}}}}\"}}\n"
        )
    };
    let alike = kperf.write(
        "alike.yaml",
        &format!("workloads:\n{}{}", workload("a", 3), workload("b", 2)),
    );
    let ran = run(&alike, 0);
    let report = kperf.json("r.json");
    let created: Vec<_> = report["distributions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|d| d["name"] == "sent_to_created")
        .map(|d| {
            (
                &d["labels"]["workload"],
                &d["times"]["count"],
                &d["missing"],
            )
        })
        .collect();
    let expected = json!([["same[0]", 3, 0], ["same[1]", 2, 0]]);
    assert_eq!(json!(created), expected);
    assert_clean(&kperf, &sim, Some(&ran.run_id()));

    // Kinds that live in no namespace need grants, and are then measured and deleted as others are.
    let global = kperf.write(
        "global.yaml",
        "workloads:\n- name: global\n  iterationCreationWait: true\n  iterationCleanup: true\n  \
         iterationDeletionWait: true\n  objects:\n  - replicas: 3\n    inputVars: {namespace: global}\n    \
         objectTemplate: |\n      apiVersion: scheduling.k8s.io/v1\n      kind: PriorityClass\n      \
         metadata: {name: \"global-{{.replica}}\"}\n      value: 1\n",
    );
    let refused = run(&global, 5);
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(said.contains("live in no namespace"), "{said}");
    assert_clean(&kperf, &sim, None);
    let ran = kperf
        .run(&[
            "run",
            "--plugin",
            "kubevirt_density",
            "--config",
            global.to_str().unwrap(),
            "--kubeconfig",
            sim.kubeconfig(),
            "--grant",
            "list,watch,create,deletecollection:priorityclasses.scheduling.k8s.io",
            "--output",
            "json=r.json",
        ])
        .expect(0);
    let report = kperf.json("r.json");
    for name in ["sent_to_created", "deletion"] {
        assert_eq!(distribution(&report, name)["times"]["count"], 3, "{name}");
    }
    assert_clean(&kperf, &sim, Some(&ran.run_id()));

    // Nothing can run that soon: the verdict fails, names who did not, and all is gone.
    let hasty =
        kperf.density(|text| quick(text).replace("maxWaitTimeout: 30m", "maxWaitTimeout: 1ms"));
    let ran = run(&hasty, 3);
    assert!(
        ran.stdout
            .contains("of 5 VirtualMachineInstance ran within"),
        "{}",
        ran.stdout
    );
    assert_clean(&kperf, &sim, Some(&ran.run_id()));

    let wrong = kperf.density(|text| quick(text).replace("replicas:", "replica:"));
    run(&wrong, 2).says(&["density.yaml", "replica"]);
    let nothing = kperf
        .density(|text| quick(text).replace("templates/vmi-ephemeral.yaml", "templates/none.yaml"));
    let ran = run(&nothing, 5);
    assert!(ran.stdout.contains("templates/none.yaml"), "{}", ran.stdout);
    let unnamed =
        kperf.density(|text| quick(text).replace("namespace: kubevirt-density", "other: 1"));
    let ran = run(&unnamed, 2);
    assert!(ran.stdout.contains("inputVars.namespace"), "{}", ran.stdout);

    // The other generation: a steady state with churn.
    let steady = kperf.write(
        "steady.yaml",
        "name: steady\ntype: steady-state\ncount: 4\nchurn: 2\nminChurnSleep: 300ms\ntimeout: 2s\n\
         object:\n  templateFile: templates/vmi-ephemeral.yaml\n  inputVars:\n    namespace: steady\n    \
         containerPrefix: \"\"\n    containerImg: cirros\n    containerTag: \"\"\n",
    );
    let ran = run(&steady, 0);
    let report = kperf.json("r.json");
    let cycles = report["metrics"].as_array().unwrap();
    let cycles = cycles.iter().find(|m| m["name"] == "churn_cycles").unwrap();
    assert!(cycles["value"].as_f64().unwrap() >= 1.0, "{cycles}");
    assert_clean(&kperf, &sim, Some(&ran.run_id()));
}

/// ClusterLoader2's measurement from its own test config: files, units and labels as it writes them.
#[test]
fn pod_startup_latency_on_the_simulator() {
    let kperf = kperf!();
    let sim = kperf.sim(&["--objects", "nodes=10,pods=0"]);
    let example = repository().join("examples/workloads/clusterloader2");
    for file in ["config.yaml", "deployment.yaml"] {
        std::fs::copy(example.join(file), kperf.path(file)).unwrap();
    }
    let ran = kperf
        .run(&[
            "run",
            "--plugin",
            "pod_startup_latency",
            "--set",
            "testConfig=config.yaml",
            "--set",
            "definition=api-2024",
            "--kubeconfig",
            sim.kubeconfig(),
            "--output",
            "perf_data=reports/",
            "--output",
            "junit=junit.xml",
            "--output",
            "json=r.json",
        ])
        .expect(0);
    let files: Vec<_> = std::fs::read_dir(kperf.path("reports"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files.len(), 3, "{files:?}");
    let all = files
        .iter()
        .find(|name| name.starts_with("PodStartupLatency_PodStartupLatency_test_"))
        .unwrap_or_else(|| panic!("{files:?}"));
    let written = kperf.json(&format!("reports/{all}"));
    assert_eq!(written["version"], "1.0");
    let mut labels: Vec<_> = written["dataItems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            assert_eq!(item["unit"], "ms");
            for quantile in ["Perc50", "Perc90", "Perc99"] {
                assert!(item["data"][quantile].is_number(), "{item}");
            }
            item["labels"]["Metric"].as_str().unwrap().to_owned()
        })
        .collect();
    labels.sort();
    assert_eq!(
        labels,
        [
            "create_to_schedule",
            "pod_startup",
            "run_to_watch",
            "schedule_to_run",
            "schedule_to_watch"
        ]
    );
    let report = kperf.json("r.json");
    assert_eq!(distribution(&report, "pod_startup")["times"]["count"], 10);
    let junit = std::fs::read_to_string(kperf.path("junit.xml")).unwrap();
    assert!(junit.contains("ClusterLoaderV2"), "{junit}");
    assert!(
        junit.contains("\"test: [step: 02] Create deployments\""),
        "{junit}"
    );
    // Only what is missing is counted.
    let metrics = report["metrics"].as_array().unwrap();
    assert!(metrics.iter().any(|m| m["name"] == "pods"), "{metrics:#?}");
    let lacking = metrics.iter().filter(|m| m["name"] == "pods_without_times");
    assert!(lacking.clone().all(|m| m["value"] != 0.0), "{metrics:#?}");
    assert_clean(&kperf, &sim, Some(&ran.run_id()));

    // Without any configuration it brings a workload of its own.
    let ran = kperf
        .run(&[
            "run",
            "--plugin",
            "pod_startup_latency",
            "--kubeconfig",
            sim.kubeconfig(),
            "--threshold",
            "pod_startup p99 <= 1m",
        ])
        .expect(0);
    assert!(ran.stdout.contains("pod_startup"), "{}", ran.stdout);
    assert_clean(&kperf, &sim, Some(&ran.run_id()));
}

/// Flags of one kind of run are refused by the other, by name.
#[test]
fn flags_of_loads_and_benchmarks_do_not_mix() {
    let kperf = kperf!();
    kperf
        .run(&[
            "run",
            "--plugin",
            "pod_startup_latency",
            "--sim",
            "--rate",
            "5",
        ])
        .expect(2)
        .says(&["--rate", "benchmark"]);
    kperf
        .run(&["run", "--plugin", "quorum_list", "--sim", "--keep"])
        .expect(2)
        .says(&["--keep", "benchmarks"]);
    kperf
        .run(&[
            "run",
            "--plugin",
            "quorum_list",
            "--sim",
            "--threshold",
            "p99 <",
        ])
        .expect(2)
        .says(&["--threshold"]);
    kperf
        .run(&[
            "run",
            "--plugin",
            "quorum_list",
            "--sim",
            "--grant",
            "list:pods",
        ])
        .expect(2)
        .says(&["--grant"]);
}
