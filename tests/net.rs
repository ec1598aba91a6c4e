//! Network benchmarks through the real binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use kperf_tests::{Kperf, build_plugin, finish, kperf, pushgateway::Pushgateway, repository, wait};
use serde_json::Value;
use tool_samples::{Expected, Sample};

/// A run of a tool for one second, on a port that no other test uses.
fn net_run(kperf: &Kperf, benchmark: &str, more: &[&str]) -> Command {
    let free = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = format!("port={}", free.local_addr().unwrap().port());
    let mut arguments = vec![
        "net",
        "run",
        "--benchmark",
        benchmark,
        "--set",
        "durationSeconds=1",
        "--set",
        &port,
    ];
    if benchmark == "iperf3-tcp" {
        arguments.extend(["--set", "omitSeconds=0"]);
    }
    arguments.extend(more);
    kperf.command(&arguments)
}

/// Longest of these runs; it only says that nothing hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// The PATH with a folder before all others.
fn path_with(folder: &Path) -> String {
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

/// Metrics of a report by name.
fn metrics<'a>(report: &'a Value, name: &str) -> Vec<&'a Value> {
    let all = report["metrics"].as_array().unwrap();
    all.iter().filter(|metric| metric["name"] == name).collect()
}

/// Workers that were busy at one time, from the orchestrator's journal.
fn most_busy(journal: &Path) -> usize {
    let mut busy = BTreeSet::new();
    let mut most = 0;
    for line in std::fs::read_to_string(journal).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let ends =
            |key: &Value| ["client", "server"].map(|end| key[end].as_str().unwrap().to_owned());
        if let Some(state) = line.get("state") {
            busy.extend(ends(&state["key"]));
        } else if let Some(ended) = line.get("ended") {
            for end in ends(&ended["key"]) {
                assert!(
                    busy.remove(&end),
                    "{end} ended a task that it did not begin"
                );
            }
        }
        most = most.max(busy.len());
    }
    assert!(busy.is_empty());
    most
}

