//! [`PluginError`]: everything a user needs to know about a plugin that failed.

use std::{error::Error, fmt};

/// When a plugin failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Looking at the component before anything is compiled.
    Inspect,
    /// Compiling it and matching its imports.
    Compile,
    /// Asking it who it is.
    Describe,
    /// Checking its configuration.
    Configure,
    /// Opening a source of requests.
    Open,
    /// Asking for requests.
    Next,
    /// Telling it what came back.
    Observe,
    /// Asking for arrival times.
    Schedule,
    /// Beginning an export.
    Begin,
    /// Handing over intervals.
    Intervals,
    /// Handing over the summary.
    Finish,
    /// Running a benchmark.
    Run,
    /// Asking a tool for its commands.
    Plan,
    /// Asking a tool what an output says.
    Parse,
}

impl Phase {
    /// Lower-case word, as used in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inspect => "inspect",
            Self::Compile => "compile",
            Self::Describe => "describe",
            Self::Configure => "configure",
            Self::Open => "open",
            Self::Next => "next",
            Self::Observe => "observe",
            Self::Schedule => "schedule",
            Self::Begin => "begin",
            Self::Intervals => "intervals",
            Self::Finish => "finish",
            Self::Run => "run",
            Self::Plan => "plan",
            Self::Parse => "parse",
        }
    }

    /// The exported function that is called in this phase, if one is.
    #[must_use]
    pub fn function(self) -> Option<&'static str> {
        match self {
            Self::Inspect | Self::Compile | Self::Configure => None,
            Self::Describe => Some("kperf:core/identity#describe"),
            Self::Open => Some("kperf:workload/generator#open"),
            Self::Next => Some("kperf:workload/generator#source.next"),
            Self::Observe => Some("kperf:workload/feedback#observe"),
            Self::Schedule => Some("kperf:workload/arrivals#schedule"),
            Self::Begin => Some("kperf:report/exporter#begin"),
            Self::Intervals => Some("kperf:report/exporter#intervals"),
            Self::Finish => Some("kperf:report/exporter#finish"),
            Self::Run => Some("kperf:benchmark/benchmark#run"),
            Self::Plan => Some("kperf:tool/tool#plan"),
            Self::Parse => Some("kperf:tool/tool#parse"),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A plugin that could not be loaded or did not do what it was asked for.
///
/// `Display` is one sentence: who, when, what, and what to do next. Deeper causes are behind
/// [`Error::source`]. Text that the plugin wrote itself is cut and freed of control characters.
#[derive(Clone)]
pub struct PluginError(Box<Details>, Option<Box<Cause>>);

/// One link of the chain behind [`Error::source`].
#[derive(Clone, Debug)]
struct Cause {
    message: String,
    next: Option<Box<Cause>>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.next.as_deref().map(|next| next as _)
    }
}

/// The parts of a [`PluginError`].
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// The plugin's name; its path or the name it was asked for by, as long as it has not said its own.
    pub plugin: String,
    /// The plugin's version, once known.
    pub version: Option<String>,
    /// First 12 hexadecimal digits of the component's SHA-256, once known.
    pub sha256_prefix: Option<String>,
    /// World, once known.
    pub world: Option<&'static str>,
    /// When.
    pub phase: Option<Phase>,
    /// Slug from an open set: `core-module`, `unknown-version`, `forbidden-import`, `deadline`,
    /// `memory`, `stack`, `out-of-bounds`, `trap`, `malformed-batch`, `failure`, …
    pub code: &'static str,
    /// The slug of the plugin's own failure when `code` is `failure`.
    pub plugin_code: Option<String>,
    /// The plugin's own words when `code` is `failure`.
    pub plugin_message: Option<String>,
    /// The configuration key that the plugin's failure names, if it is about one.
    pub config_key: Option<String>,
    /// What happened, without a full stop.
    pub message: String,
    /// Last bytes of the plugin's standard error.
    pub stderr: String,
    /// What to do next, a sentence without a full stop.
    pub hint: Option<String>,
    /// Deeper causes, outermost first.
    pub causes: Vec<String>,
}

impl PluginError {
    pub(crate) fn new(details: Details) -> Self {
        let chain = details.causes.iter().rev().fold(None, |next, message| {
            Some(Box::new(Cause {
                message: message.clone(),
                next,
            }))
        });
        Self(Box::new(details), chain)
    }

    /// All parts.
    #[must_use]
    pub fn details(&self) -> &Details {
        &self.0
    }

    /// Slug of what went wrong.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// When it went wrong.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        self.0.phase
    }

    /// Name of the plugin, or where it was to come from.
    #[must_use]
    pub fn plugin(&self) -> &str {
        &self.0.plugin
    }

    /// What happened, without who and when.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Tail of the plugin's standard error; empty when it wrote nothing.
    #[must_use]
    pub fn stderr(&self) -> &str {
        &self.0.stderr
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = &*self.0;
        write!(f, "plugin {}", d.plugin)?;
        if let Some(version) = &d.version {
            write!(f, " {version}")?;
        }
        let mut about = d.world.into_iter().map(str::to_owned).collect::<Vec<_>>();
        about.extend(d.sha256_prefix.iter().map(|hex| format!("sha256 {hex}")));
        if !about.is_empty() {
            write!(f, " ({})", about.join(", "))?;
        }
        if let Some(phase) = d.phase {
            write!(f, " failed in {phase}")?;
        }
        write!(f, ": {}", d.message)?;
        if let Some(last) = d.stderr.lines().rev().find(|line| !line.trim().is_empty()) {
            // A Rust panic says what happened two lines above its last one.
            let panic = d
                .stderr
                .lines()
                .position(|line| line.contains("panicked at"));
            let shown = match panic.and_then(|at| d.stderr.lines().nth(at + 1)) {
                Some(said) if !said.starts_with("note:") => said,
                _ => last,
            };
            write!(
                f,
                "; its stderr says: {}",
                crate::text::one_line(shown, 300)
            )?;
        }
        if let Some(hint) = &d.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for PluginError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|cause| cause as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> PluginError {
        PluginError::new(Details {
            plugin: "quorum_list".into(),
            version: Some("0.1.0".into()),
            sha256_prefix: Some("0123456789ab".into()),
            world: Some("generator"),
            phase: Some(Phase::Next),
            code: "deadline",
            message: "ran longer than 250 ms".into(),
            stderr: "thread panicked at src/lib.rs:1:1:\nout of luck\nnote: run with".into(),
            hint: Some("ask its author".into()),
            causes: vec!["outer".into(), "inner".into()],
            ..Details::default()
        })
    }

    #[test]
    fn one_sentence_says_who_when_what_and_next() {
        assert_eq!(
            error().to_string(),
            "plugin quorum_list 0.1.0 (generator, sha256 0123456789ab) failed in next: ran longer \
             than 250 ms; its stderr says: out of luck (ask its author)"
        );
    }

    #[test]
    fn causes_form_a_chain() {
        let error = error();
        let outer = error.source().unwrap();
        assert_eq!(outer.to_string(), "outer");
        assert_eq!(outer.source().unwrap().to_string(), "inner");
        assert!(outer.source().unwrap().source().is_none());
    }
}
