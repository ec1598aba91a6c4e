//! Instances over real sockets: each at its own address, all under one TLS name.

use std::{
    future::Future, io, net::SocketAddr, pin::Pin, sync::Arc, sync::atomic::AtomicU32,
    sync::atomic::Ordering,
};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use kperf_load::plan::{Proxy, Target, Tls};
use kperf_sim::{Seed, Sim, SimConfig};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// The name in the certificate; nothing resolves it but the resolver of the test.
const NAME: &str = "api.example";

struct Fixed(Vec<SocketAddr>);

impl Resolve for Fixed {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        _: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        Box::pin(async move {
            if host == NAME {
                Ok(self.0.clone())
            } else {
                Err(io::Error::other(format!("nobody knows {host}")))
            }
        })
    }
}

/// An instance that knows its number of cores, counts its scrapes, and names others in its EndpointSlice.
async fn instance(
    tls: &Arc<ServerConfig>,
    cores: u32,
    start: f64,
    names: &[SocketAddr],
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::clone(tls));
    let endpoints: Vec<_> = names
        .iter()
        .map(|name| serde_json::json!({"addresses": [name.ip().to_string()]}))
        .collect();
    let port = names.first().map_or(0, SocketAddr::port);
    let slice =
        serde_json::json!({"endpoints": endpoints, "ports": [{"name": "https", "port": port}]});
    tokio::spawn(async move {
        let scrapes = AtomicU32::new(0);
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(tcp).await else {
                continue;
            };
            assert_eq!(stream.get_ref().1.server_name(), Some(NAME));
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let allowed = head.contains("authorization: Bearer right\r\n");
            let (status, body) = if head.starts_with("GET /prefix/metrics HTTP/1.1\r\n") && allowed
            {
                let count = scrapes.fetch_add(1, Ordering::SeqCst);
                (
                    "200 OK",
                    format!(
                        "go_sched_gomaxprocs_threads {cores}\nprocess_start_time_seconds {start}\n\
                         process_cpu_seconds_total {count}\n"
                    ),
                )
            } else if head.starts_with("GET /prefix/apis/discovery.k8s.io/") && allowed {
                ("200 OK", slice.to_string())
            } else {
                (
                    "403 Forbidden",
                    r#"{"message": "forbidden: no"}"#.to_owned(),
                )
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\nDate: Sat, 28 Nov 2026 19:00:00 GMT\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.ok();
        }
    });
    address
}

/// Both ends of TLS for [`NAME`].
fn tls() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

fn target(client: Arc<ClientConfig>, token: &str) -> Target {
    let mut headers = HeaderMap::new();
    headers.insert(
        AUTHORIZATION,
        HeaderValue::from_str(&format!("Bearer {token}")).unwrap(),
    );
    Target {
        host: NAME.to_owned(),
        port: 6443,
        addresses: Vec::new(),
        path_prefix: "/prefix".to_owned(),
        tls: Some(Tls {
            config: client,
            server_name: ServerName::try_from(NAME).unwrap(),
            is_verified: true,
        }),
        headers: Arc::new(headers),
        proxy: None,
    }
}

#[tokio::test]
async fn every_address_of_a_name_is_asked_under_that_name() {
    let (server, client) = tls();
    let one = instance(&server, 2, 10.5, &[]).await;
    let two = instance(&server, 4, 20.5, &[]).await;
    let resolver = Fixed(vec![one, two, one]);
    let scraper = Scraper::find_with(&target(client, "right"), &resolver).await;
    assert_eq!(scraper.addresses(), [one.to_string(), two.to_string()]);
    let before = scraper.scrape().await;
    assert!(before.failures.is_empty(), "{:?}", before.failures);
    assert_eq!(
        before.cores(),
        [(one.to_string(), Some(2)), (two.to_string(), Some(4))]
    );
    assert!(before.samples[0].server_time.is_some());
    let after = scraper.scrape().await;
    let changes = Changes::between(&before, &after);
    assert!(changes.is_whole());
    assert_eq!(changes.counters().cpu_seconds, Some(2.0));
}

#[tokio::test]
async fn instances_that_the_cluster_names_are_asked_once() {
    let (server, client) = tls();
    let hidden = instance(&server, 8, 30.5, &[]).await;
    // Its EndpointSlice names the hidden one; a second address of the URL is the same process.
    let named = instance(&server, 2, 10.5, &[hidden]).await;
    let same = instance(&server, 2, 10.5, &[]).await;
    let resolver = Fixed(vec![named, same]);
    let scraper = Scraper::find_with(&target(client, "right"), &resolver).await;
    assert_eq!(scraper.addresses().len(), 3);
    let scrape = scraper.scrape().await;
    assert_eq!(
        scrape.cores(),
        [(named.to_string(), Some(2)), (hidden.to_string(), Some(8))]
    );
}

#[tokio::test]
async fn an_address_that_proves_nothing_gets_no_credentials() {
    let (server, client) = tls();
    let hidden = instance(&server, 8, 30.5, &[]).await;
    let named = instance(&server, 2, 10.5, &[hidden]).await;
    let mut target = target(client, "right");
    target.tls.as_mut().unwrap().is_verified = false;
    let scraper = Scraper::find_with(&target, &Fixed(vec![named])).await;
    assert_eq!(scraper.addresses(), [named.to_string()]);
    assert_eq!(
        scraper.scrape().await.cores(),
        [(named.to_string(), Some(2))]
    );
}

