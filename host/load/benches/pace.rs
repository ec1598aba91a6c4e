//! How far behind its time does a request leave, and what does pacing cost?
//!
//! Runs the whole engine at 10 000 requests a second for three seconds against a server in this process
//! that answers at once (HTTP/2 without TLS, loopback), and prints the lag of the actual behind the
//! intended send when a client was free, with the CPU of the shard per request. The bar is p99 ≤ 200 µs
//! on an idle core; on a busy machine the number is the machine's. With `KPERF_BENCH_TICK_US=500` the
//! same with ticks. Saturated cost: the closed loop after it, 10 connections with 10 streams each.
//!
//! Run: `cargo bench -p kperf-load --bench pace`.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints its numbers and has nobody to report an error to"
)]

use std::{net::SocketAddr, sync::Arc, thread, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response};
use kperf_load::{
    Engine, Stop,
    measure::{quantile, self_check},
    plan::{EngineConfig, Pace, PhasePlan, Protocol, Target},
    request::{Batch, ExchangeKind, Source, SourceError, SourceFactory, Template},
    result::counter,
};

struct Endless(Vec<Template>);

impl Source for Endless {
    fn templates(&self) -> &[Template] {
        &self.0
    }
    fn next(&mut self, limit: u32) -> Result<Batch, SourceError> {
        Ok(Batch {
            count: limit,
            ..Batch::default()
        })
    }
}

fn source() -> SourceFactory {
    Arc::new(|_| {
        Ok(Box::new(Endless(vec![Template {
            series: "GET /".into(),
            method: Method::GET,
            path: http::uri::PathAndQuery::from_static("/"),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            kind: ExchangeKind::Request,
            capture: Vec::new(),
        }])) as Box<dyn Source>)
    })
}

fn serve() -> SocketAddr {
    let (ready, address) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                .await
                .expect("bind");
            ready
                .send(listener.local_addr().expect("address"))
                .expect("listener");
            loop {
                let (stream, _) = listener.accept().await.expect("accept");
                let _ = stream.set_nodelay(true);
                tokio::spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else {
                        return;
                    };
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        if let Ok(mut body) = respond.send_response(Response::new(()), false) {
                            let _ = body.send_data(Bytes::from_static(&[b'x'; 82]), true);
                        }
                    }
                });
            }
        });
    });
    address.recv().expect("server")
}

fn main() {
    let address = serve();
    let tick = std::env::var("KPERF_BENCH_TICK_US")
        .ok()
        .and_then(|text| text.parse().ok())
        .map_or(Duration::ZERO, Duration::from_micros);
    let target = Target {
        host: "127.0.0.1".into(),
        port: address.port(),
        addresses: vec![address],
        path_prefix: String::new(),
        tls: None,
        headers: Arc::new(HeaderMap::new()),
        proxy: None,
    };
    let config = EngineConfig {
        shards: 1,
        conns: 10,
        protocol: Protocol::Http2,
        connect_timeout: Duration::from_secs(10),
        pile_up: Duration::from_micros(100),
        kernel_timestamps: true,
        user_agent: HeaderValue::from_static("kperf-bench"),
    };
    let mut engine = Engine::connect(target, config).expect("server of this process");
    let open = PhasePlan {
        name: "10 000/s".into(),
        pace: Pace::Open {
            rate_per_sec: 10_000.0,
        },
        total: None,
        duration: Some(Duration::from_secs(3)),
        clients: 100,
        max_retries: 0,
        deadline: Some(Duration::from_secs(10)),
        max_backlog: 100_000,
        tick,
        accept: HeaderValue::from_static("application/json"),
        seed: 1,
        interval: Duration::from_secs(1),
        raw: false,
        failures: false,
    };
    let closed = PhasePlan {
        name: "closed, 10 x 10".into(),
        pace: Pace::Closed,
        ..open.clone()
    };
    for plan in [open, closed] {
        let result = engine.run(&plan, &source(), &Stop::new(), &mut |_| {});
        let sent = result.counters[counter::SENT].max(1);
        let shard = &result.shards[0];
        let per_request = |time: Duration| time.as_secs_f64() * 1e6 / sent as f64;
        let us = |histogram, q| quantile(histogram, q).unwrap_or_default() as f64 / 1e3;
        let series = &result.series[0];
        println!(
            "{}: {sent} sent in {:?}; lag p50 {:.0} us p99 {:.0} us; service p50 {:.0} us p99 {:.0} us; CPU per request {:.2} us user + {:.2} us system; {:?}",
            plan.name,
            result.length,
            us(&shard.send_lag, 0.5),
            us(&shard.send_lag, 0.99),
            us(&series.service_time, 0.5),
            us(&series.service_time, 0.99),
            per_request(shard.cpu_user),
            per_request(shard.cpu_system),
            self_check(&result, &plan).level,
        );
    }
}
