//! What tests hold: a control plane started for them, or an existing cluster.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;

use crate::{
    Client, Component, Options, Source,
    kubeconfig::Target,
    process::log_file,
    running::{Running, admin_kubeconfig},
};

/// Set to `required`, it turns "skipped" into a failure, for machines that must not skip.
pub const REQUIRE_VARIABLE: &str = "KPERF_TEST_CONTROL_PLANE";

/// A Kubernetes control plane to test against; what it started ends with the value, and also with the process.
pub struct ControlPlane(Kind);

enum Kind {
    Existing { kubeconfig: PathBuf, url: String },
    Own(Box<Running>),
}

impl ControlPlane {
    /// Starts a control plane, or takes the existing cluster that the environment names.
    ///
    /// # Errors
    /// There is no source, or a component did not get ready; the end of its log is in the message.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        match Source::find(&options.components).map_err(anyhow::Error::msg)? {
            Source::Existing(kubeconfig) => {
                if let Some(why) = options.beyond_existing() {
                    bail!(why);
                }
                Self::existing(kubeconfig)
            }
            Source::Programs(programs) => Ok(Self(Kind::Own(Box::new(Running::start(
                programs, options,
            )?)))),
        }
    }

    /// Starts a control plane for a test; when there is no source of one, prints `skipped: WHAT: WHY`.
    ///
    /// # Errors
    /// It could have been started, and was not; or skipping is not allowed ([`REQUIRE_VARIABLE`]).
    pub fn start_or_skip(what: &str, options: Options) -> anyhow::Result<Option<Self>> {
        let why = match Source::find(&options.components) {
            Err(why) => why,
            Ok(Source::Existing(_)) => match options.beyond_existing() {
                Some(why) => why.to_owned(),
                None => return Self::start(options).map(Some),
            },
            Ok(Source::Programs(programs)) => {
                let running = Running::start(programs, options)?;
                return Ok(Some(Self(Kind::Own(Box::new(running)))));
            }
        };
        skip(what, &why)?;
        Ok(None)
    }

    fn existing(kubeconfig: PathBuf) -> anyhow::Result<Self> {
        let url = Target::url_of(&kubeconfig)?;
        Ok(Self(Kind::Existing { kubeconfig, url }))
    }

    fn own(&self) -> anyhow::Result<&Running> {
        match &self.0 {
            Kind::Own(running) => Ok(running),
            Kind::Existing { .. } => bail!("an existing cluster is not the test's to do this with"),
        }
    }

    fn own_mut(&mut self) -> anyhow::Result<&mut Running> {
        match &mut self.0 {
            Kind::Own(running) => Ok(running),
            Kind::Existing { .. } => bail!("an existing cluster is not the test's to do this with"),
        }
    }

    /// Whether this is a cluster that was there before: cases that stop, restart or fill it must not run.
    #[must_use]
    pub fn is_external(&self) -> bool {
        matches!(self.0, Kind::Existing { .. })
    }

    /// The administrator's kubeconfig (with a client certificate, when the control plane is our own).
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        match &self.0 {
            Kind::Own(running) => admin_kubeconfig(&running.files),
            Kind::Existing { kubeconfig, .. } => kubeconfig.clone(),
        }
    }

    /// A kubeconfig with a fresh certificate for a user in at most two groups; RBAC says what he may do: nothing
    /// beyond discovery, unless he is bound to a role. A second call for a user replaces the first one's file.
    ///
    /// # Errors
    /// More than two groups, or an existing cluster, whose authority is not ours.
    pub fn kubeconfig_for_user(&self, user: &str, groups: &[&str]) -> anyhow::Result<PathBuf> {
        let running = self.own()?;
        running.files.write_kubeconfig(&running.url, user, groups)
    }

    /// A kubeconfig of an administrator with [`Self::token`] instead of a certificate.
    ///
    /// # Errors
    /// An existing cluster.
    pub fn kubeconfig_with_token(&self) -> anyhow::Result<PathBuf> {
        let running = self.own()?;
        let path = running.files.kubeconfig("token");
        running.files.token_target(&running.url).write(&path)?;
        Ok(path)
    }

    /// The bearer token of an administrator; none for an existing cluster.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.own().ok().map(|running| running.files.token())
    }

    /// The URL of the API server.
    #[must_use]
    pub fn url(&self) -> &str {
        match &self.0 {
            Kind::Own(running) => &running.url,
            Kind::Existing { url, .. } => url,
        }
    }

    /// The certificate of the authority that signed the API server's; none for an existing cluster.
    #[must_use]
    pub fn ca_file(&self) -> Option<PathBuf> {
        self.own().ok().map(|running| running.files.ca())
    }

    /// Where the control plane keeps its logs and everything else; none for an existing cluster.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.own().ok().map(|running| running.files.folder())
    }

    /// A client with the administrator's rights.
    ///
    /// # Errors
    /// An existing cluster; see [`Client::from_kubeconfig`].
    pub fn client(&self) -> anyhow::Result<&Client> {
        Ok(&self.own()?.client)
    }

    /// What a component has logged so far, over all its starts.
    ///
    /// # Errors
    /// An existing cluster, or a component that was not started.
    pub fn logs(&self, component: Component) -> anyhow::Result<String> {
        let path = log_file(self.own()?.files.folder(), component);
        let bytes = fs::read(&path).with_context(|| format!("{component} has no log"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Stops etcd in its tracks (SIGSTOP): connections stay, nothing answers from here on.
    ///
    /// # Errors
    /// An existing cluster, or etcd has ended.
    pub fn pause_etcd(&self) -> anyhow::Result<()> {
        self.own()?.pause(Component::Etcd)
    }

    /// Lets etcd go on.
    ///
    /// # Errors
    /// An existing cluster, or etcd has ended.
    pub fn resume_etcd(&self) -> anyhow::Result<()> {
        self.own()?.signal(Component::Etcd, Signal::SIGCONT)
    }

    /// Ends the API server gracefully, as an upgrade would; returns when it is gone.
    ///
    /// # Errors
    /// An existing cluster, or it is not running.
    pub fn stop_api_server(&mut self) -> anyhow::Result<()> {
        self.own_mut()?.stop_api_server()
    }

    /// Kills the API server, as a crash would; returns when it is gone.
    ///
    /// # Errors
    /// An existing cluster, or it is not running.
    pub fn kill_api_server(&mut self) -> anyhow::Result<()> {
        self.own_mut()?.kill_api_server()
    }

    /// Starts the API server again on its port, and waits until it is ready.
    ///
    /// # Errors
    /// An existing cluster, it is running, or it does not get ready.
    pub fn start_api_server(&mut self) -> anyhow::Result<()> {
        self.own_mut()?.start_api_server()
    }

    /// The processes that were started and are to be gone afterwards.
    #[must_use]
    pub fn process_ids(&self) -> Vec<u32> {
        self.own().map(Running::ids).unwrap_or_default()
    }

    /// A component that has ended without being told to.
    pub fn exited(&mut self) -> Option<Component> {
        self.own_mut().ok().and_then(Running::exited)
    }
}

/// Prints `skipped: WHAT: WHY`.
///
/// # Errors
/// Skipping is not allowed ([`REQUIRE_VARIABLE`]).
pub fn skip(what: &str, why: &str) -> anyhow::Result<()> {
    if std::env::var_os(REQUIRE_VARIABLE).is_some_and(|value| value == "required") {
        bail!("{what}: {why}; {REQUIRE_VARIABLE} does not allow to skip it");
    }
    eprintln!("skipped: {what}: {why}");
    Ok(())
}
