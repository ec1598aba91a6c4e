//! Which commands may be run: known programs, against the one server of the task, without options that touch files or
//! other hosts.
//!
//! Options are those that measure; everything else is refused, and so is what versions of a program read differently.

use std::net::{IpAddr, SocketAddr};

use crate::tool::{Command, ToolError};

mod grammar;
mod options;

use grammar::{Grammar, Line};
use options::{
    FORTIO_CLIENT, FORTIO_SERVER, IPERF3_CLIENT, IPERF3_SERVER, NETPERF, NETPERF_TEST, NETSERVER,
    QPERF_CLIENT, QPERF_SERVER, QPERF_TESTS,
};

/// Programs that may be run, by bare name.
pub const PROGRAMS: [&str; 5] = ["iperf3", "netperf", "netserver", "qperf", "fortio"];

/// What a worker may run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    /// Bare names of further programs, for tools of third parties. Their arguments are not looked at.
    pub further: Vec<String>,
}

impl AllowList {
    /// A list with further programs.
    ///
    /// # Errors
    /// A name that is known already, as its arguments are looked at and stay so, or that is no bare name.
    pub fn with(further: Vec<String>) -> Result<Self, ToolError> {
        for program in &further {
            bare(program)?;
            if PROGRAMS.contains(&program.as_str()) {
                return Err(refused(format!(
                    "`{program}` is allowed already, with the arguments that are safe"
                )));
            }
        }
        Ok(Self { further })
    }

    /// Checks the command of a server.
    ///
    /// # Errors
    /// Of class `refused`, names the program or argument that is refused.
    pub fn check_server(&self, command: &Command) -> Result<(), ToolError> {
        let (program, args) = (command.program.as_str(), command.arguments.as_slice());
        environment(command)?;
        match program {
            "iperf3" => {
                let line = read(program, &IPERF3_SERVER, args)?;
                no_words(program, &line)?;
                needs(program, line.has(&["s", "server"]), "-s")
            }
            "netserver" => {
                let line = read(program, &NETSERVER, args)?;
                no_words(program, &line)?;
                // Else it leaves its process group, and is not ended.
                needs(program, line.has(&["D"]), "-D")
            }
            "netperf" => Err(refused("netperf is no server")),
            "qperf" => no_words(program, &read(program, &QPERF_SERVER, args)?),
            "fortio" => fortio_server(args),
            _ => self.further(program),
        }
    }

    /// Checks the command of a client, which must be for `server`, an IP address or a DNS name.
    ///
    /// # Errors
    /// Of class `refused`, names the program or argument that is refused.
    pub fn check_client(&self, command: &Command, server: &str) -> Result<(), ToolError> {
        let (program, args) = (command.program.as_str(), command.arguments.as_slice());
        if !is_host(server) {
            let message = format!("`{server}` is neither an IP address nor a DNS name");
            return Err(refused(message));
        }
        environment(command)?;
        match program {
            "netserver" => Err(refused("netserver is no client")),
            "iperf3" => {
                let line = read(program, &IPERF3_CLIENT, args)?;
                no_words(program, &line)?;
                one_host(program, &line.of(&["c", "client"]), server)
            }
            "netperf" => netperf(args, server),
            "qperf" => {
                let line = read(program, &QPERF_CLIENT, args)?;
                let (hosts, tests) = line.words.split_at(line.words.len().min(1));
                one_host(program, hosts, server)?;
                match tests.iter().find(|test| !QPERF_TESTS.contains(test)) {
                    None => Ok(()),
                    Some(word) => Err(refused(format!("qperf: `{word}` is no allowed test"))),
                }
            }
            "fortio" => fortio_client(args, server),
            _ => self.further(program),
        }
    }

    fn further(&self, program: &str) -> Result<(), ToolError> {
        if self.further.iter().any(|further| further == program) {
            return bare(program);
        }
        let known: Vec<_> = PROGRAMS
            .into_iter()
            .chain(self.further.iter().map(String::as_str))
            .collect();
        Err(refused(format!(
            "`{program}` is none of {}; a worker runs others only when it was started with --allow PROGRAM",
            known.join(", ")
        )))
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

fn read<'a>(program: &str, grammar: &Grammar, args: &'a [String]) -> Result<Line<'a>, ToolError> {
    grammar
        .read(args)
        .map_err(|reason| refused(format!("{program}: {reason}")))
}

