//! The thread of a shard, and one phase on it from its source to its report.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{Arc, mpsc as std_mpsc},
    thread,
    time::{Duration, Instant},
};

use http::HeaderValue;
use nix::sys::resource::{UsageWho, getrusage};
use tokio::{
    runtime,
    sync::{mpsc, oneshot, watch},
    task::{JoinSet, LocalSet},
};

use super::{
    feed::{Feed, guarded},
    intervals::{Intervals, Piece},
    lanes::Lanes,
    park,
    phase::{Phase, Rules},
    shapes::{Shape, base_headers, merge_headers, shapes},
    worker,
};
use crate::{
    measure::recorder::{Kept, Recorder},
    net::dial::ConnectError,
    pace::{
        clock::{PhaseClock, as_ns},
        dispatch::{Dispatch, Limits},
        schedule::{Arrivals, ConstantRate, Listed, share},
        timer::sharpen_thread_timers,
    },
    plan::{EngineConfig, Pace, PhasePlan, Target},
    request::{ShardContext, SourceError, SourceFactory},
    result::{Ended, ShardReport},
    stop::StopState,
};

/// What a shard is told between phases.
pub(crate) enum Command {
    Connect {
        target: Arc<Target>,
        config: EngineConfig,
        connections: Vec<u32>,
        reply: std_mpsc::Sender<Result<Vec<Duration>, ConnectError>>,
    },
    Run(Box<Run>),
}

/// One phase, for one shard.
pub(crate) struct Run {
    pub(crate) plan: Arc<PhasePlan>,
    pub(crate) factory: SourceFactory,
    /// `shards` are those that have clients in this phase.
    pub(crate) context: ShardContext,
    pub(crate) clients: Vec<u32>,
    pub(crate) pile_up: Duration,
    pub(crate) user_agent: HeaderValue,
    pub(crate) stop: watch::Receiver<StopState>,
    /// When all shards start; dropped when one of them could not.
    pub(crate) go: oneshot::Receiver<Instant>,
    pub(crate) reports: std_mpsc::Sender<Report>,
}

/// What a shard says of a phase.
pub(crate) enum Report {
    /// The source is open and the clients are connected.
    Ready {
        result: Result<Vec<Arc<str>>, SourceError>,
        shard: u32,
        /// Recorders that were merged come back here.
        recycle: std_mpsc::Sender<Box<Recorder>>,
    },
    /// An interval is over.
    Interval { shard: u32, piece: Piece },
    /// The phase is over; the last, partial interval with it.
    Done {
        shard: u32,
        piece: Piece,
        report: ShardReport,
        ended: Ended,
        last_answer_ns: u64,
    },
}

/// Starts the thread of a shard.
pub(crate) fn spawn(
    shard: u32,
    commands: mpsc::UnboundedReceiver<Command>,
) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new()
        .name(format!("kperf-shard-{shard}"))
        .spawn(move || {
            if catch_unwind(AssertUnwindSafe(|| serve(shard, commands))).is_err() {
                tracing::error!(shard, "shard ended in a panic");
            }
        })
}

fn serve(shard: u32, commands: mpsc::UnboundedReceiver<Command>) {
    sharpen_thread_timers();
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(park::before_park)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(shard, %error, "no runtime");
            return;
        }
    };
    // A task of its own: the set polls the future it is blocked on at every turn, needed or not.
    let tasks = LocalSet::new();
    let served = tasks.spawn_local(obey(commands));
    if tasks.block_on(&runtime, served).is_err() {
        tracing::error!(shard, "shard ended in a panic");
    }
}

