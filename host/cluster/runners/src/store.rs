//! Where runners and whoever started them leave word for one another: ConfigMaps of a group, or a directory.

mod cluster;
mod directory;

use std::{collections::BTreeSet, fmt, path::PathBuf, str::FromStr, time::Duration};

pub use cluster::ClusterStore;
pub use directory::DirectoryStore;
use kperf_cluster::parcel::{self, Parcel};

use crate::{
    mail::{Mail, MailState, Start},
    plan::Plan,
};

/// Something could not be read or written; tried again where that helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct StoreError {
    /// What was being done.
    pub what: String,
    /// Why it failed.
    pub reason: String,
    /// Whether it is about this one thing, which is damaged or gone, and not about the store.
    pub is_of_one: bool,
}

impl StoreError {
    pub(crate) fn new(what: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self {
            what: what.into(),
            reason: reason.to_string(),
            is_of_one: false,
        }
    }

    /// About one thing that is damaged or gone.
    pub(crate) fn of_one(what: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self {
            is_of_one: true,
            ..Self::new(what, reason)
        }
    }
}

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proposed {
    /// It is the start.
    Written,
    /// There is one already.
    Another,
    /// The store did not answer in time, or asks to come back; it was not written, as far as that can be told.
    Unheard,
}

/// Why a report was not left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliverError {
    /// It does not fit, and will not the next time.
    #[error(
        "it has {bytes} bytes when compressed, which is {parts} parts, and this group has room for {room}; \
         give the group more (reportParts)"
    )]
    TooLarge {
        /// Compressed.
        bytes: usize,
        /// What it would take.
        parts: usize,
        /// What there is.
        room: u32,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where a store is: `kube:NAMESPACE/GROUP` or `dir:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// ConfigMaps.
    Cluster {
        /// Of the group.
        namespace: String,
        /// Its name.
        group: String,
    },
    /// Files.
    Directory(PathBuf),
}

/// A text that is no [`Place`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} says not where to leave word; write kube:NAMESPACE/GROUP or dir:PATH")]
pub struct ParseStoreError(String);

impl FromStr for Place {
    type Err = ParseStoreError;

    fn from_str(text: &str) -> Result<Self, ParseStoreError> {
        let bad = || ParseStoreError(text.chars().take(200).collect());
        if let Some(path) = text.strip_prefix("dir:") {
            return match path {
                "" => Err(bad()),
                path => Ok(Self::Directory(path.into())),
            };
        }
        text.strip_prefix("kube:")
            .and_then(|rest| rest.split_once('/'))
            .filter(|(namespace, group)| {
                !namespace.is_empty() && !group.is_empty() && !group.contains('/')
            })
            .map(|(namespace, group)| Self::Cluster {
                namespace: namespace.to_owned(),
                group: group.to_owned(),
            })
            .ok_or_else(bad)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster { namespace, group } => write!(f, "kube:{namespace}/{group}"),
            Self::Directory(path) => write!(f, "dir:{}", path.display()),
        }
    }
}

/// A store, in one of its two forms.
#[derive(Clone, Debug)]
pub enum Store {
    /// ConfigMaps.
    Cluster(ClusterStore),
    /// Files.
    Directory(DirectoryStore),
}

impl Store {
    /// Says something as a runner.
    ///
    /// # Errors
    /// It cannot be written; as for all of these, after some tries.
    pub async fn post(&self, runner: u32, mail: &Mail) -> Result<(), StoreError> {
        match self {
            Self::Cluster(store) => store.post(runner, mail, None).await,
            Self::Directory(store) => store.post(runner, mail),
        }
    }

    /// What a runner said last; none if it has not said anything.
    ///
    /// # Errors
    /// It cannot be read, as for all of these.
    pub async fn mail(&self, runner: u32) -> Result<Option<Mail>, StoreError> {
        match self {
            Self::Cluster(store) => store.mail(runner).await,
            Self::Directory(store) => store.mail(runner),
        }
    }

    /// What a runner said last, and what came with it: in a cluster, the first part of its report.
    pub(crate) async fn mail_and_part(
        &self,
        runner: u32,
    ) -> Result<Option<(Mail, Option<Vec<u8>>)>, StoreError> {
        match self {
            Self::Cluster(store) => store.mail_and_part(runner).await,
            Self::Directory(store) => Ok(store.mail(runner)?.map(|mail| (mail, None))),
        }
    }

    /// The start, if it is agreed.
    ///
    /// # Errors
    /// See [`Store::mail`].
    pub async fn start(&self) -> Result<Option<Start>, StoreError> {
        match self {
            Self::Cluster(store) => store.start().await,
            Self::Directory(store) => store.start(),
        }
    }

    /// Writes the start unless there is one: one try, within a time.
    pub(crate) async fn propose(
        &self,
        start: &Start,
        within: Duration,
    ) -> Result<Proposed, StoreError> {
        match self {
            Self::Cluster(store) => store.propose(start, within).await,
            Self::Directory(store) => store.propose(start),
        }
    }

    /// Runners that ended without a word, as far as others know.
    pub(crate) async fn dead(&self) -> Result<BTreeSet<u32>, StoreError> {
        match self {
            Self::Cluster(store) => store.dead().await,
            Self::Directory(store) => store.dead(),
        }
    }

    /// Leaves a runner's report, in at most `plan.report_parts` parts.
    ///
    /// # Errors
    /// It does not fit, or cannot be written.
    pub async fn deliver(
        &self,
        runner: u32,
        plan: &Plan,
        mail: Mail,
        report: &[u8],
    ) -> Result<(), DeliverError> {
        let parcel = Parcel::pack(report);
        let parts = parcel.parts.len();
        let is_cluster = matches!(self, Self::Cluster(_));
        if is_cluster && parts > plan.report_parts as usize {
            return Err(DeliverError::TooLarge {
                bytes: parcel.packed_bytes(),
                parts,
                room: plan.report_parts,
            });
        }
        let mail = Mail {
            state: MailState::Done,
            parts: u32::try_from(parts).unwrap_or(u32::MAX),
            bytes: parcel.bytes,
            sha256: parcel.sha256,
            ..mail
        };
        match self {
            Self::Cluster(store) => store.deliver(runner, &mail, &parcel.parts).await?,
            Self::Directory(store) => store.deliver(runner, &mail, &parcel.parts)?,
        }
        Ok(())
    }

    /// The report that a mail speaks of; `first_part` is what came with the mail.
    ///
    /// # Errors
    /// It is not there, or is not what was written.
    pub(crate) async fn report(
        &self,
        runner: u32,
        mail: &Mail,
        first_part: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, StoreError> {
        let packed = match self {
            Self::Cluster(store) => store.packed(runner, mail.parts, first_part).await?,
            Self::Directory(store) => store.packed(runner, mail.parts)?,
        };
        parcel::unpack(&packed, mail.bytes, &mail.sha256)
            .map_err(|error| StoreError::of_one(format!("the report of runner {runner}"), error))
    }

    /// How far this machine's clock is ahead of that of the store's server, milliseconds, to half a second or so; none
    /// if that is not known, or there is no server.
    pub async fn clock_ahead_ms(&self) -> Option<i64> {
        match self {
            Self::Cluster(store) => store.clock_ahead_ms().await,
            Self::Directory(_) => None,
        }
    }

    /// Between two looks of one runner.
    #[must_use]
    pub fn poll(&self, plan: &Plan) -> Duration {
        match self {
            Self::Cluster(_) => plan.poll(),
            Self::Directory(_) => Duration::from_millis(20),
        }
    }

    /// Between writing the start and the start: everybody has to hear of it.
    pub(crate) fn margin(&self, plan: &Plan) -> Duration {
        match self {
            Self::Cluster(_) => (plan.poll() * 3).max(Duration::from_secs(2)),
            Self::Directory(_) => Duration::from_millis(500),
        }
    }

    /// How long the first runner may be away before the next one writes the start.
    pub(crate) fn patience(&self) -> Duration {
        match self {
            Self::Cluster(_) => Duration::from_secs(3),
            Self::Directory(_) => Duration::from_secs(1),
        }
    }

    /// Over how long reports are spread.
    #[must_use]
    pub fn spread(&self, plan: &Plan) -> Duration {
        match self {
            Self::Cluster(_) => plan.spread(),
            Self::Directory(_) => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_shown() {
        for text in ["kube:ns/group", "dir:/tmp/x", "dir:x"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "dir:",
            "kube:ns",
            "kube:/g",
            "kube:ns/",
            "kube:a/b/c",
            "x:y",
        ] {
            bad.parse::<Place>().expect_err(bad);
        }
    }
}