/// A sample that a Pushgateway has.
#[derive(Debug)]
struct Exposed {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// What was pushed, as the gateway's own API tells it.
fn exposed(gateway: &Pushgateway) -> Vec<Exposed> {
    let reply = gateway.get("/api/v1/metrics");
    let body = &reply[reply.find('{').unwrap()..=reply.rfind('}').unwrap()];
    let body: Value = serde_json::from_str(body).unwrap();
    let mut all = Vec::new();
    for group in body["data"].as_array().unwrap() {
        for (name, family) in group.as_object().unwrap() {
            let samples = family["metrics"].as_array();
            for sample in samples.into_iter().flatten() {
                let Some(value) = sample["value"].as_str() else {
                    continue;
                };
                all.push(Exposed {
                    name: name.clone(),
                    labels: serde_json::from_value(sample["labels"].clone()).unwrap(),
                    value: value.parse().unwrap(),
                });
            }
        }
    }
    all
}

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
    let gateway = Pushgateway::start();
    let push = gateway.as_ref().map(Pushgateway::output);
    let mut arguments = vec![
        "--workers",
        "3",
        "--state",
        "state",
        "--results",
        "results.json",
        "--output",
        "json=r.json",
        "--threshold",
        "network-bandwidth_bits_per_second >= 1",
    ];
    if let Some(push) = &push {
        arguments.extend(["--output", push]);
    }
    let ran = finish(net_run(&kperf, "iperf3-tcp", &arguments), LIMIT).expect(0);
    // The matrix: a row for each client.
    assert!(
        ran.stdout.contains("bandwidth_bits_per_second by loopback"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("threshold kept"), "{}", ran.stdout);
    ran.says(&["3 of 3 workers", "[6/6] "]);
    assert_eq!(most_busy(&kperf.path("state/journal.jsonl")), 2);
    // On another port it is another run, whose numbers are not those of this one.
    let another = net_run(
        &kperf,
        "iperf3-tcp",
        &["--workers", "3", "--state", "state"],
    );
    finish(another, LIMIT)
        .expect(1)
        .says(&["another run", "journal.jsonl"]);

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
    assert_eq!(
        metrics(&report, "network_bandwidth_bits_per_second").len(),
        6
    );
    assert_eq!(metrics(&report, "network_success").len(), 6);
    assert_eq!(metrics(&report, "network_error").len(), 0);
    assert_eq!(report["thresholds"][0]["passed"], true);

    let Some(gateway) = gateway else { return };
    // What was measured is what the gateway has, under the names and labels that dashboards ask for.
    let pushed = exposed(&gateway);
    for metric in metrics(&report, "network_bandwidth_bits_per_second") {
        let labels = &metric["labels"];
        let found: Vec<_> = pushed
            .iter()
            .filter(|sample| {
                sample.name == "kperf_network_bandwidth_bits_per_second"
                    && ["client_worker", "server_worker"]
                        .iter()
                        .all(|key| sample.labels[*key] == labels[key].as_str().unwrap())
            })
            .collect();
        assert_eq!(found.len(), 1, "{labels}");
        let (sample, value) = (found[0], metric["value"].as_f64().unwrap());
        assert!((sample.value - value).abs() <= value * 1e-12, "{sample:?}");
        assert_eq!(sample.labels["benchmark"], "iperf3-tcp");
        assert_eq!(sample.labels["same_node"], "true");
        assert_eq!(sample.labels["placement"], "same_node");
        assert_eq!(sample.labels["traffic_path"], "loopback");
        let host = &sample.labels["client_host"];
        assert!(!host.is_empty() && *host == sample.labels["server_host"]);
        let foreign = sample.labels.keys().find(|key| key.starts_with("label_"));
        assert_eq!(foreign, None, "{sample:?}");
    }
    for name in [
        "sent_bytes",
        "received_bytes",
        "retransmits",
        "rtt_mean_seconds",
    ] {
        let name = format!("kperf_network_{name}");
        assert_eq!(
            pushed.iter().filter(|s| s.name == name).count(),
            6,
            "{name}"
        );
    }
    let success = pushed.iter().filter(|s| s.name == "kperf_network_success");
    assert_eq!(success.map(|s| s.value).collect::<Vec<_>>(), [1.0; 6]);
    assert!(!pushed.iter().any(|s| s.name == "kperf_network_error"));
}

/// One server that cannot be reached: its pairs are failures by class, the others are measured all the same.
#[test]
fn failing_pairs_beside_others() {
    if !kperf_tests::have("iperf3", "a failing pair of the network benchmark") {
        return;
    }
    let kperf = kperf!();
    // The real client, but against a port where nobody listens when it is to reach the third worker.
    let client = kperf.write(
        "bin/iperf3",
        "#!/bin/sh\nPATH=${PATH#*:}\ncase \"$*\" in\n*127.0.0.4*) exec iperf3 -c 127.0.0.4 -p 1 -J -t 1 ;;\nesac\n\
         exec iperf3 \"$@\"\n",
    );
    std::fs::set_permissions(&client, PermissionsExt::from_mode(0o755)).unwrap();
    let gateway = Pushgateway::start();
    let push = gateway.as_ref().map(Pushgateway::output);
    let mut arguments = vec![
        "--workers",
        "3",
        "--client-worker",
        "worker-1",
        "--output",
        "json=r.json",
    ];
    if let Some(push) = &push {
        arguments.extend(["--output", push]);
    }
    let mut command = net_run(&kperf, "iperf3-tcp", &arguments);
    command.env("PATH", path_with(&kperf.path("bin")));
    let ran = finish(command, LIMIT).expect(1);
    assert!(ran.stdout.contains("connection_refused"), "{}", ran.stdout);
    assert_eq!(ran.stdout.matches("bit/s").count(), 1, "{}", ran.stdout);
    let report = kperf.json("r.json");
    let errors = metrics(&report, "network_error");
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0]["labels"]["class"], "connection_refused");
    let found = &report["findings"][0];
    assert_eq!(found["code"], "network/connection_refused");
    assert!(
        found["message"]
            .as_str()
            .unwrap()
            .contains("worker-1 → worker-3")
    );

    let Some(gateway) = gateway else { return };
    let pushed = exposed(&gateway);
    let errors: Vec<_> = pushed
        .iter()
        .filter(|s| s.name == "kperf_network_error")
        .collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].value, 1.0);
    assert_eq!(errors[0].labels["class"], "connection_refused");
    assert_eq!(errors[0].labels["server_worker"], "worker-3");
    let success = |server: &str| {
        let mut of = pushed
            .iter()
            .filter(|s| s.name == "kperf_network_success" && s.labels["server_worker"] == server);
        of.next().unwrap().value
    };
    assert_eq!((success("worker-2"), success("worker-3")), (1.0, 0.0));
    // What was not measured has no value, not zero.
    let bandwidths = pushed
        .iter()
        .filter(|s| s.name == "kperf_network_bandwidth_bits_per_second");
    assert_eq!(bandwidths.count(), 1);
}

