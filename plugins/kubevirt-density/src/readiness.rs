//! What "running" means for each kind of object, as milestones a tracker can follow.
//!
//! A phase may pass unseen between two watch events. Who is seen running was pending before, so a milestone for a
//! phase holds in all later ones, too, and its count is right.

use kperf_sdk::Failure;
use serde_json::{Value, json};

use crate::config::{CheckConfig, invalid};

/// How a field is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// It is there and not null.
    Exists,
    /// It is not there, or null.
    Absent,
    /// It is the value.
    Equals,
    /// It is not the value.
    NotEquals,
    /// It is one of the values.
    OneOf,
    /// It is a number, and not below the value.
    AtLeast,
    /// It is a number, and not above the value.
    AtMost,
    /// It is what the field at the path in the value is.
    EqualsField,
    /// It is a number, and not below the field at the path in the value; absent is 0.
    AtLeastField,
}

impl Op {
    const ALL: [Self; 9] = [
        Self::Exists,
        Self::Absent,
        Self::Equals,
        Self::NotEquals,
        Self::OneOf,
        Self::AtLeast,
        Self::AtMost,
        Self::EqualsField,
        Self::AtLeastField,
    ];

    /// As configurations and trackers spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exists => "exists",
            Self::Absent => "absent",
            Self::Equals => "equals",
            Self::NotEquals => "not-equals",
            Self::OneOf => "one-of",
            Self::AtLeast => "at-least",
            Self::AtMost => "at-most",
            Self::EqualsField => "equals-field",
            Self::AtLeastField => "at-least-field",
        }
    }
}

/// A condition on a field.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// A JSON pointer with steps `[key=value]`, which pick an element of a list.
    pub path: String,
    /// What must hold.
    pub op: Op,
    /// What to compare with; `None` for [`Op::Exists`] and [`Op::Absent`].
    pub value: Option<Value>,
}

impl Check {
    fn new(path: &str, op: Op, value: Value) -> Self {
        Self {
            path: path.to_owned(),
            op,
            value: Some(value),
        }
    }

    /// A check as the user wrote it.
    ///
    /// # Errors
    /// Code `invalid-config`: not a path, not an operation, a value the operation cannot use.
    pub(crate) fn from_config(check: &CheckConfig, key: &str) -> Result<Self, Failure> {
        let op = Op::ALL.into_iter().find(|op| op.name() == check.op);
        let Some(op) = op else {
            let known: Vec<_> = Op::ALL.iter().map(|op| op.name()).collect();
            let message = format!("{:?} is none of {}", check.op, known.join(", "));
            return Err(invalid(format!("{key}.op"), message));
        };
        check_path(&check.path).map_err(|reason| invalid(format!("{key}.path"), reason))?;
        let wrong = match (op, &check.value) {
            (Op::Exists | Op::Absent, None) | (Op::Equals | Op::NotEquals, Some(_)) => None,
            (Op::Exists | Op::Absent, Some(_)) => Some("must be left out".to_owned()),
            (Op::OneOf, Some(Value::Array(values))) if !values.is_empty() => None,
            (Op::OneOf, _) => Some("must be a list of values".to_owned()),
            (Op::AtLeast | Op::AtMost, Some(Value::Number(_))) => None,
            (Op::AtLeast | Op::AtMost, _) => Some("must be a number".to_owned()),
            (Op::EqualsField | Op::AtLeastField, Some(Value::String(path))) => {
                check_path(path).err()
            }
            (Op::EqualsField | Op::AtLeastField, _) => {
                Some("must be the path of another field".to_owned())
            }
            (Op::Equals | Op::NotEquals, None) => Some("is required".to_owned()),
        };
        if let Some(reason) = wrong {
            let message = format!("{reason} with op {}", op.name());
            return Err(invalid(format!("{key}.value"), message));
        }
        Ok(Self {
            path: check.path.clone(),
            op,
            value: check.value.clone(),
        })
    }
}

