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
        ("grow", "its limit is 16 MiB"),
        ("panic", "the moon is not full"),
        ("million", "1000000"),
        ("arena-short", "arena"),
        ("arena-long", "arena"),
        ("column", "tag"),
        ("fail", "the moon is not full"),
        ("open-loop", "limit of"),
    ] {
        let set = format!("misbehave={misbehave}");
        // Little memory, so that the guest that grows meets this limit before that of time.
        let memory = if misbehave == "grow" { "16" } else { "256" };
        let ran = kperf
            .run(&[
                "run",
                "--plugin",
                component,
                "--set",
                &set,
                "--sim",
                "--total",
                "1000",
                "--plugin-memory",
                memory,
            ])
            .expect(5);
        let all = format!("{}{}", ran.stdout, ran.stderr);
        for part in [says, "hostile"] {
            assert!(all.contains(part), "{misbehave}: no `{part}` in\n{all}");
        }
        // What is of use to nobody but the guest's author stays out.
        for noise in ["panicked at src/", "RUST_BACKTRACE"] {
            assert!(!all.contains(noise), "{misbehave}: {all}");
        }
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
fn a_generator_for_another_version_says_which_it_needs_and_which_there_is() {
    let kperf = kperf!();
    let mut component = std::fs::read(hostile("generator")).unwrap();
    let (known, unknown) = (
        b"kperf:workload/generator@0.1.0",
        b"kperf:workload/generator@0.9.0",
    );
    let mut found = 0;
    for start in 0..component.len() - known.len() {
        let end = start + known.len();
        if component[start..end] == *known {
            component[start..end].copy_from_slice(unknown);
            found += 1;
        }
    }
    assert!(found > 0);
    std::fs::write(kperf.path("later.wasm"), component).unwrap();
    for command in [
        &["run", "--plugin", "later.wasm", "--sim", "--total", "1"][..],
        &["plugin", "inspect", "later.wasm"],
    ] {
        kperf.run(command).expect(5).says(&[
            "later.wasm",
            "kperf:workload/generator@0.9.0",
            "0.1.0",
        ]);
    }
}

#[test]
fn a_generator_that_wants_the_network_is_refused_before_it_runs() {
    let kperf = kperf!();
    let component = wat::parse_str(
        r#"(component
          (import "wasi:http/outgoing-handler@0.2.0" (instance))
          (instance $nothing)
          (export "kperf:core/identity@0.1.0" (instance $nothing))
          (export "kperf:workload/generator@0.1.0" (instance $nothing)))"#,
    )
    .unwrap();
    std::fs::write(kperf.path("outgoing.wasm"), component).unwrap();
    let ran = kperf
        .run(&["run", "--plugin", "outgoing.wasm", "--sim", "--total", "1"])
        .expect(5);
    ran.says(&["outgoing.wasm", "wasi:http/outgoing-handler"]);
    // What gets through, WASI's own sockets, is empty: nothing can be reached.
    let component = hostile("generator");
    kperf
        .run(&[
            "run",
            "--plugin",
            component.to_str().unwrap(),
            "--set",
            "misbehave=connect",
            "--sim",
            "--total",
            "1",
        ])
        .expect(5)
        .says(&["hostile", "[network]", "PermissionDenied"]);
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
