//! Results on their way through the API: compressed, in parts, one ConfigMap each.
//!
//! `PREFIX` says how far the run is (`state`, `message`) and, once there are results, how many parts and bytes they
//! have and their digest; `PREFIX-0`, `PREFIX-1`, … hold the parts (`gz`). The parts are written first, so that who reads
//! `done` finds them. A ConfigMap holds 1 MiB at most; all of them together hold about 22 MB compressed, which is some
//! 200 MB of tools' output.

use std::{fmt, str::FromStr, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kperf_cluster::{
    api::{ApiFailure, Cluster, Code, PatchType},
    parcel::{self, PART_BYTES, Parcel},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::error::LaunchError;

/// Name of the first ConfigMap, and the beginning of the others'.
pub(crate) const PREFIX: &str = "kperf-results";
/// Made beforehand for every run.
const PARTS: usize = 32;
/// How often something is asked for again.
const TRIES: u32 = 10;
/// Before it is.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest message kept, bytes.
const MAX_MESSAGE_BYTES: usize = 4096;

/// Names of all ConfigMaps.
pub(crate) fn names(prefix: &str) -> Vec<String> {
    let parts = (0..PARTS).map(|part| format!("{prefix}-{part}"));
    std::iter::once(prefix.to_owned()).chain(parts).collect()
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The orchestrator has not said anything yet.
    #[default]
    Starting,
    /// It is at work.
    Running,
    /// All that could be measured is measured; there are results.
    Done,
    /// It came to nothing; there may be results of a part.
    Failed,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    fn of(text: &str) -> Self {
        [Self::Running, Self::Done, Self::Failed]
            .into_iter()
            .find(|state| state.as_str() == text)
            .unwrap_or_default()
    }
}

/// Where results go: `kube:NAMESPACE/PREFIX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultsTarget {
    /// Namespace of the ConfigMaps.
    pub namespace: String,
    /// Name of the first.
    pub prefix: String,
}

/// A text that is no [`ResultsTarget`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} says not where results go; write kube:NAMESPACE/PREFIX")]
pub struct ParseTargetError(String);

impl FromStr for ResultsTarget {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, ParseTargetError> {
        text.strip_prefix("kube:")
            .and_then(|rest| rest.split_once('/'))
            .filter(|(namespace, prefix)| {
                !namespace.is_empty() && !prefix.is_empty() && !prefix.contains('/')
            })
            .map(|(namespace, prefix)| Self {
                namespace: namespace.to_owned(),
                prefix: prefix.to_owned(),
            })
            .ok_or_else(|| ParseTargetError(text.chars().take(200).collect()))
    }
}

impl fmt::Display for ResultsTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kube:{}/{}", self.namespace, self.prefix)
    }
}

/// Results that could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The API server refused or was away; doing it again may help.
    #[error("the results cannot be written to the cluster: {0}")]
    Api(#[from] ApiFailure),
    /// They do not fit.
    #[error(
        "the results have {bytes} bytes when compressed, and {most} can go through the cluster; measure fewer pairs"
    )]
    TooLarge {
        /// Compressed.
        bytes: usize,
        /// Most that fits.
        most: usize,
    },
}

/// Whether results fit into the ConfigMaps.
#[must_use]
pub fn fits(results: &[u8]) -> bool {
    Parcel::pack(results).parts.len() <= PARTS
}

/// The orchestrator's side. Needs `patch` on the ConfigMaps, by name, and nothing else.
#[derive(Clone, Debug)]
pub struct Publisher {
    cluster: Cluster,
    target: ResultsTarget,
}

impl Publisher {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(cluster: Cluster, target: ResultsTarget) -> Self {
        Self { cluster, target }
    }

    /// Says what is being done, for people.
    ///
    /// # Errors
    /// See [`PublishError`], as for all of these.
    pub async fn progress(&self, message: &str) -> Result<(), PublishError> {
        self.say(State::Running, message, json!({})).await
    }

    /// Ends the run: with results, or with what is wrong and perhaps results of a part. When the API server is away it
    /// is tried again, for some ten seconds for each part.
    ///
    /// # Errors
    /// Results that do not fit: then this is said instead, and the run has failed.
    pub async fn finish(
        &self,
        state: State,
        message: &str,
        results: Option<&[u8]>,
    ) -> Result<(), PublishError> {
        let Some(results) = results else {
            return self.say(state, message, json!({})).await;
        };
        let parcel = Parcel::pack(results);
        if parcel.parts.len() > PARTS {
            let error = PublishError::TooLarge {
                bytes: parcel.packed_bytes(),
                most: PARTS * PART_BYTES,
            };
            self.say(State::Failed, &error.to_string(), json!({}))
                .await?;
            return Err(error);
        }
        for (index, part) in parcel.parts.iter().enumerate() {
            let name = format!("{}-{index}", self.target.prefix);
            self.patch(&name, json!({"binaryData": {"gz": STANDARD.encode(part)}}))
                .await?;
        }
        let about = json!({
            "parts": parcel.parts.len().to_string(),
            "bytes": results.len().to_string(),
            "sha256": parcel.sha256,
        });
        self.say(state, message, about).await
    }

