//! The engine against a real server on loopback that misbehaves on request.
//! What is asserted are counts and classes, never how long things take.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the whole crate is tests; clippy's exemption sees only functions marked as such"
)]

mod server;

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use kperf_load::{
    Engine, Stage, Stop,
    plan::{EngineConfig, Pace, PhasePlan, Protocol, Target},
    request::{
        Batch, ExchangeKind, Outcomes, ShardContext, Source, SourceError, SourceFactory, Template,
    },
    result::{Ended, Interval, PhaseResult, counter},
};
use server::{Options, Server};

struct Repeat {
    templates: Vec<Template>,
    heard: Option<Arc<Mutex<Vec<Outcomes>>>>,
    left: u64,
}

impl Source for Repeat {
    fn templates(&self) -> &[Template] {
        &self.templates
    }
    fn next(&mut self, limit: u32) -> Result<Batch, SourceError> {
        let count = u64::from(limit).min(self.left) as u32;
        self.left -= u64::from(count);
        Ok(Batch {
            count,
            template: (0..count)
                .map(|i| i % self.templates.len() as u32)
                .collect(),
            tag: (0..u64::from(count)).collect(),
            done: self.left == 0,
            ..Batch::default()
        })
    }
    fn wants_outcomes(&self) -> bool {
        self.heard.is_some()
    }
    fn observe(&mut self, outcomes: Outcomes) -> Result<(), SourceError> {
        if let Some(heard) = &self.heard {
            heard.lock().unwrap().push(outcomes);
        }
        Ok(())
    }
}

fn template(path: &'static str) -> Template {
    Template {
        series: format!("GET {path}"),
        method: Method::GET,
        path: path.parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        kind: ExchangeKind::Request,
        capture: Vec::new(),
    }
}

fn repeat(templates: Vec<Template>) -> SourceFactory {
    Arc::new(move |_: ShardContext| {
        Ok(Box::new(Repeat {
            templates: templates.clone(),
            heard: None,
            left: u64::MAX,
        }) as Box<dyn Source>)
    })
}

fn config(conns: u32, protocol: Protocol) -> EngineConfig {
    EngineConfig {
        shards: 2,
        conns,
        protocol,
        connect_timeout: Duration::from_secs(10),
        pile_up: Duration::from_micros(100),
        kernel_timestamps: true,
        user_agent: HeaderValue::from_static("kperf-test"),
    }
}

fn plan(total: u64, clients: u32) -> PhasePlan {
    PhasePlan {
        name: "test".into(),
        pace: Pace::Closed,
        total: Some(total),
        duration: None,
        clients,
        max_retries: 0,
        deadline: Some(Duration::from_secs(30)),
        max_backlog: 100_000,
        tick: Duration::ZERO,
        accept: HeaderValue::from_static("application/json"),
        seed: 1,
        interval: Duration::from_millis(100),
        raw: false,
        failures: false,
    }
}

fn run_with(
    options: Options,
    conns: u32,
    plan: &PhasePlan,
    source: &SourceFactory,
) -> (PhaseResult, Server) {
    let server = Server::start(options);
    let protocol = if options.http1 {
        Protocol::Http1
    } else {
        Protocol::Http2
    };
    let mut engine = Engine::connect(server.target(), config(conns, protocol)).unwrap();
    let result = engine.run(plan, source, &Stop::new(), &mut |_| {});
    (result, server)
}

fn run(path: &'static str, total: u64, clients: u32) -> PhaseResult {
    let source = repeat(vec![template(path)]);
    run_with(Options::default(), 2, &plan(total, clients), &source).0
}

fn count(result: &PhaseResult, name: &str) -> u64 {
    result.counters[name]
}

fn errors(result: &PhaseResult) -> Vec<(&str, u64)> {
    result
        .series
        .iter()
        .flat_map(|series| series.errors.iter())
        .map(|(key, count)| (key.as_str(), *count))
        .collect()
}

