//! What a run asks of the engine. Plain values, no options left: defaults are resolved by the caller.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue};

/// The server under load.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host name or address as it stands in the URL; also the `:authority`.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Addresses to dial instead of resolving `host`; empty = resolve.
    pub addresses: Vec<SocketAddr>,
    /// Path prefix of the server URL without trailing slash, or empty.
    pub path_prefix: String,
    /// TLS, or none for plain HTTP. ALPN is set by the engine.
    pub tls: Option<Tls>,
    /// Headers of every request, `authorization` among them. Read at the start of a phase and once a
    /// second, so that rotated credentials take effect.
    pub headers: Arc<dyn HeaderProvider>,
    /// HTTP proxy (`CONNECT`) to dial through.
    pub proxy: Option<Proxy>,
}

/// TLS settings of a target.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Roots, client certificate, verifier.
    pub config: Arc<rustls::ClientConfig>,
    /// Name to verify; differs from the host for `tls-server-name`.
    pub server_name: rustls_pki_types::ServerName<'static>,
    /// Whether the server has to prove that it is the one; not with `insecure-skip-tls-verify`.
    pub is_verified: bool,
}

/// An HTTP proxy.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `proxy-authorization`, when the URL had credentials. Never printed.
    pub authorization: Option<HeaderValue>,
}

/// Headers that may change during a run.
pub trait HeaderProvider: Send + Sync + std::fmt::Debug {
    /// The headers as of now. Cheap: never blocks on I/O.
    fn headers(&self) -> HeaderMap;
}

/// Headers that do not change.
impl HeaderProvider for HeaderMap {
    fn headers(&self) -> HeaderMap {
        self.clone()
    }
}

impl Target {
    /// Scheme, host, port and path prefix: `https://10.0.0.1:443`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        format!("{scheme}://{host}:{}{}", self.port, self.path_prefix)
    }
}

/// HTTP version on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2, all clients of a connection multiplexed on it.
    Http2,
    /// HTTP/1.1, one socket per client.
    Http1,
}

/// What holds for a whole run: the connections and the threads.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Number of threads, each with its own connections. At most `conns` are used.
    pub shards: u32,
    /// Connections, opened before the first phase. Connection c belongs to shard c mod shards.
    pub conns: u32,
    /// HTTP version.
    pub protocol: Protocol,
    /// Limit for dial, TLS and HTTP/2 handshake together.
    pub connect_timeout: Duration,
    /// Longest wait for answers to pile up before the sockets are read; zero turns it off.
    /// Used only from four streams in flight per connection and when no arrival is due sooner.
    pub pile_up: Duration,
    /// Take the receive time from the kernel where the platform can.
    pub kernel_timestamps: bool,
    /// Sent as `user-agent`.
    pub user_agent: HeaderValue,
}

/// How requests are spread over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Each client sends its next request as soon as the last one is answered.
    Closed,
    /// The i-th arrival is intended at start + i / rate, whatever the server does.
    Open {
        /// Arrivals per second over all shards; above 0 and finite.
        rate_per_sec: f64,
    },
}

/// One phase: one pace, one mix of requests.
#[derive(Clone, Debug)]
pub struct PhasePlan {
    /// Name in reports.
    pub name: String,
    /// Open or closed loop.
    pub pace: Pace,
    /// Ends the phase when so many requests were handed out, over all shards.
    pub total: Option<u64>,
    /// Ends the handing out after this time; what is in flight is waited for.
    pub duration: Option<Duration>,
    /// Clients. Client i works on connection i mod conns.
    pub clients: u32,
    /// How often a 429 or 5xx with Retry-After is tried again.
    pub max_retries: u32,
    /// Longest time from actual send to the last byte; none = wait forever.
    pub deadline: Option<Duration>,
    /// Arrivals that may wait for a free client; more are dropped and counted.
    pub max_backlog: u64,
    /// Arrivals within one tick are released together; zero releases each at its own time.
    pub tick: Duration,
    /// `accept` header for templates that have none.
    pub accept: HeaderValue,
    /// Seed of the run, below 2^53.
    pub seed: u64,
    /// Length of an interval.
    pub interval: Duration,
    /// Keep every exchange.
    pub raw: bool,
    /// Keep the failed exchanges, a hundred thousand at most, also without `raw`.
    pub failures: bool,
}
