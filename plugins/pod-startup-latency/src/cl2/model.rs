//! A test config, decoded and checked: what it asks for that cannot be done is an error before anything is created.

use kperf_sdk::Failure;
use serde_json::{Map, Value};

use super::calls::Call;
use super::decode::{Fields, UnknownKeys, invalid};
use super::tuning::Load;

/// A test, without what it includes.
#[derive(Clone, Debug, PartialEq)]
pub struct TestConfig {
    /// Part of file names.
    pub name: String,
    /// The namespaces made for it.
    pub namespace: NamespaceConfig,
    /// By name.
    pub tuning_sets: Vec<(String, Load)>,
    /// Steps, with modules still to be read.
    pub steps: Vec<StepSource>,
    /// What ClusterLoader2 does that this run does not, without harm to its result.
    pub notes: Vec<String>,
}

/// `namespace`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceConfig {
    /// How many: `<prefix>-1` to `<prefix>-<number>`.
    pub number: u32,
    /// `test-` and six letters if absent.
    pub prefix: Option<String>,
    /// Whether such a namespace may be there already.
    pub enable_existing: bool,
}

/// A step as it stands in a file.
#[derive(Clone, Debug, PartialEq)]
pub enum StepSource {
    /// Work to do.
    Step(Step),
    /// A file with steps of its own.
    Module {
        /// Relative to the test config's directory.
        path: String,
        /// More variables for its template.
        params: Map<String, Value>,
    },
}

/// A step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// As the config says; may be empty.
    pub name: String,
    /// What to do.
    pub work: Work,
}

/// Phases or measurements.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Objects to bring about, all phases at once.
    Phases(Vec<Phase>),
    /// Calls of measurements.
    Measurements(Vec<Call>),
}

/// Objects to bring about in some namespaces.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// Where.
    pub namespaces: Namespaces,
    /// How many bundles there shall be in each.
    pub replicas_per_namespace: u32,
    /// Its name.
    pub tuning_set: String,
    /// One of each is one action.
    pub bundle: Vec<ObjectSpec>,
}

/// Where a phase's objects live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// They have no namespace.
    Cluster,
    /// `<basename>-<min>` to `<basename>-<max>`.
    Range {
        /// The first.
        min: u32,
        /// The last.
        max: u32,
        /// The test's prefix if absent.
        basename: Option<String>,
    },
    /// By name.
    List(Vec<String>),
}

/// A member of a bundle.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectSpec {
    /// Objects are `<basename>-<index>`.
    pub basename: String,
    /// Relative to the test config's directory.
    pub template_path: String,
    /// More variables for the template.
    pub fill_map: Map<String, Value>,
    /// A label selector: how many there are already is looked up when the object is new to the test.
    pub list_unknown: Option<String>,
}

impl TestConfig {
    /// Decodes the rendered config.
    ///
    /// # Errors
    /// What is wrong or not supported, by its path.
    pub fn decode(value: &Value, unknown: &mut UnknownKeys) -> Result<Self, Failure> {
        let mut fields = Fields::of(value, "")?;
        let mut notes = Vec::new();
        let name = fields.string("name")?.unwrap_or_default();
        let of_old = fields.count("automanagedNamespaces")?;
        let namespace = match fields.take("namespace") {
            Some(value) => NamespaceConfig::decode(value, of_old, unknown, &mut notes)?,
            None => NamespaceConfig {
                number: of_old.unwrap_or(1),
                prefix: None,
                enable_existing: false,
            },
        };
        if namespace.number == 0 {
            return Err(invalid("namespace.number", "must be above 0"));
        }
        for key in ["dependencies", "chaosMonkey"] {
            let asked = match fields.take(key) {
                Some(Value::Array(list)) => !list.is_empty(),
                Some(Value::Object(map)) => !map.is_empty(),
                Some(_) => true,
                None => false,
            };
            if asked {
                return Err(invalid(key, "is not supported; take it out of the config"));
            }
        }
        let mut tuning_sets: Vec<(String, Load)> = Vec::new();
        for (at, value) in fields.list("tuningSets")?.iter().enumerate() {
            let (name, load) =
                decode_tuning_set(value, &format!("tuningSets[{at}]"), unknown, &mut notes)?;
            if tuning_sets.iter().any(|(known, _)| *known == name) {
                return Err(invalid(
                    &format!("tuningSets[{at}].name"),
                    format!("`{name}` is there twice"),
                ));
            }
            tuning_sets.push((name, load));
        }
        let steps = decode_steps(&mut fields, unknown)?;
        if steps.is_empty() {
            return Err(invalid("steps", "there are none"));
        }
        fields.finish(unknown);
        Ok(Self {
            name,
            namespace,
            tuning_sets,
            steps,
            notes,
        })
    }

