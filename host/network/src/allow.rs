//! Which commands may be run: known programs, against the one server of the task, without options that touch files or
//! other hosts.
//!
//! This reads options more strictly than the tools do: a value that looks like a refused option is refused as well.

use std::net::IpAddr;

use crate::tool::{Command, ToolError};

/// Programs that may be run, by bare name.
pub const PROGRAMS: [&str; 5] = ["iperf3", "netperf", "netserver", "qperf", "fortio"];

/// What a worker may run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    /// Bare names of further programs, for tools of third parties. Their arguments are not looked at.
    pub further: Vec<String>,
}

/// What one program must not be told.
struct Rule {
    /// Single letters, which iperf3, netperf and netserver let stand together behind one dash.
    letters: &'static str,
    /// Letters that take a value, so that what follows them behind the same dash are no letters.
    with_value: &'static str,
    /// Long names without their dashes.
    names: &'static [&'static str],
    /// Whether a long name may be shortened.
    shortened: bool,
}

const IPERF3: Rule = Rule {
    letters: "DFI",
    with_value: "pfiABcbtnklPwMCSLOTX",
    names: &[
        "daemon",
        "file",
        "pidfile",
        "logfile",
        "rsa-private-key-path",
        "rsa-public-key-path",
        "authorized-users-path",
    ],
    shortened: true,
};

/// `-F` sends a file's contents.
const NETPERF: Rule = Rule {
    letters: "F",
    with_value: "aABDfHiIlLmMnoOpPkrsSTtvWwyYZ",
    names: &[],
    shortened: false,
};

const NETSERVER: Rule = Rule {
    letters: "",
    with_value: "",
    names: &[],
    shortened: false,
};

const QPERF: Rule = Rule {
    letters: "",
    with_value: "",
    names: &["H", "host"],
    shortened: false,
};

const FORTIO: Rule = Rule {
    letters: "",
    with_value: "",
    names: &[
        "a",
        "access-log-file",
        "base-url",
        "cacert",
        "cert",
        "config-dir",
        "config-port",
        "data-dir",
        "key",
        "L",
        "M",
        "P",
        "payload-file",
        "profile",
        "resolve",
        "static-dir",
        "sync",
        "unix-socket",
    ],
    shortened: false,
};

impl AllowList {
    /// Checks the command of a server.
    ///
    /// # Errors
    /// Of class `refused`, names the program or argument that is refused.
    pub fn check_server(&self, command: &Command) -> Result<(), ToolError> {
        let (program, arguments) = (command.program.as_str(), command.arguments.as_slice());
        if self.further.iter().any(|further| further == program) {
            return bare(program);
        }
        environment(command)?;
        match program {
            "netperf" => Err(refused("netperf is no server")),
            "fortio" => {
                subcommand(arguments, &["server", "tcp-echo"])?;
                options(program, arguments, &FORTIO)
            }
            "iperf3" => options(program, arguments, &IPERF3),
            "qperf" => options(program, arguments, &QPERF),
            "netserver" => options(program, arguments, &NETSERVER),
            _ => Err(self.unknown(program)),
        }
    }

    /// Checks the command of a client, which must be for `server`, an IP address or a DNS name.
    ///
    /// # Errors
    /// Of class `refused`, names the program or argument that is refused.
    pub fn check_client(&self, command: &Command, server: &str) -> Result<(), ToolError> {
        let (program, arguments) = (command.program.as_str(), command.arguments.as_slice());
        if !is_host(server) {
            let message = format!("`{server}` is neither an IP address nor a DNS name");
            return Err(refused(message));
        }
        if self.further.iter().any(|further| further == program) {
            return bare(program);
        }
        environment(command)?;
        match program {
            "netserver" => Err(refused("netserver is no client")),
            "iperf3" => {
                options(program, arguments, &IPERF3)?;
                hosts(program, arguments, &["-c", "--client"], server)
            }
            "netperf" => {
                options(program, arguments, &NETPERF)?;
                // A list of selectors may also be the name of a file with one.
                let file = arguments
                    .iter()
                    .find(|argument| argument.contains('/'))
                    .filter(|_| arguments.iter().any(|argument| argument == "--"));
                if let Some(file) = file {
                    return Err(refused(format!("netperf: `{file}` names a file")));
                }
                hosts(program, arguments, &["-H"], server)
            }
            "qperf" => {
                options(program, arguments, &QPERF)?;
                if arguments.iter().any(|argument| argument == server) {
                    return Ok(());
                }
                Err(refused(format!("qperf is not run against {server}")))
            }
            "fortio" => {
                subcommand(arguments, &["load"])?;
                options(program, arguments, &FORTIO)?;
                url(arguments, server)
            }
            _ => Err(self.unknown(program)),
        }
    }

