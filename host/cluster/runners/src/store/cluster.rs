//! A store of ConfigMaps. All of them were made with the group: a runner's account may get and patch these, by name, and
//! create, list or delete nothing.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kperf_cluster::api::{ApiFailure, Cluster, Code, PatchType, Resource, once, patiently};
use kperf_load::Stop;
use serde_json::{Value, json};

use super::{Proposed, StoreError};
use crate::{
    mail::{Mail, Start},
    objects::{RUNNER_STATE_LABEL, mailbox, mailbox_part, start_object},
    status::indexes,
};

/// A server that takes longer to say what time it is says nothing about it.
const CLOCK_WITHIN: Duration = Duration::from_secs(2);

/// ConfigMaps of one group.
#[derive(Clone, Debug)]
pub struct ClusterStore {
    cluster: Cluster,
    namespace: String,
    group: String,
    stop: Stop,
}

impl ClusterStore {
    /// Of a group. `stop` ends the tries of what fails.
    #[must_use]
    pub fn new(cluster: Cluster, namespace: &str, group: &str, stop: Stop) -> Self {
        Self {
            cluster,
            namespace: namespace.to_owned(),
            group: group.to_owned(),
            stop,
        }
    }

    /// The same with something else that ends the tries: what is left to say is said even when the run was stopped.
    #[must_use]
    pub fn stopped_by(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// None when the server does not say, or not soon: nobody waits long for that.
    pub(super) async fn clock_ahead_ms(&self) -> Option<i64> {
        match once(CLOCK_WITHIN, self.cluster.clock_ahead_ms()).await {
            Ok(asked) => asked.flatten(),
            Err(failure) => {
                tracing::debug!("the server's clock is not known: {failure}");
                None
            }
        }
    }

    async fn kind(&self, api_version: &str, kind: &str) -> Result<Arc<Resource>, ApiFailure> {
        patiently(&self.stop, || self.cluster.kind(api_version, kind)).await
    }

    async fn get(&self, name: &str) -> Result<Value, StoreError> {
        let read = async {
            let config_maps = self.kind("v1", "ConfigMap").await?;
            patiently(&self.stop, || {
                self.cluster.get(&config_maps, &self.namespace, name)
            })
            .await
        };
        read.await.map_err(|failure| {
            let what = format!("reading ConfigMap {name}");
            match failure.code {
                Code::NotFound => StoreError::of_one(what, failure),
                _ => StoreError::new(what, failure),
            }
        })
    }

    async fn patch(&self, name: &str, patch: &Value) -> Result<(), ApiFailure> {
        let config_maps = self.kind("v1", "ConfigMap").await?;
        patiently(&self.stop, || {
            self.cluster.patch(
                &config_maps,
                &self.namespace,
                name,
                "",
                PatchType::Merge,
                patch.to_string(),
            )
        })
        .await
        .map(drop)
    }

    pub(super) async fn post(
        &self,
        runner: u32,
        mail: &Mail,
        first_part: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let name = mailbox(&self.group, runner);
        let mut patch = json!({
            "metadata": {"labels": {RUNNER_STATE_LABEL: mail.state.as_str()}},
            "data": {"mail": text(mail)},
        });
        if let Some(part) = first_part {
            patch["binaryData"] = json!({"gz": STANDARD.encode(part)});
        }
        self.patch(&name, &patch)
            .await
            .map_err(|failure| StoreError::new(format!("writing ConfigMap {name}"), failure))
    }

    pub(super) async fn mail(&self, runner: u32) -> Result<Option<Mail>, StoreError> {
        let name = mailbox(&self.group, runner);
        parsed(&name, &self.get(&name).await?["data"]["mail"])
    }

    /// The mail, and the part of the report in the same object, if there is one.
    pub(super) async fn mail_and_part(
        &self,
        runner: u32,
    ) -> Result<Option<(Mail, Option<Vec<u8>>)>, StoreError> {
        let name = mailbox(&self.group, runner);
        let object = self.get(&name).await?;
        let Some(mail) = parsed(&name, &object["data"]["mail"])? else {
            return Ok(None);
        };
        let part = match &object["binaryData"]["gz"] {
            Value::Null => None,
            _ => Some(part(&name, &object)?),
        };
        Ok(Some((mail, part)))
    }

    pub(crate) async fn start(&self) -> Result<Option<Start>, StoreError> {
        let name = start_object(&self.group);
        parsed(&name, &self.get(&name).await?["data"]["start"])
    }

    pub(super) async fn propose(
        &self,
        start: &Start,
        within: Duration,
    ) -> Result<Proposed, StoreError> {
        let name = start_object(&self.group);
        let (cluster, namespace) = (&self.cluster, &self.namespace);
        let proposing = async {
            let config_maps = cluster.kind("v1", "ConfigMap").await?;
            let object = cluster.get(&config_maps, namespace, &name).await?;
            if !object["data"]["start"].is_null() {
                return Ok(Proposed::Another);
            }
            // Only if nobody wrote it meanwhile.
            let patch = json!({
                "metadata": {"resourceVersion": object["metadata"]["resourceVersion"]},
                "data": {"start": text(start)},
            });
            let patch = patch.to_string();
            let patched =
                cluster.patch(&config_maps, namespace, &name, "", PatchType::Merge, patch);
            match patched.await {
                Ok(_) => Ok(Proposed::Written),
                Err(failure) if failure.code == Code::Conflict => Ok(Proposed::Another),
                Err(failure) => Err(failure),
            }
        };
        match once(within, proposing).await {
            Ok(proposed) => Ok(proposed.unwrap_or(Proposed::Unheard)),
            Err(failure) => Err(StoreError::new(
                format!("writing ConfigMap {name}"),
                failure,
            )),
        }
    }

    pub(super) async fn dead(&self) -> Result<BTreeSet<u32>, StoreError> {
        let read = async {
            let jobs = self.kind("batch/v1", "Job").await?;
            patiently(&self.stop, || {
                self.cluster.get(&jobs, &self.namespace, &self.group)
            })
            .await
        };
        let job = read
            .await
            .map_err(|failure| StoreError::new(format!("reading Job {}", self.group), failure))?;
        Ok(indexes(
            job["status"]["failedIndexes"].as_str().unwrap_or_default(),
        ))
    }

    pub(super) async fn deliver(
        &self,
        runner: u32,
        mail: &Mail,
        parts: &[Vec<u8>],
    ) -> Result<(), StoreError> {
        // The last word is the mail's, so that who reads `done` finds everything.
        for (part, bytes) in parts.iter().enumerate().skip(1) {
            let name = mailbox_part(&self.group, runner, part);
            let patch = json!({"binaryData": {"gz": STANDARD.encode(bytes)}});
            self.patch(&name, &patch)
                .await
                .map_err(|failure| StoreError::new(format!("writing ConfigMap {name}"), failure))?;
        }
        let first = parts.first().map(Vec::as_slice).unwrap_or_default();
        self.post(runner, mail, Some(first)).await
    }

    /// All parts; the first one is not fetched again where it is known.
    pub(super) async fn packed(
        &self,
        runner: u32,
        parts: u32,
        first_part: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, StoreError> {
        let known = usize::from(first_part.is_some());
        let mut packed = first_part.unwrap_or_default();
        for number in known..parts as usize {
            let name = mailbox_part(&self.group, runner, number);
            packed.extend(part(&name, &self.get(&name).await?)?);
        }
        Ok(packed)
    }
}

fn part(name: &str, object: &Value) -> Result<Vec<u8>, StoreError> {
    let text = object["binaryData"]["gz"].as_str().unwrap_or_default();
    STANDARD
        .decode(text)
        .map_err(|error| StoreError::of_one(format!("reading ConfigMap {name}"), error))
}

fn text(value: &impl serde::Serialize) -> String {
    // Texts and numbers: nothing that JSON cannot express.
    serde_json::to_string(value).unwrap_or_default()
}

fn parsed<T: serde::de::DeserializeOwned>(
    name: &str,
    value: &Value,
) -> Result<Option<T>, StoreError> {
    value
        .as_str()
        .map(serde_json::from_str)
        .transpose()
        .map_err(|error| StoreError::of_one(format!("reading ConfigMap {name}"), error))
}
