//! A server given by flags: `--server URL` with token, authority and client certificate.

use std::{fmt, path::PathBuf};

use http::Uri;

use crate::{TargetError, kubeconfig::check_user, resolve::Loaded, tls};

/// A server given by flags.
#[derive(Clone, Default)]
pub struct ServerSource {
    /// `--server`: URL; `https` when it has no scheme.
    pub url: String,
    /// `--token`: bearer token.
    pub token: Option<String>,
    /// `--token-file`: file with the bearer token, read again while it is used.
    pub token_file: Option<PathBuf>,
    /// `--ca-file`: PEM of the authorities to trust; none = those of the system.
    pub ca_file: Option<PathBuf>,
    /// `--insecure-skip-tls-verify`: trust any server.
    pub insecure_skip_tls_verify: bool,
    /// `--client-certificate`: PEM.
    pub client_certificate: Option<PathBuf>,
    /// `--client-key`: PEM.
    pub client_key: Option<PathBuf>,
    /// `--tls-server-name`: name to verify instead of the URL's host.
    pub tls_server_name: Option<String>,
}

// The token stays out.
impl fmt::Debug for ServerSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ServerSource")
            .field("url", &without_userinfo(&self.url))
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("token_file", &self.token_file)
            .field("ca_file", &self.ca_file)
            .field("insecure_skip_tls_verify", &self.insecure_skip_tls_verify)
            .field("client_certificate", &self.client_certificate)
            .field("client_key", &self.client_key)
            .field("tls_server_name", &self.tls_server_name)
            .finish()
    }
}

pub(crate) fn load(source: &ServerSource) -> Result<Loaded, TargetError> {
    let origin = "command line".to_owned();
    let setting = |key: &str, reason: &str| TargetError::Setting {
        origin: origin.clone(),
        key: key.into(),
        reason: reason.into(),
    };
    if source.token.is_some() && source.token_file.is_some() {
        return Err(setting(
            "--token",
            "cannot be given together with --token-file",
        ));
    }
    if source.insecure_skip_tls_verify && source.ca_file.is_some() {
        return Err(setting(
            "--insecure-skip-tls-verify",
            "cannot be given together with --ca-file",
        ));
    }
    let url: Uri = complete_url(&source.url, "https")
        .parse()
        .map_err(|error| setting("--server", &format!("is not a URL ({error})")))?;
    let mut config = kube::Config::new(url);
    config.accept_invalid_certs = source.insecure_skip_tls_verify;
    config.tls_server_name = source.tls_server_name.clone();
    if let Some(file) = &source.ca_file {
        config.root_cert = Some(tls::certificates(&origin, "--ca-file", file)?);
    }
    let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let user = &mut config.auth_info;
    user.client_certificate = text(&source.client_certificate);
    user.client_key = text(&source.client_key);
    user.token_file = text(&source.token_file);
    user.token = source.token.clone().map(Into::into);
    check_user(user, &origin)?;
    if source.token.is_some() && user.token.is_none() {
        return Err(setting("--token", "is empty"));
    }
    Ok(Loaded {
        description: format!("--server {}", without_userinfo(&source.url)),
        config,
        cluster_origin: origin.clone(),
        user_origin: origin,
        proxy_url: None,
        warnings: Vec::new(),
    })
}

/// Completes a URL without scheme.
pub(crate) fn complete_url(url: &str, scheme: &str) -> String {
    let url = url.trim();
    if url.contains("://") {
        url.to_owned()
    } else {
        format!("{scheme}://{url}")
    }
}

/// For messages: a URL may carry a password.
pub(crate) fn without_userinfo(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    if scheme.is_empty() {
        format!("{host}{path}")
    } else {
        format!("{scheme}://{host}{path}")
    }
}
