//! Generators: say which requests to send. The host decides when, sends, times and counts.
//!
//! Enters: seed, shard and configuration at `open`; for a reactive generator, what became of earlier requests.
//! Leaves: templates once, then batches of requests. One value lives per shard; values share nothing. Everything a
//! generator chooses by chance comes from [`OpenContext::random`], so that a run can be repeated.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

pub use crate::batch::{Batch, Part, Request, TemplateId};
use crate::bindings::exports::kperf::workload::{arrivals, feedback, generator as world};
use crate::bindings::kperf::core::vocabulary::PluginInfo;
use crate::bindings::kperf::workload::requests as wit;
pub use crate::bindings::kperf::workload::requests::{OpenContext, Template};
use crate::failure::{Failure, find_label};
use crate::identity::{Identity, describe};
use crate::random::{Random, digest};

mod outcomes;
mod template;

pub use outcomes::{Outcome, Outcomes};
pub use template::Templates;

/// What a generator's source usually needs in scope.
pub mod prelude {
    pub use super::{
        Batch, Generator, OpenContext, Outcome, Outcomes, Part, ReactiveGenerator, ReplayGenerator,
        Template, TemplateId, Templates,
    };
    pub use crate::config::NoConfig;
    pub use crate::failure::Failure;
    pub use crate::random::Random;
    pub use schemars::{self, JsonSchema};
    pub use serde::{self, Deserialize, Serialize};
    pub use serde_json::{self, Value, json};
}

/// A source of requests.
pub trait Generator: Sized + 'static {
    /// The configuration; [`NoConfig`](crate::NoConfig) if there is none. Its schema is derived.
    type Config: DeserializeOwned + JsonSchema;

    /// The configuration used when the user gives none; `{}` is used if there is none here either.
    fn default_config() -> Option<serde_json::Value> {
        None
    }

    /// Opens one shard's source, and declares the shapes of its requests.
    fn open(
        context: &OpenContext,
        config: Self::Config,
        templates: &mut Templates,
    ) -> Result<Self, Failure>;

    /// Adds requests while the batch has room. Cheap, and never waits.
    ///
    /// Adding none means "nothing now, ask again after the next outcomes"; [`Batch::finish`] means "nothing more".
    fn next(&mut self, batch: &mut Batch) -> Result<(), Failure>;
}

/// A generator that is told what came back; exported by [`export_reactive_generator!`](crate::export_reactive_generator).
pub trait ReactiveGenerator: Generator {
    /// Called after the fact and in batches, never between an answer and the next send.
    fn observe(&mut self, outcomes: &Outcomes);
}

/// A generator that owns the arrival times; exported by [`export_replay_generator!`](crate::export_replay_generator).
///
/// ```
/// use kperf_sdk::generator::prelude::*;
///
/// /// Two requests, then a pause of a second, for ever.
/// struct Pairs { get: TemplateId, scheduled: u64 }
///
/// impl Generator for Pairs {
///     type Config = NoConfig;
///
///     fn open(_: &OpenContext, _: NoConfig, templates: &mut Templates) -> Result<Self, Failure> {
///         let get = templates.add(Template::get("GET /version", "/version"));
///         Ok(Self { get, scheduled: 0 })
///     }
///
///     fn next(&mut self, batch: &mut Batch) -> Result<(), Failure> {
///         batch.fill(self.get);
///         Ok(())
///     }
/// }
///
/// impl ReplayGenerator for Pairs {
///     fn schedule(&mut self, limit: u32) -> Result<Vec<u64>, Failure> {
///         let first = self.scheduled;
///         self.scheduled += u64::from(limit);
///         Ok((first..self.scheduled).map(|n| n / 2 * 1_000_000_000).collect())
///     }
/// }
///
/// kperf_sdk::export_replay_generator!(Pairs, name = "pairs", summary = "Sends pairs of requests.");
///
/// let opened = kperf_sdk::testing::open::<Pairs>(json!({})).unwrap();
/// assert_eq!(opened.schedule(3).unwrap(), [0, 0, 1_000_000_000]);
/// assert_eq!(opened.schedule(1).unwrap(), [1_000_000_000]);
/// ```
pub trait ReplayGenerator: Generator {
    /// Intended send times of the next requests from the start of the phase, in nanoseconds, ascending over
    /// all calls: one for each request that `next` will return, in the same order. At most `limit`.
    fn schedule(&mut self, limit: u32) -> Result<Vec<u64>, Failure>;
}

