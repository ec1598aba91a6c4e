//! What does it cost to record one answered request?
//!
//! Two histograms with the engine's bounds (response and service time), values spread as latencies are.
//! This is on every request's path, so it must stay within tens of nanoseconds; merging and encoding
//! happen once per interval and once per report.
//!
//! Run: `cargo bench -p kperf-load --bench record`.
#![allow(missing_docs, reason = "the harness makes undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kperf_load::measure::{encode, quantile, time_histogram};
use std::hint::black_box;

/// Values from 50 µs to 100 ms, most of them small.
fn latencies() -> Vec<u64> {
    let mut state = 1_u64;
    (0..4096)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let unit = (state >> 40) as f64 / (1_u64 << 24) as f64;
            (50_000.0 * 2000_f64.powf(unit * unit)) as u64
        })
        .collect()
}

fn record(c: &mut Criterion) {
    let values = latencies();
    let mut group = c.benchmark_group("record");
    group.throughput(Throughput::Elements(values.len() as u64));
    group.bench_function("two histograms, 4096 requests", |b| {
        let (mut response, mut service) = (time_histogram(), time_histogram());
        b.iter(|| {
            for &value in &values {
                response.saturating_record(black_box(value + 1000));
                service.saturating_record(black_box(value));
            }
        });
        black_box((response.len(), service.len()));
    });
    group.finish();

    let mut whole = time_histogram();
    for &value in &values {
        whole.saturating_record(value);
    }
    c.bench_function("merge one histogram into another", |b| {
        let mut sum = time_histogram();
        b.iter(|| sum.add(black_box(&whole)).is_ok());
    });
    c.bench_function("six quantiles", |b| {
        b.iter(|| [0.0, 0.5, 0.9, 0.95, 0.99, 1.0].map(|q| quantile(black_box(&whole), q)));
    });
    c.bench_function("encode as V2 deflate, base64", |b| {
        b.iter(|| encode(black_box(&whole)))
    });
}

criterion_group!(benches, record);
criterion_main!(benches);
