//! The main job against a real control plane: all kinds and credentials, and every way in which a real API
//! server says no. Without one (see the README), each test says in a line that it was skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

mod credential;
mod nine_kinds;
mod outage;
mod pods;
mod refusal;

use std::{path::Path, thread, time::Duration};

use kperf_control_plane::{ControlPlane, Options};
use kperf_tests::Kperf;
use serde_json::Value;

fn started(what: &str, options: Options) -> Option<ControlPlane> {
    ControlPlane::start_or_skip(what, options).unwrap()
}

/// The arguments of a run of `what`, a plugin and its settings, as one would type them; its report is in `r.json`.
fn arguments<'a>(what: &'a str, target: &[&'a str], load: &'a str) -> Vec<&'a str> {
    let mut words = what.split_whitespace();
    let plugin = words.next().expect("a plugin");
    let mut arguments = vec!["run", "--output", "json=r.json", "--plugin", plugin];
    arguments.extend(words.flat_map(|setting| ["--set", setting]));
    arguments.extend(target);
    arguments.extend(load.split_whitespace());
    arguments
}

/// The report of a run.
#[track_caller]
fn run(kperf: &Kperf, what: &str, target: &[&str], load: &str) -> Value {
    kperf.run(&arguments(what, target, load)).expect(0);
    kperf.json("r.json")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn errors(report: &Value) -> Vec<(String, u64)> {
    let errors = report["overall"]["errors"].as_object().unwrap();
    let count = |(key, count): (&String, &Value)| (key.clone(), count.as_u64().unwrap());
    errors.iter().map(count).collect()
}

fn counter(report: &Value, name: &str) -> u64 {
    report["phases"][0]["counters"][name].as_u64().unwrap_or(0)
}

/// Asks until there is an answer.
#[track_caller]
fn until<T>(ask: impl Fn() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(answer) = ask() {
            return answer;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("not within a minute");
}
