//! The profile of nine kinds.

use std::fs;

use kperf_control_plane::{Options, Seed};
use kperf_tests::{Kperf, kperf, repository};
use serde_json::Value;

use crate::{started, text};

/// The objects that the profile of nine kinds asks for, and little more.
fn filled() -> Options {
    Options::full().nodes(2).seed(Seed {
        namespaces: 2,
        pods: 4,
        configmaps: 100,
    })
}

fn keys() -> Vec<String> {
    let text = fs::read_to_string(repository().join("tests/nine-kinds.keys")).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn runner(kperf: &Kperf, target: &[&str]) -> Value {
    let profile = repository().join("examples/profiles/nine-kinds.yaml");
    let mut arguments = vec![
        "runner",
        "run",
        "--config",
        text(&profile),
        "--result",
        "r.json",
    ];
    arguments.extend(target);
    kperf.run(&arguments).expect(0);
    kperf.json("r.json")
}

/// Keys of a result without the server, sorted.
fn keys_of(result: &Value) -> Vec<String> {
    let series = &result["aggregated"]["percentileLatenciesByURL"];
    let mut keys: Vec<String> = series
        .as_object()
        .unwrap_or_else(|| panic!("{result:#}"))
        .keys()
        .map(|key| {
            let (verb, url) = key.split_once(' ').unwrap();
            let path = url.find("/api").map_or("", |start| &url[start..]);
            format!("{verb} {{server}}{path}")
        })
        .collect();
    keys.sort();
    keys
}

#[test]
fn nine_kinds_have_the_same_keys_on_simulator_and_real_server() {
    let kperf = kperf!();
    let Some(plane) = started("nine kinds", filled()) else {
        return;
    };
    let kubeconfig = plane.kubeconfig();
    let kubeconfig = ["--kubeconfig", text(&kubeconfig)];
    let mut expected = keys();
    expected.sort();
    for target in [&kubeconfig[..], &["--sim"]] {
        let result = runner(&kperf, target);
        assert_eq!(keys_of(&result), expected);
        assert_eq!(result["aggregated"]["total"], 2000, "{result:#}");
        // Left out when there are none.
        assert!(
            result["aggregated"].get("errorStats").is_none(),
            "{:#}",
            result["aggregated"]["errorStats"]
        );
    }

    // Both protocols and both encodings.
    let profile = repository().join("examples/profiles/nine-kinds.yaml");
    for flags in [
        &["--content-type", "protobuf"][..],
        &["--disable-http2"],
        &["--disable-http2", "--content-type", "protobuf"],
    ] {
        let arguments = [
            &["run", "--profile", text(&profile)],
            &kubeconfig[..],
            &["--total", "300", "--output", "json=r.json"],
            flags,
        ]
        .concat();
        kperf.run(&arguments).expect(0);
        let report = kperf.json("r.json");
        assert_eq!(report["overall"]["succeeded"], 300, "{flags:?}: {report:#}");
    }
}
