//! Between the plain types and those of the protocol.

use crate::{
    allow::is_host,
    command::{CLIENT_BYTES, Ended},
    proto,
    schedule::{Address, WorkerInfo},
    tool::{Command, ToolError},
};

/// Largest message: both streams of a client, and what goes with them.
pub(crate) const MESSAGE_BYTES: usize = 2 * CLIENT_BYTES + (1 << 20);

/// Longest word of a registration, bytes.
const WORD_BYTES: usize = 253;

impl From<Command> for proto::Command {
    fn from(command: Command) -> Self {
        Self {
            program: command.program,
            arguments: command.arguments,
            environment: command
                .environment
                .into_iter()
                .map(|(name, value)| proto::Variable { name, value })
                .collect(),
        }
    }
}

impl From<proto::Command> for Command {
    fn from(command: proto::Command) -> Self {
        Self {
            program: command.program,
            arguments: command.arguments,
            environment: command
                .environment
                .into_iter()
                .map(|variable| (variable.name, variable.value))
                .collect(),
        }
    }
}

impl From<WorkerInfo> for proto::Registration {
    fn from(info: WorkerInfo) -> Self {
        Self {
            name: info.name,
            addresses: info
                .addresses
                .into_iter()
                .map(|Address { path, host }| proto::Address { path, host })
                .collect(),
            hostname: info.hostname,
            zone: info.zone,
            network_namespace: info.network_namespace,
        }
    }
}

impl TryFrom<proto::Registration> for WorkerInfo {
    /// What is wrong with it.
    type Error = String;

    fn try_from(registration: proto::Registration) -> Result<Self, String> {
        let info = Self {
            name: registration.name,
            addresses: registration
                .addresses
                .into_iter()
                .map(|proto::Address { path, host }| Address { path, host })
                .collect(),
            hostname: registration.hostname,
            zone: registration.zone,
            network_namespace: registration.network_namespace,
        };
        let words = [
            &info.name,
            &info.hostname,
            &info.zone,
            &info.network_namespace,
        ];
        let paths = info.addresses.iter().map(|address| &address.path);
        if words
            .into_iter()
            .chain(paths.clone())
            .any(|word| word.len() > WORD_BYTES || word.chars().any(char::is_control))
        {
            return Err("a name is too long, or has control characters".to_owned());
        }
        if info.name.is_empty() {
            return Err("the worker has no name".to_owned());
        }
        if info.addresses.is_empty() {
            return Err("the worker has no address".to_owned());
        }
        if let Some(address) = info
            .addresses
            .iter()
            .find(|address| !is_host(&address.host))
        {
            return Err(format!(
                "`{}` is neither an IP address nor a DNS name",
                address.host
            ));
        }
        let mut paths: Vec<_> = paths.collect();
        paths.sort();
        if paths.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err("two of the worker's addresses have the same path".to_owned());
        }
        Ok(info)
    }
}

/// A report of a client that ran.
pub(crate) fn client_ended(task: u64, ended: Ended) -> proto::ClientEnded {
    proto::ClientEnded {
        task,
        error_class: String::new(),
        error: String::new(),
        exit_code: ended.exit_code,
        signal: ended.signal,
        timed_out: ended.timed_out,
        clipped: ended.clipped,
        stdout: ended.stdout,
        stderr: ended.stderr,
        elapsed_ns: u64::try_from(ended.elapsed.as_nanos()).unwrap_or(u64::MAX),
    }
}

/// A report of a client that did not.
pub(crate) fn client_refused(task: u64, error: ToolError) -> proto::ClientEnded {
    proto::ClientEnded {
        task,
        error_class: error.class,
        error: error.message,
        ..proto::ClientEnded::default()
    }
}

/// The error of a report, if it has one.
pub(crate) fn error_of(class: &str, message: &str) -> Option<ToolError> {
    (!class.is_empty()).then(|| ToolError::new(class, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrations_that_cannot_be_are_refused() {
        let good = WorkerInfo {
            name: "a".to_owned(),
            addresses: vec![
                Address {
                    path: "pod".to_owned(),
                    host: "fd00::1".to_owned(),
                },
                Address {
                    path: "service".to_owned(),
                    host: "a.ns.svc".to_owned(),
                },
            ],
            hostname: "n".to_owned(),
            zone: String::new(),
            network_namespace: String::new(),
        };
        let check = |change: fn(&mut WorkerInfo)| {
            let mut info = good.clone();
            change(&mut info);
            WorkerInfo::try_from(proto::Registration::from(info))
        };
        assert_eq!(check(|_| ()), Ok(good.clone()));
        assert!(check(|info| info.name.clear()).is_err());
        assert!(check(|info| info.name = "x".repeat(300)).is_err());
        assert!(check(|info| info.zone = "a\nb".to_owned()).is_err());
        assert!(check(|info| info.addresses.clear()).is_err());
        assert!(check(|info| info.addresses[0].host = "-c x".to_owned()).is_err());
        assert!(check(|info| info.addresses[0].path = "service".to_owned()).is_err());
    }
}