fn assert_all_good(result: &PhaseResult, total: u64) {
    assert_eq!(errors(result), []);
    assert_eq!(result.ended, Ended::Completed);
    assert_eq!(count(result, counter::SENT), total, "{:?}", result.counters);
    let succeeded: u64 = result.series.iter().map(|s| s.succeeded).sum();
    assert_eq!(succeeded, total);
    for series in &result.series {
        assert_eq!(series.response_time.len(), series.succeeded);
        assert_eq!(series.service_time.len(), series.succeeded);
    }
}

#[test]
fn closed_loop_over_tls_sends_exactly_total() {
    let options = Options {
        tls: true,
        ..Options::default()
    };
    let source = repeat(vec![template("/a"), template("/b")]);
    let (result, server) = run_with(options, 3, &plan(1001, 10), &source);
    assert_all_good(&result, 1001);
    assert_eq!(server.seen.requests.load(Ordering::Relaxed), 1001);
    assert_eq!(server.seen.connections.load(Ordering::Relaxed), 3);
    assert_eq!(result.series[0].name, "GET /a");
    let received: u64 = result.series.iter().map(|s| s.received_bytes).sum();
    assert_eq!(received, 1001 * 36);
    assert_eq!(result.shards.len(), 2);
}

#[test]
fn open_loop_intends_every_arrival_and_intervals_add_up() {
    let server = Server::start(Options::default());
    let mut engine = Engine::connect(server.target(), config(2, Protocol::Http2)).unwrap();
    let plan = PhasePlan {
        pace: Pace::Open {
            rate_per_sec: 1000.0,
        },
        total: None,
        duration: Some(Duration::from_millis(500)),
        ..plan(0, 8)
    };
    let mut intervals: Vec<Interval> = Vec::new();
    let source = repeat(vec![template("/a")]);
    let result = engine.run(&plan, &source, &Stop::new(), &mut |i| intervals.push(i));
    assert_eq!(errors(&result), []);
    assert_eq!(count(&result, counter::INTENDED), 500);
    let sent = count(&result, counter::SENT);
    assert_eq!(sent + count(&result, counter::DROPPED), 500);
    assert!(intervals.len() >= 4, "{}", intervals.len());
    let summed: u64 = intervals.iter().map(|i| i.counters[counter::SENT]).sum();
    assert_eq!(summed, sent);
    let histogram: u64 = intervals
        .iter()
        .flat_map(|i| &i.series)
        .map(|s| s.response_time.len())
        .sum();
    assert_eq!(histogram, sent);
    let indices: Vec<u32> = intervals.iter().map(|i| i.index).collect();
    assert_eq!(indices, (0..intervals.len() as u32).collect::<Vec<_>>());
    // A second phase on the same connections.
    let again = engine.run(&plan, &source, &Stop::new(), &mut |_| {});
    assert_eq!(count(&again, counter::INTENDED), 500);
    assert_eq!(server.seen.connections.load(Ordering::Relaxed), 2);
}

#[test]
fn goaways_cost_no_request() {
    let options = Options {
        tls: true,
        goaway_every: Some(50),
        ..Options::default()
    };
    let source = repeat(vec![template("/slow")]);
    let (result, _) = run_with(options, 2, &plan(2000, 16), &source);
    assert_all_good(&result, 2000);
    assert!(count(&result, counter::GOAWAYS) >= 20, "{result:?}");
    assert!(count(&result, counter::REDIALS) >= 20);
}

#[test]
fn the_peers_stream_limit_is_kept_without_deadlock() {
    let options = Options {
        max_streams: Some(8),
        ..Options::default()
    };
    let source = repeat(vec![template("/slow")]);
    let (result, server) = run_with(options, 1, &plan(1000, 64), &source);
    assert_all_good(&result, 1000);
    assert!(server.seen.most_streams.load(Ordering::Relaxed) <= 8);
    assert_eq!(count(&result, counter::RESENT), 0);
    // Waiting for a stream is in the response time of an open loop, never in the service time.
    let series = &result.series[0];
    assert!(series.response_time.max() > series.service_time.max());
}

