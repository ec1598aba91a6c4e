//! A place for one connection that outlives its sockets: stream budget, GOAWAY, redialling with backoff.
//!
//! Clients queue here for a stream, first come first served. A connection that got a GOAWAY or was
//! lost takes no new streams; a new one is dialled at once while the old one finishes what it has.
//! While there is none, each client that waits is told of each failed dial once.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::connection::Connection;
use crate::net::{
    dial::{ConnectError, Dialer, Stage, Stream},
    failure::Failure,
    redial::{ConnectionCounts, backoff},
};

/// A place for one connection.
#[derive(Debug)]
pub(crate) struct Slot {
    dialer: Rc<Dialer>,
    counts: Rc<ConnectionCounts>,
    live: RefCell<Option<Rc<Connection>>>,
    waiting: RefCell<VecDeque<Waiting>>,
    next_ticket: Cell<u64>,
    /// Dials failed so far, and the last failure.
    failed_dials: Cell<u64>,
    last_failure: RefCell<Option<Failure>>,
    is_closed: Cell<bool>,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    waker: Waker,
}

impl Slot {
    /// Opens the connection; returns how long it took.
    pub(crate) async fn open(
        dialer: Rc<Dialer>,
        counts: Rc<ConnectionCounts>,
    ) -> Result<(Rc<Self>, Duration), ConnectError> {
        let started = Instant::now();
        let slot = Rc::new(Self {
            dialer,
            counts,
            live: RefCell::new(None),
            waiting: RefCell::new(VecDeque::new()),
            next_ticket: Cell::new(0),
            failed_dials: Cell::new(0),
            last_failure: RefCell::new(None),
            is_closed: Cell::new(false),
        });
        slot.establish().await?;
        Ok((slot, started.elapsed()))
    }

    /// Dials, shakes hands, and waits for the answer to a PING: by then the server's SETTINGS are known.
    async fn establish(self: &Rc<Self>) -> Result<(), ConnectError> {
        let started = Instant::now();
        let dialed = self.dialer.dial().await?;
        let mut stream = dialed.stream;
        let connection = Rc::new(Connection::new(dialed.stamp));
        let shake = poll_fn(|cx| match connection.poll(&mut stream, cx) {
            Poll::Ready(lost) => Poll::Ready(Err(ConnectError::new(
                &dialed.address,
                Stage::Http2,
                &lost,
                lost.failure(false),
            ))),
            Poll::Pending if connection.is_established() => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        });
        self.dialer
            .within(started, Stage::Http2, &dialed.address, shake)
            .await?;
        *self.live.borrow_mut() = Some(Rc::clone(&connection));
        tokio::task::spawn_local(drive(Rc::clone(self), connection, stream));
        self.wake_next();
        Ok(())
    }

    /// Waits for a connection that takes a stream now: the caller opens it before it waits for anything
    /// else. Fails when a dial fails meanwhile.
    pub(crate) async fn acquire(&self) -> Result<Rc<Connection>, Failure> {
        if self.waiting.borrow().is_empty()
            && let Some(connection) = self.try_acquire()
        {
            return Ok(connection);
        }
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        let failed_before = self.failed_dials.get();
        let place = Place { slot: self, ticket };
        poll_fn(|cx| place.poll(cx, failed_before)).await
    }

    fn try_acquire(&self) -> Option<Rc<Connection>> {
        let live = self.live.borrow();
        live.as_ref().filter(|live| live.room() > 0).map(Rc::clone)
    }

    /// Wakes as many of those in front as there are free streams.
    pub(crate) fn wake_next(&self) {
        let waiting = self.waiting.borrow();
        if waiting.is_empty() {
            return;
        }
        let room = self.live.borrow().as_ref().map_or(0, |live| live.room());
        for waiting in waiting.iter().take(room) {
            waiting.waker.wake_by_ref();
        }
    }

    fn wake_all(&self) {
        for waiting in self.waiting.borrow().iter() {
            waiting.waker.wake_by_ref();
        }
    }

