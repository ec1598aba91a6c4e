//! The orchestrator: waits for workers, hands out one task after another, keeps what comes back.
//!
//! One task at a time is the whole point: two pairs that measure together measure one another. So everything here is
//! one straight line, and every wait in it has a limit.

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt::Ipv6V6Only},
};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tracing::{info, warn};

use crate::{
    error::NetworkError,
    grpc::{Event, Service},
    journal::{Journal, RunIdentity},
    proto::{Shutdown, orchestrator_server::OrchestratorServer, order, report::Report},
    results::{RESULTS, ResultsFile},
    roster::Roster,
    run::{NetworkRun, RunEnd},
    schedule::{WorkerInfo, tasks},
    task::{TaskKey, TaskRecord, TaskState},
    tool::{Tool, ToolError},
    wire::MESSAGE_BYTES,
    worker::{KEEPALIVE, KEEPALIVE_ANSWER},
};

mod options;
mod turn;

pub use options::{Abort, OrchestratorOptions, Progress, Variant, never};
use options::{Waiting, check, plans};

/// Connections that wait to be taken, as many as `bind` would let.
const BACKLOG: u32 = 1024;
/// How long workers may take to end at the end of a run.
const FAREWELL: Duration = Duration::from_secs(5);

/// An orchestrator that listens.
pub struct Orchestrator {
    options: OrchestratorOptions,
    listener: TcpListener,
    address: SocketAddr,
}

/// Listens and runs all tasks; see [`Orchestrator::run`].
///
/// # Errors
/// See [`Orchestrator::run`].
pub async fn run(
    options: OrchestratorOptions,
    variants: Vec<Variant>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<NetworkRun, NetworkError> {
    Orchestrator::bind(options).await?.run(variants, stop).await
}

impl Orchestrator {
    /// Listens, so that the port is known before workers are started.
    ///
    /// # Errors
    /// If it cannot.
    pub async fn bind(options: OrchestratorOptions) -> Result<Self, NetworkError> {
        let failed = |source| NetworkError::Listen {
            address: options.listen.to_string(),
            source,
        };
        let listener = listen(options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            options,
            listener,
            address,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens the journal; see [`Orchestrator::run`].
    ///
    /// # Errors
    /// Options that cannot be, or the journal is of another run or cannot be written.
    pub async fn open(self, variants: Vec<Variant>) -> Result<Opened, NetworkError> {
        let Self {
            options, listener, ..
        } = self;
        check(&options, &variants)?;
        let identity = RunIdentity {
            benchmark: options.benchmark.clone(),
            variants: variants
                .iter()
                .map(|variant| variant.name.clone())
                .collect(),
            samples: options.samples,
            selection: options.selection.clone(),
            workers: options.workers,
            plans: plans(&variants).await,
        };
        let journal = Journal::open(&options.directory, &identity, unix_ms())?;
        Ok(Opened {
            options,
            listener,
            identity,
            journal,
            variants,
        })
    }

    /// Waits for workers, runs all tasks one after another, and writes [`RESULTS`]. Tasks that ended before, by the
    /// journal in the directory, are not done again.
    ///
    /// # Errors
    /// If too few workers come, or nothing can be kept. What goes wrong with a task is in its record; so it is when a
    /// run that goes on finds too few workers, as it has results already.
    pub async fn run(
        self,
        variants: Vec<Variant>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<NetworkRun, NetworkError> {
        self.open(variants).await?.run(stop).await
    }
}

/// Listens. On all addresses of IPv6 means of IPv4 as well, whatever the machine's default is; where IPv6 is off, of
/// IPv4 only.
async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    if address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        return TcpListener::bind(address).await;
    }
    let of_both = || {
        let socket = TcpSocket::new_v6()?;
        setsockopt(&socket, Ipv6V6Only, &false)?;
        // As `bind` does: the port may be waiting for the end of connections of the one before.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    match of_both() {
        Err(error)
            if error.kind() == io::ErrorKind::AddrNotAvailable
                || error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        listener => listener,
    }
}

/// A run whose journal is open.
pub struct Opened {
    options: OrchestratorOptions,
    listener: TcpListener,
    identity: RunIdentity,
    journal: Journal,
    variants: Vec<Variant>,
}

impl Opened {
    /// Whether it goes on with a run that was interrupted.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.journal.workers.is_some()
    }

    /// Whether all its tasks have ended before, so that no worker is needed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        is_complete(&self.identity, &self.journal)
    }

    /// See [`Orchestrator::run`].
    ///
    /// # Errors
    /// See [`Orchestrator::run`].
    pub async fn run(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<NetworkRun, NetworkError> {
        let Self {
            options,
            listener,
            identity,
            journal,
            variants,
        } = self;
        let (events, events_in) = mpsc::unbounded_channel();
        let serving = serve(&options, listener, Service::new(events))?;
        let spent = Duration::from_millis(unix_ms().saturating_sub(journal.begun_unix_ms));
        let mut run = Run {
            deadline: Instant::now() + options.deadline.saturating_sub(spent),
            roster: Roster::new(&options.benchmark, options.workers),
            abort: (options.abort)(),
            is_aborted: false,
            options,
            identity,
            variants: variants.into_iter().map(|v| (v.name, v.tool)).collect(),
            journal,
            events: events_in,
            stop: Box::pin(stop),
            end: RunEnd::Complete,
            records: Vec::new(),
            total: 0,
            number: 0,
        };
        let result = run.complete().await;
        // At worst whoever goes on has less time.
        if let Err(error) = run.journal.pause() {
            warn!("{error}");
        }
        run.farewell().await;
        drop(serving);
        result
    }
}

fn is_complete(identity: &RunIdentity, journal: &Journal) -> bool {
    let done =
        |workers: &Vec<WorkerInfo>| journal.ended.len() >= all_tasks(identity, workers).len();
    journal.workers.as_ref().is_some_and(done)
}

fn all_tasks(identity: &RunIdentity, workers: &[WorkerInfo]) -> Vec<TaskKey> {
    tasks(
        workers,
        &identity.selection,
        &identity.variants,
        identity.samples,
    )
}

/// The gRPC server; ended when dropped.
struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn serve(
    options: &OrchestratorOptions,
    listener: TcpListener,
    service: Service,
) -> Result<Serving, NetworkError> {
    let mut server = Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER));
    if let Some(certificates) = &options.certificates {
        server = server.tls_config(certificates.server()?).map_err(|error| {
            NetworkError::Certificates {
                path: certificates.directory().to_owned(),
                reason: error.to_string(),
            }
        })?;
    }
    let service = OrchestratorServer::new(service)
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES);
    Ok(Serving(tokio::spawn(async move {
        let incoming = TcpListenerStream::new(listener);
        if let Err(error) = server.serve_with_incoming(service, incoming).await {
            tracing::error!("the orchestrator serves no more: {error}");
        }
    })))
}

