//! A generator instance: an open source of requests, owned by one shard and called on its thread.
//!
//! No call waits. A call that traps, runs too long or breaks a rule ends the instance; every later
//! call gives the same error until [`Generator::reopen`] makes a fresh one.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use wasmtime::{Store, component::ResourceAny};

use crate::{
    batch::{Batch, Outcomes, check_schedule},
    engine::epochs,
    error::{Phase, PluginError},
    guest::Guest,
    plugin::Plugin,
    report::Label,
    template::{self, TemplateSpec},
    v0_1::{
        exports::kperf::workload::{arrivals, feedback, generator},
        kperf::workload::requests as wit,
    },
    wasi::Nature,
};

/// What an instance of a generator works for.
#[derive(Clone, Debug, Default)]
pub struct OpenContext {
    /// Seed of every random choice; only the low 53 bits reach the plugin.
    pub seed: u64,
    /// This instance's number, from 0.
    pub shard: u32,
    /// How many instances share the work.
    pub shards: u32,
    /// How long the client waits for an answer; zero = unlimited.
    pub deadline: Duration,
    /// Facts by name: `run-id`, `phase`, `entry`.
    pub labels: Vec<Label>,
}

/// Every number the host produces is exact in languages whose numbers are doubles.
const MAX_EXACT: u64 = (1 << 53) - 1;

/// An open source of requests.
pub struct Generator {
    plugin: Arc<Plugin>,
    context: OpenContext,
    /// JSON.
    config: String,
    state: State,
    warned: bool,
}

enum State {
    Open(Box<Instance>),
    Spent(PluginError),
}

struct Instance {
    store: Store<Guest>,
    source: ResourceAny,
    generator: generator::Guest,
    feedback: Option<feedback::Guest>,
    arrivals: Option<arrivals::Guest>,
    templates: Vec<TemplateSpec>,
    last_arrival_ns: Option<u64>,
}

impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("plugin", self.plugin.info())
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// Makes an instance and opens its source. `config` has passed [`Plugin::resolve_config`].
    ///
    /// # Errors
    /// Of phase `open`: it is not a generator, it failed, or its templates are not valid.
    pub fn open_generator(
        self: &Arc<Self>,
        context: OpenContext,
        config: &Value,
    ) -> Result<Generator, PluginError> {
        let config = config.to_string();
        let instance = Instance::open(self, &context, &config)?;
        Ok(Generator {
            plugin: Arc::clone(self),
            context,
            config,
            state: State::Open(Box::new(instance)),
            warned: false,
        })
    }
}

impl Instance {
    fn open(plugin: &Plugin, context: &OpenContext, config: &str) -> Result<Self, PluginError> {
        let identity = &plugin.identity;
        let limits = &plugin.limits;
        if !identity.world.is_generator() {
            return Err(identity.error(
                Phase::Open,
                "wrong-world",
                format!("it is an {}, not a generator", identity.world),
            ));
        }
        let nature = Nature::Repeatable {
            // Shards differ by number alone, so chance must too.
            seed: context.seed ^ (u64::from(context.shard) << 53),
        };
        let mut store = Guest::new(&identity.name, limits, nature, None)
            .into_store(&plugin.engine, limits.generator_call_bytes);
        store.set_epoch_deadline(epochs(limits.open_trap));
        let wit_context = wit::OpenContext {
            seed: context.seed & MAX_EXACT,
            shard: context.shard,
            shards: context.shards,
            deadline_ms: u64::try_from(context.deadline.as_millis())
                .unwrap_or(MAX_EXACT)
                .min(MAX_EXACT),
            labels: context.labels.clone(),
        };
        let prepared = &plugin.for_sync;
        let mut open = || {
            let instance = prepared.instantiate(&mut store)?;
            let generator = generator::GuestIndices::new(prepared)?.load(&mut store, &instance)?;
            let feedback = identity
                .inspection
                .feedback
                .then(|| feedback::GuestIndices::new(prepared)?.load(&mut store, &instance))
                .transpose()?;
            let arrivals = identity
                .inspection
                .arrivals
                .then(|| arrivals::GuestIndices::new(prepared)?.load(&mut store, &instance))
                .transpose()?;
            let opened = generator.call_open(&mut store, &wit_context, config)?;
            Ok((generator, feedback, arrivals, opened))
        };
        let (generator, feedback, arrivals, opened) =
            open().map_err(|error: wasmtime::Error| {
                identity.trap(Phase::Open, &error, store.data(), limits.open_trap)
            })?;
        let opened =
            opened.map_err(|failure| identity.failure(Phase::Open, &failure, store.data()))?;
        let templates = template::check_all(opened.templates, limits)
            .map_err(|why| identity.error(Phase::Open, "malformed-template", why))?;
        Ok(Self {
            store,
            source: opened.requests,
            generator,
            feedback,
            arrivals,
            templates,
            last_arrival_ns: None,
        })
    }
}

impl Generator {
    /// The plugin it is an instance of.
    #[must_use]
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// The shapes, fixed while the source is open; none once the instance is spent.
    #[must_use]
    pub fn templates(&self) -> &[TemplateSpec] {
        match &self.state {
            State::Open(instance) => &instance.templates,
            State::Spent(_) => &[],
        }
    }