#[test]
fn resets_have_kperfs_names() {
    let result = run("/calm", 10, 2);
    assert_eq!(errors(&result), [("http2-protocol/ENHANCE_YOUR_CALM", 10)]);
    assert_eq!(result.series[0].failed, 10);
    assert!(result.series[0].response_time.is_empty());
}

#[test]
fn refused_streams_are_sent_again() {
    let source = repeat(vec![template("/refuse-odd")]);
    let (result, server) = run_with(Options::default(), 1, &plan(20, 1), &source);
    assert_all_good(&result, 20);
    assert_eq!(count(&result, counter::RESENT), 20);
    assert_eq!(server.seen.requests.load(Ordering::Relaxed), 40);
}

#[test]
fn a_connection_lost_mid_body_is_a_connection_error_and_redialled() {
    let result = run("/cut", 4, 2);
    let keys = errors(&result);
    assert_eq!(
        keys.iter().map(|(_, count)| count).sum::<u64>(),
        4,
        "{keys:?}"
    );
    for (key, _) in keys {
        assert!(key.starts_with("connection/"), "{key}");
    }
    assert!(count(&result, counter::REDIALS) >= 2);
    assert_eq!(result.ended, Ended::Completed);
}

fn plain_target(address: std::net::SocketAddr) -> Target {
    Target {
        host: "127.0.0.1".into(),
        port: address.port(),
        addresses: vec![address],
        path_prefix: String::new(),
        tls: None,
        headers: Arc::new(HeaderMap::new()),
        proxy: None,
    }
}

/// The header of the next frame of HTTP/2: payload bytes and kind.
fn next_frame(stream: &mut std::net::TcpStream) -> std::io::Result<(usize, u8)> {
    use std::io::Read as _;

    let mut header = [0; 9];
    stream.read_exact(&mut header)?;
    let bytes = u32::from_be_bytes([0, header[0], header[1], header[2]]);
    Ok((bytes as usize, header[3]))
}

/// The server's side of a handshake in plain HTTP/2, up to the answer to the client's PING.
fn shake_hands(stream: &mut std::net::TcpStream) -> std::io::Result<()> {
    use std::io::{Read as _, Write as _};

    stream.read_exact(&mut [0; 24])?;
    // SETTINGS, empty.
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])?;
    loop {
        let (bytes, kind) = next_frame(stream)?;
        let mut payload = vec![0; bytes];
        stream.read_exact(&mut payload)?;
        if kind == 6 {
            stream.write_all(&[0, 0, 8, 6, 1, 0, 0, 0, 0])?;
            return stream.write_all(&payload);
        }
    }
}

/// A server in plain HTTP/2 that answers every request with `answer`, whatever that is.
fn answer_with(answer: &'static [u8]) -> Target {
    use std::io::{Read as _, Write as _};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = plain_target(listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut stream = stream?;
                shake_hands(&mut stream)?;
                loop {
                    let (bytes, kind) = next_frame(&mut stream)?;
                    stream.read_exact(&mut vec![0; bytes])?;
                    if kind == 1 {
                        stream.write_all(answer)?;
                    }
                }
            });
        }
    });
    target
}

#[test]
fn a_server_that_answers_garbage_is_told_apart_and_redialled() {
    for (answer, key) in [
        (
            &[0xff; 64][..],
            "http2-protocol/FRAME_SIZE_ERROR: a frame of more than 16 KiB",
        ),
        (
            b"HTTP/1.1 200 OK\r\n\r\n",
            "http2-protocol/FRAME_SIZE_ERROR: a frame of more than 16 KiB",
        ),
        // HEADERS on stream 1 with an entry of a table that we have not allowed.
        (
            &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0xbe],
            "http2-protocol/COMPRESSION_ERROR: a header block that cannot be read",
        ),
    ] {
        let mut engine = Engine::connect(answer_with(answer), config(1, Protocol::Http2)).unwrap();
        let source = repeat(vec![template("/ok")]);
        let result = engine.run(&plan(3, 1), &source, &Stop::new(), &mut |_| {});
        assert_eq!(errors(&result), [(key, 3)]);
        assert_eq!(result.ended, Ended::Completed);
        assert!(count(&result, counter::REDIALS) >= 2);
    }
}