    /// Stops using a connection and dials another, once per connection.
    fn retire(self: &Rc<Self>, connection: &Rc<Connection>) {
        let is_current = self
            .live
            .borrow()
            .as_ref()
            .is_some_and(|current| Rc::ptr_eq(current, connection));
        if !is_current {
            return;
        }
        if connection.had_goaway() {
            self.counts.goaways.set(self.counts.goaways.get() + 1);
        }
        connection.retire();
        *self.live.borrow_mut() = None;
        if !self.is_closed.get() {
            tokio::task::spawn_local(redial(Rc::clone(self), connection.was_used.get()));
        }
    }

    /// No more connections: the run is over.
    pub(crate) fn close(&self) {
        self.is_closed.set(true);
        if let Some(connection) = self.live.borrow_mut().take() {
            connection.retire();
        }
    }
}

/// A place in the queue for a stream; leaving early lets the next one through.
struct Place<'a> {
    slot: &'a Slot,
    ticket: u64,
}

impl Place<'_> {
    fn poll(
        &self,
        cx: &mut Context<'_>,
        failed_before: u64,
    ) -> Poll<Result<Rc<Connection>, Failure>> {
        if self.slot.failed_dials.get() != failed_before {
            let failure = self.slot.last_failure.borrow().clone();
            return Poll::Ready(Err(
                failure.unwrap_or_else(|| Failure::connection("dial failed"))
            ));
        }
        let position = self.position();
        let room = self
            .slot
            .live
            .borrow()
            .as_ref()
            .map_or(0, |live| live.room());
        if position.unwrap_or_else(|| self.slot.waiting.borrow().len()) < room
            && let Some(connection) = self.slot.try_acquire()
        {
            self.leave();
            return Poll::Ready(Ok(connection));
        }
        let mut waiting = self.slot.waiting.borrow_mut();
        match position.and_then(|position| waiting.get_mut(position)) {
            Some(place) if place.waker.will_wake(cx.waker()) => {}
            Some(place) => place.waker = cx.waker().clone(),
            None => waiting.push_back(Waiting {
                ticket: self.ticket,
                waker: cx.waker().clone(),
            }),
        }
        Poll::Pending
    }

    fn position(&self) -> Option<usize> {
        let waiting = self.slot.waiting.borrow();
        // Tickets ascend along the queue.
        waiting
            .binary_search_by_key(&self.ticket, |waiting| waiting.ticket)
            .ok()
    }

    /// False when it had left before.
    fn leave(&self) -> bool {
        match self.position() {
            Some(position) => self.slot.waiting.borrow_mut().remove(position).is_some(),
            None => false,
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Who is served takes the room along: nobody behind has a better place than before.
        if self.leave() {
            self.slot.wake_next();
        }
    }
}

/// Drives a connection to its end, and notices at once when it will take no more streams.
async fn drive(slot: Rc<Slot>, connection: Rc<Connection>, mut stream: Stream) {
    let lost = poll_fn(|cx| {
        let result = connection.poll(&mut stream, cx);
        if result.is_ready() || !connection.is_usable() {
            slot.retire(&connection);
        } else {
            // Streams have ended, or SETTINGS have raised the limit.
            slot.wake_next();
        }
        result
    })
    .await;
    tracing::debug!(%lost, "connection over");
}

/// Dials until there is a connection again.
async fn redial(slot: Rc<Slot>, at_once: bool) {
    let mut attempt = 0;
    if !at_once {
        tokio::time::sleep(backoff(0)).await;
    }
    while !slot.is_closed.get() {
        match slot.establish().await {
            Ok(()) => {
                slot.counts.redials.set(slot.counts.redials.get() + 1);
                if slot.is_closed.get() {
                    slot.close();
                }
                return;
            }
            Err(error) => {
                tracing::debug!(%error, attempt, "redial failed");
                *slot.last_failure.borrow_mut() = Some(error.failure);
                slot.failed_dials.set(slot.failed_dials.get() + 1);
                slot.wake_all();
                tokio::time::sleep(backoff(attempt)).await;
                attempt += 1;
            }
        }
    }
}
