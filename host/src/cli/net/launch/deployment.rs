//! From flags and a measurement to what is deployed.

use anyhow::{anyhow, bail};
use kperf_cluster::RunId;
use kperf_launch::{ChosenNode, Credentials, LaunchSpec, TaskPath, ToolPort, planned_workers};
use kperf_network::{Address, Placement, WorkerInfo};
use serde_json::{Value, json};

use super::{LaunchArgs, PullPolicy};
use crate::{
    exit::{Exit, Failed, OrExit as _},
    network::{Measurement, Prepared},
    plugins,
};

/// Stands for keys where objects are only shown.
const PLACEHOLDER: &str = "made at the launch";

/// The paths that are to be there, which the measurement names from now on: those it names already, else those that
/// its tolerances compare, else the pod network.
pub(super) fn paths(
    measurement: &mut Measurement,
    host_network: bool,
) -> anyhow::Result<Vec<TaskPath>> {
    let names = &mut measurement.pairs.paths;
    if host_network {
        names.push(TaskPath::Host.to_string());
    }
    if names.is_empty() {
        let of_tolerances = measurement.tolerances.iter();
        names.extend(
            of_tolerances
                .flat_map(|tolerance| [tolerance.path.clone(), tolerance.reference.clone()]),
        );
    }
    if names.is_empty() {
        names.push(TaskPath::Pod.to_string());
    }
    names.sort();
    names.dedup();
    let mut paths = names
        .iter()
        .map(|name| name.parse())
        .collect::<Result<Vec<TaskPath>, _>>()?;
    paths.sort();
    Ok(paths)
}

/// Everything but nodes and keys.
pub(super) fn spec(
    args: &LaunchArgs,
    measurement: &Measurement,
    prepared: &Prepared,
    paths: Vec<TaskPath>,
    run: RunId,
) -> Result<LaunchSpec, Failed> {
    let of = &args.deployment;
    let found = plugins::find(&measurement.benchmark).or_exit(Exit::Plugin)?;
    let on_one_node = measurement.pairs.placements.contains(&Placement::SameNode);
    let tolerations = of
        .tolerations
        .iter()
        .map(|text| toleration(text))
        .collect::<anyhow::Result<_>>()
        .or_exit(Exit::Usage)?;
    let pull_policy = of.image_pull_policy.map(|policy| match policy {
        PullPolicy::Always => "Always",
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Never => "Never",
    });
    Ok(LaunchSpec {
        namespace: of
            .namespace
            .clone()
            .unwrap_or_else(|| format!("kperf-net-{}", run.as_str())),
        run,
        benchmark: prepared.benchmark.clone(),
        plugin: (!found.bundled).then(|| found.bytes.into_owned()),
        programs: measurement.allow.clone(),
        orchestrator_image: of
            .orch_image
            .clone()
            .unwrap_or_else(|| of.worker_image.clone()),
        worker_image: of.worker_image.clone(),
        image_pull_policy: pull_policy.unwrap_or_default().to_owned(),
        config: measurement.to_text(),
        nodes: Vec::new(),
        workers_per_node: of
            .workers_per_node
            .map_or(if on_one_node { 2 } else { 1 }, usize::from),
        credentials: Credentials::placeholder(PLACEHOLDER),
        ports: ports(prepared),
        paths,
        inject: of.inject,
        mesh_refused: prepared
            .plans
            .iter()
            .map(|plan| plan.mesh_refused.clone())
            .find(|reason| !reason.is_empty())
            .unwrap_or_default(),
        tolerations,
        worker_cpu: of.worker_cpu.clone(),
        worker_memory: of.worker_memory.clone(),
        orchestrator_port: of.orchestrator_port,
        deadline: args.deadline,
        timeout: args.timeout,
        keep: args.keep,
    })
}

