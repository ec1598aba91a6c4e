//! A worker: joins the orchestrator of its run and runs the commands it is given, as far as its allow list lets it.
//!
//! When the orchestrator is gone the worker ends whatever it runs, so that nothing disturbs the next task, and joins
//! again, as an orchestrator may be started again.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Endpoint};
use tracing::{info, warn};

use crate::{
    allow::AllowList,
    command::{CLIENT_BYTES, Process},
    error::NetworkError,
    proto::{
        ClientStarted, Order, Report, RunClient, ServerEnded, ServerReady, StartServer,
        orchestrator_client::OrchestratorClient, order, report,
    },
    schedule::WorkerInfo,
    server::{self, Ready},
    tls::RunCertificates,
    tool::{Command, ToolError},
    wire::{MESSAGE_BYTES, client_ended, client_refused},
};

/// Between two attempts to join.
const RETRY: Duration = Duration::from_millis(250);
/// How long one attempt may take.
const CONNECT: Duration = Duration::from_secs(10);
/// A peer that is silent this long is asked whether it is there.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(5);
/// And is gone when it does not answer in this time, which is generous as tests fill the network.
pub(crate) const KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);

/// What a worker has to know.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Name or address of the orchestrator.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Certificates of the run; none means no TLS at all, which the orchestrator must agree to.
    pub certificates: Option<RunCertificates>,
    /// Who it is.
    pub info: WorkerInfo,
    /// What it may run.
    pub allow: AllowList,
    /// How long it looks for an orchestrator, at first and whenever it lost it.
    pub timeout: Duration,
    /// How long it lives at most.
    pub deadline: Duration,
    /// Whether it joins again when it lost the orchestrator.
    pub rejoin: bool,
}

/// What identifies this machine's ports: equal for processes whose ports collide. Empty where that is not known.
#[must_use]
pub fn network_namespace() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let namespace = std::fs::read_link("/proc/self/ns/net");
    match (boot, namespace) {
        (Ok(boot), Ok(namespace)) => format!("{} {}", boot.trim(), namespace.display()),
        _ => String::new(),
    }
}

/// Works until the orchestrator says that the run is over, or `stop`.
///
/// # Errors
/// When no orchestrator is found, it does not take this worker, or the deadline is over.
pub async fn run(
    options: WorkerOptions,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), NetworkError> {
    tokio::select! {
        result = work(&options) => result,
        () = stop => Ok(()),
        () = sleep(options.deadline) => Err(NetworkError::Deadline {
            seconds: options.deadline.as_secs(),
        }),
    }
}

/// How a stay with an orchestrator ended.
enum Stay {
    /// The run is over.
    Over,
    /// The orchestrator is gone.
    Lost(String),
}

/// Why it could not join.
enum NotJoined {
    /// It may be possible later.
    Yet(String),
    /// It never will be.
    Ever(String),
}

async fn work(options: &WorkerOptions) -> Result<(), NetworkError> {
    let address = format!("{}:{}", options.host, options.port);
    let endpoint = endpoint(options)?;
    let mut looking_since = Instant::now();
    loop {
        let reason = match timeout(CONNECT, join(&endpoint, options)).await {
            Ok(Ok((orders, reports))) => match stay(options, orders, reports).await {
                Stay::Over => return Ok(()),
                Stay::Lost(reason) if !options.rejoin => {
                    return Err(NetworkError::LostOrchestrator { address, reason });
                }
                Stay::Lost(reason) => {
                    warn!("lost the orchestrator: {reason}");
                    looking_since = Instant::now();
                    reason
                }
            },
            Ok(Err(NotJoined::Ever(reason))) => {
                return Err(NetworkError::Refused { address, reason });
            }
            Ok(Err(NotJoined::Yet(reason))) => reason,
            Err(_) => "it does not answer".to_owned(),
        };
        if looking_since.elapsed() >= options.timeout {
            return Err(NetworkError::NoOrchestrator {
                address,
                seconds: options.timeout.as_secs(),
                reason,
            });
        }
        sleep(RETRY).await;
    }
}

fn endpoint(options: &WorkerOptions) -> Result<Endpoint, NetworkError> {
    let WorkerOptions { host, port, .. } = options;
    let bad = |error: tonic::transport::Error| {
        NetworkError::Options(format!("orchestrator {host}:{port}: {}", chain(&error)))
    };
    let scheme = match options.certificates {
        Some(_) => "https",
        None => "http",
    };
    let authority = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.clone()
    };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{authority}:{port}"))
        .map_err(bad)?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_ANSWER)
        .keep_alive_while_idle(true);
    match &options.certificates {
        Some(certificates) => endpoint.tls_config(certificates.client()?).map_err(bad),
        None => Ok(endpoint),
    }
}

