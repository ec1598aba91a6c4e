//! What the tasks of a shard share during a phase, and the one place where arrivals, requests and free
//! clients meet: [`Phase::claim`].

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use tokio::sync::Notify;

use super::feed::{Feed, Item};
use crate::{
    measure::recorder::Recorder,
    net::{
        capture::Pointers,
        exchange::{Cancel, Common, Flight},
    },
    pace::{
        clock::{Clock as _, PhaseClock},
        dispatch::Dispatch,
        schedule::Arrivals,
    },
    request::{ExchangeKind, SourceError},
};

/// A template with everything that does not change from request to request.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) series: u32,
    pub(crate) common: Common,
    pub(crate) kind: ExchangeKind,
    pub(crate) pointers: Rc<Pointers>,
}

/// A request, its time, and whether its client had been waiting for it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) item: Item,
    pub(crate) intended_ns: u64,
    pub(crate) was_client_free: bool,
}

/// One client's place.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub(crate) flight: Flight,
    job: RefCell<Option<Job>>,
    waker: RefCell<Option<Waker>>,
    idle_since_ns: Cell<u64>,
}

/// What a phase holds its requests to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) deadline: Option<Duration>,
    pub(crate) max_retries: u32,
    /// More than this behind the intended time is late.
    pub(crate) late_after_ns: u64,
    /// Requests kept ready.
    pub(crate) low_water: usize,
}

/// State of a phase on one shard. Borrows are never held across an await.
pub(crate) struct Phase {
    pub(crate) clock: PhaseClock,
    pub(crate) rules: Rules,
    pub(crate) dispatch: RefCell<Dispatch>,
    pub(crate) feed: RefCell<Feed>,
    pub(crate) recorder: RefCell<Box<Recorder>>,
    pub(crate) templates: RefCell<Vec<Rc<Prepared>>>,
    pub(crate) path_prefix: Arc<str>,
    pub(crate) desks: Vec<Desk>,
    idle: RefCell<VecDeque<usize>>,
    /// Nothing is handed out any more.
    is_over: Cell<bool>,
    is_stopped: Cell<bool>,
    is_aborted: Cell<bool>,
    failure: RefCell<Option<SourceError>>,
    pub(crate) last_answer_ns: Cell<u64>,
    /// The pacer waits for a client to become free, not for a time.
    pub(crate) pacer_waits_for_client: Cell<bool>,
    pub(crate) pacer: Notify,
    pub(crate) feeder: Notify,
    stopping: Notify,
}