#[test]
fn a_truncated_body_is_no_success() {
    let result = run("/short", 3, 1);
    assert_eq!(errors(&result), [("connection/unexpected EOF", 3)]);
}

#[test]
fn a_reset_without_error_is_success_only_after_all_that_was_announced() {
    assert_all_good(&run("/enough", 3, 1), 3);
    let result = run("/perhaps", 3, 1);
    assert_eq!(errors(&result), [("http2-protocol/NO_ERROR", 3)]);
}

#[test]
fn a_lost_connection_ends_its_exchanges_when_it_is_lost() {
    use std::io::Read as _;

    for protocol in [Protocol::Http1, Protocol::Http2] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = plain_target(listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                std::thread::spawn(move || -> std::io::Result<()> {
                    let mut stream = stream?;
                    if protocol == Protocol::Http2 {
                        shake_hands(&mut stream)?;
                        while let (bytes, kind) = next_frame(&mut stream)?
                            && kind != 1
                        {
                            stream.read_exact(&mut vec![0; bytes])?;
                        }
                    } else {
                        stream.read_exact(&mut [0; 5])?;
                    }
                    // The request is on its way by now.
                    std::thread::sleep(Duration::from_millis(50));
                    // Closed with bytes unread: a reset, which leaves nothing to read on the other side.
                    Ok(())
                });
            }
        });
        let mut engine = Engine::connect(target, config(1, protocol)).unwrap();
        let mut plan = plan(2, 1);
        plan.raw = true;
        let source = repeat(vec![template("/lost")]);
        let result = engine.run(&plan, &source, &Stop::new(), &mut |_| {});
        assert_eq!(
            errors(&result),
            [("connection/connection reset by peer", 2)],
            "{protocol:?}"
        );
        let raw = result.raw.unwrap();
        assert!(
            raw.service_ns.iter().all(|&ns| ns >= 50_000_000),
            "{protocol:?}: {:?}",
            raw.service_ns
        );
    }
}

#[test]
fn waiting_for_a_stream_is_the_servers_lag_and_not_ours() {
    let options = Options {
        max_streams: Some(1),
        ..Options::default()
    };
    let plan = PhasePlan {
        pace: Pace::Open {
            rate_per_sec: 2_000.0,
        },
        ..plan(200, 200)
    };
    let source = repeat(vec![template("/slow")]);
    let (result, _) = run_with(options, 1, &plan, &source);
    assert_all_good(&result, 200);
    // 200 answers of 5 ms, one after the other: the last waits for about a second.
    let response = result.series[0].response_time.max();
    let lag = result.shards[0].send_lag.max();
    assert!(
        lag < response / 3,
        "lag {lag} ns of a response time of {response} ns"
    );
    assert!(result.shards[0].send_lag.len() >= 150);
}

#[test]
fn an_abort_reaches_what_is_just_being_handed_out() {
    let server = Server::start(Options::default());
    let mut engine = Engine::connect(server.target(), config(2, Protocol::Http2)).unwrap();
    let source = repeat(vec![template("/stall")]);
    let plan = PhasePlan {
        pace: Pace::Open {
            rate_per_sec: 20_000.0,
        },
        deadline: None,
        ..plan(1_000_000, 64)
    };
    for round in 0..50 {
        let stop = Stop::new();
        let stopper = stop.clone();
        let aborting = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(100 * round));
            stopper.abort();
        });
        let result = engine.run(&plan, &source, &stop, &mut |_| {});
        assert_eq!(result.ended, Ended::Interrupted);
        aborting.join().unwrap();
    }
}

