//! A small server on loopback that misbehaves on request. Behaviour is chosen by path.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, server::SendResponse};
use http::{Request, Response};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use kperf_load::plan::{Target, Tls};

#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) tls: bool,
    pub(crate) http1: bool,
    pub(crate) max_streams: Option<u32>,
    /// GOAWAY after so many requests on a connection.
    pub(crate) goaway_every: Option<u32>,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) requests: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) open_streams: AtomicU32,
    pub(crate) most_streams: AtomicU32,
    pub(crate) resets: AtomicU64,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    tls: Option<Tls>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(options: Options) -> Self {
        Self::start_at(options, "127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn start_at(options: Options, at: SocketAddr) -> Self {
        let seen = Arc::new(Seen::default());
        let (tls, acceptor) = if options.tls {
            let (client, acceptor) = tls(options.http1);
            (Some(client), Some(acceptor))
        } else {
            (None, None)
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, address) = std::sync::mpsc::channel();
        let shared = Arc::clone(&seen);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let socket = tokio::net::TcpSocket::new_v4().unwrap();
                socket.set_reuseaddr(true).unwrap();
                socket.bind(at).unwrap();
                let listener = socket.listen(1024).unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = accept(listener, options, acceptor, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address: address.recv().unwrap(),
            seen,
            tls,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn target(&self) -> Target {
        Target {
            host: "localhost".into(),
            port: self.address.port(),
            addresses: vec![self.address],
            path_prefix: String::new(),
            tls: self.tls.clone(),
            headers: Arc::new(http::HeaderMap::new()),
            proxy: None,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn tls(http1: bool) -> (Tls, tokio_rustls::TlsAcceptor) {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let certificate = key.cert.der().clone();
    let secret = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let mut server = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], secret)
        .unwrap();
    server.alpn_protocols = if http1 {
        vec![b"http/1.1".to_vec()]
    } else {
        vec![b"h2".to_vec()]
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = Tls {
        config: Arc::new(client),
        server_name: ServerName::try_from("localhost").unwrap(),
        is_verified: true,
    };
    (tls, Arc::new(server).into())
}

async fn accept(
    listener: TcpListener,
    options: Options,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    seen: Arc<Seen>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        seen.connections.fetch_add(1, Ordering::Relaxed);
        let (seen, acceptor) = (Arc::clone(&seen), acceptor.clone());
        tokio::spawn(async move {
            let socket = Arc::new(stream.into_std().unwrap());
            let killer = Arc::clone(&socket);
            let stream = TcpStream::from_std(socket.try_clone().unwrap()).unwrap();
            match acceptor {
                None => serve(stream, options, seen, killer).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, options, seen, killer).await;
                    }
                }
            }
        });
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    options: Options,
    seen: Arc<Seen>,
    killer: Arc<std::net::TcpStream>,
) {
    if options.http1 {
        return http1(stream, seen, killer).await;
    }
    let mut builder = h2::server::Builder::new();
    if let Some(max) = options.max_streams {
        builder.max_concurrent_streams(max);
    }
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    let mut count = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        count += 1;
        seen.requests.fetch_add(1, Ordering::Relaxed);
        let open = seen.open_streams.fetch_add(1, Ordering::Relaxed) + 1;
        seen.most_streams.fetch_max(open, Ordering::Relaxed);
        let (seen, killer) = (Arc::clone(&seen), Arc::clone(&killer));
        tokio::spawn(async move {
            answer(request, respond, &killer, &seen).await;
            seen.open_streams.fetch_sub(1, Ordering::Relaxed);
        });
        if options.goaway_every.is_some_and(|every| count % every == 0) {
            connection.graceful_shutdown();
        }
    }
}

