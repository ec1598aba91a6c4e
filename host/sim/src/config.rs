//! What a simulator is started with.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use crate::faults::Faults;

/// Settings of a [`crate::Sim`].
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Serve TLS with a fresh certificate; plain HTTP (1.1 and 2) otherwise.
    pub tls: bool,
    /// Objects that exist from the start.
    pub seed_objects: Seed,
    /// Faults from the start; [`crate::Sim::faults`] changes them later.
    pub faults: Faults,
    /// Serving threads. Connections are dealt to them in turn.
    pub threads: usize,
    /// HTTP/2 SETTINGS_MAX_CONCURRENT_STREAMS; kube-apiserver's default is 100.
    pub max_concurrent_streams: u32,
    /// Whether requests without credentials may do everything. Without it they are `system:anonymous`,
    /// who may read health, version and nothing else (403), as on a real server.
    pub open: bool,
    /// Changes kept per resource for watches and continued lists; what is older is 410.
    pub history_events: usize,
    /// Lines in the log of every container.
    pub log_lines: usize,
    /// How fast pods move through their life.
    pub lifecycle: Lifecycle,
    /// Whether Deployments, StatefulSets, DaemonSets, Jobs and KubeVirt's machines get their pods, as they do
    /// where kube-controller-manager and virt-controller run. Pods, nodes and namespaces move without, too.
    pub controllers: bool,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: true,
            seed_objects: Seed::default(),
            faults: Faults::default(),
            threads: 1,
            max_concurrent_streams: 100,
            open: false,
            history_events: 20_000,
            log_lines: 1000,
            lifecycle: Lifecycle::default(),
            controllers: true,
        }
    }
}

/// Delays of the life cycle of pods (Pending, bound to a node, Running; deleted pods vanish) and of virtual machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// From creation to a node.
    pub schedule: Duration,
    /// From the node to Running and Ready.
    pub start: Duration,
    /// From the deletion of a pod on a node to its removal.
    pub terminate: Duration,
    /// From Running to Succeeded, for the pods of Jobs.
    pub complete: Duration,
    /// From Scheduled to Running, for VirtualMachineInstances.
    pub boot: Duration,
    /// Upper bound of a random wait added to `start` and `boot`, evenly distributed.
    pub jitter: Duration,
    /// Seed of those waits and of the random parts of names. A wait depends on the object's namespace and name
    /// besides, and on nothing else: the same object waits as long in every run.
    pub seed: u64,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            schedule: Duration::from_millis(5),
            start: Duration::from_millis(50),
            terminate: Duration::from_millis(50),
            complete: Duration::from_millis(50),
            boot: Duration::from_millis(50),
            jitter: Duration::ZERO,
            seed: 0,
        }
    }
}

/// Objects that exist from the start.
///
/// Parsed from `nodes=10,namespaces=4,pods=250,configmaps=100,kubevirt=true`: any subset in any order, the rest
/// keeps its default; the empty string is the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Nodes `node-<i>`.
    pub nodes: u32,
    /// Namespaces `ns-<i>`, besides the four every cluster has.
    pub namespaces: u32,
    /// Pods `pod-<i>` in each `ns-<i>`; pod i runs on node i mod nodes.
    pub pods: u32,
    /// ConfigMaps `cm-<i>` in each `ns-<i>`.
    pub configmaps: u32,
    /// Secrets `secret-<i>` in each `ns-<i>`.
    pub secrets: u32,
    /// Services `svc-<i>` in each `ns-<i>`.
    pub services: u32,
    /// The CustomResourceDefinitions of KubeVirt, and its controllers.
    pub kubevirt: bool,
}

impl Default for Seed {
    fn default() -> Self {
        Self {
            nodes: 10,
            namespaces: 4,
            pods: 250,
            configmaps: 100,
            secrets: 0,
            services: 0,
            kubevirt: false,
        }
    }
}

