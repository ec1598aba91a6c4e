//! The WebAssembly engine: its settings, and the clock that bounds calls.

use std::{thread, time::Duration};

use wasmtime::{Config, Engine};

use crate::limits::Limits;

/// Settings that compiled code depends on are part of wasmtime's compatibility hash, and so of the
/// cache key; nothing here needs a version of its own.
pub(crate) fn new_engine() -> Result<Engine, wasmtime::Error> {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // Bookkeeping for async WIT functions, which no world has: 0.7 us a call.
        .concurrency_support(false)
        .epoch_interruption(true);
    let engine = Engine::new(&config)?;
    start_ticker(&engine)?;
    Ok(engine)
}

/// Advances the epoch every [`Limits::EPOCH`] for as long as anything holds the engine.
fn start_ticker(engine: &Engine) -> Result<(), wasmtime::Error> {
    let weak = engine.weak();
    thread::Builder::new()
        .name("plugin-epoch".to_owned())
        // It only sleeps and adds.
        .stack_size(64 << 10)
        .spawn(move || {
            loop {
                thread::sleep(Limits::EPOCH);
                match weak.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => break,
                }
            }
        })?;
    Ok(())
}

/// Epochs after which a deadline has surely passed: the current one is already partly over.
pub(crate) fn epochs(deadline: Duration) -> u64 {
    let whole = deadline.as_nanos().div_ceil(Limits::EPOCH.as_nanos());
    u64::try_from(whole)
        .unwrap_or(u64::MAX / 2)
        .saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_round_up_and_never_end_early() {
        assert_eq!(epochs(Duration::from_millis(250)), 26);
        assert_eq!(epochs(Duration::from_millis(251)), 27);
        assert_eq!(epochs(Duration::ZERO), 1);
    }
}
