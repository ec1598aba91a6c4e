//! `kperf-host net launch`: a network benchmark between pods of a cluster, from its first object to its last.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use kperf_cluster::{
    RunId,
    api::{Cluster, Code},
};
use kperf_launch::{
    Credentials, Event, LaunchError, LaunchSpec, Launched, check_rights, find_nodes, launch,
    objects, planned_workers,
};
use kperf_load::Stop;
use kperf_network::{NetworkRun, ResultsFile, RunCertificates};

use crate::{
    benchmark::say_clean,
    cli::{
        TargetArgs,
        net::{
            deliver::{self, Delivery, Outputs},
            measure::{MeasureArgs, TOLERANCES},
        },
        output::OutputArgs,
    },
    exit::{Exit, Failed, OrExit as _},
    live::Live,
    network::{self, Measurement, Prepared},
    run, signals,
    target::{self, TargetChoice},
};

mod deployment;

/// Arguments of `net launch`.
#[derive(Debug, Args)]
#[command(after_long_help = help())]
pub struct LaunchArgs {
    /// What is measured.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// Where, and with what.
    #[command(flatten)]
    pub deployment: DeploymentArgs,
    /// Longest run in all, from the start of the orchestrator.
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = crate::cli::seconds_or_duration)]
    pub deadline: Duration,
    /// Longest for each of these: workers register (their images may have to be pulled first), lost ones come back,
    /// everything is removed.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = crate::cli::seconds_or_duration)]
    pub timeout: Duration,
    /// Where the results file is written, as BENCHMARK-RUN.json.
    #[arg(
        long = "output-directory",
        aliases = ["outputFileDirectory", "output-file-directory"],
        value_name = "DIR",
        default_value = "/share/networkperformance_results"
    )]
    pub output_directory: PathBuf,
    /// Print the objects that would be created, with placeholders for keys, and create nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Leave everything in the cluster at the end, to look at; `cleanup --run ID` removes it.
    #[arg(long)]
    pub keep: bool,
    /// Target flags.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Result flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Where workers run, and with what.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Deployment")]
pub struct DeploymentArgs {
    /// Namespace to make for the run, and to remove with it [default: kperf-net- and the run's id].
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Nodes that get workers, by a label selector; empty means every node.
    #[arg(
        long,
        value_name = "SELECTOR",
        default_value = "node-lifecycle=on-demand"
    )]
    pub node_labels: String,
    /// Workers on each of them; pairs of one node need two [default: 1, or 2 with --pairs same-node].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub workers_per_node: Option<u16>,
    /// Image with kperf-host and the measuring programs.
    #[arg(long, alias = "workerImage", value_name = "IMAGE")]
    pub worker_image: String,
    /// Image with kperf-host for the orchestrator [default: that of the workers].
    #[arg(long, aliases = ["orchImage", "orchestrator-image"], value_name = "IMAGE")]
    pub orch_image: Option<String>,
    /// When images are pulled [default: the cluster's rule].
    #[arg(long, value_name = "WHEN")]
    pub image_pull_policy: Option<PullPolicy>,
    /// Put Istio's sidecars into the pods; refused for netperf and qperf.
    #[arg(long)]
    pub inject: bool,
    /// Workers in the network of their nodes only: the same as --path host.
    #[arg(long, conflicts_with = "paths")]
    pub host_network: bool,
    /// A taint that pods tolerate: KEY, KEY=VALUE, either with :EFFECT, or * for all. Repeatable.
    #[arg(long = "toleration", value_name = "TAINT")]
    pub tolerations: Vec<String>,
    /// CPU that each worker requests, such as 2 or 500m.
    #[arg(
        long,
        value_name = "QUANTITY",
        default_value = "",
        hide_default_value = true
    )]
    pub worker_cpu: String,
    /// Memory that each worker requests, such as 256Mi.
    #[arg(
        long,
        value_name = "QUANTITY",
        default_value = "",
        hide_default_value = true
    )]
    pub worker_memory: String,
    /// Port of the orchestrator.
    #[arg(long, value_name = "PORT", default_value_t = 6000, value_parser = clap::value_parser!(u16).range(1024..))]
    pub orchestrator_port: u16,
}

/// When images are pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum PullPolicy {
    /// For every pod.
    Always,
    /// When the node has none of that name.
    IfNotPresent,
    /// Never.
    Never,
}

fn help() -> String {
    format!(
        "Paths of the traffic:
  pod      from pod to pod by the pod's address; what is measured without --path
  service  by the name of a Service of the server, where the tool's ports are fixed
  host     between pods in the network of their nodes, beside the others, to compare with

{TOLERANCES}
Examples:
  kperf-host net launch --benchmark iperf3-tcp --worker-image REGISTRY/kperf-host-worker --node-labels ''
  kperf-host net launch --benchmark qperf-tcp --worker-image IMAGE --samples 3 --pairs other-zone
  kperf-host net launch --benchmark iperf3-tcp --worker-image IMAGE --tolerance 'pod within 10% of host'
  kperf-host net launch --benchmark ./nuttcp.wasm --allow nuttcp --worker-image IMAGE --output json=net.json

Needs the rights to make a namespace and what is in it; what is missing is said before anything is created.
"
    )
}

