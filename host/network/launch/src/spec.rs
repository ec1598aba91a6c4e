//! What is to be launched.

use std::{collections::BTreeMap, fmt, fs, io, path::Path, str::FromStr, time::Duration};

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

/// Most that a component may have to go through a ConfigMap, which holds 1 MiB with everything, in base64.
const PLUGIN_BYTES: usize = 740 << 10;

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

    /// The same files with `text` in each of them: to show objects without any secret.
    #[must_use]
    pub fn placeholder(text: &str) -> Self {
        let file = |name| (name, text.as_bytes().to_vec());
        Self(CREDENTIALS.into_iter().map(file).collect())
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
    /// Its number.
    pub port: u16,
    /// `TCP` or `UDP`.
    pub protocol: String,
}

/// What traffic takes between a client and a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskPath {
    /// From pod to pod, by the address of the pod: the pod network alone.
    Pod,
    /// From pod to pod, by the name of a Service of the server: the pod network and what makes Services.
    Service,
    /// Between pods in the network of their nodes: no pod network at all, to compare with.
    Host,
}

impl TaskPath {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pod, Self::Service, Self::Host];

    /// As flags and results have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Service => "service",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for TaskPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TaskPath {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        Self::ALL
            .into_iter()
            .find(|path| path.as_str() == text)
            .ok_or_else(|| SpecError::Path(text.chars().take(100).collect()))
    }
}

/// A benchmark in a cluster.
#[derive(Clone, Debug)]
pub struct LaunchSpec {
    /// Whose objects they are.
    pub run: RunId,
    /// Made for the run, and removed with it.
    pub namespace: String,
    /// Name of a tool that the orchestrator's image has, such as `iperf3-tcp`.
    pub benchmark: String,
    /// A tool that it does not have, as a component; then `benchmark` is only its name.
    pub plugin: Option<Vec<u8>>,
    /// Programs that workers may run beside those that they always may.
    pub programs: Vec<String>,
    /// Image with `kperf-host` for the orchestrator.
    pub orchestrator_image: String,
    /// Image with `kperf-host` and the tools.
    pub worker_image: String,
    /// `Always`, `IfNotPresent` or `Never`; empty = the cluster's rule.
    pub image_pull_policy: String,
    /// The benchmark's configuration, a file of the orchestrator.
    pub config: String,
    /// Workers are on each of them, the orchestrator on one.
    pub nodes: Vec<ChosenNode>,
    /// Workers on each node, in each of the networks that are measured; from two on, pairs of one node are measured.
    pub workers_per_node: usize,
    /// Certificates and keys of the run.
    pub credentials: Credentials,
    /// Ports of the tool; empty if it chooses them at run time.
    pub ports: Vec<ToolPort>,
    /// What is measured, at least one.
    pub paths: Vec<TaskPath>,
    /// Istio sidecars.
    pub inject: bool,
    /// Why the tool must not have sidecars; empty when it may.
    pub mesh_refused: String,
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
    /// Leave everything as it is at the end.
    pub keep: bool,
}

/// Settings that do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Istio with a tool that does not get through its sidecars.
    #[error(
        "--inject cannot be used with {benchmark}: {reason}, and Istio's sidecars would not let them through; use iperf3-tcp, fortio-tcp or fortio-http, or leave --inject out"
    )]
    InjectRefused {
        /// The benchmark.
        benchmark: String,
        /// The tool's reason.
        reason: String,
    },
    /// Services with ports that nobody knows beforehand.
    #[error(
        "{benchmark} cannot be measured through Services: it opens ports that are chosen at run time, which no Service can list; leave `service` out of --path"
    )]
    ServiceNeedsPorts {
        /// The benchmark.
        benchmark: String,
    },
    /// No sidecar in the network of a node.
    #[error(
        "--inject cannot be used with the network of the nodes: Istio gives such pods no sidecar; leave `host` out of --path"
    )]
    InjectNeedsPodNetwork,
    /// Not a path.
    #[error("{0:?} is none of the paths pod, service and host")]
    Path(String),
    /// Nothing to measure.
    #[error("no path is measured; name one or more of pod, service and host")]
    NoPath,
    /// A component that does not fit.
    #[error(
        "the plugin has {bytes} bytes, and a ConfigMap takes {most}; make it smaller (a release build with `strip = true`)"
    )]
    PluginTooLarge {
        /// Of the component.
        bytes: usize,
        /// Most that fits.
        most: usize,
    },
    /// There is nobody to measure with.
    #[error(
        "{0} worker(s) cannot measure anything: at least two are needed, on two nodes or on one"
    )]
    TooFewWorkers(usize),
    /// A name that would not be accepted.
    #[error(
        "{0:?} cannot be the name of a namespace: 1 to 63 lower-case letters, digits and '-', with a letter or digit at both ends"
    )]
    Namespace(String),
}

impl LaunchSpec {
    /// Whether the settings go together, and there are nodes enough.
    ///
    /// # Errors
    /// Those that do not, with the reason.
    pub fn check(&self) -> Result<(), SpecError> {
        self.check_settings()?;
        if self.workers_of_network() < 2 {
            return Err(SpecError::TooFewWorkers(self.workers_of_network()));
        }
        Ok(())
    }

    /// Whether the settings go together, before nodes are looked for.
    ///
    /// # Errors
    /// Those that do not, with the reason.
    pub fn check_settings(&self) -> Result<(), SpecError> {
        let benchmark = || self.benchmark.clone();
        if !is_name(&self.namespace) {
            return Err(SpecError::Namespace(self.namespace.clone()));
        }
        if self.paths.is_empty() {
            return Err(SpecError::NoPath);
        }
        if self.inject && !self.mesh_refused.is_empty() {
            return Err(SpecError::InjectRefused {
                benchmark: benchmark(),
                reason: self.mesh_refused.clone(),
            });
        }
        if self.inject && self.has_host_network() {
            return Err(SpecError::InjectNeedsPodNetwork);
        }
        if let Some(plugin) = &self.plugin
            && plugin.len() > PLUGIN_BYTES
        {
            return Err(SpecError::PluginTooLarge {
                bytes: plugin.len(),
                most: PLUGIN_BYTES,
            });
        }
        if self.paths.contains(&TaskPath::Service) && self.ports.is_empty() {
            return Err(SpecError::ServiceNeedsPorts {
                benchmark: benchmark(),
            });
        }
        Ok(())
    }

    /// How many workers there are in each network.
    pub(crate) fn workers_of_network(&self) -> usize {
        self.nodes.len() * self.workers_per_node
    }

    /// Whether there are workers in the pod network.
    pub(crate) fn has_pod_network(&self) -> bool {
        self.paths.iter().any(|path| *path != TaskPath::Host)
    }

    /// Whether there are workers in the network of their nodes.
    pub(crate) fn has_host_network(&self) -> bool {
        self.paths.contains(&TaskPath::Host)
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