/// Exports a type that implements [`Generator`](generator::Generator) as the component's plugin.
///
/// `export_generator!(MyType)`, or `export_generator!(MyType, name = "my_name", summary = "…")` where `Cargo.toml`
/// should not decide.
#[macro_export]
macro_rules! export_generator {
    ($plugin:ty $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::__export!(
            world: GENERATOR, "component-type:kperf:generator",
            exports: [
                workload::generator => __export_kperf_workload_generator_0_1_0_cabi,
            ],
            plugin: $crate::generator::Component, $plugin $(, $key = $value)*
        );
    };
}

/// Exports a type that implements [`ReactiveGenerator`](generator::ReactiveGenerator); otherwise as [`export_generator!`].
#[macro_export]
macro_rules! export_reactive_generator {
    ($plugin:ty $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::__export!(
            world: REACTIVE_GENERATOR, "component-type:kperf:reactive-generator",
            exports: [
                workload::generator => __export_kperf_workload_generator_0_1_0_cabi,
                workload::feedback => __export_kperf_workload_feedback_0_1_0_cabi,
            ],
            plugin: $crate::generator::Component, $plugin $(, $key = $value)*
        );
    };
}

/// Exports a type that implements [`ReplayGenerator`](generator::ReplayGenerator); otherwise as [`export_generator!`].
#[macro_export]
macro_rules! export_replay_generator {
    ($plugin:ty $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::__export!(
            world: REPLAY_GENERATOR, "component-type:kperf:replay-generator",
            exports: [
                workload::generator => __export_kperf_workload_generator_0_1_0_cabi,
                workload::arrivals => __export_kperf_workload_arrivals_0_1_0_cabi,
            ],
            plugin: $crate::generator::Component, $plugin $(, $key = $value)*
        );
    };
}

impl OpenContext {
    /// The stream of random choices of this shard: seed, shard, and the entry and phase of the profile, so that
    /// two entries with the same plugin don't choose alike.
    pub fn random(&self) -> Random {
        let label = |key| digest(self.label(key).unwrap_or_default().as_bytes());
        Random::of(&[
            self.seed,
            u64::from(self.shard),
            label("phase"),
            label("entry"),
        ])
    }

    /// The first label with this key. Known to the host: `run-id`, `phase`, `entry`.
    pub fn label(&self, key: &str) -> Option<&str> {
        find_label(&self.labels, key)
    }

    /// How long the client waits for an answer; `None` is unlimited.
    pub fn deadline(&self) -> Option<Duration> {
        (self.deadline_ms > 0).then(|| Duration::from_millis(self.deadline_ms))
    }
}

/// An opened generator and what the SDK remembers about it.
struct Open<G> {
    generator: G,
    /// Of the largest batch so far, to allocate the next arena in one piece.
    arena_bytes: usize,
}

/// The resource behind `source`; named by the bindings of each world.
pub struct Source<G>(RefCell<Open<G>>);

impl<G: Generator> Source<G> {
    pub(crate) fn open(
        context: &OpenContext,
        config: &str,
    ) -> Result<(Self, Vec<Template>), Failure> {
        let mut templates = Templates::default();
        let generator = G::open(context, crate::config::parse(config)?, &mut templates)?;
        let source = Self(RefCell::new(Open {
            generator,
            arena_bytes: 0,
        }));
        Ok((source, templates.into_wit()?))
    }

    /// Runs `call` on the generator. The host never calls into a plugin that is calling it; a failure if it did.
    fn with<T>(&self, call: impl FnOnce(&mut Open<G>) -> Result<T, Failure>) -> Result<T, Failure> {
        match self.0.try_borrow_mut() {
            Ok(mut open) => call(&mut open),
            Err(_) => Err(Failure::new("re-entered", "the source is already in use")),
        }
    }

