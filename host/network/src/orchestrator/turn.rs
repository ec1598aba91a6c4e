//! One task: server, client, and what became of them.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Progress, Run, Wake, unix_ms};
use crate::{
    command::GRACE,
    error::NetworkError,
    proto::{ClientEnded, RunClient, StartServer, StopClient, StopServer, order, report::Report},
    run::RunEnd,
    task::{TaskKey, TaskRecord, TaskState},
    tool::{Output, Plan, Tool, ToolError},
    wire::error_of,
};

/// How long a worker may take beside what it was given for a command: to end it, and to send what it wrote.
const ANSWER: Duration = Duration::from_secs(10);

/// Why a task ends before its client has.
enum Broken {
    /// It failed.
    Failed(ToolError),
    /// It is cancelled: a worker is lost.
    Lost(ToolError),
    /// It is cancelled: the run is cut short.
    CutShort,
    /// A worker does not answer.
    Silent(String),
}

/// The task at hand.
struct Turn {
    number: u64,
    client: u64,
    server: u64,
    record: TaskRecord,
}

impl Turn {
    /// Keeps how the task's server ended, if it did so by itself.
    fn note(&mut self, report: &Report) {
        if let Report::ServerEnded(ended) = report
            && !ended.ordered
            && ended.task == self.number
        {
            self.record.server_ended.clone_from(&ended.how);
        }
    }
}

impl Run {
    /// Gives a task its turn. Both workers are connected.
    pub(super) async fn turn(&mut self, key: TaskKey) -> Result<(), NetworkError> {
        self.number += 1;
        (self.options.progress)(Progress::Begins {
            task: &key,
            done: self.records.len(),
            total: self.total,
        });
        let connections = self
            .roster
            .connection(&key.client)
            .zip(self.roster.connection(&key.server));
        let occupied = self.roster.occupy(&key.client, &key.server);
        let (Some((client, server)), true) = (connections, occupied) else {
            // Cannot be: tasks are run one by one, and only of connected workers.
            return Err(NetworkError::Options(format!("{key}: a worker is busy")));
        };
        let mut turn = Turn {
            number: self.number,
            client,
            server,
            record: TaskRecord::pending(key),
        };
        turn.record.started_unix_ms = Some(unix_ms());
        self.advance(&mut turn, TaskState::Assigned)?;
        let result = self.pair(&mut turn).await;
        let is_final = !matches!(result, Ok(Err(Broken::CutShort)));
        match result? {
            Ok(ended) => self.evaluate(&mut turn.record, ended).await,
            Err(Broken::Failed(error)) => turn.record.end(TaskState::Failed, Some(error)),
            Err(Broken::Lost(error)) => turn.record.end(TaskState::Cancelled, Some(error)),
            Err(Broken::Silent(worker)) => {
                let message = format!("{worker} did not answer in time");
                turn.record.end(
                    TaskState::TimedOut,
                    Some(ToolError::new("timed_out", message)),
                );
                // What it still runs is not known: its end of stream makes it stop.
                self.roster.expel(&worker);
            }
            Err(Broken::CutShort) => {
                let message = match self.end {
                    RunEnd::Deadline => "the total time was over",
                    RunEnd::Complete | RunEnd::Stopped => "the run was stopped",
                };
                turn.record.end(
                    TaskState::Cancelled,
                    Some(ToolError::new("cancelled", message)),
                );
            }
        }
        // Elsewhere a server stays for the next client. After an error it may not be fit for one: of a client that
        // vanished it does not know, and is busy with it. What is cut short ends with its worker.
        let may_be_busy = is_final && turn.record.error.is_some();
        if self.roster.share_ports() || may_be_busy {
            self.stop_server(&mut turn).await;
        }
        turn.record.ended_unix_ms = Some(unix_ms());
        // A task that was cut short is done again when the run goes on.
        if is_final {
            self.journal.end(&turn.record)?;
        }
        self.roster.release();
        self.record(turn.record);
        Ok(())
    }

    fn advance(&mut self, turn: &mut Turn, state: TaskState) -> Result<(), NetworkError> {
        turn.record.state = turn.record.state.advanced_to(state);
        self.journal
            .state(&turn.record.key, turn.record.state, unix_ms())
    }