    /// The load of a tuning set.
    pub fn tuning_set(&self, name: &str) -> Option<&Load> {
        self.tuning_sets
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, load)| load)
    }
}

impl NamespaceConfig {
    fn decode(
        value: &Value,
        of_old: Option<u32>,
        unknown: &mut UnknownKeys,
        notes: &mut Vec<String>,
    ) -> Result<Self, Failure> {
        let mut fields = Fields::of(value, "namespace")?;
        let namespace = Self {
            number: fields.count("number")?.or(of_old).unwrap_or(1),
            prefix: fields.string("prefix")?.filter(|prefix| !prefix.is_empty()),
            enable_existing: fields.boolean("enableExistingNamespaces")?.unwrap_or(false),
        };
        if fields.boolean("deleteStaleNamespaces")? == Some(true) {
            notes.push(
                "namespace.deleteStaleNamespaces is not done: a run deletes only what is its own"
                    .to_owned(),
            );
        }
        if fields.boolean("deleteAutomanagedNamespaces")? == Some(false) {
            notes.push(
                "namespace.deleteAutomanagedNamespaces: false is not done: the host deletes what the run created"
                    .to_owned(),
            );
        }
        // How long the host waits for its own clean-up is the host's affair.
        fields.duration_ns("deleteNamespaceTimeout")?;
        fields.finish(unknown);
        Ok(namespace)
    }
}

fn decode_tuning_set(
    value: &Value,
    path: &str,
    unknown: &mut UnknownKeys,
    notes: &mut Vec<String>,
) -> Result<(String, Load), Failure> {
    let mut fields = Fields::of(value, path)?;
    let name = fields.required_string("name")?;
    if fields.duration_ns("initialDelay")?.unwrap_or(0) > 0 {
        notes.push(format!(
            "{path}.initialDelay is not waited for, as in ClusterLoader2"
        ));
    }
    let mut loads = Vec::new();
    for kind in [
        "qpsLoad",
        "randomizedLoad",
        "steppedLoad",
        "timeLimitedLoad",
        "randomizedTimeLimitedLoad",
        "parallelismLimitedLoad",
        "globalQPSLoad",
        "poissonLoad",
    ] {
        if let Some(value) = fields.take(kind) {
            loads.push(decode_load(kind, value, fields.path_of(kind), unknown)?);
        }
    }
    fields.finish(unknown);
    let mut loads = loads.into_iter();
    match (loads.next(), loads.next()) {
        (Some(load), None) => Ok((name, load)),
        _ => Err(invalid(
            path,
            "exactly one load is needed: qpsLoad, randomizedLoad, steppedLoad, timeLimitedLoad, \
             randomizedTimeLimitedLoad, parallelismLimitedLoad, globalQPSLoad or poissonLoad",
        )),
    }
}

