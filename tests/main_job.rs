//! The main job: one plugin or profile, a target, results.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::collections::BTreeSet;

use kperf_tests::{kperf, repository};
use serde_json::Value;

fn validate(report: &Value) {
    let schema: Value = serde_json::from_str(
        &std::fs::read_to_string(repository().join("plugins/exporter-json/report-v1.schema.json"))
            .unwrap(),
    )
    .unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(report)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn the_first_command_of_the_readme() {
    let kperf = kperf!();
    let ran = kperf
        .run(&[
            "run",
            "--plugin",
            "quorum_list.wasm",
            "--sim",
            "--total",
            "1000",
        ])
        .expect(0);
    for part in [
        "1000 sent, 1000 succeeded, 0 failed",
        "response",
        "service",
        "achieved",
        "verdict",
        "LIST /api/v1/pods?timeout=1m0s",
    ] {
        assert!(ran.stdout.contains(part), "no `{part}` in\n{}", ran.stdout);
    }
}

#[test]
fn the_report_is_what_its_schema_says() {
    let kperf = kperf!();
    for (name, more) in [
        ("open.json", &["--rate", "500", "--client", "8"][..]),
        ("closed.json", &["--client", "8", "--conns", "2"][..]),
        (
            "raw.json",
            &["--raw-data", "--output-set", "json.intervals=true"][..],
        ),
    ] {
        let output = format!("json={name}");
        let mut arguments = vec![
            "run",
            "--plugin",
            "stale_get",
            "--sim",
            "--total",
            "300",
            "--output",
            &output,
        ];
        arguments.extend(more);
        kperf.run(&arguments).expect(0);
        let report = kperf.json(name);
        validate(&report);
        assert_eq!(report["overall"]["succeeded"], 300);
        assert_eq!(report["overall"]["response_time"]["count"], 300);
        assert_eq!(report["ended"], "completed");
        assert_eq!(report["plugins"][0]["name"], "stale_get");
    }
}

/// kperf's own result for the nine kinds: its envelope, exactly its keys.
#[test]
fn nine_kinds_in_kperfs_words() {
    let kperf = kperf!();
    let profile = repository().join("examples/profiles/nine-kinds.yaml");
    kperf
        .run(&[
            "runner",
            "run",
            "--config",
            profile.to_str().unwrap(),
            "--sim",
            "--result",
            "r.json",
        ])
        .expect(0);
    let result = kperf.json("r.json");
    let aggregated = &result["aggregated"];
    assert_eq!(result["perSpecResults"].as_array().unwrap().len(), 1);
    assert_eq!(aggregated["total"], 2000);
    assert!(
        aggregated.get("errorStats").is_none(),
        "{}",
        aggregated["errorStats"]
    );
    let percentiles: Vec<f64> = aggregated["percentileLatencies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| pair[0].as_f64().unwrap())
        .collect();
    assert_eq!(percentiles, [0.0, 0.5, 0.9, 0.95, 0.99, 1.0]);
    let keys: BTreeSet<String> = aggregated["percentileLatenciesByURL"]
        .as_object()
        .unwrap()
        .keys()
        .map(|key| {
            let (method, url) = key.split_once(' ').unwrap();
            let (server, path) =
                url.split_at("https://".len() + url["https://".len()..].find('/').unwrap());
            assert!(server.starts_with("https://127.0.0.1:"), "{server}");
            format!("{method} {{server}}{path}")
        })
        .collect();
    let expected: BTreeSet<String> =
        std::fs::read_to_string(repository().join("tests/nine-kinds.keys"))
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
    assert_eq!(keys, expected);
}

#[test]
fn raw_data_in_kperfs_words() {
    let kperf = kperf!();
    let profile = repository().join("examples/profiles/nine-kinds.yaml");
    let ran = kperf
        .run(&[
            "runner",
            "run",
            "--config",
            profile.to_str().unwrap(),
            "--sim",
            "--raw-data",
            "--total",
            "200",
            "--rate",
            "0",
        ])
        .expect(0);
    let result: Value = serde_json::from_str(&ran.stdout).expect("JSON alone on stdout");
    let latencies: usize = result["aggregated"]["latenciesByURL"]
        .as_object()
        .unwrap()
        .values()
        .map(|latencies| latencies.as_array().unwrap().len())
        .sum();
    assert_eq!(latencies, 200);
}

#[test]
fn every_protocol_and_content_type() {
    let kperf = kperf!();
    // Flags, then the settings that the report must show: http, content-type, conns, clients, shards.
    for (more, settings) in [
        (
            &["--disable-http2"][..],
            ["HTTP/1.1", "json", "1", "1", "1"],
        ),
        (
            &["--content-type", "protobuf"],
            ["HTTP/2", "protobuf", "1", "1", "1"],
        ),
        (
            &[
                "--disable-http2",
                "--conns",
                "3",
                "--client",
                "7",
                "--shards",
                "1",
            ],
            ["HTTP/1.1", "json", "3", "7", "1"],
        ),
        (
            &["--conns", "4", "--client", "16", "--shards", "2"],
            ["HTTP/2", "json", "4", "16", "2"],
        ),
    ] {
        let mut arguments = vec![
            "run",
            "--plugin",
            "quorum-get",
            "--sim",
            "--total",
            "200",
            "--output",
            "json=r.json",
        ];
        arguments.extend(more);
        kperf.run(&arguments).expect(0);
        let report = kperf.json("r.json");
        assert_eq!(report["overall"]["succeeded"], 200, "{more:?}");
        let said = ["http", "content_type", "conns", "clients", "shards"]
            .map(|name| report["phases"][0]["settings"][name].as_str().unwrap());
        assert_eq!(said, settings, "{more:?}");
    }
}

/// The same seed asks the same questions.
#[test]
fn a_seed_repeats_the_mix() {
    let kperf = kperf!();
    let profile = kperf.write(
        "mix.yaml",
        "version: 1\nspecs:\n- total: 400\n  client: 4\n  requests:\n  \
         - {shares: 3, staleList: {version: v1, resource: nodes}}\n  \
         - {shares: 1, staleGet: {version: v1, resource: nodes, name: node-1}}\n",
    );
    let counts = |seed: &str| {
        kperf
            .run(&[
                "run",
                "--profile",
                profile.to_str().unwrap(),
                "--sim",
                "--seed",
                seed,
                "--output",
                "json=r.json",
            ])
            .expect(0);
        let report = kperf.json("r.json");
        let series = report["series"].as_array().unwrap().clone();
        series
            .iter()
            .map(|series| {
                (
                    series["name"].as_str().unwrap().to_owned(),
                    series["sent"].as_u64().unwrap(),
                )
            })
            .collect::<Vec<_>>()
    };
    let first = counts("7");
    assert_eq!(first, counts("7"));
    assert_eq!(first.iter().map(|(_, sent)| sent).sum::<u64>(), 400);
    let share = first
        .iter()
        .find(|(name, _)| name.starts_with("LIST"))
        .unwrap()
        .1;
    assert!(
        (250..=350).contains(&share),
        "three in four: {share} of 400"
    );
}

/// A run whose seed was drawn can be repeated: the summary says it.
#[test]
fn the_summary_says_the_seed() {
    let kperf = kperf!();
    let run = |more: &[&str]| {
        let ran = kperf
            .run(
                &[
                    &[
                        "run",
                        "--plugin",
                        "stale_get",
                        "--sim",
                        "--total",
                        "10",
                        "--output",
                        "json=r.json",
                    ][..],
                    more,
                ]
                .concat(),
            )
            .expect(0);
        let seed = kperf.json("r.json")["phases"][0]["settings"]["seed"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(
            ran.stdout.contains(&format!(", seed {seed}\n")),
            "seed {seed}:\n{}",
            ran.stdout
        );
        seed
    };
    assert_eq!(run(&["--seed", "7"]), "7");
    assert_ne!(run(&[]), run(&[]));
}

/// Several specs run one after the other and stay apart in the result.
#[test]
fn specs_in_sequence() {
    let kperf = kperf!();
    let profile = kperf.write(
        "two.yaml",
        "version: 1\nspecs:\n\
         - {total: 50, conns: 1, client: 1, requests: [{shares: 1, staleGet: {version: v1, resource: nodes, name: node-1}}]}\n\
         - {total: 70, rate: 500, conns: 1, client: 2, contentType: json, requests: [{shares: 1, staleGet: {version: v1, resource: nodes, name: node-2}}]}\n",
    );
    kperf
        .run(&[
            "run",
            "--profile",
            profile.to_str().unwrap(),
            "--sim",
            "--output",
            "json=r.json",
        ])
        .expect(0);
    let report = kperf.json("r.json");
    validate(&report);
    assert_eq!(report["phases"][0]["overall"]["sent"], 50);
    assert_eq!(report["phases"][1]["overall"]["sent"], 70);
    assert_eq!(report["overall"]["sent"], 120);
}

/// Ctrl-C ends the run early, and what was measured is delivered.
#[test]
fn an_interrupt_keeps_the_results() {
    let kperf = kperf!();
    let command = kperf.command(&[
        "run",
        "--plugin",
        "stale_get",
        "--sim",
        "--rate",
        "200",
        "--duration",
        "60",
        "--output",
        "json=r.json",
    ]);
    let mut child = kperf_tests::start_until_first_interval(command);
    let pid = i32::try_from(child.id()).unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGINT,
    )
    .unwrap();
    let status = kperf_tests::wait(&mut child, std::time::Duration::from_secs(30))
        .expect("over soon after the interrupt");
    assert_eq!(status.code(), Some(130));
    let report = kperf.json("r.json");
    validate(&report);
    assert_eq!(report["ended"], "interrupted");
    assert!(report["overall"]["succeeded"].as_u64().unwrap() > 0);
}

#[test]
fn large_bodies_wait_for_windows_and_arrive_whole() {
    let kperf = kperf!();
    kperf
        .run(&[
            "run",
            "--plugin",
            "put",
            "--set",
            "version=v1",
            "--set",
            "resource=configmaps",
            "--set",
            "namespace=ns-0",
            "--set",
            "name=cm",
            "--set",
            "keySpaceSize=100",
            "--set",
            "payloadSize=300000",
            "--sim",
            "--total",
            "100",
            "--conns",
            "2",
            "--client",
            "16",
            "--output",
            "json=r.json",
        ])
        .expect(0);
    let report = kperf.json("r.json");
    assert_eq!(report["overall"]["succeeded"], 100, "{report:#}");
}
