//! `kperf-host cleanup`: deletes what a run left behind, because it was killed, kept it, or could not delete it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, anyhow};
use clap::Args;
use kperf_cluster::{
    RunId,
    api::{ApiFailure, Cluster, Code},
    cleanup,
    nodepool::{self, Claimed, PoolEvent, PoolOptions},
};
use kperf_load::Stop;
use kperf_runners::delete_namespace;

use crate::{
    benchmark::say_clean,
    cli::{TargetArgs, vc},
    exit::{Exit, Failed, OrExit as _},
    live::Live,
    target,
};

/// Arguments of `cleanup`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  kperf-host cleanup --list
  kperf-host cleanup --run r6926ab12-3f00aa
")]
pub struct CleanupArgs {
    /// The run, by the id in its report and in the label `kperf-host.io/run` of its objects. Its runner groups and
    /// node pools go too.
    #[arg(long, value_name = "ID", required_unless_present = "list")]
    pub run: Option<String>,
    /// Show the runs that left namespaces, runner groups (`runnergroup/NAME`) or node pools (`nodepool/NAME`) behind, and
    /// delete nothing. Runs that go on have theirs, too.
    #[arg(long, conflicts_with = "run")]
    pub list: bool,
    /// Longest time for deleting.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = super::seconds_or_duration)]
    pub timeout: Duration,
    /// Target flags.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Runs the command.
///
/// # Errors
/// A target that cannot be used, or an id that is none.
pub fn run(args: &CleanupArgs, live: &Live) -> Result<Exit, Failed> {
    let id = args
        .run
        .as_deref()
        .map(str::parse::<RunId>)
        .transpose()
        .or_exit(Exit::Usage)?;
    let choice = args.target.choice().or_exit(Exit::Usage)?;
    let resolved = target::resolve(&choice).or_exit(Exit::Target)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime of the kube client")
        .or_exit(Exit::Failure)?;
    let _within = runtime.enter();
    let cluster = Cluster::new(resolved.config.clone())
        .map_err(|error| anyhow!("{}: {error}", resolved.description))
        .or_exit(Exit::Target)?;
    let Some(id) = id else {
        return runtime.block_on(list(&cluster, live));
    };
    // First what sends load, last what pods are on.
    let groups = runtime.block_on(delete_groups(&cluster, &id, args.timeout, live));
    let report = runtime.block_on(cleanup::clean(&cluster, &id, None, args.timeout, |_| {}));
    say_clean(&report, &id, live);
    let pools = runtime.block_on(delete_pools(&cluster, &id, args.timeout, live));
    let is_complete = report.is_complete() && !groups.are_left && !pools.are_left;
    let is_something = !report.deleted.is_empty() || groups.were_there || pools.were_there;
    if is_complete && !is_something {
        live.say(&format!("run {id}: nothing of it is there"));
    }
    Ok(if is_complete {
        Exit::Success
    } else {
        Exit::LeftBehind
    })
}

/// What became of a run's runner groups, or node pools.
#[derive(Default)]
struct Became {
    were_there: bool,
    are_left: bool,
}

impl Became {
    /// They cannot be looked for. Who may not see them has made none.
    fn unknown(run: &RunId, what: &str, failure: &ApiFailure, live: &Live) -> Self {
        live.say(&format!(
            "run {run}: {what} of it cannot be looked for: {failure}"
        ));
        Self {
            were_there: false,
            are_left: failure.code != Code::Forbidden,
        }
    }
}

/// Deletes the runner groups that a run has started, and their namespace with the last one.
async fn delete_groups(cluster: &Cluster, run: &RunId, timeout: Duration, live: &Live) -> Became {
    let groups = match cleanup::inner(cluster, Some(run)).await {
        Ok(groups) => groups,
        Err(failure) => return Became::unknown(run, "runner groups", &failure, live),
    };
    let mut became = Became::default();
    for group in groups {
        became.were_there = true;
        let report = cleanup::clean(cluster, &group.run, None, timeout, |_| {}).await;
        say_clean(&report, &group.run, live);
        became.are_left |= !report.is_complete();
        if let Err(error) = delete_namespace(cluster, &group.namespace, timeout).await {
            live.say(&format!("run {run}: {error}"));
            became.are_left = true;
        }
    }
    became
}

/// Deletes the node pools that a run has claimed: after its namespaces, whose pods are on them.
async fn delete_pools(cluster: &Cluster, run: &RunId, timeout: Duration, live: &Live) -> Became {
    let stop = Stop::new();
    let claimed = match nodepool::claimed(cluster, Some(run), &stop).await {
        Ok(claimed) => claimed,
        Err(failure) => return Became::unknown(run, "node pools", &failure, live),
    };
    let mut became = Became::default();
    for Claimed { pool, .. } in claimed {
        became.were_there = true;
        let options = PoolOptions {
            timeout,
            ..PoolOptions::default()
        };
        let deleted = {
            let steps = live.steps();
            let news = |event: &PoolEvent| steps.now(vc::describe(&pool, event));
            nodepool::delete(cluster, &pool, &options, &stop, &news).await
        };
        match deleted {
            Ok(deleted) => live.say(&format!(
                "run {run}: deleted node pool {pool} with {} nodes",
                deleted.nodes
            )),
            Err(error) => {
                live.say(&format!("run {run}: {error}"));
                became.are_left = true;
            }
        }
    }
    became
}

/// What is left of a run.
#[derive(Default)]
struct Line {
    age: Option<Duration>,
    left: Vec<String>,
}

async fn list(cluster: &Cluster, live: &Live) -> Result<Exit, Failed> {
    use std::io::Write as _;
    let runs = cleanup::runs(cluster)
        .await
        .map_err(|error| anyhow!("cannot list namespaces: {error}"))
        .or_exit(Exit::Target)?;
    let mut lines: BTreeMap<RunId, Line> = runs
        .into_iter()
        .map(|found| {
            let line = Line {
                age: found.age,
                left: found.namespaces,
            };
            (found.run, line)
        })
        .collect();
    // No namespace has a slash in its name.
    let mut add = |run: RunId, age: Option<Duration>, left: String| {
        let line = lines.entry(run).or_default();
        line.age = line.age.max(age);
        line.left.push(left);
    };
    let unknown = |what: &str, failure: ApiFailure| {
        live.say(&format!(
            "warning: {what} of runs cannot be looked for: {failure}"
        ));
    };
    match cleanup::inner(cluster, None).await {
        Ok(groups) => {
            for group in groups {
                add(
                    group.outer,
                    group.age,
                    format!("runnergroup/{}", group.name),
                );
            }
        }
        Err(failure) => unknown("runner groups", failure),
    }
    match nodepool::claimed(cluster, None, &Stop::new()).await {
        Ok(claimed) => {
            for Claimed { run, pool, age } in claimed {
                add(run, age, format!("nodepool/{pool}"));
            }
        }
        Err(failure) => unknown("node pools", failure),
    }
    let mut lines: Vec<(RunId, Line)> = lines.into_iter().collect();
    lines.sort_by_key(|(_, line)| std::cmp::Reverse(line.age));
    let mut out = std::io::stdout().lock();
    for (run, line) in lines {
        let age = line.age.map_or_else(
            || "?".to_owned(),
            |age| format!("{} min", age.as_secs() / 60),
        );
        writeln!(out, "{run}\t{age}\t{}", line.left.join(","))
            .context("cannot write to standard output")
            .or_exit(Exit::Failure)?;
    }
    Ok(Exit::Success)
}