/// A run under way.
struct Run {
    options: OrchestratorOptions,
    identity: RunIdentity,
    variants: HashMap<String, Arc<dyn Tool>>,
    journal: Journal,
    roster: Roster,
    events: mpsc::UnboundedReceiver<Event>,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    abort: Waiting,
    /// From then on no wait takes any time.
    is_aborted: bool,
    deadline: Instant,
    /// Changes once, when the run is cut short.
    end: RunEnd,
    records: Vec<TaskRecord>,
    total: usize,
    /// Of the last task, to tell late reports from those of the task at hand.
    number: u64,
}

/// What ends a wait.
enum Wake {
    /// A worker reported.
    Report { connection: u64, report: Report },
    /// The roster changed.
    Roster,
    /// The wait took too long.
    Limit,
    /// The run is cut short; [`Run::end`] says why.
    CutShort,
}

impl Run {
    async fn complete(&mut self) -> Result<NetworkRun, NetworkError> {
        let workers = self.assemble().await?;
        let mut waiting = all_tasks(&self.identity, &workers);
        self.total = waiting.len();
        self.records = std::mem::take(&mut self.journal.ended);
        waiting.retain(|key| !self.records.iter().any(|record| record.key == *key));
        self.work_off(waiting).await?;
        let run = NetworkRun {
            benchmark: self.options.benchmark.clone(),
            main_metric: self.options.main_metric.clone(),
            workers: self.roster.workers(),
            lost: self.roster.absent(),
            tasks: std::mem::take(&mut self.records),
            end: self.end,
        };
        ResultsFile::of(&run).write(&self.options.directory.join(RESULTS))?;
        Ok(run)
    }

    /// Waits until there are enough workers, and settles who they are. Those of a run that goes on are settled: what
    /// cannot be done without the missing ones is cancelled later.
    async fn assemble(&mut self) -> Result<Vec<WorkerInfo>, NetworkError> {
        let resumed = self.journal.workers.clone();
        if let Some(workers) = &resumed {
            info!(
                done = self.journal.ended.len(),
                "goes on with a run that was interrupted"
            );
            self.roster.resume(workers.clone());
            if is_complete(&self.identity, &self.journal) {
                return Ok(workers.clone());
            }
        }
        let expected = resumed.as_ref().map_or(self.options.workers, Vec::len);
        let until = Instant::now() + self.options.timeout;
        let connected = loop {
            let connected = self.roster.connected();
            (self.options.progress)(Progress::Registered {
                workers: connected,
                expected,
            });
            if connected >= expected {
                break connected;
            }
            match self.wake(until).await {
                Wake::Report { .. } | Wake::Roster => {}
                Wake::Limit => break connected,
                Wake::CutShort if self.end == RunEnd::Stopped && resumed.is_none() => {
                    return Err(NetworkError::Stopped);
                }
                Wake::CutShort => break connected,
            }
        };
        if connected < 2 && resumed.is_none() {
            let (limit, time) = match self.end {
                RunEnd::Deadline => ("the deadline", self.options.deadline),
                RunEnd::Complete | RunEnd::Stopped => ("the timeout", self.options.timeout),
            };
            return Err(NetworkError::TooFewWorkers {
                registered: connected,
                expected,
                limit,
                seconds: time.as_secs(),
            });
        }
        self.roster.close();
        match resumed {
            Some(workers) => Ok(workers),
            None => {
                self.roster.forget_absent();
                let workers = self.roster.workers();
                if let Some(problem) = self.identity.selection.problem(&workers) {
                    return Err(NetworkError::NothingToMeasure(problem));
                }
                self.journal.settle(&workers)?;
                Ok(workers)
            }
        }
    }