    async fn pair(&mut self, turn: &mut Turn) -> Result<Result<ClientEnded, Broken>, NetworkError> {
        let plan = match self.plan(&mut turn.record).await {
            Ok(plan) => plan,
            Err(error) => return Ok(Err(Broken::Failed(error))),
        };
        if let Err(broken) = self.start_server(turn, &plan).await {
            return Ok(Err(broken));
        }
        self.run_client(turn, plan).await
    }

    async fn plan(&mut self, record: &mut TaskRecord) -> Result<Plan, ToolError> {
        let key = &record.key;
        let failed = |message: &str| ToolError::new("plan", message);
        let host = self
            .roster
            .info(&key.server)
            .and_then(|info| info.host(&key.path))
            .ok_or_else(|| failed("the server has no address of this path any more"))?
            .to_owned();
        let tool = self
            .variants
            .get(&key.variant)
            .ok_or_else(|| failed("there is no such variant"))?;
        record.server_host.clone_from(&host);
        let plan = on_its_own(tool, move |tool| tool.plan(&host)).await?;
        let limit = self
            .options
            .task_limit
            .max(Duration::from_millis(plan.min_time_limit_ms));
        record.limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        record.program.clone_from(&plan.client.program);
        record.arguments.clone_from(&plan.client.arguments);
        Ok(plan)
    }

    async fn start_server(&mut self, turn: &mut Turn, plan: &Plan) -> Result<(), Broken> {
        let limit = self.options.server_limit;
        let name = turn.record.key.server.clone();
        let order = order::Order::StartServer(StartServer {
            task: turn.number,
            command: Some(plan.server.clone().into()),
            ready: plan.ready.clone(),
            limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        });
        self.roster.order(&name, order);
        // A server with other parameters may have to be ended first.
        let until = Instant::now() + limit + 2 * GRACE + ANSWER;
        loop {
            if let Report::ServerReady(ready) = self.next(turn, until, &name).await?
                && ready.task == turn.number
            {
                return match error_of(&ready.error_class, &ready.error) {
                    None => Ok(()),
                    Some(mut error) => {
                        error.message = format!("on {name}: {}", error.message);
                        Err(Broken::Failed(error))
                    }
                };
            }
        }
    }

    async fn run_client(
        &mut self,
        turn: &mut Turn,
        plan: Plan,
    ) -> Result<Result<ClientEnded, Broken>, NetworkError> {
        let name = turn.record.key.client.clone();
        let order = order::Order::RunClient(RunClient {
            task: turn.number,
            command: Some(plan.client.into()),
            server_host: turn.record.server_host.clone(),
            limit_ms: turn.record.limit_ms,
        });
        self.roster.order(&name, order);
        let limit = Duration::from_millis(turn.record.limit_ms);
        let mut until = Instant::now() + limit + GRACE + ANSWER;
        loop {
            match self.next(turn, until, &name).await {
                Ok(Report::ClientStarted(started)) if started.task == turn.number => {
                    until = Instant::now() + limit + GRACE + ANSWER;
                    self.advance(turn, TaskState::Running)?;
                }
                Ok(Report::ClientEnded(ended)) if ended.task == turn.number => {
                    return Ok(Ok(ended));
                }
                Ok(_) => {}
                Err(broken) => {
                    self.stop_client(turn).await;
                    return Ok(Err(broken));
                }
            }
        }
    }

    /// Ends the client of a task that is over for another reason, so that it does not run into the next.
    async fn stop_client(&mut self, turn: &mut Turn) {
        let name = turn.record.key.client.clone();
        let order = order::Order::StopClient(StopClient { task: turn.number });
        self.roster.order(&name, order);
        let until = Instant::now() + 2 * GRACE;
        while self.roster.connection(&name) == Some(turn.client) {
            match self.wake(until).await {
                Wake::Report {
                    connection,
                    report: Report::ClientEnded(ended),
                } if connection == turn.client && ended.task == turn.number => {
                    keep(&mut turn.record, ended);
                    return;
                }
                Wake::Limit => return self.roster.expel(&name),
                Wake::Report { .. } | Wake::Roster | Wake::CutShort => {}
            }
        }
    }

