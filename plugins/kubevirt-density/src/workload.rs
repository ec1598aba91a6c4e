//! Workloads in one form, checked, whichever generation of the file they come from.

use kperf_sdk::Failure;
use serde_json::{Map, Value};

use crate::config::{CheckConfig, Config, LoadType, ObjectConfig, WorkloadConfig, invalid};
use crate::duration::GoDuration;
use crate::readiness::Check;

/// Objects to create a number of times.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// Names it in reports.
    pub name: String,
    /// At least 1.
    pub iterations: u64,
    /// After each iteration, the last one too.
    pub interval_ns: u64,
    /// Wait until all objects of an iteration run.
    pub creation_wait: bool,
    /// Delete objects and namespaces at the end of an iteration.
    pub cleanup: bool,
    /// Wait until they are gone; only with `cleanup`.
    pub deletion_wait: bool,
    /// Names of the namespaces.
    pub namespaces: Namespaces,
    /// The longest any one wait may last.
    pub max_wait_ns: u64,
    /// How fast to create; `None` = as fast as it goes.
    pub pace: Option<Pace>,
    /// After the last iteration.
    pub wait_when_finished_ns: u64,
    /// Replaces objects in cycles after the creation.
    pub churn: Option<Churn>,
    /// In the order of creation.
    pub objects: Vec<Object>,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Above 0.
    pub per_sec: f64,
    /// At least 1.
    pub burst: u64,
}

/// How namespaces are named after their prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// `<prefix>-1` for all iterations.
    Shared,
    /// `<prefix>-<iteration>`.
    PerIteration,
    /// The prefix is the name.
    AsWritten,
}

impl Namespaces {
    /// The namespace of an iteration, which counts from 1.
    pub fn name(self, prefix: &str, iteration: u64) -> String {
        match self {
            Self::Shared => format!("{prefix}-1"),
            Self::PerIteration => format!("{prefix}-{iteration}"),
            Self::AsWritten => prefix.to_owned(),
        }
    }
}

/// Objects replaced in cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Churn {
    /// Deleted, and created anew under the next numbers, in each cycle.
    pub replaced: u64,
    /// Before each cycle.
    pub pause_ns: u64,
    /// From the start of the workload until no further cycle begins.
    pub duration_ns: u64,
}

/// Where a template comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, relative to the folder of the workload file.
    File(String),
    /// The text itself.
    Text(String),
}

/// One template, replicated.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its key in the configuration: `workloads[0].objects[1]`.
    pub key: String,
    /// Its template.
    pub source: Source,
    /// At least 1.
    pub replicas: u64,
    /// Prefix of the namespace.
    pub namespace_prefix: String,
    /// Variables for the template, defaults filled in.
    pub variables: Map<String, Value>,
    /// What the user says "running" is.
    pub readiness: Option<Vec<Check>>,
}

impl Config {
    /// Requests of all workloads together; `None` = no limit.
    ///
    /// # Errors
    /// Code `invalid-config` for negative limits.
    pub fn global_limit(&self) -> Result<Option<Pace>, Failure> {
        let limit = self.global_config.unwrap_or_default();
        pace("globalConfig", limit.qps, limit.burst)
    }
}

impl Workload {
    pub(crate) fn of_list(
        config: &Config,
        workload: &WorkloadConfig,
        key: &str,
    ) -> Result<Self, Failure> {
        let namespaces = if workload.namespaced_iterations {
            Namespaces::PerIteration
        } else {
            Namespaces::Shared
        };
        if workload.objects.is_empty() {
            let key = format!("{key}.objects");
            return Err(invalid(key, "at least one object is needed"));
        }
        let objects = workload
            .objects
            .iter()
            .enumerate()
            .map(|(index, object)| Object::new(config, object, format!("{key}.objects[{index}]")))
            .collect::<Result<_, _>>()?;
        let time = |name: &str, value| duration_ns(&format!("{key}.{name}"), value);
        Ok(Self {
            name: workload.name.clone(),
            iterations: count(&format!("{key}.iterationCount"), workload.iteration_count)?,
            interval_ns: time("iterationInterval", workload.iteration_interval)?,
            creation_wait: workload.iteration_creation_wait,
            cleanup: workload.iteration_cleanup,
            deletion_wait: workload.iteration_cleanup && workload.iteration_deletion_wait,
            namespaces,
            max_wait_ns: positive_ns(&format!("{key}.maxWaitTimeout"), workload.max_wait_timeout)?,
            pace: pace(key, workload.qps, workload.burst)?,
            wait_when_finished_ns: time("waitWhenFinished", workload.wait_when_finished)?,
            churn: None,
            objects,
        })
    }