    /// Runs tasks in order. Those of an absent worker wait until all others had their turn, as it may come back.
    async fn work_off(&mut self, waiting: Vec<TaskKey>) -> Result<(), NetworkError> {
        let mut postponed = Vec::new();
        for key in waiting {
            if self.end == RunEnd::Complete && self.is_possible(&key) {
                self.turn(key).await?;
            } else {
                postponed.push(key);
            }
        }
        let until = Instant::now() + self.options.replacement;
        while self.end == RunEnd::Complete && !postponed.is_empty() {
            if let Some(next) = postponed.iter().position(|key| self.is_possible(key)) {
                let key = postponed.remove(next);
                self.turn(key).await?;
            } else if matches!(self.wake(until).await, Wake::Limit | Wake::CutShort) {
                break;
            }
        }
        for key in postponed {
            let error = match self.end {
                RunEnd::Complete => ToolError::new(
                    "worker_lost",
                    format!("{} was lost and did not come back", self.absent_of(&key)),
                ),
                RunEnd::Deadline => ToolError::new("cancelled", "the total time was over"),
                RunEnd::Stopped => ToolError::new("cancelled", "the run was stopped"),
            };
            let mut record = TaskRecord::pending(key);
            record.end(TaskState::Cancelled, Some(error));
            // Not in the journal: were the run begun again, the task could still be done.
            self.record(record);
        }
        Ok(())
    }

    fn is_possible(&self, key: &TaskKey) -> bool {
        [&key.client, &key.server]
            .into_iter()
            .all(|name| self.roster.connection(name).is_some())
    }

    fn absent_of(&self, key: &TaskKey) -> String {
        let absent: Vec<_> = [&key.client, &key.server]
            .into_iter()
            .filter(|name| self.roster.connection(name).is_none())
            .map(String::as_str)
            .collect();
        absent.join(" and ")
    }

    fn record(&mut self, record: TaskRecord) {
        self.records.push(record);
        if let Some(task) = self.records.last() {
            (self.options.progress)(Progress::Ended {
                task,
                done: self.records.len(),
                total: self.total,
            });
        }
    }

    /// Waits for the next thing to happen, at most until `until`. Comings and goings are dealt with here.
    async fn wake(&mut self, until: Instant) -> Wake {
        if self.is_aborted {
            return Wake::Limit;
        }
        let event = tokio::select! {
            biased;
            () = &mut self.abort => {
                self.is_aborted = true;
                if self.end == RunEnd::Complete {
                    self.end = RunEnd::Stopped;
                }
                return Wake::CutShort;
            }
            () = &mut self.stop, if self.end == RunEnd::Complete => {
                self.end = RunEnd::Stopped;
                return Wake::CutShort;
            }
            () = sleep_until(self.deadline), if self.end == RunEnd::Complete => {
                self.end = RunEnd::Deadline;
                return Wake::CutShort;
            }
            event = self.events.recv() => event,
            () = sleep_until(until) => return Wake::Limit,
        };
        match event {
            Some(Event::Report { connection, report }) => Wake::Report { connection, report },
            Some(Event::Joining(joining)) => {
                self.roster.join(joining);
                Wake::Roster
            }
            Some(Event::Left { connection }) => {
                if let Some(worker) = self.roster.left(connection) {
                    warn!(worker, "lost");
                    (self.options.progress)(Progress::Lost { worker: &worker });
                }
                Wake::Roster
            }
            // The service is gone, and with it all workers: only time ends this.
            None => {
                sleep_until(until.min(self.deadline)).await;
                Wake::Limit
            }
        }
    }

    /// Tells all workers that the run is over, and gives them time to end.
    async fn farewell(&mut self) {
        for worker in self.roster.workers() {
            self.roster
                .order(&worker.name, order::Order::Shutdown(Shutdown {}));
        }
        let leaving = async {
            while self.roster.connected() > 0 {
                match self.events.recv().await {
                    Some(Event::Left { connection }) => {
                        self.roster.left(connection);
                    }
                    // Whoever comes now is told by the end of its stream.
                    Some(Event::Joining(_) | Event::Report { .. }) => {}
                    None => return,
                }
            }
        };
        if self.is_aborted {
            return;
        }
        tokio::select! {
            _ = timeout(FAREWELL, leaving) => {}
            () = &mut self.abort => {}
        }
    }
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_addresses_are_of_both_families() {
        let listener = listen((Ipv6Addr::UNSPECIFIED, 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        for host in [Ipv4Addr::LOCALHOST.into(), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            // Without IPv6 there is only the other.
            if host.is_ipv4() || address.is_ipv6() && std::net::UdpSocket::bind((host, 0)).is_ok() {
                tokio::net::TcpStream::connect((host, address.port()))
                    .await
                    .unwrap();
            }
        }
    }
}