#[test]
fn a_stalled_server_ends_at_the_deadline() {
    let source = repeat(vec![template("/stall"), template("/a")]);
    let plan = PhasePlan {
        deadline: Some(Duration::from_millis(50)),
        ..plan(20, 4)
    };
    let (result, server) = run_with(Options::default(), 2, &plan, &source);
    assert_eq!(
        errors(&result),
        [("connection/request deadline exceeded", 10)]
    );
    assert_eq!(result.series[1].succeeded, 10);
    // Each of them was cancelled on the wire; the server may still be reading the last ones.
    for _ in 0..200 {
        if server.seen.resets.load(Ordering::Relaxed) == 10 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(server.seen.resets.load(Ordering::Relaxed), 10);
}

#[test]
fn retries_follow_retry_after_up_to_the_maximum() {
    let plan = PhasePlan {
        max_retries: 2,
        ..plan(10, 1)
    };
    let (result, server) = run_with(
        Options::default(),
        1,
        &plan,
        &repeat(vec![template("/busy-once")]),
    );
    assert_all_good(&result, 10);
    assert_eq!(count(&result, counter::RETRIES), 10);
    assert_eq!(server.seen.requests.load(Ordering::Relaxed), 20);
    let (result, server) = run_with(
        Options::default(),
        1,
        &plan,
        &repeat(vec![template("/busy")]),
    );
    assert_eq!(errors(&result), [("http/429", 10)]);
    assert_eq!(server.seen.requests.load(Ordering::Relaxed), 30);
}

#[test]
fn statuses_are_errors_of_their_own() {
    let result = run("/missing", 5, 2);
    assert_eq!(errors(&result), [("http/404", 5)]);
    assert_eq!(result.series[0].received_bytes, 10);
}

fn watch(path: &'static str, kind: ExchangeKind) -> (PhaseResult, Server) {
    let template = Template {
        kind,
        ..template(path)
    };
    run_with(Options::default(), 1, &plan(5, 2), &repeat(vec![template]))
}

#[test]
fn a_watch_list_ends_at_its_bookmark() {
    let (result, _) = watch("/watch", ExchangeKind::WatchList);
    assert_all_good(&result, 5);
    assert_eq!(result.series[0].counters[counter::WATCH_EVENTS], 15);
    assert!(result.series[0].received_bytes > 0);
    let (result, _) = watch("/watch-none", ExchangeKind::WatchList);
    assert_eq!(errors(&result), [("unknown/don't receive bookmark", 5)]);
    let (result, _) = watch("/watch-gone", ExchangeKind::WatchList);
    assert_eq!(errors(&result), [("http/410", 5)]);
}

#[test]
fn a_watch_is_held_and_then_cancelled_as_a_success() {
    let kind = ExchangeKind::Watch {
        hold: Duration::from_millis(30),
    };
    let (result, _) = watch("/watch-open", kind);
    assert_all_good(&result, 5);
    assert_eq!(result.series[0].counters[counter::WATCH_EVENTS], 5);
}

#[test]
fn bodies_headers_and_captures_go_through() {
    struct Posts(Vec<Template>, Arc<Mutex<Vec<Outcomes>>>);
    impl Source for Posts {
        fn templates(&self) -> &[Template] {
            &self.0
        }
        fn next(&mut self, _: u32) -> Result<Batch, SourceError> {
            Ok(Batch {
                count: 3,
                template: vec![0, 1, 1],
                path_len: vec![0, 0, 8],
                body_len: vec![200_000, 0, 0],
                tag: vec![5, 6, 7],
                arena: [vec![b'x'; 200_000], b"/headers".to_vec()].concat(),
                done: true,
            })
        }
        fn wants_outcomes(&self) -> bool {
            true
        }
        fn observe(&mut self, outcomes: Outcomes) -> Result<(), SourceError> {
            self.1.lock().unwrap().push(outcomes);
            Ok(())
        }
    }
    let mut post = template("/echo");
    post.method = Method::POST;
    let mut get = template("/headers");
    get.headers
        .insert("accept", HeaderValue::from_static("text/x"));
    get.capture = ["/accept", "/agent", "/authorization", "/path", "/authority"]
        .map(String::from)
        .to_vec();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&heard);
    let source: SourceFactory = Arc::new(move |_| {
        Ok(
            Box::new(Posts(vec![post.clone(), get.clone()], Arc::clone(&shared)))
                as Box<dyn Source>,
        )
    });
    let server = Server::start(Options::default());
    let mut target = server.target();
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Bearer t"));
    target.headers = Arc::new(headers);
    let mut engine = Engine::connect(target, config(1, Protocol::Http2)).unwrap();
    let result = engine.run(&plan(100, 1), &source, &Stop::new(), &mut |_| {});
    assert_all_good(&result, 3);
    assert_eq!(result.series[0].received_bytes, "200000 POST".len() as u64);
    let heard = heard.lock().unwrap();
    let tags: Vec<u64> = heard.iter().flat_map(|o| o.tag.clone()).collect();
    assert_eq!(tags, [5, 6, 7]);
    let arena = heard.iter().flat_map(|o| o.arena.clone()).collect();
    let text = String::from_utf8(arena).unwrap();
    let one = format!(
        r#"["text/x","kperf-test","Bearer t","/headers","localhost:{}"]"#,
        server.address.port()
    );
    assert_eq!(text, [one.as_str(), one.as_str()].concat());
}

