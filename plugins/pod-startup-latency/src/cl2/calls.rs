//! Calls of measurements: method, identifier and action, with the parameters as numbers.

use kperf_sdk::Failure;
use serde_json::Value;

use super::decode::{Fields, UnknownKeys, invalid};

/// A call of a measurement. State belongs to the pair of method and identifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Tells apart measurements of one method.
    pub identifier: String,
    /// What is asked for.
    pub action: Action,
    /// Where the config asks for it.
    pub path: String,
}

/// Which objects a measurement looks at. All empty = every one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Empty = all namespaces of the test.
    pub namespace: String,
    /// As kubectl's `--selector`.
    pub labels: String,
    /// As kubectl's `--field-selector`.
    pub fields: String,
}

/// How long `pod_startup` may take; `None` = as the caller says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// Of those percentiles that have none of their own, in nanoseconds.
    pub all_ns: Option<u64>,
    /// Nanoseconds.
    pub perc50_ns: Option<u64>,
    /// Nanoseconds.
    pub perc90_ns: Option<u64>,
    /// Nanoseconds.
    pub perc99_ns: Option<u64>,
}

/// What is asked for. Times are in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `PodStartupLatency`, `start`.
    StartupStart {
        /// Which pods.
        selector: Selector,
        /// Of `pod_startup`.
        thresholds: Thresholds,
    },
    /// `PodStartupLatency`, `gather`.
    StartupGather {
        /// Whose events say when a pod was scheduled.
        scheduler: String,
    },
    /// `WaitForControlledPodsRunning`, `start`.
    ControlledStart {
        /// For example `apps/v1`.
        api_version: String,
        /// For example `Deployment`.
        kind: String,
        /// Which of them.
        selector: Selector,
        /// From the end of the last change.
        operation_timeout_ns: u64,
        /// Whether old pods do not count.
        check_updated: bool,
        /// How many pods of an object may be missing.
        count_error_margin: u32,
    },
    /// `WaitForControlledPodsRunning`, `gather`.
    ControlledGather {
        /// For the watch to show what a list shows.
        sync_timeout_ns: u64,
    },
    /// `WaitForControlledPodsRunning`, `stop`.
    ControlledStop,
    /// `WaitForRunningPods`.
    RunningPods {
        /// Which pods.
        selector: Selector,
        /// Exactly so many.
        desired: u32,
        /// Then it is an error.
        timeout_ns: u64,
        /// Between two looks.
        refresh_ns: u64,
        /// Whether an error ends the test.
        fatal: bool,
    },
    /// `Sleep`.
    Sleep {
        /// How long.
        duration_ns: u64,
    },
    /// `Timer`, `start`.
    TimerStart {
        /// Its name.
        label: String,
    },
    /// `Timer`, `stop`.
    TimerStop {
        /// Its name.
        label: String,
    },
    /// `Timer`, `gather`.
    TimerGather,
}

impl Action {
    /// The method it belongs to.
    pub fn method(&self) -> &'static str {
        match self {
            Self::StartupStart { .. } | Self::StartupGather { .. } => "PodStartupLatency",
            Self::ControlledStart { .. } | Self::ControlledGather { .. } | Self::ControlledStop => {
                "WaitForControlledPodsRunning"
            }
            Self::RunningPods { .. } => "WaitForRunningPods",
            Self::Sleep { .. } => "Sleep",
            Self::TimerStart { .. } | Self::TimerStop { .. } | Self::TimerGather => "Timer",
        }
    }
}

/// What can be asked for, for the error that somebody asked for something else.
const SUPPORTED: &str = "PodStartupLatency (start, gather), WaitForControlledPodsRunning (start, gather, stop), \
                         WaitForRunningPods, Sleep, Timer (start, stop, gather)";

/// Kinds whose pods are waited for.
pub const CONTROLLERS: [&str; 6] = [
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "Job",
];

const SEC: u64 = 1_000_000_000;

impl Call {
    /// Decodes one entry of `measurements`, which may have several instances.
    ///
    /// # Errors
    /// What is wrong, and methods and actions that are not supported.
    pub fn decode_all(
        value: &Value,
        path: &str,
        unknown: &mut UnknownKeys,
    ) -> Result<Vec<Self>, Failure> {
        let mut fields = Fields::of(value, path)?;
        let method = fields.required_string("method")?;
        let identifier = fields.string("identifier")?.unwrap_or_default();
        let params = fields.object("params")?;
        let instances = fields.list("instances")?;
        fields.finish(unknown);
        if identifier.is_empty() == instances.is_empty() {
            return Err(invalid(
                path,
                "exactly one of identifier and instances is needed",
            ));
        }
        if instances.is_empty() {
            let mut fields = Fields::of_map(&params, format!("{path}.params"));
            let action = decode_action(&method, &mut fields, path)?;
            fields.finish(unknown);
            return Ok(vec![Self {
                identifier,
                action,
                path: path.to_owned(),
            }]);
        }
        let mut calls = Vec::new();
        for (at, value) in instances.iter().enumerate() {
            let path = format!("{path}.instances[{at}]");
            let mut fields = Fields::of(value, path.clone())?;
            let identifier = fields.required_string("identifier")?;
            let own = fields.object("params")?;
            fields.finish(unknown);
            let mut all = params.clone();
            all.extend(own);
            let mut fields = Fields::of_map(&all, format!("{path}.params"));
            let action = decode_action(&method, &mut fields, &path)?;
            fields.finish(unknown);
            calls.push(Self {
                identifier,
                action,
                path,
            });
        }
        Ok(calls)
    }
}

