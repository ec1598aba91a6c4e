//! A generator plugin as a source of requests: the one place where the runtime's shapes become the engine's.

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use kperf_load::{
    mix::Mix,
    request::{
        Batch, ExchangeKind, Outcomes, ShardContext, Source, SourceError, SourceFactory, Template,
    },
};
use kperf_runtime::{Generator, OpenContext, Plugin, PluginError, TemplateSpec};

use crate::report;

/// One entry of a mix: a plugin, its configuration and how often it is drawn.
#[derive(Clone)]
pub struct Entry {
    /// Relative weight; above 0.
    pub shares: u32,
    /// The loaded plugin.
    pub plugin: Arc<Plugin>,
    /// Validated configuration.
    pub config: serde_json::Value,
    /// Where it stands in the profile, for messages.
    pub place: String,
}

/// What every instance of a phase is told.
#[derive(Clone, Debug)]
pub struct PhaseContext {
    /// Unique name of the run.
    pub run_id: String,
    /// Name of the phase.
    pub phase: String,
    /// How long the client waits for an answer; none = forever.
    pub deadline: Option<Duration>,
}

/// Makes the sources of a phase, one per shard.
#[must_use]
pub fn factory(entries: Vec<Entry>, context: PhaseContext) -> SourceFactory {
    Arc::new(move |shard| open(&entries, &context, shard))
}

/// Opens the source of one shard.
///
/// # Errors
/// A plugin refused its configuration or failed.
pub fn open(
    entries: &[Entry],
    context: &PhaseContext,
    shard: ShardContext,
) -> Result<Box<dyn Source>, SourceError> {
    let mut sources = Vec::with_capacity(entries.len());
    for (number, entry) in entries.iter().enumerate() {
        sources.push((entry.shares, open_entry(number, entry, context, shard)?));
    }
    match sources.len() {
        1 => sources
            .pop()
            .map(|(_, source)| source)
            .ok_or_else(no_entries),
        0 => Err(no_entries()),
        _ => Ok(Box::new(Mix::new(sources, shard.seed, shard.shard)?)),
    }
}

fn no_entries() -> SourceError {
    SourceError {
        code: "invalid-config".to_owned(),
        message: "nothing to send: every entry has zero shares".to_owned(),
    }
}

fn open_entry(
    number: usize,
    entry: &Entry,
    context: &PhaseContext,
    shard: ShardContext,
) -> Result<Box<dyn Source>, SourceError> {
    // Entries of one mix must not draw the same numbers; the host promises seeds below 2^53.
    let seed = (shard.seed ^ ((number as u64) << 32)) & ((1 << 53) - 1);
    let generator = entry
        .plugin
        .open_generator(
            OpenContext {
                seed,
                shard: shard.shard,
                shards: shard.shards,
                deadline: context.deadline.unwrap_or(Duration::ZERO),
                labels: report::labels(&[
                    ("run-id".to_owned(), context.run_id.clone()),
                    ("phase".to_owned(), context.phase.clone()),
                    ("entry".to_owned(), number.to_string()),
                ]),
            },
            &entry.config,
        )
        .map_err(|error| failed(&error))?;
    let templates = generator.templates().iter().map(template).collect();
    Ok(Box::new(PluginSource {
        generator,
        templates,
    }))
}

/// Decides about a request before it is handed to the engine: method, path and query.
pub type Gate = Arc<dyn Fn(&http::Method, &str) -> Result<(), SourceError> + Send + Sync>;

/// Sources whose every request passes a gate. One that does not ends the phase.
#[must_use]
pub fn gated(inner: SourceFactory, gate: Gate) -> SourceFactory {
    Arc::new(move |shard| {
        let source = inner(shard)?;
        let shapes = source
            .templates()
            .iter()
            .map(|template| Shape {
                method: template.method.clone(),
                path: template.path.as_str().to_owned(),
                own_path_allowed: None,
            })
            .collect();
        Ok(Box::new(Gated {
            source,
            gate: Arc::clone(&gate),
            shapes,
        }) as Box<dyn Source>)
    })
}

struct Gated {
    source: Box<dyn Source>,
    gate: Gate,
    shapes: Vec<Shape>,
}