#[test]
fn large_bodies_are_counted_over_tls() {
    let options = Options {
        tls: true,
        ..Options::default()
    };
    let source = repeat(vec![template("/large")]);
    let (result, _) = run_with(options, 1, &plan(100, 8), &source);
    assert_all_good(&result, 100);
    assert_eq!(result.series[0].received_bytes, 100 << 20);
}

#[test]
fn http1_has_a_socket_per_client() {
    for tls in [false, true] {
        let options = Options {
            tls,
            http1: true,
            ..Options::default()
        };
        let source = repeat(vec![template("/a")]);
        let (result, server) = run_with(options, 2, &plan(200, 6), &source);
        assert_all_good(&result, 200);
        assert_eq!(server.seen.connections.load(Ordering::Relaxed), 6);
        assert_eq!(count(&result, counter::REDIALS), 0);
    }
}

#[test]
fn http1_closed_sockets_are_redialled() {
    let options = Options {
        http1: true,
        ..Options::default()
    };
    let source = repeat(vec![template("/close-third")]);
    let (result, _) = run_with(options, 1, &plan(30, 1), &source);
    assert_all_good(&result, 30);
    assert!(count(&result, counter::REDIALS) >= 9);
    let (result, _) = run_with(options, 1, &plan(3, 1), &repeat(vec![template("/kill")]));
    assert_eq!(errors(&result), [("connection/EOF", 3)]);
    let plan = PhasePlan {
        deadline: Some(Duration::from_millis(30)),
        ..plan(3, 1)
    };
    let (result, _) = run_with(options, 1, &plan, &repeat(vec![template("/stall")]));
    assert_eq!(
        errors(&result),
        [("connection/request deadline exceeded", 3)]
    );
}

#[test]
fn a_dead_server_neither_hangs_nor_spins() {
    let server = Server::start(Options::default());
    let mut engine = Engine::connect(server.target(), config(1, Protocol::Http2)).unwrap();
    drop(server);
    let plan = PhasePlan {
        duration: Some(Duration::from_millis(700)),
        total: None,
        ..plan(0, 4)
    };
    let source = repeat(vec![template("/a")]);
    let result = engine.run(&plan, &source, &Stop::new(), &mut |_| {});
    assert_eq!(result.ended, Ended::Completed);
    let keys = errors(&result);
    let total: u64 = keys.iter().map(|(_, count)| count).sum();
    assert!(
        keys.iter().all(|(key, _)| key.starts_with("connection/")),
        "{keys:?}"
    );
    assert!(
        keys.iter()
            .any(|(key, _)| *key == "connection/connection refused"),
        "{keys:?}"
    );
    // 4 clients, dials after 0, 50, 150, 350, 750 ms: a handful each, not thousands.
    assert!(total <= 4 * 8, "{keys:?}");
}

