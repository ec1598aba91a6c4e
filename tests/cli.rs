//! Bad input: one sentence that names file, line and key, and the right exit code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use kperf_tests::kperf;

fn profile(requests: &str) -> String {
    format!("version: 1\ndescription: test\nspecs:\n- total: 10\n  requests:\n{requests}")
}

#[test]
fn validate_names_line_and_key() {
    let kperf = kperf!();
    let cases: &[(&str, String, &[&str])] = &[
        (
            "misspelt.yaml",
            profile("  - shares: 1\n    staleList:\n      version: v1\n      resorce: pods\n"),
            &["misspelt.yaml:9", "resorce", "resource"],
        ),
        (
            "top.yaml",
            "version: 1\nspecs: []\nspec_s: 1\n".to_owned(),
            &["top.yaml:3", "spec_s"],
        ),
        (
            "empty.yaml",
            "version: 1\nspecs:\n- {total: 1, requests: []}\n".to_owned(),
            &["requests"],
        ),
        (
            "zero.yaml",
            profile("  - {shares: 0, staleList: {version: v1, resource: pods}}\n"),
            &["shares"],
        ),
        (
            "patch.yaml",
            profile(
                "  - {shares: 1, patch: {version: v1, resource: configmaps, namespace: a, name: b, patchType: merge, body: '{}'}}\n",
            ),
            &["keySpaceSize"],
        ),
        (
            "postdel.yaml",
            profile(
                "  - {shares: 1, postDel: {version: v1, resource: services, namespace: a, deleteRatio: 0.1}}\n",
            ),
            &["postDel.resource", "pods"],
        ),
        (
            "limit.yaml",
            profile("  - {shares: 1, staleList: {version: v1, resource: pods, limit: 5}}\n"),
            &["stale list doesn't support pagination"],
        ),
        (
            "plugin.yaml",
            profile("  - {shares: 1, plugin: ./nowhere.wasm}\n"),
            &["nowhere.wasm"],
        ),
        (
            "version.yaml",
            "version: 2\nspecs: []\n".to_owned(),
            &["version should be 1"],
        ),
        ("broken.yaml", "version: [1\n".to_owned(), &["broken.yaml"]),
    ];
    for (name, text, says) in cases {
        kperf.write(name, text);
        let ran = kperf.run(&["validate", name]);
        assert!(
            ran.code
                .is_some_and(|code| code == 2 || (code == 5 && *name == "plugin.yaml")),
            "{name}: exit {:?}\n{}",
            ran.code,
            ran.stderr
        );
        ran.says(says);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
}

#[test]
fn lenient_ignores_what_it_does_not_know() {
    let kperf = kperf!();
    kperf.write(
        "p.yaml",
        &profile("  - {shares: 1, colour: red, staleList: {version: v1, resource: pods}}\n"),
    );
    kperf
        .run(&["validate", "p.yaml"])
        .expect(2)
        .says(&["colour"]);
    kperf
        .run(&["validate", "p.yaml", "--lenient"])
        .expect(0)
        .says(&["warning", "colour"]);
}

#[test]
fn a_valid_profile_needs_no_cluster_and_can_be_shown() {
    let kperf = kperf!();
    kperf.write(
        "p.yaml",
        &profile("  - {shares: 1, staleList: {version: v1, resource: pods, seletor: app=x}}\n"),
    );
    let ran = kperf.run(&["validate", "p.yaml", "--show"]).expect(0);
    assert!(ran.stdout.contains("version: 1"), "{}", ran.stdout);
}

#[test]
fn exit_codes_of_the_table() {
    let kperf = kperf!();
    // No target at all.
    kperf
        .run(&["run", "--plugin", "quorum_list"])
        .expect(2)
        .says(&["--sim"]);
    // Nothing listens there.
    kperf
        .run(&[
            "run",
            "--plugin",
            "quorum_list",
            "--server",
            "https://127.0.0.1:1",
            "--insecure-skip-tls-verify",
        ])
        .expect(4)
        .says(&["127.0.0.1:1", "refused"]);
    kperf
        .run(&["run", "--plugin", "no_such", "--sim"])
        .expect(5)
        .says(&["error: --plugin no_such", "no plugin `no_such`"]);
    kperf.run(&["run", "--sim"]).expect(2);
    kperf
        .run(&["run", "--plugin", "json", "--sim"])
        .expect(2)
        .says(&["error: --plugin json", "exporter"]);
    kperf
        .run(&["run", "--plugin", "quorum_list", "--sim", "pots=3"])
        .expect(2)
        .says(&["pots"]);
    kperf
        .run(&[
            "run",
            "--plugin",
            "quorum_list",
            "--sim",
            "--sim-faults",
            "explode=1",
        ])
        .expect(2)
        .says(&["explode"]);
}

#[test]
fn flags_do_not_override_several_specs() {
    let kperf = kperf!();
    kperf.write(
        "p.yaml",
        "version: 1\nspecs:\n\
         - {total: 1, requests: [{shares: 1, staleList: {version: v1, resource: pods}}]}\n\
         - {total: 1, conns: 1, client: 1, contentType: json, requests: [{shares: 1, staleList: {version: v1, resource: pods}}]}\n",
    );
    kperf
        .run(&[
            "runner", "run", "--config", "p.yaml", "--sim", "--rate", "5",
        ])
        .expect(2)
        .says(&["CLI flag overrides are not allowed when config has multiple specs"]);
}

/// Flags that say how to read `--plugin` or `--profile` are refused beside the other one.
#[test]
fn flags_of_plugins_and_of_profiles_do_not_mix() {
    let kperf = kperf!();
    kperf.write(
        "p.yaml",
        &profile("  - {shares: 1, staleList: {version: v1, resource: pods}}\n"),
    );
    for (flag, value) in [("--set", "limit=5"), ("--config", "c.yaml")] {
        kperf
            .run(&["run", "--profile", "p.yaml", "--sim", flag, value])
            .expect(2)
            .says(&[flag]);
    }
    kperf
        .run(&["run", "--plugin", "stale_get", "--sim", "--lenient"])
        .expect(2)
        .says(&["--lenient"]);
}

/// A zero that was typed is not replaced by a default; one in the file is, as in kperf.
#[test]
fn zeros_of_flags_are_errors() {
    let kperf = kperf!();
    kperf.write(
        "p.yaml",
        "version: 1\nspecs:\n- {total: 5, conns: 0, client: 0, requests: [{shares: 1, staleList: {version: v1, resource: pods}}]}\n",
    );
    let run =
        |more: &[&str]| kperf.run(&[&["run", "--profile", "p.yaml", "--sim"][..], more].concat());
    run(&[]).expect(0);
    for (flag, value, says) in [
        ("--conns", "0", "conns requires > 0: 0"),
        ("--client", "0", "client requires > 0: 0"),
        ("--total", "0", "total requires > 0: 0"),
        ("--rate", "-5", "rate requires >= 0: -5"),
    ] {
        run(&[flag, value])
            .expect(2)
            .says(&[&format!("{flag}: {says}")]);
    }
    // The way to make a run by duration from a profile with a total.
    let ran = run(&["--total", "0", "--duration", "1", "--rate", "20"]).expect(0);
    assert!(ran.stdout.contains("20 sent"), "{}", ran.stdout);
    run(&["--duration", "1"])
        .expect(0)
        .says(&["warning: --duration: both total:5 and duration:1 are set"]);
}

#[test]
fn two_outputs_do_not_share_a_file() {
    let kperf = kperf!();
    std::fs::create_dir(kperf.path("b")).unwrap();
    for (one, other) in [
        ("json=same.json", "kperf-json=same.json"),
        ("json=same.json", "kperf-json=./same.json"),
        ("json=b/../new/same.json", "kperf-json=new/same.json"),
    ] {
        kperf
            .run(&[
                "run",
                "--plugin",
                "stale_get",
                "--sim",
                "--total",
                "5",
                "--output",
                one,
                "--output",
                other,
            ])
            .expect(2)
            .says(&["--output json", "--output kperf-json", "same file"]);
        assert!(!kperf.path("same.json").exists());
    }
}

/// `-v=N`, `-v N`, and an empty kubeconfig for the pod's service account.
#[test]
fn kperfs_own_ways_of_calling_the_runner() {
    let kperf = kperf!();
    kperf.write(
        "p.yaml",
        "version: 1\nspecs:\n- {total: 5, requests: [{shares: 1, staleList: {version: v1, resource: pods}}]}\n",
    );
    for arguments in [
        &[
            "-v=2", "runner", "run", "--config", "p.yaml", "--sim", "--result", "r.json",
        ][..],
        &[
            "-v", "2", "runner", "run", "--config", "p.yaml", "--sim", "--result", "r.json",
        ],
        &[
            "runner", "run", "-v", "0", "--config", "p.yaml", "--sim", "--result", "r.json",
        ],
    ] {
        kperf.run(arguments).expect(0);
        assert_eq!(kperf.json("r.json")["aggregated"]["total"], 5);
    }
    kperf
        .run(&["runner", "run", "--config", "p.yaml", "--kubeconfig", ""])
        .expect(4)
        .says(&["KUBERNETES_SERVICE_HOST"]);
    kperf
        .run(&["run", "--profile", "p.yaml", "--kubeconfig", ""])
        .expect(2)
        .says(&["--kubeconfig is empty", "--in-cluster"]);
}

/// An error that quotes its cause is not followed by the cause.
#[test]
fn causes_are_said_once() {
    let kperf = kperf!();
    let ran = kperf
        .run(&[
            "run",
            "--plugin",
            "stale_get",
            "--server",
            "https://127.0.0.1:1",
            "--ca-file",
            "nofile",
        ])
        .expect(4);
    assert_eq!(
        ran.stderr.matches("No such file").count(),
        1,
        "{}",
        ran.stderr
    );
}
