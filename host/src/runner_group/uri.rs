//! Where spec files are: kperf's `file://` and `configmap://`, and plain paths.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, anyhow};
use kperf_cluster::api::Cluster;
use percent_encoding::percent_decode_str;

use crate::profile::{self, GroupFile};

/// Where a spec file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecUri {
    /// On this machine.
    File(PathBuf),
    /// In the cluster.
    ConfigMap {
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
        /// The key that holds the file.
        key: String,
    },
}

/// Why a text says not where a spec file is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecUriError {
    /// Another scheme; in kperf's words.
    #[error(
        "unsupported RunnerGroupSpec's URI scheme: {0}; write a path, file:///ABSOLUTE/PATH or configmap://NAME?namespace=…&specName=…"
    )]
    Scheme(String),
    /// A relative path after `file://`.
    #[error(
        "{0}: `file://` is followed by an absolute path, as in file:///home/me/group.yaml; a relative path goes without `file://`"
    )]
    Relative(String),
    /// No name.
    #[error(
        "{0}: a ConfigMap needs a name, as in configmap://NAME?namespace=default&specName=spec"
    )]
    NoName(String),
    /// A parameter of another name.
    #[error("{uri}: unknown parameter {parameter}; there are namespace and specName")]
    Parameter {
        /// The whole.
        uri: String,
        /// What is unknown.
        parameter: String,
    },
    /// Nothing at all.
    #[error("the URI of the runner group is empty")]
    Empty,
}

impl FromStr for SpecUri {
    type Err = SpecUriError;

    fn from_str(text: &str) -> Result<Self, SpecUriError> {
        if text.is_empty() {
            return Err(SpecUriError::Empty);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::File(text.into()));
        };
        match scheme {
            "file" if Path::new(rest).is_absolute() => Ok(Self::File(decoded(rest).into())),
            "file" => Err(SpecUriError::Relative(text.to_owned())),
            "configmap" => {
                let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
                let name = name.trim_end_matches('/');
                if name.is_empty() {
                    return Err(SpecUriError::NoName(text.to_owned()));
                }
                let (mut namespace, mut key) = ("default".to_owned(), "spec".to_owned());
                for pair in query.split('&').filter(|pair| !pair.is_empty()) {
                    let (parameter, value) = pair.split_once('=').unwrap_or((pair, ""));
                    match parameter {
                        "namespace" => namespace = decoded(value),
                        "specName" => key = decoded(value),
                        _ => {
                            return Err(SpecUriError::Parameter {
                                uri: text.to_owned(),
                                parameter: parameter.to_owned(),
                            });
                        }
                    }
                }
                Ok(Self::ConfigMap {
                    name: decoded(name),
                    namespace,
                    key,
                })
            }
            _ => Err(SpecUriError::Scheme(scheme.to_owned())),
        }
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

impl SpecUri {
    /// A name for a group that has none in its file: that of the file or ConfigMap, as far as it can be one.
    #[must_use]
    pub fn default_name(&self) -> String {
        let stem = match self {
            Self::File(path) => path
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
                .unwrap_or_default(),
            Self::ConfigMap { name, .. } => name.clone(),
        };
        let mut name: String = stem
            .to_lowercase()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .skip_while(|c| !c.is_ascii_alphabetic())
            .take(40)
            .collect();
        name.truncate(name.trim_end_matches('-').len());
        if name.is_empty() {
            name.push_str("group");
        }
        name
    }

    /// Reads the file. A ConfigMap needs a cluster.
    ///
    /// # Errors
    /// It is not there, or is not a spec file.
    pub async fn read(
        &self,
        cluster: Option<&Cluster>,
        lenient: bool,
    ) -> anyhow::Result<GroupFile> {
        let (text, file) = match self {
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read --runnergroup {}", path.display()))?;
                (text, path.clone())
            }
            Self::ConfigMap {
                name,
                namespace,
                key,
            } => {
                let place = format!("ConfigMap {name} in {namespace}");
                let cluster = cluster.with_context(|| {
                    format!("{place}: a cluster is needed to read it; give --kubeconfig")
                })?;
                let object = async {
                    let config_maps = cluster.kind("v1", "ConfigMap").await?;
                    cluster.get(&config_maps, namespace, name).await
                };
                let object = object
                    .await
                    .map_err(|failure| anyhow!("{place}: {failure}"))?;
                let text = object["data"][key].as_str().ok_or_else(|| {
                    let keys: Vec<&str> = object["data"]
                        .as_object()
                        .into_iter()
                        .flat_map(|data| data.keys().map(String::as_str))
                        .collect();
                    anyhow!(
                        "{place} has no key {key:?} (specName); it has {}",
                        keys.join(", ")
                    )
                })?;
                (text.to_owned(), PathBuf::from(format!("{name}:{key}")))
            }
        };
        Ok(profile::group(&text, &file, lenient)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_kperfs() {
        let file = |text: &str| SpecUri::File(text.into());
        for (text, expected) in [
            ("group.yaml", file("group.yaml")),
            ("/tmp/group.yaml", file("/tmp/group.yaml")),
            ("file:///tmp/a%20b.yaml", file("/tmp/a b.yaml")),
            (
                "configmap://lists",
                SpecUri::ConfigMap {
                    name: "lists".to_owned(),
                    namespace: "default".to_owned(),
                    key: "spec".to_owned(),
                },
            ),
            (
                "configmap://lists?namespace=load&specName=spec.yaml",
                SpecUri::ConfigMap {
                    name: "lists".to_owned(),
                    namespace: "load".to_owned(),
                    key: "spec.yaml".to_owned(),
                },
            ),
        ] {
            assert_eq!(text.parse::<SpecUri>().unwrap(), expected, "{text}");
        }
        for (text, expected) in [
            ("", "empty"),
            ("http://x", "unsupported RunnerGroupSpec's URI scheme: http"),
            ("file://group.yaml", "absolute path"),
            ("configmap://", "needs a name"),
            ("configmap://a?name=b", "unknown parameter name"),
        ] {
            let error = text.parse::<SpecUri>().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_group_is_called_as_its_file() {
        for (text, expected) in [
            ("/x/Mixed_lists.yaml", "mixed-lists"),
            ("10-pods.yaml", "pods"),
            ("configmap://spec", "spec"),
            ("___.yaml", "group"),
        ] {
            assert_eq!(text.parse::<SpecUri>().unwrap().default_name(), expected);
        }
    }
}
