//! Orchestrator and workers as somebody would start them on machines of his own, without a cluster.

use std::{fs, process::Stdio, time::Duration};

use kperf_tests::{Kperf, Started, kperf, wait};
use serde_json::Value;

use crate::{count, eventually, free_port};

fn start(kperf: &Kperf, words: &[&str], log: &str) -> Started {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(kperf.path(log))
        .unwrap();
    let mut command = kperf.command(words);
    command.stdout(Stdio::null()).stderr(log);
    Started::new(command.spawn().unwrap())
}

/// The orchestrator is killed in the middle, and started again with the same words.
#[test]
fn an_orchestrator_by_hand_survives_a_kill() {
    let kperf = kperf!();
    if !kperf_tests::have("iperf3", "an orchestrator by hand") {
        return;
    }
    let (listen, port) = (format!("127.0.0.1:{}", free_port()), free_port());
    kperf.write(
        "measurement.yaml",
        &format!(
            "benchmark: iperf3-tcp\nparameters: {{durationSeconds: 1, omitSeconds: 0, port: {port}}}\n"
        ),
    );
    let orchestrator = [
        "net",
        "orchestrator",
        "--config",
        "measurement.yaml",
        "--listen",
        &listen,
        "--tls",
        "certificates",
        "--state",
        "state",
        "--workers",
        "3",
        "--results",
        "results.json",
    ];
    let mut first = start(&kperf, &orchestrator, "orchestrator.log");
    eventually("certificates", || {
        let key = kperf.path("certificates/worker.key");
        fs::metadata(key).map(|_| ()).map_err(|why| why.to_string())
    });
    let workers: Vec<Started> = (1..=3)
        .map(|number| {
            let name = format!("worker-{number}");
            let address = format!("host=127.0.0.{}", number + 1);
            let words = [
                "net",
                "worker",
                "--orchestrator",
                &listen,
                "--name",
                &name,
                "--node",
                &name,
                "--address",
                &address,
                "--tls",
                "certificates",
            ];
            start(&kperf, &words, "workers.log")
        })
        .collect();
    let log = || fs::read_to_string(kperf.path("orchestrator.log")).unwrap_or_default();
    let said = |text: &str| eventually(text, || log().contains(text).then_some(()).ok_or(log()));
    said("[3/6]");
    first.kill().unwrap();
    first.wait().unwrap();
    // What there was is on disk. On a slow machine it may have gone on before it was killed.
    let journal = fs::read_to_string(kperf.path("state/journal.jsonl")).unwrap();
    let ended = journal.matches(r#""ended""#).count();
    assert!((2..6).contains(&ended), "{journal}");
    let mut second = start(&kperf, &orchestrator, "orchestrator.log");
    let status = wait(&mut second, Duration::from_secs(120)).expect("an end in time");
    assert_eq!(status.code(), Some(0), "{}", log());
    assert_eq!(log().matches("[1/6]").count(), 1, "{}", log());
    let results: Value = kperf.json("results.json");
    assert_eq!(count(&results, 4), 6, "{results:#}");
    for mut worker in workers {
        let status = wait(&mut worker, Duration::from_secs(30)).expect("an end in time");
        assert_eq!(status.code(), Some(0));
    }
}
