//! What a run is going to do: workloads, iterations, namespaces and, on demand, manifests.

use std::collections::{BTreeMap, BTreeSet};

use go_template::{Functions, MissingKey, RenderOptions, Template};
use kperf_sdk::Failure;
use serde_json::Value;

use crate::config::{Config, invalid};
use crate::manifest::{self, Kind, Manifest};
use crate::readiness::Readiness;
use crate::workload::{Namespaces, Object, Pace, Source, Workload};

/// Everything a run is going to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of all requests together; `None` = no limit.
    pub global_limit: Option<Pace>,
    /// One after another.
    pub workloads: Vec<WorkloadPlan>,
    /// What is probably not meant, for the user to read: variables without value, foreign namespaces.
    pub warnings: Vec<String>,
}

/// A workload with its templates read.
#[derive(Clone, Debug)]
pub struct WorkloadPlan {
    /// Counts, waits and pace.
    pub workload: Workload,
    /// In the order of creation.
    pub objects: Vec<ObjectPlan>,
    /// Its place among the run's workloads, from 0.
    pub index: usize,
    /// Names it in the report, unlike the others: its name, with its place where that is another's name, too.
    pub title: String,
    run_id: String,
}

/// One template, ready to make any replica.
#[derive(Clone, Debug)]
pub struct ObjectPlan {
    /// What the configuration says.
    pub object: Object,
    /// What its template makes.
    pub kind: Kind,
    /// When one of its objects runs.
    pub readiness: Readiness,
    template: Template,
    namespaces: Namespaces,
    run_id: String,
}

impl Config {
    /// The template files the plan needs, each once.
    ///
    /// # Errors
    /// As [`Config::workloads`].
    pub fn template_files(&self) -> Result<BTreeSet<String>, Failure> {
        let workloads = self.workloads()?;
        let objects = workloads.into_iter().flat_map(|workload| workload.objects);
        Ok(objects
            .filter_map(|object| match object.source {
                Source::File(file) => Some(file),
                Source::Text(_) => None,
            })
            .collect())
    }
}

impl Plan {
    /// Reads the configuration and renders the first objects of each template, so that what is wrong shows before
    /// anything is created. `templates` holds the texts of [`Config::template_files`]; `run_id` becomes the label.
    ///
    /// # Errors
    /// As [`Config::workloads`], and when a template is missing, does not parse, or does not make one object with a
    /// name of its own.
    pub fn new(
        config: &Config,
        templates: &BTreeMap<String, String>,
        run_id: &str,
    ) -> Result<Self, Failure> {
        let mut warnings = BTreeSet::new();
        let mut plans = Vec::new();
        let workloads = config.workloads()?;
        let names: Vec<String> = workloads.iter().map(|one| one.name.clone()).collect();
        for (index, workload) in workloads.into_iter().enumerate() {
            let objects = workload
                .objects
                .iter()
                .map(|object| ObjectPlan::new(object, &workload, templates, run_id, &mut warnings))
                .collect::<Result<Vec<_>, _>>()?;
            let plan = WorkloadPlan {
                workload,
                objects,
                index,
                title: title(&names, index),
                run_id: run_id.to_owned(),
            };
            plan.check_names()?;
            plans.push(plan);
        }
        Ok(Self {
            global_limit: config.global_limit()?,
            workloads: plans,
            warnings: warnings.into_iter().collect(),
        })
    }
}

/// The name of a workload if no other has it, else one with its place, as in the configuration.
fn title(names: &[String], index: usize) -> String {
    let name = names.get(index).map_or("", String::as_str);
    let alike = names.iter().filter(|other| *other == name).count();
    match name {
        "" if names.len() > 1 => format!("workloads[{index}]"),
        name if alike > 1 => format!("{name}[{index}]"),
        name => name.to_owned(),
    }
}