/// Two paths, compared; then the kept file, judged again, and once more as other programs would have written it.
#[test]
fn paths_are_compared_now_and_later() {
    if !kperf_tests::have("iperf3", "the comparison of paths") {
        return;
    }
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: the comparison of paths needs ::1, which this machine does not have");
        return;
    }
    let kperf = kperf!();
    let arguments = [
        "--path",
        "loopback,loopback6",
        "--client-worker",
        "worker-2",
        "--samples",
        "2",
        "--results",
        "results.json",
        "--output",
        "json=r.json",
        "--tolerance",
        "loopback6 within 99.9% of loopback",
    ];
    let ran = finish(net_run(&kperf, "iperf3-tcp", &arguments), LIMIT).expect(0);
    for path in ["loopback", "loopback6"] {
        let title = format!("bits_per_second by {path}: mean of 2 samples ±95 % interval");
        assert!(ran.stdout.contains(&title), "{}", ran.stdout);
    }
    assert!(
        ran.stdout.contains(
            "tolerance kept    loopback6 within 99.9% of loopback: worker-2 → worker-1: "
        ),
        "{}",
        ran.stdout
    );
    let report = kperf.json("r.json");
    let threshold = &report["thresholds"][0];
    assert_eq!(threshold["passed"], true, "{threshold}");
    assert_eq!(threshold["unit"], "ratio");
    let means = metrics(&report, "network_bandwidth_bits_per_second");
    let of = |path: &str| {
        let mut of = means
            .iter()
            .filter(|metric| metric["labels"]["traffic_path"] == path);
        of.next().unwrap()["value"].as_f64().unwrap()
    };
    let ratio = of("loopback6") / of("loopback");
    assert!((threshold["measured"].as_f64().unwrap() - ratio).abs() < 1e-9);
    assert_eq!(
        metrics(&report, "network_bandwidth_bits_per_second_ci95").len(),
        2
    );

    // One of the two is the slower one.
    let slower = kperf
        .run(&[
            "net",
            "report",
            "results.json",
            "--output",
            "json=later.json",
            "--tolerance",
            "loopback6 within 0% of loopback",
            "--tolerance",
            "loopback within 0% of loopback6",
            "--tolerance",
            "pod within 10% of loopback",
        ])
        .expect(3);
    assert_eq!(
        slower.stdout.matches("tolerance kept").count(),
        1,
        "{}",
        slower.stdout
    );
    assert_eq!(
        slower.stdout.matches("tolerance MISSED").count(),
        2,
        "{}",
        slower.stdout
    );
    assert!(
        slower
            .stdout
            .contains("not measured: nothing was measured by pod"),
        "{}",
        slower.stdout
    );
    let later = kperf.json("later.json");
    assert_eq!(later["metrics"], report["metrics"]);
    let unmeasured = &later["thresholds"][2];
    assert_eq!(
        (&unmeasured["passed"], &unmeasured["measured"]),
        (&Value::Bool(false), &Value::Null)
    );

    // Other programs' files say less: what was measured is read from the outputs.
    let mut theirs = kperf.json("results.json");
    let tasks = theirs["results"].take();
    let tasks: Vec<Value> = tasks
        .as_array()
        .unwrap()
        .iter()
        .map(|one| serde_json::json!({"output": one["output"], "task": one["task"]}))
        .collect();
    kperf.write(
        "theirs.json",
        &serde_json::json!({ "results": tasks }).to_string(),
    );
    kperf
        .run(&["net", "report", "theirs.json"])
        .expect(2)
        .says(&["theirs.json", "--benchmark"]);
    let report = ["net", "report", "theirs.json", "--benchmark"];
    let ran = kperf
        .run(
            &[
                &report[..],
                &["iperf3-tcp", "--output", "json=theirs-report.json"],
            ]
            .concat(),
        )
        .expect(0);
    assert!(ran.stdout.contains("mean of 4 samples"), "{}", ran.stdout);
    let read = kperf.json("theirs-report.json");
    let read = metrics(&read, "network_bandwidth_bits_per_second");
    let mean = (of("loopback") + of("loopback6")) / 2.0;
    assert_eq!(read.len(), 1);
    assert!((read[0]["value"].as_f64().unwrap() / mean - 1.0).abs() < 1e-9);
    // Outputs of another tool are errors, never numbers.
    let ran = kperf.run(&[&report[..], &["qperf-tcp"]].concat()).expect(1);
    assert!(ran.stdout.contains("malformed"), "{}", ran.stdout);
}