/// Ports of all variants, each once. Istio reads the protocol from the beginning of a name.
fn ports(prepared: &Prepared) -> Vec<ToolPort> {
    let is_http = prepared.benchmark.contains("http");
    let mut ports: Vec<ToolPort> = Vec::new();
    for port in prepared.plans.iter().flat_map(|plan| &plan.ports) {
        let protocol = port.protocol.to_lowercase();
        let known = if is_http && protocol == "tcp" {
            "http"
        } else {
            &protocol
        };
        let port = ToolPort {
            name: format!("{known}-{}", port.number),
            port: port.number,
            protocol: protocol.to_uppercase(),
        };
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports
}

/// Where clients and servers are both limited to some nodes, nobody is needed on the others.
pub(super) fn named_nodes(nodes: Vec<ChosenNode>, measurement: &Measurement) -> Vec<ChosenNode> {
    let pairs = &measurement.pairs;
    if pairs.client_nodes.is_empty() || pairs.server_nodes.is_empty() {
        return nodes;
    }
    let is_named = |node: &ChosenNode| {
        pairs.client_nodes.contains(&node.name) || pairs.server_nodes.contains(&node.name)
    };
    nodes.into_iter().filter(is_named).collect()
}

/// Whether the workers that are to be leave anything to measure.
pub(super) fn check_pairs(spec: &LaunchSpec, measurement: &Measurement) -> anyhow::Result<()> {
    let workers: Vec<WorkerInfo> = planned_workers(spec)
        .into_iter()
        .map(|planned| WorkerInfo {
            name: planned.name,
            addresses: planned
                .paths
                .iter()
                .map(|path| Address {
                    path: path.to_string(),
                    host: String::new(),
                })
                .collect(),
            hostname: planned.node.name,
            zone: planned.node.zone,
            network_namespace: String::new(),
        })
        .collect();
    match measurement.pairs.problem(&workers) {
        Some(problem) => Err(anyhow!(problem)),
        None => Ok(()),
    }
}

/// `KEY`, `KEY=VALUE`, either with `:EFFECT`, or `*`.
fn toleration(text: &str) -> anyhow::Result<Value> {
    if text == "*" {
        return Ok(json!({"operator": "Exists"}));
    }
    let (taint, effect) = match text.rsplit_once(':') {
        Some((taint, effect)) => (taint, Some(effect)),
        None => (text, None),
    };
    let mut toleration = match taint.split_once('=') {
        Some((key, value)) => json!({"key": key, "operator": "Equal", "value": value}),
        None => json!({"key": taint, "operator": "Exists"}),
    };
    if taint.is_empty() || taint.starts_with('=') {
        bail!("--toleration {text}: not KEY, KEY=VALUE, either with :EFFECT, or *");
    }
    match effect {
        None => {}
        Some(effect @ ("NoSchedule" | "PreferNoSchedule" | "NoExecute")) => {
            toleration["effect"] = json!(effect);
        }
        Some(effect) => bail!(
            "--toleration {text}: the effect {effect:?} is none of NoSchedule, PreferNoSchedule, NoExecute"
        ),
    }
    Ok(toleration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerations() {
        let exists = |key: &str| json!({"key": key, "operator": "Exists"});
        for (text, expected) in [
            ("*", json!({"operator": "Exists"})),
            ("gpu", exists("gpu")),
            (
                "example.com/gpu=a:NoSchedule",
                json!({"key": "example.com/gpu", "operator": "Equal", "value": "a", "effect": "NoSchedule"}),
            ),
            (
                "gpu:NoExecute",
                json!({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}),
            ),
        ] {
            assert_eq!(toleration(text).unwrap(), expected, "{text}");
        }
        for bad in ["", "=a", "gpu:Never", ":NoSchedule"] {
            toleration(bad).expect_err(bad);
        }
    }

    #[test]
    fn paths_are_those_that_are_named_or_compared() {
        let of = |text: &str, host_network: bool| {
            let text = format!("{{benchmark: b, {text}}}");
            let mut measurement = Measurement::parse(&text, "test").unwrap();
            let paths = paths(&mut measurement, host_network);
            paths.map(|paths| (paths, measurement.pairs.paths))
        };
        for (text, host_network, expected) in [
            ("samples: 1", false, vec![TaskPath::Pod]),
            ("samples: 1", true, vec![TaskPath::Host]),
            (
                "pairs: {paths: [service, pod, pod]}",
                false,
                vec![TaskPath::Pod, TaskPath::Service],
            ),
            (
                "tolerances: [pod within 10% of host]",
                false,
                vec![TaskPath::Pod, TaskPath::Host],
            ),
        ] {
            let (paths, named) = of(text, host_network).unwrap();
            assert_eq!(paths, expected, "{text}");
            assert_eq!(named.len(), expected.len(), "{text}");
        }
        let error = of("pairs: {paths: [loopback]}", false).unwrap_err();
        assert!(error.to_string().contains("loopback"), "{error}");
    }
}
