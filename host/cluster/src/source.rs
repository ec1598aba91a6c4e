//! Where a target comes from, and kperf's rule for choosing when nothing is said.

use std::{
    env,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use kube::config::Kubeconfig;

use crate::{TargetError, kubeconfig, server};

/// Where the mounted credentials of a pod are.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where a target comes from.
#[derive(Clone)]
pub enum TargetSource {
    /// A kubeconfig file.
    Kubeconfig {
        /// The file; none = the files of `KUBECONFIG`, merged as kubectl does, or `~/.kube/config`.
        path: Option<PathBuf>,
        /// The context; none = `current-context`.
        context: Option<String>,
    },
    /// A kubeconfig that is no file, with its current context.
    Text(Box<Kubeconfig>),
    /// The service account of the pod this process runs in.
    InCluster,
    /// A server given by flags.
    Server {
        /// `--server`: URL; `https` when it has no scheme.
        url: String,
        /// `--token`: bearer token.
        token: Option<String>,
        /// `--token-file`: file with the bearer token, read again while it is used.
        token_file: Option<PathBuf>,
        /// `--ca-file`: PEM of the authorities to trust; none = those of the system.
        ca_file: Option<PathBuf>,
        /// `--client-certificate`: PEM.
        client_certificate: Option<PathBuf>,
        /// `--client-key`: PEM.
        client_key: Option<PathBuf>,
        /// `--insecure-skip-tls-verify`: trust any server.
        insecure_skip_tls_verify: bool,
    },
}

impl TargetSource {
    /// A kubeconfig that is no file, for example a simulator's. Relative paths in it are relative to the
    /// working directory.
    ///
    /// # Errors
    /// It is not a kubeconfig.
    pub fn from_kubeconfig_text(text: &str) -> Result<Self, TargetError> {
        kubeconfig::parse(text).map(|config| Self::Text(Box::new(config)))
    }
}

// Names only: tokens, keys and passwords stay out.
impl fmt::Debug for TargetSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubeconfig { path, context } => formatter
                .debug_struct("Kubeconfig")
                .field("path", path)
                .field("context", context)
                .finish(),
            Self::Text(config) => formatter
                .debug_tuple("Text")
                .field(&config.current_context)
                .finish(),
            Self::InCluster => formatter.write_str("InCluster"),
            Self::Server { url, .. } => formatter
                .debug_struct("Server")
                .field("url", &server::without_userinfo(url))
                .finish_non_exhaustive(),
        }
    }
}

/// The part of the process's surroundings that decides about targets. No `Debug`: a proxy may carry a password.
#[derive(Clone, Default)]
pub struct Environment {
    /// `KUBECONFIG`: a list of files.
    pub kubeconfig: Option<OsString>,
    /// Home directory, for `~/.kube/config`.
    pub home: Option<PathBuf>,
    /// `KUBERNETES_SERVICE_HOST`.
    pub service_host: Option<String>,
    /// `KUBERNETES_SERVICE_PORT`.
    pub service_port: Option<String>,
    /// Directory of the mounted service account.
    pub service_account: PathBuf,
    /// `HTTPS_PROXY` or `https_proxy`.
    pub https_proxy: Option<String>,
    /// `HTTP_PROXY` or `http_proxy`.
    pub http_proxy: Option<String>,
    /// `NO_PROXY` or `no_proxy`.
    pub no_proxy: Option<String>,
}

impl Environment {
    /// The surroundings of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |name| env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            kubeconfig: env::var_os("KUBECONFIG").filter(|value| !value.is_empty()),
            home: env::home_dir(),
            service_host: text("KUBERNETES_SERVICE_HOST"),
            service_port: text("KUBERNETES_SERVICE_PORT"),
            service_account: PathBuf::from(SERVICE_ACCOUNT),
            https_proxy: text("HTTPS_PROXY").or_else(|| text("https_proxy")),
            http_proxy: text("HTTP_PROXY").or_else(|| text("http_proxy")),
            no_proxy: text("NO_PROXY").or_else(|| text("no_proxy")),
        }
    }

    /// The files of `KUBECONFIG`, empty names left out.
    pub(crate) fn kubeconfig_files(&self) -> Vec<PathBuf> {
        self.kubeconfig
            .iter()
            .flat_map(|list| env::split_paths(list).collect::<Vec<_>>())
            .filter(|path| !path.as_os_str().is_empty())
            .collect()
    }

    /// `~/.kube/config`.
    pub(crate) fn home_kubeconfig(&self) -> Option<PathBuf> {
        self.home
            .as_deref()
            .map(|home| home.join(".kube").join("config"))
    }

    fn in_pod(&self) -> bool {
        self.service_host.is_some()
            && self.service_port.is_some()
            && self.service_account.join("token").is_file()
    }
}

