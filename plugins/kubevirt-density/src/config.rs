//! The configuration: perfscale-load-generator's file, in either of its generations, and a few keys of ours.

use kperf_sdk::Failure;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::duration::GoDuration;
use crate::workload::Workload;

/// Either `workloads` (with `globalConfig`), or one workload as `type`, `count` and `object`; not both.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Limits of all requests together.
    #[serde(default)]
    pub global_config: Option<GlobalConfig>,
    /// Run one after another.
    #[serde(default)]
    pub workloads: Option<Vec<WorkloadConfig>>,

    /// Stands for `containerPrefix: ""` in `inputVars`. A trailing slash is dropped where the template writes one.
    #[serde(default = "default_container_prefix")]
    pub container_prefix: String,
    /// Stands for `containerTag: ""` in `inputVars`.
    #[serde(default = "default_container_tag")]
    pub container_tag: String,

    /// Single workload: its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Single workload: `burst` (the default) or `steady-state`.
    #[serde(default, rename = "type")]
    pub load_type: Option<LoadType>,
    /// Single workload: how long to wait for objects, and how long a steady state is held; 5m if absent.
    #[serde(default)]
    pub timeout: Option<GoDuration>,
    /// Single workload: how many objects to hold.
    #[serde(default)]
    pub count: Option<i64>,
    /// Steady state: how many objects are replaced in a cycle.
    #[serde(default)]
    pub churn: Option<i64>,
    /// Steady state: how long to wait before each cycle; 20s if absent.
    #[serde(default)]
    pub min_churn_sleep: Option<GoDuration>,
    /// Single workload: what to create.
    #[serde(default)]
    pub object: Option<SingleObjectConfig>,
}

fn default_container_prefix() -> String {
    "registry:5000/kubevirt".to_owned()
}

fn default_container_tag() -> String {
    "devel".to_owned()
}

/// How a single workload loads the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LoadType {
    /// Create all objects, wait until they run, delete them.
    #[default]
    Burst,
    /// Hold the objects and replace some of them in cycles until the timeout.
    SteadyState,
}

/// Limits of the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GlobalConfig {
    /// Requests a second; 0 = no limit (perfscale-load-generator then falls back to 5).
    #[serde(default)]
    pub qps: f64,
    /// How many requests may be made at once; 0 = no limit (there 10). If absent, as many as a second allows.
    #[serde(default)]
    pub burst: Option<i64>,
}

/// One workload.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadConfig {
    /// Accepted and unused, as in perfscale-load-generator: the run has an id of its own.
    #[serde(default)]
    pub uuid: Option<String>,
    /// Names it in reports.
    #[serde(default)]
    pub name: String,
    /// How often to run the workload.
    #[serde(default = "one")]
    pub iteration_count: i64,
    /// How long to wait after each iteration.
    #[serde(default)]
    pub iteration_interval: GoDuration,
    /// Wait until all objects of an iteration run.
    #[serde(default)]
    pub iteration_creation_wait: bool,
    /// Delete objects and namespaces at the end of each iteration.
    #[serde(default)]
    pub iteration_cleanup: bool,
    /// With `iterationCleanup`: wait until they are gone. Without it, only namespaces that are used again are waited
    /// for, before they are.
    #[serde(default)]
    pub iteration_deletion_wait: bool,
    /// A namespace for each iteration, `<prefix>-<iteration>`, instead of `<prefix>-1` for all.
    #[serde(default)]
    pub namespaced_iterations: bool,
    /// The longest any one wait may last, in all.
    #[serde(default = "half_an_hour")]
    pub max_wait_timeout: GoDuration,
    /// Objects created a second; 0 = no limit.
    #[serde(default)]
    pub qps: f64,
    /// How many objects may be created at once; 0 = no limit. If absent, as many as a second allows.
    #[serde(default)]
    pub burst: Option<i64>,
    /// How long to wait after the last iteration.
    #[serde(default)]
    pub wait_when_finished: GoDuration,
    /// Created in this order: the next when all replicas of the one before are posted.
    pub objects: Vec<ObjectConfig>,
}

fn one() -> i64 {
    1
}

