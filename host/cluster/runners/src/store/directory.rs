//! A store of files, for runners on one machine. What is read is whole: files appear under their names at once.

use std::{
    collections::BTreeSet,
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{Proposed, StoreError};
use crate::mail::{Mail, Start};

const START: &str = "start.json";

/// Files in a directory.
#[derive(Clone, Debug)]
pub struct DirectoryStore {
    folder: PathBuf,
}

impl DirectoryStore {
    /// In a directory that exists.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Says of a runner that its process ended, so that nobody waits for it.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn note_dead(&self, runner: u32) -> Result<(), StoreError> {
        self.write(&dead(runner), b"")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(name);
        self.temporary(bytes)
            .and_then(|file| file.persist(&path).map_err(|error| error.error))
            .map(drop)
            .map_err(|error| writing(&path, error))
    }

    fn temporary(&self, bytes: &[u8]) -> std::io::Result<tempfile::NamedTempFile> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(bytes)?;
        Ok(file)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let path = self.path(name);
        let reading = |error: &dyn std::fmt::Display| {
            StoreError::of_one(format!("reading {}", path.display()), error)
        };
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| reading(&error)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(reading(&error)),
        }
    }

    pub(super) fn post(&self, runner: u32, mail: &Mail) -> Result<(), StoreError> {
        self.write(&mail_file(runner), &json(mail))
    }

    pub(super) fn mail(&self, runner: u32) -> Result<Option<Mail>, StoreError> {
        self.read(&mail_file(runner))
    }

    pub(super) fn start(&self) -> Result<Option<Start>, StoreError> {
        self.read(START)
    }

    pub(super) fn propose(&self, start: &Start) -> Result<Proposed, StoreError> {
        let path = self.path(START);
        let written = self
            .temporary(&json(start))
            .map_err(|error| writing(&path, error))?
            .persist_noclobber(&path);
        match written {
            Ok(_) => Ok(Proposed::Written),
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(Proposed::Another),
            Err(error) => Err(writing(&path, error.error)),
        }
    }

    pub(super) fn dead(&self) -> Result<BTreeSet<u32>, StoreError> {
        let reading = |error| StoreError::new(format!("reading {}", self.folder.display()), error);
        let mut dead = BTreeSet::new();
        for entry in fs::read_dir(&self.folder).map_err(reading)? {
            let name = entry.map_err(reading)?.file_name();
            let runner = name.to_str().and_then(|name| name.strip_prefix("dead-"));
            dead.extend(runner.and_then(|runner| runner.parse::<u32>().ok()));
        }
        Ok(dead)
    }

    pub(super) fn deliver(
        &self,
        runner: u32,
        mail: &Mail,
        parts: &[Vec<u8>],
    ) -> Result<(), StoreError> {
        for (part, bytes) in parts.iter().enumerate() {
            self.write(&report_file(runner, part), bytes)?;
        }
        self.post(runner, mail)
    }

    pub(super) fn packed(&self, runner: u32, parts: u32) -> Result<Vec<u8>, StoreError> {
        let mut packed = Vec::new();
        for part in 0..parts as usize {
            let path = self.path(&report_file(runner, part));
            let bytes = fs::read(&path).map_err(|error| {
                StoreError::of_one(format!("reading {}", path.display()), error)
            })?;
            packed.extend(bytes);
        }
        Ok(packed)
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Texts and numbers: nothing that JSON cannot express.
    serde_json::to_vec(value).unwrap_or_default()
}

fn writing(path: &Path, error: std::io::Error) -> StoreError {
    StoreError::new(format!("writing {}", path.display()), error)
}

fn mail_file(runner: u32) -> String {
    format!("runner-{runner}.json")
}

fn report_file(runner: u32, part: usize) -> String {
    format!("runner-{runner}.report.gz.{part}")
}

fn dead(runner: u32) -> String {
    format!("dead-{runner}")
}
