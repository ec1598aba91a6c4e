//! A whole test, read and checked: modules flattened, templates parsed, references resolved.

use std::collections::BTreeSet;

use kperf_sdk::Failure;
use serde_json::Map;

use super::calls::{Action, Call};
use super::decode::{UnknownKeys, invalid};
use super::model::{Namespaces, Phase, Step, StepSource, TestConfig, Work, decode_module};
use super::objects::ObjectTemplate;
use super::reconcile::Identity;
use super::source::Sources;
use super::tuning::Load;

/// A test that can be run.
#[derive(Clone, Debug)]
pub struct Test {
    /// As the config says.
    pub name: String,
    /// Namespaces are `<prefix>-<1..>`.
    pub prefix: String,
    /// How many namespaces are made.
    pub namespaces: u32,
    /// Whether these may be there already.
    pub enable_existing_namespaces: bool,
    /// In their order.
    pub steps: Vec<TestStep>,
    /// To be read by the user: keys that nothing reads, and what is not done.
    pub notes: Vec<String>,
}

/// A step that can be run.
#[derive(Clone, Debug)]
pub struct TestStep {
    /// `[step: 01] <name>`.
    pub name: String,
    /// What to do.
    pub work: StepWork,
}

/// Phases or measurements.
#[derive(Clone, Debug)]
pub enum StepWork {
    /// All at once.
    Phases(Vec<TestPhase>),
    /// All at once.
    Measurements(Vec<Call>),
}

/// A phase that can be run.
#[derive(Clone, Debug)]
pub struct TestPhase {
    /// Names of its namespaces; one that is empty = none.
    pub namespaces: Vec<String>,
    /// How many bundles there shall be in each.
    pub replicas_per_namespace: u32,
    /// For its shared state.
    pub tuning_set: String,
    /// When actions start.
    pub load: Load,
    /// Templates of a bundle, with the label selector by which to find what is there already.
    pub bundle: Vec<(ObjectTemplate, Option<String>)>,
}

/// Modules may nest so deep.
const MAX_MODULE_DEPTH: usize = 10;

impl Test {
    /// Reads `path`, relative to the directory of `sources`. `default_prefix` names the namespaces of a config that
    /// does not.
    ///
    /// # Errors
    /// Anything that would make a step impossible.
    pub fn load(sources: &Sources, path: &str, default_prefix: &str) -> Result<Self, Failure> {
        let mut notes = Vec::new();
        let mut unknown = UnknownKeys::default();
        let document = sources.document(path, &Map::new(), &mut notes)?;
        let mut config = TestConfig::decode(&document, &mut unknown)?;
        notes.append(&mut config.notes);
        let mut steps = Vec::new();
        let sources_of_steps = std::mem::take(&mut config.steps);
        flatten(
            sources,
            sources_of_steps,
            0,
            &mut steps,
            &mut unknown,
            &mut notes,
        )?;

        let prefix = config
            .namespace
            .prefix
            .clone()
            .unwrap_or_else(|| default_prefix.to_owned());
        let mut checked = Vec::with_capacity(steps.len());
        let mut started = BTreeSet::new();
        for (at, step) in steps.into_iter().enumerate() {
            let name = format!("[step: {:02}] {}", at + 1, step.name);
            let work = match step.work {
                Work::Measurements(calls) => {
                    check_order(&calls, &mut started)?;
                    StepWork::Measurements(calls)
                }
                Work::Phases(phases) => StepWork::Phases(
                    phases
                        .into_iter()
                        .map(|phase| {
                            TestPhase::new(sources, &config, &prefix, phase, &mut notes)
                                .map_err(|failure| prefixed(&name, failure))
                        })
                        .collect::<Result<_, _>>()?,
                ),
            };
            checked.push(TestStep {
                name: name.trim_end().to_owned(),
                work,
            });
        }
        unknown.0.sort();
        unknown.0.dedup();
        notes.extend(
            unknown
                .0
                .iter()
                .map(|path| format!("nothing reads the key {path}")),
        );
        Ok(Self {
            name: config.name,
            prefix,
            namespaces: config.namespace.number,
            enable_existing_namespaces: config.namespace.enable_existing,
            steps: checked,
            notes,
        })
    }