#[test]
fn connect_errors_say_where_and_what_next() {
    let closed = {
        let server = Server::start(Options::default());
        server.target()
    };
    let error = Engine::connect(closed.clone(), config(1, Protocol::Http2)).unwrap_err();
    assert_eq!(error.stage, Stage::Dial);
    assert!(
        error.to_string().contains(&closed.port.to_string()),
        "{error}"
    );

    let mut unknown = closed;
    unknown.addresses.clear();
    unknown.host = "no-such-host.invalid".into();
    let error = Engine::connect(unknown, config(1, Protocol::Http2)).unwrap_err();
    assert_eq!(error.stage, Stage::Resolve);

    let http1 = Server::start(Options {
        tls: true,
        http1: true,
        ..Options::default()
    });
    let error = Engine::connect(http1.target(), config(2, Protocol::Http2)).unwrap_err();
    assert_eq!(error.stage, Stage::Tls);
    assert!(error.to_string().contains("--disable-http2"), "{error}");

    let plain_http1 = Server::start(Options {
        http1: true,
        ..Options::default()
    });
    let error = Engine::connect(plain_http1.target(), config(1, Protocol::Http2)).unwrap_err();
    assert_eq!(error.stage, Stage::Http2);
    assert!(error.to_string().contains("--disable-http2"), "{error}");

    let tls = Server::start(Options {
        tls: true,
        ..Options::default()
    });
    let stranger = Server::start(Options {
        tls: true,
        ..Options::default()
    });
    let mut target = tls.target();
    target.tls = stranger.target().tls;
    let error = Engine::connect(target, config(1, Protocol::Http2)).unwrap_err();
    assert_eq!(error.stage, Stage::Tls);
    assert!(error.message.contains("certificate"), "{error}");
}

#[test]
fn stopping_waits_for_what_is_in_flight_and_aborting_does_not() {
    let server = Server::start(Options::default());
    let mut engine = Engine::connect(server.target(), config(1, Protocol::Http2)).unwrap();
    let endless = PhasePlan {
        total: None,
        ..plan(0, 4)
    };
    let stop = Stop::new();
    let stopper = stop.clone();
    let source = repeat(vec![template("/slow")]);
    let result = engine.run(&endless, &source, &stop, &mut |_| stopper.stop());
    assert_eq!(result.ended, Ended::Interrupted);
    assert_eq!(errors(&result), []);
    assert!(count(&result, counter::SENT) > 0);

    let stop = Stop::new();
    let stopper = stop.clone();
    let forever = PhasePlan {
        deadline: None,
        ..endless.clone()
    };
    let source = repeat(vec![template("/stall")]);
    let result = engine.run(&forever, &source, &stop, &mut |_| stopper.abort());
    assert_eq!(result.ended, Ended::Interrupted);
    assert_eq!(errors(&result), [("unknown/aborted", 4)]);

    // Stopped before it began.
    let result = engine.run(&endless, &source, &stop, &mut |_| {});
    assert_eq!(result.ended, Ended::Interrupted);
}

#[test]
fn a_failing_source_ends_the_phase_and_keeps_what_was_measured() {
    struct Fails(Vec<Template>, u32);
    impl Source for Fails {
        fn templates(&self) -> &[Template] {
            &self.0
        }
        fn next(&mut self, _: u32) -> Result<Batch, SourceError> {
            self.1 += 1;
            match self.1 {
                1..=3 => Ok(Batch {
                    count: 8,
                    ..Batch::default()
                }),
                4 => panic!("lost its mind"),
                _ => unreachable!("not called after it failed"),
            }
        }
    }
    let source: SourceFactory =
        Arc::new(|_| Ok(Box::new(Fails(vec![template("/a")], 0)) as Box<dyn Source>));
    let (result, _) = run_with(Options::default(), 1, &plan(10_000, 1), &source);
    let Ended::Failed(error) = &result.ended else {
        panic!("{:?}", result.ended);
    };
    assert_eq!(error.code, "panic");
    assert!(error.message.contains("lost its mind"));
    assert!(result.series[0].succeeded > 0);
    assert_eq!(count(&result, counter::SENT), result.series[0].succeeded);
}

