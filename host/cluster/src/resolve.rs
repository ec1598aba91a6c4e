//! Puts a target together.

use std::{fmt, sync::Arc};

use kperf_load::plan::{HeaderProvider, Target};

use crate::{
    TargetError, credentials, in_cluster, kubeconfig, proxy, server,
    source::{Environment, TargetSource},
    tls,
};

/// What a source says, before anything is built from it.
pub(crate) struct Loaded {
    /// One phrase for people.
    pub(crate) description: String,
    /// As kube sees it; without proxy.
    pub(crate) config: kube::Config,
    /// Start of messages about the server.
    pub(crate) cluster_origin: String,
    /// Start of messages about credentials.
    pub(crate) user_origin: String,
    /// The cluster's `proxy-url`.
    pub(crate) proxy_url: Option<String>,
    /// What the user should know, though it is no error.
    pub(crate) warnings: Vec<String>,
}

/// A target and where it came from.
pub struct ResolvedTarget {
    /// What the load engine dials.
    pub target: Target,
    /// Where it came from, for people: `context "dev" of /home/me/.kube/config`.
    pub description: String,
    /// Namespace of the context; `default` when there is none.
    pub namespace: String,
    /// What the user should know, though it is no error.
    pub warnings: Vec<String>,
    /// The same target for kube's own client, which sets up and watches but is never measured.
    pub config: kube::Config,
}

// kube's own output shows the environment of exec plugins.
impl fmt::Debug for ResolvedTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ResolvedTarget")
            .field("url", &self.target.url())
            .field("description", &self.description)
            .field("namespace", &self.namespace)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// Resolves a source in the surroundings of this process. Runs the exec plugin, if the user has one.
/// Needs a tokio runtime.
///
/// # Errors
/// Files that cannot be read or parsed, names that do not exist, settings that cannot be used, plugins
/// that give no credentials.
pub async fn resolve(source: &TargetSource) -> Result<ResolvedTarget, TargetError> {
    resolve_in(&Environment::of_process(), source).await
}

/// The source as kube's configuration, for a [`kube::Client`]. Runs no plugin.
///
/// # Errors
/// As [`resolve`], without those of plugins.
pub async fn kube_config(source: &TargetSource) -> Result<kube::Config, TargetError> {
    let environment = Environment::of_process();
    let loaded = load(&environment, source).await?;
    Ok(for_kube(&environment, &loaded)?.0)
}

pub(crate) async fn resolve_in(
    environment: &Environment,
    source: &TargetSource,
) -> Result<ResolvedTarget, TargetError> {
    let mut loaded = load(environment, source).await?;
    let (config, proxy) = for_kube(environment, &loaded)?;
    let url = &loaded.config.cluster_url;
    let invalid = |reason: &str| TargetError::Setting {
        origin: loaded.cluster_origin.clone(),
        key: "server".into(),
        reason: reason.into(),
    };
    let encrypted = match url.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(invalid("is not an http:// or https:// URL")),
    };
    if url
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(invalid(
            "holds a user name or password; give credentials as settings of the user",
        ));
    }
    if url.query().is_some() {
        return Err(invalid(
            "has a query; give scheme, host, port and path only",
        ));
    }
    let host = url
        .host()
        .map(proxy::bare)
        .filter(|host| !host.is_empty())
        .ok_or_else(|| invalid("names no host"))?
        .to_owned();
    // A port that is there but cannot be one is not the default port.
    let port = match url.port() {
        None if url.authority().is_some_and(|a| a.as_str().ends_with(':')) => {
            return Err(invalid("has an empty port"));
        }
        None => {
            if encrypted {
                443
            } else {
                80
            }
        }
        Some(port) => port.as_u16(),
    };
    let segments: Vec<_> = url
        .path()
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    let path_prefix: String = segments.iter().map(|part| format!("/{part}")).collect();

    let (headers, identity): (Arc<dyn HeaderProvider>, _) =
        credentials::build(&loaded, encrypted).await?;
    let tls = if encrypted {
        Some(tls::build(
            &loaded.config,
            &host,
            identity,
            (&loaded.cluster_origin, &loaded.user_origin),
        )?)
    } else {
        None
    };
    let user = &loaded.config.auth_info;
    if !encrypted
        && (user.token.is_some()
            || user.token_file.is_some()
            || user.exec.is_some()
            || user.auth_provider.is_some()
            || user.password.is_some())
    {
        loaded.warnings.push(format!(
            "{}: credentials are not sent over plain http",
            loaded.cluster_origin
        ));
    }
    Ok(ResolvedTarget {
        target: Target {
            host,
            port,
            addresses: Vec::new(),
            path_prefix,
            tls,
            headers,
            proxy,
        },
        description: loaded.description,
        namespace: loaded.config.default_namespace.clone(),
        warnings: loaded.warnings,
        config,
    })
}

async fn load(environment: &Environment, source: &TargetSource) -> Result<Loaded, TargetError> {
    match source {
        TargetSource::Kubeconfig { path, context } => {
            kubeconfig::load(environment, path.as_deref(), context.as_deref()).await
        }
        TargetSource::InCluster => in_cluster::load(environment),
        TargetSource::Text(config) => {
            kubeconfig::pick(vec![("kubeconfig".into(), config.as_ref().clone())], None).await
        }
        TargetSource::Server {
            url,
            token,
            token_file,
            ca_file,
            client_certificate,
            client_key,
            insecure_skip_tls_verify,
        } => server::load(&server::Flags {
            url,
            token: token.as_deref(),
            token_file: token_file.as_deref(),
            ca_file: ca_file.as_deref(),
            client_certificate: client_certificate.as_deref(),
            client_key: client_key.as_deref(),
            insecure_skip_tls_verify: *insecure_skip_tls_verify,
        }),
    }
}

fn for_kube(
    environment: &Environment,
    loaded: &Loaded,
) -> Result<(kube::Config, Option<kperf_load::plan::Proxy>), TargetError> {
    tls::use_ring();
    let mut config = loaded.config.clone();
    let chosen = proxy::choose(
        environment,
        loaded.proxy_url.as_deref(),
        &config.cluster_url,
        &loaded.cluster_origin,
    )?;
    let (proxy, proxy_url) = chosen.unzip();
    config.proxy_url = proxy_url;
    // kube refuses a token that ends in a line break, as one written by hand does. What is lost is that
    // its client follows changes of such a file.
    if let Some(path) = config.auth_info.token_file.clone() {
        if let Ok(text) = std::fs::read_to_string(&path)
            && text.trim() != text
        {
            config.auth_info.token = Some(text.trim().to_owned().into());
            config.auth_info.token_file = None;
        } else {
            // kubectl's order, not kube's: the file wins over the token.
            config.auth_info.token = None;
        }
    }
    Ok((config, proxy))
}

#[cfg(test)]
mod tests;
