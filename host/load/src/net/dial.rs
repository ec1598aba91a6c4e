//! From a target to a connected, encrypted byte stream: resolve, dial, proxy, TLS.

use std::{
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        resource::{Resource, getrlimit},
        socket::{setsockopt, sockopt},
    },
};
use tokio::{
    io::{AsyncBufRead, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    failure::Failure,
    socket::{Socket, Stamp},
};
use crate::plan::{EngineConfig, Protocol, Target};

/// Read buffer of an HTTP/2 connection: above one TLS record by far, so that a read brings many answers.
const HTTP2_BUFFER_BYTES: usize = 64 * 1024;
/// Read buffer of an HTTP/1.1 socket: one answer at a time, and there is a socket per client.
const HTTP1_BUFFER_BYTES: usize = 20 * 1024;
/// Idle time before the kernel probes a silent connection; Go's transport uses the same.
const KEEPALIVE_IDLE_SECONDS: u32 = 30;
/// Unanswered bytes for so long mean that the other side is gone: the kernel alone waits a quarter of an hour.
/// Go's Kubernetes clients notice after as much (a health check after 30 s, answered within 15 s).
#[cfg(target_os = "linux")]
const UNANSWERED_MILLISECONDS: u32 = 45_000;
/// A proxy's answer to CONNECT may have so many bytes of headers.
const MAX_PROXY_ANSWER_BYTES: usize = 16 * 1024;

/// How far a connection got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Finding the address of the host.
    Resolve,
    /// TCP.
    Dial,
    /// `CONNECT` through the proxy.
    Proxy,
    /// TLS handshake and protocol choice.
    Tls,
    /// HTTP/2 preface, SETTINGS and PING.
    Http2,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolve",
            Self::Dial => "dial",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Http2 => "http2",
        })
    }
}

/// Why a connection could not be opened. The message is complete.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot connect to {address}: {stage}: {message}; {hint}")]
pub struct ConnectError {
    /// Where to: URL or socket address.
    pub address: String,
    /// How far it got.
    pub stage: Stage,
    /// What went wrong.
    pub message: String,
    /// What to do next.
    pub hint: String,
    /// The same as a class of failed requests.
    pub(crate) failure: Failure,
}

impl ConnectError {
    pub(crate) fn new(
        address: impl fmt::Display,
        stage: Stage,
        message: impl fmt::Display,
        failure: Failure,
    ) -> Self {
        let hint = match stage {
            Stage::Resolve => "check the host name in the server URL, or give an address",
            Stage::Dial => "check that the server is up and that address and port are right",
            Stage::Proxy => "check the proxy URL and its credentials",
            Stage::Tls => "check the server's certificate, the CA and the client certificate",
            Stage::Http2 => "check that the server speaks HTTP/2, or use --disable-http2",
        };
        Self {
            address: address.to_string(),
            stage,
            message: message.to_string(),
            hint: hint.to_owned(),
            failure,
        }
    }

    fn hint(mut self, hint: &str) -> Self {
        self.hint = hint.to_owned();
        self
    }
}

/// A byte stream to the server.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

macro_rules! each {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain(socket) => {
                let $stream = Pin::new(socket);
                $call
            }
            Stream::Tls(tls) => {
                let $stream = Pin::new(tls.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_read(cx, out))
    }
}

impl AsyncBufRead for Stream {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        each!(self, stream => stream.poll_fill_buf(cx))
    }

    fn consume(self: Pin<&mut Self>, bytes: usize) {
        each!(self, stream => stream.consume(bytes))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_shutdown(cx))
    }
}

/// A connected stream and its stamp.
#[derive(Debug)]
pub(crate) struct Dialed {
    pub(crate) stream: Stream,
    pub(crate) stamp: Rc<Stamp>,
    pub(crate) address: String,
}

