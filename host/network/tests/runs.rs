//! Whole runs with tools that are scripts.
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
    collections::HashSet,
    fs,
    future::pending,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cluster::{NODE, class, run, runs_with, states};
use kperf_network::{
    JOURNAL, NetworkError, RESULTS, ResultsFile, RunEnd, TaskState, local,
    orchestrator::{Orchestrator, Progress, Variant},
};
use serde_json::Value;
use support::{Scripts, options};

/// Pairs that were busy at one time, from the journal.
fn most_busy(journal: &str) -> usize {
    let mut busy = HashSet::new();
    let mut most = 0;
    for line in journal.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let ends = |key: &Value| {
            [&key["client"], &key["server"]].map(|name| name.as_str().unwrap().to_owned())
        };
        if let Some(state) = line.get("state") {
            busy.extend(ends(&state["key"]));
        } else if let Some(ended) = line.get("ended") {
            for end in ends(&ended["key"]) {
                busy.remove(&end);
            }
        }
        most = most.max(busy.len());
    }
    assert!(busy.is_empty());
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pair_is_measured_and_never_more_than_two_workers_are_busy() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path(), 3);
    options.samples = 2;
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    options.progress = Arc::new(move |progress| {
        if let Progress::Ended { done, total, .. } = progress {
            assert_eq!(total, 12);
            count.store(done, Ordering::SeqCst);
        }
    });
    let scripts = Scripts::client("echo value=7; echo words >&2; echo host $1");
    let (result, ends) = run(options, scripts, |_| (), pending()).await;
    let result = result.unwrap();
    assert!(ends.iter().all(Result::is_ok), "{ends:?}");
    assert_eq!(ended.load(Ordering::SeqCst), 12);
    assert_eq!((result.tasks.len(), result.end), (12, RunEnd::Complete));
    assert!(result.lost.is_empty());
    for task in &result.tasks {
        assert_eq!((task.state, &task.error), (TaskState::Done, &None));
        assert_eq!(task.exit_code, Some(0));
        assert_eq!(task.stderr, "words\n");
        assert!(task.stdout.contains(&format!("host {}", task.server_host)));
        assert_eq!(task.key.path, local::LOOPBACK);
        assert!(task.ended_unix_ms >= task.started_unix_ms);
        assert!(task.elapsed_ns.is_some());
    }
    let journal = fs::read_to_string(directory.path().join(JOURNAL)).unwrap();
    assert_eq!(most_busy(&journal), 2);
    let file = ResultsFile::read(&directory.path().join(RESULTS)).unwrap();
    assert_eq!(file, ResultsFile::of(&result));
    assert_eq!(file.summaries.len(), 6);
    for summary in &file.summaries {
        let estimate = summary.estimate;
        assert_eq!((estimate.samples, estimate.mean), (2, 7.0));
        assert_eq!(estimate.ci95, Some(0.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_with_ports_of_their_own_keep_their_server() {
    let directory = tempfile::tempdir().unwrap();
    let starts = directory.path().join("starts");
    let mut scripts = Scripts::client("echo value=1");
    scripts.server = format!(
        "echo started >>{}; echo ready; exec sleep 1000",
        starts.display()
    );
    // The host is an argument of the server, so it is one and the same for all its clients.
    let own = |options: &mut kperf_network::worker::WorkerOptions| {
        options.info.network_namespace = options.info.name.clone();
    };
    let (result, _) = run(options(directory.path(), 3), scripts, own, pending()).await;
    assert_eq!(result.unwrap().count(TaskState::Done), 6);
    assert_eq!(fs::read_to_string(starts).unwrap().lines().count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_variants_are_measured_apart() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path(), 2);
    let certificates = cluster::certificates(directory.path());
    options.certificates = Some(certificates.clone());
    let orchestrator = kperf_network::orchestrator::Orchestrator::bind(options)
        .await
        .unwrap();
    for number in [1, 2] {
        let mut options =
            cluster::worker_options(&certificates, orchestrator.address().port(), number);
        options.info.addresses.push(kperf_network::Address {
            path: "name".to_owned(),
            host: "localhost".to_owned(),
        });
        tokio::spawn(kperf_network::worker::run(options, pending()));
    }
    let axes = [("streams".to_owned(), vec![1.into(), 4.into()])];
    let variants = kperf_network::matrix(&axes)
        .iter()
        .map(|combination| Variant {
            name: kperf_network::variant_name(combination),
            tool: Arc::new(Scripts::client(&format!("echo value={}", combination[0].1))),
        })
        .collect();
    let run = orchestrator.run(variants, pending()).await.unwrap();
    assert_eq!(run.count(TaskState::Done), 2 * 2 * 2);
    let mut found: Vec<_> = run
        .summaries()
        .into_iter()
        .filter(|summary| summary.client == "worker-1")
        .map(|summary| (summary.path, summary.variant, summary.estimate.mean))
        .collect();
    found.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let expected = [
        ("loopback", "streams=1", 1.0),
        ("loopback", "streams=4", 4.0),
        ("name", "streams=1", 1.0),
        ("name", "streams=4", 4.0),
    ]
    .map(|(path, variant, mean)| (path.to_owned(), variant.to_owned(), mean));
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_outputs_come_whole_and_larger_ones_clipped() {
    let directory = tempfile::tempdir().unwrap();
    let client = "case $1 in 127.0.0.2) n=16777216;; *) n=16777217;; esac; x() { head -c $n /dev/zero | tr '\\0' x; }; x; \
                  x >&2; exit 1";
    let (result, _) = run(
        options(directory.path(), 2),
        Scripts::client(client),
        |_| (),
        pending(),
    )
    .await;
    for task in result.unwrap().tasks {
        assert_eq!(task.state, TaskState::Failed);
        assert_eq!((task.stdout.len(), task.stderr.len()), (16 << 20, 16 << 20));
        assert_eq!(task.clipped, task.server_host != "127.0.0.2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_cancels_the_rest_and_can_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let scripts = Scripts::client("sleep 0.05; echo value=1");
    let mut first = options(directory.path(), 3);
    let stop = Arc::new(tokio::sync::Notify::new());
    let stopping = Arc::clone(&stop);
    first.progress = Arc::new(move |progress| {
        if let Progress::Begins { done: 2, .. } = progress {
            stopping.notify_one();
        }
    });
    let (result, ends) = run(first, scripts.clone(), |_| (), async move {
        stop.notified().await;
    })
    .await;
    let once = result.unwrap();
    assert!(ends.iter().all(Result::is_ok), "{ends:?}");
    assert_eq!(once.end, RunEnd::Stopped);
    assert_eq!(once.count(TaskState::Done), 2);
    assert_eq!(once.count(TaskState::Cancelled), 4);
    assert!(once.tasks[2..].iter().all(|t| class(t) == "cancelled"));

    let (result, _) = run(options(directory.path(), 3), scripts, |_| (), pending()).await;
    let again = result.unwrap();
    assert_eq!(states(&again), ["done"; 6]);
    assert_eq!(again.tasks[..2], once.tasks[..2]);
    // Nothing is left to do, so nobody is waited for.
    let done = options(directory.path(), 3);
    let variants = Scripts::client("sleep 0.05; echo value=1").variants();
    let thrice = kperf_network::orchestrator::run(done, variants, pending())
        .await
        .unwrap();
    assert_eq!(thrice.tasks, again.tasks);
}

/// A run of three workers that was stopped after two tasks.
async fn stopped_after_two(directory: &std::path::Path) -> kperf_network::NetworkRun {
    let mut options = options(directory, 3);
    let stop = Arc::new(tokio::sync::Notify::new());
    let stopping = Arc::clone(&stop);
    options.progress = Arc::new(move |progress| {
        if let Progress::Begins { done: 2, .. } = progress {
            stopping.notify_one();
        }
    });
    let scripts = Scripts::client("sleep 0.05; echo value=1");
    let stop = async move { stop.notified().await };
    run(options, scripts, |_| (), stop).await.0.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_goes_on_without_its_workers_keeps_what_it_has() {
    for is_stopped in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let once = stopped_after_two(directory.path()).await;
        let mut options = options(directory.path(), 3);
        let certificates =
            kperf_network::RunCertificates::in_directory(&directory.path().join("tls"));
        options.certificates = Some(certificates.clone());
        let registered = Arc::new(tokio::sync::Notify::new());
        let registering = Arc::clone(&registered);
        options.progress = Arc::new(move |progress| {
            if let Progress::Registered { workers: 1, .. } = progress {
                registering.notify_one();
            }
        });
        if !is_stopped {
            options.timeout = Duration::from_millis(1_500);
        }
        let orchestrator = kperf_network::orchestrator::Orchestrator::bind(options)
            .await
            .unwrap();
        // Of three, one comes back.
        let worker = cluster::worker_options(&certificates, orchestrator.address().port(), 1);
        tokio::spawn(kperf_network::worker::run(worker, pending()));
        let variants = Scripts::client("sleep 0.05; echo value=1").variants();
        let again = orchestrator
            .run(variants, async move {
                if is_stopped {
                    registered.notified().await;
                } else {
                    pending::<()>().await;
                }
            })
            .await
            .unwrap();
        assert_eq!(again.tasks[..2], once.tasks[..2]);
        let (end, why) = if is_stopped {
            (RunEnd::Stopped, "cancelled")
        } else {
            (RunEnd::Complete, "worker_lost")
        };
        assert_eq!(again.end, end);
        assert_eq!(again.count(TaskState::Cancelled), 4);
        assert!(again.tasks[2..].iter().all(|task| class(task) == why));
        let file = ResultsFile::read(&directory.path().join(RESULTS)).unwrap();
        assert_eq!(file, ResultsFile::of(&again));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_parameters_and_other_workers_are_another_run() {
    let directory = tempfile::tempdir().unwrap();
    stopped_after_two(directory.path()).await;
    for (workers, script) in [(3, "echo value=2"), (2, "sleep 0.05; echo value=1")] {
        let error = kperf_network::orchestrator::run(
            options(directory.path(), workers),
            Scripts::client(script).variants(),
            pending(),
        )
        .await
        .unwrap_err();
        assert!(error.to_string().contains("another run"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_run_on_this_machine_starts_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let scripts = Scripts::client("echo value=1");
    let (once, _) = run(
        options(directory.path(), 2),
        scripts.clone(),
        |_| (),
        pending(),
    )
    .await;
    let again = local::run(
        options(directory.path(), 2),
        scripts.variants(),
        |launch| panic!("{} is started", launch.info.name),
        pending(),
    )
    .await
    .unwrap();
    assert_eq!(again.tasks, once.unwrap().tasks);
}

/// A client that does not listen to TERM takes two seconds to end; who gives it up does not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_stop_waits_for_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path(), 2);
    let began = directory.path().join("began");
    let path = began.clone();
    options.abort = Arc::new(move || {
        let path = path.clone();
        Box::pin(async move { cluster::until(|| path.exists()).await })
    });
    let scripts = Scripts::client(&format!(
        "trap '' TERM; touch {}; while :; do sleep 0.05; done",
        began.display()
    ));
    let leave = |options: &mut kperf_network::worker::WorkerOptions| options.rejoin = false;
    let (result, _) = run(options, scripts, leave, pending()).await;
    let result = result.unwrap();
    assert_eq!(result.end, RunEnd::Stopped);
    assert_eq!(states(&result), ["cancelled"; 2]);
    // Nothing came back of it, as nobody waited.
    assert_eq!(result.tasks[0].elapsed_ns, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_its_deadline_a_run_ends_what_it_does() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path(), 2);
    options.deadline = Duration::from_secs(3);
    let scripts = Scripts::client("echo seen; exec sleep 1000.125");
    let (result, ends) = run(options, scripts, |_| (), pending()).await;
    assert!(!runs_with("sleep\u{0}1000.125"));
    match result {
        Ok(result) => {
            assert!(ends.iter().all(Result::is_ok), "{ends:?}");
            assert_eq!(result.end, RunEnd::Deadline);
            assert_eq!(states(&result), ["cancelled"; 2]);
        }
        // On a machine so slow that the workers need that long.
        Err(error) => assert!(matches!(error, NetworkError::TooFewWorkers { .. })),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_is_too_few() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path(), 3);
    options.timeout = Duration::from_millis(1_500);
    let certificates = cluster::certificates(directory.path());
    options.certificates = Some(certificates.clone());
    let orchestrator = kperf_network::orchestrator::Orchestrator::bind(options)
        .await
        .unwrap();
    let port = orchestrator.address().port();
    let worker = cluster::worker_options(&certificates, port, 1);
    tokio::spawn(kperf_network::worker::run(worker, pending()));
    let error = orchestrator
        .run(Scripts::client("true").variants(), pending())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("of 3 workers"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn local_mode_starts_its_workers_and_ends_them() {
    let directory = tempfile::tempdir().unwrap();
    let certificates = OnceLock::new();
    let command = |launch: &local::WorkerLaunch| {
        certificates.get_or_init(|| launch.certificates.directory().to_owned());
        let number = launch.info.name.strip_prefix("worker-").unwrap();
        let mut command = std::process::Command::new(NODE);
        command
            .args(["worker", "127.0.0.1"])
            .arg(launch.orchestrator.port().to_string())
            .arg(number)
            .arg(launch.certificates.directory())
            .args(["leave", "sh"]);
        command
    };
    let scripts = Scripts::client("echo value=1");
    let run = local::run(
        options(directory.path(), 3),
        scripts.variants(),
        command,
        pending(),
    )
    .await
    .unwrap();
    assert_eq!(states(&run), ["done"; 6]);
    let file = ResultsFile::read(&directory.path().join(RESULTS)).unwrap();
    assert!(file.results.iter().all(|r| r.same_node == Some(true)));
    assert!(
        file.results
            .iter()
            .all(|r| r.task.client.ip.starts_with("127.0.0."))
    );
    let certificates = certificates.get().unwrap();
    assert!(!runs_with(certificates.to_str().unwrap()));
    assert!(!certificates.exists());
    assert_eq!(names(directory.path()), [JOURNAL, RESULTS]);
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Whoever is first has the folder, and goes on with what is in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_in_a_folder_that_is_taken_leaves_no_trace() {
    let directory = tempfile::tempdir().unwrap();
    let first = Orchestrator::bind(options(directory.path(), 2))
        .await
        .unwrap();
    let variants = || Scripts::client("true").variants();
    let first = first.open(variants()).await.unwrap();
    let error = local::run(
        options(directory.path(), 2),
        variants(),
        |launch| panic!("{} is started", launch.info.name),
        pending(),
    )
    .await
    .unwrap_err();
    assert!(
        error.to_string().contains("another orchestrator"),
        "{error}"
    );
    assert_eq!(names(directory.path()), [JOURNAL]);
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn local_mode_does_not_wait_for_workers_that_ended() {
    let directory = tempfile::tempdir().unwrap();
    let error = local::run(
        options(directory.path(), 2),
        Scripts::client("true").variants(),
        |_| std::process::Command::new("false"),
        pending(),
    )
    .await
    .unwrap_err();
    assert!(matches!(error, NetworkError::WorkerEnded { .. }), "{error}");
}

/// A stop or too few workers ends all workers in order: that one of them is seen to end first is not the reason.
#[tokio::test(flavor = "multi_thread")]
async fn workers_that_ended_in_order_are_not_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path(), 2);
    options.timeout = Duration::from_secs(1);
    let error = local::run(
        options,
        Scripts::client("true").variants(),
        |_| std::process::Command::new("true"),
        pending(),
    )
    .await
    .unwrap_err();
    assert!(
        matches!(error, NetworkError::TooFewWorkers { .. }),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_workers_name_the_limit_that_ended_the_wait() {
    for (deadline, timeout, words) in [
        (1, 600, "within the deadline of 1 s"),
        (600, 1, "within the timeout of 1 s"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut options = options(directory.path(), 2);
        options.deadline = Duration::from_secs(deadline);
        options.timeout = Duration::from_secs(timeout);
        let orchestrator = Orchestrator::bind(options).await.unwrap();
        let variants = Scripts::client("true").variants();
        let error = orchestrator.run(variants, pending()).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}