async fn join(
    endpoint: &Endpoint,
    options: &WorkerOptions,
) -> Result<(Streaming<Order>, mpsc::Sender<Report>), NotJoined> {
    let channel = endpoint.connect().await.map_err(|error| {
        let reason = chain(&error);
        if is_about_certificates(&reason) {
            NotJoined::Ever(reason)
        } else {
            NotJoined::Yet(reason)
        }
    })?;
    let mut client = OrchestratorClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES);
    let (reports, reports_out) = mpsc::channel(16);
    let registration = report::Report::Registration(options.info.clone().into());
    // The channel is new, so there is room.
    let _ = reports.try_send(Report {
        report: Some(registration),
    });
    match client.work(ReceiverStream::new(reports_out)).await {
        Ok(orders) => Ok((orders.into_inner(), reports)),
        Err(status) => {
            let reason = reason(&status);
            let is_final = matches!(
                status.code(),
                Code::FailedPrecondition | Code::InvalidArgument | Code::Unimplemented
            );
            if is_final || is_about_certificates(&reason) {
                Err(NotJoined::Ever(reason))
            } else {
                Err(NotJoined::Yet(reason))
            }
        }
    }
}

fn reason(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => format!("{}: {}", status.message(), chain(source)),
        None => status.message().to_owned(),
    }
}

/// An error with its causes, as transports say only "transport error" themselves.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}

/// Whether one side did not take the other's certificate. The types of such errors are lost on their way through the
/// transport, their words are not.
fn is_about_certificates(reason: &str) -> bool {
    ["received fatal alert", "invalid peer certificate"]
        .iter()
        .any(|words| reason.contains(words))
}

/// A server or client at work; ended at once when dropped.
struct Job {
    stop: Option<oneshot::Sender<()>>,
    handle: JoinHandle<()>,
}

