//! What a run has done so far, on disk: one line of JSON for every state of every task, written before the next task
//! begins. An orchestrator that is started again with the same directory goes on where the last one was ended.

use std::{
    fs::{File, OpenOptions, create_dir_all},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::NetworkError,
    pairs::Selection,
    schedule::WorkerInfo,
    task::{TaskKey, TaskRecord, TaskState},
};

/// Name of the file in the run's directory.
pub const JOURNAL: &str = "journal.jsonl";

/// A line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// The first: what is measured.
    Run(RunIdentity),
    /// The second: who takes part.
    Workers(Vec<WorkerInfo>),
    /// A task has a new state, which is not its last.
    State {
        key: TaskKey,
        state: TaskState,
        unix_ms: u64,
    },
    /// A task has ended.
    Ended(Box<TaskRecord>),
}

/// What must be equal for a run to be the same run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunIdentity {
    pub(crate) benchmark: String,
    pub(crate) variants: Vec<String>,
    pub(crate) samples: u32,
    #[serde(default)]
    pub(crate) selection: Selection,
}

/// The open journal of a run.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Who takes part, once that is settled.
    pub(crate) workers: Option<Vec<WorkerInfo>>,
    /// Tasks that ended before the orchestrator was started again.
    pub(crate) ended: Vec<TaskRecord>,
}

impl Journal {
    /// Opens the journal in a directory, or begins one. Only one process has it at a time.
    pub(crate) fn open(directory: &Path, identity: &RunIdentity) -> Result<Self, NetworkError> {
        let path = directory.join(JOURNAL);
        let failed = |error: std::io::Error| NetworkError::file(&path, error);
        create_dir_all(directory).map_err(failed)?;
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(failed)?;
        file.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => NetworkError::file(
                &path,
                "another orchestrator is writing it; stop that one or choose another directory",
            ),
            std::fs::TryLockError::Error(error) => failed(error),
        })?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(failed)?;
        // A line without its end was being written when the last orchestrator ended.
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |last| last + 1);
        text.truncate(whole);
        file.set_len(whole as u64).map_err(failed)?;
        file.rewind().map_err(failed)?;
        let mut journal = Self {
            path: path.clone(),
            file,
            workers: None,
            ended: Vec::new(),
        };
        let mut found = None;
        for (number, line) in text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .enumerate()
        {
            let line = serde_json::from_slice(line).map_err(|error| {
                let message = format!(
                    "line {} is no line of a journal ({error}); remove the file to begin anew",
                    number + 1
                );
                NetworkError::file(&path, message)
            })?;
            match line {
                Line::Run(identity) => found = Some(identity),
                Line::Workers(workers) => journal.workers = Some(workers),
                Line::State { .. } => {}
                Line::Ended(record) => journal.ended.push(*record),
            }
        }
        match found {
            None => journal.write(&Line::Run(identity.clone()))?,
            Some(found) if found == *identity => {}
            Some(found) => {
                let message = format!(
                    "it is of another run ({}, {} variants, {} samples; {}); choose another directory or remove the file",
                    found.benchmark,
                    found.variants.len(),
                    found.samples,
                    found.selection
                );
                return Err(NetworkError::file(&path, message));
            }
        }
        Ok(journal)
    }

    /// Settles who takes part.
    pub(crate) fn settle(&mut self, workers: &[WorkerInfo]) -> Result<(), NetworkError> {
        self.workers = Some(workers.to_vec());
        self.write(&Line::Workers(workers.to_vec()))
    }

    /// A task has a new state, which is not its last.
    pub(crate) fn state(
        &mut self,
        key: &TaskKey,
        state: TaskState,
        unix_ms: u64,
    ) -> Result<(), NetworkError> {
        self.write(&Line::State {
            key: key.clone(),
            state,
            unix_ms,
        })
    }

    /// A task has ended, and will not be done again.
    pub(crate) fn end(&mut self, record: &TaskRecord) -> Result<(), NetworkError> {
        self.write(&Line::Ended(Box::new(record.clone())))
    }

    fn write(&mut self, line: &Line) -> Result<(), NetworkError> {
        let failed = |reason: String| NetworkError::file(&self.path, reason);
        let mut text = serde_json::to_vec(line).map_err(|error| failed(error.to_string()))?;
        text.push(b'\n');
        self.file
            .write_all(&text)
            .and_then(|()| self.file.sync_data())
            .map_err(|error| failed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> RunIdentity {
        RunIdentity {
            benchmark: "iperf3_tcp".to_owned(),
            variants: vec![String::new()],
            samples: 2,
            selection: Selection::default(),
        }
    }

    fn record(sample: u32) -> TaskRecord {
        let mut record = TaskRecord::pending(TaskKey {
            client: "a".to_owned(),
            server: "b".to_owned(),
            path: "pod".to_owned(),
            variant: String::new(),
            sample,
        });
        record.end(TaskState::Done, None);
        record.stdout = "{\n}".to_owned();
        record
    }

    #[test]
    fn what_was_written_is_read_again_without_a_torn_line() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path(), &identity()).unwrap();
        journal.settle(&[]).unwrap();
        journal.end(&record(1)).unwrap();
        drop(journal);
        let path = directory.path().join(JOURNAL);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(br#"{"ended":{"key":{"client":"a""#).unwrap();
        drop(file);
        let mut journal = Journal::open(directory.path(), &identity()).unwrap();
        assert_eq!(journal.ended, [record(1)]);
        assert_eq!(journal.workers.as_deref(), Some(&[][..]));
        journal.end(&record(2)).unwrap();
        drop(journal);
        let journal = Journal::open(directory.path(), &identity()).unwrap();
        assert_eq!(journal.ended, [record(1), record(2)]);
    }

    #[test]
    fn one_writer_one_run_and_nothing_but_lines() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(directory.path(), &identity()).unwrap();
        let error = Journal::open(directory.path(), &identity()).unwrap_err();
        assert!(
            error.to_string().contains("another orchestrator"),
            "{error}"
        );
        drop(journal);
        let mut other = identity();
        other.samples = 3;
        let error = Journal::open(directory.path(), &other).unwrap_err();
        assert!(error.to_string().contains("another run"), "{error}");
        std::fs::write(directory.path().join(JOURNAL), "{}\n").unwrap();
        let error = Journal::open(directory.path(), &identity()).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
    }
}
