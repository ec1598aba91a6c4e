//! One runner: what runs in each pod of a group, and in each process of a local one.
//!
//! Unpack (digests) → plugins and profile checked → connections opened → ready → the one start → load → report. Whatever
//! goes wrong before there is a report is left as a word for whoever asks.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, anyhow};
use kperf_cluster::api::Cluster;
use kperf_load::Stop;
use kperf_runners::{
    ClusterStore, DeliverError, DirectoryStore, Mail, MailState, MeetError, PROFILE_FILE, Place,
    Plan, Store, meet, unpack,
};
use serde_json::{Value, json};

use super::local::FOLDER_PREFIX;
use crate::{
    cli::{EngineArgs, LoadArgs, run as from_profile},
    exit::{Exit, Failed, OrExit as _},
    export::Output,
    live::{Live, say},
    plugins::Plugins,
    run::{self, OneOfMany},
    signals,
    sink::Destination,
    target::{self, TargetChoice},
};

/// Where the report is before it is left for others.
const REPORT_FILE: &str = "report.json";
/// Between two looks whether the parent is there.
const LOOK_FOR_PARENT: Duration = Duration::from_millis(250);
/// A report is worth waiting for a server that is away.
const DELIVERY: (u32, Duration) = (5, Duration::from_secs(5));

/// Who this runner is.
#[derive(Clone, Debug)]
pub struct Runner {
    /// What it was given.
    pub from: PathBuf,
    /// Its own folder.
    pub work: PathBuf,
    /// Where word is left.
    pub store: Place,
    /// Its number, from 0.
    pub index: u32,
    /// Its name, which is also its user agent; empty = from group and number.
    pub name: String,
    /// Where it runs.
    pub node: String,
    /// The process that it is for, on this machine: it does not outlive that one.
    pub parent: Option<u32>,
    /// Where its load goes, and, in a cluster, where word is left.
    pub target: TargetChoice,
    /// How the engine is set.
    pub engine: EngineArgs,
}

/// Is that runner.
///
/// # Errors
/// What kept it from measuring anything; it is left for whoever asks, too.
pub fn run(mut runner: Runner, live: Live) -> Result<Exit, Failed> {
    let stop = Stop::new();
    signals::install(&stop);
    if let Some(parent) = runner.parent {
        end_with(parent, runner.store.clone());
    }
    // Not in its temporary place: components are large, and a pod's own file system cannot be written.
    std::fs::create_dir_all(&runner.work)
        .with_context(|| format!("cannot make {}", runner.work.display()))
        .or_exit(Exit::Failure)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime of the kube client")
        .or_exit(Exit::Failure)?;
    let store = store(&runner, &runtime)?;
    let plan = unpack(&runner.from, &runner.work).or_exit(Exit::Failure);
    if runner.name.is_empty()
        && let Ok(plan) = &plan
    {
        runner.name = format!("{}-{}", plan.name, runner.index);
    }
    let mut mail = Mail::new(MailState::Failed, &runner.name, &runner.node);
    let measured = plan.and_then(|plan| {
        let measured = measure(&runner, &plan, &store, &mut mail, &runtime, &stop, live)?;
        Ok((plan, measured))
    });
    match measured {
        Ok((plan, exit)) => {
            let delivered = runtime.block_on(deliver(&runner, &plan, &store, mail.clone(), &stop));
            if let Err(error) = &delivered {
                mail.message = format!("{error:#}");
                runtime.block_on(store.post(runner.index, &mail)).ok();
            }
            delivered.or_exit(Exit::Output)?;
            Ok(exit)
        }
        Err(failed) => {
            mail.message = failed.to_string();
            if let Err(error) = runtime.block_on(store.post(runner.index, &mail)) {
                say(format_args!("nobody could be told of the failure: {error}"));
            }
            Err(failed)
        }
    }
}

