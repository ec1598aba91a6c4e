//! What is said before anything is created.

use kperf_tests::{finish, kperf};

use crate::{Launch, NOT_HANGING, WORLD};

#[test]
fn mistakes_are_said_before_anything_is_created() {
    let kperf = kperf!();
    let Some(world) = WORLD.as_ref() else { return };
    let space = "net-mistakes";
    let mut launch = Launch::new(world, kperf, space, "iperf3-tcp");
    let words = launch.words.clone();
    let mut said = |more: &[&str], code: i32, parts: &[&str]| {
        launch.words = words.clone();
        // A flag that is there already gets another value; --set is given several times.
        for words in more.chunks(2) {
            let known = launch.words.iter().position(|word| word == words[0]);
            match (known, words) {
                (Some(at), [flag, value]) if *flag != "--set" => {
                    launch.words[at + 1] = (*value).to_owned();
                }
                _ => launch
                    .words
                    .extend(words.iter().map(|word| (*word).to_owned())),
            }
        }
        let ran = finish(launch.command(), NOT_HANGING).expect(code);
        ran.says(parts);
        assert!(!world.is_there(space), "{more:?}");
    };
    for benchmark in ["qperf-tcp", "netperf-tcp-rr", "netperf-tcp-stream"] {
        said(
            &["--benchmark", benchmark, "--inject"],
            2,
            &[
                "--inject cannot be used with",
                benchmark,
                "data connections",
            ],
        );
    }
    said(&["--path", "host", "--inject"], 2, &["no sidecar"]);
    said(
        &["--path", "loopback"],
        2,
        &["loopback", "pod, service and host"],
    );
    said(&["--path", "pod", "--host-network"], 2, &["--host-network"]);
    said(&["--set", "durationSecond=1"], 2, &["durationSecond"]);
    said(&["--namespace", "No"], 2, &["cannot be the name"]);
    said(
        &["--node-labels", "pool=none"],
        2,
        &["pool=none", "--node-labels (empty means every node)"],
    );
    said(&["--client-node", "node-9"], 2, &["node-9", "node-0"]);
    said(
        &["--tolerance", "pod within 10% of host", "--path", "pod"],
        2,
        &["host"],
    );
    said(
        &["--output-directory", "/proc/none"],
        2,
        &["--output-directory"],
    );
    said(&["--toleration", "gpu:Never"], 2, &["Never"]);
}

#[test]
fn who_may_not_launch_is_told_what_is_missing() {
    let kperf = kperf!();
    let Some(world) = WORLD.as_ref() else { return };
    let visitor = world.plane.kubeconfig_for_user("net-visitor", &[]).unwrap();
    let mut launch = Launch::new(world, kperf, "net-visitor", "iperf3-tcp");
    for word in &mut launch.words {
        if *word == world.kubeconfig {
            *word = visitor.to_str().unwrap().to_owned();
        }
    }
    let ran = finish(launch.command(), NOT_HANGING).expect(4);
    ran.says(&[
        "list nodes",
        "create/get/list/delete namespaces",
        "create/list/deletecollection secrets in net-visitor",
    ]);
}

/// The spelling of the flags that such launchers have always had, too.
#[test]
fn a_dry_run_shows_everything_but_keys() {
    let kperf = kperf!();
    let Some(world) = WORLD.as_ref() else { return };
    let ran = kperf
        .run(&[
            "net",
            "launch",
            "--benchmark",
            "fortio-http",
            "--namespace",
            "net-dry",
            "--workerImage",
            "registry.example/tools:1",
            "--orchImage",
            "registry.example/host:1",
            "--outputFileDirectory",
            "nowhere",
            "--inject",
            "--toleration",
            "gpu=yes:NoSchedule",
            "--worker-cpu",
            "2",
            "--kubeconfig",
            &world.kubeconfig,
            "--dry-run",
        ])
        .expect(0);
    assert!(!world.is_there("net-dry"));
    assert!(!kperf.path("nowhere").exists());
    assert!(!ran.stdout.contains("LS0tLS1CRUdJTi"), "a key");
    for part in [
        "kind: Namespace",
        "istio-injection: enabled",
        "image: registry.example/tools:1",
        "image: registry.example/host:1",
        "key: gpu",
        "cpu: '2'",
        "name: http-",
        "- kperf-worker-2.net-dry.svc",
    ] {
        if part.starts_with('-') {
            // Without --path service nobody calls a worker by its Service.
            assert!(!ran.stdout.contains(part), "{part}");
        } else {
            assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
        }
    }
    assert_eq!(ran.stdout.matches("kind: Pod\n").count(), 4);
}
