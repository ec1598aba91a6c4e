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
    /// The total time begins or, after a crash, goes on, in milliseconds since 1970.
    Begun {
        unix_ms: u64,
        /// How much of it is spent.
        #[serde(default)]
        spent_ms: u64,
    },
    /// Who takes part.
    Workers(Vec<WorkerInfo>),
    /// A task has a new state, which is not its last.
    State {
        key: TaskKey,
        state: TaskState,
        unix_ms: u64,
    },
    /// A task has ended.
    Ended(Box<TaskRecord>),
    /// The orchestrator ended in order: whoever goes on does so with a new total time.
    Paused {},
}

/// What must be equal for a run to be the same run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunIdentity {
    pub(crate) benchmark: String,
    pub(crate) variants: Vec<String>,
    pub(crate) samples: u32,
    #[serde(default)]
    pub(crate) selection: Selection,
    /// How many were to come.
    #[serde(default)]
    pub(crate) workers: usize,
    /// What the variants run.
    #[serde(default)]
    pub(crate) plans: Vec<String>,
}

/// The total time that is spent, as far as a journal knows: what came after its last line is not counted, as nobody
/// may have run.
#[derive(Clone, Copy, Debug)]
struct Spent {
    before_ms: u64,
    from: u64,
    to: u64,
}

impl Spent {
    fn until(spent: &mut Option<Self>, unix_ms: u64) {
        if let Some(spent) = spent {
            spent.to = spent.to.max(unix_ms);
        }
    }

    fn ms(self) -> u64 {
        self.before_ms
            .saturating_add(self.to.saturating_sub(self.from))
    }
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
    /// When the total time would have begun without the time that nobody ran.
    pub(crate) begun_unix_ms: u64,
}

impl Drop for Journal {
    fn drop(&mut self) {
        // A process that is being started has the file too, for a moment, and the lock would be its as well.
        let _ = self.file.unlock();
    }
}

impl Journal {
    /// Opens the journal in a directory, or begins one. Only one process has it at a time.
    pub(crate) fn open(
        directory: &Path,
        identity: &RunIdentity,
        now_unix_ms: u64,
    ) -> Result<Self, NetworkError> {
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
            begun_unix_ms: now_unix_ms,
        };
        let mut found = None;
        let mut spent: Option<Spent> = None;
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
                Line::State { unix_ms, .. } => Spent::until(&mut spent, unix_ms),
                Line::Begun { unix_ms, spent_ms } => {
                    spent = Some(Spent {
                        before_ms: spent_ms,
                        from: unix_ms,
                        to: unix_ms,
                    });
                }
                Line::Paused {} => spent = None,
                Line::Ended(record) => {
                    Spent::until(&mut spent, record.ended_unix_ms.unwrap_or_default());
                    journal.ended.push(*record);
                }
            }
        }
        match found {
            None => journal.write(&Line::Run(identity.clone()))?,
            Some(found) if found == *identity => {}
            Some(found) => {
                let message = format!(
                    "it is of another run ({}, {} variants, {} samples, {} workers; {}{}); choose another directory or \
                     remove the file",
                    found.benchmark,
                    found.variants.len(),
                    found.samples,
                    found.workers,
                    found.selection,
                    found
                        .plans
                        .iter()
                        .find(|plan| !identity.plans.contains(plan))
                        .map(|plan| format!("; `{plan}`"))
                        .unwrap_or_default(),
                );
                return Err(NetworkError::file(&path, message));
            }
        }
        // Before it is settled who takes part there is nothing to go on with.
        let spent_ms = spent
            .filter(|_| journal.workers.is_some())
            .map_or(0, |spent| spent.ms());
        journal.begun_unix_ms = now_unix_ms.saturating_sub(spent_ms);
        journal.write(&Line::Begun {
            unix_ms: now_unix_ms,
            spent_ms,
        })?;
        Ok(journal)
    }

    /// The orchestrator ends in order.
    pub(crate) fn pause(&mut self) -> Result<(), NetworkError> {
        self.write(&Line::Paused {})
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
            workers: 2,
            plans: vec!["iperf3 -s; iperf3 -c h -t 1".to_owned()],
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
        let mut journal = Journal::open(directory.path(), &identity(), 7).unwrap();
        journal.settle(&[]).unwrap();
        journal.end(&record(1)).unwrap();
        drop(journal);
        let path = directory.path().join(JOURNAL);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(br#"{"ended":{"key":{"client":"a""#).unwrap();
        drop(file);
        let mut journal = Journal::open(directory.path(), &identity(), 7).unwrap();
        assert_eq!(journal.ended, [record(1)]);
        assert_eq!(journal.workers.as_deref(), Some(&[][..]));
        journal.end(&record(2)).unwrap();
        drop(journal);
        let journal = Journal::open(directory.path(), &identity(), 7).unwrap();
        assert_eq!(journal.ended, [record(1), record(2)]);
    }

    #[test]
    fn one_writer_one_run_and_nothing_but_lines() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(directory.path(), &identity(), 7).unwrap();
        let error = Journal::open(directory.path(), &identity(), 7).unwrap_err();
        assert!(
            error.to_string().contains("another orchestrator"),
            "{error}"
        );
        drop(journal);
        let mut other = identity();
        other.samples = 3;
        let error = Journal::open(directory.path(), &other, 7).unwrap_err();
        assert!(error.to_string().contains("another run"), "{error}");
        let mut other = identity();
        other.plans = vec!["iperf3 -s; iperf3 -c h -t 2".to_owned()];
        let error = Journal::open(directory.path(), &other, 7).unwrap_err();
        assert!(error.to_string().contains("-t 1`"), "{error}");
        std::fs::write(directory.path().join(JOURNAL), "{}\n").unwrap();
        let error = Journal::open(directory.path(), &identity(), 7).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
    }

    #[test]
    fn the_total_time_goes_on_after_a_crash_and_begins_anew_after_an_end_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let open = |now| Journal::open(directory.path(), &identity(), now).unwrap();
        assert_eq!(open(6).begun_unix_ms, 6);
        let mut journal = open(1_000);
        assert_eq!(journal.begun_unix_ms, 1_000);
        journal.settle(&[]).unwrap();
        let ended = record(1);
        journal
            .state(&ended.key, TaskState::Running, 1_200)
            .unwrap();
        drop(journal);
        // Nobody ran for an hour: 200 ms are spent, however often it crashes.
        assert_eq!(open(3_600_000).begun_unix_ms, 3_600_000 - 200);
        let mut journal = open(7_200_000);
        assert_eq!(journal.begun_unix_ms, 7_200_000 - 200);
        let mut ended = record(1);
        ended.ended_unix_ms = Some(7_200_300);
        journal.end(&ended).unwrap();
        drop(journal);
        let mut journal = open(9_000_000);
        assert_eq!(journal.begun_unix_ms, 9_000_000 - 500);
        journal.pause().unwrap();
        drop(journal);
        assert_eq!(open(9_900_000).begun_unix_ms, 9_900_000);
    }
}