fn decode_load(
    kind: &str,
    value: &Value,
    path: String,
    unknown: &mut UnknownKeys,
) -> Result<Load, Failure> {
    let mut fields = Fields::of(value, path.clone())?;
    let missing = |key: &str| invalid(&format!("{path}.{key}"), "is required, above 0");
    let rate =
        |fields: &mut Fields<'_>, key: &str| fields.positive(key)?.ok_or_else(|| missing(key));
    let count = |fields: &mut Fields<'_>, key: &str| {
        fields
            .count(key)?
            .filter(|&number| number > 0)
            .ok_or_else(|| missing(key))
    };
    let time = |fields: &mut Fields<'_>, key: &str| {
        fields
            .duration_ns(key)?
            .filter(|&ns| ns > 0)
            .ok_or_else(|| missing(key))
    };
    let load = match kind {
        "qpsLoad" => Load::Qps {
            qps: rate(&mut fields, "qps")?,
        },
        "randomizedLoad" => Load::Randomized {
            average_qps: rate(&mut fields, "averageQps")?,
        },
        "steppedLoad" => Load::Stepped {
            burst_size: count(&mut fields, "burstSize")?,
            step_delay_ns: time(&mut fields, "stepDelay")?,
        },
        "timeLimitedLoad" => Load::TimeLimited {
            time_limit_ns: time(&mut fields, "timeLimit")?,
        },
        "randomizedTimeLimitedLoad" => Load::RandomizedTimeLimited {
            time_limit_ns: time(&mut fields, "timeLimit")?,
        },
        "parallelismLimitedLoad" => Load::ParallelismLimited {
            limit: count(&mut fields, "parallelismLimit")?,
        },
        "globalQPSLoad" => Load::GlobalQps {
            qps: rate(&mut fields, "qps")?,
            burst: count(&mut fields, "burst")?,
        },
        _ => Load::Poisson {
            expected_per_second: rate(&mut fields, "expectedActionsPerSecond")?,
        },
    };
    fields.finish(unknown);
    Ok(load)
}

/// Decodes a module's file, which has steps and nothing else.
///
/// # Errors
/// What is wrong or not supported, by its path.
pub fn decode_module(value: &Value, unknown: &mut UnknownKeys) -> Result<Vec<StepSource>, Failure> {
    let mut fields = Fields::of(value, "")?;
    let steps = decode_steps(&mut fields, unknown)?;
    fields.finish(unknown);
    Ok(steps)
}

fn decode_steps(
    fields: &mut Fields<'_>,
    unknown: &mut UnknownKeys,
) -> Result<Vec<StepSource>, Failure> {
    let path = fields.path_of("steps");
    fields
        .list("steps")?
        .iter()
        .enumerate()
        .map(|(at, value)| decode_step(value, &format!("{path}[{at}]"), unknown))
        .collect()
}

fn decode_step(
    value: &Value,
    path: &str,
    unknown: &mut UnknownKeys,
) -> Result<StepSource, Failure> {
    let mut fields = Fields::of(value, path)?;
    let name = fields.string("name")?.unwrap_or_default();
    let place = if name.is_empty() {
        path.to_owned()
    } else {
        format!("{path} ({name})")
    };
    let phases = fields.list("phases")?;
    let measurements = fields.list("measurements")?;
    let module = match fields.take("module") {
        Some(value) => {
            let mut fields = Fields::of(value, format!("{path}.module"))?;
            let path = fields.string("path")?.unwrap_or_default();
            let params = fields.object("params")?;
            fields.finish(unknown);
            // A module without a path is one that a template left empty.
            (!path.is_empty()).then_some((path, params))
        }
        None => None,
    };
    fields.finish(unknown);
    let kinds = [
        !phases.is_empty(),
        !measurements.is_empty(),
        module.is_some(),
    ];
    if kinds.iter().filter(|given| **given).count() != 1 {
        return Err(invalid(
            &place,
            "exactly one of phases, measurements and module is needed",
        ));
    }
    if let Some((path, params)) = module {
        return Ok(StepSource::Module { path, params });
    }
    let work = if measurements.is_empty() {
        let decode = |(at, value)| decode_phase(value, format!("{place}.phases[{at}]"), unknown);
        Work::Phases(
            phases
                .iter()
                .enumerate()
                .map(decode)
                .collect::<Result<_, _>>()?,
        )
    } else {
        let mut calls = Vec::new();
        for (at, value) in measurements.iter().enumerate() {
            let path = format!("{place}.measurements[{at}]");
            calls.extend(Call::decode_all(value, &path, unknown)?);
        }
        Work::Measurements(calls)
    };
    Ok(StepSource::Step(Step { name, work }))
}

