//! iperf3 and qperf themselves, over loopback. Skipped, saying so, where they are not installed.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests"
)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/mod.rs"]
mod support;

use std::{future::pending, sync::Arc, time::Instant};

use cluster::{NODE, class, states, until};
use kperf_network::{
    Command, NetworkRun, Output, Plan, Reading, TaskState, Tool, ToolError, local,
    orchestrator::{OrchestratorOptions, Progress, Variant},
};
use net_tool::{Exit, Host, Ready};
use support::options;

/// A tool without its component.
struct Native<T: net_tool::Tool>(T::Params);

fn command(command: net_tool::Command) -> Command {
    Command {
        program: command.program,
        arguments: command.args,
        environment: command.env,
    }
}

impl<T: net_tool::Tool> Tool for Native<T>
where
    T::Params: Send + Sync,
{
    fn plan(&self, host: &str) -> Result<Plan, ToolError> {
        let plan = Host::new(host)
            .and_then(|host| T::plan(&self.0, &host))
            .map_err(|error| ToolError::new("plan", error.message))?;
        Ok(Plan {
            server: command(plan.server),
            client: command(plan.client),
            ready: match plan.ready {
                Ready::Connect { port } => format!("connect:{port}"),
                Ready::Line { text } => format!("line:{text}"),
            },
            min_time_limit_ms: u64::from(plan.time_limit_seconds) * 1_000,
            main_metric: T::MAIN_METRIC.to_owned(),
            ..Plan::default()
        })
    }

    fn parse(&self, output: Output) -> Result<Vec<Reading>, ToolError> {
        let exit = match (output.timed_out, &*output.signal, output.exit_code) {
            (true, _, _) => Exit::TimedOut,
            (_, "", Some(code)) => Exit::Code(code),
            (_, "", None) => Exit::Unknown,
            (_, signal, _) => Exit::Signal(signal.to_owned()),
        };
        let output = net_tool::Output {
            stdout: output.stdout,
            stderr: output.stderr,
            exit,
            args: output.arguments,
            clipped: output.clipped,
        };
        match T::parse(&output) {
            Ok(metrics) => Ok(metrics
                .into_iter()
                .map(|metric| Reading {
                    name: metric.name,
                    value: metric.value,
                    unit: metric.unit.to_owned(),
                    labels: metric.labels.into_iter().collect(),
                })
                .collect()),
            Err(error) => Err(ToolError::new(error.class.as_str(), error.message)),
        }
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(program).exists());
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

async fn run_local(options: OrchestratorOptions, tool: impl Tool + 'static) -> NetworkRun {
    let command = |launch: &local::WorkerLaunch| {
        let number = launch.info.name.strip_prefix("worker-").unwrap();
        let mut command = std::process::Command::new(NODE);
        command
            .args(["worker", "127.0.0.1"])
            .arg(launch.orchestrator.port().to_string())
            .arg(number)
            .arg(launch.certificates.directory())
            .arg("leave");
        command
    };
    let variants = vec![Variant {
        name: String::new(),
        tool: Arc::new(tool),
    }];
    local::run(options, variants, command, pending())
        .await
        .unwrap()
}

/// A port that nobody uses.
fn free_port() -> u16 {
    let free = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    free.local_addr().unwrap().port()
}

fn iperf3(duration_seconds: u32) -> Native<iperf3_tcp::Iperf3Tcp> {
    Native(iperf3_tcp::Params {
        duration_seconds,
        omit_seconds: 0,
        port: free_port(),
        ..iperf3_tcp::Params::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn iperf3_between_three_workers() {
    if !is_installed("iperf3") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let run = run_local(options(directory.path(), 3), iperf3(1)).await;
    println!("3 workers, 6 pairs, 1 s each: {:.1?}", begin.elapsed());
    for task in &run.tasks {
        assert_eq!(task.state, TaskState::Done, "{task:?}");
        let bandwidth = |r: &&Reading| r.name == "bandwidth_bits_per_second";
        let reading = task.readings.iter().find(bandwidth).unwrap();
        assert!(reading.value > 0.0);
    }
    assert_eq!(run.tasks.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn iperf3_whose_server_is_killed_in_the_middle() {
    if !is_installed("iperf3") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path(), 2);
    let (sender, mut begun) = tokio::sync::mpsc::unbounded_channel();
    options.progress = Arc::new(move |progress| {
        if let Progress::Begins { done: 0, .. } = progress {
            let _ = sender.send(());
        }
    });
    let tool = iperf3(3);
    let port = tool.0.port.to_string();
    let killer = tokio::spawn(async move {
        begun.recv().await;
        // The client is there once the server is ready.
        until(|| iperf3_with("-c", &port).is_some()).await;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let server = iperf3_with("-s", &port).unwrap();
        let status = std::process::Command::new("kill")
            .args(["-KILL", &server])
            .status();
        assert!(status.unwrap().success());
    });
    let run = run_local(options, tool).await;
    killer.await.unwrap();
    let [killed, after] = run.tasks.as_slice() else {
        panic!("{run:?}")
    };
    // Exit code and with it the state depend on the version, what the output says does not.
    assert!(killed.state.is_final());
    assert_eq!(class(killed), "connection_lost", "{killed:?}");
    assert!(killed.readings.is_empty());
    assert!(killed.server_ended.contains("SIGKILL"), "{killed:?}");
    assert_eq!(after.state, TaskState::Done, "{after:?}");
}

/// Id of the iperf3 process with this argument and this port.
fn iperf3_with(argument: &str, port: &str) -> Option<String> {
    std::fs::read_dir("/proc").unwrap().find_map(|entry| {
        let path = entry.ok()?.path();
        let line = std::fs::read(path.join("cmdline")).ok()?;
        let line = String::from_utf8(line).ok()?;
        let words: Vec<_> = line.split('\0').collect();
        let is_it = words.first() == Some(&"iperf3")
            && [argument, port].iter().all(|it| words.contains(it));
        is_it.then(|| path.file_name().unwrap().to_str().unwrap().to_owned())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn qperf_between_two_workers() {
    if !is_installed("qperf") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let params = serde_json::json!({
        "durationSeconds": 1,
        "port": free_port(),
        "dataPort": free_port(),
    });
    let params = serde_json::from_value(params).unwrap();
    let mut options = options(directory.path(), 2);
    options.samples = 2;
    let run = run_local(options, Native::<qperf_tcp::QperfTcp>(params)).await;
    assert_eq!(states(&run), ["done"; 4], "{run:?}");
    for name in ["bandwidth_bits_per_second", "latency_mean_seconds"] {
        let mut found = run.summaries();
        found.retain(|summary| summary.metric == name);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|summary| summary.estimate.samples == 2));
    }
}
