//! Loads, inspects, limits and calls plugin components. The only crate that names wasmtime.
//!
//! Bytes of a component enter; plain Rust values leave. In between, in this order:
//!
//! 1. [`inspect`]: which world, which versions, which imports, before anything is compiled;
//! 2. [`Runtime::load`]: compiled code (from the cache if it is there beyond doubt), linked against its
//!    world and an empty WASI, and asked for its identity and configuration schema;
//! 3. [`Plugin::resolve_config`]: a configuration that the schema allows, or the keys it objects to;
//! 4. [`Plugin::open_generator`], [`Plugin::open_exporter`], [`Plugin::run_benchmark`] and [`Plugin::open_tool`]: an
//!    instance under [`Limits`].
//!
//! Invariants: a plugin can touch nothing but its own memory, the log and, as an exporter, the
//! [`Sinks`] it was given, as a benchmark the [`benchmark::Powers`]; every call ends within its deadline; whatever a plugin does ends as a
//! [`PluginError`] that names plugin, phase and limit, never as a panic; nothing a plugin returns is
//! trusted before it is checked.
//!
//! Generators and tools are called synchronously, also from within a tokio runtime; exporters and benchmarks
//! asynchronously.

mod batch;
pub mod benchmark;
mod cache;
mod call;
mod config;
mod engine;
mod error;
mod exporter;
mod generator;
mod guest;
mod inspect;
mod limits;
mod log;
mod plugin;
pub mod report;
mod sink;
mod template;
mod text;
mod tool;
mod v0_1;
mod wasi;

pub use batch::{Batch, Outcomes};
pub use config::{ConfigError, ConfigProblem, choices};
pub use error::{Details, Phase, PluginError};
pub use exporter::{BeginContext, Exporter};
pub use generator::{Generator, OpenContext};
pub use inspect::{Inspection, InterfaceUse, OFFERED, World, inspect, inspect_within};
pub use limits::Limits;
pub use plugin::{Plugin, PluginInfo, Runtime, RuntimeConfig};
pub use report::Label;
pub use sink::{BoxFuture, Delivery, Failure, Output, Receipt, Sinks, failure};
pub use template::{ExchangeKind, TemplateSpec};
pub use tool::{
    ParsedOutput, Tool, ToolCommand, ToolError, ToolOutput, ToolPlan, ToolPort, ToolReading,
};