    /// A single workload cleans up after itself, whatever its type.
    pub(crate) fn single(config: &Config) -> Result<Self, Failure> {
        let Some(object) = &config.object else {
            return Err(invalid("object", "is required for a single workload"));
        };
        let Some(objects) = config.count else {
            return Err(invalid("count", "is required for a single workload"));
        };
        let timeout = config.timeout.unwrap_or(GoDuration::from_secs(300));
        let timeout_ns = positive_ns("timeout", timeout)?;
        let held = count("count", objects)?;
        let object = ObjectConfig {
            template_file: object.template_file.clone(),
            object_template: object.object_template.clone(),
            replicas: objects,
            input_vars: object.input_vars.clone(),
            readiness: object.readiness.clone(),
        };
        let churn = match config.load_type.unwrap_or_default() {
            LoadType::Burst => {
                for (key, given) in [
                    ("churn", config.churn.is_some()),
                    ("minChurnSleep", config.min_churn_sleep.is_some()),
                ] {
                    if given {
                        return Err(invalid(key, "has a meaning with type: steady-state only"));
                    }
                }
                None
            }
            LoadType::SteadyState => {
                let Some(churn) = config.churn else {
                    return Err(invalid("churn", "is required with type: steady-state"));
                };
                let replaced = count("churn", churn)?;
                if replaced > held {
                    let message = format!("must be at most count, which is {held}");
                    return Err(invalid("churn", message));
                }
                let pause = config.min_churn_sleep.unwrap_or(GoDuration::from_secs(20));
                Some(Churn {
                    replaced,
                    pause_ns: duration_ns("minChurnSleep", pause)?,
                    duration_ns: timeout_ns,
                })
            }
        };
        Ok(Self {
            name: config.name.clone().unwrap_or_default(),
            iterations: 1,
            interval_ns: 0,
            creation_wait: true,
            cleanup: true,
            deletion_wait: true,
            namespaces: Namespaces::AsWritten,
            max_wait_ns: timeout_ns,
            pace: None,
            wait_when_finished_ns: 0,
            churn,
            objects: vec![Object::new(config, &object, "object".to_owned())?],
        })
    }
}

impl Object {
    fn new(config: &Config, object: &ObjectConfig, key: String) -> Result<Self, Failure> {
        let source = match (&object.template_file, &object.object_template) {
            (Some(file), None) if !file.is_empty() => Source::File(file.clone()),
            (None, Some(text)) => Source::Text(text.clone()),
            (Some(_), Some(_)) => {
                let key = format!("{key}.objectTemplate");
                return Err(invalid(key, "cannot stand beside templateFile"));
            }
            _ => return Err(invalid(format!("{key}.templateFile"), "is required")),
        };
        let replicas = count(&format!("{key}.replicas"), object.replicas)?;
        let mut variables = object.input_vars.clone();
        for (name, default) in [
            ("containerPrefix", &config.container_prefix),
            ("containerTag", &config.container_tag),
        ] {
            if let Some(value) = variables.get_mut(name)
                && value.as_str() == Some("")
            {
                *value = Value::from(default.as_str());
            }
        }
        let prefix = variables.get("namespace").and_then(Value::as_str);
        let namespace_prefix = prefix.unwrap_or_default().to_owned();
        check_namespace(&format!("{key}.inputVars.namespace"), &namespace_prefix)?;
        for name in ["iteration", "replica"] {
            if variables.contains_key(name) {
                let key = format!("{key}.inputVars.{name}");
                return Err(invalid(key, "is set by the workload: choose another name"));
            }
        }
        let readiness = match &object.readiness {
            None => None,
            Some(checks) => Some(read_checks(&format!("{key}.readiness"), checks)?),
        };
        Ok(Self {
            key,
            source,
            replicas,
            namespace_prefix,
            variables,
            readiness,
        })
    }
}

fn read_checks(key: &str, checks: &[CheckConfig]) -> Result<Vec<Check>, Failure> {
    checks
        .iter()
        .enumerate()
        .map(|(index, check)| Check::from_config(check, &format!("{key}[{index}]")))
        .collect()
}

/// The prefix of a DNS label; a suffix of up to 20 digits must fit behind it.
fn check_namespace(key: &str, prefix: &str) -> Result<(), Failure> {
    if prefix.is_empty() {
        let message = "is required: a text, the prefix of the namespace to create objects in";
        return Err(invalid(key, message));
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends = |end: Option<char>| end.is_some_and(|c| c.is_ascii_alphanumeric());
    if prefix.len() > 52
        || !prefix.chars().all(allowed)
        || !ends(prefix.chars().next())
        || !ends(prefix.chars().last())
    {
        let message = format!(
            "{prefix:?} cannot begin a namespace's name: at most 52 lower-case letters, digits and -, \
             a letter or digit at both ends"
        );
        return Err(invalid(key, message));
    }
    Ok(())
}

fn count(key: &str, value: i64) -> Result<u64, Failure> {
    match u64::try_from(value) {
        Ok(value) if value > 0 => Ok(value),
        _ => Err(invalid(key, "must be at least 1")),
    }
}

fn duration_ns(key: &str, value: GoDuration) -> Result<u64, Failure> {
    u64::try_from(value.ns).map_err(|_| invalid(key, "must not be negative"))
}

fn positive_ns(key: &str, value: GoDuration) -> Result<u64, Failure> {
    match duration_ns(key, value)? {
        0 => Err(invalid(key, "must be above 0")),
        ns => Ok(ns),
    }
}

fn pace(key: &str, per_sec: f64, burst: Option<i64>) -> Result<Option<Pace>, Failure> {
    if !per_sec.is_finite() || per_sec < 0.0 {
        return Err(invalid(format!("{key}.qps"), "must not be negative"));
    }
    let given = burst
        .map(u64::try_from)
        .transpose()
        .map_err(|_| invalid(format!("{key}.burst"), "must not be negative"))?;
    if per_sec == 0.0 || given == Some(0) {
        return Ok(None);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and saturating is right"
    )]
    let in_a_second = (per_sec.ceil() as u64).max(1);
    Ok(Some(Pace {
        per_sec,
        burst: given.unwrap_or(in_a_second),
    }))
}
