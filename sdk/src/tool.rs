//! Tools: measuring programs such as iperf3. How they are run, and what their output says.
//!
//! Enters: parameters; what a finished client wrote. Leaves: commands, ports and limits; readings in base units, or
//! exactly one classed error. A tool starts nothing and reads nothing: the host runs the commands, from its allow list.
//!
//! ```
//! use kperf_sdk::tool::prelude::*;
//!
//! /// How to ping.
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(crate = "kperf_sdk::serde", deny_unknown_fields)]
//! struct Config {
//!     /// Packets to send.
//!     #[serde(default = "ten")]
//!     count: u32,
//! }
//!
//! fn ten() -> u32 { 10 }
//!
//! struct Ping;
//!
//! impl Tool for Ping {
//!     type Config = Config;
//!
//!     fn plan(server_host: &str, config: Config) -> Result<Plan, Failure> {
//!         Ok(Plan::new(
//!             Command::new("sleep", ["infinity"]),
//!             Command::new("ping", ["-c", &config.count.to_string(), server_host]),
//!         )
//!         .min_time_limit_ms(u64::from(config.count) * 1000 + 5000)
//!         .main_metric("rtt_mean_seconds"))
//!     }
//!
//!     fn parse(finished: &Output) -> Result<Vec<Reading>, ToolError> {
//!         let summary = finished.stdout.lines().find(|line| line.starts_with("rtt "));
//!         let summary = summary.ok_or_else(|| ToolError::new("no_data", "there is no summary"))?;
//!         let mean_ms = summary.split('/').nth(4).and_then(|text| text.parse::<f64>().ok());
//!         let mean_ms = mean_ms.ok_or_else(|| ToolError::new("malformed", summary))?;
//!         Ok(vec![Reading::new("rtt_mean_seconds", mean_ms / 1000.0, "s")])
//!     }
//! }
//!
//! kperf_sdk::export_tool!(Ping, name = "ping", summary = "Round trips by ICMP.");
//! ```

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::exports::kperf::tool::tool as world;
pub use crate::bindings::exports::kperf::tool::tool::{
    Command, Output, Port, Reading, RunPlan as Plan, ToolError,
};
use crate::bindings::kperf::core::vocabulary::PluginInfo;
use crate::failure::{Failure, Label};
use crate::identity::{Identity, describe};

/// What a tool's source usually needs in scope.
pub mod prelude {
    pub use super::{Command, Output, Plan, Port, Reading, Tool, ToolError};
    pub use crate::config::NoConfig;
    pub use crate::failure::{Failure, Label};
    pub use schemars::{self, JsonSchema};
    pub use serde::{self, Deserialize, Serialize};
    pub use serde_json::{self, Value, json};
}

/// A measuring program.
pub trait Tool: Sized + 'static {
    /// The parameters; [`NoConfig`](crate::NoConfig) if there are none. Their schema is derived.
    type Config: DeserializeOwned + JsonSchema;

    /// The configuration used when the user gives none; `{}` is used if there is none here either.
    fn default_config() -> Option<Value> {
        None
    }

    /// Commands, ports and limits of a run against a server.
    fn plan(server_host: &str, config: Self::Config) -> Result<Plan, Failure>;

    /// What a finished client measured: at least the main metric, or exactly one error.
    fn parse(finished: &Output) -> Result<Vec<Reading>, ToolError>;
}

/// Exports a type that implements [`Tool`](tool::Tool) as the component's plugin.
///
/// `export_tool!(MyType)`, or `export_tool!(MyType, name = "my_name", summary = "…")` where `Cargo.toml` should not
/// decide.
#[macro_export]
macro_rules! export_tool {
    ($plugin:ty $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::__export!(
            world: TOOL, "component-type:kperf:tool",
            exports: [tool::tool => __export_kperf_tool_tool_0_1_0_cabi],
            plugin: $crate::tool::Component, $plugin $(, $key = $value)*
        );
    };
}

impl Command {
    /// A program with its arguments; its environment is the host's, which sets `LC_ALL=C`.
    pub fn new<A: Into<String>>(
        program: impl Into<String>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
        }
    }
}

impl Plan {
    /// Server and client; give it a port or a line by which readiness is known.
    pub fn new(server: Command, client: Command) -> Self {
        Self {
            server,
            client,
            ports: Vec::new(),
            ready: String::new(),
            min_time_limit_ms: 30_000,
            one_client_at_a_time: false,
            mesh_refused: String::new(),
            main_metric: String::new(),
            hints: Vec::new(),
        }
    }

    /// Adds a TCP port for control and data, and makes it what readiness is known by.
    #[must_use]
    pub fn port(mut self, number: u16) -> Self {
        self.ports.push(Port {
            number,
            protocol: "tcp".to_owned(),
            purpose: "control-and-data".to_owned(),
        });
        self.ready = format!("connect:{number}");
        self
    }

    /// The server can be used once a line of its standard output contains this.
    #[must_use]
    pub fn ready_line(mut self, text: &str) -> Self {
        self.ready = format!("line:{text}");
        self
    }

    /// How long the client must be given at least.
    #[must_use]
    pub fn min_time_limit_ms(mut self, ms: u64) -> Self {
        self.min_time_limit_ms = ms;
        self
    }

    /// The metric to show in tables.
    #[must_use]
    pub fn main_metric(mut self, name: impl Into<String>) -> Self {
        self.main_metric = name.into();
        self
    }
}

impl Reading {
    /// A number in its base unit, without labels.
    pub fn new(name: impl Into<String>, value: f64, unit: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value,
            unit: unit.into(),
            labels: Vec::new(),
        }
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push(Label {
            key: key.into(),
            value: value.into(),
        });
        self
    }
}

impl ToolError {
    /// An error of a class (see the WIT) with the tool's own words.
    pub fn new(class: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            class: class.into(),
            message: message.into(),
        }
    }
}

/// The component around a tool; named by [`export_tool!`].
pub struct Component<T, I>(PhantomData<(T, I)>);

impl<T: Tool, I: Identity> crate::bindings::exports::kperf::core::identity::Guest
    for Component<T, I>
{
    fn describe() -> PluginInfo {
        describe::<I>(crate::config::schema::<T::Config>(T::default_config()))
    }
}

impl<T: Tool, I: Identity> world::Guest for Component<T, I> {
    fn plan(server_host: String, config: String) -> Result<Plan, Failure> {
        T::plan(&server_host, crate::config::parse(&config)?)
    }

    fn parse(finished: Output) -> Result<Vec<Reading>, ToolError> {
        T::parse(&finished)
    }
}
