//! Plays `kperf-host net orchestrator` and `kperf-host net worker` in the tests of the launcher: what its pods run. What it
//! is to do stands in the benchmark's configuration.

use std::{fs, process::ExitCode, time::Duration};

use kperf_cluster::{TargetSource, api::Cluster, detect, kube_config};
use kperf_launch::{Publisher, State};

fn flag(name: &str) -> Option<String> {
    let mut arguments = std::env::args();
    arguments.find(|argument| argument == name)?;
    arguments.next()
}

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let directory = flag("--tls").ok_or("--tls is missing")?;
    let mut files: Vec<_> = fs::read_dir(&directory)?
        .map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()))
        .collect::<Result<_, std::io::Error>>()?;
    files.sort();
    eprintln!("files {files:?}");
    if std::env::args().nth(2).as_deref() == Some("worker") {
        eprintln!(
            "arguments {:?}",
            std::env::args().skip(3).collect::<Vec<_>>()
        );
        tokio::time::sleep(Duration::from_secs(600)).await;
        return Ok(());
    }
    let config = fs::read_to_string(flag("--config").ok_or("--config is missing")?)?;
    if config == "crash" {
        return Err("the configuration says crash".into());
    }
    let source: TargetSource = detect(None, None)?;
    let cluster = Cluster::new(kube_config(&source).await?)?;
    let target = flag("--results-to")
        .ok_or("--results-to is missing")?
        .parse()?;
    let publisher = Publisher::new(cluster, target);
    publisher.progress("2 workers").await?;
    if config == "wait" {
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
    let results = format!(
        "{{\"results\":[],\"workers\":{}}}",
        flag("--workers").unwrap_or_default()
    );
    publisher
        .finish(State::Done, "all done", Some(results.as_bytes()))
        .await?;
    Ok(())
}
