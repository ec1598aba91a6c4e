//! Report documents for tests and the bench, in the shape the `json` exporter gives them. What a real run writes is merged in
//! the tests that drive the real binary.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "support code of tests; each uses a part of it"
)]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hdrhistogram::Histogram;
use kperf_load::measure::{encode, quantile, time_histogram};
use serde_json::{Value, json};

/// A simple generator of numbers: the same values in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }

    /// From 300 µs to some hundred ms, most of them small, as latencies are.
    pub(crate) fn latency_ns(&mut self) -> u64 {
        let unit = self.below(1 << 24) as f64 / (1_u64 << 24) as f64;
        (300_000.0 * 1000_f64.powf(unit.powi(4))) as u64
    }
}

/// One answered or failed request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    pub(crate) series: usize,
    pub(crate) response_ns: u64,
    pub(crate) service_ns: u64,
    pub(crate) bytes: u64,
    pub(crate) failed: bool,
}

pub(crate) const SERIES: [&str; 3] = [
    "LIST /api/v1/pods?limit=500&resourceVersion=0&timeout=1m0s",
    "GET /api/v1/nodes/node-1?timeout=1m0s",
    "LIST /api/v1/namespaces/default/configmaps?timeout=1m0s",
];

pub(crate) fn exchanges(random: &mut Random, count: usize) -> Vec<Exchange> {
    let each = |_| {
        let service_ns = random.latency_ns();
        Exchange {
            series: random.below(SERIES.len() as u64) as usize,
            response_ns: service_ns + random.below(200_000),
            service_ns,
            bytes: random.below(100_000),
            failed: random.below(500) == 0,
        }
    };
    (0..count).map(each).collect()
}

/// What a document is made from.
pub(crate) struct Run<'a> {
    pub(crate) id: &'a str,
    pub(crate) start_unix_us: u64,
    pub(crate) length_ns: u64,
    pub(crate) exchanges: &'a [Exchange],
    /// Whether sums carry whole histograms too, as they do by default.
    pub(crate) derived: bool,
}

fn histogram(times: &Histogram<u64>, whole: bool) -> Value {
    if times.is_empty() {
        return json!({"count": 0});
    }
    let percentiles: serde_json::Map<String, Value> = [
        ("p0", 0.0),
        ("p50", 0.5),
        ("p75", 0.75),
        ("p90", 0.9),
        ("p95", 0.95),
        ("p99", 0.99),
        ("p99.9", 0.999),
        ("p99.99", 0.9999),
        ("p100", 1.0),
    ]
    .into_iter()
    .map(|(name, q)| (name.to_owned(), quantile(times, q).into()))
    .collect();
    let mut histogram = json!({
        "count": times.len(),
        "min_ns": times.min(),
        "max_ns": times.max(),
        "mean_ns": times.mean(),
        "stddev_ns": times.stdev(),
        "percentiles_ns": percentiles,
    });
    if whole {
        histogram["hdr_v2_deflate_base64"] = STANDARD.encode(encode(times)).into();
    }
    histogram
}

fn series<'a>(name: &str, all: impl Iterator<Item = &'a Exchange>, whole: bool) -> Value {
    let (mut response, mut service) = (time_histogram(), time_histogram());
    let (mut sent, mut failed, mut bytes) = (0_u64, 0_u64, 0_u64);
    for one in all {
        sent += 1;
        bytes += one.bytes;
        if one.failed {
            failed += 1;
        } else {
            response.saturating_record(one.response_ns);
            service.saturating_record(one.service_ns);
        }
    }
    let errors = if failed > 0 {
        json!({"http/429": failed})
    } else {
        json!({})
    };
    json!({
        "name": name, "sent": sent, "succeeded": sent - failed, "failed": failed, "received_bytes": bytes,
        "errors": errors, "counters": {"late": 0, "retries": 0},
        "response_time": histogram(&response, whole), "service_time": histogram(&service, whole),
    })
}

/// The document of one run.
pub(crate) fn document(run: &Run<'_>) -> Value {
    let all = run.exchanges;
    let sent = all.len() as u64;
    let each = |whole: bool| -> Vec<Value> {
        let of = |(at, name): (usize, &&str)| {
            series(name, all.iter().filter(|one| one.series == at), whole)
        };
        SERIES.iter().enumerate().map(of).collect()
    };
    let seconds = run.length_ns as f64 / 1e9;
    let overall = series("overall", all.iter(), run.derived);
    let phase = json!({
        "name": "load",
        "start": "2026-11-28T19:00:00Z",
        "start_unix_us": run.start_unix_us,
        "length_ns": run.length_ns,
        "ended": "completed",
        "settings": {
            "clients": "10", "conns": "10", "content_type": "json", "deadline": "60.0s", "http": "HTTP/2",
            "max_backlog": "10000", "max_retries": "0", "pile_up": "100us", "rate": "100", "receive_stamps": "kernel",
            "seed": run.id.len().to_string(), "shards": "1", "shards_reason": "enough for 100/s", "tick": "100us",
            "total": sent.to_string(),
        },
        "counters": {"dropped": 0, "feed_starved": 0, "goaways": 0, "intended": sent, "late": 0, "redials": 0,
            "resent": 0, "retries": 0, "sent": sent},
        "metrics": [
            {"name": "achieved_rate", "value": sent as f64 / seconds, "unit": "requests-per-second"},
            {"name": "cpu", "value": sent as f64 * 2e-5, "unit": "seconds"},
            {"name": "cpu_per_request", "value": 2e-5, "unit": "seconds"},
            {"name": "shard_cpu", "value": 0.25, "unit": "ratio", "labels": {"shard": "0"}},
            {"name": "send_lag_p50", "value": 2e-5, "unit": "seconds"},
            {"name": "send_lag_p99", "value": 1e-4, "unit": "seconds"},
            {"name": "send_lag_max", "value": 1e-3, "unit": "seconds"},
        ],
        "overall": overall,
        "series": each(true),
    });
    json!({
        "schema": "kperf-host/report/v1",
        "run_id": run.id,
        "host_version": "0.1.0",
        "description": "a test",
        "labels": {"team": "a"},
        "start": "2026-11-28T19:00:00Z",
        "start_unix_us": run.start_unix_us.saturating_sub(30_000),
        "length_ns": run.length_ns,
        "ended": "completed",
        "verdict": "certified",
        "findings": [{"severity": "info", "code": "self-check/closed-loop", "message": "a closed loop: service time only"}],
        "server": "https://10.0.0.1:443",
        "environment": {"arch": "x86_64", "cores": "2", "kernel": "6.1.0", "os": "linux", "target": "in-cluster"},
        "plugins": [{"name": "quorum_list", "version": "0.1.0", "world": "generator",
            "sha256": "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90"}],
        "metrics": [
            {"name": "achieved_rate", "value": sent as f64 / seconds, "unit": "requests-per-second"},
            {"name": "received_rate", "value": 1e6, "unit": "bytes-per-second"},
        ],
        "distributions": [], "objects": [], "thresholds": [],
        "overall": overall.clone(),
        "series": each(run.derived),
        "phases": [phase],
    })
}
