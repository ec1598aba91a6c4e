//! Many changes at a pace.
//!
//! Open loop: the time of an action follows from its number (or is its own), whatever the server does.
//! An action that finds no place free is late, is sent as soon as there is one, and is counted.
//!
//! ```text
//! push → queue (1000 actions) → due? → place free? (in_flight) → operations, one after the other → record
//! ```

mod each;
mod pace;
mod record;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use kperf_load::{Stop, Timer, result::PhaseResult};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::{JoinHandle, JoinSet},
};

use crate::{
    api::{ApiFailure, Code},
    operation::Operation,
    session::Session,
};

pub use each::perform_each;
use pace::Pace;
use record::Record;

/// Actions that may wait to be started.
const QUEUE: usize = 1000;
/// Behind the intended time by more than this is late; as in the load engine.
const LATE_AFTER: Duration = Duration::from_millis(1);
/// Most actions at once: each has a connection.
const MAX_IN_FLIGHT: u32 = 10_000;
const IN_FLIGHT_PACED: u32 = 100;
const IN_FLIGHT_UNPACED: u32 = 10;

/// How a bulk runs.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkOptions {
    /// Name of its phase in the report.
    pub name: String,
    /// Actions a second; 0 = as fast as `in_flight` lets.
    pub rate_per_sec: f64,
    /// Actions that are due at once at the start; 0 is taken as 1.
    pub burst: u32,
    /// Most actions at once, each on a connection of its own; 0 = 100 with a pace, else 10.
    pub in_flight: u32,
    /// Actions bring their times themselves; `rate_per_sec` and `burst` are then not looked at.
    pub scheduled: bool,
    /// The first operation that fails for good ends the bulk.
    pub stop_on_failure: bool,
}

/// Operations that are done one after the other, as one unit of the pace. One that fails does not keep
/// the next from being tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Intended time from the first push, nanoseconds, ascending; only looked at when the bulk is `scheduled`.
    pub at_ns: u64,
    /// What to do.
    pub operations: Vec<Operation>,
}

/// What became of a bulk.
#[derive(Clone, Debug)]
pub struct BulkOutcome {
    /// Actions pushed; those that were never started are `dropped` in the phase's counters.
    pub actions: u64,
    /// Operations done.
    pub succeeded: u64,
    /// Operations that failed for good.
    pub failed: u64,
    /// Actions started late because `in_flight` was used up.
    pub late: u64,
    /// Tries after the first.
    pub retries: u64,
    /// First messages of each class of failures.
    pub messages: BTreeMap<String, Vec<String>>,
    /// What ended it early: `denied`, `interrupted`, or the failure that was to stop it.
    pub error: Option<ApiFailure>,
    /// Its measurements, as a phase of the report. Without shards: a bulk has no threads of its own.
    pub phase: PhaseResult,
}

/// A bulk under way. Dropping it cancels what is not done.
pub struct Bulk {
    name: String,
    scheduled: bool,
    queue: mpsc::Sender<Action>,
    last_at_ns: AtomicU64,
    shared: Arc<Shared>,
    dispatcher: Cancelled,
}

impl fmt::Debug for Bulk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulk")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

struct Cancelled(JoinHandle<()>);

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Shared {
    session: Arc<Session>,
    /// The bulk's own, when something ended it.
    halt: Stop,
    stop_on_failure: bool,
    record: Mutex<Record>,
}

impl Shared {
    fn end(&self, failure: &ApiFailure) {
        self.record
            .lock()
            .error
            .get_or_insert_with(|| failure.clone());
        self.halt.stop();
    }

    async fn ended(&self) {
        tokio::select! {
            () = self.halt.stopped() => {}
            () = self.session.stop().stopped() => {}
        }
    }

    fn is_ended(&self) -> bool {
        self.halt.is_stopped() || self.session.stop().is_stopped()
    }

    /// Why no more can be pushed.
    fn reason(&self) -> ApiFailure {
        self.record
            .lock()
            .error
            .clone()
            .unwrap_or_else(ApiFailure::interrupted)
    }
}

impl Bulk {
    /// Starts it; its clock starts with the first push. Needs a tokio runtime.
    ///
    /// # Errors
    /// `invalid` for options that make no sense.
    pub fn start(session: &Arc<Session>, options: &BulkOptions) -> Result<Self, ApiFailure> {
        let rate = options.rate_per_sec;
        if !rate.is_finite() || rate < 0.0 {
            return Err(ApiFailure::invalid(format!(
                "the rate of bulk {:?} is {rate} actions a second; give a number from 0 (no pace)",
                options.name
            )));
        }
        if options.in_flight > MAX_IN_FLIGHT {
            return Err(ApiFailure::invalid(format!(
                "bulk {:?} asks for {} actions at once; at most {MAX_IN_FLIGHT} are possible",
                options.name, options.in_flight
            )));
        }
        let pace = Pace::new(rate, options.burst, options.scheduled);
        let in_flight = match (options.in_flight, pace) {
            (0, Pace::Unpaced) => IN_FLIGHT_UNPACED,
            (0, _) => IN_FLIGHT_PACED,
            (given, _) => given,
        };
        let shared = Arc::new(Shared {
            session: Arc::clone(session),
            halt: Stop::new(),
            stop_on_failure: options.stop_on_failure,
            record: Mutex::default(),
        });
        let (queue, actions) = mpsc::channel(QUEUE);
        let dispatcher = tokio::spawn(dispatch(Arc::clone(&shared), pace, in_flight, actions));
        Ok(Self {
            name: options.name.clone(),
            scheduled: options.scheduled,
            queue,
            last_at_ns: AtomicU64::new(0),
            shared,
            dispatcher: Cancelled(dispatcher),
        })
    }