/// Chooses the target when no server was given: the file named by `--kubeconfig`, the files of `KUBECONFIG`,
/// `~/.kube/config` if it is there, the service account when running in a pod.
///
/// # Errors
/// Nothing of that exists; the message says what was looked for.
pub fn detect(
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
) -> Result<TargetSource, TargetError> {
    detect_in(&Environment::of_process(), kubeconfig, context)
}

/// [`detect`] in given surroundings.
///
/// # Errors
/// As [`detect`].
pub fn detect_in(
    environment: &Environment,
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
) -> Result<TargetSource, TargetError> {
    if kubeconfig.is_some() {
        return Ok(TargetSource::Kubeconfig {
            path: kubeconfig,
            context,
        });
    }
    let home = environment.home_kubeconfig();
    let found =
        !environment.kubeconfig_files().is_empty() || home.as_deref().is_some_and(Path::exists);
    // A context can only be one of a kubeconfig: reading it names the missing file.
    if found || (context.is_some() && home.is_some()) {
        return Ok(TargetSource::Kubeconfig {
            path: None,
            context,
        });
    }
    if environment.in_pod() {
        return Ok(TargetSource::InCluster);
    }
    let home = home.map_or_else(
        || "there is no home directory".to_owned(),
        |path| format!("{} does not exist", path.display()),
    );
    Err(TargetError::NoTarget {
        looked: format!("KUBECONFIG is not set, {home}, and this is not a pod"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(directory: &Path) -> Environment {
        Environment {
            service_host: Some("10.0.0.1".into()),
            service_port: Some("443".into()),
            service_account: directory.to_owned(),
            ..Environment::default()
        }
    }

    #[test]
    fn a_named_file_wins_over_everything() {
        let environment = Environment {
            kubeconfig: Some("/elsewhere".into()),
            ..Environment::default()
        };
        let source = detect_in(&environment, Some("/here".into()), Some("dev".into())).unwrap();
        assert!(matches!(
            source,
            TargetSource::Kubeconfig { path: Some(path), context: Some(context) }
                if path == Path::new("/here") && context == "dev"
        ));
    }

    #[test]
    fn the_variable_then_home_then_the_pod() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("token"), "t").unwrap();
        let mut environment = pod(directory.path());
        assert!(matches!(
            detect_in(&environment, None, None).unwrap(),
            TargetSource::InCluster
        ));

        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".kube")).unwrap();
        std::fs::write(home.path().join(".kube/config"), "").unwrap();
        environment.home = Some(home.path().to_owned());
        assert!(matches!(
            detect_in(&environment, None, None).unwrap(),
            TargetSource::Kubeconfig { path: None, .. }
        ));

        environment.home = None;
        environment.kubeconfig = Some("/a:/b".into());
        assert!(matches!(
            detect_in(&environment, None, None).unwrap(),
            TargetSource::Kubeconfig { path: None, .. }
        ));
    }

    #[test]
    fn a_pod_without_token_or_service_is_no_pod() {
        let directory = tempfile::tempdir().unwrap();
        assert!(detect_in(&pod(directory.path()), None, None).is_err());
        std::fs::write(directory.path().join("token"), "t").unwrap();
        let mut environment = pod(directory.path());
        environment.service_port = None;
        assert!(detect_in(&environment, None, None).is_err());
    }

    #[test]
    fn nothing_found_says_what_to_give() {
        let environment = Environment {
            home: Some("/nowhere".into()),
            ..Environment::default()
        };
        let message = detect_in(&environment, None, None).unwrap_err().to_string();
        for part in [
            "KUBECONFIG is not set",
            "/nowhere/.kube/config does not exist",
            "--kubeconfig",
            "--server",
            "--sim",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }
}