impl WorkloadPlan {
    /// The value of the label that every object carries.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The names of an iteration's namespaces, which counts from 1.
    pub fn namespaces(&self, iteration: u64) -> BTreeSet<String> {
        self.objects
            .iter()
            .map(|object| object.namespace(iteration))
            .collect()
    }

    /// An iteration's namespaces, labelled.
    pub fn namespace_manifests(&self, iteration: u64) -> Vec<Value> {
        self.namespaces(iteration)
            .iter()
            .map(|name| manifest::namespace(name, &self.run_id))
            .collect()
    }

    /// Objects of one kind must not share a name while they exist together.
    fn check_names(&self) -> Result<(), Failure> {
        // Objects that stay share `<prefix>-1` with those of the next iteration.
        let stays = !self.workload.cleanup && self.workload.namespaces == Namespaces::Shared;
        let together = if stays {
            self.workload.iterations.min(2)
        } else {
            1
        };
        let mut seen: BTreeMap<(Kind, String, String), (String, u64, u64)> = BTreeMap::new();
        for iteration in 1..=together {
            for object in &self.objects {
                let more = self.workload.churn.is_some() || object.object.replicas > 1;
                for manifest in object.manifests(iteration).take(if more { 2 } else { 1 }) {
                    let manifest = manifest?;
                    let Some(name) = manifest.name() else {
                        continue;
                    };
                    let identity = (manifest.kind(), manifest.namespace.clone(), name.to_owned());
                    let key = object.object.key.clone();
                    let number = (key.clone(), iteration, manifest.replica);
                    let Some((before, first, replica)) = seen.insert(identity, number) else {
                        continue;
                    };
                    let message = if before != key {
                        format!("makes {name:?} as {before} does: name them apart")
                    } else if first != iteration {
                        format!(
                            "makes {name:?} in every iteration, and objects stay: name it with {{{{.iteration}}}}, or set iterationCleanup or namespacedIterations"
                        )
                    } else {
                        let next = manifest.replica;
                        format!(
                            "makes {name:?} for replicas {replica} and {next} alike: name it with {{{{.replica}}}}"
                        )
                    };
                    return Err(invalid(key, message));
                }
            }
        }
        Ok(())
    }
}

impl ObjectPlan {
    fn new(
        object: &Object,
        workload: &Workload,
        templates: &BTreeMap<String, String>,
        run_id: &str,
        warnings: &mut BTreeSet<String>,
    ) -> Result<Self, Failure> {
        let (name, text) = match &object.source {
            Source::Text(text) => (format!("{}.objectTemplate", object.key), text),
            Source::File(file) => {
                let key = format!("{}.templateFile", object.key);
                let text = templates
                    .get(file)
                    .ok_or_else(|| invalid(key, format!("there is no template {file}")))?;
                (file.clone(), text)
            }
        };
        let template = Template::parse(&name, text, &Functions::new())
            .map_err(|error| invalid(&object.key, error))?;
        let mut object = object.clone();
        if writes_slash_after_prefix(text)
            && let Some(Value::String(prefix)) = object.variables.get_mut("containerPrefix")
        {
            prefix.truncate(prefix.trim_end_matches('/').len());
        }
        let mut plan = Self {
            object,
            kind: Kind {
                api_version: String::new(),
                kind: String::new(),
            },
            readiness: Readiness::default(),
            template,
            namespaces: workload.namespaces,
            run_id: run_id.to_owned(),
        };
        let first = plan.manifest(1, 1)?;
        for missing in &first.missing {
            warnings.insert(format!(
                "{name}:{}:{}: {} has no value and is rendered as nothing: set it in {}.inputVars",
                missing.line, missing.column, missing.expression, plan.object.key
            ));
        }
        let written = first
            .object
            .pointer("/metadata/namespace")
            .and_then(Value::as_str);
        if let Some(written) = written
            && written != first.namespace
        {
            warnings.insert(format!(
                "{name}: the object is in namespace {written:?}, the workload creates {:?}: write {{{{.namespace}}}}",
                first.namespace
            ));
        }
        plan.kind = first.kind();
        plan.readiness = Readiness::of(&first.object, plan.object.readiness.as_deref());
        Ok(plan)
    }

