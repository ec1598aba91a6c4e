//! What goes wrong ends in the right state, the rest of the run goes on, and nothing is left behind.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests"
)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/mod.rs"]
mod support;

use std::{
    fs,
    future::pending,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use cluster::{Process, certificates, class, run, runs_with, states, until, worker_options};
use kperf_network::{
    JOURNAL, NetworkError, NetworkRun, RESULTS, ResultsFile, RunCertificates, TaskState,
    orchestrator::{Orchestrator, OrchestratorOptions, Progress},
    worker,
};
use serde_json::Value;
use support::{Scripts, options};
use tokio::time::timeout;

async fn run_two(directory: &Path, scripts: Scripts) -> NetworkRun {
    let (result, ends) = run(options(directory, 2), scripts, |_| (), pending()).await;
    assert!(ends.iter().all(Result::is_ok), "{ends:?}");
    result.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_tool() {
    let directory = tempfile::tempdir().unwrap();
    let mut scripts = Scripts::client("");
    scripts.program = "no-such-tool".to_owned();
    let allow = |options: &mut worker::WorkerOptions| {
        options.allow.further = vec!["no-such-tool".to_owned()];
    };
    let (result, _) = run(options(directory.path(), 2), scripts, allow, pending()).await;
    let result = result.unwrap();
    assert_eq!(states(&result), ["failed"; 2]);
    for task in &result.tasks {
        assert_eq!(class(task), "not_installed");
        let message = &task.error.as_ref().unwrap().message;
        assert!(message.contains(&task.key.server), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_is_not_allowed() {
    let directory = tempfile::tempdir().unwrap();
    let scripts = Scripts::client("touch /tmp/kperf-network-must-not-be");
    let nothing = |options: &mut worker::WorkerOptions| options.allow.further.clear();
    let (result, _) = run(options(directory.path(), 2), scripts, nothing, pending()).await;
    let result = result.unwrap();
    assert_eq!(states(&result), ["failed"; 2]);
    assert!(result.tasks.iter().all(|task| class(task) == "refused"));
    assert!(!Path::new("/tmp/kperf-network-must-not-be").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_argument() {
    struct Daemon;
    impl kperf_network::Tool for Daemon {
        fn plan(&self, host: &str) -> Result<kperf_network::Plan, kperf_network::ToolError> {
            let mut plan = Scripts::client("").plan(host)?;
            plan.client.program = "iperf3".to_owned();
            plan.client.arguments = ["-c", host, "-F", "/etc/passwd"].map(str::to_owned).into();
            Ok(plan)
        }
        fn parse(
            &self,
            _: kperf_network::Output,
        ) -> Result<Vec<kperf_network::Reading>, kperf_network::ToolError> {
            panic!("there is nothing to parse")
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path(), 2);
    let certificates = certificates(directory.path());
    options.certificates = Some(certificates.clone());
    let orchestrator = Orchestrator::bind(options).await.unwrap();
    for number in [1, 2] {
        let options = worker_options(&certificates, orchestrator.address().port(), number);
        tokio::spawn(worker::run(options, pending()));
    }
    let variants = vec![kperf_network::orchestrator::Variant {
        name: String::new(),
        tool: Arc::new(Daemon),
    }];
    let result = orchestrator.run(variants, pending()).await.unwrap();
    assert_eq!(states(&result), ["failed"; 2]);
    for task in &result.tasks {
        let error = task.error.as_ref().unwrap();
        assert_eq!(error.class, "refused");
        assert!(error.message.contains("`-F`"), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_start_and_one_that_is_never_ready() {
    let directory = tempfile::tempdir().unwrap();
    let mut scripts = Scripts::client("echo value=1");
    scripts.server =
        "case $1 in 127.0.0.2) echo no port >&2; exit 9;; esac; exec sleep 1000".to_owned();
    let mut options = options(directory.path(), 2);
    // More than starting a shell takes on a slow machine; one server is to be waited for so long.
    options.server_limit = Duration::from_secs(5);
    let (result, _) = run(options, scripts, |_| (), pending()).await;
    let result = result.unwrap();
    assert_eq!(states(&result), ["failed"; 2]);
    for task in &result.tasks {
        let error = task.error.as_ref().unwrap();
        assert_eq!(error.class, "server_failed");
        let words = match &*task.key.server {
            "worker-1" => "exited with 9: no port",
            _ => "not ready in time",
        };
        assert!(error.message.contains(words), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_in_the_middle() {
    let directory = tempfile::tempdir().unwrap();
    let pid = directory.path().join("pid");
    let pid = pid.display();
    let mut scripts = Scripts::client(&format!(
        "kill -9 $(cat {pid}); sleep 0.5; echo gone >&2; exit 1"
    ));
    scripts.server = format!("echo $$ >{pid}; echo ready; exec sleep 1000");
    let result = run_two(directory.path(), scripts).await;
    assert_eq!(states(&result), ["failed"; 2]);
    for task in &result.tasks {
        assert_eq!((class(task), task.exit_code), ("malformed", Some(1)));
        assert!(task.server_ended.contains("SIGKILL"), "{task:?}");
    }
}

/// Something that left the group of the server holds its output open, which takes half a second to be given up.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_just_ended_is_not_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let pid = directory.path().join("pid");
    let pid = pid.display();
    let mut scripts = Scripts::client(&format!(
        "kill -0 $(cat {pid}) && kill -9 $(cat {pid}) && sleep 0.1 && echo value=1"
    ));
    scripts.server = format!("setsid sleep 3 & echo $$ >{pid}; echo ready; exec sleep 1000");
    let own = |options: &mut worker::WorkerOptions| {
        options.info.network_namespace = options.info.name.clone();
    };
    let (result, _) = run(options(directory.path(), 3), scripts, own, pending()).await;
    let result = result.unwrap();
    assert_eq!(states(&result), ["done"; 6], "{result:?}");
}

/// As iperf3's is when the node of its client vanishes: no end of the connection ever comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_a_failed_client_left_busy_is_not_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().display();
    let mut scripts = Scripts::client(&format!(
        "if [ -e {folder}/busy-$1 ]; then echo busy >&2; exit 1; fi
         if [ ! -e {folder}/failed ]; then touch {folder}/failed {folder}/busy-$1; exit 1; fi
         echo value=1"
    ));
    scripts.server = format!("rm -f {folder}/busy-$1; echo ready; exec sleep 1000");
    let own = |options: &mut worker::WorkerOptions| {
        options.info.network_namespace = options.info.name.clone();
    };
    let (result, _) = run(options(directory.path(), 3), scripts, own, pending()).await;
    let result = result.unwrap();
    assert_eq!(result.tasks[0].state, TaskState::Failed, "{result:?}");
    assert_eq!(result.count(TaskState::Done), 5, "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_past_its_limit() {
    let directory = tempfile::tempdir().unwrap();
    // Exits with 0 and numbers when it is told to end, as some tools do.
    let mut scripts =
        Scripts::client("trap 'echo value=1; exit 0' TERM; while :; do sleep 0.05; done");
    scripts.limit_ms = 300;
    let result = run_two(directory.path(), scripts).await;
    assert_eq!(states(&result), ["timed out"; 2]);
    for task in &result.tasks {
        assert_eq!(class(task), "timed_out");
        assert!(task.readings.is_empty());
    }
}

/// A run whose workers are processes; `begins` is told which task begins.
async fn with_processes(
    mut options: OrchestratorOptions,
    scripts: Scripts,
    begins: impl Fn(usize, &mut Vec<Process>, &RunCertificates, u16) + Send + Sync + 'static,
) -> NetworkRun {
    let certificates = certificates(&options.directory);
    options.certificates = Some(certificates.clone());
    let count = options.workers;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    options.progress = Arc::new(move |progress| {
        if let Progress::Begins { done, .. } = progress {
            let _ = sender.send(done);
        }
    });
    let orchestrator = Orchestrator::bind(options).await.unwrap();
    let port = orchestrator.address().port();
    let mut processes: Vec<_> = (1..=count)
        .map(|number| Process::worker(&certificates, port, number, "leave"))
        .collect();
    let faults = tokio::spawn(async move {
        while let Some(done) = receiver.recv().await {
            begins(done, &mut processes, &certificates, port);
        }
    });
    let result = timeout(
        cluster::NOT_HANGING,
        orchestrator.run(scripts.variants(), pending()),
    )
    .await
    .expect("the run hangs")
    .unwrap();
    faults.await.unwrap();
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_the_middle() {
    let directory = tempfile::tempdir().unwrap();
    let began = directory.path().join("began");
    let marker = "1000.375";
    // The first task is worker-2 to worker-1; its client never ends by itself.
    let mut scripts = Scripts::client(&format!(
        "if [ -e {0} ]; then echo value=1; else touch {0}; exec sleep {marker}; fi",
        began.display()
    ));
    scripts.server = format!("echo ready; exec sleep {marker}");
    let result = with_processes(
        options(directory.path(), 3),
        scripts,
        move |done, processes, _, _| {
            if done == 0 {
                while !began.exists() {
                    std::thread::sleep(Duration::from_millis(10));
                }
                processes[1].kill();
            }
        },
    )
    .await;
    assert_eq!(result.lost, ["worker-2"]);
    assert_eq!(result.count(TaskState::Done), 2);
    assert_eq!(result.count(TaskState::Cancelled), 4);
    for task in &result.tasks {
        let has_lost = [&task.key.client, &task.key.server].contains(&&"worker-2".to_owned());
        assert_eq!(class(task), if has_lost { "worker_lost" } else { "" });
    }
    // Neither the killed worker's tools nor those of the others are left.
    until(|| !runs_with(&format!("sleep\u{0}{marker}"))).await;
    let file = ResultsFile::read(&directory.path().join(RESULTS)).unwrap();
    for result in file.results {
        for end in [result.task.client, result.task.server] {
            assert_eq!(end.idle, end.worker != "worker-2");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let began = directory.path().join("began");
    let scripts = Scripts::client(&format!(
        "if [ -e {0} ]; then echo value=1; else touch {0}; exec sleep 1000; fi",
        began.display()
    ));
    let mut options = options(directory.path(), 3);
    options.replacement = Duration::from_secs(120);
    let result = with_processes(
        options,
        scripts,
        move |done, processes, certificates, port| {
            if done == 0 {
                while !began.exists() {
                    std::thread::sleep(Duration::from_millis(10));
                }
                processes[1].kill();
                processes[1] = Process::worker(certificates, port, 2, "leave");
            }
        },
    )
    .await;
    assert!(result.lost.is_empty());
    assert_eq!(result.count(TaskState::Done), 5);
    assert_eq!(result.tasks[0].state, TaskState::Cancelled);
    assert_eq!(class(&result.tasks[0]), "worker_lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stands_still() {
    let directory = tempfile::tempdir().unwrap();
    let began = directory.path().join("began");
    let mut scripts = Scripts::client(&format!(
        "if [ -e {0} ]; then echo value=1; else touch {0}; exec sleep 1000; fi",
        began.display()
    ));
    scripts.limit_ms = 1_000;
    let result = with_processes(
        options(directory.path(), 3),
        scripts,
        move |done, processes, _, _| {
            if done == 0 {
                while !began.exists() {
                    std::thread::sleep(Duration::from_millis(10));
                }
                let id = processes[1].0.id().to_string();
                let status = std::process::Command::new("kill")
                    .args(["-STOP", &id])
                    .status();
                assert!(status.unwrap().success());
            }
        },
    )
    .await;
    assert_eq!(result.tasks[0].state, TaskState::TimedOut);
    assert_eq!(result.count(TaskState::Done), 2);
    assert_eq!(result.count(TaskState::Cancelled), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_killed_and_started_again() {
    let directory = tempfile::tempdir().unwrap();
    let certificates = certificates(directory.path());
    // A port that is free now; the orchestrator must come back on the same.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let state = directory.path().join("state");
    // The third task waits for the file, so that it is sure to be killed in the middle.
    let gate = directory.path().join("gate");
    let count = directory.path().join("count");
    let script = format!(
        "sleep 0.3; echo x >>{0}
         while [ $(grep -c x {0}) -gt 2 ] && ! [ -e {1} ]; do sleep 0.05; done; echo value=1",
        count.display(),
        gate.display()
    );
    let arguments = [
        "orchestrator",
        &port.to_string(),
        certificates.directory().to_str().unwrap(),
        state.to_str().unwrap(),
        &script,
    ];
    let mut orchestrator = Process::start(&arguments);
    let workers: Vec<_> = (1..=3)
        .map(|number| {
            tokio::spawn(worker::run(
                worker_options(&certificates, port, number),
                pending(),
            ))
        })
        .collect();
    let journal = || fs::read_to_string(state.join(JOURNAL)).unwrap_or_default();
    until(|| journal().matches(r#"{"ended""#).count() >= 2).await;
    orchestrator.kill();
    let before = journal();
    fs::write(&gate, "").unwrap();
    let mut orchestrator = Process::start(&arguments);
    for worker in workers {
        timeout(cluster::NOT_HANGING, worker)
            .await
            .expect("the run hangs")
            .unwrap()
            .unwrap();
    }
    assert!(orchestrator.0.wait().unwrap().success());
    let file = ResultsFile::read(&state.join(RESULTS)).unwrap();
    assert_eq!(file.results.len(), 6);
    assert!(file.results.iter().all(|result| result.task.status == 4));
    // What had ended was not begun again.
    let journal = journal();
    let keys = |text: &str, kind: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter_map(|line| Some(line.get(kind)?["key"].to_string()))
            .collect()
    };
    let whole = before.rfind('\n').unwrap() + 1;
    let ended_before = keys(&before[..whole], "ended");
    assert_eq!(ended_before.len(), 2);
    let begun_after = keys(&journal[whole..], "state");
    assert!(!begun_after.is_empty());
    assert!(begun_after.iter().all(|key| !ended_before.contains(key)));
    assert_eq!(keys(&journal, "ended").len(), 6);
    // Nor did its total time begin again.
    let begun: Vec<_> = journal
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|line| line["begun"]["spent_ms"].as_u64())
        .collect();
    assert!(matches!(begun[..], [0, 1..=u64::MAX]), "{journal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_the_right_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let ours = certificates(directory.path());
    let theirs = certificates(elsewhere.path());
    // Knows our authority, so that it takes the orchestrator for right, but is of another run itself.
    let mixed = elsewhere.path().join("mixed");
    fs::create_dir(&mixed).unwrap();
    fs::copy(ours.directory().join("ca.pem"), mixed.join("ca.pem")).unwrap();
    for name in ["worker.pem", "worker.key"] {
        fs::copy(theirs.directory().join(name), mixed.join(name)).unwrap();
    }
    // Has the orchestrator's own certificate, which is not one for workers.
    let wrong_kind = elsewhere.path().join("kind");
    fs::create_dir(&wrong_kind).unwrap();
    for (from, to) in [
        ("ca.pem", "ca.pem"),
        ("orchestrator.pem", "worker.pem"),
        ("orchestrator.key", "worker.key"),
    ] {
        fs::copy(ours.directory().join(from), wrong_kind.join(to)).unwrap();
    }
    let mut options = options(directory.path(), 2);
    options.certificates = Some(ours.clone());
    let orchestrator = Orchestrator::bind(options).await.unwrap();
    let port = orchestrator.address().port();
    let run = tokio::spawn(orchestrator.run(Scripts::client("echo value=1").variants(), pending()));
    for wrong in [
        theirs,
        RunCertificates::in_directory(&mixed),
        RunCertificates::in_directory(&wrong_kind),
    ] {
        let options = worker_options(&wrong, port, 1);
        let error = timeout(cluster::NOT_HANGING, worker::run(options, pending()))
            .await
            .expect("the worker hangs")
            .unwrap_err();
        assert!(matches!(error, NetworkError::Refused { .. }), "{error}");
    }
    // None at all.
    let mut plain = worker_options(&ours, port, 1);
    plain.certificates = None;
    plain.timeout = Duration::from_millis(500);
    let error = worker::run(plain, pending()).await.unwrap_err();
    assert!(
        matches!(error, NetworkError::NoOrchestrator { .. }),
        "{error}"
    );
    // Nobody of them took a place.
    for number in [1, 2] {
        tokio::spawn(worker::run(worker_options(&ours, port, number), pending()));
    }
    let result = timeout(cluster::NOT_HANGING, run)
        .await
        .expect("the run hangs")
        .unwrap()
        .unwrap();
    assert_eq!(states(&result), ["done"; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_and_one_too_many() {
    let directory = tempfile::tempdir().unwrap();
    let certificates = certificates(directory.path());
    let mut options = options(directory.path(), 2);
    options.certificates = Some(certificates.clone());
    let registered = Arc::new(Mutex::new(0));
    let count = Arc::clone(&registered);
    options.progress = Arc::new(move |progress| {
        if let Progress::Registered { workers, .. } = progress {
            *count.lock().unwrap() = workers;
        }
    });
    let orchestrator = Orchestrator::bind(options).await.unwrap();
    let port = orchestrator.address().port();
    let run = tokio::spawn(orchestrator.run(
        Scripts::client("sleep 2; echo value=1").variants(),
        pending(),
    ));
    for number in [1, 2] {
        tokio::spawn(worker::run(
            worker_options(&certificates, port, number),
            pending(),
        ));
    }
    until(|| *registered.lock().unwrap() == 2).await;
    let error = worker::run(worker_options(&certificates, port, 3), pending())
        .await
        .unwrap_err();
    assert!(matches!(error, NetworkError::Refused { .. }), "{error}");
    let result = run.await.unwrap().unwrap();
    assert_eq!(states(&result), ["done"; 2]);
}
