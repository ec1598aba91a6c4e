//! Kubeconfig files to a [`kube::Config`]. kube reads and merges them; what is added here is what kubectl
//! does besides (missing files of `KUBECONFIG` are skipped, a server without scheme is completed, empty
//! strings mean "not set"), and messages that name file, context, user and key.

use std::path::{Path, PathBuf};

use http::HeaderValue;
use kube::config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig, KubeconfigError};

use secrecy::ExposeSecret;

use crate::{
    TargetError,
    resolve::Loaded,
    server::complete_url,
    source::Environment,
    tls::{self, Material},
};

/// Reads the files and picks a context.
pub(crate) async fn load(
    environment: &Environment,
    path: Option<&Path>,
    context: Option<&str>,
) -> Result<Loaded, TargetError> {
    pick(read(&paths(environment, path)?)?, context).await
}

/// Picks a context of files already read; the first to define a name wins.
pub(crate) async fn pick(
    files: Vec<(PathBuf, Kubeconfig)>,
    context: Option<&str>,
) -> Result<Loaded, TargetError> {
    let names = names_of(&files);
    let mut merged = merge(&files)?;
    let context_name = match context.map(str::to_owned).or(merged
        .current_context
        .clone()
        .filter(|name| !name.is_empty()))
    {
        Some(name) => name,
        None => {
            return Err(TargetError::NoCurrentContext {
                origin: names,
                available: list(merged.contexts.iter().map(|context| &context.name)),
            });
        }
    };
    let Some(context) = merged
        .contexts
        .iter()
        .find(|named| named.name == context_name)
        .and_then(|named| named.context.clone())
    else {
        return Err(TargetError::Unknown {
            origin: names,
            kind: "context",
            name: context_name,
            available: list(merged.contexts.iter().map(|context| &context.name)),
        });
    };
    let in_context = |origin: String| format!("{origin}: context {context_name:?}");

    let cluster_file = file_of(&files, |file| {
        file.clusters
            .iter()
            .any(|named| named.name == context.cluster)
    });
    let Some(cluster) = merged
        .clusters
        .iter_mut()
        .find(|named| named.name == context.cluster)
        .and_then(|named| named.cluster.as_mut())
    else {
        return Err(TargetError::Unknown {
            origin: in_context(names),
            kind: "cluster",
            name: context.cluster,
            available: list(merged.clusters.iter().map(|cluster| &cluster.name)),
        });
    };
    let cluster_origin = format!(
        "{}: cluster {:?}",
        in_context(cluster_file.unwrap_or_else(|| names.clone())),
        context.cluster
    );
    let mut warnings = Vec::new();
    check_cluster(cluster, &cluster_origin, &mut warnings)?;
    let has_tls_settings = cluster.certificate_authority.is_some()
        || cluster.certificate_authority_data.is_some()
        || cluster.insecure_skip_tls_verify == Some(true);
    let proxy_url = cluster.proxy_url.clone();

    let user = context.user.clone().filter(|user| !user.is_empty());
    let mut user_origin = in_context(names.clone());
    let mut has_certificate = false;
    if let Some(user) = &user {
        let user_file = file_of(&files, |file| {
            file.auth_infos.iter().any(|named| &named.name == user)
        });
        user_origin = format!(
            "{}: user {user:?}",
            in_context(user_file.clone().unwrap_or_else(|| names.clone()))
        );
        match merged
            .auth_infos
            .iter_mut()
            .find(|named| &named.name == user)
            .map(|named| named.auth_info.get_or_insert_default())
        {
            Some(info) => {
                check_user(info, &user_origin)?;
                has_certificate =
                    info.client_certificate.is_some() || info.client_certificate_data.is_some();
            }
            // As kubectl: requests are then anonymous.
            None => warnings.push(format!(
                "{user_origin}: there is no such user; requests are anonymous"
            )),
        }
    }

    if let Some(cluster) = merged
        .clusters
        .iter_mut()
        .find(|named| named.name == context.cluster)
        .and_then(|named| named.cluster.as_mut())
        && let Some(server) = &cluster.server
    {
        let scheme = if has_tls_settings || has_certificate {
            "https"
        } else {
            "http"
        };
        cluster.server = Some(complete_url(server, scheme));
    }
    let mut config = kube::Config::from_custom_kubeconfig(
        merged,
        &KubeConfigOptions {
            context: Some(context_name.clone()),
            ..KubeConfigOptions::default()
        },
    )
    .await
    .map_err(|error| TargetError::Setting {
        origin: cluster_origin.clone(),
        key: key_of(&error).into(),
        reason: reason_of(&error),
    })?;
    // kube takes proxies from the environment too, but not as Go does; see `proxy`.
    config.proxy_url = None;

    Ok(Loaded {
        description: format!("context {context_name:?} of {names}"),
        config,
        cluster_origin,
        user_origin,
        proxy_url,
        warnings,
    })
}

