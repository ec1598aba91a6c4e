//! `rg result`, and the end of `rg run --wait` and `rg run --local N`: reports merged, printed and exported.

use std::time::Duration;

use anyhow::anyhow;
use kperf_load::Stop;
use tokio::runtime::Runtime;

use super::{Connected, ResultArgs, of_group};
use crate::{
    cli::{
        output::{self, OutputArgs},
        run::limits,
    },
    exit::{Exit, Failed, OrExit as _},
    export::Exports,
    live::Live,
    merge,
    plugins::Plugins,
    run::deliver,
    runner_group::{Outcome, Running},
    signals,
};

/// Runs the command.
///
/// # Errors
/// The cluster cannot be asked, there is no such group, or nothing was reported.
pub(super) fn run(args: &ResultArgs, live: &Live) -> Result<Exit, Failed> {
    let mut plugins = Plugins::new(limits(256)).or_exit(Exit::Failure)?;
    let connected = Connected::new(&args.place.target)?;
    let namespace = &args.place.namespace;
    let groups = connected.groups(namespace, &args.groups)?;
    if groups.is_empty() {
        return Err(Failed {
            exit: Exit::Usage,
            error: anyhow!("there are no runner groups in {namespace}; `rg run` makes one"),
        });
    }
    check_outputs(&args.output, groups.len(), &mut plugins)?;
    let stop = Stop::new();
    signals::install(&stop);
    let within = match (args.wait, args.timeout.is_zero()) {
        (false, _) => Some(Duration::ZERO),
        (true, true) => None,
        (true, false) => Some(args.timeout),
    };
    let running = groups
        .into_iter()
        .map(|group| {
            let cluster = connected.cluster.clone();
            (group.name.clone(), Running::Cluster { cluster, group })
        })
        .collect();
    wait(
        running,
        within,
        &args.output,
        plugins,
        &connected.runtime,
        &stop,
        live,
    )
}

/// Several groups need destinations of their own.
///
/// # Errors
/// Outputs that cannot be used, or that would go to the same place.
pub(super) fn check_outputs(
    args: &OutputArgs,
    groups: usize,
    plugins: &mut Plugins,
) -> Result<(), Failed> {
    output::prepare(&of_group(args, "group"), plugins)?;
    let shared = args.outputs.iter().find(|text| !text.contains("{group}"));
    match shared {
        Some(text) if groups > 1 => Err(Failed {
            exit: Exit::Usage,
            error: anyhow!(
                "--output {text}: {groups} runner groups would write to the same place; put {{group}} into the destination, as in --output json=result-{{group}}.json"
            ),
        }),
        _ => Ok(()),
    }
}

/// Waits for groups at the same time, and prints them one after the other.
///
/// # Errors
/// A group that cannot be waited for, or without a single report; the others are printed.
pub(super) fn wait(
    running: Vec<(String, Running)>,
    within: Option<Duration>,
    outputs: &OutputArgs,
    mut plugins: Plugins,
    runtime: &Runtime,
    stop: &Stop,
    live: &Live,
) -> Result<Exit, Failed> {
    let names: Vec<String> = running.iter().map(|(name, _)| name.clone()).collect();
    let outcomes: Vec<Result<Outcome, Failed>> = runtime.block_on(async {
        let mut waiting = tokio::task::JoinSet::new();
        for (number, (_, mut group)) in running.into_iter().enumerate() {
            let stop = stop.clone();
            waiting.spawn(async move {
                let wait = group.wait(within, &stop, &|text| eprintln!("{text}"));
                (number, wait.await)
            });
        }
        let mut outcomes = waiting.join_all().await;
        outcomes.sort_by_key(|(number, _)| *number);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    });
    let several = names.len() > 1;
    let mut worst = Exit::Success;
    let mut failure = None;
    for (name, outcome) in names.iter().zip(outcomes) {
        let printed = outcome.and_then(|outcome| {
            if several {
                live.say(&format!("--- runner group {name}"));
            }
            print(name, outcome, outputs, &mut plugins, live)
        });
        match printed {
            Ok(exit) => worst = worse(worst, exit),
            Err(failed) => {
                if several {
                    live.say(&format!("runner group {name}: {failed}"));
                }
                failure.get_or_insert(failed);
            }
        }
    }
    match failure {
        Some(failed) => Err(failed),
        None if stop.is_stopped() => Ok(Exit::Interrupted),
        None => Ok(worst),
    }
}

/// Of two codes the one that says more: any but success, the earlier first.
fn worse(one: Exit, other: Exit) -> Exit {
    if one == Exit::Success { other } else { one }
}

fn print(
    name: &str,
    outcome: Outcome,
    outputs: &OutputArgs,
    plugins: &mut Plugins,
    live: &Live,
) -> Result<Exit, Failed> {
    let mut missing = 0;
    for line in outcome.missing() {
        missing += 1;
        let why = line.missing.as_deref().unwrap_or_default();
        let node = if line.node.is_empty() {
            String::new()
        } else {
            format!(" on {}", line.node)
        };
        live.say(&format!("runner {}{node} is missing: {why}", line.name));
    }
    let count = outcome.plan.count;
    let report = outcome.into_report()?;
    let outputs = output::prepare(&of_group(outputs, name), plugins)?;
    let on_stderr = outputs.iter().any(|output| output.destination.is_stdout());
    let exit = merge::exit(&report.summary, missing);
    let exports = Exports::begin(outputs, &report.summary.run_id)?;
    for interval in report.intervals {
        exports.interval(interval);
    }
    let undelivered = deliver(report.summary, exports, on_stderr, live);
    if missing > 0 {
        live.say(&format!(
            "{missing} of {count} runners of group {name} are missing in this result"
        ));
    }
    Ok(match exit {
        Exit::Success if undelivered => Exit::Output,
        exit => exit,
    })
}