/// Why a [`Seed`] could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeedError {
    /// A key that is none.
    #[error(
        "unknown key {0:?} in the simulator's seed; known are nodes, namespaces, pods, configmaps, secrets, services and kubevirt"
    )]
    UnknownKey(String),
    /// A term without `=`.
    #[error("{0:?} in the simulator's seed is not of the form key=value")]
    NotAPair(String),
    /// A value that is no count.
    #[error(
        "{key}={value} in the simulator's seed: the value must be a whole number from 0 to {max}"
    )]
    BadCount {
        /// The key.
        key: String,
        /// What stood behind it.
        value: String,
        /// Largest count.
        max: u32,
    },
    /// A value that is neither true nor false.
    #[error("{key}={value} in the simulator's seed: the value must be true or false")]
    BadSwitch {
        /// The key.
        key: String,
        /// What stood behind it.
        value: String,
    },
}

/// Largest count of one key: more would not fit a name's digits nor any memory.
const MAX_COUNT: u32 = 10_000_000;

impl FromStr for Seed {
    type Err = SeedError;

    fn from_str(text: &str) -> Result<Self, SeedError> {
        let mut seed = Self::default();
        for term in text.split(',').map(str::trim).filter(|t| !t.is_empty()) {
            let (key, value) = term
                .split_once('=')
                .ok_or_else(|| SeedError::NotAPair(term.to_owned()))?;
            let slot = match key.trim() {
                "nodes" => &mut seed.nodes,
                "namespaces" => &mut seed.namespaces,
                "pods" => &mut seed.pods,
                "configmaps" => &mut seed.configmaps,
                "secrets" => &mut seed.secrets,
                "services" => &mut seed.services,
                "kubevirt" => {
                    seed.kubevirt = value.trim().parse().map_err(|_| SeedError::BadSwitch {
                        key: key.trim().to_owned(),
                        value: value.to_owned(),
                    })?;
                    continue;
                }
                other => return Err(SeedError::UnknownKey(other.to_owned())),
            };
            *slot = value
                .trim()
                .parse()
                .ok()
                .filter(|n| *n <= MAX_COUNT)
                .ok_or_else(|| SeedError::BadCount {
                    key: key.trim().to_owned(),
                    value: value.to_owned(),
                    max: MAX_COUNT,
                })?;
        }
        Ok(seed)
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "nodes={},namespaces={},pods={},configmaps={},secrets={},services={}",
            self.nodes, self.namespaces, self.pods, self.configmaps, self.secrets, self.services
        )?;
        if self.kubevirt {
            f.write_str(",kubevirt=true")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_subset_keeps_the_other_defaults() {
        assert_eq!("".parse::<Seed>(), Ok(Seed::default()));
        let seed: Seed = "pods=3, nodes=1".parse().unwrap();
        assert_eq!(
            seed,
            Seed {
                pods: 3,
                nodes: 1,
                ..Seed::default()
            }
        );
        assert_eq!(seed.to_string().parse::<Seed>(), Ok(seed));
        let seed: Seed = "nodes=1,kubevirt=true".parse().unwrap();
        assert!(seed.kubevirt);
        assert_eq!(seed.to_string().parse::<Seed>(), Ok(seed));
    }

    #[test]
    fn errors_name_the_key() {
        let error = "pod=3".parse::<Seed>().unwrap_err().to_string();
        assert!(
            error.contains("\"pod\"") && error.contains("configmaps"),
            "{error}"
        );
        assert!("pods".parse::<Seed>().is_err());
        let error = "kubevirt=1".parse::<Seed>().unwrap_err().to_string();
        assert!(error.contains("true or false"), "{error}");
        for value in ["-1", "x", "", "99999999999"] {
            let error = format!("pods={value}")
                .parse::<Seed>()
                .unwrap_err()
                .to_string();
            assert!(error.contains("pods="), "{error}");
        }
    }
}
