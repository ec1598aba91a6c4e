//! The folder of a running control plane: keys, certificates, kubeconfigs, data and logs.

use std::{
    hash::{BuildHasher as _, RandomState},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::{
    authority::{Authority, signing_key_pem},
    kubeconfig::{Access, Target, write_private},
    kubevirt,
};

/// The files that components are pointed at; removed with the value.
pub(crate) struct Files {
    folder: TempDir,
    authority: Authority,
    token: String,
}

impl Files {
    /// Makes the folder and everything in it that does not depend on a port.
    pub(crate) fn create(kubevirt: bool) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("kperf-control-plane-")
            .tempdir()
            .context("a temporary folder")?;
        let files = Self {
            folder,
            authority: Authority::new()?,
            token: secret(),
        };
        let server = files.authority.server()?;
        let mut stages =
            include_str!("stages.yaml").replace("POD_LOG", &files.pod_log().display().to_string());
        if kubevirt {
            stages.push_str("---\n");
            stages.push_str(kubevirt::STAGES);
        }
        let pod_log: String = (0..200)
            .map(|line| {
                format!("2026-01-01T00:00:00.{line:09}Z stdout F line {line} of a virtual pod\n")
            })
            .collect();
        let (service_account_key, service_account_public_key) = signing_key_pem()?;
        for (path, text) in [
            (files.ca(), files.authority.certificate_pem()),
            (files.server_certificate(), &server.certificate_pem),
            (files.server_key(), &server.key_pem),
            (files.service_account_key(), &service_account_key),
            (
                files.service_account_public_key(),
                &service_account_public_key,
            ),
            (files.stages(), &stages),
            (files.pod_log(), &pod_log),
            (
                files.tokens(),
                &format!("{},kperf-token,kperf-token,system:masters\n", files.token),
            ),
        ] {
            write_private(&path, text)?;
        }
        Ok(files)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.file("ca.crt")
    }

    pub(crate) fn server_certificate(&self) -> PathBuf {
        self.file("server.crt")
    }

    pub(crate) fn server_key(&self) -> PathBuf {
        self.file("server.key")
    }

    pub(crate) fn service_account_key(&self) -> PathBuf {
        self.file("service-account.key")
    }

    pub(crate) fn service_account_public_key(&self) -> PathBuf {
        self.file("service-account.pub")
    }

    pub(crate) fn tokens(&self) -> PathBuf {
        self.file("tokens.csv")
    }

    /// What every container of a virtual pod has logged.
    fn pod_log(&self) -> PathBuf {
        self.file("pod.log")
    }

    pub(crate) fn stages(&self) -> PathBuf {
        self.file("stages.yaml")
    }

    /// The kubeconfig of a user; written by [`Self::write_kubeconfig`].
    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.file(&format!("{}.kubeconfig", user.replace(['/', ':'], "-")))
    }

    /// The token of an administrator.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// How a user gets in: with a fresh certificate.
    pub(crate) fn target(&self, url: &str, user: &str, groups: &[&str]) -> anyhow::Result<Target> {
        Ok(Target {
            url: url.to_owned(),
            ca_pem: self.authority.certificate_pem().to_owned(),
            access: Access::Certificate(self.authority.client(user, groups)?),
        })
    }

    /// How the administrator gets in with a token.
    pub(crate) fn token_target(&self, url: &str) -> Target {
        Target {
            url: url.to_owned(),
            ca_pem: self.authority.certificate_pem().to_owned(),
            access: Access::Token(self.token.clone()),
        }
    }

    /// Writes the kubeconfig of a user with a fresh certificate.
    pub(crate) fn write_kubeconfig(
        &self,
        url: &str,
        user: &str,
        groups: &[&str],
    ) -> anyhow::Result<PathBuf> {
        let path = self.kubeconfig(user);
        self.target(url, user, groups)?.write(&path)?;
        Ok(path)
    }
}

/// Random enough for a server that only loopback reaches.
fn secret() -> String {
    let random = RandomState::new();
    format!("{:016x}{:016x}", random.hash_one(0), random.hash_one(1))
}
