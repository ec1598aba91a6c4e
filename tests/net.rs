//! Network benchmarks through the real binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::{collections::BTreeMap, process::Stdio};

use kperf_tests::{Kperf, build_plugin, kperf, repository};
use serde_json::Value;
use tool_samples::{Expected, Sample};

fn parsed(kperf: &Kperf, sample: &Sample) -> (Option<i32>, Value) {
    let stdout = kperf.write("stdout.txt", &sample.output.stdout);
    let stderr = kperf.write("stderr.txt", &sample.output.stderr);
    let mut command = kperf.command(&["net", "parse", "--benchmark"]);
    command.arg(sample.benchmark.replace('_', "-"));
    if !sample.output.args.is_empty() {
        let words = ["tool"]
            .into_iter()
            .chain(sample.output.args.iter().map(String::as_str));
        command
            .arg("--command")
            .arg(shlex::try_join(words).unwrap());
    }
    match &sample.output.exit {
        net_tool::Exit::Code(code) => {
            command.arg("--exit-code").arg(code.to_string());
        }
        net_tool::Exit::Signal(name) => {
            command.arg("--signal").arg(name);
        }
        net_tool::Exit::TimedOut => {
            command.arg("--timed-out");
        }
        net_tool::Exit::Unknown => {}
    }
    command.arg("--stderr").arg(stderr).arg(stdout);
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{}: {text}", sample.case));
    (output.status.code(), value)
}

/// Every captured output, through the component and the command: the document and the exit code.
#[test]
fn every_sample_through_the_command() {
    let kperf = kperf!();
    let samples = tool_samples::samples();
    assert!(samples.len() > 160, "{}", samples.len());
    for sample in &samples {
        let (code, document) = parsed(&kperf, sample);
        let case = &sample.case;
        assert_eq!(
            document["benchmark"],
            sample.benchmark.replace('_', "-"),
            "{case}"
        );
        match &sample.expected {
            Expected::Metrics { metrics } => {
                assert_eq!(code, Some(0), "{case}: {document}");
                let found = document["metrics"].as_array().unwrap();
                assert_eq!(found.len(), metrics.len(), "{case}: {document}");
                for metric in metrics {
                    let labels = |value: &Value| -> BTreeMap<String, String> {
                        serde_json::from_value(value.clone()).unwrap()
                    };
                    let same = found.iter().find(|found| {
                        found["name"] == metric.name.as_str()
                            && labels(&found["labels"]) == metric.labels
                    });
                    let same = same.unwrap_or_else(|| panic!("{case}: no {}", metric.name));
                    assert_eq!(same["unit"], metric.unit.as_str(), "{case}");
                    let value = same["value"].as_f64().unwrap();
                    let near = (value - metric.value).abs() <= metric.value.abs() * 1e-9;
                    assert!(near, "{case}: {} {value} != {}", metric.name, metric.value);
                }
            }
            Expected::Error { error, says } => {
                assert_eq!(code, Some(8), "{case}: {document}");
                assert_eq!(document["error"]["class"], error.as_str(), "{case}");
                let message = document["error"]["message"].as_str().unwrap();
                assert!(message.contains(says.as_str()), "{case}: {message}");
            }
        }
    }
}

/// A stranger's tool, for a program that the host has never heard of.
#[test]
fn a_third_partys_tool() {
    let kperf = kperf!();
    let component = build_plugin(&repository().join("examples/tool-third-party"), "nuttcp");
    let component = component.to_str().unwrap();
    let inspected = kperf.run(&["plugin", "inspect", component]).expect(0);
    assert!(
        inspected.stdout.contains("kperf:tool/tool"),
        "{}",
        inspected.stdout
    );
    let whole = kperf.write(
        "whole.txt",
        "megabytes=1470.5000 real_seconds=1.00 rate_Mbps=12356.5159 tx_cpu=44 rx_cpu=39 retrans=0 rtt_ms=0.10\n",
    );
    let parse = |file: &str| kperf.run(&["net", "parse", "--benchmark", component, file]);
    let ran = parse(whole.to_str().unwrap()).expect(0);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["benchmark"], "nuttcp");
    assert_eq!(document["metrics"][0]["value"], 12_356_515_900.0);
    let cut = kperf.write("cut.txt", "megabytes=1470.5000 real_sec");
    let ran = parse(cut.to_str().unwrap()).expect(8);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["error"]["class"], "truncated");
}

