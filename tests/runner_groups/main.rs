//! Runner groups from outside: as processes of this machine, and as pods of a real control plane whose kubelet runs
//! processes. Without one (see the README), those tests say in a line that they were skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

mod api;
mod cluster;
mod local;

use std::{fs, path::PathBuf};

use kperf_tests::{Kperf, build_plugin, repository};
use serde_json::Value;

/// The generator that a stranger could have written.
fn hot_configmaps() -> PathBuf {
    build_plugin(
        &repository().join("examples/plugin-third-party"),
        "hot_configmaps",
    )
}

/// The example that mixes kperf's requests with a stranger's, changed.
fn mixed(kperf: &Kperf, change: impl Fn(String) -> String) -> PathBuf {
    let example = repository().join("examples/runner-groups/mixed.yaml");
    let text = fs::read_to_string(example).unwrap();
    let path = "../plugin-third-party/target/wasm32-wasip2/release/hot_configmaps.wasm";
    assert!(text.contains(path));
    let text = text.replace(path, hot_configmaps().to_str().unwrap());
    kperf.write("mixed.yaml", &change(text))
}

fn metric(report: &Value, name: &str) -> f64 {
    let all = report["metrics"].as_array().unwrap();
    let found = all.iter().find(|metric| metric["name"] == name);
    found.unwrap_or_else(|| panic!("no metric {name} in {all:#?}"))["value"]
        .as_f64()
        .unwrap()
}

/// The merged report says when each runner began, behind the earliest, and how far they were apart.
fn starts(report: &Value, runners: usize) {
    let all = report["metrics"].as_array().unwrap().iter();
    let offsets: Vec<f64> = all
        .filter(|metric| metric["name"] == "runner_start_offset")
        .map(|metric| metric["value"].as_f64().unwrap())
        .collect();
    assert_eq!(offsets.len(), runners, "{:#}", report["metrics"]);
    assert!(offsets.contains(&0.0), "{offsets:?}");
    let skew = metric(report, "start_skew");
    eprintln!("start skew {skew} s");
}

/// A process that is a runner.
#[derive(Debug)]
struct Runner {
    id: i32,
    name: String,
    store: String,
}

/// Runners with a name that begins so.
fn runners(begin: &str) -> Vec<Runner> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|id| id.parse().ok()) else {
            continue;
        };
        let Ok(line) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let words: Vec<String> = line
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let is_runner = words.windows(2).any(|pair| pair == ["runner", "pod"]);
        let flag = |flag: &str| {
            let found = words.windows(2).find(|pair| pair[0] == flag);
            found.map(|pair| pair[1].clone()).unwrap_or_default()
        };
        let (name, store) = (flag("--name"), flag("--store"));
        if is_runner && name.starts_with(begin) {
            found.push(Runner { id, name, store });
        }
    }
    found
}
