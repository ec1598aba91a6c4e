//! Everything a kperf-host plugin written in Rust depends on.
//!
//! A plugin is a WebAssembly component that decides; the host acts. Pick the world that fits, implement its
//! trait, name the type in its macro, and build with `cargo build --release --target wasm32-wasip2`:
//!
//! | the plugin … | trait | macro |
//! | --- | --- | --- |
//! | says which requests to send | [`Generator`](generator::Generator) | [`export_generator!`] |
//! | … and is told what came back | [`ReactiveGenerator`](generator::ReactiveGenerator) | [`export_reactive_generator!`] |
//! | … or says when, too | [`ReplayGenerator`](generator::ReplayGenerator) | [`export_replay_generator!`] |
//! | writes results in a format | [`Exporter`](exporter::Exporter) | [`export_exporter!`] |
//! | does something to a cluster and measures it | [`Benchmark`](benchmark::Benchmark) | [`export_benchmark!`] |
//! | knows a measuring program and its output | [`Tool`](tool::Tool) | [`export_tool!`] |
//!
//! A whole plugin:
//!
//! ```
//! use kperf_sdk::generator::prelude::*;
//!
//! /// Pods to read.
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(crate = "kperf_sdk::serde", deny_unknown_fields)]
//! struct Config {
//!     /// How many pods there are: `pod-0`, `pod-1`, …
//!     pods: u64,
//! }
//!
//! struct GetPods { get: TemplateId, random: Random, pods: u64 }
//!
//! impl Generator for GetPods {
//!     type Config = Config;
//!
//!     fn open(context: &OpenContext, config: Config, templates: &mut Templates) -> Result<Self, Failure> {
//!         let get = templates.add(Template::get("GET pods/:name", "/"));
//!         Ok(Self { get, random: context.random(), pods: config.pods })
//!     }
//!
//!     fn next(&mut self, batch: &mut Batch) -> Result<(), Failure> {
//!         while batch.has_room() {
//!             let pod = self.random.below(self.pods);
//!             batch.request(self.get).path(("/api/v1/namespaces/default/pods/pod-", pod));
//!         }
//!         Ok(())
//!     }
//! }
//!
//! kperf_sdk::export_generator!(GetPods);
//! ```
//!
//! Name, version and summary come from the plugin's `Cargo.toml`; the JSON Schema of its configuration is
//! derived from `Config`. Everything compiles natively as well, where [`testing`] opens a plugin without a
//! host, so that plugins have ordinary unit tests.
//!
//! | module | holds |
//! | --- | --- |
//! | [`generator`] | the generator traits, templates, what came back |
//! | [`batch`] | packing requests into the columns that cross into the host |
//! | [`benchmark`] | the benchmark trait; cluster, trackers, load phases, results |
//! | [`tool`] | the tool trait: commands, readings, classed errors |
//! | [`exporter`], [`sink`] | the exporter trait; files and deliveries |
//! | [`config`] | configuration from JSON, its schema |
//! | [`failure`], [`log`](mod@log), [`random`] | errors, diagnostics, seeded choices |
//! | [`testing`] | native tests of plugins |
//! | [`bindings`] | what is generated from the WIT packages |

pub mod batch;
pub mod benchmark;
pub mod bindings;
pub mod config;
pub mod exporter;
pub mod failure;
pub mod generator;
pub mod identity;
pub mod log;
pub mod random;
pub mod sink;
pub mod testing;
pub mod tool;

pub use config::NoConfig;
pub use failure::Failure;
pub use {schemars, serde, serde_json};
