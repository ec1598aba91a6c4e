//! Bandwidth between two hosts by iperf3: what to run, and how to read what it wrote.
//!
//! The result is the JSON object of `-J`, the lines of `--json-stream` or, without either, the text meant for people,
//! which has only three digits. Versions 3.12 to 3.21 are known. UDP runs are read as well.

mod json;
mod params;
mod summary;
mod text;

pub use params::{Direction, Params};

use net_tool::{Command, ErrorClass, Host, Metric, Output, ParamError, Plan, Tool, ToolError};

/// iperf3 over TCP.
#[derive(Clone, Copy, Debug)]
pub struct Iperf3Tcp;

impl Tool for Iperf3Tcp {
    type Params = Params;

    const NAME: &'static str = "iperf3_tcp";
    const MAIN_METRIC: &'static str = "bandwidth_bits_per_second";

    fn plan(params: &Params, server: &Host) -> Result<Plan, ParamError> {
        params.plan(server)
    }

    fn parse(output: &Output) -> Result<Vec<Metric>, ToolError> {
        output.check()?;
        // A message is not tied to a stream: with both mixed it stands in `stdout`.
        if let Some(error) = output.lines().filter_map(message).min_by_key(class_of) {
            return Err(error);
        }
        let metrics = match json::find(&output.stdout)? {
            Some(metrics) => metrics,
            None => text::parse(&output.stdout)?,
        };
        output.check_exit_code()?;
        Ok(metrics)
    }
}

fn class_of(error: &ToolError) -> ErrorClass {
    error.class
}

/// A line by which iperf3 says that it failed.
fn message(line: &str) -> Option<ToolError> {
    let words = line.strip_prefix("iperf3: ")?;
    let words = words.strip_prefix("error - ").unwrap_or(words);
    Some(said(words))
}

/// The class of iperf3's own words, which are the same in a line and in a JSON object.
fn said(words: &str) -> ToolError {
    let mut error = ToolError::said(words);
    // Up to 3.12 a failed name lookup leaves the wrong errno behind.
    if words.contains("unable to connect") && words.contains("Resource temporarily unavailable") {
        error.class = ErrorClass::HostUnresolved;
    } else if error.class == ErrorClass::Malformed {
        if words.contains("unable to connect") {
            error.class = ErrorClass::ConnectionRefused;
        } else if words.contains("unable to") {
            error.class = ErrorClass::ConnectionLost;
        }
    }
    error
}

/// The program's name, on both sides.
const PROGRAM: &str = "iperf3";

fn command<A: Into<String>>(args: impl IntoIterator<Item = A>) -> Command {
    Command::new(PROGRAM, args)
}

kperf_sdk::export_tool!(net_tool::Component<Iperf3Tcp>, name = "iperf3_tcp");
