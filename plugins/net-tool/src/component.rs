//! A [`Tool`] as the component of a plugin: the same plan and the same readings in the words of the WIT.

use std::marker::PhantomData;

use kperf_sdk::failure::{Failure, Label};
use kperf_sdk::tool as wit;

use crate::{Command, Exit, Host, Mesh, Metric, Output, Plan, Purpose, Ready, Tool};

/// What `kperf_sdk::export_tool!` takes for a [`Tool`].
#[derive(Debug)]
pub struct Component<T>(PhantomData<T>);

impl<T: Tool + 'static> wit::Tool for Component<T> {
    type Config = T::Params;

    fn default_config() -> Option<serde_json::Value> {
        serde_json::to_value(T::Params::default()).ok()
    }

    fn plan(server_host: &str, config: T::Params) -> Result<wit::Plan, Failure> {
        let plan = Host::new(server_host)
            .and_then(|server| T::plan(&config, &server))
            .map_err(|error| Failure::invalid_config(error.key, error.message))?;
        Ok(plan_of(plan, T::MAIN_METRIC))
    }

    fn parse(finished: &wit::Output) -> Result<Vec<wit::Reading>, wit::ToolError> {
        let output = Output {
            stdout: finished.stdout.clone(),
            stderr: finished.stderr.clone(),
            exit: match (finished.timed_out, &*finished.signal, finished.exit_code) {
                (true, _, _) => Exit::TimedOut,
                (false, "", Some(code)) => Exit::Code(code),
                (false, "", None) => Exit::Unknown,
                (false, signal, _) => Exit::Signal(signal.to_owned()),
            },
            args: finished.arguments.clone(),
            clipped: finished.clipped,
        };
        match T::parse(&output) {
            Ok(metrics) => Ok(metrics.into_iter().map(reading).collect()),
            Err(error) => Err(wit::ToolError::new(error.class.as_str(), error.message)),
        }
    }
}

fn label((key, value): (String, String)) -> Label {
    Label { key, value }
}

fn command(command: Command) -> wit::Command {
    wit::Command {
        program: command.program,
        arguments: command.args,
        environment: command.env.into_iter().map(label).collect(),
    }
}

fn reading(metric: Metric) -> wit::Reading {
    wit::Reading {
        name: metric.name,
        value: metric.value,
        unit: metric.unit.to_owned(),
        labels: metric.labels.into_iter().map(label).collect(),
    }
}

fn plan_of(plan: Plan, main_metric: &str) -> wit::Plan {
    wit::Plan {
        server: command(plan.server),
        client: command(plan.client),
        ports: plan
            .ports
            .into_iter()
            .map(|port| wit::Port {
                number: port.number,
                protocol: "tcp".to_owned(),
                purpose: match port.purpose {
                    Purpose::Control => "control",
                    Purpose::Data => "data",
                    Purpose::ControlAndData => "control-and-data",
                }
                .to_owned(),
            })
            .collect(),
        ready: match plan.ready {
            Ready::Connect { port } => format!("connect:{port}"),
            Ready::Line { text } => format!("line:{text}"),
        },
        min_time_limit_ms: u64::from(plan.time_limit_seconds) * 1000,
        one_client_at_a_time: plan.one_client_at_a_time,
        mesh_refused: match plan.mesh {
            Mesh::Allowed => String::new(),
            Mesh::Refused(why) => why.to_owned(),
        },
        main_metric: main_metric.to_owned(),
        hints: Vec::new(),
    }
}
