//! What this crate has to know of a tool: what to run, and what its output says. Plain types, so that neither plugins
//! nor their runtime are needed here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A measuring program with its parameters.
pub trait Tool: Send + Sync {
    /// Commands and limits of a run against a server, which is an IP address or a DNS name.
    ///
    /// # Errors
    /// A parameter that cannot be, or a tool that cannot answer.
    fn plan(&self, server_host: &str) -> Result<Plan, ToolError>;

    /// What a finished client measured.
    ///
    /// # Errors
    /// Exactly one reason why there are no readings.
    fn parse(&self, output: Output) -> Result<Vec<Reading>, ToolError>;
}

/// A program with its arguments; never a line for a shell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Bare name, looked up in the worker's path.
    pub program: String,
    /// Without the program.
    pub arguments: Vec<String>,
    /// Variables to set, name and value, beside `PATH` and `LC_ALL=C`.
    pub environment: Vec<(String, String)>,
}

/// A port that a server listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// `control`, `data` or `control-and-data`.
    pub purpose: String,
}

/// A run of a tool between two hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Runs until it is stopped.
    pub server: Command,
    /// Ends by itself; its output is what is parsed.
    pub client: Command,
    /// Every port the server needs, for services and firewalls.
    pub ports: Vec<Port>,
    /// `connect:PORT` or `line:TEXT`.
    pub ready: String,
    /// The client is given at least this long.
    pub min_time_limit_ms: u64,
    /// Whether a server serves one client at a time; here it never has more.
    pub one_client_at_a_time: bool,
    /// Why the two must not be in a service mesh; empty when they may.
    pub mesh_refused: String,
    /// The reading to show in tables.
    pub main_metric: String,
}

/// What a finished client left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// Bytes that are no UTF-8 are replaced.
    pub stderr: String,
    /// Absent when it did not exit by itself.
    pub exit_code: Option<i32>,
    /// The signal that ended it, such as `SIGTERM`; empty when none did.
    pub signal: String,
    /// Whether it was ended at its time limit.
    pub timed_out: bool,
    /// Whether some of the output was thrown away.
    pub clipped: bool,
}

/// One number that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Such as `bandwidth_bits_per_second`.
    pub name: String,
    /// In the base unit; finite and not negative.
    pub value: f64,
    /// Such as `bit/s` or `s`.
    pub unit: String,
    /// What tells readings of one name apart.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Why there are no readings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolError {
    /// From an open set: what tools give (`connection_refused`, `malformed` and so on), and from this crate `refused`,
    /// `not_installed`, `server_failed`, `worker_lost`, `cancelled`, `timed_out`, `plan`.
    pub class: String,
    /// One line.
    pub message: String,
}

impl ToolError {
    /// An error of a class.
    pub fn new(class: &str, message: impl Into<String>) -> Self {
        Self {
            class: class.to_owned(),
            message: message.into(),
        }
    }
}
