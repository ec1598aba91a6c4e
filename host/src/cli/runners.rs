//! Flags of commands whose load may come from runners: as pods of the cluster, or as processes of this machine.

use std::sync::Arc;

use anyhow::anyhow;
use clap::{Args, builder::NonEmptyStringValueParser};
use kperf_runners::{FlowControl, NAMESPACE};

use super::{TargetArgs, vc};
use crate::{
    exit::{Exit, Failed},
    runner_group::{LocalTarget, Placement},
};

/// Where runners run. Without any of these flags the whole load comes from this process.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Runners")]
pub struct RunnersArgs {
    /// Send the load from pods of the cluster with this image, which has kperf-host: a runner group, removed at the
    /// end. Without it the load comes from this process, with as much of everything as the runners have together.
    #[arg(long, value_name = "IMAGE", value_parser = NonEmptyStringValueParser::new())]
    pub runner_image: Option<String>,
    /// API Priority and Fairness of the runners' requests: PRIORITY-LEVEL:MATCHING-PRECEDENCE
    /// [default: workload-low:1000]. With --runner-image.
    #[arg(long, value_name = "FLOW")]
    pub runner_flowcontrol: Option<FlowControl>,
    /// Where runners may run: nodes with one of these labels. Repeatable.
    #[arg(long, value_name = "KEY=VALUE[,VALUE]", value_parser = vc::key_values)]
    pub rg_affinity: Vec<(String, Vec<String>)>,
    /// Send the load from as many processes of this machine as there are runners.
    #[arg(long)]
    pub local: bool,
}

impl RunnersArgs {
    /// Where runners run; none = the load comes from this process.
    ///
    /// # Errors
    /// Flags that do not go together, or a simulator that cannot be started.
    pub fn placement(&self, target: &TargetArgs) -> Result<Option<Placement>, Failed> {
        let usage = |error| Failed {
            exit: Exit::Usage,
            error,
        };
        let Some(image) = &self.runner_image else {
            if self.runner_flowcontrol.is_some() {
                return Err(usage(anyhow!(
                    "--runner-flowcontrol is for runners in the cluster: give --runner-image too"
                )));
            }
            return Ok(if self.local {
                Some(Placement::Locally(Arc::new(LocalTarget::new(target)?)))
            } else {
                None
            });
        };
        if self.local {
            return Err(usage(anyhow!(
                "--local and --runner-image: runners run on this machine or in the cluster, not both"
            )));
        }
        if target.sim.is_some() {
            return Err(usage(anyhow!(
                "--runner-image: the simulator runs no pods; give --local in its place"
            )));
        }
        Ok(Some(Placement::Cluster {
            image: image.clone(),
            flow: self.runner_flowcontrol.clone().unwrap_or_default(),
            affinity: self.rg_affinity.clone(),
            namespace: NAMESPACE.to_owned(),
        }))
    }
}
