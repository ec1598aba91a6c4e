//! Where a run goes: a cluster, or the simulator in this process.

use std::path::Path;

use anyhow::{Context as _, bail};
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
    /// The same target for set-up, watches and clean-up, which are never part of a measured load.
    pub config: kube::Config,
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
        self.choice_with(std::env::var("KPERF_TOKEN").ok())
    }

    /// As kperf's runner has it: an empty `--kubeconfig` is the pod's service account.
    pub fn empty_kubeconfig_is_in_cluster(&mut self) {
        if self.kubeconfig.as_deref().is_some_and(is_empty) {
            self.kubeconfig = None;
            self.in_cluster = true;
        }
    }

    /// [`Self::choice`] with the token of the environment, which only `--server` takes.
    fn choice_with(&self, token_of_environment: Option<String>) -> anyhow::Result<TargetChoice> {
        if self.kubeconfig.as_deref().is_some_and(is_empty) {
            bail!(
                "--kubeconfig is empty; give a file, or --in-cluster for the pod's service account"
            );
        }
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
                token: self.token.clone().or_else(|| {
                    token_of_environment
                        .filter(|token| self.token_file.is_none() && !token.is_empty())
                }),
                token_file: self.token_file.clone(),
                ca_file: self.ca_file.clone(),
                client_certificate: self.client_certificate.clone(),
                client_key: self.client_key.clone(),
                insecure_skip_tls_verify: self.insecure_skip_tls_verify,
            }));
        }
        if self.in_cluster {
            // Clap refuses the flag; it cannot know of kperf's empty --kubeconfig.
            if let Some(context) = &self.context {
                bail!("--context {context}: a pod's service account has no contexts");
            }
            return Ok(TargetChoice::Cluster(TargetSource::InCluster));
        }
        Ok(TargetChoice::Cluster(kperf_cluster::detect(
            self.kubeconfig.clone(),
            self.context.clone(),
        )?))
    }
}

fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
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
                config: resolved.config,
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
                config: resolved.config,
                sim: Some(sim),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(args: &TargetArgs) -> Option<String> {
        match args.choice_with(Some("of the environment".to_owned())) {
            Ok(TargetChoice::Cluster(TargetSource::Server { token, .. })) => token,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_token_of_the_environment_is_only_for_a_server_without_one() {
        let server = TargetArgs {
            server: Some("https://127.0.0.1:1".to_owned()),
            ..TargetArgs::default()
        };
        assert_eq!(token(&server).as_deref(), Some("of the environment"));
        let flag = TargetArgs {
            token: Some("of the flag".to_owned()),
            ..server.clone()
        };
        assert_eq!(token(&flag).as_deref(), Some("of the flag"));
        let file = TargetArgs {
            token_file: Some("token".into()),
            ..server
        };
        assert_eq!(token(&file), None);
    }

    #[test]
    fn an_empty_kubeconfig_is_kperfs_word_for_in_cluster() {
        let mut args = TargetArgs {
            kubeconfig: Some("".into()),
            ..TargetArgs::default()
        };
        assert!(args.choice_with(None).is_err());
        args.empty_kubeconfig_is_in_cluster();
        assert!(matches!(
            args.choice_with(None),
            Ok(TargetChoice::Cluster(TargetSource::InCluster))
        ));
        args.context = Some("dev".to_owned());
        assert!(args.choice_with(None).is_err());
    }
}