/// Whether a path can be followed: `/a/b`, and `[key=value]` for a step.
fn check_path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err(format!(
            "{path:?} is not a path: it begins with /, as /status/phase"
        ));
    }
    // A value in brackets may hold slashes.
    let mut rest = path;
    while let Some(step) = rest.strip_prefix('/') {
        if let Some(inner) = step.strip_prefix('[') {
            let Some((pick, after)) = inner.split_once(']') else {
                return Err(format!("{path:?}: ] is missing"));
            };
            if pick.split_once('=').is_none_or(|(key, _)| key.is_empty()) {
                return Err(format!("{path:?}: a step in brackets is [key=value]"));
            }
            if !after.is_empty() && !after.starts_with('/') {
                return Err(format!("{path:?}: / is missing after ]"));
            }
            rest = after;
        } else {
            rest = step.find('/').map_or("", |end| step.split_at(end).1);
        }
    }
    Ok(())
}

/// A point in the life of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Milestone {
    /// In reports.
    pub name: String,
    /// All must hold; none = as soon as the object is seen.
    pub checks: Vec<Check>,
    /// Path to where the object itself says when, as RFC 3339.
    pub api_time: Option<String>,
    /// Reached when the object is deleted, whatever the checks.
    pub on_deletion: bool,
}

impl Milestone {
    fn new(name: &str, checks: Vec<Check>) -> Self {
        Self {
            name: name.to_owned(),
            checks,
            api_time: None,
            on_deletion: false,
        }
    }

    fn at(mut self, api_time: &str) -> Self {
        self.api_time = Some(api_time.to_owned());
        self
    }
}

/// The life of a kind of object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readiness {
    /// In order, from `created` to `deleted`.
    pub milestones: Vec<Milestone>,
    /// The milestone that means "running".
    pub running: String,
    /// Milestones that mean that an object will never run.
    pub failed: Vec<String>,
}

impl Readiness {
    /// For an object as it is to be created; `checks` are the user's and replace what is known of the kind.
    pub fn of(object: &Value, checks: Option<&[Check]>) -> Self {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let (group, kind) = match text("apiVersion").split_once('/') {
            Some((group, _)) => (group, text("kind")),
            None => ("", text("kind")),
        };
        if let Some(checks) = checks {
            return Self::reaching(vec![Milestone::new("ready", checks.to_vec())], "ready", &[]);
        }
        match (group, kind) {
            ("kubevirt.io", "VirtualMachineInstance") => virtual_machine_instance(),
            ("kubevirt.io", "VirtualMachine") => {
                let ready = vec![Check::new("/status/ready", Op::Equals, json!(true))];
                let ready =
                    Milestone::new("ready", ready).at(&condition("Ready", "lastTransitionTime"));
                Self::reaching(vec![ready], "ready", &[])
            }
            ("kubevirt.io", "VirtualMachineInstanceReplicaSet") => {
                replicas(object, "/status/readyReplicas", false)
            }
            ("kubevirt.io", "VirtualMachineInstanceMigration")
            | ("cdi.kubevirt.io", "DataVolume") => {
                let phase = |name: &str, phase: &str| Milestone::new(name, vec![phase_is(phase)]);
                let milestones = vec![phase("succeeded", "Succeeded"), phase("failed", "Failed")];
                Self::reaching(milestones, "succeeded", &["failed"])
            }
            ("", "Pod") => pod(),
            ("apps", "Deployment") => replicas(object, "/status/availableReplicas", true),
            ("apps", "ReplicaSet" | "StatefulSet") | ("", "ReplicationController") => {
                replicas(object, "/status/readyReplicas", true)
            }
            ("apps", "DaemonSet") => {
                let scheduled = json!("/status/desiredNumberScheduled");
                let ready = vec![
                    observed(),
                    Check::new("/status/numberReady", Op::AtLeastField, scheduled),
                ];
                Self::reaching(vec![Milestone::new("ready", ready)], "ready", &[])
            }
            ("batch", "Job") => {
                let milestones = vec![
                    when_condition("complete", "Complete"),
                    when_condition("failed", "Failed"),
                ];
                Self::reaching(milestones, "complete", &["failed"])
            }
            ("", "Node") => Self::reaching(vec![when_condition("ready", "Ready")], "ready", &[]),
            ("", "Namespace") => Self::reaching(
                vec![Milestone::new("active", vec![phase_is("Active")])],
                "active",
                &[],
            ),
            ("", "PersistentVolumeClaim") => Self::reaching(
                vec![Milestone::new("bound", vec![phase_is("Bound")])],
                "bound",
                &[],
            ),
            // Kubernetes' own other kinds are data: who is there is ready. Their groups have no dot, or end so.
            (group, _) if !group.contains('.') || group.ends_with(".k8s.io") => {
                Self::reaching(Vec::new(), "created", &[])
            }
            _ => Self::reaching(vec![when_condition("ready", "Ready")], "ready", &[]),
        }
    }

