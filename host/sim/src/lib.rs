//! An in-memory Kubernetes API server, for load tests without a cluster and for tests of ourselves.
//!
//! A request walks: `server` (socket, TLS, HTTP) → `handle` (faults, who asks) → `route` (what for) →
//! `verbs` → `store`; the answer goes back as `answer` and `body`. `lifecycle` plays the controllers,
//! `seed` says what exists from the start, `faults` what goes wrong.
//!
//! Where it knowingly differs from kube-apiserver stands in [`limit`].
//!
//! ```no_run
//! let sim = kperf_sim::Sim::start(kperf_sim::SimConfig::default())?;
//! println!("{}", sim.url());
//! # Ok::<(), kperf_sim::SimError>(())
//! ```
#![deny(missing_docs)]

mod answer;
mod auth;
mod body;
mod config;
mod defaults;
mod discovery;
mod faults;
mod handle;
mod lifecycle;
pub mod limit;
mod metrics;
mod patch;
mod protobuf;
mod registry;
mod route;
mod seed;
mod selector;
mod server;
mod status;
mod store;
mod table;
mod verbs;

use std::{
    fmt,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
};

use base64::Engine as _;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

pub use config::{Lifecycle, Seed, SeedError, SimConfig};
pub use faults::{FaultControl, Faults, FaultsError, Stall};

use crate::{
    auth::Credentials, faults::FaultState, handle::Shared, lifecycle::Played, metrics::Metrics,
    seed::ContainerLog, store::Store,
};

/// Why the simulator could not start.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The address is taken or not ours.
    #[error(
        "the simulator cannot listen on {address}: {source}; choose another address, or port 0 for a free one"
    )]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread or its runtime could not be made.
    #[error("the simulator cannot start its threads: {0}")]
    Threads(#[from] std::io::Error),
    /// Certificates could not be made.
    #[error("the simulator cannot make its certificates: {0}")]
    Certificates(#[from] rcgen::Error),
    /// The TLS library refused the certificates.
    #[error("the simulator cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// Client certificates cannot be verified.
    #[error("the simulator cannot verify client certificates: {0}")]
    Credentials(String),
}

/// A running server. It stops when dropped.
pub struct Sim {
    address: SocketAddr,
    url: String,
    tls: bool,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Sim {
    /// Starts the server on threads of its own; returns once it listens and is seeded.
    ///
    /// # Errors
    /// When the address cannot be listened on, or threads or certificates cannot be made.
    pub fn start(config: SimConfig) -> Result<Self, SimError> {
        let listen = |source| SimError::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let (credentials, tls_config) = Credentials::generate(address.ip())?;
        let scheme = if config.tls { "https" } else { "http" };
        let url = format!("{scheme}://{}", reachable(address));
        let threads = config.threads.max(1);

        let store = Arc::new(Store::new(config.history_events.max(1)));
        seed::seed(&store, &config.seed_objects);
        let (changes, changed) = mpsc::unbounded_channel();
        store.follow(changes);
        let shared = Arc::new(Shared {
            store: Arc::clone(&store),
            faults: Arc::new(FaultState::new(config.faults)),
            credentials,
            metrics: Metrics::new(),
            log: ContainerLog::new(config.log_lines),
            open: config.open,
            max_concurrent_streams: config.max_concurrent_streams,
            url: url.clone(),
            threads,
        });
        let (stop, stopped) = watch::channel(false);
        let mut sim = Self {
            address,
            url,
            tls: config.tls,
            shared: Arc::clone(&shared),
            stop,
            threads: Vec::new(),
        };
        let acceptor = config.tls.then(|| TlsAcceptor::from(Arc::new(tls_config)));
        let mut workers = Vec::new();
        for i in 1..threads {
            let (sender, connections) = mpsc::unbounded_channel();
            workers.push(sender);
            let work = server::work(
                connections,
                Arc::clone(&shared),
                acceptor.clone(),
                stopped.clone(),
            );
            sim.spawn(&format!("sim-{i}"), work)?;
        }
        let (sender, connections) = mpsc::unbounded_channel();
        workers.push(sender);
        let work = server::work(connections, Arc::clone(&shared), acceptor, stopped.clone());
        let accept = server::accept(listener, workers, stopped.clone());
        // The first thread also accepts.
        sim.spawn("sim-0", async move {
            tokio::join!(work, accept);
        })?;
        let played = Played {
            delays: config.lifecycle,
            controllers: config.controllers,
            kubevirt: config.seed_objects.kubevirt,
        };
        sim.spawn(
            "sim-lifecycle",
            lifecycle::run(store, played, changed, stopped),
        )?;
        Ok(sim)
    }

    fn spawn(
        &mut self,
        name: &str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), SimError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                shared.metrics.join_thread();
                runtime.block_on(work);
                // Open connections end here; nobody waits for them.
                runtime.shutdown_background();
            })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://127.0.0.1:41234`, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The certificate authority, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.shared.credentials.ca_pem
    }

    /// A bearer token that may do everything.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.shared.credentials.token
    }

    /// A client certificate that may do everything, PEM.
    #[must_use]
    pub fn client_cert_pem(&self) -> &str {
        &self.shared.credentials.client_cert_pem
    }

    /// The key of [`Sim::client_cert_pem`], PEM (PKCS #8).
    #[must_use]
    pub fn client_key_pem(&self) -> &str {
        &self.shared.credentials.client_key_pem
    }

    /// A kubeconfig with authority and token inside, YAML.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let mut cluster = json!({"server": self.url});
        if self.tls {
            cluster["certificate-authority-data"] = json!(encode(self.ca_pem()));
        }
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "kperf-sim", "cluster": cluster}],
            "users": [{"name": "kperf-sim", "user": {"token": self.token()}}],
            "contexts": [{"name": "kperf-sim", "context": {"cluster": "kperf-sim", "user": "kperf-sim"}}],
            "current-context": "kperf-sim",
        });
        serde_yaml::to_string(&config).unwrap_or_else(|_| config.to_string())
    }

    /// Changes faults while the server runs.
    #[must_use]
    pub fn faults(&self) -> FaultControl {
        FaultControl::new(Arc::clone(&self.shared.faults))
    }

    /// Forgets the history of changes, as etcd's compaction does: older watches and continue tokens get 410.
    pub fn compact(&self) {
        self.shared.store.compact();
    }

    /// Stops the server and waits for its threads.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            // A thread that panicked has already said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.halt();
    }
}

/// An address clients can dial: loopback where the server listens on all.
fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let ip = if address.is_ipv4() {
        IpAddr::from([127, 0, 0, 1])
    } else {
        IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1u16])
    };
    SocketAddr::new(ip, address.port())
}