    pub(crate) fn next_batch(&self, limit: u32) -> Result<wit::Batch, Failure> {
        self.with(|open| {
            let mut batch = Batch::new(limit, open.arena_bytes);
            open.generator.next(&mut batch)?;
            let batch = batch.into_wit()?;
            open.arena_bytes = open.arena_bytes.max(batch.arena.len());
            Ok(batch)
        })
    }
}

impl<G: ReactiveGenerator> Source<G> {
    pub(crate) fn observe_outcomes(&self, results: wit::Outcomes) {
        let observed = self.with(|open| {
            open.generator.observe(&Outcomes::new(results));
            Ok(())
        });
        if let Err(failure) = observed {
            crate::error!("outcomes were lost: {}", failure.message);
        }
    }
}

impl<G: ReplayGenerator> Source<G> {
    pub(crate) fn next_arrivals(&self, limit: u32) -> Result<Vec<u64>, Failure> {
        self.with(|open| open.generator.schedule(limit))
    }
}

/// The component around a generator; named by the export macros.
pub struct Component<G, I>(PhantomData<(G, I)>);

impl<G: Generator, I: Identity> crate::bindings::exports::kperf::core::identity::Guest
    for Component<G, I>
{
    fn describe() -> PluginInfo {
        describe::<I>(crate::config::schema::<G::Config>(G::default_config()))
    }
}

impl<G: Generator, I: Identity> world::Guest for Component<G, I> {
    type Source = Source<G>;

    fn open(context: OpenContext, config: String) -> Result<world::Opened, Failure> {
        let (source, templates) = Source::<G>::open(&context, &config)?;
        Ok(world::Opened {
            templates,
            requests: world::Source::new(source),
        })
    }
}

impl<G: Generator> world::GuestSource for Source<G> {
    fn next(&self, limit: u32) -> Result<wit::Batch, Failure> {
        self.next_batch(limit)
    }
}

impl<G: ReactiveGenerator, I: Identity> feedback::Guest for Component<G, I> {
    fn observe(requests: world::SourceBorrow<'_>, results: wit::Outcomes) {
        requests.get::<Source<G>>().observe_outcomes(results);
    }
}

impl<G: ReplayGenerator, I: Identity> arrivals::Guest for Component<G, I> {
    fn schedule(requests: world::SourceBorrow<'_>, limit: u32) -> Result<Vec<u64>, Failure> {
        requests.get::<Source<G>>().next_arrivals(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::prelude::*;
    use crate::exporter::labels;
    use crate::testing;

    struct Two(TemplateId);

    impl Generator for Two {
        type Config = NoConfig;

        fn open(_: &OpenContext, _: NoConfig, templates: &mut Templates) -> Result<Self, Failure> {
            templates.add(Template::get("a", "/a"));
            Ok(Self(
                templates.add(Template::new("b", "POST", "/b").body("{}")),
            ))
        }

        fn next(&mut self, batch: &mut Batch) -> Result<(), Failure> {
            batch.request(self.0);
            batch.request(self.0).path("/c").body("[]");
            batch.finish();
            Ok(())
        }
    }

    #[test]
    fn what_a_request_does_not_bring_is_its_templates() {
        let opened = testing::open::<Two>(json!({})).unwrap();
        let (requests, done) = opened.next(5).unwrap();
        assert!(done);
        let seen: Vec<_> = requests
            .iter()
            .map(|r| (r.method.as_str(), r.path.as_str(), r.body.as_str()))
            .collect();
        assert_eq!(seen, [("POST", "/b", "{}"), ("POST", "/c", "[]")]);
        assert_eq!(opened.next(1).unwrap_err().code, "batch-overflow");
    }

    #[test]
    fn unknown_keys_are_refused() {
        let failure = testing::open::<Two>(json!({"a": 1})).err().unwrap();
        assert_eq!(failure.code, "invalid-config");
    }

    #[test]
    fn shards_entries_and_phases_choose_differently() {
        let draw = |shard, pairs: &[(&str, &str)]| {
            let context = OpenContext {
                shard,
                labels: labels(pairs.iter().copied()),
                ..testing::context()
            };
            context.random().next_u64()
        };
        let all = [
            draw(0, &[]),
            draw(1, &[]),
            draw(0, &[("entry", "1")]),
            draw(0, &[("phase", "1")]),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(draw(1, &[("run-id", "x")]), all[1]);
    }
}
