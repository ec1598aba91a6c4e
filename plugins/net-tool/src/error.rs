//! Why there is no result: one class, and the tool's own words.

use std::fmt;

/// Why a run gave no metrics. When several fit, the one named first here wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// The command was stopped at its limit, or the tool gave up waiting for an answer.
    TimedOut,
    /// Stopped by a signal: what numbers there are cover only part of the run.
    Interrupted,
    /// Nothing listens there.
    ConnectionRefused,
    /// The server is in another test.
    ServerBusy,
    /// The server's name has no address.
    HostUnresolved,
    /// The other end died during the test.
    ConnectionLost,
    /// The tool refused its command line.
    Usage,
    /// The output stops in the middle.
    Truncated,
    /// No output at all.
    Empty,
    /// Well-formed, but nothing was measured.
    NoData,
    /// Output of another kind.
    Malformed,
}

impl ErrorClass {
    /// All classes in order of precedence.
    pub const ALL: [Self; 11] = [
        Self::TimedOut,
        Self::Interrupted,
        Self::ConnectionRefused,
        Self::ServerBusy,
        Self::HostUnresolved,
        Self::ConnectionLost,
        Self::Usage,
        Self::Truncated,
        Self::Empty,
        Self::NoData,
        Self::Malformed,
    ];

    /// The class as reports and metric labels spell it, such as `timed_out`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Interrupted => "interrupted",
            Self::ConnectionRefused => "connection_refused",
            Self::ServerBusy => "server_busy",
            Self::HostUnresolved => "host_unresolved",
            Self::ConnectionLost => "connection_lost",
            Self::Usage => "usage",
            Self::Truncated => "truncated",
            Self::Empty => "empty",
            Self::NoData => "no_data",
            Self::Malformed => "malformed",
        }
    }

    /// The class of a message by the phrases that tools and the C and Go libraries use, if any is in it.
    ///
    /// Phrases, not whole messages: versions of one tool word the rest differently.
    pub fn of_message(message: &str) -> Option<Self> {
        let message = message.to_lowercase();
        PHRASES
            .iter()
            .find(|(_, phrases)| phrases.iter().any(|phrase| message.contains(phrase)))
            .map(|&(class, _)| class)
    }
}

/// In order of precedence, lower case.
const PHRASES: [(ErrorClass, &[&str]); 7] = [
    (
        ErrorClass::TimedOut,
        &["timed out", "i/o timeout", "deadline exceeded"],
    ),
    (
        ErrorClass::Interrupted,
        &["the client has terminated", "interrupt - "],
    ),
    (
        ErrorClass::ConnectionRefused,
        &[
            "connection refused",
            "failed to connect",
            "are you sure there is a netserver",
        ],
    ),
    (ErrorClass::ServerBusy, &["server is busy"]),
    (
        ErrorClass::HostUnresolved,
        &[
            "name or service not known",
            "temporary failure in name resolution",
            "no address associated with hostname",
            "no such host",
            "could not resolve",
            "unable to lookup",
            "because of lookup",
            "getaddrinfo failed",
        ],
    ),
    (
        ErrorClass::ConnectionLost,
        &[
            "connection reset by peer",
            "broken pipe",
            "server has terminated",
            "control socket has closed",
            "server not responding",
            "partial response",
            "unexpected eof",
        ],
    ),
    (
        ErrorClass::Usage,
        &[
            "usage:",
            "parameter error",
            "invalid option",
            "unrecognized option",
            "option requires an argument",
            "flag provided but not defined",
            "bad test",
            "bad option",
            "bad argument",
            "unknown to this netperf",
            "could not open output selection file",
        ],
    ),
];

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a run gave no metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolError {
    /// What kind of failure.
    pub class: ErrorClass,
    /// The tool's own words where it had any, else what was wrong with its output. One line, bounded.
    pub message: String,
}

/// Longest message in characters: enough for a sentence of any tool, too little for a usage text.
const LONGEST_MESSAGE: usize = 500;

impl ToolError {
    /// An error whose message is cut to one bounded line without control characters.
    pub fn new(class: ErrorClass, message: impl AsRef<str>) -> Self {
        let line = message.as_ref().trim().lines().next().unwrap_or_default();
        let message: String = line
            .chars()
            .map(|char| if char.is_control() { ' ' } else { char })
            .take(LONGEST_MESSAGE)
            .collect();
        let message = match message.trim() {
            "" => "the tool gave no reason".to_owned(),
            message => message.to_owned(),
        };
        Self { class, message }
    }

    /// Output of another kind.
    pub fn malformed(message: impl AsRef<str>) -> Self {
        Self::new(ErrorClass::Malformed, message)
    }

    /// Output that stops in the middle.
    pub fn truncated(message: impl AsRef<str>) -> Self {
        Self::new(ErrorClass::Truncated, message)
    }

    /// Output without a measurement.
    pub fn no_data(message: impl AsRef<str>) -> Self {
        Self::new(ErrorClass::NoData, message)
    }

    /// The tool's own message, classed by its phrases, else malformed.
    pub fn said(message: impl AsRef<str>) -> Self {
        let message = message.as_ref();
        let class = ErrorClass::of_message(message).unwrap_or(ErrorClass::Malformed);
        Self::new(class, message)
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class, self.message)
    }
}

impl std::error::Error for ToolError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_different_versions_fall_into_one_class() {
        for (message, class) in [
            (
                "unable to connect to server: Connection refused",
                ErrorClass::ConnectionRefused,
            ),
            (
                "unable to connect to server - server may have stopped running or use a different port, firewall issue, etc.: Connection refused",
                ErrorClass::ConnectionRefused,
            ),
            (
                "interrupt - the client has terminated by signal Terminated(15)",
                ErrorClass::Interrupted,
            ),
            ("failed to receive port: timed out", ErrorClass::TimedOut),
            (
                "getaddrinfo failed: Temporary failure in name resolution",
                ErrorClass::HostUnresolved,
            ),
            ("the server has terminated", ErrorClass::ConnectionLost),
        ] {
            assert_eq!(ErrorClass::of_message(message), Some(class), "{message}");
        }
        assert_eq!(ErrorClass::of_message("iperf Done."), None);
    }

    #[test]
    fn phrases_stand_in_order_of_precedence() {
        let classes = PHRASES.map(|(class, _)| class);
        assert!(classes.is_sorted());
        assert!(ErrorClass::ALL.is_sorted());
    }

    #[test]
    fn a_message_is_one_bounded_line_without_control_characters() {
        let error = ToolError::malformed(format!("  a\u{1b}[1mb\n{}", "x".repeat(9_999)));
        assert_eq!(error.message, "a [1mb");
        assert!(!ToolError::malformed(" \n").message.is_empty());
        let error = ToolError::malformed("é".repeat(9_999));
        assert_eq!(error.message.chars().count(), LONGEST_MESSAGE);
    }
}
