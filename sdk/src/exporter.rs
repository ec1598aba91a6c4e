//! Exporters: turn a report into a format.
//!
//! Enters: the typed report, whole at the end and, if the plugin wants them, intervals on the way. Leaves: bytes
//! to the destinations the user declared, through [`sink`](crate::sink). The host calls `begin`, then
//! `intervals` any number of times, then `finish` once, also when the run failed or was interrupted.
//!
//! ```
//! use kperf_sdk::exporter::prelude::*;
//!
//! struct Lines { sink: String }
//!
//! impl Exporter for Lines {
//!     type Config = NoConfig;
//!
//!     fn begin(context: BeginContext, _: NoConfig) -> Result<Self, Failure> {
//!         Ok(Self { sink: context.sink })
//!     }
//!
//!     fn finish(self, whole: Summary) -> Result<(), Failure> {
//!         let mut output = Output::open(&self.sink)?;
//!         for series in &whole.series {
//!             writeln!(output, "{}\t{}", series.name, series.succeeded)?;
//!         }
//!         output.finish()
//!     }
//! }
//!
//! kperf_sdk::export_exporter!(Lines);
//! ```

use std::cell::RefCell;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::bindings::exports::kperf::report::exporter as world;
pub use crate::bindings::exports::kperf::report::exporter::BeginContext;
use crate::bindings::kperf::core::vocabulary::PluginInfo;
pub use crate::bindings::kperf::report::measures::{
    Counter, Distribution, FailedExchange, Finding, Histogram, Interval, Metric, ObjectRow,
    ObjectTable, Phase, PluginUse, Quantile, Samples, Series, Summary, Threshold,
};
use crate::failure::{Failure, Label, find_label};
use crate::identity::{Identity, describe};

/// What an exporter's source usually needs in scope.
pub mod prelude {
    pub use super::{
        BeginContext, Distribution, Exporter, Histogram, Interval, Phase, Series, Summary,
    };
    pub use crate::config::NoConfig;
    pub use crate::failure::{Failure, Label};
    pub use crate::sink::{self, Delivery, Output, Receipt};
    pub use schemars::{self, JsonSchema};
    pub use serde::{self, Deserialize, Serialize};
    pub use serde_json::{self, Value, json};
    pub use std::io::Write;
}

/// An exporter: one value for one run and one destination.
pub trait Exporter: Sized + 'static {
    /// The configuration; [`NoConfig`](crate::NoConfig) if there is none. Its schema is derived.
    type Config: DeserializeOwned + JsonSchema;

    /// The configuration used when the user gives none; `{}` is used if there is none here either.
    fn default_config() -> Option<serde_json::Value> {
        None
    }

    /// Before the first phase.
    fn begin(context: BeginContext, config: Self::Config) -> Result<Self, Failure>;

    /// While the run goes on; may be called never, or late with several.
    fn intervals(&mut self, batch: Vec<Interval>) -> Result<(), Failure> {
        let _ = batch;
        Ok(())
    }

    /// After the last phase, also when the run failed or was interrupted.
    fn finish(self, whole: Summary) -> Result<(), Failure>;
}

/// Exports a type that implements [`Exporter`] as the component's plugin.
///
/// `export_exporter!(Json)`, or `export_exporter!(Json, name = "json", summary = "…")` where `Cargo.toml` should
/// not decide.
#[macro_export]
macro_rules! export_exporter {
    ($plugin:ty $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::__export!(
            world: EXPORTER, "component-type:kperf:exporter",
            exports: [report::exporter => __export_kperf_report_exporter_0_1_0_cabi],
            plugin: $crate::exporter::Component, $plugin $(, $key = $value)*
        );
    };
}

impl BeginContext {
    /// The first label of the run with this key.
    pub fn label(&self, key: &str) -> Option<&str> {
        find_label(&self.labels, key)
    }
}

impl Summary {
    /// The first label of the run with this key.
    pub fn label(&self, key: &str) -> Option<&str> {
        find_label(&self.labels, key)
    }
}

impl Histogram {
    /// The value at one of the quantiles the host sends (0, .5, .75, .9, .95, .99, .999, .9999, 1), in nanoseconds.
    pub fn quantile_ns(&self, q: f64) -> Option<u64> {
        self.quantiles
            .iter()
            .find(|quantile| (quantile.q - q).abs() < 1e-9)
            .map(|quantile| quantile.value_ns)
    }
}

impl Distribution {
    /// The first label with this key.
    pub fn label(&self, key: &str) -> Option<&str> {
        find_label(&self.labels, key)
    }
}

impl Series {
    /// The value of a named counter, 0 without it.
    pub fn counter(&self, name: &str) -> u64 {
        counter(&self.counters, name)
    }
}

impl Phase {
    /// The value of a named counter, 0 without it.
    pub fn counter(&self, name: &str) -> u64 {
        counter(&self.counters, name)
    }

    /// A setting by name, for example `total`.
    pub fn setting(&self, name: &str) -> Option<&str> {
        find_label(&self.settings, name)
    }

    /// A metric by name, for example `achieved-rate`.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let metric = self.metrics.iter().find(|metric| metric.name == name)?;
        Some(metric.value)
    }
}

fn counter(counters: &[Counter], name: &str) -> u64 {
    counters
        .iter()
        .find(|counter| counter.name == name)
        .map_or(0, |counter| counter.value)
}

/// An exporter whose type is forgotten: a component has one instance, and statics can't be generic.
trait Running {
    fn intervals(&mut self, batch: Vec<Interval>) -> Result<(), Failure>;
    fn finish(self: Box<Self>, whole: Summary) -> Result<(), Failure>;
}

impl<E: Exporter> Running for E {
    fn intervals(&mut self, batch: Vec<Interval>) -> Result<(), Failure> {
        Exporter::intervals(self, batch)
    }

    fn finish(self: Box<Self>, whole: Summary) -> Result<(), Failure> {
        Exporter::finish(*self, whole)
    }
}

thread_local! {
    static RUNNING: RefCell<Option<Box<dyn Running>>> = const { RefCell::new(None) };
}

fn not_begun() -> Failure {
    Failure::new(
        "out-of-order",
        "the exporter was called before `begin`, or after `finish`",
    )
}

/// The component around an exporter; named by [`export_exporter!`].
pub struct Component<E, I>(PhantomData<(E, I)>);

impl<E: Exporter, I: Identity> crate::bindings::exports::kperf::core::identity::Guest
    for Component<E, I>
{
    fn describe() -> PluginInfo {
        describe::<I>(crate::config::schema::<E::Config>(E::default_config()))
    }
}

impl<E: Exporter, I: Identity> world::Guest for Component<E, I> {
    fn begin(context: BeginContext, config: String) -> Result<(), Failure> {
        let exporter = E::begin(context, crate::config::parse(&config)?)?;
        RUNNING.set(Some(Box::new(exporter)));
        Ok(())
    }

    fn intervals(batch: Vec<Interval>) -> Result<(), Failure> {
        RUNNING.with_borrow_mut(|running| match running {
            Some(running) => running.intervals(batch),
            None => Err(not_begun()),
        })
    }

    fn finish(whole: Summary) -> Result<(), Failure> {
        RUNNING.take().ok_or_else(not_begun)?.finish(whole)
    }
}

/// Labels as pairs, for building reports in tests and headers in deliveries.
pub fn labels<K: Into<String>, V: Into<String>>(
    pairs: impl IntoIterator<Item = (K, V)>,
) -> Vec<Label> {
    pairs
        .into_iter()
        .map(|(key, value)| Label {
            key: key.into(),
            value: value.into(),
        })
        .collect()
}
