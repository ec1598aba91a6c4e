//! The server of a tool on a worker: started on order, known to be ready, watched, ended on order.

use std::{future::Future, time::Duration};

use tokio::{
    net::TcpStream,
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::{
    command::{Process, SERVER_BYTES},
    tool::{Command, ToolError},
};

/// Between two looks at a port.
const POLL: Duration = Duration::from_millis(20);
/// How long one look at a port may take.
const CONNECT: Duration = Duration::from_secs(1);

/// How to know that a server can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// A TCP connection to the port succeeds.
    Connect(u16),
    /// A line of its standard output contains the text.
    Line(String),
}

impl Ready {
    pub(crate) fn parse(text: &str) -> Result<Self, ToolError> {
        let port = |port: &str| port.parse().ok().filter(|port| *port > 0);
        let known = match text.split_once(':') {
            Some(("connect", number)) => port(number).map(Self::Connect),
            Some(("line", line)) if !line.is_empty() => Some(Self::Line(line.to_owned())),
            _ => None,
        };
        known.ok_or_else(|| {
            let message = format!("`{text}` is neither connect:PORT nor line:TEXT");
            ToolError::new("plan", message)
        })
    }
}

/// A server to start.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) command: Command,
    pub(crate) ready: Ready,
    /// Address of this worker.
    pub(crate) host: String,
    /// How long it may take to be ready.
    pub(crate) limit: Duration,
}

/// Starts a server and waits until it can be used; `stop` ends the wait and the server.
pub(crate) async fn start(
    start: &Start,
    stop: &mut oneshot::Receiver<()>,
) -> Result<Process, ToolError> {
    let program = &start.command.program;
    let failed = |message: String| ToolError::new("server_failed", message);
    if let Ready::Connect(port) = start.ready
        && connects(&start.host, port).await
    {
        return Err(failed(format!(
            "port {port} of {} is taken: another {program} or another program listens there; end it first",
            start.host
        )));
    }
    let mut process = Process::start(&start.command, SERVER_BYTES)?;
    let readiness = readiness(&process, start);
    let why = tokio::select! {
        biased;
        () = process.exited() => "it ended before it was ready",
        ready = timeout(start.limit, readiness) => match ready {
            Ok(()) => return Ok(process),
            Err(_) => "it was not ready in time",
        },
        _ = stop => "it was stopped before it was ready",
    };
    let ended = process.finish(None, std::future::ready(())).await;
    Err(failed(format!(
        "server {program}: {why}; {}",
        ended.sentence()
    )))
}

fn readiness(process: &Process, start: &Start) -> impl Future<Output = ()> + use<> {
    let mut stdout = process.stdout();
    let Start { ready, host, .. } = start.clone();
    async move {
        match ready {
            Ready::Connect(port) => {
                while !connects(&host, port).await {
                    sleep(POLL).await;
                }
            }
            Ready::Line(text) => {
                let found = stdout
                    .wait_for(|kept| String::from_utf8_lossy(&kept.bytes).contains(&text))
                    .await
                    .is_ok();
                if !found {
                    // Its output is closed: it may end, or the limit comes.
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

async fn connects(host: &str, port: u16) -> bool {
    matches!(
        timeout(CONNECT, TcpStream::connect((host, port))).await,
        Ok(Ok(_))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, ready: Ready, limit_ms: u64) -> Start {
        Start {
            command: Command {
                program: "sh".to_owned(),
                arguments: vec!["-c".to_owned(), script.to_owned()],
                environment: Vec::new(),
            },
            ready,
            host: "127.0.0.1".to_owned(),
            limit: Duration::from_millis(limit_ms),
        }
    }

    #[test]
    fn readiness_is_spelled_in_two_ways() {
        assert_eq!(Ready::parse("connect:5201"), Ok(Ready::Connect(5201)));
        let line = Ready::Line("Server listening: yes".to_owned());
        assert_eq!(Ready::parse("line:Server listening: yes"), Ok(line));
        for text in [
            "",
            "connect:",
            "connect:0",
            "connect:99999",
            "line:",
            "soon",
        ] {
            assert!(Ready::parse(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_line_makes_it_ready() {
        let (_keep, mut stop) = oneshot::channel();
        let line = Ready::Line("listening".to_owned());
        let server = shell("sleep 0.1; echo now listening; sleep 1000", line, 60_000);
        let process = start(&server, &mut stop).await.unwrap();
        let ended = process.finish(None, std::future::ready(())).await;
        assert_eq!(ended.signal, "SIGTERM");
    }

    #[tokio::test]
    async fn what_went_wrong_is_said() {
        let line = || Ready::Line("never".to_owned());
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = Ready::Connect(taken.local_addr().unwrap().port());
        for (server, words) in [
            (
                shell("echo cannot bind >&2; exit 1", line(), 60_000),
                "exited with 1: cannot bind",
            ),
            (shell("sleep 1000", line(), 200), "not ready in time"),
            (
                shell("exec >&-; sleep 1000", line(), 200),
                "not ready in time",
            ),
            (shell("sleep 1000", port, 60_000), "is taken"),
        ] {
            let (_keep, mut stop) = oneshot::channel();
            let error = start(&server, &mut stop).await.unwrap_err();
            assert_eq!(error.class, "server_failed");
            assert!(error.message.contains(words), "{error:?}");
        }
    }
}
