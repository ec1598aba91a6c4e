//! Load profiles: what the user asked for.
//!
//! Enters: a YAML file in kperf's format, its older spellings and our `plugin:` entries included. Leaves:
//! a [`Profile`] that says what the file says and nothing more, then a [`Resolved`] with flags and kperf's
//! defaults applied. Every problem names file, line, column and key, and all of them are reported at once.
//!
//! Here structure is checked, and the rules about whole specs. What the fields of a request may be is the
//! plugin's business: its schema and its `open`. [`Profile::key_errors`] finds the lines for what they say.

mod document;
mod fields;
mod group;
mod kind;
mod locate;
mod parse;
mod problem;
mod resolve;
mod write;

use std::path::{Path, PathBuf};

use serde_json::Value;

use document::Document;
pub use document::yaml_value;
pub use group::{GroupFile, group};
pub use problem::{KeyError, Problem, ProfileError};
pub use resolve::{MAX_CLIENTS, MAX_CONNS, Overrides, Resolved, ResolvedSpec};

/// What the server is asked to answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType {
    /// `json`.
    Json,
    /// `protobuf`.
    Protobuf,
}

impl ContentType {
    /// The word in a profile.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Protobuf => "protobuf",
        }
    }
}

/// A load profile as written.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Free text, or empty.
    pub description: String,
    /// Limits, as written: `response p99 < 1s`. Not kperf's: its profiles have none.
    pub thresholds: Vec<String>,
    /// At least one.
    pub specs: Vec<Spec>,
    /// Where everything stands; none for a profile made from flags.
    document: Option<Document>,
}

/// One load: a pace and a mix of requests. Unset fields are none; zeros are kept, for kperf takes some of
/// them as unset.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// Requests per second; 0 = closed loop.
    pub rate: Option<f64>,
    /// Requests in all.
    pub total: Option<i64>,
    /// Seconds to send for.
    pub duration: Option<i64>,
    /// Connections.
    pub conns: Option<i64>,
    /// Clients.
    pub client: Option<i64>,
    /// What to accept.
    pub content_type: Option<ContentType>,
    /// HTTP/1.1 instead.
    pub disable_http2: Option<bool>,
    /// Retries of a 429 or 5xx with Retry-After.
    pub max_retries: Option<i64>,
    /// The mix; at least one entry has shares.
    pub entries: Vec<Entry>,
    /// Where it stands: `specs[0]`.
    pub path: String,
}

/// One entry of a mix.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Weight among the entries of the spec; 0 = never.
    pub shares: u32,
    /// Who makes the requests.
    pub plugin: PluginRef,
    /// The plugin's configuration; none = not given.
    pub config: Option<Value>,
    /// Where it stands: `specs[0].requests[2]`.
    pub path: String,
    /// Where its configuration stands: `specs[0].requests[2].staleList`.
    config_path: String,
    /// Keys of the configuration that were written with an older name: (now, then).
    renamed: Vec<(&'static str, &'static str)>,
    /// kperf's word for it, or none for a `plugin:` entry.
    kind: Option<&'static str>,
    /// The plugin as written.
    written: String,
}

/// A plugin as a profile names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginRef {
    /// One that comes with the program.
    Bundled(String),
    /// A component file; relative to the working directory, as the profile's own path is.
    Path(PathBuf),
}

impl PluginRef {
    /// What to look for: a bundled name or a path.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Bundled(name) => name.clone(),
            Self::Path(path) => path.display().to_string(),
        }
    }
}

/// A profile that was read.
#[derive(Clone, Debug)]
pub struct Read {
    /// The profile.
    pub profile: Profile,
    /// What was ignored.
    pub warnings: Vec<Problem>,
}

/// Reads a profile.
///
/// # Errors
/// Unreadable, no YAML, or not a profile.
pub fn read(path: &Path, lenient: bool) -> Result<Read, ProfileError> {
    let bytes = std::fs::read(path).map_err(|error| {
        ProfileError::from(Problem::of_file(path, format!("cannot be read: {error}")))
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| ProfileError::from(Problem::of_file(path, "is not UTF-8 text")))?;
    parse(&text, path, lenient)
}

/// Reads a profile from its text. `file` is for messages, and what plugin paths are relative to.
/// With `lenient`, unknown keys are warnings, as if they were not there.
///
/// # Errors
/// No YAML, or not a profile.
pub fn parse(text: &str, file: &Path, lenient: bool) -> Result<Read, ProfileError> {
    parse::profile(Document::parse(text, file)?, lenient)
}

impl Profile {
    /// The profile that `--plugin NAME` stands for: one spec, one entry, everything else from flags.
    #[must_use]
    pub fn of_plugin(name: &str, config: Option<Value>) -> Self {
        let entry = Entry {
            shares: 1,
            plugin: PluginRef::Bundled(name.to_owned()),
            config,
            path: String::new(),
            config_path: String::new(),
            renamed: Vec::new(),
            kind: None,
            written: name.to_owned(),
        };
        Self {
            description: String::new(),
            thresholds: Vec::new(),
            specs: vec![Spec {
                entries: vec![entry],
                ..Spec::default()
            }],
            document: None,
        }
    }

    /// Whether this was read from a file.
    #[must_use]
    pub fn is_from_file(&self) -> bool {
        self.document.is_some()
    }

    /// Line and column, both from 1, of a key or list element: `specs[0].requests[2].staleList.limit`.
    #[must_use]
    pub fn position(&self, path: &str) -> Option<(usize, usize)> {
        self.document.as_ref()?.position(path)
    }

    /// For messages: `profile.yaml:12:9: specs[0].requests[2]`.
    #[must_use]
    pub fn place(&self, path: &str) -> String {
        self.problem(path, "").place()
    }

    /// A problem at a path of this profile; where the path does not exist, at what it would be part of.
    #[must_use]
    pub fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        match &self.document {
            Some(document) => document.problem(path, message),
            None => Problem::of_flags(path, message),
        }
    }

    /// What a plugin said about the configuration of an entry, with file, line and key.
    pub fn key_errors(
        &self,
        entry: &Entry,
        errors: impl IntoIterator<Item = KeyError>,
    ) -> ProfileError {
        let problems = errors
            .into_iter()
            .map(|error| {
                let path = self.path_of(entry, &error.pointer);
                self.problem(&path, error.message)
            })
            .collect();
        ProfileError::new(problems)
    }

    /// The path in the document of a JSON pointer into an entry's configuration.
    fn path_of(&self, entry: &Entry, pointer: &str) -> String {
        let mut path = entry.config_path.clone();
        for (depth, token) in pointer.split('/').skip(1).enumerate() {
            let token = token.replace("~1", "/").replace("~0", "~");
            let written = entry
                .renamed
                .iter()
                .find(|(now, _)| depth == 0 && *now == token)
                .map_or(token.as_str(), |(_, then)| then);
            let index = written.parse().ok().filter(|_| {
                self.document
                    .as_ref()
                    .is_none_or(|document| document.is_list(&path))
            });
            path = match index {
                Some(index) => locate::item(&path, index),
                None => locate::child(&path, written),
            };
        }
        path
    }
}