/// One CONNECT that must ask for `authority`; what follows goes to `address`.
async fn proxy(authority: &'static str, address: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(tcp.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let is_known = head.contains("Proxy-Authorization: Basic bWU6eW91\r\n");
            if !is_known || !head.starts_with(&format!("CONNECT {authority} HTTP/1.1\r\n")) {
                let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
                tcp.write_all(refusal).await.unwrap();
                continue;
            }
            tcp.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
                .await
                .unwrap();
            let mut server = TcpStream::connect(address).await.unwrap();
            tokio::io::copy_bidirectional(&mut tcp, &mut server)
                .await
                .ok();
        }
    });
    here
}

#[tokio::test]
async fn through_a_proxy_the_name_is_asked_once() {
    let (server, client) = tls();
    let hidden = instance(&server, 8, 30.5, &[]).await;
    let one = instance(&server, 2, 10.5, &[hidden]).await;
    let authority = "api.example:6443";
    let proxy = proxy(authority, one).await;
    let mut target = target(client, "right");
    target.proxy = Some(Proxy {
        host: proxy.ip().to_string(),
        port: proxy.port(),
        authorization: Some(HeaderValue::from_static("Basic bWU6eW91")),
    });
    // Names are the proxy's business: nobody here knows any.
    let nobody = Fixed(Vec::new());
    let scraper = Scraper::find_with(&target, &nobody).await;
    assert_eq!(scraper.addresses(), [authority]);
    let scrape = scraper.scrape().await;
    assert!(scrape.failures.is_empty(), "{:?}", scrape.failures);
    assert_eq!(scrape.cores(), [(authority.to_owned(), Some(2))]);

    target.proxy.as_mut().unwrap().authorization = None;
    let scrape = Scraper::find_with(&target, &nobody).await.scrape().await;
    let message = scrape.failures[0].error.to_string();
    assert!(message.contains("the proxy answered"), "{message}");
    assert!(message.contains("407"), "{message}");
}

#[tokio::test]
async fn what_cannot_be_read_says_why_and_spoils_nothing_else() {
    let (server, client) = tls();
    let one = instance(&server, 2, 10.5, &[]).await;
    let resolver = Fixed(vec![one]);
    let scraper = Scraper::find_with(&target(Arc::clone(&client), "wrong"), &resolver).await;
    let refused = scraper.scrape().await;
    let [failure] = &refused.failures[..] else {
        panic!("{refused:?}");
    };
    assert!(failure.error.is_refusal());
    let message = failure.error.to_string();
    assert!(
        message.contains("`get` on the non-resource URL `/metrics`")
            && message.contains("forbidden: no"),
        "{message}"
    );
    assert_eq!(refused.cores(), [(one.to_string(), None)]);

    // Somebody else's certificate, and nobody at all.
    let (other, _) = tls();
    let stranger = instance(&other, 2, 10.5, &[]).await;
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let resolver = Fixed(vec![stranger, gone, one]);
    let scraper = Scraper::find_with(&target(Arc::clone(&client), "right"), &resolver).await;
    let scrape = scraper.scrape().await;
    assert_eq!(scrape.samples.len(), 1);
    assert_eq!(scrape.failures.len(), 2, "{:?}", scrape.failures);

    let mut unknown = target(client, "right");
    unknown.host = "nowhere.example".to_owned();
    let scrape = Scraper::find_with(&unknown, &resolver).await.scrape().await;
    let message = scrape.failures[0].error.to_string();
    assert!(
        message.contains("nobody knows nowhere.example"),
        "{message}"
    );
}

#[tokio::test]
async fn a_simulator_shows_what_was_sent_and_what_it_took() {
    let sim = Sim::start(SimConfig {
        seed_objects: Seed {
            nodes: 3,
            ..Seed::default()
        },
        ..SimConfig::default()
    })
    .unwrap();
    let source = crate::TargetSource::from_kubeconfig_text(&sim.kubeconfig()).unwrap();
    let resolved = crate::resolve(&source).await.unwrap();
    let scraper = Scraper::find(&resolved.target).await;
    let before = scraper.scrape().await;
    let cluster = crate::api::Cluster::new(resolved.config.clone()).unwrap();
    let nodes = cluster.kind("v1", "Node").await.unwrap();
    for _ in 0..5 {
        cluster.get(&nodes, "", "node-0").await.ok();
    }
    let after = scraper.scrape().await;
    let changes = Changes::between(&before, &after);
    assert!(changes.is_whole(), "{changes:?}");
    let counters = changes.counters();
    let key = RequestKey {
        verb: "GET".to_owned(),
        resource: "nodes".to_owned(),
        ..RequestKey::default()
    };
    let gets = &counters.requests[&key];
    assert_eq!(gets.count(), 5.0);
    assert_eq!(gets.times.count(), 5.0);
    assert!(counters.cpu_seconds.is_some_and(|seconds| seconds > 0.0));
    assert!(changes.instances[0].resident_max.is_some());
    assert!(after.cores()[0].1.is_some());
}
