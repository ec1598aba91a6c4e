//! A tool: pure functions of a measuring program's parameters and output. Each call gets a fresh instance, so that
//! no output can spoil the reading of the next.

use std::{fmt, sync::Arc};

use serde_json::Value;

pub use crate::v0_1::exports::kperf::tool::tool::{
    Command as ToolCommand, Output as ToolOutput, Port as ToolPort, Reading as ToolReading,
    RunPlan as ToolPlan, ToolError,
};
use crate::{
    engine::epochs,
    error::{Phase, PluginError},
    guest::Guest,
    inspect::World,
    plugin::Plugin,
    text::one_line,
    v0_1::exports::kperf::tool::tool,
    wasi::Nature,
};

/// Readings of one output; more are a broken plugin.
const MOST_READINGS: usize = 10_000;
/// Longest name, unit or label of a reading, and longest class of an error, bytes.
const WORD_BYTES: usize = 200;
/// Longest message of an error, bytes.
const MESSAGE_BYTES: usize = 2_000;

/// What an output says: readings, or why there are none.
pub type ParsedOutput = Result<Vec<ToolReading>, ToolError>;

/// A tool with its configuration.
pub struct Tool {
    plugin: Arc<Plugin>,
    config: String,
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool")
            .field("plugin", self.plugin.info())
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// A tool to ask. `config` has passed [`Plugin::resolve_config`].
    ///
    /// # Errors
    /// Of phase `plan`: it is not a tool.
    pub fn open_tool(self: &Arc<Self>, config: &Value) -> Result<Tool, PluginError> {
        if self.identity.world != World::Tool {
            return Err(self.identity.error(
                Phase::Plan,
                "wrong-world",
                format!("it is a {}, not a tool", self.identity.world),
            ));
        }
        Ok(Tool {
            plugin: Arc::clone(self),
            config: config.to_string(),
        })
    }
}

impl Tool {
    /// The plugin it is an instance of.
    #[must_use]
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// Commands, ports and limits of a run against a server.
    ///
    /// # Errors
    /// Of phase `plan`: a parameter it refuses, a trap, or a plan that cannot be.
    pub fn plan(&self, server_host: &str) -> Result<ToolPlan, PluginError> {
        let identity = &self.plugin.identity;
        let planned = self.call(Phase::Plan, |store, tool| {
            tool.call_plan(store, server_host, &self.config)
        })?;
        let (planned, guest) = planned;
        let plan = planned.map_err(|failure| identity.failure(Phase::Plan, &failure, &guest))?;
        check_plan(&plan)
            .map_err(|message| identity.error(Phase::Plan, "malformed-plan", message))?;
        Ok(plan)
    }

    /// What a finished client's output says. A plugin that traps, runs too long or gives what cannot be a measurement
    /// makes it `malformed`, with the reason: no output may stop a run.
    ///
    /// # Errors
    /// Why there are no readings.
    pub fn parse(&self, mut output: ToolOutput) -> ParsedOutput {
        let limit = self.plugin.limits.tool_output_bytes;
        for stream in [&mut output.stdout, &mut output.stderr] {
            if stream.len() > limit {
                stream.truncate(stream.floor_char_boundary(limit));
                output.clipped = true;
            }
        }
        let malformed = |message: String| ToolError {
            class: "malformed".to_owned(),
            message,
        };
        let parsed = self.call(Phase::Parse, |store, tool| tool.call_parse(store, &output));
        match parsed {
            Ok((Ok(readings), _)) => {
                check_readings(&readings).map_err(malformed)?;
                Ok(readings)
            }
            Ok((Err(error), _)) => Err(ToolError {
                class: one_line(&error.class, WORD_BYTES),
                message: one_line(&error.message, MESSAGE_BYTES),
            }),
            Err(error) => Err(malformed(error.to_string())),
        }
    }

    fn call<T>(
        &self,
        phase: Phase,
        call: impl FnOnce(&mut wasmtime::Store<Guest>, &tool::Guest) -> wasmtime::Result<T>,
    ) -> Result<(T, Guest), PluginError> {
        let plugin = &self.plugin;
        let limits = &plugin.limits;
        let deadline = limits.tool_trap;
        let nature = Nature::Repeatable { seed: 0 };
        let mut store = Guest::new(&plugin.identity.name, limits, nature, None)
            .into_store(&plugin.engine, limits.generator_call_bytes);
        store.set_epoch_deadline(epochs(deadline));
        let result = plugin
            .for_sync
            .instantiate(&mut store)
            .and_then(|instance| {
                let tool =
                    tool::GuestIndices::new(&plugin.for_sync)?.load(&mut store, &instance)?;
                call(&mut store, &tool)
            });
        match result {
            Ok(value) => Ok((value, store.into_data())),
            Err(error) => Err(plugin.identity.trap(phase, &error, store.data(), deadline)),
        }
    }
}

