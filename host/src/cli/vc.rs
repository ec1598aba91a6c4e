//! `kperf-host virtualcluster nodepool`: pools of virtual nodes, with kperf's flags.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::anyhow;
use clap::{Args, Subcommand};
use kperf_cluster::nodepool::{
    self, KWOK_IMAGE, NODES_PER_CONTROLLER, PoolError, PoolEvent, PoolOptions, PoolSpec,
};
use serde_json::json;

use crate::{
    cli::{
        TargetArgs,
        opened::{Opened, exit_of, open},
        table::{self, ListFormat},
    },
    exit::{Exit, Failed, OrExit as _},
    live::Live,
};

/// So many that a slip of the finger does not fill the memory.
const MAX_POOLS: u32 = 10_000;

/// The commands of `virtualcluster`.
#[derive(Debug, Subcommand)]
pub enum VcCommand {
    /// Pools of virtual nodes, which KWOK plays.
    Nodepool(NodepoolArgs),
}

/// Arguments of `virtualcluster nodepool`.
#[derive(Debug, Args)]
pub struct NodepoolArgs {
    /// As after the command; kperf has it here.
    #[arg(long, value_name = "FILE", hide = true)]
    pub kubeconfig: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: NodepoolCommand,
}

/// The commands of `virtualcluster nodepool`.
#[derive(Debug, Subcommand)]
pub enum NodepoolCommand {
    /// Make a pool, or complete it, and wait until all its nodes are ready.
    Add(Box<AddArgs>),
    /// Make as many pools PREFIX-<i> as the nodes take.
    BatchAdd(Box<BatchAddArgs>),
    /// Remove a pool: its nodes, the pods on them and what played them.
    #[command(visible_alias = "del")]
    Delete(DeleteArgs),
    /// Show all pools, and how many of their nodes are ready.
    List(ListArgs),
}

/// What nodes are like.
#[derive(Debug, Args)]
pub struct ShapeArgs {
    /// How many nodes.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub nodes: u32,
    /// CPUs of each.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub cpu: u32,
    /// Memory of each, GiB.
    #[arg(long, value_name = "GIB", default_value_t = 16)]
    pub memory: u32,
    /// Pods each takes.
    #[arg(long, value_name = "N", default_value_t = 110)]
    pub max_pods: u32,
    /// Where controllers may run: nodes whose label KEY is one of the values; repeatable.
    #[arg(long, value_name = "KEY=V[,V]", value_parser = key_values)]
    pub affinity: Vec<(String, Vec<String>)>,
    /// One more label of the nodes; repeatable, or separated by commas.
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = key_value)]
    pub node_labels: Vec<(String, String)>,
    /// The providerID of every node, for clouds that delete nodes they do not know.
    #[arg(long, value_name = "ID", default_value = "", hide = true)]
    pub shared_provider_id: String,
    /// Image of the controllers.
    #[arg(long, value_name = "IMAGE", default_value = KWOK_IMAGE)]
    pub kwok_image: String,
    /// Most nodes that one controller plays.
    #[arg(long, value_name = "N", default_value_t = NODES_PER_CONTROLLER)]
    pub nodes_per_controller: u32,
    /// Nodes created a second, 0 = as fast as the server answers.
    #[arg(long, value_name = "PER_SECOND", default_value_t = 100.0, allow_negative_numbers = true, value_parser = super::rate)]
    pub qps: f64,
    /// Longest time until all nodes are ready.
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = super::seconds_or_duration)]
    pub timeout: Duration,
}

/// Arguments of `add`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  kperf-host vc nodepool add example --nodes=200
  kperf-host vc nodepool add example --nodes=2000 --cpu=32 --memory=96 --node-labels=team=blue \\
    --affinity=node.kubernetes.io/instance-type=m4.2xlarge,n1-standard-8

Pods run there that tolerate the taint kperf.io/nodepool, best with node affinity to type=kperf-virtualnodes.
A pool that is there already in the same shape is completed; one of another shape is an error.
")]
pub struct AddArgs {
    /// Name of the pool; its nodes are NAME-<i>.
    pub name: String,
    /// What nodes are like.
    #[command(flatten)]
    pub shape: ShapeArgs,
    /// Target flags.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Arguments of `batch-add`.
#[derive(Debug, Args)]
pub struct BatchAddArgs {
    /// Beginning of the pools' names.
    pub prefix: String,
    /// Most nodes in a pool.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_size: u32,
    /// What nodes are like.
    #[command(flatten)]
    pub shape: ShapeArgs,
    /// Target flags.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Arguments of `delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Names of pools.
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Longest time until each is gone.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = super::seconds_or_duration)]
    pub timeout: Duration,
    /// Target flags.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// How to print it.
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub output: ListFormat,
    /// Target flags.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Runs the command.
