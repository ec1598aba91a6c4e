//! Plugins that misbehave, through the real binary: one clear sentence, the right exit code, and what was
//! measured before is in the report.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::path::PathBuf;

use kperf_tests::{build_plugin, kperf, repository};

fn hostile(kind: &str) -> PathBuf {
    build_plugin(
        &repository().join("tests/components").join(kind),
        &format!("hostile_{kind}"),
    )
}

#[test]
fn a_hostile_generator_ends_its_phase_and_no_more() {
    let kperf = kperf!();
    let component = hostile("generator");
    let component = component.to_str().unwrap();
    // What is sent is whatever the guest made before; only `trap-midway` makes something first.
    for (misbehave, says) in [
        ("loop", "limit of 250 ms"),
        ("grow", "memory"),
        ("panic", "the moon is not full"),
        ("million", "1000000"),
        ("arena-short", "arena"),
        ("arena-long", "arena"),
        ("column", "tag"),
        ("fail", "the moon is not full"),
        ("open-loop", "limit of"),
    ] {
        let set = format!("misbehave={misbehave}");
        let ran = kperf
            .run(&[
                "run", "--plugin", component, "--set", &set, "--sim", "--total", "1000",
            ])
            .expect(5);
        let all = format!("{}{}", ran.stdout, ran.stderr);
        for part in [says, "hostile"] {
            assert!(all.contains(part), "{misbehave}: no `{part}` in\n{all}");
        }
        assert!(!all.contains("panicked at src/"), "{misbehave}: {all}");
    }
    kperf
        .run(&[
            "run",
            "--plugin",
            component,
            "--set",
            "misbehave=trap-midway",
            "--sim",
            "--total",
            "100000",
            "--client",
            "4",
            "--output",
            "json=r.json",
        ])
        .expect(5);
    let report = kperf.json("r.json");
    assert_eq!(report["ended"], "failed");
    assert!(
        report["overall"]["sent"].as_u64().unwrap() > 0,
        "{report:#}"
    );
    assert!(
        report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|finding| finding["code"] == "plugin/trap"
                && finding["message"].as_str().unwrap().contains("next")),
        "{}",
        report["findings"]
    );
}

#[test]
fn a_hostile_exporter_costs_its_output_only() {
    let kperf = kperf!();
    let component = hostile("exporter");
    for misbehave in ["trap", "huge-chunk"] {
        let output = format!("{}=bad.txt", component.display());
        let set = format!("{}.misbehave={misbehave}", component.display());
        let ran = kperf
            .run(&[
                "run",
                "--plugin",
                "stale_get",
                "--sim",
                "--total",
                "20",
                "--output",
                &output,
                "--output-set",
                &set,
                "--output",
                "json=good.json",
            ])
            .expect(6);
        assert!(
            ran.stdout.contains("20 sent, 20 succeeded"),
            "{}",
            ran.stdout
        );
        assert!(!kperf.path("bad.txt").exists());
        assert_eq!(kperf.json("good.json")["overall"]["sent"], 20);
    }
}

#[test]
fn what_is_no_plugin_says_so() {
    let kperf = kperf!();
    for (name, bytes) in [
        ("text.wasm", &b"not wasm at all"[..]),
        ("core.wasm", b"\0asm\x01\0\0\0"),
        ("empty.wasm", b""),
    ] {
        std::fs::write(kperf.path(name), bytes).unwrap();
        let ran = kperf
            .run(&["run", "--plugin", name, "--sim", "--total", "1"])
            .expect(5);
        ran.says(&[name]);
    }
}