    /// Whether [`Generator::observe`] reaches the plugin.
    #[must_use]
    pub fn wants_outcomes(&self) -> bool {
        self.plugin.inspection().feedback
    }

    /// Whether [`Generator::schedule`] owns the arrival times.
    #[must_use]
    pub fn owns_arrivals(&self) -> bool {
        self.plugin.inspection().arrivals
    }

    /// Up to `limit` requests, fewer if the limit of a batch is lower.
    ///
    /// # Errors
    /// A failure or trap of the plugin, or a batch that breaks the rules. The instance is spent.
    pub fn next(&mut self, limit: u32) -> Result<Batch, PluginError> {
        let limit = limit.min(self.plugin.limits.batch_items);
        self.call(Phase::Next, |plugin, instance| {
            let Instance {
                store,
                source,
                generator,
                templates,
                ..
            } = instance;
            let batch = generator
                .source()
                .call_next(&mut *store, *source, limit)
                .map_err(|error| plugin.stopped(Phase::Next, &error, store))?
                .map_err(|failure| plugin.identity.failure(Phase::Next, &failure, store.data()))?;
            Batch::checked(batch, limit, templates.len(), &plugin.limits)
                .map_err(|why| plugin.identity.error(Phase::Next, "malformed-batch", why))
        })
    }

    /// Tells the plugin what came back; nothing happens if it does not want to know.
    ///
    /// # Errors
    /// A trap of the plugin. The instance is spent.
    pub fn observe(&mut self, outcomes: Outcomes) -> Result<(), PluginError> {
        self.call(Phase::Observe, |plugin, instance| {
            let Instance {
                store,
                source,
                feedback,
                ..
            } = instance;
            let Some(feedback) = feedback else {
                return Ok(());
            };
            feedback
                .call_observe(&mut *store, *source, &outcomes.into())
                .map_err(|error| plugin.stopped(Phase::Observe, &error, store))
        })
    }

    /// Intended send times of the next requests, in nanoseconds from the start of the phase,
    /// ascending over all calls; none if the plugin does not own the arrival times.
    ///
    /// # Errors
    /// A failure or trap of the plugin, or times that break the rules. The instance is spent.
    pub fn schedule(&mut self, limit: u32) -> Result<Vec<u64>, PluginError> {
        let limit = limit.min(self.plugin.limits.batch_items);
        self.call(Phase::Schedule, |plugin, instance| {
            let Instance {
                store,
                source,
                arrivals,
                last_arrival_ns,
                ..
            } = instance;
            let Some(arrivals) = arrivals else {
                return Ok(Vec::new());
            };
            let offsets = arrivals
                .call_schedule(&mut *store, *source, limit)
                .map_err(|error| plugin.stopped(Phase::Schedule, &error, store))?
                .map_err(|failure| {
                    plugin
                        .identity
                        .failure(Phase::Schedule, &failure, store.data())
                })?;
            check_schedule(&offsets, limit, *last_arrival_ns).map_err(|why| {
                plugin
                    .identity
                    .error(Phase::Schedule, "malformed-schedule", why)
            })?;
            *last_arrival_ns = offsets.last().copied().or(*last_arrival_ns);
            Ok(offsets)
        })
    }

    /// Replaces the instance, spent or not, with a fresh one that starts from the beginning.
    ///
    /// # Errors
    /// As [`Plugin::open_generator`]; the instance then stays spent.
    pub fn reopen(&mut self) -> Result<(), PluginError> {
        match Instance::open(&self.plugin, &self.context, &self.config) {
            Ok(instance) => {
                self.state = State::Open(Box::new(instance));
                Ok(())
            }
            Err(error) => {
                self.state = State::Spent(error.clone());
                Err(error)
            }
        }
    }

    /// One call under the deadline of generator calls.
    fn call<T>(
        &mut self,
        phase: Phase,
        call: impl FnOnce(&Plugin, &mut Instance) -> Result<T, PluginError>,
    ) -> Result<T, PluginError> {
        let instance = match &mut self.state {
            State::Open(instance) => instance,
            State::Spent(error) => return Err(error.clone()),
        };
        let limits = &self.plugin.limits;
        instance.store.set_epoch_deadline(epochs(limits.next_trap));
        instance.store.data_mut().use_of.refused_bytes = None;
        let started = Instant::now();
        let result = call(&self.plugin, instance);
        let took = started.elapsed();
        if took > limits.next_warn && !self.warned && result.is_ok() {
            self.warned = true;
            tracing::warn!(
                "plugin {} took {} ms in one call of {phase}; calls above {} ms hold up the shard \
                 (said once)",
                self.plugin.info().name,
                took.as_millis(),
                limits.next_warn.as_millis()
            );
        }
        if let Err(error) = &result {
            // Frees the guest's memory at once.
            self.state = State::Spent(error.clone());
        }
        result
    }
}

impl Plugin {
    fn stopped(&self, phase: Phase, error: &wasmtime::Error, store: &Store<Guest>) -> PluginError {
        self.identity
            .trap(phase, error, store.data(), self.limits.next_trap)
    }
}