    /// Ends the server, where the next one would find its ports taken or the next client would find it busy.
    async fn stop_server(&mut self, turn: &mut Turn) {
        let name = turn.record.key.server.clone();
        let order = order::Order::StopServer(StopServer { task: turn.number });
        self.roster.order(&name, order);
        let until = Instant::now() + 3 * GRACE;
        while self.roster.connection(&name) == Some(turn.server) {
            match self.wake(until).await {
                Wake::Report { connection, report } if connection == turn.server => {
                    turn.note(&report);
                    if matches!(report, Report::ServerEnded(ended) if ended.ordered && ended.task == turn.number)
                    {
                        return;
                    }
                }
                Wake::Limit => return self.roster.expel(&name),
                Wake::Report { .. } | Wake::Roster | Wake::CutShort => {}
            }
        }
    }

    /// The next report of one of the two workers; `awaited` is the one to blame when none comes.
    async fn next(
        &mut self,
        turn: &mut Turn,
        until: Instant,
        awaited: &str,
    ) -> Result<Report, Broken> {
        loop {
            match self.wake(until).await {
                Wake::Report { connection, report } => {
                    if connection == turn.server {
                        turn.note(&report);
                    }
                    if connection == turn.client || connection == turn.server {
                        return Ok(report);
                    }
                }
                Wake::Roster => {
                    let key = &turn.record.key;
                    for (name, connection) in
                        [(&key.client, turn.client), (&key.server, turn.server)]
                    {
                        if self.roster.connection(name) != Some(connection) {
                            let message = format!("{name} was lost during the task");
                            return Err(Broken::Lost(ToolError::new("worker_lost", message)));
                        }
                    }
                }
                Wake::Limit => return Err(Broken::Silent(awaited.to_owned())),
                Wake::CutShort => return Err(Broken::CutShort),
            }
        }
    }

    /// The state of a task whose client has ended, and what its output says.
    async fn evaluate(&mut self, record: &mut TaskRecord, ended: ClientEnded) {
        if let Some(mut error) = error_of(&ended.error_class, &ended.error) {
            error.message = format!("on {}: {}", record.key.client, error.message);
            return record.end(TaskState::Failed, Some(error));
        }
        let timed_out = ended.timed_out;
        keep(record, ended);
        // A limit counts more than an exit code: newer iperf3 exits with 0 when it is told to end.
        let state = match (timed_out, record.exit_code) {
            (true, _) => TaskState::TimedOut,
            (false, Some(0)) => TaskState::Done,
            (false, _) => TaskState::Failed,
        };
        let output = Output {
            arguments: record.arguments.clone(),
            stdout: record.stdout.clone(),
            stderr: record.stderr.clone(),
            exit_code: record.exit_code,
            signal: record.signal.clone(),
            timed_out,
            clipped: record.clipped,
        };
        let parsed = match self.variants.get(&record.key.variant) {
            Some(tool) => on_its_own(tool, move |tool| tool.parse(output)).await,
            None => Err(ToolError::new("plan", "there is no such variant")),
        };
        match parsed {
            // Whatever a tool makes of its output, at the limit nothing was measured.
            Ok(_) if timed_out => {
                let message = format!("ended at its limit of {} ms", record.limit_ms);
                record.end(state, Some(ToolError::new("timed_out", message)));
            }
            Ok(readings) => {
                record.readings = readings;
                record.end(state, None);
            }
            Err(error) => record.end(state, Some(error)),
        }
    }
}

/// What a client left behind, into its record.
fn keep(record: &mut TaskRecord, ended: ClientEnded) {
    record.exit_code = ended.exit_code;
    record.signal = ended.signal;
    record.clipped = ended.clipped;
    record.elapsed_ns = Some(ended.elapsed_ns);
    record.stdout = text(ended.stdout);
    record.stderr = text(ended.stderr);
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Tools compute, and may take long over a bad output: not on a thread that serves workers.
pub(super) async fn on_its_own<T: Send + 'static>(
    tool: &Arc<dyn Tool>,
    ask: impl FnOnce(&dyn Tool) -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    let tool = Arc::clone(tool);
    tokio::task::spawn_blocking(move || ask(&*tool))
        .await
        .unwrap_or_else(|error| {
            let message = format!("the tool failed: {error}");
            Err(ToolError::new("malformed", message))
        })
}
