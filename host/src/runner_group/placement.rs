//! Where the runners of a load run that is part of something larger: as the user chose.

use std::sync::Arc;

use kperf_cluster::api::Cluster;
use kperf_load::Stop;
use kperf_runners::{FlowControl, check_rights};

use super::{Group, GroupOptions, LocalTarget, Running, running, start_in_cluster, start_locally};
use crate::exit::Failed;

/// Where runners run.
#[derive(Clone)]
pub enum Placement {
    /// As processes of this machine.
    Locally(Arc<LocalTarget>),
    /// As pods of the cluster that is loaded.
    Cluster {
        /// Image with `kperf-host`.
        image: String,
        /// Priority of the requests.
        flow: FlowControl,
        /// Labels of nodes, each with the values it may have.
        affinity: Vec<(String, Vec<String>)>,
        /// Where their objects are; made if need be.
        namespace: String,
    },
}

impl Placement {
    /// What it means for a group.
    #[must_use]
    pub fn options(&self) -> GroupOptions {
        match self {
            Self::Locally(_) => GroupOptions::default(),
            Self::Cluster {
                image,
                flow,
                affinity,
                ..
            } => GroupOptions {
                image: Some(image.clone()),
                flow: flow.clone(),
                affinity: affinity.clone(),
                verbosity: 2,
                ..GroupOptions::default()
            },
        }
    }

    /// In a word, for reports.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Locally(_) => "local",
            Self::Cluster { .. } => "cluster",
        }
    }

    /// Starts a group there.
    ///
    /// # Errors
    /// It could not be started; what was made of it is gone, or named.
    pub async fn start(
        &self,
        group: &Group,
        cluster: &Cluster,
        stop: &Stop,
    ) -> Result<Running, Failed> {
        let namespace = match self {
            Self::Locally(target) => return start_locally(group, target),
            Self::Cluster { namespace, .. } => namespace,
        };
        let everywhere = group.grants.iter().any(|grant| grant.namespace().is_none());
        check_rights(cluster, namespace, everywhere)
            .await
            .map_err(running::failed)?;
        start_in_cluster(group, cluster, namespace, stop).await
    }
}
