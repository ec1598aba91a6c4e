//! What a network benchmark measures, without where: the same document is measured on this machine or in a cluster.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use kperf_network::{
    AllowList, Plan, Selection, Tolerance, matrix,
    orchestrator::{OrchestratorOptions, Variant, never},
    variant_name,
};
use kperf_runtime::{Plugin, World};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::PluginTool;
use crate::{
    exit::{Exit, Failed, OrExit as _},
    plugins::Plugins,
    threshold::ThresholdSpec,
};

/// What is measured. As a file it is YAML or JSON:
///
/// ```yaml
/// benchmark: iperf3-tcp
/// parameters: {durationSeconds: 5}
/// vary:
///   - {parameter: streams, values: [1, 4]}
/// samples: 3
/// pairs: {placements: [other-node], paths: [pod, host]}
/// tolerances: [pod within 10% of host]
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Measurement {
    /// Name of a bundled tool, or a plugin file.
    pub benchmark: String,
    /// Parameters of the tool that are not to be as they are by default.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// Parameters with several values each; every combination is measured. The last changes fastest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vary: Vec<Axis>,
    /// How often each pair is measured, by each path and with each combination.
    #[serde(default = "one")]
    pub samples: u32,
    /// Least time limit of one task, seconds; the tool may ask for more.
    #[serde(default = "ten")]
    pub task_limit_seconds: u64,
    /// Which pairs are measured, and over which paths.
    #[serde(default)]
    pub pairs: Selection,
    /// How much worse one path may be than another: `pod within 10% of host`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerances: Vec<Tolerance>,
    /// Limits on results, as of profiles: `network-bandwidth_bits_per_second >= 1000000000`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<String>,
    /// Programs that workers may run beside the bundled tools', by their bare names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
}

/// A parameter with several values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Axis {
    /// Its name in the tool's configuration.
    pub parameter: String,
    /// What it is to be, one after the other.
    pub values: Vec<Value>,
}

fn one() -> u32 {
    1
}

fn ten() -> u64 {
    10
}

/// A file that is no measurement.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {message}")]
pub struct MeasurementError {
    /// The file.
    pub file: String,
    /// What is wrong, and where.
    pub message: String,
}

/// Limits on what comes out.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// On metrics of the report.
    pub thresholds: Vec<ThresholdSpec>,
    /// Between paths.
    pub tolerances: Vec<Tolerance>,
}

impl Limits {
    /// Reads thresholds.
    ///
    /// # Errors
    /// One that cannot be read.
    pub fn new(thresholds: &[String], tolerances: Vec<Tolerance>) -> anyhow::Result<Self> {
        let thresholds = thresholds
            .iter()
            .map(|text| ThresholdSpec::parse(text).with_context(|| format!("--threshold {text}")))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            thresholds,
            tolerances,
        })
    }
}

/// A measurement of which everything that can be checked beforehand is in order.
pub struct Prepared {
    /// The tool.
    pub plugin: Arc<Plugin>,
    /// Its name in results, such as `iperf3-tcp`.
    pub benchmark: String,
    /// The tool with every combination of the parameters that vary; at least one.
    pub variants: Vec<Variant>,
    /// What each of them would run against `127.0.0.1`, in the same order: ports, programs, refusal of a mesh.
    pub plans: Vec<Plan>,
    /// The reading to show in tables.
    pub main_metric: String,
    /// How often each pair is measured.
    pub samples: u32,
    /// Least time limit of one task.
    pub task_limit: Duration,
    /// Which pairs are measured, and over which paths.
    pub selection: Selection,
    /// Limits on what comes out.
    pub limits: Limits,
    /// What workers may run.
    pub allow: AllowList,
}

