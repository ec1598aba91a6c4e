//! State of one instance: its limits, its empty WASI, its log, an exporter's sinks, a benchmark's powers.

use std::sync::Arc;

use wasmtime::{
    ResourceLimiter, Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{
    benchmark,
    limits::Limits,
    log::LogBudget,
    sink::{self, Sinks},
    v0_1::kperf::{core::logging, report},
    wasi::{self, Nature, Tail},
};

/// What wasmtime keeps for an instance.
pub(crate) struct Guest {
    wasi: WasiCtx,
    pub(crate) table: ResourceTable,
    pub(crate) log: LogBudget,
    pub(crate) stderr: Tail,
    pub(crate) use_of: MemoryUse,
    pub(crate) sinks: Option<Arc<dyn Sinks>>,
    pub(crate) outputs_open: usize,
    pub(crate) benchmark: Option<benchmark::Powers>,
    pub(crate) limits: Arc<Limits>,
}

impl Guest {
    pub(crate) fn new(
        plugin: &str,
        limits: &Arc<Limits>,
        nature: Nature,
        sinks: Option<Arc<dyn Sinks>>,
    ) -> Self {
        let stderr = Tail::new(limits.stderr_bytes);
        Self {
            wasi: wasi::context(nature, &stderr),
            table: ResourceTable::new(),
            log: LogBudget {
                plugin: plugin.to_owned(),
                messages_left: limits.log_messages,
                message_bytes: limits.log_message_bytes,
            },
            stderr,
            use_of: MemoryUse::new(limits),
            sinks,
            outputs_open: 0,
            benchmark: None,
            limits: Arc::clone(limits),
        }
    }

    /// A store around this state, with its limits in force.
    pub(crate) fn into_store(self, engine: &wasmtime::Engine, call_bytes: usize) -> Store<Self> {
        let mut store = Store::new(engine, self);
        store.limiter(|guest| &mut guest.use_of);
        store.set_hostcall_fuel(call_bytes);
        // Handles are for outputs, trackers, streams and one source; a guest that hoards them is broken.
        store.set_max_component_handles(1000);
        store
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// Counts memory and tables, and refuses growth above the limits.
///
/// Growth is refused, not trapped: garbage collectors run up to the limit and then collect. What was
/// refused during a call explains a trap of that call.
pub(crate) struct MemoryUse {
    memory_bytes: u64,
    memory_limit: u64,
    table_elements: u64,
    table_limit: u64,
    core_instances: usize,
    /// Bytes a refused growth would have come to, since the start of the call.
    pub(crate) refused_bytes: Option<u64>,
}

impl MemoryUse {
    fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes: 0,
            memory_limit: limits.memory_bytes,
            table_elements: 0,
            table_limit: limits.table_elements,
            core_instances: limits.core_instances,
            refused_bytes: None,
        }
    }
}

impl ResourceLimiter for MemoryUse {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self
            .memory_bytes
            .saturating_add((desired.saturating_sub(current)) as u64);
        if total > self.memory_limit {
            self.refused_bytes = Some(total);
            return Ok(false);
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self
            .table_elements
            .saturating_add((desired.saturating_sub(current)) as u64);
        if total > self.table_limit {
            return Ok(false);
        }
        self.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.core_instances
    }

    fn tables(&self) -> usize {
        self.core_instances
    }

    fn memories(&self) -> usize {
        self.core_instances
    }
}

/// For `describe` and for generators: no call waits, and a sink can't be touched.
pub(crate) fn sync_linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasi::add_to_sync_linker(&mut linker)?;
    logging::add_to_linker::<Guest, wasmtime::component::HasSelf<Guest>>(&mut linker, |g| g)?;
    sink::add_refusals_to_linker(&mut linker)?;
    Ok(linker)
}

/// For exporters.
pub(crate) fn async_linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasi::add_to_async_linker(&mut linker)?;
    logging::add_to_linker::<Guest, wasmtime::component::HasSelf<Guest>>(&mut linker, |g| g)?;
    report::sink::add_to_linker::<Guest, wasmtime::component::HasSelf<Guest>>(&mut linker, |g| g)?;
    Ok(linker)
}

/// For benchmarks.
pub(crate) fn benchmark_linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasi::add_to_async_linker(&mut linker)?;
    logging::add_to_linker::<Guest, wasmtime::component::HasSelf<Guest>>(&mut linker, |g| g)?;
    benchmark::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// A component matched with what it imports; cheap to instantiate.
pub(crate) type Prepared = wasmtime::component::InstancePre<Guest>;

pub(crate) fn prepare(linker: &Linker<Guest>, component: &Component) -> wasmtime::Result<Prepared> {
    linker.instantiate_pre(component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_of_one_instance_share_one_limit() {
        let limits = Limits {
            memory_bytes: 100,
            ..Limits::default()
        };
        let mut memory = MemoryUse::new(&limits);
        assert!(memory.memory_growing(0, 60, None).unwrap());
        assert!(memory.memory_growing(0, 40, None).unwrap());
        assert!(!memory.memory_growing(40, 41, None).unwrap());
        assert_eq!(memory.refused_bytes, Some(101));
    }
}
