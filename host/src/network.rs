//! Network benchmarks: tools as components behind `kperf_network`, and what a run comes to.
//!
//! [`Measurement`] (what is measured, wherever that may be) → [`Prepared`] (plugins loaded, everything checked) →
//! `kperf_network` (measured) → [`conclude`]: the report, the tables and the exit code.

use std::time::SystemTime;

use kperf_network as net;
use kperf_runtime as runtime;

use crate::report::RunFacts;

mod conclusion;
mod handover;
mod measurement;
mod progress;
mod table;

pub use conclusion::{Conclusion, conclude};
pub use handover::{Herald, Voice};
pub use measurement::{
    Axis, Limits, Measurement, MeasurementError, Prepared, load_tool, result_name,
};
pub use progress::progress_line;
pub use table::{in_unit, table};

/// A tool plugin as the orchestrator wants it.
pub struct PluginTool(pub runtime::Tool);

impl net::Tool for PluginTool {
    fn plan(&self, server_host: &str) -> Result<net::Plan, net::ToolError> {
        let plan = self
            .0
            .plan(server_host)
            .map_err(|error| net::ToolError::new("plan", error.to_string()))?;
        Ok(net::Plan {
            server: command(plan.server),
            client: command(plan.client),
            ready: plan.ready,
            min_time_limit_ms: plan.min_time_limit_ms,
            main_metric: plan.main_metric,
            ports: plan
                .ports
                .into_iter()
                .map(|port| net::Port {
                    number: port.number,
                    protocol: port.protocol,
                    purpose: port.purpose,
                })
                .collect(),
            one_client_at_a_time: plan.one_client_at_a_time,
            mesh_refused: plan.mesh_refused,
        })
    }

    fn parse(&self, output: net::Output) -> Result<Vec<net::Reading>, net::ToolError> {
        let parsed = self.0.parse(runtime::ToolOutput {
            arguments: output.arguments,
            stdout: output.stdout,
            stderr: output.stderr,
            exit_code: output.exit_code,
            signal: output.signal,
            timed_out: output.timed_out,
            clipped: output.clipped,
        });
        match parsed {
            Ok(readings) => Ok(readings
                .into_iter()
                .map(|reading| net::Reading {
                    name: reading.name,
                    value: reading.value,
                    unit: reading.unit,
                    labels: reading
                        .labels
                        .into_iter()
                        .map(|label| (label.key, label.value))
                        .collect(),
                })
                .collect()),
            Err(error) => Err(net::ToolError::new(&error.class, error.message)),
        }
    }
}

fn command(command: runtime::ToolCommand) -> net::Command {
    net::Command {
        program: command.program,
        arguments: command.arguments,
        environment: command
            .environment
            .into_iter()
            .map(|label| (label.key, label.value))
            .collect(),
    }
}

/// Facts of a run; `server` says where it ran. Without a tool, only its results are known.
#[must_use]
pub fn facts(
    run_id: String,
    plugin: Option<&runtime::Plugin>,
    server: &str,
    labels: Vec<(String, String)>,
) -> RunFacts {
    RunFacts {
        run_id,
        description: String::new(),
        labels,
        server: server.to_owned(),
        environment: crate::run::environment(server),
        plugins: crate::run::plugin_uses(plugin.into_iter()),
        start: SystemTime::now(),
    }
}