    fn reaching(between: Vec<Milestone>, running: &str, failed: &[&str]) -> Self {
        let mut milestones =
            vec![Milestone::new("created", Vec::new()).at("/metadata/creationTimestamp")];
        milestones.extend(between);
        milestones.push(Milestone {
            on_deletion: true,
            ..Milestone::new("deleted", Vec::new())
        });
        Self {
            milestones,
            running: running.to_owned(),
            failed: failed.iter().map(|&name| name.to_owned()).collect(),
        }
    }
}

fn condition(kind: &str, field: &str) -> String {
    format!("/status/conditions/[type={kind}]/{field}")
}

fn when_condition(name: &str, kind: &str) -> Milestone {
    let check = Check::new(&condition(kind, "status"), Op::Equals, json!("True"));
    Milestone::new(name, vec![check]).at(&condition(kind, "lastTransitionTime"))
}

fn phase_is(phase: &str) -> Check {
    Check::new("/status/phase", Op::Equals, json!(phase))
}

/// The controller has seen the object as it is, so that its status counts.
fn observed() -> Check {
    let generation = json!("/metadata/generation");
    Check::new("/status/observedGeneration", Op::AtLeastField, generation)
}

fn virtual_machine_instance() -> Readiness {
    let stamp = |phase: &str| {
        format!("/status/phaseTransitionTimestamps/[phase={phase}]/phaseTransitionTimestamp")
    };
    // Who succeeded ran; who failed may have failed anywhere.
    let phases = ["Pending", "Scheduling", "Scheduled", "Running", "Succeeded"];
    let mut milestones: Vec<Milestone> = phases
        .iter()
        .enumerate()
        .map(|(index, phase)| {
            let reached = json!(phases.get(index..).unwrap_or_default());
            let check = Check::new("/status/phase", Op::OneOf, reached);
            Milestone::new(&phase.to_lowercase(), vec![check]).at(&stamp(phase))
        })
        .collect();
    milestones.insert(4, when_condition("ready", "Ready"));
    milestones.push(Milestone::new("failed", vec![phase_is("Failed")]).at(&stamp("Failed")));
    Readiness::reaching(milestones, "running", &["failed"])
}

fn pod() -> Readiness {
    let phase = |values: Value| vec![Check::new("/status/phase", Op::OneOf, values)];
    let mut ready = phase(json!(["Running"]));
    ready.push(Check::new(
        &condition("Ready", "status"),
        Op::Equals,
        json!("True"),
    ));
    let milestones = vec![
        when_condition("scheduled", "PodScheduled"),
        // Its startTime is when the kubelet took it on, before images are pulled. Of several containers the first
        // in the list speaks for all.
        Milestone::new("running", phase(json!(["Running", "Succeeded"])))
            .at("/status/containerStatuses/0/state/running/startedAt"),
        Milestone::new("ready", ready).at(&condition("Ready", "lastTransitionTime")),
        Milestone::new("failed", vec![phase_is("Failed")]),
    ];
    Readiness::reaching(milestones, "ready", &["failed"])
}

/// As many replicas as are asked for; the API's default is one.
fn replicas(object: &Value, ready: &str, observes: bool) -> Readiness {
    let asked = object
        .pointer("/spec/replicas")
        .is_some_and(|replicas| !replicas.is_null());
    let enough = if asked {
        Check::new(ready, Op::AtLeastField, json!("/spec/replicas"))
    } else {
        Check::new(ready, Op::AtLeast, json!(1))
    };
    let checks = observes
        .then(observed)
        .into_iter()
        .chain([enough])
        .collect();
    Readiness::reaching(vec![Milestone::new("ready", checks)], "ready", &[])
}
