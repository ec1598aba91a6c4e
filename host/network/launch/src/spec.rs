//! What is to be launched.

use std::{collections::BTreeMap, fs, io, path::Path, time::Duration};

use kperf_cluster::RunId;
use serde_json::Value;

use crate::nodes::ChosenNode;

/// Names of the files of [`Credentials`]; the orchestrator has the first three, workers the first and the last two.
const CREDENTIALS: [&str; 5] = [
    "ca.pem",
    "orchestrator.pem",
    "orchestrator.key",
    "worker.pem",
    "worker.key",
];

/// What orchestrator and workers know one another by, PEM, by file name.
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<&'static str, Vec<u8>>);

// Names only: they hold private keys.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Credentials {
    /// Reads `ca.pem`, `orchestrator.pem`, `orchestrator.key`, `worker.pem` and `worker.key`.
    ///
    /// # Errors
    /// One of them cannot be read; its name is in the message.
    pub fn in_directory(directory: &Path) -> io::Result<Self> {
        CREDENTIALS
            .into_iter()
            .map(|name| {
                let path = directory.join(name);
                let named = |error: io::Error| {
                    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                };
                Ok((name, fs::read(&path).map_err(named)?))
            })
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// Files of the orchestrator (`orchestrator`) or of workers (`worker`): no private key of the other.
    pub(crate) fn of<'a>(&'a self, who: &'a str) -> impl Iterator<Item = (&'static str, &'a [u8])> {
        self.0
            .iter()
            .filter(move |(name, _)| **name == CREDENTIALS[0] || name.starts_with(who))
            .map(|(name, bytes)| (*name, bytes.as_slice()))
    }
}

/// A port that a tool listens on, known before it is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolPort {
    /// At most 15 lower-case letters, digits and `-`; begins with a protocol that Istio knows: `tcp-iperf3`, `http-echo`.
    pub name: String,
    /// TCP port.
    pub port: u16,
}

/// How a client finds a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaskPath {
    /// By the address of its pod: the pod network alone.
    #[default]
    Pod,
    /// By the name of a Service of its own: the pod network and what makes Services.
    Service,
}

/// A benchmark in a cluster.
#[derive(Clone, Debug)]
pub struct LaunchSpec {
    /// Whose objects they are.
    pub run: RunId,
    /// Made for the run, and removed with it.
    pub namespace: String,
    /// Such as `iperf3-tcp`.
    pub benchmark: String,
    /// Image with `kperf-host` for the orchestrator.
    pub orchestrator_image: String,
    /// Image with `kperf-host` and the tools.
    pub worker_image: String,
    /// `Always`, `IfNotPresent` or `Never`; empty = the cluster's rule.
    pub image_pull_policy: String,
    /// The benchmark's configuration, a file of the orchestrator.
    pub config: String,
    /// A worker on each; the orchestrator on one of them.
    pub nodes: Vec<ChosenNode>,
    /// Certificates and keys of the run.
    pub credentials: Credentials,
    /// Ports of the tool; empty if it chooses them at run time, as netperf and qperf do.
    pub ports: Vec<ToolPort>,
    /// How clients find servers.
    pub path: TaskPath,
    /// Istio sidecars.
    pub inject: bool,
    /// Workers in the network of their node.
    pub host_network: bool,
    /// Tolerations of all pods, as in a manifest.
    pub tolerations: Vec<Value>,
    /// CPU that a worker requests, as in a manifest; empty = nothing.
    pub worker_cpu: String,
    /// Memory that a worker requests, as in a manifest; empty = nothing.
    pub worker_memory: String,
    /// gRPC port of the orchestrator.
    pub orchestrator_port: u16,
    /// For the whole run, from the start of the orchestrator.
    pub deadline: Duration,
    /// For each wait: registration of workers, allocation of tasks, cleaning up afterwards.
    pub timeout: Duration,
}

/// Settings that do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Istio with ports that nobody knows beforehand.
    #[error(
        "--inject cannot be used with {benchmark}: it opens ports that are chosen at run time, which no Service can list, so Istio's sidecars would not let them through; use iperf3-tcp, fortio-tcp or fortio-http, or leave --inject out"
    )]
    InjectNeedsPorts {
        /// The benchmark.
        benchmark: String,
    },
    /// Services with ports that nobody knows beforehand.
    #[error(
        "{benchmark} cannot be measured through Services: it opens ports that are chosen at run time, which no Service can list; measure between pods instead"
    )]
    ServiceNeedsPorts {
        /// The benchmark.
        benchmark: String,
    },
    /// No sidecar in the network of a node.
    #[error(
        "--inject cannot be used with the network of the nodes: Istio gives such pods no sidecar"
    )]
    InjectNeedsPodNetwork,
    /// There is nobody to measure with.
    #[error("{0} worker(s) cannot measure anything: at least two nodes are needed")]
    TooFewNodes(usize),
    /// A name that would not be accepted.
    #[error(
        "{0:?} cannot be the name of a namespace: 1 to 63 lower-case letters, digits and '-', with a letter or digit at both ends"
    )]
    Namespace(String),
}

impl LaunchSpec {
    /// Whether the settings go together.
    ///
    /// # Errors
    /// Those that do not, with the reason.
    pub fn check(&self) -> Result<(), SpecError> {
        let benchmark = || self.benchmark.clone();
        if !is_name(&self.namespace) {
            return Err(SpecError::Namespace(self.namespace.clone()));
        }
        if self.nodes.len() < 2 {
            return Err(SpecError::TooFewNodes(self.nodes.len()));
        }
        if self.inject && self.ports.is_empty() {
            return Err(SpecError::InjectNeedsPorts {
                benchmark: benchmark(),
            });
        }
        if self.inject && self.host_network {
            return Err(SpecError::InjectNeedsPodNetwork);
        }
        if self.path == TaskPath::Service && self.ports.is_empty() {
            return Err(SpecError::ServiceNeedsPorts {
                benchmark: benchmark(),
            });
        }
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    let is_end = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.len() <= 63
        && is_end(text.bytes().next())
        && is_end(text.bytes().last())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Names by which workers call the orchestrator, for its certificate.
#[must_use]
pub fn orchestrator_hosts(namespace: &str) -> Vec<String> {
    let name = format!("{}.{namespace}.svc", crate::objects::ORCHESTRATOR);
    vec![format!("{name}.cluster.local"), name]
}