/// Runs the command.
///
/// # Errors
/// Bad input, missing rights, too few nodes, pods that do not run, no results.
pub fn run(mut args: LaunchArgs, live: &Live) -> Result<Exit, Failed> {
    let mut plugins = deliver::plugins()?;
    let mut measurement = args.measure.measurement()?;
    let paths =
        deployment::paths(&mut measurement, args.deployment.host_network).or_exit(Exit::Usage)?;
    let prepared = measurement.prepare(&mut plugins)?;
    let outputs = Outputs::prepare(&args.output, &mut plugins)?;
    let start = SystemTime::now();
    let id = run::run_id(start, run::drawn_seed());
    let run_id: RunId = id.parse().or_exit(Exit::Failure)?;
    // It is written into a manifest, and shown.
    args.output_directory = std::path::absolute(&args.output_directory).or_exit(Exit::Usage)?;
    let mut spec = deployment::spec(&args, &measurement, &prepared, paths, run_id)?;
    spec.check_settings().or_exit(Exit::Usage)?;
    if !args.dry_run {
        writable(&args.output_directory).or_exit(Exit::Usage)?;
    }

    let choice = args.target.choice().or_exit(Exit::Usage)?;
    if let TargetChoice::Sim(_) = choice {
        return Err(anyhow!(
            "--sim: the simulator runs no pods; `net run` measures on this machine"
        ))
        .or_exit(Exit::Usage);
    }
    let resolved = target::resolve(&choice).or_exit(Exit::Target)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime of the kube client")
        .or_exit(Exit::Failure)?;
    let cluster = {
        let _within = runtime.enter();
        Cluster::new(resolved.config.clone())
            .map_err(|error| anyhow!("{}: {error}", resolved.description))
            .or_exit(Exit::Target)?
    };
    runtime
        .block_on(preflight(&cluster, &mut spec, &args, &measurement, live))
        .map_err(|error| failed(error, &resolved.description))?;
    deployment::check_pairs(&spec, &measurement).or_exit(Exit::Usage)?;
    if args.dry_run {
        return print(&spec);
    }
    let delivery = outputs.begin(&id)?;
    let stop = Stop::new();
    signals::install(&stop);
    spec.credentials = credentials()?;
    let launched = runtime.block_on(launch(&cluster, &spec, &stop, &|event| {
        show(&event, &spec, live)
    }));
    let mut facts = network::facts(
        id,
        Some(&prepared.plugin),
        &resolved.target.url(),
        Vec::new(),
    );
    facts.start = start;
    conclude(
        launched,
        &spec,
        &prepared,
        &facts,
        &args.output_directory,
        delivery,
        live,
    )
}

/// Rights and nodes, before anything is created.
async fn preflight(
    cluster: &Cluster,
    spec: &mut LaunchSpec,
    args: &LaunchArgs,
    measurement: &Measurement,
    live: &Live,
) -> Result<(), LaunchError> {
    match check_rights(cluster, &spec.namespace).await {
        // A server that does not say who may do what will say it with the first refusal.
        Err(LaunchError::Api { failure, .. }) if failure.code == Code::NoSuchKind => {
            live.say("the server cannot be asked about rights");
        }
        checked => checked?,
    }
    let selector = &args.deployment.node_labels;
    let choice = find_nodes(cluster, selector, &spec.tolerations).await?;
    let least = if spec.workers_per_node > 1 { 1 } else { 2 };
    choice.enough(least, selector)?;
    for node in &choice.left_out {
        live.say(&format!("node {} is left out: {}", node.name, node.reason));
    }
    spec.nodes = deployment::named_nodes(choice.nodes, measurement);
    Ok(spec.check()?)
}

/// A failure, with the code it ends the command with.
fn failed(error: LaunchError, target: &str) -> Failed {
    let exit = match &error {
        LaunchError::Spec(_) | LaunchError::Nodes(_) => Exit::Usage,
        LaunchError::Rights(_) => Exit::Target,
        LaunchError::Api { failure, .. } => match failure.code {
            Code::Unreachable | Code::Timeout | Code::Unauthorized | Code::Forbidden => {
                Exit::Target
            }
            _ => Exit::Failure,
        },
        LaunchError::Stopped => Exit::Interrupted,
        LaunchError::Pods(_) | LaunchError::TimedOut { .. } | LaunchError::Results(_) => {
            Exit::Failure
        }
    };
    Failed {
        exit,
        error: anyhow::Error::new(error).context(target.to_owned()),
    }
}

/// Certificates of the run. They are on this machine's disk only until they are read.
fn credentials() -> Result<Credentials, Failed> {
    let folder = tempfile::tempdir()
        .context("cannot make a folder for the certificates")
        .or_exit(Exit::Failure)?;
    let certificates = RunCertificates::create(folder.path()).or_exit(Exit::Failure)?;
    Credentials::in_directory(certificates.directory())
        .context("cannot read the certificates")
        .or_exit(Exit::Failure)
}

