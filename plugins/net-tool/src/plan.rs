//! What to run: commands, ports, limits.

use std::fmt;

/// A program with its arguments; never a line for a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Bare name, looked up in the path.
    pub program: String,
    /// Arguments without the program.
    pub args: Vec<String>,
    /// Environment to set, name and value.
    pub env: Vec<(String, String)>,
}

impl Command {
    /// A command that speaks the C locale, so that its messages and numbers are the ones parsers know.
    pub fn new<A: Into<String>>(program: &str, args: impl IntoIterator<Item = A>) -> Self {
        Self {
            program: program.to_owned(),
            args: args.into_iter().map(Into::into).collect(),
            env: vec![("LC_ALL".to_owned(), "C".to_owned())],
        }
    }

    /// Appends arguments.
    pub fn args<A: Into<String>>(&mut self, args: impl IntoIterator<Item = A>) {
        self.args.extend(args.into_iter().map(Into::into));
    }
}

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Clients speak to the server about the test.
    Control,
    /// The test's own traffic.
    Data,
    /// Both over one port.
    ControlAndData,
}

/// A TCP port the server listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// TCP port.
    pub number: u16,
    /// What it is for.
    pub purpose: Purpose,
}

/// How to know that the server can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// A TCP connection to this port succeeds; it is closed at once.
    Connect {
        /// TCP port.
        port: u16,
    },
    /// A line with this text on standard output. For servers that take a connection for a client.
    Line {
        /// What the line contains.
        text: String,
    },
}

/// Whether the pods may be in a service mesh such as Istio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mesh {
    /// All traffic uses listed ports.
    Allowed,
    /// Sidecars must not be injected, for this reason.
    Refused(&'static str),
}

/// A run of a benchmark between two hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Runs until it is stopped.
    pub server: Command,
    /// Ends by itself; its output is what is parsed.
    pub client: Command,
    /// Every port the server needs, for services and firewalls.
    pub ports: Vec<Port>,
    /// How to know that the server can be used.
    pub ready: Ready,
    /// The client must be given at least this long, in seconds: its test, its waits for the server, and a margin.
    pub time_limit_seconds: u32,
    /// Whether a server serves one client at a time, so that pairs must not share it.
    pub one_client_at_a_time: bool,
    /// Whether the pods may be in a service mesh.
    pub mesh: Mesh,
}

/// A parameter that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamError {
    /// The parameter, as it is spelled in a configuration.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl ParamError {
    /// An error about one parameter.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            message: message.into(),
        }
    }

    /// Checks that a parameter is within bounds.
    ///
    /// # Errors
    /// Names the parameter and the bounds.
    pub fn within<T: PartialOrd + fmt::Display>(
        key: &str,
        value: T,
        least: T,
        most: T,
    ) -> Result<(), Self> {
        if value >= least && value <= most {
            return Ok(());
        }
        let message = format!("{key} is {value}; it must be from {least} to {most}");
        Err(Self::new(key, message))
    }
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ParamError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_named() {
        assert_eq!(ParamError::within("n", 1, 1, 3), Ok(()));
        assert_eq!(ParamError::within("n", 3, 1, 3), Ok(()));
        let error = ParamError::within("streams", 129, 1, 128).unwrap_err();
        assert_eq!(error.key, "streams");
        assert_eq!(error.message, "streams is 129; it must be from 1 to 128");
        assert!(ParamError::within("n", f64::NAN, 0.0, 1.0).is_err());
    }
}
