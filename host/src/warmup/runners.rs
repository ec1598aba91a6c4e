//! The load of a warm-up from runners.

use std::path::Path;

use kperf_cluster::{OUTER_RUN_LABEL, RunId, api::Cluster};
use kperf_load::Stop;
use kperf_runners::delete_namespace;
use tokio::runtime::Runtime;

use super::{CLEAN_UP, Loaded, Warmup, profile_text};
use crate::{
    benchmark::say_clean,
    exit::{Exit, Failed, OrExit as _},
    live::Live,
    plugins::Plugins,
    profile,
    runner_group::{Outcome, Placement, prepare},
};

/// Name of the group.
const NAME: &str = "warmup";

/// Starts the runners, waits for them and removes them, whatever happens.
pub(super) fn load(
    plan: &Warmup,
    placement: &Placement,
    run: &RunId,
    runtime: &Runtime,
    cluster: &Cluster,
    stop: &Stop,
    live: &Live,
) -> Result<Loaded, Failed> {
    let text = profile_text(plan, 1)?;
    let profile: serde_json::Value = serde_yaml::from_str(&text).or_exit(Exit::Failure)?;
    let file = serde_json::json!({
        "count": plan.runners,
        "loadProfile": profile,
        // What is left of it when this process is killed is found by it.
        "labels": {OUTER_RUN_LABEL: run.as_str()},
    })
    .to_string();
    let file = profile::group(&file, Path::new("warmup.yaml"), false).or_exit(Exit::Failure)?;
    let mut plugins = Plugins::new(kperf_runtime::Limits::default()).or_exit(Exit::Failure)?;
    let group = prepare(file, NAME, placement.options(), &mut plugins)?;
    let started = runtime.block_on(placement.start(&group, cluster, stop));
    let mut running = match started {
        Ok(running) => running,
        Err(failed) => {
            // What there was of the group is gone, or is said in the error; the namespace is made before it.
            remove_namespace(placement, runtime, cluster, live);
            return Err(failed);
        }
    };
    let steps = live.steps();
    let say = |text: &str| steps.now(text.to_owned());
    let ended = runtime.block_on(running.to_the_end(stop, &mut || {}, &say));
    drop(steps);
    let clean = runtime.block_on(running.delete(CLEAN_UP));
    say_clean(&clean, group.run(), live);
    let is_left = !clean.is_complete() | remove_namespace(placement, runtime, cluster, live);
    let loaded = loaded(ended?, live)?;
    Ok(Loaded {
        exit: if is_left {
            Exit::LeftBehind
        } else {
            loaded.exit
        },
        ..loaded
    })
}

/// Removes the namespace of runner groups unless there are others in it; whether it is left that should not be.
fn remove_namespace(
    placement: &Placement,
    runtime: &Runtime,
    cluster: &Cluster,
    live: &Live,
) -> bool {
    let Placement::Cluster { namespace, .. } = placement else {
        return false;
    };
    match runtime.block_on(delete_namespace(cluster, namespace, CLEAN_UP)) {
        Ok(_) => false,
        Err(error) => {
            live.say(&error.to_string());
            true
        }
    }
}

fn loaded(outcome: Outcome, live: &Live) -> Result<Loaded, Failed> {
    let mut exit = Exit::Success;
    for line in outcome.missing() {
        let why = line.missing.as_deref().unwrap_or_default();
        live.say(&format!("runner {} is missing: {why}", line.name));
        exit = Exit::Failure;
    }
    let merged = outcome.into_report()?.summary;
    match merged.ended.as_str() {
        "failed" => exit = Exit::Plugin,
        "interrupted" => exit = Exit::Interrupted,
        _ => {}
    }
    Ok(Loaded {
        requests: merged.overall.sent,
        exit,
    })
}
