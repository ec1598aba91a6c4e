//! Kubeconfigs: those written for the fixture's own cluster, and as much of others as the fixture reads.

use std::{
    fmt,
    fs::{self, File},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::authority::Identity;

/// The name of cluster, user and context in every kubeconfig written here.
pub(crate) const NAME: &str = "kperf-control-plane";

/// What a client shows to be let in.
#[derive(Clone)]
pub(crate) enum Access {
    Certificate(Identity),
    Token(String),
}

/// What is needed to talk to an API server.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) ca_pem: String,
    pub(crate) access: Access,
}

/// A kubeconfig that is in order, but asks for what the fixture's client does not do.
#[derive(Debug)]
pub struct Unsupported(String);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsupported {}

impl Target {
    /// Writes a kubeconfig readable by its owner only. It is JSON, which is YAML, and holds all it refers to.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let user = match &self.access {
            Access::Certificate(identity) => json!({
                "client-certificate-data": STANDARD.encode(&identity.certificate_pem),
                "client-key-data": STANDARD.encode(&identity.key_pem),
            }),
            Access::Token(token) => json!({ "token": token }),
        };
        let document = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": NAME,
            "clusters": [{
                "name": NAME,
                "cluster": {
                    "server": self.url,
                    "certificate-authority-data": STANDARD.encode(&self.ca_pem),
                },
            }],
            "users": [{ "name": NAME, "user": user }],
            "contexts": [{ "name": NAME, "context": { "cluster": NAME, "user": NAME } }],
        });
        write_private(path, &format!("{document:#}\n"))
    }

    /// The server of a kubeconfig's current context, however one gets in there.
    pub(crate) fn url_of(path: &Path) -> anyhow::Result<String> {
        let document = parse(path)?;
        let context = entry(&document, "context", &document["current-context"])?;
        let cluster = entry(&document, "cluster", &context["cluster"])?;
        let url = cluster["server"].as_str().context("a cluster's server")?;
        Ok(url.to_owned())
    }

    /// Reads the current context of a kubeconfig with a certificate or a token.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let document = parse(path)?;
        let context = entry(&document, "context", &document["current-context"])?;
        let cluster = entry(&document, "cluster", &context["cluster"])?;
        let user = entry(&document, "user", &context["user"])?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let url = cluster["server"].as_str().context("a cluster's server")?;
        let access = if let Some(token) = user["token"].as_str() {
            Access::Token(token.to_owned())
        } else if let Some(certificate_pem) = pem(user, "client-certificate", folder)? {
            Access::Certificate(Identity {
                certificate_pem,
                key_pem: pem(user, "client-key", folder)?.context("client-key")?,
            })
        } else {
            bail!(Unsupported(format!(
                "{} has neither a token nor a client certificate (exec plugins and the like are not supported here)",
                path.display()
            )));
        };
        let Some(ca_pem) = pem(cluster, "certificate-authority", folder)? else {
            bail!(Unsupported(format!(
                "{} names no certificate-authority (those of the system are not supported here)",
                path.display()
            )));
        };
        Ok(Self {
            url: url.to_owned(),
            ca_pem,
            access,
        })
    }
}

/// Writes a file that nobody else may read.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = File::options();
    options.create(true).write(true).truncate(true).mode(0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| path.display().to_string())
}

fn parse(path: &Path) -> anyhow::Result<Value> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_yaml::from_str(&text).with_context(|| path.display().to_string())
}

/// `clusters[name].cluster` and its siblings.
fn entry<'a>(document: &'a Value, kind: &str, name: &Value) -> anyhow::Result<&'a Value> {
    document[format!("{kind}s")]
        .as_array()
        .into_iter()
        .flatten()
        .find(|entry| entry["name"] == *name)
        .map(|entry| &entry[kind])
        .with_context(|| format!("the kubeconfig has no {kind} {name}"))
}

/// `KEY-data` decoded, or the file that `KEY` names.
fn pem(from: &Value, key: &str, folder: &Path) -> anyhow::Result<Option<String>> {
    if let Some(data) = from[format!("{key}-data")].as_str() {
        let bytes = STANDARD.decode(data).context(key.to_owned())?;
        return Ok(Some(String::from_utf8(bytes)?));
    }
    from[key]
        .as_str()
        .map(|file| fs::read_to_string(folder.join(file)).context(key.to_owned()))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let identity = Identity {
            certificate_pem: "certificate".into(),
            key_pem: "key".into(),
        };
        let target = Target {
            url: "https://127.0.0.1:1".into(),
            ca_pem: "authority".into(),
            access: Access::Certificate(identity),
        };
        target.write(&path).unwrap();
        let read = Target::read(&path).unwrap();
        assert_eq!((read.url, read.ca_pem), (target.url, target.ca_pem));
        assert!(matches!(read.access, Access::Certificate(it) if it.key_pem == "key"));
    }

    #[test]
    fn files_are_found_beside_the_kubeconfig() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs::write(folder.path().join("ca.pem"), "authority").unwrap();
        fs::write(
            &path,
            "current-context: here\n\
             contexts: [{name: here, context: {cluster: one, user: me}}]\n\
             clusters: [{name: one, cluster: {server: 'https://[::1]:1', certificate-authority: ca.pem}}]\n\
             users: [{name: me, user: {token: secret}}]\n",
        )
        .unwrap();
        let read = Target::read(&path).unwrap();
        assert_eq!(read.ca_pem, "authority");
        assert!(matches!(read.access, Access::Token(token) if token == "secret"));
    }

    #[test]
    fn what_is_not_supported_is_told_from_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let why = |cluster: &str, user: &str| {
            let text = format!(
                "current-context: here\n\
                 contexts: [{{name: here, context: {{cluster: one, user: me}}}}]\n\
                 clusters: [{{name: one, cluster: {cluster}}}]\n\
                 users: [{{name: me, user: {user}}}]\n"
            );
            fs::write(&path, text).unwrap();
            Target::read(&path).map(|_| ()).unwrap_err()
        };
        let exec = why(
            "{server: 'https://[::1]:1', certificate-authority-data: YQ==}",
            "{exec: {command: login}}",
        );
        assert!(exec.is::<Unsupported>() && exec.to_string().contains("exec plugins"));
        let system = why("{server: 'https://example.com'}", "{token: secret}");
        assert!(system.is::<Unsupported>() && system.to_string().contains("of the system"));
        let gone = why(
            "{server: 'https://[::1]:1', certificate-authority: none.pem}",
            "{token: secret}",
        );
        assert!(!gone.is::<Unsupported>(), "{gone:#}");
    }
}
