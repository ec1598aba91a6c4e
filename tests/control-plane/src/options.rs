//! What a control plane is started with.

use std::time::Duration;

use crate::{Component, Seed};

/// What to start, and how.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) components: Vec<Component>,
    pub(crate) api_server_flags: Vec<String>,
    pub(crate) nodes: u32,
    pub(crate) seed: Seed,
    pub(crate) deadline: Duration,
    pub(crate) kubevirt: bool,
    pub(crate) own: bool,
}

impl Options {
    /// etcd and kube-apiserver alone: objects are stored and nothing acts on them. Pods need no service account.
    #[must_use]
    pub fn api_server() -> Self {
        Self {
            components: vec![Component::Etcd, Component::ApiServer],
            api_server_flags: Vec::new(),
            nodes: 0,
            seed: Seed::default(),
            deadline: Duration::from_secs(180),
            kubevirt: false,
            own: false,
        }
    }

    /// All components: Deployments make pods, pods get virtual nodes (see [`Self::nodes`]) and run.
    #[must_use]
    pub fn full() -> Self {
        Self {
            components: Component::ALL.to_vec(),
            ..Self::api_server()
        }
    }

    /// Adds a component.
    #[must_use]
    pub fn with(mut self, component: Component) -> Self {
        self.components.push(component);
        self.components.sort_unstable();
        self.components.dedup();
        self
    }

    /// Adds a flag of kube-apiserver, such as `--goaway-chance=0.02`; it wins over the fixture's own.
    #[must_use]
    pub fn api_server_flag(mut self, flag: impl Into<String>) -> Self {
        self.api_server_flags.push(flag.into());
        self
    }

    /// Makes this many virtual nodes and waits until they are ready; kwok is started for them.
    #[must_use]
    pub fn nodes(mut self, count: u32) -> Self {
        self.nodes = count;
        if count > 0 {
            self.with(Component::Kwok)
        } else {
            self
        }
    }

    /// Makes the kinds of KubeVirt, and has kwok play what becomes of VirtualMachineInstances: they go from phase to
    /// phase until they run, and succeed before they go. There are no launcher pods.
    #[must_use]
    pub fn kubevirt(mut self) -> Self {
        self.kubevirt = true;
        self.with(Component::Kwok)
    }

    /// Makes these objects. Pods are given to the virtual nodes in turn.
    #[must_use]
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// How long everything may take until it is ready (three minutes unless told).
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Asks for a control plane that nobody else uses: to stop, to pause, or to sign certificates with.
    #[must_use]
    pub fn own(mut self) -> Self {
        self.own = true;
        self
    }

    pub(crate) fn has(&self, component: Component) -> bool {
        self.components.contains(&component)
    }

    /// Why an existing cluster cannot stand in for what is asked for here.
    pub(crate) fn beyond_existing(&self) -> Option<&'static str> {
        if self.own {
            Some("an existing cluster is not a test's to stop or to sign certificates for")
        } else if !self.api_server_flags.is_empty() {
            Some("the API server of an existing cluster takes no flags from a test")
        } else if self.nodes > 0 {
            Some("virtual nodes are not made in an existing cluster")
        } else if self.kubevirt {
            Some("kinds are not made in an existing cluster")
        } else if self.seed != Seed::default() {
            Some("an existing cluster is not filled with a test's objects")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_bring_kwok() {
        assert!(!Options::api_server().nodes(0).has(Component::Kwok));
        let options = Options::api_server().nodes(2);
        assert!(options.has(Component::Kwok) && !options.has(Component::Scheduler));
        assert_eq!(Options::full().nodes(2).components, Component::ALL);
    }

    #[test]
    fn an_existing_cluster_is_left_as_it_is() {
        assert!(Options::full().beyond_existing().is_none());
        assert!(Options::full().own().beyond_existing().is_some());
        assert!(Options::full().nodes(1).beyond_existing().is_some());
        assert!(Options::full().kubevirt().beyond_existing().is_some());
        assert!(
            Options::api_server()
                .api_server_flag("--goaway-chance=0.02")
                .beyond_existing()
                .is_some()
        );
    }
}