/// Parallel streams and message sizes of the real program, for one chosen pair.
#[test]
fn a_matrix_of_streams_and_sizes() {
    if !kperf_tests::have("iperf3", "the matrix of streams and sizes") {
        return;
    }
    let kperf = kperf!();
    let arguments = [
        "--client-worker",
        "worker-1",
        "--vary",
        "streams=1,3",
        "--vary",
        "writeSizeBytes=1024,65536",
        "--results",
        "results.json",
    ];
    let ran = finish(net_run(&kperf, "iperf3-tcp", &arguments), LIMIT).expect(0);
    let results = kperf.json("results.json");
    let mut seen = Vec::new();
    for result in results["results"].as_array().unwrap() {
        let output: Value = serde_json::from_str(result["output"].as_str().unwrap()).unwrap();
        let test = &output["start"]["test_start"];
        seen.push((
            result["variant"].as_str().unwrap().to_owned(),
            test["num_streams"].as_u64().unwrap(),
            test["blksize"].as_u64().unwrap(),
        ));
    }
    seen.sort();
    let expected = [(1, 1_024), (1, 65_536), (3, 1_024), (3, 65_536)];
    let expected = expected.map(|(streams, size)| {
        (
            format!("streams={streams} writeSizeBytes={size}"),
            streams,
            size,
        )
    });
    assert_eq!(seen, expected);
    for (variant, ..) in &expected {
        assert!(
            ran.stdout.contains(&format!("by loopback, {variant}\n")),
            "{}",
            ran.stdout
        );
    }
}

/// The real fortio over TCP and HTTP, built from its Go module.
#[test]
fn fortio_itself() {
    let what = "the network benchmark by fortio";
    let Some(folder) = kperf_tests::built_tool("fortio", "fortio.org/fortio", what) else {
        return;
    };
    let kperf = kperf!();
    for benchmark in ["fortio-tcp", "fortio-http"] {
        let file = format!("{benchmark}.json");
        let more = [
            "--set",
            "requestsPerSecond=200",
            "--output",
            &format!("json={file}"),
        ];
        let mut command = net_run(&kperf, benchmark, &more);
        command.env("PATH", path_with(&folder));
        let ran = finish(command, LIMIT).expect(0);
        assert!(
            ran.stdout.contains("requests_per_second by loopback"),
            "{}",
            ran.stdout
        );
        let report = kperf.json(&file);
        for (name, least) in [
            ("network_requests_per_second", 1.0),
            ("network_successful_requests_per_second", 1.0),
            ("network_latency_p99_seconds", 1e-9),
            ("network_requests", 1.0),
        ] {
            let found = metrics(&report, name);
            assert_eq!(found.len(), 2, "{benchmark}: {name}");
            for metric in found {
                assert!(metric["value"].as_f64().unwrap() >= least, "{metric}");
            }
        }
        for metric in metrics(&report, "network_errors") {
            assert_eq!(metric["value"], 0.0, "{benchmark}");
        }
    }
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
    run(&[]).expect(2).says(&["nuttcp", "allow"]);
    let ran = run(&["--allow", "nuttcp", "--vary", "streams=1,2"]).expect(0);
    assert!(ran.stdout.contains("streams=1"), "{}", ran.stdout);
    assert!(ran.stdout.contains("streams=2"), "{}", ran.stdout);
    assert_eq!(ran.stdout.matches("bit/s").count(), 4, "{}", ran.stdout);
}

