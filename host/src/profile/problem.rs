//! What is wrong, and where.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// One thing that is wrong, or was ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file; none for what came from flags.
    pub file: Option<PathBuf>,
    /// Line and column, from 1.
    pub position: Option<(usize, usize)>,
    /// The key: `specs[0].requests[2].staleList.resource`; empty = the whole.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// What a plugin says about one key of its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError {
    /// JSON pointer (RFC 6901) to the key in the configuration; empty = the whole.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
}

impl Problem {
    pub(super) fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self {
            file: Some(file.to_owned()),
            position: None,
            path: String::new(),
            message: message.into(),
        }
    }

    pub(super) fn of_flags(path: &str, message: impl Into<String>) -> Self {
        Self {
            file: None,
            position: None,
            path: path.to_owned(),
            message: message.into(),
        }
    }

    /// Where: `profile.yaml:12:9: specs[0].requests[2]`.
    #[must_use]
    pub fn place(&self) -> String {
        let mut parts = Vec::new();
        if let Some(file) = &self.file {
            let position = self
                .position
                .map(|(line, column)| format!(":{line}:{column}"))
                .unwrap_or_default();
            parts.push(format!("{}{position}", file.display()));
        }
        if !self.path.is_empty() {
            parts.push(self.path.clone());
        }
        if parts.is_empty() {
            parts.push("configuration".to_owned());
        }
        parts.join(": ")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place(), self.message)
    }
}

/// All that is wrong with a profile, in the order of the file. Displayed one problem a line.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ProfileError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl ProfileError {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        // Stable: problems of one key stay in the order in which they were found.
        problems.sort_by_key(|problem| problem.position);
        Self { problems }
    }
}

impl From<Problem> for ProfileError {
    fn from(problem: Problem) -> Self {
        Self {
            problems: vec![problem],
        }
    }
}