/// Opens connections to one target.
pub(crate) struct Dialer {
    target: Arc<Target>,
    connector: Option<TlsConnector>,
    protocol: Protocol,
    timeout: Duration,
    kernel_timestamps: bool,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("url", &self.target.url())
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

impl Dialer {
    pub(crate) fn new(target: Arc<Target>, config: &EngineConfig) -> Self {
        let connector = target.tls.as_ref().map(|tls| {
            let mut client = (*tls.config).clone();
            client.alpn_protocols = vec![match config.protocol {
                Protocol::Http2 => b"h2".to_vec(),
                Protocol::Http1 => b"http/1.1".to_vec(),
            }];
            TlsConnector::from(Arc::new(client))
        });
        Self {
            target,
            connector,
            protocol: config.protocol,
            timeout: config.connect_timeout,
            kernel_timestamps: config.kernel_timestamps,
        }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Runs a piece of a handshake until the connect timeout counted from `started`.
    pub(crate) async fn within<T>(
        &self,
        started: Instant,
        stage: Stage,
        address: &str,
        work: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        let end = started + self.timeout;
        match tokio::time::timeout_at(end.into(), work).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::new(
                address,
                stage,
                format!("no answer within {:?}", self.timeout),
                Failure::connection(match stage {
                    Stage::Tls => "TLS handshake timeout",
                    Stage::Http2 => "HTTP/2 handshake timeout",
                    _ => "dial timeout",
                }),
            )),
        }
    }

    /// Resolves, dials, goes through the proxy and shakes hands.
    pub(crate) async fn dial(&self) -> Result<Dialed, ConnectError> {
        let started = Instant::now();
        let url = self.target.url();
        let (stream, address) = self
            .within(started, Stage::Dial, &url, self.connect(started, &url))
            .await?;
        let stream = match &self.target.proxy {
            None => stream,
            Some(_) => {
                self.within(
                    started,
                    Stage::Proxy,
                    &address,
                    self.tunnel(stream, &address),
                )
                .await?
            }
        };
        let buffer_bytes = match self.protocol {
            Protocol::Http2 => HTTP2_BUFFER_BYTES,
            Protocol::Http1 => HTTP1_BUFFER_BYTES,
        };
        let socket = Socket::new(stream, buffer_bytes, self.kernel_timestamps);
        let stamp = socket.stamp();
        let stream = match &self.connector {
            None => Stream::Plain(socket),
            Some(connector) => {
                let shake = self.shake_hands(connector, socket, &address);
                let tls = self.within(started, Stage::Tls, &address, shake).await?;
                Stream::Tls(Box::new(tls))
            }
        };
        Ok(Dialed {
            stream,
            stamp,
            address,
        })
    }

