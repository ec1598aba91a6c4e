//! Load on TCP and HTTP echo servers by fortio: what to run, and how to read what it wrote.
//!
//! The result is the JSON object of `-json -` or, without it, the text meant for people. Both stand among log lines,
//! which are JSON objects themselves in newer versions. Known are 1.38 and 1.60. fortio exits with 0 even when every
//! call failed, so what counts is how the calls ended.

mod http;
mod json;
mod load;
mod log;
mod run;
mod tcp;
mod text;

pub use http::{FortioHttp, HttpParams};
pub use tcp::{FortioTcp, TcpParams};

use net_tool::{Metric, Output, ToolError, json::scan};

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Http,
}

/// Metrics of a run against one kind of server.
fn parse(output: &Output, kind: Kind) -> Result<Vec<Metric>, ToolError> {
    output.check()?;
    if let Some(error) = log::usage(output) {
        return Err(error);
    }
    let found = scan(&output.stdout);
    let run = match json::result(&found)? {
        Some(run) => run,
        // fortio ends with a message instead of a result when its first calls fail.
        None => match log::abort(output) {
            Some(error) => return Err(error),
            None => text_result(output)?,
        },
    };
    if run.kind != kind {
        let message = format!("a run over {:?} instead of {kind:?}", run.kind);
        return Err(ToolError::malformed(message.to_lowercase()));
    }
    let metrics = run.metrics(output)?;
    output.check_exit_code()?;
    Ok(metrics)
}

/// The text for people counts only where no JSON was asked for: then the JSON is what was lost.
fn text_result(output: &Output) -> Result<run::Run, ToolError> {
    let asked = output
        .args
        .iter()
        .any(|arg| matches!(arg.trim_start_matches('-').split('=').next(), Some("json")));
    if asked {
        let first = output.lines().find(|line| !line.trim().is_empty());
        let message = format!(
            "JSON was asked for and is not there: {}",
            first.unwrap_or_default()
        );
        return Err(ToolError::malformed(message));
    }
    text::result(output)
}