impl Job {
    fn new<F: Future<Output = ()> + Send + 'static>(
        job: impl FnOnce(oneshot::Receiver<()>) -> F,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self {
            stop: Some(stop),
            handle: tokio::spawn(job(stopped)),
        }
    }

    /// Tells it to end, and does not wait.
    fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended already.
            let _ = stop.send(());
        }
    }

    /// Tells it to end, and waits until it has.
    async fn end(mut self) {
        self.stop();
        let _ = (&mut self.handle).await;
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// The server that runs, or ran.
struct Server {
    job: Job,
    command: Command,
    is_ready: Arc<AtomicBool>,
    /// Asks the job whether the process is there still.
    asking: mpsc::Sender<oneshot::Sender<()>>,
    /// The last task it was wanted for.
    task: Arc<AtomicU64>,
}

impl Server {
    /// Whether it can be used. The system knows of its end before the job is woken, so the job is to ask it.
    async fn is_there(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.is_ready.load(Ordering::Acquire)
            && self.asking.send(answer).await.is_ok()
            && answered.await.is_ok()
    }
}

async fn stay(
    options: &WorkerOptions,
    mut orders: Streaming<Order>,
    reports: mpsc::Sender<Report>,
) -> Stay {
    let mut server: Option<Server> = None;
    let mut client: Option<(u64, Job)> = None;
    loop {
        let order = match orders.message().await {
            Ok(Some(order)) => order.order,
            Ok(None) => return Stay::Lost("it closed the connection".to_owned()),
            Err(status) => return Stay::Lost(reason(&status)),
        };
        match order {
            // From a newer orchestrator.
            None => warn!("got an order that this version does not know"),
            Some(order::Order::Welcome(welcome)) => {
                info!(benchmark = welcome.benchmark, "joined");
            }
            Some(order::Order::StartServer(order)) => {
                let command = order.command.clone().map(Command::from);
                let same = server
                    .as_ref()
                    .filter(|server| command.as_ref() == Some(&server.command));
                if let Some(server) = same
                    && server.is_there().await
                {
                    server.task.store(order.task, Ordering::Release);
                    send(&reports, server_ready(order.task, None)).await;
                } else {
                    if let Some(server) = server.take() {
                        server.job.end().await;
                    }
                    server = start_server(options, order, &reports).await;
                }
            }
            Some(order::Order::StopServer(order)) => {
                let how = match server.take() {
                    Some(server) => {
                        let was_ready = server.is_ready.load(Ordering::Acquire);
                        server.job.end().await;
                        if was_ready {
                            "as ordered"
                        } else {
                            "it had ended"
                        }
                    }
                    None => "none ran",
                };
                send(&reports, server_ended(order.task, how, true)).await;
            }
            Some(order::Order::RunClient(order)) => {
                if let Some((_, job)) = client.take() {
                    job.end().await;
                }
                let task = order.task;
                let reports = reports.clone();
                let allow = options.allow.clone();
                let job = Job::new(|stop| run_client(order, allow, reports, stop));
                client = Some((task, job));
            }
            Some(order::Order::StopClient(order)) => {
                if let Some((task, job)) = &mut client
                    && *task == order.task
                {
                    job.stop();
                }
            }
            Some(order::Order::Shutdown(_)) => {
                if let Some((_, job)) = client.take() {
                    job.end().await;
                }
                if let Some(server) = server.take() {
                    server.job.end().await;
                }
                return Stay::Over;
            }
        }
    }
}

async fn send(reports: &mpsc::Sender<Report>, report: report::Report) {
    // Without a receiver the stream is closed, which `stay` sees as well.
    let _ = reports
        .send(Report {
            report: Some(report),
        })
        .await;
}

fn server_ready(task: u64, error: Option<ToolError>) -> report::Report {
    let (error_class, error) = error.map(|e| (e.class, e.message)).unwrap_or_default();
    report::Report::ServerReady(ServerReady {
        task,
        error_class,
        error,
    })
}

fn server_ended(task: u64, how: &str, ordered: bool) -> report::Report {
    report::Report::ServerEnded(ServerEnded {
        task,
        how: how.to_owned(),
        ordered,
    })
}

/// Begins to start a server; when it is ready, or cannot be, that is reported.
async fn start_server(
    options: &WorkerOptions,
    order: StartServer,
    reports: &mpsc::Sender<Report>,
) -> Option<Server> {
    let task = order.task;
    let command = Command::from(order.command.unwrap_or_default());
    let checked = options
        .allow
        .check_server(&command)
        .and_then(|()| Ready::parse(&order.ready));
    let ready = match checked {
        Ok(ready) => ready,
        Err(error) => {
            send(reports, server_ready(task, Some(error))).await;
            return None;
        }
    };
    let start = server::Start {
        command: command.clone(),
        ready,
        host: options
            .info
            .addresses
            .first()
            .map(|address| address.host.clone())
            .unwrap_or_default(),
        limit: Duration::from_millis(order.limit_ms),
    };
    let is_ready = Arc::new(AtomicBool::new(false));
    let ready_flag = Arc::clone(&is_ready);
    let (asking, mut asked) = mpsc::channel::<oneshot::Sender<()>>(1);
    let last_task = Arc::new(AtomicU64::new(task));
    let for_task = Arc::clone(&last_task);
    let reports = reports.clone();
    let job = Job::new(|mut stop| async move {
        let mut process = match server::start(&start, &mut stop).await {
            Ok(process) => process,
            Err(error) => return send(&reports, server_ready(task, Some(error))).await,
        };
        ready_flag.store(true, Ordering::Release);
        send(&reports, server_ready(task, None)).await;
        let by_itself = loop {
            tokio::select! {
                biased;
                () = process.exited() => break true,
                // What ended a moment before it was told to has ended by itself.
                _ = &mut stop => break process.has_exited(),
                Some(answer) = asked.recv() => {
                    if process.has_exited() {
                        break true;
                    }
                    let _ = answer.send(());
                }
            }
        };
        // Nobody is to wait for an answer.
        drop(asked);
        // Until its streams are read it takes a moment, in which nobody is to count on it.
        if by_itself {
            ready_flag.store(false, Ordering::Release);
        }
        let ended = process.finish(None, std::future::ready(())).await;
        if by_itself {
            let task = for_task.load(Ordering::Acquire);
            send(&reports, server_ended(task, &ended.sentence(), false)).await;
        }
    });
    Some(Server {
        job,
        command,
        is_ready,
        asking,
        task: last_task,
    })
}

async fn run_client(
    order: RunClient,
    allow: AllowList,
    reports: mpsc::Sender<Report>,
    stop: oneshot::Receiver<()>,
) {
    let task = order.task;
    let command = Command::from(order.command.unwrap_or_default());
    let process = allow
        .check_client(&command, &order.server_host)
        .and_then(|()| Process::start(&command, CLIENT_BYTES));
    let ended = match process {
        Err(error) => client_refused(task, error),
        Ok(process) => {
            let started = report::Report::ClientStarted(ClientStarted { task });
            send(&reports, started).await;
            let limit = Duration::from_millis(order.limit_ms);
            let stop = pin!(async {
                let _ = stop.await;
            });
            client_ended(task, process.finish(Some(limit), stop).await)
        }
    };
    send(&reports, report::Report::ClientEnded(ended)).await;
}
