//! Each fault as a client meets it.

use std::time::{Duration, Instant};

use http::Method;
use kperf_sim::{Faults, SimConfig};

use crate::client::{Client, Protocol, small, start};

fn faulty(faults: &str) -> SimConfig {
    SimConfig {
        faults: faults.parse::<Faults>().unwrap(),
        ..small()
    }
}

const PATH: &str = "/api/v1/namespaces/ns-0/configmaps/cm-0";
const LIST: &str = "/api/v1/pods";

#[tokio::test]
async fn latency_holds_every_answer_but_health() {
    let sim = start(faulty("latency=80ms"));
    let mut client = Client::new(&sim).await;
    let before = Instant::now();
    assert_eq!(client.get(PATH).await.code, 200);
    // A sleep never ends early, so this bound does not depend on the machine.
    assert!(before.elapsed() >= Duration::from_millis(80));
}

#[tokio::test]
async fn refusals_say_when_to_come_back() {
    let sim = start(faulty("429=1:3s"));
    let mut client = Client::new(&sim).await;
    let answer = client.get(PATH).await;
    assert_eq!(answer.code, 429);
    assert_eq!(answer.headers["retry-after"], "3");
    assert_eq!(answer.json()["reason"], "TooManyRequests");
    assert_eq!(client.get("/readyz").await.code, 200);
    sim.faults().set(Faults::default());
    assert_eq!(client.get(PATH).await.code, 200);
}

#[tokio::test]
async fn server_errors_come_in_three_kinds() {
    let sim = start(faulty("5xx=1"));
    let mut client = Client::new(&sim).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        seen.insert(client.get(PATH).await.code.as_u16());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [500, 503, 504]);
}

#[tokio::test]
async fn resets_end_the_connection() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        // Both kinds of reset occur among a few seeds.
        for seed in 0..6 {
            let sim = start(faulty(&format!("reset=1,seed={seed}")));
            let mut client = Client::connect(&sim, protocol, false).await;
            assert!(
                client.send(Method::GET, LIST, &[], "").await.is_err(),
                "{protocol:?} {seed}"
            );
            let error = client.connection.await.unwrap();
            if protocol == Protocol::Http2 {
                let text = format!("{:?}", error.unwrap_err());
                // Which of the two depends on whether the client was writing when the RST came.
                assert!(
                    ["reset", "ConnectionReset", "BrokenPipe"]
                        .iter()
                        .any(|word| text.contains(word)),
                    "{text}"
                );
            }
        }
    }
}

#[tokio::test]
async fn truncated_bodies_end_the_stream_not_the_connection() {
    let sim = start(faulty("truncate=1"));
    let mut client = Client::new(&sim).await;
    let response = client.open(Method::GET, LIST, &[], "").await.unwrap();
    assert_eq!(response.status(), 200);
    let error = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap_err();
    assert!(format!("{error:?}").contains("Reset"), "{error:?}");
    sim.faults().set(Faults::default());
    assert_eq!(client.get(PATH).await.code, 200);

    sim.faults().set("truncate=1".parse().unwrap());
    let mut old = Client::connect(&sim, Protocol::Http1, false).await;
    assert!(old.send(Method::GET, LIST, &[], "").await.is_err());
}

#[tokio::test]
async fn goaway_lets_requests_finish_and_ends_the_connection() {
    let sim = start(faulty("goaway=5"));
    let mut client = Client::new(&sim).await;
    for _ in 0..5 {
        assert_eq!(client.get(PATH).await.code, 200);
    }
    // Said goodbye without an error; nothing more is accepted.
    client.connection.await.unwrap().unwrap();
    let mut next = Client::new(&sim).await;
    assert_eq!(next.get(PATH).await.code, 200);
}

#[tokio::test]
async fn a_stall_holds_answers_until_it_is_over() {
    let sim = start(faulty("stall=200ms@0s"));
    let mut client = Client::new(&sim).await;
    let before = Instant::now();
    assert_eq!(client.get(PATH).await.code, 200);
    assert!(before.elapsed() >= Duration::from_millis(190));
    // Once only; and on demand.
    let before = Instant::now();
    sim.faults().stall(Duration::from_millis(150));
    assert_eq!(client.get(PATH).await.code, 200);
    assert!(before.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn the_stream_limit_is_advertised_and_more_clients_than_streams_all_finish() {
    let sim = start(SimConfig {
        max_concurrent_streams: 8,
        ..faulty("latency=1ms")
    });
    let client = std::sync::Arc::new(tokio::sync::Mutex::new(Client::new(&sim).await));
    let mut tasks = Vec::new();
    for _ in 0..64 {
        let client = std::sync::Arc::clone(&client);
        tasks.push(tokio::spawn(async move {
            // The lock covers the send alone, so the streams overlap.
            let opened = client.lock().await.open(Method::GET, PATH, &[], "").await;
            opened.unwrap().status()
        }));
    }
    for task in tasks {
        assert_eq!(task.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn plain_http_serves_both_versions() {
    let sim = start(SimConfig {
        tls: false,
        open: true,
        threads: 2,
        ..small()
    });
    assert!(sim.url().starts_with("http://"));
    let tcp = tokio::net::TcpStream::connect(sim.address()).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(tcp);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(PATH)
        .header("host", "sim")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
}
