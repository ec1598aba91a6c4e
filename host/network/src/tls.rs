//! Certificates made for one run: its own authority, one certificate for the orchestrator, one that all workers share.
//! Who holds none of this run is not spoken to, on either side.
//!
//! The authority signs these two and nothing else ever, and only one of them is for a server. So the orchestrator has
//! one fixed name in its certificate, and workers ask for that name, by whatever address they reach it: a cluster's
//! DNS, an address, a forwarded port.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use crate::error::NetworkError;

const AUTHORITY: &str = "ca.pem";
const ORCHESTRATOR: &str = "orchestrator";
/// The orchestrator's name in its certificate; nobody resolves it.
const SERVER_NAME: &str = "orchestrator.kperf-host";
const WORKER: &str = "worker";

/// Certificates of a run, in a directory: `ca.pem`, `orchestrator.pem`, `orchestrator.key`, `worker.pem`,
/// `worker.key`. A worker needs `ca.pem` and its own two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunCertificates {
    directory: PathBuf,
}

impl RunCertificates {
    /// Makes the certificates of a run. The authority's key is not kept: nobody can join the run with a certificate
    /// made later.
    ///
    /// # Errors
    /// A directory that cannot be written.
    pub fn create(directory: &Path) -> Result<Self, NetworkError> {
        let failed = |reason: String| NetworkError::Certificates {
            path: directory.to_owned(),
            reason,
        };
        let pems = make().map_err(|error| failed(error.to_string()))?;
        fs::create_dir_all(directory).map_err(|error| failed(error.to_string()))?;
        for (name, pem) in pems {
            write_owner_only(&directory.join(&name), &pem)
                .map_err(|error| failed(format!("{name}: {error}")))?;
        }
        Ok(Self::in_directory(directory))
    }

    /// The certificates that are in a directory; read when they are used.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// Where they are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, NetworkError> {
        let path = self.directory.join(name);
        fs::read(&path).map_err(|error| NetworkError::Certificates {
            path,
            reason: error.to_string(),
        })
    }

    fn identity(&self, of: &str) -> Result<Identity, NetworkError> {
        let certificate = self.read(&format!("{of}.pem"))?;
        Ok(Identity::from_pem(
            certificate,
            self.read(&format!("{of}.key"))?,
        ))
    }

    pub(crate) fn server(&self) -> Result<ServerTlsConfig, NetworkError> {
        Ok(ServerTlsConfig::new()
            .identity(self.identity(ORCHESTRATOR)?)
            .client_ca_root(Certificate::from_pem(self.read(AUTHORITY)?)))
    }

    pub(crate) fn client(&self) -> Result<ClientTlsConfig, NetworkError> {
        Ok(ClientTlsConfig::new()
            .identity(self.identity(WORKER)?)
            .ca_certificate(Certificate::from_pem(self.read(AUTHORITY)?))
            .domain_name(SERVER_NAME))
    }
}

fn make() -> Result<Vec<(String, String)>, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::new())?;
    authority
        .distinguished_name
        .push(DnType::CommonName, "kperf network run");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let certificate = authority.self_signed(&key)?;
    let issuer = Issuer::new(authority, key);
    let mut pems = vec![(AUTHORITY.to_owned(), certificate.pem())];
    for (name, names, usage) in [
        (
            ORCHESTRATOR,
            vec![SERVER_NAME.to_owned()],
            ExtendedKeyUsagePurpose::ServerAuth,
        ),
        (WORKER, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth),
    ] {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        pems.push((
            format!("{name}.pem"),
            params.signed_by(&key, &issuer)?.pem(),
        ));
        pems.push((format!("{name}.key"), key.serialize_pem()));
    }
    Ok(pems)
}

fn write_owner_only(path: &Path, text: &str) -> std::io::Result<()> {
    // A file that is there keeps its mode, so it goes first.
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?
        .write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_the_owner_reads_them_and_a_second_run_has_others() {
        let directory = tempfile::tempdir().unwrap();
        let read = || {
            RunCertificates::create(directory.path()).unwrap();
            let mut files: Vec<_> = fs::read_dir(directory.path())
                .unwrap()
                .map(|entry| {
                    let entry = entry.unwrap();
                    let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                    (entry.file_name(), mode, fs::read(entry.path()).unwrap())
                })
                .collect();
            files.sort();
            files
        };
        let first = read();
        assert_eq!(first.len(), 5);
        assert!(first.iter().all(|(_, mode, _)| *mode == 0o600));
        let second = read();
        assert!(first.iter().zip(&second).all(|(a, b)| a.2 != b.2));
    }

    #[test]
    fn missing_files_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let error = RunCertificates::in_directory(directory.path())
            .server()
            .unwrap_err();
        assert!(error.to_string().contains("orchestrator.pem"), "{error}");
    }
}