///
/// # Errors
/// Bad flags, a target that cannot be used, or a pool that could not be made or removed.
pub fn run(command: VcCommand, live: &Live) -> Result<Exit, Failed> {
    let VcCommand::Nodepool(NodepoolArgs {
        kubeconfig,
        command,
    }) = command;
    let with = |mut target: TargetArgs| {
        if target.kubeconfig.is_none() {
            target.kubeconfig = kubeconfig.clone();
        }
        target
    };
    match command {
        NodepoolCommand::Add(args) => {
            let spec = args.shape.spec(args.name);
            add(&[spec], &args.shape, &with(args.target), live)
        }
        NodepoolCommand::BatchAdd(args) => {
            let pools = args.shape.nodes.div_ceil(args.batch_size.max(1));
            if pools > MAX_POOLS {
                return Err(Failed {
                    exit: Exit::Usage,
                    error: anyhow!(
                        "--nodes {} --batch-size {}: that are {pools} pools, and at most {MAX_POOLS} are made at once",
                        args.shape.nodes,
                        args.batch_size
                    ),
                });
            }
            let specs = batches(&args.prefix, args.batch_size, &args.shape);
            add(&specs, &args.shape, &with(args.target), live)
        }
        NodepoolCommand::Delete(args) => {
            delete(&args.names, args.timeout, &with(args.target), live)
        }
        NodepoolCommand::List(args) => list(args.output, &with(args.target)),
    }
}

impl ShapeArgs {
    fn spec(&self, name: String) -> PoolSpec {
        PoolSpec {
            nodes: self.nodes,
            cpu: self.cpu,
            memory_gib: self.memory,
            max_pods: self.max_pods,
            node_labels: self.node_labels.iter().cloned().collect(),
            shared_provider_id: self.shared_provider_id.clone(),
            affinity: affinity(&self.affinity),
            kwok_image: self.kwok_image.clone(),
            nodes_per_controller: self.nodes_per_controller,
            ..PoolSpec::new(name)
        }
    }
}

/// Pools of at most `size` nodes, all of them together as many as asked for.
fn batches(prefix: &str, size: u32, shape: &ShapeArgs) -> Vec<PoolSpec> {
    let pools = shape.nodes.div_ceil(size).max(1);
    (0..pools)
        .map(|index| PoolSpec {
            nodes: size.min(shape.nodes.saturating_sub(index.saturating_mul(size))),
            ..shape.spec(format!("{prefix}-{index}"))
        })
        .collect()
}

fn add(
    specs: &[PoolSpec],
    shape: &ShapeArgs,
    target: &TargetArgs,
    live: &Live,
) -> Result<Exit, Failed> {
    for spec in specs {
        spec.validate().or_exit(Exit::Usage)?;
    }
    let opened = open(target)?;
    let options = PoolOptions {
        rate_per_sec: shape.qps,
        timeout: shape.timeout,
        ..PoolOptions::default()
    };
    for spec in specs {
        let steps = live.steps();
        let news = |event: &PoolEvent| steps.now(describe(&spec.name, event));
        let Opened {
            cluster,
            runtime,
            stop,
            ..
        } = &opened;
        let added = runtime
            .block_on(nodepool::add(cluster, spec, &options, stop, &news))
            .map_err(failed)?;
        let nodes = spec.nodes;
        steps.say(&match (added.existed, added.created) {
            (true, 0) => format!("nodepool {}: was there; {nodes} nodes are ready", spec.name),
            (_, created) => format!(
                "nodepool {}: {created} nodes created, {nodes} are ready",
                spec.name
            ),
        });
    }
    Ok(Exit::Success)
}

fn delete(
    names: &[String],
    timeout: Duration,
    target: &TargetArgs,
    live: &Live,
) -> Result<Exit, Failed> {
    let opened = open(target)?;
    let options = PoolOptions {
        timeout,
        ..PoolOptions::default()
    };
    for name in names {
        let steps = live.steps();
        let news = |event: &PoolEvent| steps.now(describe(name, event));
        let Opened {
            cluster,
            runtime,
            stop,
            ..
        } = &opened;
        let deleted = runtime
            .block_on(nodepool::delete(cluster, name, &options, stop, &news))
            .map_err(failed)?;
        steps.say(&if deleted.existed {
            format!(
                "nodepool {name}: deleted {} nodes and {} pods on them",
                deleted.nodes, deleted.pods
            )
        } else {
            format!("nodepool {name}: nothing of it is there")
        });
    }
    Ok(Exit::Success)
}

