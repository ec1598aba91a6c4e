//! A benchmark instance: straight-line code whose calls of the host may take as long as they take.
//!
//! The guest is suspended while the host works. What bounds it is the time it computes by itself between two calls
//! ([`Limits::benchmark_compute`](crate::Limits::benchmark_compute)), counted in epochs, and the future of the whole
//! run, which the caller drops when the run is to end; the guest then never wakes up again.

mod host;
mod imports;

use std::sync::Arc;

use serde_json::Value;
use wasmtime::{Trap, UpdateDeadline};

pub(crate) use self::imports::add_to_linker;
pub use self::{
    host::{BenchmarkHost, BulkHandle, LoadHandle, TrackerHandle},
    imports::{OpenBulk, OpenLoad, OpenTracker},
};
pub use crate::v0_1::{
    exports::kperf::benchmark::benchmark::{RunContext, Verdict},
    kperf::benchmark::{
        cluster::{Action, BulkOptions, BulkOutcome, Kind, Operation, Scope},
        load::Outcome as LoadOutcome,
        nodes::Pool as NodePool,
        tracking::{
            Check, Latency, Milestone, MilestoneCount, Stamp, Tracked, TrackerCounts,
            TrackerOptions,
        },
    },
};
use crate::{
    engine::epochs,
    error::{Phase, PluginError},
    guest::Guest,
    inspect::World,
    plugin::Plugin,
    v0_1::exports::kperf::benchmark::benchmark,
    wasi::Nature,
};

/// What a benchmark can do beyond computing, and how long it has computed.
pub(crate) struct Powers {
    pub(crate) host: Arc<dyn BenchmarkHost>,
    /// Epochs that began while the guest ran, since its last call of the host.
    epochs_computing: u64,
}

impl Plugin {
    /// Makes an instance and runs the benchmark to its end. `config` has passed [`Plugin::resolve_config`].
    ///
    /// Must be called within a tokio runtime with time enabled. Dropping the future ends the guest where it is.
    ///
    /// # Errors
    /// Of phase `run`: it is not a benchmark, it failed, trapped, or computed for too long.
    pub async fn run_benchmark(
        self: &Arc<Self>,
        context: RunContext,
        config: &Value,
        host: Arc<dyn BenchmarkHost>,
    ) -> Result<Verdict, PluginError> {
        let identity = &self.identity;
        let prepared = match &self.for_async {
            Some(prepared) if identity.world == World::Benchmark => prepared,
            _ => {
                return Err(identity.error(
                    Phase::Run,
                    "wrong-world",
                    format!("it is a {}, not a benchmark", identity.world),
                ));
            }
        };
        let limits = &self.limits;
        let nature = Nature::Repeatable { seed: context.seed };
        let mut guest = Guest::new(&identity.name, limits, nature, None);
        guest.benchmark = Some(Powers {
            host,
            epochs_computing: 0,
        });
        let mut store = guest.into_store(&self.engine, limits.exporter_call_bytes);
        let most = epochs(limits.benchmark_compute);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |mut store| {
            if let Some(powers) = &mut store.data_mut().benchmark {
                powers.epochs_computing += 1;
                if powers.epochs_computing > most {
                    return Err(Trap::Interrupt.into());
                }
            }
            Ok(UpdateDeadline::Yield(1))
        });
        let run = async {
            let instance = prepared.instantiate_async(&mut store).await?;
            let benchmark = benchmark::GuestIndices::new(prepared)?.load(&mut store, &instance)?;
            benchmark
                .call_run(&mut store, &context, &config.to_string())
                .await
        };
        let result = run.await;
        let verdict = result.map_err(|error| {
            identity.trap(Phase::Run, &error, store.data(), limits.benchmark_compute)
        })?;
        verdict.map_err(|failure| identity.failure(Phase::Run, &failure, store.data()))
    }
}