/// Ends this process when its parent is gone, however that ended: there is nobody to report to, and a load that nobody
/// waits for is a nuisance. A parent-death signal would come when the parent's thread ends that started this process.
fn end_with(parent: u32, store: Place) {
    let watch = move || {
        while std::os::unix::process::parent_id() == parent {
            std::thread::sleep(LOOK_FOR_PARENT);
        }
        // Nobody else does; all of the group's is below the folder that the store is in.
        if let Place::Directory(store) = &store
            && let Some(folder) = store.parent()
            && let Some(name) = folder.file_name().and_then(|name| name.to_str())
            && name.starts_with(FOLDER_PREFIX)
        {
            std::fs::remove_dir_all(folder).ok();
        }
        say(format_args!(
            "process {parent} is gone, and with it this runner's group"
        ));
        std::process::exit(i32::from(Exit::Interrupted as u8));
    };
    let watched = std::thread::Builder::new()
        .name("parent".to_owned())
        .spawn(watch);
    if let Err(error) = watched {
        tracing::warn!("cannot look after process {parent}: {error}");
    }
}

fn store(runner: &Runner, runtime: &tokio::runtime::Runtime) -> Result<Store, Failed> {
    match &runner.store {
        Place::Directory(folder) => Ok(Store::Directory(DirectoryStore::new(folder))),
        Place::Cluster { namespace, group } => {
            let resolved = target::resolve(&runner.target).or_exit(Exit::Target)?;
            let _within = runtime.enter();
            let cluster = Cluster::new(resolved.config.clone())
                .map_err(|error| anyhow!("{}: {error}", resolved.description))
                .or_exit(Exit::Target)?;
            // What is to be said is said also when the run is stopped.
            let store = ClusterStore::new(cluster, namespace, group, Stop::new());
            Ok(Store::Cluster(store))
        }
    }
}

fn measure(
    runner: &Runner,
    plan: &Plan,
    store: &Store,
    mail: &mut Mail,
    runtime: &tokio::runtime::Runtime,
    stop: &Stop,
    live: Live,
) -> Result<Exit, Failed> {
    if runner.index >= plan.count {
        return Err(Failed {
            exit: Exit::Usage,
            error: anyhow!(
                "there is no runner {} in a group of {}",
                runner.index,
                plan.count
            ),
        });
    }
    let mut plugins = Plugins::new(from_profile::limits(256)).or_exit(Exit::Failure)?;
    let profile = from_profile::read_profile(&runner.work.join(PROFILE_FILE), false, &live)?;
    let load = LoadArgs {
        user_agent: Some(runner.name.clone()),
        ..LoadArgs::default()
    };
    let (mut job, specs) = from_profile::job(
        &profile,
        &load,
        &runner.engine,
        runner.target.clone(),
        &mut plugins,
        &live,
    )?;
    let exporter = plugins.load("json").or_exit(Exit::Plugin)?;
    job.outputs = vec![Output {
        name: "json".to_owned(),
        config: exporter
            .resolve_config(Some(smallest()))
            .or_exit(Exit::Failure)?,
        plugin: exporter,
        destination: Destination::File(report_file(&runner.work)),
    }];
    job.seed = Some(plan.seed_of(runner.index));
    job.load.raw = plan.raw_data;
    mail.clock_ahead_ms = runtime.block_on(store.clock_ahead_ms());
    let mut ready = || {
        say(format_args!("{} is ready", runner.name));
        let start = runtime
            .block_on(meet(store, plan, runner.index, mail, stop))
            .map_err(|error| Failed {
                exit: match error {
                    MeetError::Stopped => Exit::Interrupted,
                    _ => Exit::Failure,
                },
                error: error.into(),
            })?;
        mail.ready_unix_us = unix_us();
        let ahead = start.start_unix_us.saturating_sub(unix_us());
        say(format_args!(
            "{} of {} runners start in {} ms",
            start.ready,
            plan.count,
            ahead / 1000
        ));
        Ok(UNIX_EPOCH + Duration::from_micros(start.start_unix_us))
    };
    let one = OneOfMany {
        // Runs of a group are told apart by number: they begin in the same second.
        run_id: format!("{}-{}", plan.run, runner.index),
        environment: vec![
            ("runner-group".to_owned(), plan.name.clone()),
            ("node".to_owned(), runner.node.clone()),
        ],
        ready: &mut ready,
    };
    run::run_with(job, &specs, live, stop, Some(one))
}