fn decode_phase(value: &Value, path: String, unknown: &mut UnknownKeys) -> Result<Phase, Failure> {
    let mut fields = Fields::of(value, path.clone())?;
    let range = match fields.take("namespaceRange") {
        Some(value) => {
            let mut fields = Fields::of(value, format!("{path}.namespaceRange"))?;
            let (min, max) = (fields.count("min")?, fields.count("max")?);
            let basename = fields.string("basename")?;
            fields.finish(unknown);
            let (min, max) = (min.unwrap_or(0), max.unwrap_or(0));
            if min > max {
                return Err(invalid(
                    &format!("{path}.namespaceRange"),
                    format!("min {min} is above max {max}"),
                ));
            }
            Some(Namespaces::Range { min, max, basename })
        }
        None => None,
    };
    let list = fields.strings("namespaceList")?;
    let namespaces = match (range, list.is_empty()) {
        (Some(range), true) => range,
        (None, false) => Namespaces::List(list),
        (None, true) => Namespaces::Cluster,
        (Some(_), false) => {
            return Err(invalid(
                &path,
                "namespaceRange and namespaceList exclude each other",
            ));
        }
    };
    let replicas_per_namespace = fields.count("replicasPerNamespace")?.unwrap_or(0);
    let tuning_set = fields.required_string("tuningSet")?;
    let bundle = fields
        .list("objectBundle")?
        .iter()
        .enumerate()
        .map(|(at, value)| decode_object(value, format!("{path}.objectBundle[{at}]"), unknown))
        .collect::<Result<_, _>>()?;
    fields.finish(unknown);
    Ok(Phase {
        namespaces,
        replicas_per_namespace,
        tuning_set,
        bundle,
    })
}

fn decode_object(
    value: &Value,
    path: String,
    unknown: &mut UnknownKeys,
) -> Result<ObjectSpec, Failure> {
    let mut fields = Fields::of(value, path.clone())?;
    let list_unknown = match fields.take("listUnknownObjectOptions") {
        Some(value) => {
            let mut fields = Fields::of(value, format!("{path}.listUnknownObjectOptions"))?;
            let selector = match fields.take("labelSelector") {
                Some(value) => label_selector(value, &fields.path_of("labelSelector"), unknown)?,
                None => String::new(),
            };
            fields.finish(unknown);
            Some(selector)
        }
        None => None,
    };
    let object = ObjectSpec {
        basename: fields.required_string("basename")?,
        template_path: fields.required_string("objectTemplatePath")?,
        fill_map: fields.object("templateFillMap")?,
        list_unknown,
    };
    fields.finish(unknown);
    Ok(object)
}

/// A label selector in the words of the API, as kubectl writes it.
fn label_selector(value: &Value, path: &str, unknown: &mut UnknownKeys) -> Result<String, Failure> {
    let mut fields = Fields::of(value, path)?;
    let mut terms: Vec<String> = fields
        .object("matchLabels")?
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for (at, value) in fields.list("matchExpressions")?.iter().enumerate() {
        let mut fields = Fields::of(value, format!("{path}.matchExpressions[{at}]"))?;
        let key = fields.required_string("key")?;
        let values = fields.strings("values")?.join(",");
        let operator = fields.required_string("operator")?;
        terms.push(match operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key,
            "DoesNotExist" => format!("!{key}"),
            other => {
                return Err(invalid(
                    &fields.path_of("operator"),
                    format!("`{other}` is none of In, NotIn, Exists, DoesNotExist"),
                ));
            }
        });
        fields.finish(unknown);
    }
    fields.finish(unknown);
    Ok(terms.join(","))
}
