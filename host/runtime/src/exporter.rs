//! An exporter instance. Calls may wait for sinks, so they are async; endless loops are cut short by
//! epochs that yield to a timeout, not by a deadline that would count the time spent in the host.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use serde_json::Value;
use wasmtime::Store;

use crate::{
    error::{Phase, PluginError},
    guest::Guest,
    plugin::Plugin,
    report::{Interval, Label, Summary},
    sink::{Failure, Sinks},
    v0_1::exports::kperf::report::exporter,
    wasi::Nature,
};

/// What an exporter works for.
#[derive(Clone, Debug, Default)]
pub struct BeginContext {
    /// The run.
    pub run_id: String,
    /// Name of the destination to use unless the configuration says otherwise.
    pub sink: String,
    /// `file`, `stdout` or `http`.
    pub sink_kind: String,
    /// Labels of the run.
    pub labels: Vec<Label>,
}

/// An exporter that has begun.
pub struct Exporter {
    plugin: Arc<Plugin>,
    store: Store<Guest>,
    exporter: exporter::Guest,
    spent: Option<PluginError>,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter")
            .field("plugin", self.plugin.info())
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// Makes an instance and begins the export. `config` has passed [`Plugin::resolve_config`].
    ///
    /// Must be called within a tokio runtime with time enabled.
    ///
    /// # Errors
    /// Of phase `begin`: it is not an exporter, or it failed.
    pub async fn open_exporter(
        self: &Arc<Self>,
        context: BeginContext,
        config: &Value,
        sinks: Arc<dyn Sinks>,
    ) -> Result<Exporter, PluginError> {
        let identity = &self.identity;
        let Some(prepared) = &self.for_async else {
            return Err(identity.error(
                Phase::Begin,
                "wrong-world",
                format!("it is a {}, not an exporter", identity.world),
            ));
        };
        let limits = &self.limits;
        let mut store = Guest::new(&identity.name, limits, Nature::Real, Some(sinks))
            .into_store(&self.engine, limits.exporter_call_bytes);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let context = exporter::BeginContext {
            run_id: context.run_id,
            sink: context.sink,
            sink_kind: context.sink_kind,
            labels: context.labels,
        };
        let begin = async {
            let instance = prepared.instantiate_async(&mut store).await?;
            let exporter = exporter::GuestIndices::new(prepared)?.load(&mut store, &instance)?;
            let begun = exporter
                .call_begin(&mut store, &context, &config.to_string())
                .await?;
            Ok((exporter, begun))
        };
        let begun = within(limits.exporter_call, begin).await;
        let (exporter, begun) = self.returned(Phase::Begin, begun, &store)?;
        begun.map_err(|failure| identity.failure(Phase::Begin, &failure, store.data()))?;
        Ok(Exporter {
            plugin: Arc::clone(self),
            store,
            exporter,
            spent: None,
        })
    }

    /// The value of a call that ended in time and without a trap.
    fn returned<T>(
        &self,
        phase: Phase,
        result: Result<wasmtime::Result<T>, TimedOut>,
        store: &Store<Guest>,
    ) -> Result<T, PluginError> {
        let deadline = self.limits.exporter_call;
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.identity.trap(phase, &error, store.data(), deadline)),
            Err(TimedOut) => Err(self.identity.deadline(phase, store.data(), deadline)),
        }
    }
}

/// The call was dropped, and with it whatever it waited for.
struct TimedOut;

async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = wasmtime::Result<T>>,
) -> Result<wasmtime::Result<T>, TimedOut> {
    tokio::time::timeout(deadline, call)
        .await
        .map_err(|_| TimedOut)
}

impl Exporter {
    /// The plugin it is an instance of.
    #[must_use]
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// Hands over intervals while the run goes on.
    ///
    /// # Errors
    /// A failure of the plugin, after which it may be called again, or a trap or timeout, after which
    /// every call gives the same error.
    pub async fn intervals(&mut self, batch: Vec<Interval>) -> Result<(), PluginError> {
        self.ready()?;
        let call = self.exporter.call_intervals(&mut self.store, &batch);
        let result = within(self.plugin.limits.exporter_call, call).await;
        self.ended(Phase::Intervals, result)
    }

    /// Hands over the result of the run.
    ///
    /// # Errors
    /// As [`Exporter::intervals`].
    pub async fn finish(&mut self, summary: Summary) -> Result<(), PluginError> {
        self.ready()?;
        let call = self.exporter.call_finish(&mut self.store, &summary);
        let result = within(self.plugin.limits.exporter_call, call).await;
        self.ended(Phase::Finish, result)
    }

    fn ready(&mut self) -> Result<(), PluginError> {
        self.store.data_mut().use_of.refused_bytes = None;
        match &self.spent {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn ended(
        &mut self,
        phase: Phase,
        result: Result<wasmtime::Result<Result<(), Failure>>, TimedOut>,
    ) -> Result<(), PluginError> {
        match self.plugin.returned(phase, result, &self.store) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => {
                Err(self
                    .plugin
                    .identity
                    .failure(phase, &failure, self.store.data()))
            }
            Err(error) => {
                self.spent = Some(error.clone());
                Err(error)
            }
        }
    }
}