/// Whether results can be written at the end is asked at the start.
fn writable(directory: &Path) -> anyhow::Result<()> {
    let failed = || {
        format!(
            "cannot write to {}; choose another place for the results with --output-directory",
            directory.display()
        )
    };
    std::fs::create_dir_all(directory).with_context(failed)?;
    tempfile::tempfile_in(directory).with_context(failed)?;
    Ok(())
}

fn print(spec: &LaunchSpec) -> Result<Exit, Failed> {
    let mut text = String::new();
    for object in objects(spec) {
        text.push_str("---\n");
        text.push_str(&serde_yaml::to_string(&object).or_exit(Exit::Failure)?);
    }
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")
        .or_exit(Exit::Failure)?;
    Ok(Exit::Success)
}

fn show(event: &Event<'_>, spec: &LaunchSpec, live: &Live) {
    let line = match event {
        Event::Created { objects } => {
            let mut nodes: Vec<&str> = spec.nodes.iter().map(|node| &*node.name).collect();
            let more = nodes.len().saturating_sub(10);
            nodes.truncate(10);
            let mut line = format!(
                "run {}: {objects} objects in namespace {}; {} workers on {}",
                spec.run.as_str(),
                spec.namespace,
                planned_workers(spec).len(),
                nodes.join(", ")
            );
            if more > 0 {
                line.push_str(&format!(" and {more} more"));
            }
            line
        }
        Event::Trouble(trouble) => format!("pod {trouble}"),
        Event::Orchestrator(said) => (*said).to_owned(),
        Event::Silent(why) => format!("the API server does not answer, asking again: {why}"),
        Event::HandingOver => "asking the orchestrator for what it has".to_owned(),
        Event::Cleaning => format!("removing namespace {} and what is in it", spec.namespace),
    };
    live.say(&line);
}

/// Keeps what came back, judges it, and says how the command ends.
fn conclude(
    launched: Launched,
    spec: &LaunchSpec,
    prepared: &Prepared,
    facts: &crate::report::RunFacts,
    directory: &Path,
    delivery: Delivery,
    live: &Live,
) -> Result<Exit, Failed> {
    say_clean(&launched.clean, &spec.run, live);
    if let Some(reason) = launched.unread {
        return Err(Failed {
            exit: Exit::LeftBehind,
            error: anyhow::Error::new(reason).context(unread(spec)),
        });
    }
    if spec.keep {
        live.say(&format!(
            "kept namespace {}; `kperf-host cleanup --run {}` removes it",
            spec.namespace,
            spec.run.as_str()
        ));
    }
    let is_left = !launched.clean.is_complete();
    let mut exit = Exit::Success;
    let mut error = None;
    match launched.outcome {
        Ok(finished) => live.say(&format!("orchestrator: {}", finished.message)),
        Err(reason) => {
            let failed = failed(reason, &spec.namespace);
            exit = failed.exit;
            error = Some(failed);
        }
    }
    let mut was_kept = true;
    match launched.results.as_deref() {
        Some(bytes) => {
            let path = directory.join(format!("{}-{}.json", prepared.benchmark, spec.run.as_str()));
            match keep(bytes, &path) {
                Ok(()) => live.say(&format!("results: {}", path.display())),
                Err(reason) => {
                    was_kept = false;
                    live.say(&format!("{reason:#}"));
                }
            }
            let run = measured(bytes).or_exit(Exit::Failure)?;
            let judged = delivery.finish(network::conclude(facts, &run, &prepared.limits), live);
            if exit == Exit::Success {
                exit = judged;
            }
        }
        None if exit == Exit::Success => {
            exit = Exit::Failure;
            error = Some(Failed {
                exit,
                error: anyhow!("there are no results; the orchestrator's last words are above"),
            });
        }
        None => {}
    }
    match error {
        Some(error) => Err(error),
        None => Ok(Exit::of_measurement(exit, was_kept, is_left)),
    }
}

/// What to do about results that are in the cluster, or may be.
fn unread(spec: &LaunchSpec) -> String {
    let LaunchSpec { namespace, run, .. } = spec;
    let run = run.as_str();
    format!(
        "run {run}: its results could not be read, so nothing is removed; once ConfigMap kperf-results in namespace \
         {namespace} says that its state is done or failed, and how many parts there are, this reads them:
  for i in $(seq 0 $((PARTS-1))); do kubectl -n {namespace} get configmap kperf-results-$i \
         -o 'jsonpath={{.binaryData.gz}}' | base64 -d; done | gunzip >results.json
`kperf-host net report results.json` judges and exports them, `kperf-host cleanup --run {run}` removes everything"
    )
}

fn measured(bytes: &[u8]) -> anyhow::Result<NetworkRun> {
    let file = ResultsFile::parse(bytes).context("the orchestrator's results cannot be read")?;
    Ok(file.run())
}

/// The file as the orchestrator wrote it, there whole or not at all.
fn keep(bytes: &[u8], path: &Path) -> anyhow::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let failed = || format!("cannot write {}", path.display());
    let mut file = tempfile::NamedTempFile::new_in(directory).with_context(failed)?;
    file.write_all(bytes).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    file.persist(path).with_context(failed)?;
    Ok(())
}