fn paths(environment: &Environment, path: Option<&Path>) -> Result<Vec<PathBuf>, TargetError> {
    if let Some(path) = path {
        return Ok(vec![path.to_owned()]);
    }
    let listed = environment.kubeconfig_files();
    if listed.is_empty() {
        return environment
            .home_kubeconfig()
            .map(|path| vec![path])
            .ok_or_else(|| TargetError::NoTarget {
                looked: "KUBECONFIG is not set and there is no home directory".into(),
            });
    }
    let present: Vec<_> = listed
        .iter()
        .filter(|path| path.exists())
        .cloned()
        .collect();
    if present.is_empty() {
        return Err(TargetError::NoTarget {
            looked: format!("KUBECONFIG names {}, which does not exist", join(&listed)),
        });
    }
    Ok(present)
}

/// A kubeconfig that is no file.
pub(crate) fn parse(text: &str) -> Result<Kubeconfig, TargetError> {
    Kubeconfig::from_yaml(text).map_err(|error| unreadable(Path::new("kubeconfig"), error))
}

fn unreadable(path: &Path, error: KubeconfigError) -> TargetError {
    match error {
        KubeconfigError::ReadConfig(source, path) => TargetError::Read {
            origin: "kubeconfig".into(),
            path,
            source,
        },
        // The parser's own message quotes the file, and with it what may be a key or a token.
        KubeconfigError::Parse(error) => TargetError::Parse {
            path: path.to_owned(),
            position: error.location().map(|at| (at.line(), at.column())),
            reason: "the YAML is malformed or a field has the wrong type".into(),
        },
        other => TargetError::Parse {
            path: path.to_owned(),
            position: None,
            reason: other.to_string(),
        },
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<(PathBuf, Kubeconfig)>, TargetError> {
    paths
        .iter()
        .map(|path| {
            Kubeconfig::read_from(path)
                .map(|config| (path.clone(), config))
                .map_err(|error| unreadable(path, error))
        })
        .collect()
}

fn merge(files: &[(PathBuf, Kubeconfig)]) -> Result<Kubeconfig, TargetError> {
    files
        .iter()
        .try_fold(Kubeconfig::default(), |merged, (path, next)| {
            merged
                .merge(next.clone())
                .map_err(|error| TargetError::Parse {
                    path: path.clone(),
                    position: None,
                    reason: error.to_string(),
                })
        })
}

fn check_cluster(
    cluster: &mut Cluster,
    origin: &str,
    warnings: &mut Vec<String>,
) -> Result<(), TargetError> {
    for field in [
        &mut cluster.server,
        &mut cluster.certificate_authority,
        &mut cluster.certificate_authority_data,
        &mut cluster.tls_server_name,
        &mut cluster.proxy_url,
    ] {
        unset_if_empty(field);
    }
    if cluster.server.is_none() {
        return Err(TargetError::Setting {
            origin: origin.into(),
            key: "server".into(),
            reason: "is missing; give the URL of the API server".into(),
        });
    }
    let has_ca = tls::check_pem(
        origin,
        Material::Certificates,
        (
            "certificate-authority-data",
            cluster.certificate_authority_data.as_deref(),
        ),
        (
            "certificate-authority",
            cluster.certificate_authority.as_deref(),
        ),
    )?;
    if cluster.insecure_skip_tls_verify == Some(true) && has_ca {
        warnings.push(format!(
            "{origin}: insecure-skip-tls-verify is set: the certificate authority is not used"
        ));
    }
    Ok(())
}

/// Checks what kube would only mention without context, or leave out without a word.
pub(crate) fn check_user(info: &mut AuthInfo, origin: &str) -> Result<(), TargetError> {
    for field in [
        &mut info.client_certificate,
        &mut info.client_certificate_data,
        &mut info.client_key,
        &mut info.token_file,
        &mut info.username,
        &mut info.impersonate,
    ] {
        unset_if_empty(field);
    }
    let certificate = tls::check_pem(
        origin,
        Material::Certificates,
        (
            "client-certificate-data",
            info.client_certificate_data.as_deref(),
        ),
        ("client-certificate", info.client_certificate.as_deref()),
    )?;
    let key_data = info
        .client_key_data
        .as_ref()
        .map(|key| key.expose_secret().to_owned())
        .filter(|key| !key.is_empty());
    if key_data.is_none() {
        info.client_key_data = None;
    }
    info.token = match &info.token {
        Some(token) => sendable(token.expose_secret().trim(), origin)?,
        None => None,
    };
    let key = tls::check_pem(
        origin,
        Material::PrivateKey,
        ("client-key-data", key_data.as_deref()),
        ("client-key", info.client_key.as_deref()),
    )?;
    match (certificate, key) {
        (true, false) => Err(TargetError::Setting {
            origin: origin.into(),
            key: "client-key".into(),
            reason: "is missing beside the client certificate; give client-key or client-key-data"
                .into(),
        }),
        (false, true) => Err(TargetError::Setting {
            origin: origin.into(),
            key: "client-certificate".into(),
            reason:
                "is missing beside the client key; give client-certificate or client-certificate-data"
                    .into(),
        }),
        _ => Ok(()),
    }
}

/// kube's layer panics over a token that is no header value.
fn sendable(token: &str, origin: &str) -> Result<Option<secrecy::SecretString>, TargetError> {
    if HeaderValue::from_str(token).is_err() {
        return Err(TargetError::Setting {
            origin: origin.into(),
            key: "token".into(),
            reason:
                "cannot be sent as a header; it holds a line break or another control character"
                    .into(),
        });
    }
    Ok(Some(token)
        .filter(|token| !token.is_empty())
        .map(|token| token.to_owned().into()))
}

fn unset_if_empty(field: &mut Option<String>) {
    if field.as_deref().is_some_and(|text| text.trim().is_empty()) {
        *field = None;
    }
}

fn file_of(files: &[(PathBuf, Kubeconfig)], has: impl Fn(&Kubeconfig) -> bool) -> Option<String> {
    files
        .iter()
        .find(|(_, config)| has(config))
        .map(|(path, _)| path.display().to_string())
}

fn names_of(files: &[(PathBuf, Kubeconfig)]) -> String {
    let paths: Vec<_> = files.iter().map(|(path, _)| path.clone()).collect();
    join(&paths)
}

fn join(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    names.join(", ")
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(|name| format!("{name:?}")).collect();
    if names.is_empty() {
        "none".into()
    } else {
        names.join(", ")
    }
}

fn key_of(error: &KubeconfigError) -> &'static str {
    match error {
        KubeconfigError::ParseProxyUrl(_) => "proxy-url",
        KubeconfigError::ParseNoProxy(_) => "NO_PROXY",
        KubeconfigError::LoadCertificateAuthority(_) | KubeconfigError::ParseCertificates(_) => {
            "certificate-authority"
        }
        _ => "server",
    }
}

fn reason_of(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ParseClusterUrl(error) | KubeconfigError::ParseProxyUrl(error) => {
            format!("is not a URL ({error})")
        }
        other => other.to_string(),
    }
}
