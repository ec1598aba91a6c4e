//! The empty WASI 0.2 every plugin gets: nothing to read, nowhere to connect, no environment.
//! Standard error is kept for messages. Languages import most of WASI whether they use it or not,
//! so the power is withheld in the context, not in the list of imports.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use wasmtime::component::Linker;
use wasmtime_wasi::{
    Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use crate::guest::Guest;

#[path = "wasi/io.rs"]
mod io;

/// Bytes of chance a guest of a seeded run can draw before they repeat.
const RANDOM_BYTES: usize = 4096;

/// How an instance sees time and chance.
#[derive(Clone, Copy)]
pub(crate) enum Nature {
    /// Runs repeat: clocks count readings, and chance comes from the seed.
    Repeatable { seed: u64 },
    /// Real clocks and real chance.
    Real,
}

/// WASI without waiting, for calls on a shard's thread.
pub(crate) fn add_to_sync_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    // The stock synchronous streams block on a runtime of their own, which is a panic on a thread
    // that already runs one.
    linker.allow_shadowing(true);
    io::add_to_linker(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// WASI that may wait, for calls within a runtime.
pub(crate) fn add_to_async_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

/// A context with no powers.
pub(crate) fn context(nature: Nature, stderr: &Tail) -> WasiCtx {
    let mut builder = WasiCtxBuilder::new();
    builder
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .stderr(stderr.clone());
    if let Nature::Repeatable { seed } = nature {
        let mut state = seed;
        let mut bytes = Vec::with_capacity(RANDOM_BYTES);
        while bytes.len() < RANDOM_BYTES {
            bytes.extend_from_slice(&split_mix(&mut state).to_le_bytes());
        }
        builder
            .wall_clock(Frozen)
            .monotonic_clock(Counting::default())
            .insecure_random_seed(
                u128::from(split_mix(&mut state)) << 64 | u128::from(split_mix(&mut state)),
            )
            .insecure_random(Deterministic::new(bytes.clone()))
            .secure_random(Deterministic::new(bytes));
    }
    builder.build()
}

/// `SplitMix64`, <https://prng.di.unimi.it/splitmix64.c>.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// It is always 1970.
struct Frozen;

impl HostWallClock for Frozen {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

/// One microsecond passes with every reading, so that code waiting for time to pass gets on.
#[derive(Default)]
struct Counting(AtomicU64);

impl HostMonotonicClock for Counting {
    fn resolution(&self) -> u64 {
        1000
    }

    fn now(&self) -> u64 {
        self.0.fetch_add(1000, Ordering::Relaxed)
    }
}

/// The last bytes written to standard error.
#[derive(Clone)]
pub(crate) struct Tail {
    bytes: Arc<Mutex<VecDeque<u8>>>,
    limit: usize,
}

impl Tail {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: Arc::default(),
            limit,
        }
    }

    /// Without Rust's advice to set a variable, which no guest has.
    pub(crate) fn text(&self) -> String {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(bytes.make_contiguous());
        let told: Vec<&str> = text
            .split('\n')
            .filter(|line| !line.starts_with("note: run with `RUST_BACKTRACE="))
            .collect();
        crate::text::lines(&told.join("\n"))
    }

    fn push(&self, new: &[u8]) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let new = new
            .get(new.len().saturating_sub(self.limit)..)
            .unwrap_or(new);
        let excess = (bytes.len() + new.len()).saturating_sub(self.limit);
        bytes.drain(..excess);
        bytes.extend(new);
    }
}

impl IsTerminal for Tail {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Tail {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Tail {
    async fn ready(&mut self) {}
}

impl OutputStream for Tail {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_last_bytes() {
        let tail = Tail::new(4);
        tail.push(b"ab");
        tail.push(b"cde");
        assert_eq!(tail.text(), "bcde");
        tail.push(b"0123456789");
        assert_eq!(tail.text(), "6789");
    }

    #[test]
    fn the_tail_leaves_out_what_no_guest_can_do() {
        let tail = Tail::new(1000);
        tail.push(b"thread panicked at src/lib.rs:1:1:\nout of luck\n");
        tail.push(
            b"note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n",
        );
        assert_eq!(
            tail.text(),
            "thread panicked at src/lib.rs:1:1:\nout of luck"
        );
    }

    #[test]
    fn chance_depends_on_the_seed_alone() {
        let (mut a, mut b, mut c) = (1, 1, 2);
        assert_eq!(split_mix(&mut a), split_mix(&mut b));
        assert_ne!(split_mix(&mut a), split_mix(&mut c));
    }
}