impl Phase {
    #[expect(
        clippy::too_many_arguments,
        reason = "one caller, and each is one part of a phase"
    )]
    pub(crate) fn new(
        clock: PhaseClock,
        rules: Rules,
        dispatch: Dispatch,
        feed: Feed,
        recorder: Box<Recorder>,
        templates: Vec<Rc<Prepared>>,
        path_prefix: Arc<str>,
        clients: usize,
    ) -> Self {
        Self {
            clock,
            rules,
            dispatch: RefCell::new(dispatch),
            feed: RefCell::new(feed),
            recorder: RefCell::new(recorder),
            templates: RefCell::new(templates),
            path_prefix,
            desks: std::iter::repeat_with(Desk::default)
                .take(clients)
                .collect(),
            idle: RefCell::default(),
            is_over: Cell::new(false),
            is_stopped: Cell::new(false),
            is_aborted: Cell::new(false),
            failure: RefCell::default(),
            last_answer_ns: Cell::new(0),
            pacer_waits_for_client: Cell::new(false),
            pacer: Notify::new(),
            feeder: Notify::new(),
            stopping: Notify::new(),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.get()
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.is_aborted.get()
    }

    pub(crate) fn has_idle_clients(&self) -> bool {
        !self.idle.borrow().is_empty()
    }

    pub(crate) fn take_failure(&self) -> Option<SourceError> {
        self.failure.borrow_mut().take()
    }

    /// Resolves when the run is stopped.
    pub(crate) async fn stopped(&self) {
        let stopping = self.stopping.notified();
        if !self.is_stopped.get() {
            stopping.await;
        }
    }

    /// The next request of a client; none when the phase has no more.
    pub(crate) async fn next_job(&self, me: usize) -> Option<Job> {
        let now_ns = self.clock.now_ns();
        let free = self.idle.borrow().len() as u64;
        if let Some((item, intended_ns)) = self.claim(now_ns, free) {
            return Some(Job {
                item,
                intended_ns,
                was_client_free: false,
            });
        }
        let desk = self.desks.get(me)?;
        if self.is_over.get() {
            return None;
        }
        desk.idle_since_ns.set(now_ns);
        self.idle.borrow_mut().push_back(me);
        if self.pacer_waits_for_client.get() {
            self.pacer.notify_one();
        }
        poll_fn(|cx| {
            if let Some(job) = desk.job.borrow_mut().take() {
                return Poll::Ready(Some(job));
            }
            if self.is_over.get() {
                return Poll::Ready(None);
            }
            let mut waker = desk.waker.borrow_mut();
            if !waker
                .as_ref()
                .is_some_and(|known| known.will_wake(cx.waker()))
            {
                *waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Gives due arrivals to clients that are free, first come first served.
    pub(crate) fn release(&self) {
        let now_ns = self.clock.now_ns();
        loop {
            let free = self.idle.borrow().len() as u64;
            if free == 0 {
                return;
            }
            let Some(me) = self.idle.borrow_mut().pop_front() else {
                return;
            };
            // Taken out of the queue before the claim: the last claim of a phase sends the queue home.
            let Some((item, intended_ns)) = self.claim(now_ns, free) else {
                if self.is_over.get() {
                    self.wake(me);
                } else {
                    self.idle.borrow_mut().push_front(me);
                }
                return;
            };
            let Some(desk) = self.desks.get(me) else {
                return;
            };
            *desk.job.borrow_mut() = Some(Job {
                item,
                intended_ns,
                was_client_free: desk.idle_since_ns.get() <= intended_ns,
            });
            self.wake(me);
        }
    }

    /// An arrival that is due, with a request to send for it.
    fn claim(&self, now_ns: u64, free: u64) -> Option<(Item, u64)> {
        if self.is_over.get() {
            return None;
        }
        if !self.dispatch.borrow_mut().is_due(now_ns, free) {
            self.end_if_exhausted();
            return None;
        }
        let mut item = self.feed.borrow_mut().take();
        if item.is_none() {
            if self.feed.borrow().is_over() {
                self.end_of_requests();
                return None;
            }
            if !self.feed.borrow().has_failed() {
                self.recorder.borrow_mut().counters.feed_starved += 1;
            }
            if !self.feed.borrow().is_dry() {
                self.refill();
                item = self.feed.borrow_mut().take();
            }
        }
        let Some(item) = item else {
            if self.feed.borrow().is_over() {
                self.end_of_requests();
            }
            return None;
        };
        let arrival = self.dispatch.borrow_mut().take(now_ns);
        let Some(arrival) = arrival else {
            self.feed.borrow_mut().untake(item);
            return None;
        };
        if self.is_feed_low() {
            self.feeder.notify_one();
        }
        self.end_if_exhausted();
        Some((item, arrival.intended_ns))
    }

    pub(crate) fn is_feed_low(&self) -> bool {
        self.feed.borrow().is_below(self.rules.low_water)
    }

    /// Asks the source for more, and for more arrival times when they are its own.
    pub(crate) fn refill(&self) {
        let result = self.feed.borrow_mut().refill();
        let result = result.and_then(|()| self.reschedule());
        if let Err(error) = result {
            self.fail(error);
        }
    }

    /// Keeps as many arrival times as there are requests ready.
    pub(crate) fn reschedule(&self) -> Result<(), SourceError> {
        let mut feed = self.feed.borrow_mut();
        if !feed.owns_arrivals() {
            return Ok(());
        }
        let mut dispatch = self.dispatch.borrow_mut();
        let Some(Arrivals::Listed(listed)) = dispatch.arrivals_mut() else {
            return Ok(());
        };
        while !listed.is_ended() && listed.len() < feed.len().max(1) {
            let times = feed.schedule()?;
            if times.is_empty() {
                listed.end();
            } else if !listed.extend(&times) {
                return Err(SourceError {
                    code: "malformed-schedule".to_owned(),
                    message: "arrival times must ascend over all calls of schedule".to_owned(),
                });
            }
        }
        Ok(())
    }

    fn end_if_exhausted(&self) {
        if self.dispatch.borrow().is_exhausted() {
            self.close();
        } else if self.feed.borrow().is_over() {
            self.end_of_requests();
        }
    }

    fn end_of_requests(&self) {
        if !self.is_over.get() {
            self.dispatch.borrow_mut().end_of_requests();
            self.close();
        }
    }

    /// Ends the handing out now: time is up, or it was stopped.
    pub(crate) fn end(&self) {
        if !self.is_over.get() {
            self.dispatch.borrow_mut().end(self.clock.now_ns());
            self.close();
        }
    }

    /// Ends the handing out because the source failed.
    pub(crate) fn fail(&self, error: SourceError) {
        self.failure.borrow_mut().get_or_insert(error);
        self.end();
    }

    /// Stopped from outside: what sleeps before a retry or holds a watch gives up.
    pub(crate) fn stop(&self) {
        self.is_stopped.set(true);
        self.end();
        self.stopping.notify_waiters();
    }

    /// Stopped, and what is in flight is given up.
    pub(crate) fn abort(&self) {
        self.is_aborted.set(true);
        self.stop();
        for desk in &self.desks {
            desk.flight.cancel(Cancel::Abort);
        }
    }

    fn close(&self) {
        self.is_over.set(true);
        self.pacer.notify_one();
        self.feeder.notify_one();
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        for me in idle {
            self.wake(me);
        }
    }

    fn wake(&self, me: usize) {
        if let Some(waker) = self
            .desks
            .get(me)
            .and_then(|desk| desk.waker.borrow().clone())
        {
            waker.wake();
        }
    }
}
