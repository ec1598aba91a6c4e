//! TLS settings of a target. kube builds them, so that exec-provided identities and the rotating
//! authority of a pod work; what goes in is checked here first, so that a mistake has a name.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::Engine;
use kperf_load::plan::Tls;
use kube::client::ConfigExt;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};

use crate::{TargetError, credentials::Identity};

/// What a PEM has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Material {
    /// At least one certificate.
    Certificates,
    /// A private key.
    PrivateKey,
}

/// Checks a PEM given as base64 or as a file, the data winning as in kubectl. Returns whether there is one.
pub(crate) fn check_pem(
    origin: &str,
    material: Material,
    (data_key, data): (&str, Option<&str>),
    (file_key, file): (&str, Option<&str>),
) -> Result<bool, TargetError> {
    let setting = |key: &str, reason: String| TargetError::Setting {
        origin: origin.into(),
        key: key.into(),
        reason,
    };
    let (key, pem) = match (data, file) {
        (Some(data), _) => {
            let pem = base64::engine::general_purpose::STANDARD
                .decode(data)
                // The decoder's message gives a byte and its offset: of a key, even that is too much.
                .map_err(|_| setting(data_key, "is not base64; encode the PEM once".into()))?;
            (data_key, pem)
        }
        (None, Some(file)) => {
            let pem = std::fs::read(file).map_err(|source| TargetError::Read {
                origin: format!("{origin}: {file_key}"),
                path: PathBuf::from(file),
                source,
            })?;
            (file_key, pem)
        }
        (None, None) => return Ok(false),
    };
    let at = file
        .filter(|_| data.is_none())
        .map(|file| format!("{file} "))
        .unwrap_or_default();
    let (what, found) = match material {
        Material::Certificates => (
            "certificate",
            matches!(CertificateDer::pem_slice_iter(&pem).next(), Some(Ok(_)))
                && CertificateDer::pem_slice_iter(&pem).all(|certificate| certificate.is_ok()),
        ),
        Material::PrivateKey => ("private key", PrivateKeyDer::from_pem_slice(&pem).is_ok()),
    };
    if !found {
        return Err(setting(key, format!("{at}holds no {what} in PEM form")));
    }
    Ok(true)
}

/// The certificates of a PEM file, as kube takes them.
pub(crate) fn certificates(
    origin: &str,
    key: &str,
    file: &Path,
) -> Result<Vec<Vec<u8>>, TargetError> {
    let name = file.display().to_string();
    check_pem(
        origin,
        Material::Certificates,
        (key, None),
        (key, Some(&name)),
    )?;
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map(|found| found.iter().map(|der| der.as_ref().to_vec()).collect())
        .map_err(|_| TargetError::Setting {
            origin: origin.into(),
            key: key.into(),
            reason: format!("{name} holds no certificate in PEM form"),
        })
}

/// Builds the settings for `host`.
///
/// No root store of the system is read when an authority is given or nothing is verified: that costs
/// more than the rest of the start.
pub(crate) fn build(
    config: &kube::Config,
    host: &str,
    identity: Identity,
    (cluster_origin, user_origin): (&str, &str),
) -> Result<Tls, TargetError> {
    use_ring();
    let mut config = config.clone();
    if config.accept_invalid_certs && config.root_cert.is_none() {
        config.root_cert = Some(Vec::new());
    }
    if identity == Identity::FromFiles {
        // kube would run the plugin once more, only to find that it gave a token.
        config.auth_info.exec = None;
        config.auth_info.auth_provider = None;
    }
    let name = config.tls_server_name.as_deref().unwrap_or(host);
    let server_name = ServerName::try_from(name.to_owned()).map_err(|_| TargetError::Setting {
        origin: cluster_origin.into(),
        key: if config.tls_server_name.is_some() {
            "tls-server-name".into()
        } else {
            "server".into()
        },
        reason: format!("{name:?} is neither a host name nor an address"),
    })?;
    let settings = config
        .rustls_client_config()
        .map_err(|error| TargetError::Tls {
            // What is left to go wrong after the checks: a key that does not belong to its certificate,
            // a certificate that is not X.509, no usable roots on this machine.
            origin: if identity == Identity::FromFiles && config.root_cert.is_none() {
                cluster_origin.into()
            } else {
                user_origin.into()
            },
            reason: format!("{error}; check the client certificate, its key and the authority"),
        })?;
    // kube leaves out an identity that its plugin did not give; requests would be anonymous.
    if identity == Identity::FromPlugin && !settings.client_auth_cert_resolver.has_certs() {
        let command = config.auth_info.exec.and_then(|exec| exec.command);
        return Err(TargetError::Exec {
            origin: user_origin.into(),
            command: command.unwrap_or_else(|| "(no command)".into()),
            reason: "gave neither a token nor a certificate; run it by hand to see why".into(),
        });
    }
    Ok(Tls {
        config: Arc::new(settings),
        server_name,
        is_verified: !config.accept_invalid_certs,
    })
}

/// Makes ring the provider of everything that asks rustls for a default, kube's client among it. Without
/// this a second provider anywhere in the build would turn the first connection into a panic.
pub(crate) fn use_ring() {
    // An error means that a provider was installed before, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
