//! Denials as a table, and the client against a server on loopback.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use ::http::Response;
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use kperf_runtime::Sinks;
use tokio::{net::TcpListener, task::JoinHandle};

use super::*;
use crate::sink::{Declared, Destination};

fn http(text: &str) -> HttpDestination {
    HttpDestination::parse(text).unwrap()
}

fn delivery(method: &str, path: &str) -> Delivery {
    Delivery {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        body: b"a 1\n".to_vec(),
        retry: false,
    }
}

#[test]
fn paths_are_joined_below_the_url() {
    for (url, path, expected) in [
        (
            "http://h:9091",
            "/metrics/job/a",
            "http://h:9091/metrics/job/a",
        ),
        (
            "http://h:9091/",
            "metrics/job/a",
            "http://h:9091/metrics/job/a",
        ),
        ("http://h/p/q/", "/a", "http://h/p/q/a"),
        ("https://h/p", "", "https://h/p"),
        ("http://h", "", "http://h/"),
        ("http://h", "/", "http://h/"),
        ("http://h/p?token=t", "/a", "http://h/p/a?token=t"),
        (
            "http://h/p?token=t",
            "/a?b=c%20d",
            "http://h/p/a?token=t&b=c%20d",
        ),
        (
            "http://h",
            "/metrics/job@base64/Lz8_Pg/zone@base64/=",
            "http://h/metrics/job@base64/Lz8_Pg/zone@base64/=",
        ),
        ("http://h", "/a%20b/...", "http://h/a%20b/..."),
        ("http://h", "/a/b:c/", "http://h/a/b:c/"),
        ("http://u:p@[::1]:9091/x", "/y", "http://[::1]:9091/x/y"),
    ] {
        assert_eq!(
            http(url).uri(path).unwrap().to_string(),
            expected,
            "{url} + {path}"
        );
    }
}

#[test]
fn paths_that_climb_are_denied() {
    for path in [
        "..",
        "/..",
        "../admin",
        "/a/../../admin",
        "/./a",
        "/.",
        "/%2e%2e/admin",
        "/%2E%2e/admin",
        "/.%2e",
        "/%2e",
        "/a%2f..%2fb",
        "/..%2fadmin",
        "/..%5cadmin",
        "\\..\\admin",
        "//evil.example/a",
        "/a//b",
        "http://evil.example/",
        "https:evil",
        "javascript:1",
        "/a b",
        "/ü",
        "/a\r\nHost: evil",
        "/a\0",
        "/a%00b",
        "/a#b",
        "/%zz",
        "/%2",
        "/a?b c",
        "/a?b\n",
        "/@evil/..",
    ] {
        let error = http("http://h/base").uri(path).unwrap_err();
        assert!(matches!(error, SendError::Denied(_)), "{path:?}");
    }
}