#[test]
fn sources_that_cannot_start_are_said_at_once() {
    let source: SourceFactory = Arc::new(|_| {
        Err(SourceError {
            code: "invalid-config".into(),
            message: "no such key".into(),
        })
    });
    let (result, _) = run_with(Options::default(), 2, &plan(10, 2), &source);
    assert!(matches!(&result.ended, Ended::Failed(error) if error.code == "invalid-config"));
    let mut bad = template("/a");
    bad.headers
        .insert("host", HeaderValue::from_static("elsewhere"));
    let (result, _) = run_with(Options::default(), 2, &plan(10, 2), &repeat(vec![bad]));
    assert!(matches!(&result.ended, Ended::Failed(error) if error.message.contains("host")));
    let (result, _) = run_with(
        Options::default(),
        1,
        &plan(10, 0),
        &repeat(vec![template("/a")]),
    );
    assert!(matches!(&result.ended, Ended::Failed(error) if error.code == "invalid-plan"));
}

#[test]
fn a_source_may_own_its_arrivals() {
    struct Replay(Vec<Template>, bool);
    impl Source for Replay {
        fn templates(&self) -> &[Template] {
            &self.0
        }
        fn next(&mut self, _: u32) -> Result<Batch, SourceError> {
            Ok(Batch {
                count: 3,
                done: true,
                ..Batch::default()
            })
        }
        fn owns_arrivals(&self) -> bool {
            true
        }
        fn schedule(&mut self, _: u32) -> Result<Vec<u64>, SourceError> {
            if std::mem::replace(&mut self.1, true) {
                return Ok(Vec::new());
            }
            Ok(vec![0, 2_000_000, 30_000_000])
        }
    }
    let source: SourceFactory =
        Arc::new(|_| Ok(Box::new(Replay(vec![template("/a")], false)) as Box<dyn Source>));
    let mut plan = plan(100, 1);
    plan.raw = true;
    let (result, _) = run_with(Options::default(), 1, &plan, &source);
    assert_all_good(&result, 3);
    let raw = result.raw.unwrap();
    let at: Vec<u128> = raw
        .intended
        .iter()
        .map(|time| time.duration_since(result.start).unwrap().as_micros())
        .collect();
    assert_eq!(at, [0, 2_000, 30_000]);
    assert_eq!(raw.failure, [0, 0, 0]);
}

#[test]
fn a_source_that_waits_for_outcomes_gets_them() {
    struct PingPong(Vec<Template>, u64, u64);
    impl Source for PingPong {
        fn templates(&self) -> &[Template] {
            &self.0
        }
        fn next(&mut self, _: u32) -> Result<Batch, SourceError> {
            if self.1 > self.2 {
                return Ok(Batch::default());
            }
            self.1 += 1;
            Ok(Batch {
                count: 1,
                ..Batch::default()
            })
        }
        fn wants_outcomes(&self) -> bool {
            true
        }
        fn observe(&mut self, outcomes: Outcomes) -> Result<(), SourceError> {
            self.2 += u64::from(outcomes.count);
            Ok(())
        }
    }
    let source: SourceFactory =
        Arc::new(|_| Ok(Box::new(PingPong(vec![template("/a")], 0, 0)) as Box<dyn Source>));
    let (result, _) = run_with(Options::default(), 1, &plan(50, 4), &source);
    assert_all_good(&result, 50);
    assert!(count(&result, counter::FEED_STARVED) > 0);
}
