//! Who may talk to the server: a certificate authority made at start, a bearer token, a client certificate.

use std::{fmt, net::IpAddr, sync::Arc};

use http::{HeaderMap, header::AUTHORIZATION};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

use crate::{SimError, faults::mix};

/// What clients need to get in. Debug shows none of it.
pub(crate) struct Credentials {
    pub(crate) ca_pem: String,
    pub(crate) token: String,
    pub(crate) client_cert_pem: String,
    pub(crate) client_key_pem: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Who a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    Admin,
    Anonymous,
}

impl Credentials {
    /// Makes the authority, and certificates for the server (loopback and the address it listens on)
    /// and for one client.
    pub(crate) fn generate(listen: IpAddr) -> Result<(Self, ServerConfig), SimError> {
        let ca_key = KeyPair::generate()?;
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name = common_name("kperf-sim-ca");
        ca.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let ca_cert = ca.self_signed(&ca_key)?;
        let issuer = Issuer::from_params(&ca, &ca_key);

        let mut server =
            CertificateParams::new(vec!["localhost".to_owned(), "kubernetes".to_owned()])?;
        server.distinguished_name = common_name("kube-apiserver");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for address in [
            IpAddr::from([127, 0, 0, 1]),
            IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1u16]),
            listen,
        ] {
            if !address.is_unspecified() {
                server.subject_alt_names.push(SanType::IpAddress(address));
            }
        }
        let server_key = KeyPair::generate()?;
        let server_cert = server.signed_by(&server_key, &issuer)?;

        let mut client = CertificateParams::default();
        let mut name = common_name("kubernetes-admin");
        name.push(DnType::OrganizationName, "system:masters");
        client.distinguished_name = name;
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let client_key = KeyPair::generate()?;
        let client_cert = client.signed_by(&client_key, &issuer)?;

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(ca_cert.der().clone())?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .map_err(|e| SimError::Credentials(e.to_string()))?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![server_cert.der().clone()], key)?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

        let credentials = Self {
            ca_pem: ca_cert.pem(),
            token: token(&client_key),
            client_cert_pem: client_cert.pem(),
            client_key_pem: client_key.serialize_pem(),
        };
        Ok((credentials, tls))
    }

    /// The identity behind a request.
    ///
    /// # Errors
    /// `()` for credentials that are wrong, which is a 401.
    pub(crate) fn identify(
        &self,
        headers: &HeaderMap,
        client_certificate: bool,
    ) -> Result<Identity, ()> {
        let Some(value) = headers.get(AUTHORIZATION) else {
            return Ok(if client_certificate {
                Identity::Admin
            } else {
                Identity::Anonymous
            });
        };
        let value = value.as_bytes();
        let Some((scheme, token)) = value.split_at_checked(7) else {
            return Err(());
        };
        if scheme.eq_ignore_ascii_case(b"bearer ") && same(token, self.token.as_bytes()) {
            Ok(Identity::Admin)
        } else {
            Err(())
        }
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut out = DistinguishedName::new();
    out.push(DnType::CommonName, name);
    out
}

/// A token nobody can guess: derived from a private key that was just made.
fn token(key: &KeyPair) -> String {
    let mut words = [1u64, 2, 3, 4];
    for (i, byte) in key.serialized_der().iter().enumerate() {
        if let Some(word) = words.get_mut(i % 4) {
            *word = mix(*word ^ u64::from(*byte));
        }
    }
    words
        .iter()
        .fold("sim-".to_owned(), |text, word| format!("{text}{word:016x}"))
}

/// Comparison whose time does not depend on where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_certificates_and_neither() {
        let (credentials, _) = Credentials::generate(IpAddr::from([127, 0, 0, 1])).unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(
            credentials.identify(&headers, false),
            Ok(Identity::Anonymous)
        );
        assert_eq!(credentials.identify(&headers, true), Ok(Identity::Admin));
        headers.insert(
            AUTHORIZATION,
            format!("Bearer {}", credentials.token).parse().unwrap(),
        );
        assert_eq!(credentials.identify(&headers, false), Ok(Identity::Admin));
        for wrong in ["Bearer x", "Basic eDp5", "x", ""] {
            headers.insert(AUTHORIZATION, wrong.parse().unwrap());
            assert_eq!(credentials.identify(&headers, true), Err(()), "{wrong}");
        }
        assert!(!format!("{credentials:?}").contains(&credentials.token));
    }
}