/// What the gate needs of a template.
struct Shape {
    method: http::Method,
    path: String,
    /// What was said of the template's own path, once it was used.
    own_path_allowed: Option<Result<(), SourceError>>,
}

impl Gated {
    fn check(&mut self, batch: &Batch) -> Result<(), SourceError> {
        batch.check(self.source.templates())?;
        let mut start = 0;
        for row in 0..batch.count as usize {
            let at = |column: &[u32]| column.get(row).copied().unwrap_or_default() as usize;
            let Some(shape) = self.shapes.get_mut(at(&batch.template)) else {
                continue;
            };
            let end = start + at(&batch.path_len);
            if end == start {
                let gate = &self.gate;
                shape
                    .own_path_allowed
                    .get_or_insert_with(|| gate(&shape.method, &shape.path))
                    .clone()?;
            } else {
                let path = batch.arena.get(start..end).unwrap_or_default();
                (self.gate)(&shape.method, &String::from_utf8_lossy(path))?;
            }
            start = end + at(&batch.body_len);
        }
        Ok(())
    }
}

impl Source for Gated {
    fn templates(&self) -> &[Template] {
        self.source.templates()
    }

    fn next(&mut self, limit: u32) -> Result<Batch, SourceError> {
        let batch = self.source.next(limit)?;
        self.check(&batch)?;
        Ok(batch)
    }

    fn wants_outcomes(&self) -> bool {
        self.source.wants_outcomes()
    }

    fn observe(&mut self, outcomes: Outcomes) -> Result<(), SourceError> {
        self.source.observe(outcomes)
    }

    fn owns_arrivals(&self) -> bool {
        self.source.owns_arrivals()
    }

    fn schedule(&mut self, limit: u32) -> Result<Vec<u64>, SourceError> {
        self.source.schedule(limit)
    }
}

struct PluginSource {
    generator: Generator,
    templates: Vec<Template>,
}

impl Source for PluginSource {
    fn templates(&self) -> &[Template] {
        &self.templates
    }

    fn next(&mut self, limit: u32) -> Result<Batch, SourceError> {
        let batch = self.generator.next(limit).map_err(|error| failed(&error))?;
        Ok(Batch {
            count: batch.count,
            template: batch.template,
            path_len: batch.path_len,
            body_len: batch.body_len,
            tag: batch.tag,
            arena: batch.arena,
            done: batch.done,
        })
    }

    fn wants_outcomes(&self) -> bool {
        self.generator.wants_outcomes()
    }

    fn observe(&mut self, outcomes: Outcomes) -> Result<(), SourceError> {
        self.generator
            .observe(kperf_runtime::Outcomes {
                count: outcomes.count,
                tag: outcomes.tag,
                template: outcomes.template,
                status: outcomes.status,
                service_ns: outcomes.service_ns,
                size: outcomes.size,
                capture_len: outcomes.capture_len,
                arena: outcomes.arena,
            })
            .map_err(|error| failed(&error))
    }

    fn owns_arrivals(&self) -> bool {
        self.generator.owns_arrivals()
    }

    fn schedule(&mut self, limit: u32) -> Result<Vec<u64>, SourceError> {
        self.generator
            .schedule(limit)
            .map_err(|error| failed(&error))
    }
}

fn failed(error: &PluginError) -> SourceError {
    SourceError {
        code: error.code().to_owned(),
        message: error.to_string(),
    }
}

/// The runtime has checked the shape; here it only changes hands.
fn template(spec: &TemplateSpec) -> Template {
    Template {
        series: spec.series.clone(),
        method: spec.method.clone(),
        path: spec.path.clone(),
        headers: spec.headers.iter().cloned().collect::<HeaderMap>(),
        body: spec.body.clone().into(),
        kind: match spec.kind {
            kperf_runtime::ExchangeKind::Request => ExchangeKind::Request,
            kperf_runtime::ExchangeKind::WatchList => ExchangeKind::WatchList,
            kperf_runtime::ExchangeKind::Watch { hold } => ExchangeKind::Watch { hold },
        },
        capture: spec.capture.clone(),
    }
}