    fn unknown(&self, program: &str) -> ToolError {
        let known: Vec<_> = PROGRAMS
            .into_iter()
            .chain(self.further.iter().map(String::as_str))
            .collect();
        refused(format!(
            "`{program}` is none of {}; a worker runs others only when it was started with --allow PROGRAM",
            known.join(", ")
        ))
    }
}

fn refused(message: impl Into<String>) -> ToolError {
    ToolError::new("refused", message)
}

fn bare(program: &str) -> Result<(), ToolError> {
    if program.is_empty() || program.contains('/') {
        return Err(refused(format!("`{program}` is not a bare name")));
    }
    Ok(())
}

/// A variable can make a program load any code.
fn environment(command: &Command) -> Result<(), ToolError> {
    let other =
        |(name, value): &&(String, String)| (name.as_str(), value.as_str()) != ("LC_ALL", "C");
    match command.environment.iter().find(other) {
        None => Ok(()),
        Some((name, _)) => Err(refused(format!(
            "{}: `{name}` may not be set in its environment",
            command.program
        ))),
    }
}

/// Whether this is an IP address or a DNS name, and so safe as an argument.
pub(crate) fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.parse::<IpAddr>().is_ok() || text.len() <= 253 && text.split('.').all(is_label)
}

fn options(program: &str, args: &[String], rule: &Rule) -> Result<(), ToolError> {
    let refused = |arg: &str| {
        let message = format!("{program}: `{arg}` may touch files or other hosts");
        Err(refused(message))
    };
    for (index, arg) in args.iter().enumerate() {
        let Some(option) = arg.strip_prefix('-') else {
            continue;
        };
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let name = name.strip_prefix('-').unwrap_or(name);
        let shortened = rule.shortened && option.starts_with('-') && !name.is_empty();
        let named = rule
            .names
            .iter()
            .any(|bad| *bad == name || shortened && bad.starts_with(name));
        if named {
            return refused(arg);
        }
        if program == "fortio" && name == "json" {
            let value = value.or_else(|| args.get(index + 1).map(String::as_str));
            if value != Some("-") {
                return refused(arg);
            }
        }
        if !option.starts_with('-') {
            let mut letters = option.chars().scan(false, |over, letter| {
                let before = *over;
                *over |= rule.with_value.contains(letter);
                (!before).then_some(letter)
            });
            if letters.any(|letter| rule.letters.contains(letter)) {
                return refused(arg);
            }
        }
    }
    Ok(())
}

fn subcommand(args: &[String], known: &[&str]) -> Result<(), ToolError> {
    let first = args.first().map(String::as_str).unwrap_or_default();
    if known.contains(&first) {
        return Ok(());
    }
    let message = format!("fortio: `{first}` is not {}", known.join(" or "));
    Err(refused(message))
}

/// Every value of an option that names a host must be the server, and there must be one.
fn hosts(program: &str, args: &[String], names: &[&str], server: &str) -> Result<(), ToolError> {
    let mut found = false;
    for (index, arg) in args.iter().enumerate() {
        for name in names {
            let Some(rest) = arg.strip_prefix(name) else {
                continue;
            };
            let value = match rest.strip_prefix('=') {
                Some(value) => value,
                None if rest.is_empty() => args.get(index + 1).map_or("", String::as_str),
                // `--client-something` is another option.
                None if name.starts_with("--") => continue,
                None => rest,
            };
            // netperf takes an address family after a comma.
            let host = value.split(',').next().unwrap_or_default();
            if host != server {
                let message = format!("{program}: `{value}` is not the server {server}");
                return Err(refused(message));
            }
            found = true;
        }
    }
    if found {
        return Ok(());
    }
    let message = format!("{program} is not run against {server}");
    Err(refused(message))
}