impl Measurement {
    /// Reads a file, YAML or JSON.
    ///
    /// # Errors
    /// It cannot be read, or is no measurement.
    pub fn read(path: &Path) -> Result<Self, MeasurementError> {
        let file = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &file),
            Err(error) => Err(MeasurementError {
                file,
                message: error.to_string(),
            }),
        }
    }

    /// Reads a text, YAML or JSON; `file` is for messages.
    ///
    /// # Errors
    /// It is no measurement.
    pub fn parse(text: &str, file: &str) -> Result<Self, MeasurementError> {
        serde_yaml::from_str(text).map_err(|error| MeasurementError {
            file: file.to_owned(),
            message: error.to_string(),
        })
    }

    /// The document, as JSON; [`Measurement::parse`] reads it again.
    #[must_use]
    pub fn to_text(&self) -> String {
        // Of strings, numbers and lists: nothing that could fail.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Loads the tool and checks everything that can be checked without workers.
    ///
    /// # Errors
    /// An unknown tool, parameters that it refuses, limits that cannot be read or that nothing is measured for, a
    /// program that is not on the allow list.
    pub fn prepare(&self, plugins: &mut Plugins) -> Result<Prepared, Failed> {
        let plugin = load_tool(plugins, &self.benchmark)?;
        self.prepare_with(plugin)
    }

    fn prepare_with(&self, plugin: Arc<Plugin>) -> Result<Prepared, Failed> {
        let variants = self.variants(&plugin).or_exit(Exit::Usage)?;
        let plans = variants
            .iter()
            .map(|variant| variant.tool.plan("127.0.0.1"))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| anyhow!("--benchmark {}: {}", self.benchmark, error.message))
            .or_exit(Exit::Usage)?;
        let allow = AllowList::with(self.allow.clone())
            .map_err(|error| anyhow!("--allow: {}", error.message))
            .or_exit(Exit::Usage)?;
        for plan in &plans {
            allow
                .check_client(&plan.client, "127.0.0.1")
                .and_then(|()| allow.check_server(&plan.server))
                .map_err(|error| anyhow!("--benchmark {}: {}", self.benchmark, error.message))
                .or_exit(Exit::Usage)?;
        }
        self.check_tolerances().or_exit(Exit::Usage)?;
        if self.samples == 0 {
            return Err(anyhow!("0 samples: there is nothing to measure")).or_exit(Exit::Usage);
        }
        Ok(Prepared {
            benchmark: result_name(&plugin),
            main_metric: plans
                .first()
                .map(|plan| plan.main_metric.clone())
                .unwrap_or_default(),
            plugin,
            variants,
            plans,
            samples: self.samples,
            task_limit: Duration::from_secs(self.task_limit_seconds),
            selection: self.pairs.clone(),
            limits: Limits::new(&self.thresholds, self.tolerances.clone()).or_exit(Exit::Usage)?,
            allow,
        })
    }

    /// A path that is not measured makes a tolerance that cannot be kept: better said now than at the end.
    fn check_tolerances(&self) -> anyhow::Result<()> {
        let paths = &self.pairs.paths;
        for tolerance in &self.tolerances {
            let left_out = [&tolerance.path, &tolerance.reference]
                .into_iter()
                .find(|path| !paths.is_empty() && !paths.contains(path));
            if let Some(path) = left_out {
                return Err(anyhow!(
                    "--tolerance {tolerance}: `{path}` is not among the paths to measure, {}; add it to --path",
                    paths.join(", ")
                ));
            }
        }
        Ok(())
    }

    /// The tool with every combination of the parameters that vary.
    fn variants(&self, plugin: &Arc<Plugin>) -> anyhow::Result<Vec<Variant>> {
        let mut axes: Vec<(String, Vec<Value>)> = Vec::new();
        for Axis { parameter, values } in &self.vary {
            if axes.iter().any(|(known, _)| known == parameter) {
                return Err(anyhow!("--vary {parameter}: it is varied twice"));
            }
            if self.parameters.contains_key(parameter) {
                return Err(anyhow!(
                    "--vary {parameter}: it is set to one value as well"
                ));
            }
            if values.is_empty() {
                return Err(anyhow!("--vary {parameter}: it has no values"));
            }
            if let Some(twice) = (1..values.len())
                .filter_map(|end| values.get(..=end)?.split_last())
                .find_map(|(last, before)| before.contains(last).then_some(last))
            {
                return Err(anyhow!("--vary {parameter}: {twice} stands there twice"));
            }
            axes.push((parameter.clone(), values.clone()));
        }
        let mut base = plugin.default_config();
        let keys = base
            .as_object_mut()
            .ok_or_else(|| anyhow!("{} takes no parameters", self.benchmark))?;
        merge(keys, &self.parameters);
        matrix(&axes)
            .into_iter()
            .map(|combination| {
                let mut config = base.clone();
                if let Some(keys) = config.as_object_mut() {
                    keys.extend(combination.iter().cloned());
                }
                let config = plugin.resolve_config(Some(config))?;
                let tool = PluginTool(plugin.open_tool(&config)?);
                Ok(Variant {
                    name: variant_name(&combination),
                    tool: Arc::new(tool),
                })
            })
            .collect()
    }
}

impl Prepared {
    /// Options of an orchestrator of this measurement on this machine, with state in a directory and the usual waits;
    /// whoever runs it elsewhere changes what is different there.
    #[must_use]
    pub fn options(&self, workers: usize, directory: &Path) -> OrchestratorOptions {
        OrchestratorOptions {
            listen: ([127, 0, 0, 1], 0).into(),
            certificates: None,
            benchmark: self.benchmark.clone(),
            main_metric: self.main_metric.clone(),
            selection: self.selection.clone(),
            workers,
            samples: self.samples,
            timeout: Duration::from_secs(30),
            replacement: Duration::from_secs(10),
            task_limit: self.task_limit,
            server_limit: Duration::from_secs(10),
            deadline: Duration::from_secs(30 * 60),
            directory: directory.to_owned(),
            progress: Arc::new(|_| ()),
            abort: never(),
        }
    }
}

/// Objects are merged, everything else is replaced.
fn merge(base: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(Value::Object(base)), Value::Object(over)) => merge(base, over),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Loads a tool by name or file.
///
/// # Errors
/// There is none of that name, or it is something else.
pub fn load_tool(plugins: &mut Plugins, name: &str) -> Result<Arc<Plugin>, Failed> {
    let plugin = plugins
        .load(name)
        .with_context(|| format!("--benchmark {name}"))
        .or_exit(Exit::Plugin)?;
    if plugin.world() != World::Tool {
        return Err(anyhow!(
            "--benchmark {name}: it is a {}, not a tool; `plugin list` shows the tools",
            plugin.world()
        ))
        .or_exit(Exit::Usage);
    }
    Ok(plugin)
}

/// The name of a tool in results.
#[must_use]
pub fn result_name(plugin: &Plugin) -> String {
    plugin.info().name.replace('_', "-")
}

#[cfg(test)]
mod tests;