fn list(format: ListFormat, target: &TargetArgs) -> Result<Exit, Failed> {
    let opened = open(target)?;
    let pools = opened
        .runtime
        .block_on(nodepool::list(&opened.cluster, &opened.stop))
        .map_err(failed)?;
    let rows: Vec<Vec<String>> = pools
        .iter()
        .map(|pool| {
            vec![
                pool.name.clone(),
                format!("{} / {}", pool.ready, pool.nodes),
                pool.cpu.to_string(),
                pool.memory_gib.to_string(),
                pool.max_pods.to_string(),
                pool.status.as_str().to_owned(),
            ]
        })
        .collect();
    let columns = ["NAME", "NODES", "CPU", "MEMORY (GiB)", "MAX PODS", "STATUS"];
    table::print(format, &json!(pools), &columns, &rows)?;
    Ok(Exit::Success)
}

/// An event as a line.
#[must_use]
pub fn describe(pool: &str, event: &PoolEvent) -> String {
    match event {
        PoolEvent::Controllers { count: 1 } => format!("nodepool {pool}: starting its controller"),
        PoolEvent::Controllers { count } => {
            format!("nodepool {pool}: starting its {count} controllers")
        }
        PoolEvent::Creating { done, total } => {
            format!("nodepool {pool}: {done} of {total} nodes created")
        }
        PoolEvent::Waiting { ready, total } => {
            format!("nodepool {pool}: {ready} of {total} nodes ready")
        }
        PoolEvent::Trouble { why } => format!("nodepool {pool}: no node gets ready; {why}"),
        PoolEvent::Deleting { left } => format!("nodepool {pool}: deleting {left}"),
    }
}

/// An error of a pool with its exit code.
#[must_use]
pub fn failed(error: PoolError) -> Failed {
    let exit = match &error {
        error if error.is_usage() => Exit::Usage,
        error if error.is_interrupted() => Exit::Interrupted,
        PoolError::Api { source, .. } => exit_of(source),
        _ => Exit::Failure,
    };
    Failed {
        exit,
        error: error.into(),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

/// `KEY=V[,V]`.
///
/// # Errors
/// It is not.
pub fn key_values(text: &str) -> Result<(String, Vec<String>), String> {
    let wrong = || "write KEY=VALUE[,VALUE]".to_owned();
    let (key, values) = key_value(text).map_err(|_| wrong())?;
    let values: Vec<String> = values.split(',').map(str::to_owned).collect();
    if values.iter().any(String::is_empty) {
        return Err(wrong());
    }
    Ok((key, values))
}

/// All that was given for an affinity: a key that is given again has more values.
#[must_use]
pub fn affinity(given: &[(String, Vec<String>)]) -> BTreeMap<String, Vec<String>> {
    let mut affinity: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, values) in given {
        let known = affinity.entry(key.clone()).or_default();
        for value in values {
            if !known.contains(value) {
                known.push(value.clone());
            }
        }
    }
    affinity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_add_up() {
        let shape = |nodes| ShapeArgs {
            nodes,
            cpu: 1,
            memory: 1,
            max_pods: 1,
            affinity: Vec::new(),
            node_labels: Vec::new(),
            shared_provider_id: String::new(),
            kwok_image: KWOK_IMAGE.to_owned(),
            nodes_per_controller: 1,
            qps: 0.0,
            timeout: Duration::ZERO,
        };
        let of = |nodes, size| {
            batches("p", size, &shape(nodes))
                .iter()
                .map(|spec| (spec.name.clone(), spec.nodes))
                .collect::<Vec<_>>()
        };
        let named = |pools: &[(&str, u32)]| {
            pools
                .iter()
                .map(|(name, nodes)| ((*name).to_owned(), *nodes))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(5, 2), named(&[("p-0", 2), ("p-1", 2), ("p-2", 1)]));
        assert_eq!(of(4, 2), named(&[("p-0", 2), ("p-1", 2)]));
        assert_eq!(of(1, 300), named(&[("p-0", 1)]));
        // What cannot be is said of the first pool.
        assert_eq!(of(0, 300), named(&[("p-0", 0)]));
    }

    #[test]
    fn affinity_is_written_as_in_kperf() {
        assert_eq!(
            key_values("a/b=x,y"),
            Ok(("a/b".into(), vec!["x".into(), "y".into()]))
        );
        for wrong in ["a", "a=", "=x", "a=x,"] {
            assert!(key_values(wrong).is_err(), "{wrong}");
        }
        let given = ["a=x,y", "b=z", "a=y,w"].map(|text| key_values(text).unwrap());
        let affinity = affinity(&given);
        assert_eq!(affinity["a"], ["x", "y", "w"]);
        assert_eq!(affinity["b"], ["z"]);
        assert!(key_value("=x").is_err());
    }
}
