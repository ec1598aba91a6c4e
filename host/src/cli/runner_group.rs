//! `kperf-host runnergroup` (`rg`): kperf's commands for runner groups, without a server in the cluster.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use kperf_cluster::{api::Cluster, grant::Grant};
use kperf_load::plan::Target;
use kperf_runners::{FlowControl, Found, NAMESPACE, find};
use tokio::runtime::Runtime;

use crate::{
    cli::{TargetArgs, output::OutputArgs, server::ServerArgs},
    exit::{Exit, Failed, OrExit as _},
    live::Live,
    target,
};

mod results;
mod run;
mod status;

/// Flags before the subcommand, as kperf has them.
#[derive(Debug, Args)]
pub struct RunnerGroupArgs {
    /// Kubeconfig file, as the flag of the same name after the subcommand.
    #[arg(long = "kubeconfig", id = "group_kubeconfig", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: RunnerGroupCommand,
}

/// kperf's runner group commands.
#[derive(Debug, Subcommand)]
pub enum RunnerGroupCommand {
    /// Run the same load from many pods, or from many processes of this machine, started together.
    Run(Box<RunArgs>),
    /// Say how far runner groups are.
    Status(StatusArgs),
    /// Merge what the runners reported, and print it.
    Result(Box<ResultArgs>),
    /// Remove runner groups and everything of them.
    #[command(alias = "del")]
    Delete(DeleteArgs),
}