    /// Hands over actions, in order; waits while a thousand of them have not been started.
    ///
    /// # Errors
    /// What ended the bulk: `denied`, `interrupted`, or the failure that was to stop it. `invalid` for
    /// times that do not ascend.
    pub async fn push(&self, actions: Vec<Action>) -> Result<(), ApiFailure> {
        for action in actions {
            if self.scheduled {
                let last = self.last_at_ns.fetch_max(action.at_ns, Ordering::Relaxed);
                if action.at_ns < last {
                    return Err(ApiFailure::invalid(format!(
                        "the actions of bulk {:?} must be pushed in the order of their times; {} ns comes after {last} ns",
                        self.name, action.at_ns
                    )));
                }
            }
            if self.shared.is_ended() {
                return Err(self.shared.reason());
            }
            // Counted when it is pushed, so that what is never started is known.
            self.shared.record.lock().actions += 1;
            if self.queue.send(action).await.is_err() {
                return Err(self.shared.reason());
            }
        }
        Ok(())
    }

    /// Waits until every action is done, or the bulk has ended early; what was done is there either way.
    pub async fn finish(self) -> BulkOutcome {
        let Self {
            name,
            queue,
            shared,
            mut dispatcher,
            ..
        } = self;
        drop(queue);
        if let Err(error) = (&mut dispatcher.0).await {
            shared.end(&ApiFailure::own(
                Code::Failed,
                format!("the bulk was lost: {error}"),
            ));
        }
        let mut record = std::mem::take(&mut *shared.record.lock());
        let is_short = record.started_actions < record.actions;
        if record.error.is_none() && (is_short || shared.session.stop().is_stopped()) {
            record.error = Some(ApiFailure::interrupted());
        }
        record.into_outcome(&name)
    }
}

async fn dispatch(
    shared: Arc<Shared>,
    pace: Pace,
    in_flight: u32,
    mut actions: mpsc::Receiver<Action>,
) {
    let timer = Timer::new();
    let places = Arc::new(Semaphore::new(in_flight as usize));
    let mut running = JoinSet::new();
    let mut start = None;
    for index in 0_u64.. {
        let action = tokio::select! {
            biased;
            () = shared.ended() => break,
            action = actions.recv() => match action {
                Some(action) => action,
                None => break,
            },
        };
        let start = *start.get_or_insert_with(|| {
            let now = Instant::now();
            shared.record.lock().start = Some((now, SystemTime::now()));
            now
        });
        let intended = pace
            .intended_ns(index, action.at_ns)
            .and_then(|ns| start.checked_add(Duration::from_nanos(ns)));
        let mut is_starved = false;
        if let Some(intended) = intended {
            is_starved = Instant::now() > intended + LATE_AFTER;
            tokio::select! {
                biased;
                () = shared.ended() => break,
                () = timer.sleep_until(intended) => {}
            }
        }
        let (place, waited) = match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => (place, false),
            Err(_) => tokio::select! {
                biased;
                () = shared.ended() => break,
                place = Arc::clone(&places).acquire_owned() => match place {
                    Ok(place) => (place, true),
                    // Nobody closes it.
                    Err(_) => break,
                },
            },
        };
        let is_late = waited && intended.is_some_and(|at| Instant::now() > at + LATE_AFTER);
        {
            let mut record = shared.record.lock();
            record.started_actions += 1;
            record.late += u64::from(is_late);
            record.starved += u64::from(is_starved && !is_late);
        }
        running.spawn(act(Arc::clone(&shared), action, intended, is_late, place));
        // Tasks that are done would pile up.
        while running.try_join_next().is_some() {}
    }
    // What nobody will start is not waited for.
    actions.close();
    drop(actions);
    while let Some(result) = running.join_next().await {
        if let Err(error) = result {
            shared.end(&ApiFailure::own(
                Code::Failed,
                format!("an action was lost: {error}"),
            ));
        }
    }
}

async fn act(
    shared: Arc<Shared>,
    action: Action,
    intended: Option<Instant>,
    is_late: bool,
    place: OwnedSemaphorePermit,
) {
    // Without a pace an operation is due when it can be sent.
    let mut due = intended;
    for operation in &action.operations {
        if shared.is_ended() {
            break;
        }
        match shared.session.perform(operation).await {
            Ok(performed) => {
                let intended = due.unwrap_or(performed.sent);
                let mut record = shared.record.lock();
                record.sent(&performed, intended, is_late);
                drop(record);
                // The next one is due as soon as this one is done.
                due = due.map(|_| performed.answered);
                if let Err(failure) = &performed.result
                    && (shared.stop_on_failure || failure.code == Code::Interrupted)
                {
                    shared.end(failure);
                }
            }
            Err(failure) if failure.code == Code::Interrupted => shared.end(&failure),
            Err(failure) => {
                shared.record.lock().unsent(&failure);
                if shared.stop_on_failure || failure.code == Code::Denied {
                    shared.end(&failure);
                }
            }
        }
    }
    drop(place);
}