    /// The namespaces that are made for it.
    pub fn own_namespaces(&self) -> impl Iterator<Item = String> + '_ {
        (1..=self.namespaces).map(|number| format!("{}-{number}", self.prefix))
    }

    /// Its own namespaces and those that its phases name, each once.
    pub fn all_namespaces(&self) -> Vec<String> {
        let mut all: Vec<String> = self.own_namespaces().collect();
        let mut known: BTreeSet<String> = all.iter().cloned().collect();
        for step in &self.steps {
            let StepWork::Phases(phases) = &step.work else {
                continue;
            };
            for namespace in phases.iter().flat_map(|phase| &phase.namespaces) {
                if !namespace.is_empty() && known.insert(namespace.clone()) {
                    all.push(namespace.clone());
                }
            }
        }
        all
    }
}

impl TestPhase {
    fn new(
        sources: &Sources,
        config: &TestConfig,
        prefix: &str,
        phase: Phase,
        notes: &mut Vec<String>,
    ) -> Result<Self, Failure> {
        let Some(load) = config.tuning_set(&phase.tuning_set) else {
            let known: Vec<&str> = config
                .tuning_sets
                .iter()
                .map(|(name, _)| name.as_str())
                .collect();
            return Err(invalid(
                "tuningSet",
                format!(
                    "there is no `{}`; there are: {}",
                    phase.tuning_set,
                    known.join(", ")
                ),
            ));
        };
        let namespaces = match phase.namespaces {
            Namespaces::Cluster => vec![String::new()],
            Namespaces::List(names) => names,
            Namespaces::Range { min, max, basename } => {
                if max - min >= 1_000_000 {
                    return Err(invalid("namespaceRange", "more than a million namespaces"));
                }
                let basename = basename.unwrap_or_else(|| prefix.to_owned());
                (min..=max)
                    .map(|number| format!("{basename}-{number}"))
                    .collect()
            }
        };
        let mut bundle = Vec::with_capacity(phase.bundle.len());
        for spec in phase.bundle {
            let template = ObjectTemplate::new(sources, &spec)?;
            // A first rendering finds mistakes before anything is created. A phase that only deletes renders nothing.
            if phase.replicas_per_namespace > 0 {
                let first = namespaces.first().map_or("", String::as_str);
                template.manifests(first, 0, notes)?;
            }
            bundle.push((template, spec.list_unknown));
        }
        Ok(Self {
            namespaces,
            replicas_per_namespace: phase.replicas_per_namespace,
            tuning_set: phase.tuning_set,
            load: load.clone(),
            bundle,
        })
    }

    /// By what each member of the bundle is counted.
    pub fn identities(&self) -> Vec<Identity> {
        let identity = |(template, _): &(ObjectTemplate, Option<String>)| {
            let kind = template.kinds().first();
            let group = kind
                .and_then(|kind| kind.api_version.split_once('/'))
                .map_or("", |(group, _)| group);
            Identity {
                basename: template.basename().to_owned(),
                kind: kind.map(|kind| kind.kind.clone()).unwrap_or_default(),
                group: group.to_owned(),
            }
        };
        self.bundle.iter().map(identity).collect()
    }
}

fn prefixed(step: &str, failure: Failure) -> Failure {
    Failure {
        message: format!("{step}: {}", failure.message),
        ..failure
    }
}

fn flatten(
    sources: &Sources,
    from: Vec<StepSource>,
    depth: usize,
    into: &mut Vec<Step>,
    unknown: &mut UnknownKeys,
    notes: &mut Vec<String>,
) -> Result<(), Failure> {
    for step in from {
        match step {
            StepSource::Step(step) => into.push(step),
            StepSource::Module { path, .. } if depth == MAX_MODULE_DEPTH => {
                return Err(invalid(
                    "module",
                    format!("{path}: modules nest deeper than {MAX_MODULE_DEPTH}"),
                ));
            }
            StepSource::Module { path, params } => {
                let document = sources.document(&path, &params, notes)?;
                let in_file = |failure: Failure| prefixed(&path, failure);
                let steps = decode_module(&document, unknown).map_err(in_file)?;
                flatten(sources, steps, depth + 1, into, unknown, notes)?;
            }
        }
    }
    Ok(())
}

/// What is gathered must have been started: known before anything is created.
fn check_order(
    calls: &[Call],
    started: &mut BTreeSet<(&'static str, String)>,
) -> Result<(), Failure> {
    for call in calls {
        let method = call.action.method();
        let key = (method, call.identifier.clone());
        match &call.action {
            Action::StartupStart { .. } | Action::ControlledStart { .. } => {
                started.insert(key);
            }
            Action::StartupGather { .. }
            | Action::ControlledGather { .. }
            | Action::ControlledStop
                if !started.contains(&key) =>
            {
                return Err(invalid(
                    &call.path,
                    format!(
                        "nothing starts {method} with the identifier `{}` before it",
                        call.identifier
                    ),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}