/// Where runner groups are.
#[derive(Clone, Debug, Args)]
pub struct PlaceArgs {
    /// Namespace of the groups; `rg run` makes it, and `rg delete` removes it with the last of them.
    #[arg(long, value_name = "NAME", default_value = NAMESPACE)]
    pub namespace: String,
    /// Target flags.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Arguments of `rg run`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "A runner group's file has kperf's keys `count`, `loadProfile`, `nodeAffinity`, `serviceAccount` and
`ownerReference`, and `name`, `image`, `imagePullPolicy`, `tolerations`, `resources`, `labels`,
`grants`, `readyTimeout` (seconds) and `reportParts` (of 700 KiB).

Examples:
  kperf-host rg run --local 3 --sim --runnergroup examples/runner-groups/lists.yaml
  kperf-host rg run --runner-image registry.example/kperf-host:1 --runnergroup file:///tmp/lists.yaml
  kperf-host rg run --runner-image … --runnergroup a.yaml --runnergroup b.yaml --affinity pool=load
  kperf-host rg run --runner-image … --runnergroup 'configmap://lists?namespace=default&specName=spec'
"
)]
pub struct RunArgs {
    /// A group's file: a path, file:///ABSOLUTE/PATH, or configmap://NAME?namespace=default&specName=spec.
    /// Repeatable: all groups run at the same time.
    #[arg(long = "runnergroup", value_name = "URI", required = true)]
    pub groups: Vec<String>,
    /// Image with kperf-host for the pods [default: the file's `image`].
    #[arg(long, value_name = "IMAGE")]
    pub runner_image: Option<String>,
    /// API Priority and Fairness of the runners' requests: PRIORITY-LEVEL:MATCHING-PRECEDENCE.
    #[arg(long, value_name = "FLOW", default_value_t = FlowControl::default())]
    pub runner_flowcontrol: FlowControl,
    /// Labels that nodes must have: KEY=VALUE[,VALUE]. In place of the file's. Repeatable.
    #[arg(long, value_name = "KEY=VALUES")]
    pub affinity: Vec<String>,
    /// kperf's log level of the runners.
    #[arg(long, value_name = "LEVEL", default_value_t = 2)]
    pub runner_verbosity: u32,
    /// What runners may do beyond what kperf's request kinds need, which is derived from them:
    /// VERBS:RESOURCE[.GROUP][@NAMESPACE]. Repeatable.
    #[arg(long = "grant", value_name = "GRANT")]
    pub grants: Vec<Grant>,
    /// How long runners that are ready wait for the others [default: the file's, else 60s].
    #[arg(long, value_name = "TIME", value_parser = super::seconds_or_duration)]
    pub ready_timeout: Option<Duration>,
    /// Seed of every random choice; each runner derives its own [default: drawn].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..1 << 53))]
    pub seed: Option<u64>,
    /// Ignore unknown keys of files and profiles, as kperf does, with a warning.
    #[arg(long)]
    pub lenient: bool,
    /// Run this many runners of each group as processes of this machine, wait for them and print the result.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub local: Option<u32>,
    /// Wait for the result and print it; with --local that is so anyway.
    #[arg(long)]
    pub wait: bool,
    /// Longest wait, 0 = forever. Groups in a cluster go on after it; with --local runners are stopped then, and report
    /// what they have.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = super::seconds_or_duration)]
    pub timeout: Duration,
    /// Where groups are.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Flags about the server's own numbers, which are of all groups together; with --wait or --local only.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Result flags; {group} in a destination is the group's name.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `rg status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Groups [default: all].
    #[arg(value_name = "GROUP")]
    pub groups: Vec<String>,
    /// How to print it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: status::Format,
    /// Where groups are.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Arguments of `rg result`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  kperf-host rg result
  kperf-host rg result lists --output kperf-json
  kperf-host rg result lists --output kperf-json --output-set kperf-json.format=envelope
  kperf-host rg result --wait=false --output json=result-{group}.json

kperf-json is kperf's flat report of a group here, unless its format is set.
The exit code is 5 if a plugin failed in a runner, 1 if a runner has no report, 130 if one was interrupted, 3 if a limit of
the profile was not kept.
")]
pub struct ResultArgs {
    /// Groups [default: all].
    #[arg(value_name = "GROUP")]
    pub groups: Vec<String>,
    /// Wait until all runners are over; with --wait=false what there is by now is merged.
    #[arg(long, num_args = 0..=1, default_value_t = true, default_missing_value = "true", value_name = "BOOL", require_equals = true, action = clap::ArgAction::Set)]
    pub wait: bool,
    /// Longest wait, 0 = forever.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = super::seconds_or_duration)]
    pub timeout: Duration,
    /// Where groups are.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Result flags; {group} in a destination is the group's name.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `rg delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Groups [default: all].
    #[arg(value_name = "GROUP")]
    pub groups: Vec<String>,
    /// Longest time for deleting.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = super::seconds_or_duration)]
    pub timeout: Duration,
    /// Where groups are.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Runs the command.
///
/// # Errors
/// Bad input, a plugin, image or target that cannot be used, groups that are not there.
pub fn run(args: RunnerGroupArgs, live: &Live) -> Result<Exit, Failed> {
    let before = args.kubeconfig;
    let with = |place: &mut PlaceArgs| {
        if place.target.kubeconfig.is_none() && place.target.server.is_none() {
            place.target.kubeconfig.clone_from(&before);
        }
        place.target.empty_kubeconfig_is_in_cluster();
    };
    match args.command {
        RunnerGroupCommand::Run(mut args) => {
            with(&mut args.place);
            run::start(&args, live)
        }
        RunnerGroupCommand::Status(mut args) => {
            with(&mut args.place);
            status::run(&args)
        }
        RunnerGroupCommand::Result(mut args) => {
            with(&mut args.place);
            results::run(&args, live)
        }
        RunnerGroupCommand::Delete(mut args) => {
            with(&mut args.place);
            delete(&args, live)
        }
    }
}

/// A cluster to be asked, and what runs the asking.
struct Connected {
    runtime: Runtime,
    cluster: Cluster,
    target: Target,
}

fn runtime() -> Result<Runtime, Failed> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime of the kube client")
        .or_exit(Exit::Failure)
}

impl Connected {
    fn new(args: &TargetArgs) -> Result<Self, Failed> {
        if args.sim.is_some() {
            return Err(Failed {
                exit: Exit::Usage,
                error: anyhow!(
                    "the simulator runs no pods; --sim goes with `rg run --local N`, or start `kperf-host sim` and give its kubeconfig"
                ),
            });
        }
        let resolved =
            target::resolve(&args.choice().or_exit(Exit::Usage)?).or_exit(Exit::Target)?;
        let runtime = runtime()?;
        let within = runtime.enter();
        let cluster = Cluster::new(resolved.config.clone())
            .map_err(|error| anyhow!("{}: {error}", resolved.description))
            .or_exit(Exit::Target)?;
        drop(within);
        Ok(Self {
            runtime,
            cluster,
            target: resolved.target,
        })
    }