/// Ctrl-C while workers are awaited: nothing was measured, and who waits for the outcome is told so.
#[test]
fn stopped_before_the_first_task() {
    let kperf = kperf!();
    kperf.write("what.yaml", "benchmark: iperf3-tcp\n");
    let mut child = kperf
        .command(&[
            "net",
            "orchestrator",
            "--config",
            "what.yaml",
            "--listen",
            "127.0.0.1:0",
            "--tls",
            "tls",
            "--state",
            "state",
            "--workers",
            "2",
            "--timeout",
            "2m",
            "--results",
            "results.json",
            "--output",
            "json=r.json",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // Port 0 is any, so which one it is has to be said.
    assert!(lines.any(|line| {
        let line = line.unwrap();
        let said = line.split_once("listening on 127.0.0.1:");
        said.is_some_and(|(_, port)| port.trim().parse::<u16>().is_ok_and(|port| port > 0))
    }));
    assert!(lines.any(|line| line.unwrap().contains("0 of 2 workers")));
    let stopped = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(stopped.unwrap().success());
    let status = wait(&mut child, LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(130), "{:?}", lines.collect::<Vec<_>>());
    let report = kperf.json("r.json");
    assert!(metrics(&report, "network_success").is_empty());
    assert_eq!(kperf.json("results.json")["end"], "stopped");
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
    run(&["--vary", "streams=1,1"], 2).says(&["--vary streams", "twice"]);
    run(&["--vary", "streams=1", "--vary", "streams=2"], 2).says(&["varied twice"]);
    run(&["--vary", "streams=1,2", "--set", "streams=4"], 2).says(&["--vary streams"]);
    run(&["--vary", "streams=1,,2"], 2).says(&["empty value"]);
    run(&["--threshold", "nonsense"], 2).says(&["--threshold"]);
    run(&["--tolerance", "pod like host"], 2)
        .says(&["`within` is missing", "PATH [METRIC] within N% of PATH"]);
    run(&["--tolerance", "loopback6 within 10% of loopback"], 2).says(&["`loopback6`", "--path"]);
    run(&["--path", "pod"], 2).says(&["`pod`", "loopback and loopback6"]);
    run(&["--results", "no-folder/r.json"], 2).says(&["--results", "no-folder/r.json"]);
    run(&["--allow", "iperf3"], 2).says(&["--allow", "`iperf3` is allowed already"]);
    run(&["--pairs", "next-door"], 2).says(&["next-door", "same-node", "other-zone"]);
    run(&["--pairs", "other-node"], 2).says(&[
        "no pair",
        "chosen are pairs other-node",
        "2 same-node",
    ]);
    run(&["--client-node", "nowhere"], 2).says(&["client node `nowhere`", "there are"]);
    run(&["--server-worker", "worker-3"], 2).says(&["`worker-3`", "worker-1, worker-2"]);
    run(
        &["--client-worker", "worker-1", "--server-worker", "worker-1"],
        2,
    )
    .says(&["no pair"]);
    let report =
        |more: &[&str], code: i32| kperf.run(&[&["net", "report"], more].concat()).expect(code);
    report(&["none.json"], 2).says(&["none.json"]);
    kperf.write("words.json", "words");
    report(&["words.json"], 2).says(&["words.json", "no results file"]);
    kperf.write("empty.json", "{\"results\": []}");
    report(&["empty.json"], 2).says(&["empty.json", "no tasks"]);
    kperf
        .run(&["net", "run", "--benchmark", "quorum-list"])
        .expect(2)
        .says(&["not a tool"]);
}