    /// The namespace of an iteration, which counts from 1.
    pub fn namespace(&self, iteration: u64) -> String {
        self.namespaces
            .name(&self.object.namespace_prefix, iteration)
    }

    /// One object.
    ///
    /// # Errors
    /// Code `invalid-config` when the template fails or does not make one object.
    pub fn manifest(&self, iteration: u64, replica: u64) -> Result<Manifest, Failure> {
        self.renderer(iteration).render(replica)
    }

    /// All objects of an iteration, each made when it is asked for. For
    /// objects that take the place of others see [`Manifests::numbered`].
    pub fn manifests(&self, iteration: u64) -> Manifests<'_> {
        Manifests {
            renderer: self.renderer(iteration),
            next: 1,
            last: self.object.replicas,
        }
    }

    fn renderer(&self, iteration: u64) -> Renderer<'_> {
        let namespace = self.namespace(iteration);
        let mut variables = self.object.variables.clone();
        variables.insert("iteration".to_owned(), Value::from(iteration));
        variables.insert("namespace".to_owned(), Value::from(namespace.as_str()));
        Renderer {
            plan: self,
            iteration,
            namespace,
            variables: Value::Object(variables),
            options: RenderOptions {
                missing_key: MissingKey::Empty,
                ..RenderOptions::default()
            },
        }
    }
}

/// Whether the template itself writes the slash behind the prefix, which must then not end in one.
fn writes_slash_after_prefix(text: &str) -> bool {
    text.match_indices(".containerPrefix").any(|(at, name)| {
        let after = text.get(at + name.len()..).unwrap_or_default();
        let after = after.trim_start();
        let after = after.strip_prefix('-').unwrap_or(after);
        after
            .strip_prefix("}}")
            .is_some_and(|after| after.starts_with('/'))
    })
}

/// Renders replicas of one iteration; the variables are made once.
#[derive(Debug)]
struct Renderer<'p> {
    plan: &'p ObjectPlan,
    iteration: u64,
    namespace: String,
    variables: Value,
    options: RenderOptions,
}

impl Renderer<'_> {
    fn render(&mut self, replica: u64) -> Result<Manifest, Failure> {
        let plan = self.plan;
        if let Value::Object(variables) = &mut self.variables {
            variables.insert("replica".to_owned(), Value::from(replica));
        }
        let rendered = plan
            .template
            .render_with_notes(&self.variables, &self.options)
            .map_err(|error| invalid(&plan.object.key, error))?;
        let object = manifest::read(&rendered.text, &plan.run_id).map_err(|reason| {
            let message = format!("template {} {reason}", plan.template.name());
            invalid(&plan.object.key, message)
        })?;
        Ok(Manifest {
            iteration: self.iteration,
            replica,
            namespace: self.namespace.clone(),
            object,
            missing: rendered.missing,
        })
    }
}

/// Objects of one iteration, made one by one.
#[derive(Debug)]
pub struct Manifests<'p> {
    renderer: Renderer<'p>,
    next: u64,
    last: u64,
}

impl Manifests<'_> {
    /// `count` objects from number `first` on, which may be beyond the replicas: churn numbers on.
    #[must_use]
    pub fn numbered(mut self, first: u64, count: u64) -> Self {
        self.next = first.max(1);
        self.last = self.next.saturating_add(count).saturating_sub(1);
        self
    }
}

impl Iterator for Manifests<'_> {
    type Item = Result<Manifest, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next > self.last {
            return None;
        }
        let manifest = self.renderer.render(self.next);
        self.next += 1;
        Some(manifest)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.last.saturating_add(1).saturating_sub(self.next);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}