    /// The groups that are named, or all.
    fn groups(&self, namespace: &str, names: &[String]) -> Result<Vec<Found>, Failed> {
        let found = self
            .runtime
            .block_on(find(&self.cluster, namespace))
            .or_exit(Exit::Target)?;
        if names.is_empty() {
            return Ok(found);
        }
        names
            .iter()
            .map(|name| {
                found
                    .iter()
                    .find(|group| group.name == *name)
                    .cloned()
                    .ok_or_else(|| {
                        let there: Vec<&str> =
                            found.iter().map(|group| group.name.as_str()).collect();
                        anyhow!(
                            "there is no runner group {name} in {namespace}; there {}",
                            match there.as_slice() {
                                [] => "is none".to_owned(),
                                there => format!("are {}", there.join(", ")),
                            }
                        )
                    })
            })
            .collect::<anyhow::Result<_>>()
            .or_exit(Exit::Usage)
    }
}

fn delete(args: &DeleteArgs, live: &Live) -> Result<Exit, Failed> {
    let connected = Connected::new(&args.place.target)?;
    let namespace = &args.place.namespace;
    let groups = connected.groups(namespace, &args.groups)?;
    let Connected {
        runtime, cluster, ..
    } = &connected;
    let mut complete = true;
    let cleaned = runtime.block_on(async {
        let mut cleaning = tokio::task::JoinSet::new();
        for group in groups.iter().cloned() {
            let (cluster, timeout) = (cluster.clone(), args.timeout);
            cleaning.spawn(async move {
                let clean = kperf_runners::delete(&cluster, &group, timeout).await;
                (group, clean)
            });
        }
        cleaning.join_all().await
    });
    for (group, clean) in &cleaned {
        crate::benchmark::say_clean(clean, &group.run, live);
        complete &= clean.is_complete();
    }
    if groups.is_empty() {
        live.say(&format!("there are no runner groups in {namespace}"));
    }
    if complete {
        let went = runtime
            .block_on(kperf_runners::delete_namespace(
                cluster,
                namespace,
                args.timeout,
            ))
            .or_exit(Exit::LeftBehind)?;
        if went {
            live.say(&format!("deleted namespace {namespace}"));
        }
        Ok(Exit::Success)
    } else {
        Ok(Exit::LeftBehind)
    }
}

/// Outputs of one group: `{group}` in a destination is its name, and kperf's JSON is what kperf prints of a group, which is
/// flat.
fn of_group(args: &OutputArgs, group: &str) -> OutputArgs {
    let mut sets = args.output_sets.clone();
    for text in &args.outputs {
        let name = text.split_once('=').map_or(text.as_str(), |(name, _)| name);
        let format = format!("{name}.format=");
        let is_kperfs = name.trim_end_matches(".wasm").replace('-', "_") == "kperf_json";
        if is_kperfs && !sets.iter().any(|set| set.starts_with(&format)) {
            sets.push(format + "flat");
        }
    }
    OutputArgs {
        outputs: args
            .outputs
            .iter()
            .map(|text| text.replace("{group}", group))
            .collect(),
        output_sets: sets,
        ..args.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kperfs_json_of_a_group_is_flat_unless_told() {
        let sets = |outputs: &[&str], sets: &[&str]| {
            let args = OutputArgs {
                outputs: outputs.iter().map(|text| (*text).to_owned()).collect(),
                output_sets: sets.iter().map(|text| (*text).to_owned()).collect(),
                ..OutputArgs::default()
            };
            of_group(&args, "g").output_sets
        };
        assert_eq!(sets(&["kperf-json=a"], &[]), ["kperf-json.format=flat"]);
        assert_eq!(sets(&["kperf_json"], &[]), ["kperf_json.format=flat"]);
        let envelope = ["kperf-json.format=envelope"];
        assert_eq!(sets(&["kperf-json"], &envelope), envelope);
        assert!(sets(&["json=x"], &[]).is_empty());
    }
}