    /// Tries one address after the other, each for its share of the time that is left.
    async fn connect(
        &self,
        started: Instant,
        url: &str,
    ) -> Result<(TcpStream, String), ConnectError> {
        let addresses: Vec<SocketAddr> = match &self.target.proxy {
            None if !self.target.addresses.is_empty() => self.target.addresses.clone(),
            proxy => {
                let (host, port) = proxy
                    .as_ref()
                    .map_or((self.target.host.as_str(), self.target.port), |proxy| {
                        (proxy.host.as_str(), proxy.port)
                    });
                let lookup = async {
                    let found = tokio::net::lookup_host((host, port)).await;
                    found.map_err(|error| {
                        ConnectError::new(
                            url,
                            Stage::Resolve,
                            format!("{host}: {error}"),
                            Failure::connection("no such host"),
                        )
                    })
                };
                self.within(started, Stage::Resolve, url, lookup)
                    .await?
                    .collect()
            }
        };
        let mut last = ConnectError::new(
            url,
            Stage::Resolve,
            "the name has no address",
            Failure::connection("no such host"),
        );
        let end = started + self.timeout;
        for (tried, address) in addresses.iter().enumerate() {
            let left = end.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            let dial = tokio::time::timeout(share, TcpStream::connect(address)).await;
            match dial.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    // Neither can fail on a connected TCP socket, and neither is worth failing for.
                    let _ = stream.set_nodelay(true);
                    let _ = setsockopt(&stream, sockopt::KeepAlive, &true);
                    #[cfg(target_os = "linux")]
                    {
                        let _ = setsockopt(&stream, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE_SECONDS);
                        let _ =
                            setsockopt(&stream, sockopt::TcpUserTimeout, &UNANSWERED_MILLISECONDS);
                    }
                    return Ok((stream, address.to_string()));
                }
                Err(error) => {
                    let (message, failure) = match error.kind() {
                        io::ErrorKind::TimedOut => (
                            format!("no answer within {share:?}"),
                            Failure::connection("dial timeout"),
                        ),
                        _ if is_out_of_files(&error) => {
                            (too_many_files(&error), Failure::from_io(&error, false))
                        }
                        _ => (error.to_string(), Failure::from_io(&error, false)),
                    };
                    last = ConnectError::new(address, Stage::Dial, message, failure);
                }
            }
        }
        Err(last)
    }

    /// Asks the proxy for a tunnel to the target.
    async fn tunnel(
        &self,
        mut stream: TcpStream,
        address: &str,
    ) -> Result<TcpStream, ConnectError> {
        let refused = |message: String| {
            ConnectError::new(
                address,
                Stage::Proxy,
                message,
                Failure::connection("proxy refused the tunnel"),
            )
        };
        let host = if self.target.host.contains(':') {
            format!("[{}]", self.target.host)
        } else {
            self.target.host.clone()
        };
        let to = format!("{host}:{}", self.target.port);
        let mut request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n").into_bytes();
        let proxy = self.target.proxy.as_ref();
        if let Some(authorization) = proxy.and_then(|proxy| proxy.authorization.as_ref()) {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        let failed = |error: io::Error| refused(error.to_string());
        stream.write_all(&request).await.map_err(failed)?;
        let mut answer = Vec::new();
        // Byte by byte: what follows the headers belongs to TLS.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= MAX_PROXY_ANSWER_BYTES {
                return Err(refused("the proxy's answer has no end".to_owned()));
            }
            answer.push(stream.read_u8().await.map_err(failed)?);
        }
        let line = answer
            .split(|&byte| byte == b'\r')
            .next()
            .unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let mut words = line.split(' ');
        let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
        if is_http
            && words
                .next()
                .is_some_and(|code| code.len() == 3 && code.starts_with('2'))
        {
            Ok(stream)
        } else {
            Err(refused(format!("the proxy answered {line:?}")))
        }
    }

    async fn shake_hands(
        &self,
        connector: &TlsConnector,
        socket: Socket,
        address: &str,
    ) -> Result<TlsStream<Socket>, ConnectError> {
        let Some(settings) = &self.target.tls else {
            return Err(ConnectError::new(
                address,
                Stage::Tls,
                "no TLS settings",
                Failure::unknown("no TLS settings"),
            ));
        };
        let no_alpn = "the server did not agree on HTTP/2 (ALPN h2)";
        let tls = connector
            .connect(settings.server_name.clone(), socket)
            .await
            .map_err(|error| {
                let failed =
                    ConnectError::new(address, Stage::Tls, &error, Failure::from_io(&error, false));
                if error.to_string().contains("NoApplicationProtocol") {
                    failed.hint("the server offers no common protocol; try --disable-http2")
                } else {
                    failed
                }
            })?;
        if self.protocol == Protocol::Http2 && tls.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(ConnectError::new(
                address,
                Stage::Tls,
                no_alpn,
                Failure::connection("tls: server did not agree on HTTP/2"),
            )
            .hint("use --disable-http2 for this server"));
        }
        Ok(tls)
    }
}
/// Whether this process, or the system, has no room for one more open file.
fn is_out_of_files(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [Errno::EMFILE, Errno::ENFILE]
        .iter()
        .any(|errno| code == Some(*errno as i32))
}

/// With the limit, and what may be done about it.
fn too_many_files(error: &io::Error) -> String {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, _)) => format!(
            "{error}: each connection is one, and this process may have {soft} open; use fewer connections, or raise the limit (`ulimit -Hn`)"
        ),
        Err(_) => error.to_string(),
    }
}