/// What the host relies on before it starts anything.
fn check_plan(plan: &ToolPlan) -> Result<(), String> {
    for (side, command) in [("server", &plan.server), ("client", &plan.client)] {
        let program = &command.program;
        let is_bare = !program.is_empty()
            && program
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+'))
            && !program.starts_with(['-', '.']);
        if !is_bare {
            return Err(format!(
                "the program of its {side}, `{}`, is not a bare name",
                one_line(program, WORD_BYTES)
            ));
        }
        let has_nul = |text: &str| text.contains('\0');
        if command.arguments.iter().any(|argument| has_nul(argument))
            || command.environment.iter().any(|label| {
                has_nul(&label.key) || has_nul(&label.value) || label.key.contains('=')
            })
        {
            return Err(format!(
                "arguments or environment of its {side} cannot be passed to a program"
            ));
        }
    }
    if plan.ports.iter().any(|port| port.number == 0) {
        return Err("it names port 0".to_owned());
    }
    let ready_is_known = plan
        .ready
        .strip_prefix("line:")
        .is_some_and(|text| !text.is_empty())
        || plan
            .ready
            .strip_prefix("connect:")
            .is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if !ready_is_known {
        return Err(format!(
            "its `ready` is `{}`; there are connect:PORT and line:TEXT",
            one_line(&plan.ready, WORD_BYTES)
        ));
    }
    Ok(())
}

fn check_readings(readings: &[ToolReading]) -> Result<(), String> {
    if readings.is_empty() {
        return Err("the plugin gave neither readings nor an error".to_owned());
    }
    if readings.len() > MOST_READINGS {
        return Err(format!(
            "the plugin gave {} readings, more than {MOST_READINGS}",
            readings.len()
        ));
    }
    for reading in readings {
        let words = reading
            .labels
            .iter()
            .flat_map(|label| [&label.key, &label.value])
            .chain([&reading.name, &reading.unit]);
        if reading.name.is_empty() || words.clone().any(|word| word.len() > WORD_BYTES) {
            return Err(
                "the plugin gave a reading without a name, or with words that are too long"
                    .to_owned(),
            );
        }
        if !reading.value.is_finite() || reading.value < 0.0 {
            return Err(format!(
                "the plugin gave {} as the value of {}",
                reading.value,
                one_line(&reading.name, WORD_BYTES)
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Label;

    fn plan() -> ToolPlan {
        let command = || ToolCommand {
            program: "iperf3".to_owned(),
            arguments: vec!["-s".to_owned()],
            environment: Vec::new(),
        };
        ToolPlan {
            server: command(),
            client: command(),
            ports: Vec::new(),
            ready: "connect:5201".to_owned(),
            min_time_limit_ms: 1,
            one_client_at_a_time: true,
            mesh_refused: String::new(),
            main_metric: "m".to_owned(),
            hints: Vec::new(),
        }
    }

    #[test]
    fn a_plan_names_bare_programs_and_known_readiness() {
        assert_eq!(check_plan(&plan()), Ok(()));
        for program in ["", "/bin/sh", "a b", "../x", "-c", ".hidden", "a;b", "a\0"] {
            let mut bad = plan();
            bad.client.program = program.to_owned();
            assert!(check_plan(&bad).is_err(), "{program:?}");
        }
        for ready in [
            "",
            "connect:",
            "connect:0",
            "connect:70000",
            "line:",
            "soon",
        ] {
            let bad = ToolPlan {
                ready: ready.to_owned(),
                ..plan()
            };
            assert!(check_plan(&bad).is_err(), "{ready:?}");
        }
        let mut bad = plan();
        bad.server.environment.push(Label {
            key: "A=B".to_owned(),
            value: String::new(),
        });
        assert!(check_plan(&bad).is_err());
    }

    #[test]
    fn only_what_can_be_measured_is_a_reading() {
        let reading = |value| ToolReading {
            name: "x".to_owned(),
            value,
            unit: "s".to_owned(),
            labels: Vec::new(),
        };
        assert_eq!(check_readings(&[reading(0.0)]), Ok(()));
        for value in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(check_readings(&[reading(value)]).is_err());
        }
        assert!(check_readings(&[]).is_err());
    }
}