/// Does what it is told until nobody is left to tell it anything.
async fn obey(mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut lanes: Option<Lanes> = None;
    while let Some(command) = commands.recv().await {
        match command {
            Command::Connect {
                target,
                config,
                connections,
                reply,
            } => {
                let result = Lanes::open(target, &config, &connections).await;
                let result = result.map(|(opened, took)| {
                    lanes = Some(opened);
                    took
                });
                // The caller may have given up on hearing of another shard's failure.
                let _ = reply.send(result);
            }
            Command::Run(run) => {
                if let Some(lanes) = &lanes {
                    phase(*run, lanes).await;
                }
            }
        }
    }
    if let Some(lanes) = &lanes {
        lanes.close();
        // Lets the connections say goodbye.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Runs one phase; says how it went through `reports` whatever happens.
async fn phase(run: Run, lanes: &Lanes) {
    let shard = run.context.shard;
    let (recycle, recycled) = std_mpsc::channel();
    let prepared = prepare(&run, lanes).await;
    let (result, prepared) = match prepared {
        Ok((names, prepared)) => (Ok(names), Some(prepared)),
        Err(error) => (Err(error), None),
    };
    // Without a listener there is nobody to run for.
    let ready = Report::Ready {
        result,
        shard,
        recycle,
    };
    let is_heard = run.reports.send(ready).is_ok();
    let Some(Preparation {
        feed,
        templates,
        series,
    }) = prepared.filter(|_| is_heard)
    else {
        return;
    };
    let Ok(start) = run.go.await else {
        return;
    };
    let Run {
        plan,
        context,
        clients,
        stop,
        reports,
        ..
    } = run;
    let dispatch = dispatch(&plan, context, feed.owns_arrivals());
    let tick_ns = as_ns(plan.tick);
    let rules = Rules {
        deadline: plan.deadline,
        max_retries: plan.max_retries,
        late_after_ns: tick_ns.max(1_000_000),
        low_water: clients.len().min(MAX_PREFETCH),
    };
    let base = base_headers(&plan, &run.user_agent);
    let mut target_headers = lanes.target().headers.headers();
    let prefix: Arc<str> = lanes.target().path_prefix.as_str().into();
    let shapes = merge_headers(&templates, lanes.origin(), &base, &target_headers);
    let recorder = Box::new(Recorder::new(series, Kept::of(&plan)));
    let clock = PhaseClock::new(start);
    let phase = Rc::new(Phase::new(
        clock,
        rules,
        dispatch,
        feed,
        recorder,
        shapes,
        prefix,
        clients.len(),
    ));
    if let Err(error) = phase.reschedule() {
        phase.fail(error);
    }
    tokio::time::sleep_until(start.into()).await;
    let cpu_before = thread_cpu();
    park::configure(run.pile_up, lanes.used_by(&clients));
    let mut helpers = JoinSet::new();
    helpers.spawn_local(worker::feed(Rc::clone(&phase)));
    helpers.spawn_local(worker::pace(Rc::clone(&phase)));
    helpers.spawn_local(worker::sweep_deadlines(Rc::clone(&phase)));
    let mut workers = JoinSet::new();
    for (me, &client) in clients.iter().enumerate() {
        let Some(lane) = lanes.take(client) else {
            continue;
        };
        let work = worker::work(Rc::clone(&phase), me, lane);
        workers.spawn_local(async move { (client, work.await) });
    }
    let mut intervals = Intervals::new(&phase, lanes, recycled, series, Kept::of(&plan));
    let interval = plan.interval.max(SHORTEST_INTERVAL);
    let mut next_interval = start + interval;
    let mut next_headers = start + HEADERS_AGE;
    let grace = match plan.pace {
        Pace::Open { .. } => END_GRACE,
        Pace::Closed => Duration::ZERO,
    };
    let end = plan.duration.map(|duration| start + duration + grace);
    let mut stop = Some(stop);
    let mut was_interrupted = false;
    loop {
        tokio::select! {
            biased;
            done = workers.join_next() => match done {
                None => break,
                Some(Ok((client, lane))) => lanes.give_back(client, lane),
                Some(Err(error)) => phase.fail(SourceError {
                    code: "internal".to_owned(),
                    message: format!("a client ended in a panic, which is a fault of kperf-host: {error}"),
                }),
            },
            state = stopped(&mut stop) => match state {
                Some(StopState::Aborted) => {
                    was_interrupted = true;
                    phase.abort();
                    stop = None;
                }
                Some(_) => {
                    was_interrupted |= !phase.is_over();
                    phase.stop();
                }
                None => stop = None,
            },
            () = sleep_until(end.filter(|_| !phase.is_over())) => phase.end(),
            () = tokio::time::sleep_until(next_interval.into()) => {
                next_interval += interval;
                let piece = intervals.take(&phase, lanes);
                let _ = reports.send(Report::Interval { shard: context.shard, piece });
            }
            () = tokio::time::sleep_until(next_headers.into()) => {
                next_headers += HEADERS_AGE;
                let headers = lanes.target().headers.headers();
                if headers != target_headers {
                    *phase.templates.borrow_mut() = merge_headers(&templates, lanes.origin(), &base, &headers);
                    target_headers = headers;
                }
            }
        }
    }
    // All clients may have died; then nobody noticed the end.
    phase.end();
    helpers.shutdown().await;
    park::configure(Duration::ZERO, 1);
    let heard = phase.feed.borrow_mut().report();
    let ended = match (phase.take_failure(), heard) {
        (Some(error), _) | (None, Err(error)) => Ended::Failed(error),
        _ if was_interrupted => Ended::Interrupted,
        _ => Ended::Completed,
    };
    let piece = intervals.take(&phase, lanes);
    let cpu = thread_cpu();
    let report = ShardReport {
        shard: context.shard,
        cpu_user: cpu.0.saturating_sub(cpu_before.0),
        cpu_system: cpu.1.saturating_sub(cpu_before.1),
        wall: start.elapsed(),
        send_lag: intervals.send_lag,
    };
    let _ = reports.send(Report::Done {
        shard: context.shard,
        piece,
        report,
        ended,
        last_answer_ns: phase.last_answer_ns.get(),
    });
}

/// What came due just before a phase's end still leaves when this machine was late with it.
const END_GRACE: Duration = Duration::from_millis(20);
/// Requests kept ready for as many clients at most.
const MAX_PREFETCH: usize = 512;
/// Shorter intervals would measure themselves.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
/// Credentials are looked at so often.
const HEADERS_AGE: Duration = Duration::from_secs(1);

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// The next wish to stop; none when there will be no more.
async fn stopped(stop: &mut Option<watch::Receiver<StopState>>) -> Option<StopState> {
    let Some(receiver) = stop else {
        return std::future::pending().await;
    };
    // A wish from before the phase counts as well.
    if *receiver.borrow() != StopState::Running && receiver.has_changed().unwrap_or(false) {
        return Some(*receiver.borrow_and_update());
    }
    match receiver.changed().await {
        Ok(()) => Some(*receiver.borrow_and_update()),
        Err(_) => None,
    }
}

struct Preparation {
    feed: Feed,
    templates: Vec<Shape>,
    series: usize,
}

async fn prepare(run: &Run, lanes: &Lanes) -> Result<(Vec<Arc<str>>, Preparation), SourceError> {
    let source = guarded(|| (run.factory)(run.context))?;
    let (names, templates) = shapes(source.templates(), &lanes.target().path_prefix)?;
    let total = run.plan.total.map_or(u64::MAX, |total| {
        share(total, run.context.shard, run.context.shards)
    });
    let mut feed = Feed::new(source, total);
    let wanted = run.clients.len().min(MAX_PREFETCH);
    feed.refill()?;
    while feed.is_below(wanted) {
        feed.refill()?;
    }
    lanes
        .prepare(&run.clients)
        .await
        .map_err(|error| SourceError {
            code: "connect".to_owned(),
            message: error.to_string(),
        })?;
    let series = names.len();
    Ok((
        names,
        Preparation {
            feed,
            templates,
            series,
        },
    ))
}

fn dispatch(plan: &PhasePlan, context: ShardContext, owns_arrivals: bool) -> Dispatch {
    let ShardContext { shard, shards, .. } = context;
    let arrivals = if owns_arrivals {
        Some(Arrivals::Listed(Listed::default()))
    } else {
        match plan.pace {
            Pace::Closed => None,
            Pace::Open { rate_per_sec } => Some(Arrivals::Rate(ConstantRate::new(
                rate_per_sec,
                shard,
                shards,
            ))),
        }
    };
    Dispatch::new(
        arrivals,
        Limits {
            total: plan
                .total
                .map_or(u64::MAX, |total| share(total, shard, shards)),
            duration_ns: plan.duration.map_or(u64::MAX, as_ns),
            tick_ns: as_ns(plan.tick),
            max_backlog: share(plan.max_backlog, shard, shards),
        },
    )
}

/// CPU of this thread, user and system.
fn thread_cpu() -> (Duration, Duration) {
    #[cfg(target_os = "linux")]
    let who = UsageWho::RUSAGE_THREAD;
    #[cfg(not(target_os = "linux"))]
    let who = UsageWho::RUSAGE_SELF;
    let duration = |time: nix::sys::time::TimeVal| {
        Duration::from_secs(u64::try_from(time.tv_sec()).unwrap_or_default())
            + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or_default())
    };
    getrusage(who)
        .map(|usage| (duration(usage.user_time()), duration(usage.system_time())))
        .unwrap_or_default()
}