pub(crate) const BOOKMARK: &str = r#"{"type":"BOOKMARK","object":{"metadata":{"annotations":{"k8s.io/initial-events-end":"true"}}}}"#;

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    killer: &std::net::TcpStream,
    seen: &Seen,
) {
    let status = |code: u16| Response::builder().status(code);
    let (head, mut body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let reply = |respond: &mut SendResponse<Bytes>, head: Response<()>, body: String| {
        let mut stream = respond.send_response(head, false).unwrap();
        stream.send_data(body.into(), true).unwrap();
    };
    match path.as_str() {
        "/echo" => {
            let mut length = 0;
            while let Some(Ok(piece)) = body.data().await {
                length += piece.len();
                let _ = body.flow_control().release_capacity(piece.len());
            }
            let text = format!("{length} {}", head.method);
            reply(&mut respond, status(201).body(()).unwrap(), text);
        }
        "/headers" => {
            let get = |name: &str| {
                let value = head.headers.get(name).map(|v| v.to_str().unwrap());
                serde_json::Value::from(value)
            };
            let text = serde_json::json!({
                "accept": get("accept"), "agent": get("user-agent"),
                "authorization": get("authorization"), "path": head.uri.path(),
                "authority": head.uri.authority().unwrap().as_str(),
            });
            reply(
                &mut respond,
                status(200).body(()).unwrap(),
                text.to_string(),
            );
        }
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(5)).await;
            reply(&mut respond, status(200).body(()).unwrap(), "ok".into());
        }
        "/stall" => {
            let reset = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            if let Ok(Reason::CANCEL) = reset {
                seen.resets.fetch_add(1, Ordering::Relaxed);
            }
        }
        "/missing" => reply(&mut respond, status(404).body(()).unwrap(), "no".into()),
        "/busy-once" => {
            if seen.requests.load(Ordering::Relaxed) % 2 == 1 {
                let head = status(429).header("retry-after", "0").body(()).unwrap();
                reply(&mut respond, head, "busy".into());
            } else {
                reply(&mut respond, status(200).body(()).unwrap(), "ok".into());
            }
        }
        "/busy" => {
            let head = status(429).header("retry-after", "0").body(()).unwrap();
            reply(&mut respond, head, "busy".into());
        }
        "/calm" => respond.send_reset(Reason::ENHANCE_YOUR_CALM),
        "/refuse-odd" => {
            if seen.requests.load(Ordering::Relaxed) % 2 == 1 {
                respond.send_reset(Reason::REFUSED_STREAM);
            } else {
                reply(&mut respond, status(200).body(()).unwrap(), "ok".into());
            }
        }
        "/cut" => {
            let mut stream = respond
                .send_response(status(200).body(()).unwrap(), false)
                .unwrap();
            stream.send_data("half of it".into(), false).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            killer.shutdown(std::net::Shutdown::Both).unwrap();
        }
        "/short" => {
            let head = status(200)
                .header("content-length", "100")
                .body(())
                .unwrap();
            reply(&mut respond, head, "too short".into());
        }
        "/enough" | "/perhaps" => {
            let mut head = status(200);
            if path == "/enough" {
                head = head.header("content-length", "9");
            }
            let mut stream = respond
                .send_response(head.body(()).unwrap(), false)
                .unwrap();
            stream.send_data("all of it".into(), false).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            stream.send_reset(Reason::NO_ERROR);
        }
        "/large" => {
            let mut stream = respond
                .send_response(status(200).body(()).unwrap(), false)
                .unwrap();
            let piece = Bytes::from(vec![b'x'; 16 * 1024]);
            for _ in 0..63 {
                stream.send_data(piece.clone(), false).unwrap();
            }
            stream.send_data(piece, true).unwrap();
        }
        "/watch" | "/watch-open" | "/watch-gone" | "/watch-none" => {
            let mut stream = respond
                .send_response(status(200).body(()).unwrap(), false)
                .unwrap();
            let added = "{\"type\":\"ADDED\",\"object\":{}}\n";
            stream.send_data(added.into(), false).unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
            match path.as_str() {
                "/watch" => stream
                    .send_data(format!("{added}{BOOKMARK}\n").into(), false)
                    .unwrap(),
                "/watch-gone" => stream
                    .send_data(
                        "{\"type\":\"ERROR\",\"object\":{\"code\":410}}\n".into(),
                        false,
                    )
                    .unwrap(),
                "/watch-none" => return stream.send_data(added.into(), true).unwrap(),
                _ => {}
            }
            let reset = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
            if let Ok(Reason::CANCEL) = reset {
                seen.resets.fetch_add(1, Ordering::Relaxed);
            }
        }
        _ => reply(
            &mut respond,
            status(200).body(()).unwrap(),
            r#"{"metadata":{"resourceVersion":"7"}}"#.into(),
        ),
    }
}

async fn http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    seen: Arc<Seen>,
    killer: Arc<std::net::TcpStream>,
) {
    use http_body_util::{BodyExt as _, Full};
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let (seen, killer) = (Arc::clone(&seen), Arc::clone(&killer));
        async move {
            let number = seen.requests.fetch_add(1, Ordering::Relaxed) + 1;
            let path = request.uri().path().to_owned();
            let length = request.into_body().collect().await?.to_bytes().len();
            let mut response = Response::new(Full::new(Bytes::from(format!("{length}"))));
            match path.as_str() {
                "/close-third" if number % 3 == 0 => {
                    let close = "close".parse().unwrap();
                    response.headers_mut().insert("connection", close);
                }
                "/kill" => killer.shutdown(std::net::Shutdown::Both).unwrap(),
                "/stall" => std::future::pending().await,
                _ => {}
            }
            Ok::<_, hyper::Error>(response)
        }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
        .await;
}
