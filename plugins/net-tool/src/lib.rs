//! What the plugins for network benchmark tools share.
//!
//! A tool is a pure description of a program such as `iperf3`: [`Tool::plan`] turns parameters into the commands of
//! server and client, [`Tool::parse`] turns what the client wrote into [`Metric`]s in base units or into exactly one
//! [`ToolError`]. Nothing here starts a process, reads a file or knows the time; whoever runs the commands does.
//!
//! Two rules hold for every tool. An output that is wrong, cut, interleaved or hostile is an error, never a panic and
//! never a number. And nothing is reported that was not measured: a zero or -1 that stands for "unknown" is left out.

mod component;
mod error;
mod host;
pub mod json;
mod metric;
pub mod number;
mod output;
mod plan;

pub use component::Component;
pub use error::{ErrorClass, ToolError};
pub use host::Host;
pub use metric::{Metric, Metrics};
pub use output::{Exit, Output, option};
pub use plan::{Command, Mesh, ParamError, Plan, Port, Purpose, Ready};

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One benchmark by a network tool.
pub trait Tool {
    /// What a user may ask for. The default is a sensible run.
    type Params: DeserializeOwned + Serialize + JsonSchema + Default;

    /// Name of the benchmark, such as `iperf3_tcp`.
    const NAME: &'static str;

    /// The metric to show in tables.
    const MAIN_METRIC: &'static str;

    /// Commands, ports and limits of a run against `server`.
    ///
    /// # Errors
    /// If a parameter is out of its range or two of them exclude one another; the error names the parameter.
    fn plan(params: &Self::Params, server: &Host) -> Result<Plan, ParamError>;

    /// What a finished client measured: at least the benchmark's main metric.
    ///
    /// # Errors
    /// One class, with the tool's own words where it had any.
    fn parse(output: &Output) -> Result<Vec<Metric>, ToolError>;
}