fn decode_action(method: &str, fields: &mut Fields<'_>, path: &str) -> Result<Action, Failure> {
    let verb = match method {
        "PodStartupLatency" | "WaitForControlledPodsRunning" | "Timer" => {
            fields.required_string("action")?
        }
        // These do one thing; configs give them an action all the same.
        _ => fields.string("action")?.unwrap_or_default(),
    };
    match (method, verb.as_str()) {
        ("PodStartupLatency", "start") => startup_start(fields),
        ("PodStartupLatency", "gather") => {
            // Configs repeat the parameters of `start`, which `gather` does not look at.
            startup_start(fields)?;
            Ok(Action::StartupGather {
                scheduler: fields
                    .string("schedulerName")?
                    .filter(|name| !name.is_empty())
                    .unwrap_or_else(|| "default-scheduler".to_owned()),
            })
        }
        ("WaitForControlledPodsRunning", "start") => controlled_start(fields),
        ("WaitForControlledPodsRunning", "gather") => {
            let sync_timeout_ns = fields.duration_ns("syncTimeout")?.unwrap_or(60 * SEC);
            ignore_controlled_start(fields);
            Ok(Action::ControlledGather { sync_timeout_ns })
        }
        ("WaitForControlledPodsRunning", "stop") => {
            ignore_controlled_start(fields);
            Ok(Action::ControlledStop)
        }
        ("WaitForRunningPods", _) => Ok(Action::RunningPods {
            selector: selector(fields)?,
            desired: fields
                .count("desiredPodCount")?
                .ok_or_else(|| invalid(&fields.path_of("desiredPodCount"), "is required"))?,
            timeout_ns: fields.duration_ns("timeout")?.unwrap_or(60 * SEC),
            refresh_ns: fields.duration_ns("refreshInterval")?.unwrap_or(5 * SEC),
            fatal: fields.boolean("isFatal")?.unwrap_or(false),
        }),
        ("Sleep", _) => Ok(Action::Sleep {
            duration_ns: fields
                .duration_ns("duration")?
                .ok_or_else(|| invalid(&fields.path_of("duration"), "is required"))?,
        }),
        ("Timer", "start") => Ok(Action::TimerStart {
            label: fields.required_string("label")?,
        }),
        ("Timer", "stop") => Ok(Action::TimerStop {
            label: fields.required_string("label")?,
        }),
        ("Timer", "gather") => Ok(Action::TimerGather),
        ("PodStartupLatency" | "WaitForControlledPodsRunning" | "Timer", _) => Err(invalid(
            path,
            format!("{method} has no action `{verb}`; there are {SUPPORTED}"),
        )),
        _ => Err(invalid(
            path,
            format!("the measurement `{method}` is not supported; there are {SUPPORTED}"),
        )),
    }
}

fn selector(fields: &mut Fields<'_>) -> Result<Selector, Failure> {
    Ok(Selector {
        namespace: fields.string("namespace")?.unwrap_or_default(),
        labels: fields.string("labelSelector")?.unwrap_or_default(),
        fields: fields.string("fieldSelector")?.unwrap_or_default(),
    })
}

fn startup_start(fields: &mut Fields<'_>) -> Result<Action, Failure> {
    // Not needed here: events are told apart by their pods.
    fields.boolean("mapEventsByOrder")?;
    Ok(Action::StartupStart {
        selector: selector(fields)?,
        thresholds: Thresholds {
            all_ns: fields.duration_ns("threshold")?,
            perc50_ns: fields.duration_ns("perc50Threshold")?,
            perc90_ns: fields.duration_ns("perc90Threshold")?,
            perc99_ns: fields.duration_ns("perc99Threshold")?,
        },
    })
}

fn controlled_start(fields: &mut Fields<'_>) -> Result<Action, Failure> {
    let kind = fields.required_string("kind")?;
    if !CONTROLLERS.contains(&kind.as_str()) {
        return Err(invalid(
            &fields.path_of("kind"),
            format!(
                "pods of a `{kind}` cannot be waited for; there are {}",
                CONTROLLERS.join(", ")
            ),
        ));
    }
    Ok(Action::ControlledStart {
        api_version: fields.required_string("apiVersion")?,
        kind,
        selector: selector(fields)?,
        operation_timeout_ns: fields
            .duration_ns("operationTimeout")?
            .unwrap_or(10 * 60 * SEC),
        check_updated: fields.boolean("checkIfPodsAreUpdated")?.unwrap_or(true),
        count_error_margin: fields.count("countErrorMargin")?.unwrap_or(0),
    })
}

/// Takes what configs repeat from `start`.
fn ignore_controlled_start(fields: &mut Fields<'_>) {
    for key in [
        "apiVersion",
        "kind",
        "namespace",
        "labelSelector",
        "fieldSelector",
        "operationTimeout",
        "checkIfPodsAreUpdated",
        "countErrorMargin",
        "syncTimeout",
    ] {
        fields.take(key);
    }
}