fn no_words(program: &str, line: &Line<'_>) -> Result<(), ToolError> {
    match line.words.first() {
        None => Ok(()),
        Some(word) => Err(refused(format!("{program}: `{word}` is no option"))),
    }
}

fn needs(program: &str, has: bool, option: &str) -> Result<(), ToolError> {
    if has {
        return Ok(());
    }
    Err(refused(format!("{program} is not run without {option}")))
}

/// A program that is told two hosts takes the last, or both.
fn one_host(program: &str, hosts: &[&str], server: &str) -> Result<(), ToolError> {
    match hosts {
        [host] if *host == server => Ok(()),
        [] => Err(refused(format!("{program} is not run against {server}"))),
        [host] => Err(refused(format!(
            "{program}: `{host}` is not the server {server}"
        ))),
        _ => Err(refused(format!("{program}: more than one host"))),
    }
}

fn netperf(args: &[String], server: &str) -> Result<(), ToolError> {
    let program = "netperf";
    let divider = args.iter().position(|arg| arg == "--");
    let (global, test) = args.split_at(divider.unwrap_or(args.len()));
    let line = read(program, &NETPERF, global)?;
    no_words(program, &line)?;
    // An address family may follow, after a comma.
    let hosts: Vec<_> = line
        .of(&["H"])
        .into_iter()
        .map(|value| match value.split_once(',') {
            Some((host, "4" | "6" | "inet" | "inet6")) => host,
            _ => value,
        })
        .collect();
    one_host(program, &hosts, server)?;
    for name in line.of(&["t"]) {
        let name = name.to_ascii_uppercase();
        let known = ["TCP_", "UDP_", "SCTP_"];
        if name != "OMNI" && !known.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(refused(format!("netperf: `{name}` is no allowed test")));
        }
    }
    let line = read(program, &NETPERF_TEST, test.get(1..).unwrap_or_default())?;
    no_words(program, &line)?;
    // A list of selectors may also be the name of a file with one.
    let is_list = |list: &&str| {
        list.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_,".contains(&byte))
    };
    match line
        .of(&["k", "o", "O"])
        .into_iter()
        .find(|it| !is_list(it))
    {
        None => Ok(()),
        Some(file) => Err(refused(format!(
            "netperf: `{file}` is no list of selectors"
        ))),
    }
}

fn fortio_server(args: &[String]) -> Result<(), ToolError> {
    let program = "fortio";
    let (subcommand, args) = subcommand(args, &["server", "tcp-echo"])?;
    let line = read(program, &FORTIO_SERVER, args)?;
    no_words(program, &line)?;
    // Its pages and its REST interface make requests to any host, for anybody.
    if subcommand == "server" {
        needs(program, line.of(&["ui-path"]) == [""], "-ui-path \"\"")?;
    }
    // A path would be a socket in the file system.
    let is_port = |port: &str| {
        port == "disabled" || port.parse::<u16>().is_ok() || port.parse::<SocketAddr>().is_ok()
    };
    let ports = line
        .values
        .iter()
        .filter(|(name, _)| name.ends_with("-port"));
    for (name, port) in ports {
        if !is_port(port) {
            return Err(refused(format!("fortio: `{port}` is no port for -{name}")));
        }
    }
    Ok(())
}

fn fortio_client(args: &[String], server: &str) -> Result<(), ToolError> {
    let (_, args) = subcommand(args, &["load"])?;
    let line = read("fortio", &FORTIO_CLIENT, args)?;
    if let Some(file) = line.of(&["json"]).into_iter().find(|file| *file != "-") {
        return Err(refused(format!("fortio: `{file}` names a file")));
    }
    url(line.words.first().copied().unwrap_or_default(), server)
}

fn subcommand<'a>(
    args: &'a [String],
    known: &[&str],
) -> Result<(&'a str, &'a [String]), ToolError> {
    match args.split_first() {
        Some((first, rest)) if known.contains(&first.as_str()) => Ok((first, rest)),
        first => Err(refused(format!(
            "fortio: `{}` is not {}",
            first.map_or("", |(first, _)| first),
            known.join(" or ")
        ))),
    }
}

/// It must be of the server.
fn url(url: &str, server: &str) -> Result<(), ToolError> {
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
mod tests;