fn half_an_hour() -> GoDuration {
    GoDuration::from_secs(1_800)
}

/// What to create.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectConfig {
    /// A Go template of one object in YAML, relative to the folder of the workload file.
    #[serde(default)]
    pub template_file: Option<String>,
    /// The template itself, instead of `templateFile`.
    #[serde(default)]
    pub object_template: Option<String>,
    /// How many to create in each iteration, numbered from 1.
    #[serde(default = "one")]
    pub replicas: i64,
    /// Variables of the template. `namespace` is the prefix of the namespace; an empty `containerPrefix` or
    /// `containerTag` becomes the default above.
    #[serde(default)]
    pub input_vars: Map<String, Value>,
    /// What "running" means for this object, all of it; if absent, what is known of its kind.
    #[serde(default)]
    pub readiness: Option<Vec<CheckConfig>>,
}

/// What a single workload creates.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SingleObjectConfig {
    /// A Go template of one object in YAML, relative to the folder of the workload file.
    #[serde(default)]
    pub template_file: Option<String>,
    /// The template itself, instead of `templateFile`.
    #[serde(default)]
    pub object_template: Option<String>,
    /// Variables of the template. `namespace` is the namespace itself here.
    #[serde(default)]
    pub input_vars: Map<String, Value>,
    /// What "running" means for this object, all of it; if absent, what is known of its kind.
    #[serde(default)]
    pub readiness: Option<Vec<CheckConfig>>,
}

/// A condition on a field of an object.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckConfig {
    /// A JSON pointer with steps `[key=value]` into lists: `/status/conditions/[type=Ready]/status`.
    pub path: String,
    /// What must hold.
    #[schemars(extend("enum" = ["exists", "absent", "equals", "not-equals", "one-of", "at-least", "at-most", "equals-field", "at-least-field"]))]
    pub op: String,
    /// What to compare with: none for `exists` and `absent`, a list for `one-of`, a path for `…-field`.
    #[serde(default)]
    pub value: Option<Value>,
}

impl Config {
    /// The workloads, whichever form they are written in.
    ///
    /// # Errors
    /// Code `invalid-config`, with the key that is wrong: mixed forms, counts below 1, negative times and limits,
    /// objects without template or namespace, readiness that cannot be checked.
    pub fn workloads(&self) -> Result<Vec<Workload>, Failure> {
        let single = self.keys_of_single_workload();
        match (&self.workloads, single.first()) {
            (Some(_), Some(key)) => Err(invalid(
                *key,
                format!(
                    "belongs to a single workload and cannot stand beside workloads: remove {key}, or workloads"
                ),
            )),
            (None, Some(key)) if self.global_config.is_some() => Err(invalid(
                "globalConfig",
                format!("belongs to workloads and cannot stand beside {key} of a single workload"),
            )),
            (None, None) => Err(invalid(
                "workloads",
                "at least one workload is needed (or object and count of a single one)",
            )),
            (Some(workloads), None) if workloads.is_empty() => {
                Err(invalid("workloads", "at least one workload is needed"))
            }
            (Some(workloads), None) => {
                self.global_limit()?;
                workloads
                    .iter()
                    .enumerate()
                    .map(|(index, workload)| {
                        Workload::of_list(self, workload, &format!("workloads[{index}]"))
                    })
                    .collect()
            }
            (None, Some(_)) => Ok(vec![Workload::single(self)?]),
        }
    }

    fn keys_of_single_workload(&self) -> Vec<&'static str> {
        let given = [
            ("name", self.name.is_some()),
            ("type", self.load_type.is_some()),
            ("timeout", self.timeout.is_some()),
            ("count", self.count.is_some()),
            ("churn", self.churn.is_some()),
            ("minChurnSleep", self.min_churn_sleep.is_some()),
            ("object", self.object.is_some()),
        ];
        given
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(key, _)| key)
            .collect()
    }
}

/// A configuration that passed its schema and is wrong at `key`.
pub(crate) fn invalid(key: impl Into<String>, message: impl std::fmt::Display) -> Failure {
    let key = key.into();
    let message = format!("{key}: {message}");
    Failure::invalid_config(key, message)
}
