//! `rg result`, and the end of `rg run --wait` and `rg run --local N`: reports merged, printed and exported.

use std::time::{Duration, Instant, SystemTime};

use anyhow::anyhow;
use kperf_load::Stop;
use kperf_runtime::report as doc;
use tokio::{runtime::Runtime, task::JoinSet};

use super::{Connected, ResultArgs, of_group};
use crate::{
    cli::{
        output::{self, OutputArgs},
        run::limits,
    },
    exit::{Exit, Failed, OrExit as _},
    export::Exports,
    live::{self, Live},
    merge,
    plugins::Plugins,
    run::deliver,
    runner_group::{Outcome, Running},
    server_side::{self, Observed, Observer, Sent, ServerResults},
    signals,
};

/// Between two looks for what the observer saw.
const NEWS: Duration = Duration::from_millis(200);

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
    let waited = Waited {
        running,
        within,
        observer: None,
    };
    let runtime = &connected.runtime;
    wait(waited, &args.output, plugins, runtime, &stop, live)
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

/// Groups that are waited for.
pub(super) struct Waited {
    /// With their names.
    pub(super) running: Vec<(String, Running)>,
    /// Longest wait; none = forever.
    pub(super) within: Option<Duration>,
    /// Looks at the server that they load, if somebody does.
    pub(super) observer: Option<Observer>,
}

/// Waits for groups at the same time, and prints them one after the other.
///
/// # Errors
/// A group that cannot be waited for, or without a single report; the others are printed.
pub(super) fn wait(
    waited: Waited,
    outputs: &OutputArgs,
    mut plugins: Plugins,
    runtime: &Runtime,
    stop: &Stop,
    live: &Live,
) -> Result<Exit, Failed> {
    let Waited {
        running,
        within,
        observer,
    } = waited;
    let names: Vec<String> = running.iter().map(|(name, _)| name.clone()).collect();
    let ended: Vec<(Running, Result<bool, Failed>)> = runtime.block_on(async {
        let mut starts = JoinSet::new();
        let mut waiting = Vec::new();
        for (_, mut group) in running {
            if observer.is_some() {
                starts.spawn(group.agreed());
            }
            let stop = stop.clone();
            waiting.push(async move {
                let say = |text: &str| live::say(text);
                let ended = group.until_over(within, &stop, &say).await;
                (group, ended)
            });
        }
        tokio::select! {
            ended = all(waiting) => ended,
            () = look(observer.as_ref(), starts, live) => Vec::new(),
        }
    });
    let several = names.len() > 1;
    // Before the reports are fetched, which is none of the load's work.
    let observed = observer.map(|observer| observer.finish(stop));
    let merging = ended.into_iter().map(|(mut group, ended)| {
        let stop = stop.clone();
        async move {
            match ended {
                Ok(is_over) => group.merged(is_over, &stop).await,
                Err(failed) => Err(failed),
            }
        }
    });
    let outcomes: Vec<Result<Outcome, Failed>> = runtime.block_on(all(merging));
    let server = observed.map(|observed| of_all(&observed, &outcomes));
    let mut worst = Exit::Success;
    let mut failure = None;
    for (name, outcome) in names.iter().zip(outcomes) {
        let printed = outcome.and_then(|outcome| {
            if several {
                live.say(&format!("--- runner group {name}"));
            }
            print(name, outcome, server.as_ref(), outputs, &mut plugins, live)
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

/// All at the same time, in their order.
async fn all<T: Send + 'static>(
    work: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut working = JoinSet::new();
    for (number, one) in work.into_iter().enumerate() {
        working.spawn(async move { (number, one.await) });
    }
    let mut done = working.join_all().await;
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, value)| value).collect()
}

/// Lets the observer begin at the first start, and shows what it sees; never ends.
async fn look(observer: Option<&Observer>, mut starts: JoinSet<SystemTime>, live: &Live) {
    let Some(observer) = observer else {
        return std::future::pending().await;
    };
    if let Some(Ok(start)) = starts.join_next().await {
        let ahead = start.duration_since(SystemTime::now()).unwrap_or_default();
        observer.anew(Instant::now() + ahead);
    }
    // They only serve to find the first one.
    drop(starts);
    loop {
        for points in observer.news() {
            live.server(&points);
        }
        tokio::time::sleep(NEWS).await;
    }
}

/// What the server said while all groups ran, and whether that fits.
fn of_all(observed: &Observed, outcomes: &[Result<Outcome, Failed>]) -> ServerResults {
    let reports = outcomes
        .iter()
        .filter_map(|outcome| outcome.as_ref().ok()?.report.as_ref());
    let mut sent = Sent::default();
    reports.for_each(|report| sent.add_report(&report.summary.series));
    let mut server = server_side::results(observed, &sent);
    if outcomes.len() > 1 && !server.metrics.is_empty() {
        server.findings.push(doc::Finding {
            severity: "info".to_owned(),
            code: "server/of-all-groups".to_owned(),
            message: "the server's numbers are of all runner groups together".to_owned(),
        });
    }
    server
}

/// Of two codes the one that says more: any but success, the earlier first.
fn worse(one: Exit, other: Exit) -> Exit {
    if one == Exit::Success { other } else { one }
}

fn print(
    name: &str,
    outcome: Outcome,
    server: Option<&ServerResults>,
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
    if outputs.raw_data && !outcome.plan.raw_data {
        live.say(&format!(
            "runner group {name} was run without --raw-data: its reports hold no single requests"
        ));
    }
    let mut report = outcome.into_report()?;
    match server {
        Some(server) => report.add_server(server),
        None => report.without_server(),
    }
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
