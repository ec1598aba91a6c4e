//! Where the load goes: a cluster, or the simulator in this process.

use anyhow::Context as _;
use kperf_cluster::TargetSource;
use kperf_load::plan::Target;
use kperf_sim::{Sim, SimConfig};

use crate::cli::TargetArgs;

/// What was chosen.
#[derive(Clone, Debug)]
pub enum TargetChoice {
    /// A server somewhere.
    Cluster(TargetSource),
    /// The simulator, started for this run.
    Sim(Box<SimConfig>),
}

/// A target that can be dialled.
pub struct Resolved {
    /// For the engine.
    pub target: Target,
    /// Where it came from; no secrets.
    pub description: String,
    /// What the user should know, though it is no error.
    pub warnings: Vec<String>,
    /// Serves as long as it lives.
    sim: Option<Sim>,
}

impl Resolved {
    /// Whether the server shares this process's cores.
    #[must_use]
    pub fn in_process_server(&self) -> bool {
        self.sim.is_some()
    }
}

impl TargetArgs {
    /// What the flags mean.
    ///
    /// # Errors
    /// The objects or faults of the simulator cannot be read, or there is no target at all.
    pub fn choice(&self) -> anyhow::Result<TargetChoice> {
        if let Some(objects) = &self.sim {
            let faults = self.sim_faults.as_deref().unwrap_or_default();
            let config = SimConfig {
                seed_objects: objects
                    .parse()
                    .with_context(|| format!("--sim {objects}"))?,
                faults: faults
                    .parse()
                    .with_context(|| format!("--sim-faults {faults}"))?,
                ..SimConfig::default()
            };
            return Ok(TargetChoice::Sim(Box::new(config)));
        }
        if let Some(url) = &self.server {
            return Ok(TargetChoice::Cluster(TargetSource::Server {
                url: url.clone(),
                token: self.token.clone(),
                token_file: self.token_file.clone(),
                ca_file: self.ca_file.clone(),
                client_certificate: self.client_certificate.clone(),
                client_key: self.client_key.clone(),
                insecure_skip_tls_verify: self.insecure_skip_tls_verify,
            }));
        }
        if self.in_cluster {
            return Ok(TargetChoice::Cluster(TargetSource::InCluster));
        }
        Ok(TargetChoice::Cluster(kperf_cluster::detect(
            self.kubeconfig.clone(),
            self.context.clone(),
        )?))
    }
}

/// Resolves, starting the simulator if that is the target.
///
/// # Errors
/// The message says what was looked at and what to do.
pub fn resolve(choice: &TargetChoice) -> anyhow::Result<Resolved> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime of the kube client")?;
    match choice {
        TargetChoice::Cluster(source) => {
            let resolved = runtime.block_on(kperf_cluster::resolve(source))?;
            Ok(Resolved {
                target: resolved.target,
                description: resolved.description,
                warnings: resolved.warnings,
                sim: None,
            })
        }
        TargetChoice::Sim(config) => {
            let sim = Sim::start((**config).clone()).context("cannot start the simulator")?;
            let source = TargetSource::from_kubeconfig_text(&sim.kubeconfig())?;
            let resolved = runtime.block_on(kperf_cluster::resolve(&source))?;
            Ok(Resolved {
                target: resolved.target,
                description: "the simulator in this process".to_owned(),
                warnings: Vec::new(),
                sim: Some(sim),
            })
        }
    }
}