#[test]
fn urls_that_cannot_be_used_are_refused_without_repeating_them() {
    for url in [
        "http://",
        "http:///a",
        "http://user:secret@",
        "http://h/#secret",
        "http://h/a/../b",
        "http://h/a b",
        "http://h:port/",
        "http://h:99999/",
        "http://u:p@[::1]x/",
    ] {
        let error = HttpDestination::parse(url).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn credentials_become_a_header_and_are_never_shown() {
    let to = http("https://us%40er:pa%3Ass@h:1/p?token=query");
    assert_eq!(to.to_string(), "https://h:1/p");
    assert_eq!(format!("{to:?}"), "HttpDestination(https://h:1/p)");
    let request = prepared(&to, delivery("PUT", "/a")).unwrap();
    let authorization = request.headers().get(AUTHORIZATION).unwrap();
    assert_eq!(
        authorization,
        &format!("Basic {}", STANDARD.encode("us@er:pa:ss"))
    );
    assert!(!format!("{request:?}").contains(&STANDARD.encode("us@er:pa:ss")));
    assert_eq!(request.uri().authority().unwrap(), "h:1");
}

#[test]
fn methods_and_headers_are_checked() {
    let to = http("http://u:p@h");
    for method in ["PATCH", "put", "CONNECT", "", "GET\r\n"] {
        assert!(
            matches!(
                prepared(&to, delivery(method, "/a")),
                Err(SendError::Denied(_))
            ),
            "{method}"
        );
    }
    for (name, value) in [
        ("Host", "evil"),
        ("content-length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("connection", "close"),
        ("authorization", "Bearer x"),
        ("a b", "x"),
        ("", "x"),
        ("x", "a\r\nb: c"),
    ] {
        let mut bad = delivery("PUT", "/a");
        bad.headers.push(kperf_runtime::report::Label {
            key: name.to_owned(),
            value: value.to_owned(),
        });
        assert!(
            matches!(prepared(&to, bad), Err(SendError::Denied(_))),
            "{name}"
        );
    }
    // Without credentials in the URL a plugin may bring its own.
    let mut own = delivery("PUT", "/a");
    own.headers.push(kperf_runtime::report::Label {
        key: "Authorization".to_owned(),
        value: "Bearer x".to_owned(),
    });
    assert!(prepared(&http("http://h"), own).is_ok());
}

#[test]
fn pauses_double_and_stay_within_their_half() {
    let client = Client::new(HttpLimits::default());
    for (tries, whole) in [(1, 250), (2, 500), (3, 1_000), (4, 2_000)] {
        let pause = client.pause(tries);
        let whole = Duration::from_millis(whole);
        assert!(pause >= whole / 2 && pause <= whole, "{pause:?}");
    }
    assert!(client.pause(u32::MAX) < Duration::from_secs(600));
}

/// What the server should do with one request.
#[derive(Clone, Copy)]
enum Act {
    Answer(u16),
    Redirect,
    Large,
    Reset,
    Stall,
}

struct Server {
    url: String,
    requests: Arc<AtomicU32>,
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Acts in order, the last one for all requests that follow.
async fn server(acts: &'static [Act]) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicU32::new(0));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (counter, log) = (Arc::clone(&requests), Arc::clone(&seen));
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (counter, log) = (Arc::clone(&counter), Arc::clone(&log));
            tokio::spawn(async move {
                let next = acts[(counter.load(Ordering::SeqCst) as usize).min(acts.len() - 1)];
                if matches!(next, Act::Reset) {
                    counter.fetch_add(1, Ordering::SeqCst);
                    stream.readable().await.ok();
                    stream.try_read(&mut [0; 16]).ok();
                    return;
                }
                let service = service_fn(move |request: ::http::Request<Incoming>| {
                    let (counter, log) = (Arc::clone(&counter), Arc::clone(&log));
                    async move {
                        let at = counter.fetch_add(1, Ordering::SeqCst) as usize;
                        let line = format!(
                            "{} {} {:?}",
                            request.method(),
                            request.uri(),
                            request.headers().get("x")
                        );
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        log.lock()
                            .unwrap()
                            .push(format!("{line} {}", String::from_utf8_lossy(&body)));
                        let answer = |status: u16, body: Bytes| {
                            Response::builder().status(status).body(Full::new(body))
                        };
                        match acts[at.min(acts.len() - 1)] {
                            Act::Answer(status) => {
                                answer(status, Bytes::from(format!("said {status}")))
                            }
                            Act::Redirect => Response::builder()
                                .status(307)
                                .header("location", "/elsewhere")
                                .body(Full::new(Bytes::new())),
                            Act::Large => answer(200, Bytes::from(vec![b'x'; 1 << 20])),
                            Act::Reset | Act::Stall => std::future::pending().await,
                        }
                    }
                });
                // A keep-alive connection would hide that the next act is meant for a new one.
                hyper::server::conn::http1::Builder::new()
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .ok();
            });
        }
    });
    Server {
        url,
        requests,
        seen,
        task,
    }
}

/// No pause worth waiting for, deadlines out of the way.
fn quick() -> HttpLimits {
    HttpLimits {
        first_pause: Duration::from_micros(10),
        ..HttpLimits::default()
    }
}

async fn send(server: &Server, limits: HttpLimits, delivery: Delivery) -> Result<Receipt, Failure> {
    let declared = Declared::with_limits(Destination::parse(&server.url).unwrap(), limits);
    declared.send(Declared::NAME, delivery).await
}

fn retried(method: &str, path: &str) -> Delivery {
    Delivery {
        retry: true,
        ..delivery(method, path)
    }
}

#[tokio::test]
async fn a_delivery_arrives_as_it_was_given() {
    let server = server(&[Act::Answer(202)]).await;
    let mut request = delivery("PUT", "/metrics/job/a%20b?x=y");
    request.headers.push(kperf_runtime::report::Label {
        key: "X".to_owned(),
        value: "1".to_owned(),
    });
    let receipt = send(&server, quick(), request).await.unwrap();
    assert_eq!(
        (receipt.status, receipt.body.as_slice()),
        (202, b"said 202".as_slice())
    );
    assert_eq!(
        *server.seen.lock().unwrap(),
        ["PUT /metrics/job/a%20b?x=y Some(\"1\") a 1\n"]
    );
}

#[tokio::test]
async fn refusals_that_may_pass_are_repeated_when_allowed() {
    let acts = &[
        Act::Answer(503),
        Act::Answer(429),
        Act::Answer(502),
        Act::Answer(504),
        Act::Answer(200),
    ];
    let patient = server(acts).await;
    assert_eq!(
        send(&patient, quick(), retried("PUT", "/a"))
            .await
            .unwrap()
            .status,
        200
    );
    assert_eq!(patient.requests.load(Ordering::SeqCst), 5);
    assert!(
        patient
            .seen
            .lock()
            .unwrap()
            .iter()
            .all(|seen| seen.ends_with("a 1\n")),
        "the body each time"
    );

    let once = server(acts).await;
    let receipt = send(&once, quick(), delivery("PUT", "/a")).await.unwrap();
    assert_eq!(
        (receipt.status, once.requests.load(Ordering::SeqCst)),
        (503, 1)
    );
}

#[tokio::test]
async fn a_refusal_that_stays_is_a_receipt_and_others_are_not_repeated() {
    let down = server(&[Act::Answer(503)]).await;
    let receipt = send(&down, quick(), retried("PUT", "/a")).await.unwrap();
    assert_eq!(
        (receipt.status, receipt.body.as_slice()),
        (503, b"said 503".as_slice())
    );
    assert_eq!(down.requests.load(Ordering::SeqCst), 5);
    for act in [
        &[Act::Answer(400)],
        &[Act::Answer(500)],
        &[Act::Answer(405)],
    ] {
        let server = server(act).await;
        send(&server, quick(), retried("PUT", "/a")).await.unwrap();
        assert_eq!(server.requests.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn broken_connections_are_repeated_when_allowed() {
    let acts = &[Act::Reset, Act::Reset, Act::Answer(200)];
    let patient = server(acts).await;
    assert_eq!(
        send(&patient, quick(), retried("PUT", "/a"))
            .await
            .unwrap()
            .status,
        200
    );
    let once = server(acts).await;
    let failure = send(&once, quick(), delivery("PUT", "/a"))
        .await
        .unwrap_err();
    assert_eq!(failure.code, "unreachable");
    assert!(failure.message.contains("1 attempt"), "{}", failure.message);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let server = server(&[Act::Redirect, Act::Answer(200)]).await;
    assert_eq!(
        send(&server, quick(), retried("POST", "/a"))
            .await
            .unwrap()
            .status,
        307
    );
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_large_answer_is_cut() {
    let server = server(&[Act::Large]).await;
    let receipt = send(&server, quick(), delivery("GET", "/a")).await.unwrap();
    assert_eq!(receipt.body.len(), 64 << 10);
}

#[tokio::test]
async fn a_stalled_server_costs_its_deadlines_and_says_so() {
    let server = server(&[Act::Stall]).await;
    let limits = HttpLimits {
        try_deadline: Duration::from_millis(20),
        tries: 3,
        ..quick()
    };
    let failure = send(&server, limits, retried("PUT", "/a"))
        .await
        .unwrap_err();
    assert_eq!(failure.code, "unreachable");
    assert!(failure.message.contains("deadline"), "{}", failure.message);
    assert!(
        failure.message.contains("3 attempts"),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn a_pause_that_does_not_fit_is_not_waited_for() {
    let server = server(&[Act::Answer(503)]).await;
    let limits = HttpLimits {
        first_pause: Duration::from_secs(3600),
        ..HttpLimits::default()
    };
    assert_eq!(
        send(&server, limits, retried("PUT", "/a"))
            .await
            .unwrap()
            .status,
        503
    );
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_dead_server_is_named_with_the_attempts_and_without_credentials() {
    // Bound and closed again: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("http://user:secret@127.0.0.1:{port}/push?token=secret");
    let declared = Declared::with_limits(Destination::parse(&url).unwrap(), quick());
    let failure = declared
        .send(Declared::NAME, retried("PUT", "/a"))
        .await
        .unwrap_err();
    assert_eq!(failure.code, "unreachable");
    assert!(
        failure
            .message
            .contains(&format!("http://127.0.0.1:{port}/push:")),
        "{}",
        failure.message
    );
    assert!(
        failure.message.contains("5 attempts"),
        "{}",
        failure.message
    );
    assert!(failure.message.contains("refused"), "{}", failure.message);
    assert!(!failure.message.contains("secret"), "{}", failure.message);
}

#[tokio::test]
async fn what_is_denied_is_never_sent() {
    let server = server(&[Act::Answer(200)]).await;
    for path in ["/../a", "//h/a", "/%2e%2e"] {
        let failure = send(&server, quick(), retried("PUT", path))
            .await
            .unwrap_err();
        assert_eq!(failure.code, "denied");
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
}

#[test]
fn retry_after_is_read_in_seconds() {
    let mut headers = HeaderMap::new();
    assert_eq!(seconds(&headers), None);
    headers.insert(RETRY_AFTER, HeaderValue::from_static(" 3 "));
    assert_eq!(seconds(&headers), Some(Duration::from_secs(3)));
    headers.insert(
        RETRY_AFTER,
        HeaderValue::from_static("Wed, 21 Oct 2026 07:28:00 GMT"),
    );
    assert_eq!(seconds(&headers), None);
}