    async fn say(&self, state: State, message: &str, mut data: Value) -> Result<(), PublishError> {
        let end = message.floor_char_boundary(MAX_MESSAGE_BYTES);
        data["state"] = json!(state.as_str());
        data["message"] = json!(&message[..end]);
        self.patch(&self.target.prefix, json!({"data": data})).await
    }

    async fn patch(&self, name: &str, patch: Value) -> Result<(), PublishError> {
        let patch = patch.to_string();
        // A merge patch says the same however often it is said.
        again(|| async {
            let config_maps = self.cluster.kind("v1", "ConfigMap").await?;
            let namespace = &self.target.namespace;
            self.cluster
                .patch(
                    &config_maps,
                    namespace,
                    name,
                    "",
                    PatchType::Merge,
                    patch.clone(),
                )
                .await
        })
        .await?;
        Ok(())
    }
}

/// What the orchestrator said last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) state: State,
    pub(crate) message: String,
    parts: usize,
    bytes: u64,
    sha256: String,
}

impl Said {
    pub(crate) fn of(config_map: &Value) -> Self {
        let text = |key: &str| config_map["data"][key].as_str().unwrap_or_default();
        Self {
            state: State::of(text("state")),
            message: text("message").to_owned(),
            parts: text("parts").parse().unwrap_or(0),
            bytes: text("bytes").parse().unwrap_or(0),
            sha256: text("sha256").to_owned(),
        }
    }

    /// Whether no more will be said.
    pub(crate) fn is_last(&self) -> bool {
        matches!(self.state, State::Done | State::Failed)
    }

    /// The launcher's side: the results, if there are some. Also after a stop, so not through the session.
    pub(crate) async fn read(
        &self,
        cluster: &Cluster,
        target: &ResultsTarget,
    ) -> Result<Option<Vec<u8>>, LaunchError> {
        if self.parts == 0 {
            return Ok(None);
        }
        let mut packed = Vec::new();
        for part in 0..self.parts.min(PARTS) {
            let name = format!("{}-{part}", target.prefix);
            let object = config_map(cluster, &target.namespace, &name)
                .await
                .map_err(LaunchError::api("reading the results"))?;
            let text = object["binaryData"]["gz"].as_str().unwrap_or_default();
            let bytes = STANDARD
                .decode(text)
                .map_err(|error| LaunchError::Results(format!("{name}: {error}")))?;
            packed.extend(bytes);
        }
        parcel::unpack(&packed, self.bytes, &self.sha256)
            .map(Some)
            .map_err(|error| LaunchError::Results(error.to_string()))
    }
}

/// A ConfigMap, asked for again when the server does not answer.
pub(crate) async fn config_map(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
) -> Result<Value, ApiFailure> {
    again(|| async {
        let config_maps = cluster.kind("v1", "ConfigMap").await?;
        cluster.get(&config_maps, namespace, name).await
    })
    .await
}

/// Asks again when the server does not answer: for what may be asked twice.
pub(crate) async fn again<T, F>(ask: impl Fn() -> F) -> Result<T, ApiFailure>
where
    F: Future<Output = Result<T, ApiFailure>>,
{
    let mut tries = 0;
    loop {
        match ask().await {
            Err(failure) if tries < TRIES && is_passing(&failure) => {
                tries += 1;
                sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// Whether a failure may be gone the next time.
pub(crate) fn is_passing(failure: &ApiFailure) -> bool {
    matches!(
        failure.code,
        Code::Unreachable | Code::Timeout | Code::Throttled
    ) || failure.status >= 500
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_and_shown() {
        let target: ResultsTarget = "kube:ns/results".parse().unwrap();
        assert_eq!(
            (target.namespace.as_str(), target.prefix.as_str()),
            ("ns", "results")
        );
        assert_eq!(target.to_string(), "kube:ns/results");
        for bad in ["", "file:x", "kube:ns", "kube:/p", "kube:ns/", "kube:a/b/c"] {
            bad.parse::<ResultsTarget>().expect_err(bad);
        }
    }

    #[test]
    fn what_does_not_fit_is_known_beforehand() {
        // Numbers that do not repeat cannot be compressed much.
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .take(PARTS * PART_BYTES / 8 + 1)
        .flatten()
        .collect();
        assert!(!fits(&noise));
        assert!(fits(&noise[..PART_BYTES]));
    }

    #[test]
    fn there_is_a_name_for_every_part() {
        assert_eq!(names("r").len(), PARTS + 1);
    }
}
