//! A server given by flags: `--server URL` with token, authority and client certificate.

use std::path::Path;

use http::Uri;

use crate::{TargetError, kubeconfig::check_user, resolve::Loaded, tls};

/// The flags; see [`TargetSource::Server`](crate::TargetSource::Server).
pub(crate) struct Flags<'a> {
    pub(crate) url: &'a str,
    pub(crate) token: Option<&'a str>,
    pub(crate) token_file: Option<&'a Path>,
    pub(crate) ca_file: Option<&'a Path>,
    pub(crate) client_certificate: Option<&'a Path>,
    pub(crate) client_key: Option<&'a Path>,
    pub(crate) insecure_skip_tls_verify: bool,
}

pub(crate) fn load(source: &Flags<'_>) -> Result<Loaded, TargetError> {
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
    let url: Uri = complete_url(source.url, "https")
        .parse()
        .map_err(|error| setting("--server", &format!("is not a URL ({error})")))?;
    let mut config = kube::Config::new(url);
    config.accept_invalid_certs = source.insecure_skip_tls_verify;
    if let Some(file) = source.ca_file {
        config.root_cert = Some(tls::certificates(&origin, "--ca-file", file)?);
    }
    let text = |path: Option<&Path>| path.map(|path| path.display().to_string());
    let user = &mut config.auth_info;
    user.client_certificate = text(source.client_certificate);
    user.client_key = text(source.client_key);
    user.token_file = text(source.token_file);
    user.token = source.token.map(Into::into);
    check_user(user, &origin)?;
    if source.token.is_some() && user.token.is_none() {
        return Err(setting("--token", "is empty"));
    }
    Ok(Loaded {
        description: format!("--server {}", without_userinfo(source.url)),
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