/// Options of the exporter `json`: nothing that merging does not read.
fn smallest() -> Value {
    json!({"compact": true, "derivedHistograms": false})
}

fn report_file(work: &Path) -> PathBuf {
    work.join(REPORT_FILE)
}

/// Leaves the report, in a moment of its own among those of the others.
async fn deliver(
    runner: &Runner,
    plan: &Plan,
    store: &Store,
    mail: Mail,
    stop: &Stop,
) -> anyhow::Result<()> {
    let path = report_file(&runner.work);
    let mut report = std::fs::read(&path)
        .with_context(|| format!("the report was not written: {}", path.display()))?;
    let share = plan.seed_of(runner.index) % 1000;
    own_moment(store.spread(plan).mul_f64(share as f64 / 1000.0), stop).await;
    let mut tries = 0;
    loop {
        tries += 1;
        match store
            .deliver(runner.index, plan, mail.clone(), &report)
            .await
        {
            Ok(()) => return Ok(()),
            // It will not fit the next time either.
            Err(error @ DeliverError::TooLarge { .. }) => {
                let Some(smaller) = without_raw_data(&report, &error) else {
                    return Err(error.into());
                };
                say(format_args!("the report is left without raw data: {error}"));
                report = smaller;
            }
            Err(error) if tries >= DELIVERY.0 => return Err(error.into()),
            Err(error) => {
                say(format_args!(
                    "the report could not be left, trying again: {error}"
                ));
                tokio::time::sleep(DELIVERY.1).await;
            }
        }
    }
}

/// A runner that is stopped has only until its grace period is over.
async fn own_moment(pause: Duration, stop: &Stop) {
    tokio::select! {
        biased;
        () = stop.stopped() => {}
        () = tokio::time::sleep(pause) => {}
    }
}

/// The same report without the single exchanges, and with a finding that says so; none if it has none.
fn without_raw_data(report: &[u8], why: &DeliverError) -> Option<Vec<u8>> {
    let mut report: Value = serde_json::from_slice(report).ok()?;
    let mut is_smaller = false;
    for phase in report["phases"].as_array_mut().into_iter().flatten() {
        is_smaller |= phase.as_object_mut()?.remove("raw").is_some();
    }
    if !is_smaller {
        return None;
    }
    report["findings"].as_array_mut()?.push(json!({
        "severity": "warning",
        "code": "runner-group/raw-data",
        "message": format!("the single exchanges are left out of the report: {why}"),
    }));
    serde_json::to_vec(&report).ok()
}

fn unix_us() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_stopped_does_not_wait_for_its_moment() {
        let stop = Stop::new();
        stop.stop();
        let hour = Duration::from_secs(3600);
        tokio::time::timeout(Duration::from_secs(60), own_moment(hour, &stop))
            .await
            .unwrap();
    }

    #[test]
    fn what_does_not_fit_goes_without_raw_data_once() {
        let report = json!({
            "findings": [],
            "phases": [{"name": "a", "raw": {"series": [0]}}, {"name": "b"}],
            "overall": {"sent": 7},
        });
        let why = DeliverError::TooLarge {
            bytes: 9,
            parts: 3,
            room: 2,
        };
        let smaller = without_raw_data(report.to_string().as_bytes(), &why).unwrap();
        let read: Value = serde_json::from_slice(&smaller).unwrap();
        assert_eq!(read["phases"], json!([{"name": "a"}, {"name": "b"}]));
        assert_eq!(read["overall"]["sent"], 7);
        let message = read["findings"][0]["message"].as_str().unwrap();
        assert!(message.contains("reportParts"), "{message}");
        // There is nothing more to leave out.
        assert_eq!(without_raw_data(&smaller, &why), None);
    }
}
