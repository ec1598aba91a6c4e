//! A task: one client run of one pair of workers, and the states it goes through.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::tool::{Reading, ToolError};

/// State of a task, with the numbers of results files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum TaskState {
    /// Not known.
    #[default]
    Unspecified = 0,
    /// Waits for its turn.
    Pending = 1,
    /// Its two workers are taken.
    Assigned = 2,
    /// The client runs.
    Running = 3,
    /// The client exited with 0.
    Done = 4,
    /// The client exited otherwise, or it or its server could not be started.
    Failed = 5,
    /// The client was ended at its time limit.
    TimedOut = 6,
    /// The run was over before the task, or a worker was lost.
    Cancelled = 7,
}

impl TaskState {
    const ALL: [Self; 8] = [
        Self::Unspecified,
        Self::Pending,
        Self::Assigned,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
    ];

    /// The state of a number in a results file; unknown numbers are [`TaskState::Unspecified`].
    #[must_use]
    pub fn from_number(number: i64) -> Self {
        usize::try_from(number)
            .ok()
            .and_then(|index| Self::ALL.get(index).copied())
            .unwrap_or_default()
    }

    /// Its number in results files.
    #[must_use]
    pub fn number(self) -> i64 {
        i64::from(self as u8)
    }

    /// Whether no other state follows.
    #[must_use]
    pub fn is_final(self) -> bool {
        self >= Self::Done
    }

    /// The later of two states: a state never goes back, and a final one stays.
    #[must_use]
    pub fn advanced_to(self, next: Self) -> Self {
        if self.is_final() || next < self {
            self
        } else {
            next
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified",
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Cancelled => "cancelled",
        })
    }
}

impl Serialize for TaskState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.number())
    }
}

impl<'de> Deserialize<'de> for TaskState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(Self::from_number)
    }
}

/// What tells a task from the others of its run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskKey {
    /// Name of the worker that runs the client.
    pub client: String,
    /// Name of the worker that runs the server.
    pub server: String,
    /// What the traffic takes, such as `pod`, `service` or `loopback`.
    pub path: String,
    /// Name of the tool's parameters; empty when there is only one set.
    pub variant: String,
    /// Counted from 1.
    pub sample: u32,
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            client,
            server,
            path,
            variant,
            sample,
        } = self;
        write!(f, "{client} → {server} by {path}")?;
        if !variant.is_empty() {
            write!(f, ", {variant}")?;
        }
        write!(f, ", sample {sample}")
    }
}

/// A task and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Which task.
    pub key: TaskKey,
    /// How far it came.
    pub state: TaskState,
    /// Name or address by which the client was to reach the server.
    pub server_host: String,
    /// The client's program.
    pub program: String,
    /// The client's arguments.
    pub arguments: Vec<String>,
    /// The client's time limit, milliseconds.
    pub limit_ms: u64,
    /// When its workers were taken, milliseconds since 1970 by the orchestrator's clock.
    pub started_unix_ms: Option<u64>,
    /// When it came to its final state, by the same clock.
    pub ended_unix_ms: Option<u64>,
    /// How long the client ran, nanoseconds by its worker's steady clock.
    pub elapsed_ns: Option<u64>,
    /// The client's exit code; absent when it did not exit by itself.
    pub exit_code: Option<i32>,
    /// The signal that ended the client; empty when none did.
    pub signal: String,
    /// Whether some of the output was thrown away.
    pub clipped: bool,
    /// What the client wrote.
    pub stdout: String,
    /// What the client wrote on the other stream.
    pub stderr: String,
    /// How its server ended, if that happened while the task had it.
    pub server_ended: String,
    /// What was measured.
    pub readings: Vec<Reading>,
    /// Why nothing was measured.
    pub error: Option<ToolError>,
}

impl TaskRecord {
    /// A task that waits for its turn.
    #[must_use]
    pub fn pending(key: TaskKey) -> Self {
        Self {
            key,
            state: TaskState::Pending,
            server_host: String::new(),
            program: String::new(),
            arguments: Vec::new(),
            limit_ms: 0,
            started_unix_ms: None,
            ended_unix_ms: None,
            elapsed_ns: None,
            exit_code: None,
            signal: String::new(),
            clipped: false,
            stdout: String::new(),
            stderr: String::new(),
            server_ended: String::new(),
            readings: Vec::new(),
            error: None,
        }
    }

    pub(crate) fn end(&mut self, state: TaskState, error: Option<ToolError>) {
        self.state = self.state.advanced_to(state);
        self.error = error;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_never_goes_back_and_a_final_one_stays() {
        for from in TaskState::ALL {
            for to in TaskState::ALL {
                let next = from.advanced_to(to);
                assert!(next >= from);
                if from.is_final() {
                    assert_eq!(next, from);
                }
            }
        }
    }

    #[test]
    fn numbers_are_those_of_results_files_and_unknown_ones_are_accepted() {
        for (number, state) in (0..).zip(TaskState::ALL) {
            assert_eq!(state.number(), number);
            assert_eq!(TaskState::from_number(number), state);
        }
        assert_eq!(TaskState::from_number(99), TaskState::Unspecified);
        assert_eq!(TaskState::from_number(-1), TaskState::Unspecified);
    }
}
