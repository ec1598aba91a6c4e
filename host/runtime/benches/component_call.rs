//! What does a request cost when a component thinks it up?
//!
//! `next/N` asks a real generator (Rust, 56-byte paths from a random number) for N requests; the
//! throughput criterion prints is requests. `native/N` runs the same loop without a component. Their
//! difference, divided by N, is the price of the sandbox for one request; `next/0` is the price of a
//! call alone, and how `next/N` flattens from 64 on shows that larger batches gain nothing.
//!
//! `load` is start-up: `cached` reads compiled code, `compiled` makes it.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark, not a product"
)]

use std::{hint::black_box, io::Write, sync::Arc};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kperf_runtime::{OpenContext, Plugin, Runtime, RuntimeConfig};
use serde_json::json;

#[path = "../tests/guests/components.rs"]
mod components;

const BATCHES: [u32; 6] = [0, 1, 16, 64, 256, 1024];

fn native(seed: &mut u64, limit: u32) -> (Vec<u32>, Vec<u8>) {
    let mut path_len = Vec::with_capacity(limit as usize);
    let mut arena = Vec::with_capacity(limit as usize * 64);
    for _ in 0..limit {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        let (n, before) = (*seed % 1000, arena.len());
        let _ = write!(
            arena,
            "/api/v1/namespaces/ns-{}/pods/pod-{}?resourceVersion=0",
            n % 10,
            n
        );
        path_len.push((arena.len() - before) as u32);
    }
    (path_len, arena)
}

fn next(c: &mut Criterion) {
    let plugin: Arc<Plugin> = components::load("generator", components::limits());
    let mut group = c.benchmark_group("next");
    for limit in BATCHES {
        group.throughput(Throughput::Elements(u64::from(limit.max(1))));
        let mut generator = plugin
            .open_generator(OpenContext::default(), &json!({"misbehave": "no"}))
            .unwrap();
        group.bench_with_input(BenchmarkId::new("component", limit), &limit, |b, limit| {
            b.iter(|| generator.next(*limit).unwrap());
        });
        let mut seed = 1;
        group.bench_with_input(BenchmarkId::new("native", limit), &limit, |b, limit| {
            b.iter(|| black_box(native(&mut seed, *limit)));
        });
    }
}

fn load(c: &mut Criterion) {
    let bytes = components::bytes("generator");
    let directory = tempfile::tempdir().unwrap();
    let runtime = |cache_dir| {
        Runtime::new(RuntimeConfig {
            cache_dir,
            limits: components::limits(),
        })
        .unwrap()
    };
    let mut group = c.benchmark_group("load");
    group.sample_size(10);
    let cached = runtime(Some(directory.path().join("code")));
    cached.load("x", &bytes).unwrap();
    group.bench_function("cached", |b| b.iter(|| cached.load("x", &bytes).unwrap()));
    let compiled = runtime(None);
    group.bench_function("compiled", |b| {
        b.iter(|| compiled.load("x", &bytes).unwrap())
    });
    let plugin = cached.load("x", &bytes).unwrap();
    group.bench_function("open", |b| {
        b.iter(|| {
            plugin
                .open_generator(OpenContext::default(), &json!({"misbehave": "no"}))
                .unwrap()
        });
    });
}

criterion_group!(benches, next, load);
criterion_main!(benches);