#[test]
fn mistakes_are_said() {
    let kperf = kperf!();
    let file = kperf.write("out.txt", "x");
    let file = file.to_str().unwrap();
    let parse = |benchmark: &str, more: &[&str], code: i32| {
        let mut arguments = vec!["net", "parse", "--benchmark", benchmark];
        arguments.extend(more);
        kperf.run(&arguments).expect(code)
    };
    parse("iperf9", &[file], 5).says(&["iperf9", "iperf3_tcp"]);
    parse("quorum-list", &[file], 2).says(&["is a generator, not a tool"]);
    parse("iperf3-tcp", &["none.txt"], 2).says(&["none.txt"]);
    parse("iperf3-tcp", &["--command", "iperf3 'x", file], 2).says(&["quotes"]);
    parse("iperf3-tcp", &["--timed-out", "--exit-code", "1", file], 2).says(&["--exit-code"]);
    let ran = parse("iperf3-tcp", &["--timed-out", file], 8);
    assert!(ran.stdout.contains("\"timed_out\""), "{}", ran.stdout);
}

/// Three worker processes, six pairs, the real program: never more than two busy, results in every format.
#[test]
fn pairs_on_this_machine() {
    if !kperf_tests::have("iperf3", "the network benchmark on this machine") {
        return;
    }
    let kperf = kperf!();
    let ran = kperf
        .run(&[
            "net",
            "run",
            "--benchmark",
            "iperf3-tcp",
            "--workers",
            "3",
            "--set",
            "durationSeconds=1",
            "--set",
            "omitSeconds=0",
            "--results",
            "results.json",
            "--output",
            "json=r.json",
            "--threshold",
            "network-bandwidth_bits_per_second >= 1",
        ])
        .expect(0);
    // The matrix: a row for each client.
    assert!(
        ran.stdout.contains("bandwidth_bits_per_second by loopback"),
        "{}",
        ran.stdout
    );
    assert_eq!(ran.stdout.matches("bit/s").count(), 6, "{}", ran.stdout);
    let results = kperf.json("results.json");
    let results = results["results"].as_array().unwrap();
    assert_eq!(results.len(), 6);
    let mut pairs: Vec<_> = results
        .iter()
        .map(|result| {
            let task = &result["task"];
            assert_eq!(task["command"], "iperf3");
            assert_eq!(task["status"], 4, "{result}");
            assert!(task["client"]["idle"].is_boolean(), "{result}");
            (
                task["client"]["worker"].as_str().unwrap().to_owned(),
                task["server"]["worker"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    pairs.sort();
    pairs.dedup();
    assert_eq!(pairs.len(), 6);
    assert!(pairs.iter().all(|(client, server)| client != server));
    let report = kperf.json("r.json");
    let metrics = report["metrics"].as_array().unwrap();
    let of = |name: &str| {
        metrics
            .iter()
            .filter(|metric| metric["name"] == name)
            .count()
    };
    assert_eq!(of("network_bandwidth_bits_per_second"), 6);
    assert_eq!(of("network_success"), 6);
    assert_eq!(of("network_error"), 0);
    assert_eq!(report["thresholds"][0]["passed"], true);
}

/// A stranger's tool for a program that no host knows: allowed by name, run between two workers, varied.
#[test]
fn a_third_partys_tool_between_workers() {
    if !kperf_tests::have("nuttcp", "the network benchmark of a third party") {
        return;
    }
    let kperf = kperf!();
    let component = build_plugin(&repository().join("examples/tool-third-party"), "nuttcp");
    let component = component.to_str().unwrap();
    let run = |more: &[&str]| {
        let mut arguments = vec![
            "net",
            "run",
            "--benchmark",
            component,
            "--set",
            "durationSeconds=1",
        ];
        arguments.extend(more);
        kperf.run(&arguments)
    };
    // What is not on the allow list is not run.
    run(&[]).expect(1).says(&["nuttcp"]);
    let ran = run(&["--allow", "nuttcp", "--vary", "streams=1,2"]).expect(0);
    assert!(ran.stdout.contains("streams=1"), "{}", ran.stdout);
    assert!(ran.stdout.contains("streams=2"), "{}", ran.stdout);
    assert_eq!(ran.stdout.matches("bit/s").count(), 4, "{}", ran.stdout);
}

#[test]
fn mistakes_of_a_network_run_are_said() {
    let kperf = kperf!();
    let run = |more: &[&str], code: i32| {
        let mut arguments = vec!["net", "run", "--benchmark", "iperf3-tcp"];
        arguments.extend(more);
        kperf.run(&arguments).expect(code)
    };
    run(&["--workers", "1"], 2).says(&["--workers"]);
    run(&["--set", "durationSecond=1"], 2).says(&["durationSecond"]);
    run(&["--set", "durationSeconds=-1"], 2).says(&["durationSeconds"]);
    run(&["--vary", "streams"], 2).says(&["--vary streams"]);
    run(&["--threshold", "nonsense"], 2).says(&["--threshold"]);
    kperf
        .run(&["net", "run", "--benchmark", "quorum-list"])
        .expect(2)
        .says(&["not a tool"]);
}
