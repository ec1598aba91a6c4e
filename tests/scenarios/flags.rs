//! Flags of the scenarios, and a scenario that is somebody else's component.

use std::path::{Path, PathBuf};

use kperf_tests::{benchmark::watch_propagation, kperf};
use serde_json::{Value, json};

use crate::keys;

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

/// The component of a bundled scenario, as cargo built it.
fn bundled() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_kperf-host-under-test"));
    let target = binary.parent().and_then(Path::parent).unwrap();
    target.join("plugins/wasm32-wasip2/plugin/node10_job1_pod100.wasm")
}