/// The last argument of fortio must be a URL of the server.
fn url(args: &[String], server: &str) -> Result<(), ToolError> {
    let url = args.last().map(String::as_str).unwrap_or_default();
    let refused = || refused(format!("fortio: `{url}` is no URL of the server {server}"));
    let rest = url
        .strip_prefix("tcp://")
        .or_else(|| url.strip_prefix("http://"))
        .ok_or_else(refused)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(ipv6) => ipv6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    if host == server && !authority.contains('@') {
        return Ok(());
    }
    Err(refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Command {
        let mut words = line.split(' ').map(str::to_owned);
        Command {
            program: words.next().unwrap(),
            arguments: words.collect(),
            environment: Vec::new(),
        }
    }

    fn client(line: &str) -> Result<(), ToolError> {
        AllowList::default().check_client(&command(line), "10.0.0.2")
    }

    #[test]
    fn ordinary_commands_pass() {
        for line in [
            "iperf3 -c 10.0.0.2 -p 5201 -J -t 10 --format m --forceflush",
            "iperf3 --client=10.0.0.2 -JR -T DFI",
            "iperf3 -c10.0.0.2 -TD",
            "netperf -H 10.0.0.2 -p 12865 -t TCP_RR -- -r 1,1 -k THROUGHPUT,PROTOCOL",
            "netperf -H 10.0.0.2,4 -t TCP_STREAM",
            "qperf -lp 19765 10.0.0.2 -t 10 tcp_bw tcp_lat",
            "fortio load -json - -qps 10 http://10.0.0.2:8080/echo?size=1",
            "fortio load -json=- tcp://10.0.0.2:8078",
        ] {
            assert_eq!(client(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn files_other_hosts_and_other_programs_do_not() {
        for line in [
            "sh -c true",
            "/usr/bin/iperf3 -c 10.0.0.2",
            "LD_PRELOAD=x iperf3",
            "netserver -D",
            "iperf3 -c 10.0.0.3",
            "iperf3 -t 1",
            "iperf3 -c 10.0.0.2 -c 10.0.0.3",
            "iperf3 -c 10.0.0.2 -F /etc/passwd",
            "iperf3 -c 10.0.0.2 -JF/etc/passwd",
            "iperf3 -c 10.0.0.2 --file=/etc/passwd",
            "iperf3 -c 10.0.0.2 --fil /etc/passwd",
            "iperf3 -c 10.0.0.2 --logfile x",
            "iperf3 -c 10.0.0.2 --logf x",
            "iperf3 -c 10.0.0.2 --pidfile x",
            "iperf3 -c 10.0.0.2 -I x",
            "iperf3 -c 10.0.0.2 -D",
            "netperf -H 10.0.0.3",
            "netperf -H 10.0.0.2 -F /etc/passwd",
            "netperf -H 10.0.0.2 -- -H 10.0.0.3",
            "netperf -H 10.0.0.2 -- -k /etc/passwd",
            "qperf 10.0.0.3 tcp_bw",
            "qperf 10.0.0.2 --host 10.0.0.3 tcp_bw",
            "fortio curl http://10.0.0.2/",
            "fortio proxies http://10.0.0.2/",
            "fortio load -json x http://10.0.0.2/",
            "fortio load -json=x http://10.0.0.2/",
            "fortio load --json x http://10.0.0.2/",
            "fortio load -a http://10.0.0.2/",
            "fortio load -data-dir=x http://10.0.0.2/",
            "fortio load -payload-file x http://10.0.0.2/",
            "fortio load http://10.0.0.3/",
            "fortio load http://10.0.0.2@10.0.0.3/",
            "fortio load https://10.0.0.2/",
            "fortio load http://10.0.0.2.evil/",
        ] {
            assert!(client(line).is_err(), "{line}");
        }
    }

    #[test]
    fn servers() {
        let server = |line: &str| AllowList::default().check_server(&command(line));
        for line in [
            "iperf3 -s -p 5201 --forceflush",
            "netserver -D -p 12865",
            "qperf -lp 19765",
            "fortio server -http-port 8080 -tcp-port disabled",
        ] {
            assert_eq!(server(line), Ok(()), "{line}");
        }
        for line in [
            "iperf3 -s -D",
            "iperf3 -s --pidfile x",
            "netperf -H x",
            "fortio server -M x",
            "fortio redirect",
        ] {
            assert!(server(line).is_err(), "{line}");
        }
    }

    #[test]
    fn further_programs_only_when_named_and_by_bare_name() {
        let list = AllowList {
            further: vec!["uperf".to_owned(), "/bin/sh".to_owned()],
        };
        assert!(
            list.check_client(&command("uperf -m x"), "10.0.0.2")
                .is_ok()
        );
        assert!(list.check_server(&command("uperf -s")).is_ok());
        assert!(client("uperf -m x").is_err());
        assert!(
            list.check_client(&command("/bin/sh -c x"), "10.0.0.2")
                .is_err()
        );
        assert!(list.check_client(&command("uperf -m x"), "-c x").is_err());
    }

    #[test]
    fn no_environment_but_the_locale() {
        let mut iperf3 = command("iperf3 -c 10.0.0.2");
        iperf3.environment = vec![("LC_ALL".to_owned(), "C".to_owned())];
        let list = AllowList::default();
        assert_eq!(list.check_client(&iperf3, "10.0.0.2"), Ok(()));
        iperf3.environment = vec![("LD_PRELOAD".to_owned(), "x".to_owned())];
        assert!(list.check_client(&iperf3, "10.0.0.2").is_err());
        assert!(list.check_server(&iperf3).is_err());
    }
}
