//! One HTTP/2 connection that outlives its sockets: stream budget, GOAWAY, redialling with backoff.
//!
//! Clients queue here for a stream, first come first served. A connection that got a GOAWAY or was
//! lost takes no new streams; a new one is dialled at once while the old one finishes what it has.
//! While there is none, each client that waits is told of each failed dial once.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::{Connection, SendRequest};

use super::{
    dial::{ConnectError, Dialer, Stage, Stream},
    failure::Failure,
    socket::Stamp,
};

/// Our stream window: larger than any answer worth measuring apart, smaller than memory.
const STREAM_WINDOW_BYTES: u32 = 64 << 20;
/// Our connection window: never the limit, so that WINDOW_UPDATE is rare.
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;
/// Answers of servers with many headers still fit.
const MAX_HEADER_LIST_BYTES: u32 = 256 << 10;
/// A watch of many small events is no attack: we drain as we read.
const SMALL_FRAME_BUDGET_BYTES: usize = 256 << 20;
/// Pause after a failed dial, doubled up to the maximum.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(2);

/// Counts of a shard's connections since they were opened.
#[derive(Debug, Default)]
pub(crate) struct ConnectionCounts {
    pub(crate) goaways: Cell<u64>,
    pub(crate) redials: Cell<u64>,
}

/// The pause before dial `attempt` (from 0) after a loss.
pub(crate) fn backoff(attempt: u32) -> Duration {
    FIRST_BACKOFF
        .saturating_mul(1 << attempt.min(16))
        .min(MAX_BACKOFF)
}

/// The current connection of a slot.
#[derive(Debug)]
pub(crate) struct Live {
    send: RefCell<SendRequest<Bytes>>,
    in_flight: Cell<usize>,
    /// It has carried a request: losing it is no sign of a server that refuses us.
    was_used: Cell<bool>,
    pub(crate) stamp: Rc<Stamp>,
}

/// A place for one connection.
#[derive(Debug)]
pub(crate) struct Slot {
    dialer: Rc<Dialer>,
    counts: Rc<ConnectionCounts>,
    live: RefCell<Option<Rc<Live>>>,
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

/// The right to one stream of a connection, until dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    slot: Rc<Slot>,
    live: Rc<Live>,
}

impl Permit {
    pub(crate) fn stamp(&self) -> &Stamp {
        &self.live.stamp
    }

    /// Opens the stream.
    pub(crate) fn send(
        &self,
        request: http::Request<()>,
        is_end: bool,
    ) -> Result<(h2::client::ResponseFuture, h2::SendStream<Bytes>), h2::Error> {
        self.live.was_used.set(true);
        self.live.send.borrow_mut().send_request(request, is_end)
    }

    /// The connection takes no more streams: it said goodbye, or is gone.
    pub(crate) fn retire(&self, error: &h2::Error) {
        self.slot.retire(&self.live, error);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.live.in_flight.set(self.live.in_flight.get() - 1);
        self.slot.wake_next();
    }
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
        let address = dialed.address.clone();
        let http2_failed = |error: h2::Error| {
            ConnectError::new(
                &address,
                Stage::Http2,
                &error,
                Failure::from_h2(&error, false),
            )
        };
        let shake = async {
            let (send, mut connection) = h2::client::Builder::new()
                .initial_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .max_header_list_size(MAX_HEADER_LIST_BYTES)
                .data_frame_budget(SMALL_FRAME_BUDGET_BYTES)
                .enable_push(false)
                .handshake::<Stream, Bytes>(dialed.stream)
                .await
                .map_err(http2_failed)?;
            if let Some(mut ping) = connection.ping_pong() {
                let mut pong = std::pin::pin!(ping.ping(h2::Ping::opaque()));
                poll_fn(|cx| {
                    if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
                        return Poll::Ready(match result {
                            Err(error) => Err(http2_failed(error)),
                            Ok(()) => Err(ConnectError::new(
                                &address,
                                Stage::Http2,
                                "the server closed the connection",
                                Failure::connection("EOF"),
                            )),
                        });
                    }
                    pong.as_mut()
                        .poll(cx)
                        .map(|result| result.map(|_| ()).map_err(http2_failed))
                })
                .await?;
            }
            Ok((send, connection))
        };
        let (send, connection) = self
            .dialer
            .within(started, Stage::Http2, &address, shake)
            .await?;
        let live = Rc::new(Live {
            send: RefCell::new(send),
            in_flight: Cell::new(0),
            was_used: Cell::new(false),
            stamp: dialed.stamp,
        });
        *self.live.borrow_mut() = Some(Rc::clone(&live));
        tokio::task::spawn_local(drive(Rc::clone(self), live, connection));
        self.wake_next();
        Ok(())
    }

    /// Waits for a stream. Fails when a dial fails meanwhile.
    pub(crate) async fn acquire(self: &Rc<Self>) -> Result<Permit, Failure> {
        if self.waiting.borrow().is_empty()
            && let Some(permit) = self.try_acquire()
        {
            return Ok(permit);
        }
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        let failed_before = self.failed_dials.get();
        let place = Place { slot: self, ticket };
        poll_fn(|cx| place.poll(cx, failed_before)).await
    }

    fn try_acquire(self: &Rc<Self>) -> Option<Permit> {
        let live = self.live.borrow().as_ref().map(Rc::clone)?;
        if live.room() == 0 {
            return None;
        }
        live.in_flight.set(live.in_flight.get() + 1);
        Some(Permit {
            slot: Rc::clone(self),
            live,
        })
    }

    /// Wakes as many of those in front as there are free streams.
    fn wake_next(&self) {
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
    fn retire(self: &Rc<Self>, live: &Rc<Live>, error: &h2::Error) {
        let is_current = self
            .live
            .borrow()
            .as_ref()
            .is_some_and(|current| Rc::ptr_eq(current, live));
        if !is_current {
            return;
        }
        if error.is_go_away() && error.is_remote() {
            self.counts.goaways.set(self.counts.goaways.get() + 1);
        }
        tracing::debug!(%error, "connection retired");
        self.lost(live.was_used.get());
    }

    fn lost(self: &Rc<Self>, was_used: bool) {
        *self.live.borrow_mut() = None;
        if !self.is_closed.get() {
            tokio::task::spawn_local(redial(Rc::clone(self), was_used));
        }
    }

    /// No more connections: the run is over.
    pub(crate) fn close(&self) {
        self.is_closed.set(true);
        self.live.borrow_mut().take();
    }
}

impl Live {
    /// Streams that may be opened now.
    fn room(&self) -> usize {
        self.send
            .borrow()
            .current_max_send_streams()
            .saturating_sub(self.in_flight.get())
    }

    /// Whether the connection takes new streams; also notes the task to wake when that changes.
    fn poll_usable(&self, cx: &mut Context<'_>) -> Result<(), h2::Error> {
        match self.send.borrow_mut().poll_ready(cx) {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }
}

/// A place in the queue for a stream; leaving early lets the next one through.
struct Place<'a> {
    slot: &'a Rc<Slot>,
    ticket: u64,
}

impl Place<'_> {
    fn poll(&self, cx: &mut Context<'_>, failed_before: u64) -> Poll<Result<Permit, Failure>> {
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
            && let Some(permit) = self.slot.try_acquire()
        {
            self.leave();
            return Poll::Ready(Ok(permit));
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

    fn leave(&self) {
        if let Some(position) = self.position() {
            self.slot.waiting.borrow_mut().remove(position);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.leave();
        self.slot.wake_next();
    }
}

/// Drives a connection to its end, and notices at once when it will take no more streams.
async fn drive(slot: Rc<Slot>, live: Rc<Live>, mut connection: Connection<Stream, Bytes>) {
    let mut live = Some(live);
    poll_fn(|cx| {
        let result = Pin::new(&mut connection).poll(cx);
        if let Some(current) = &live {
            if let Err(error) = current.poll_usable(cx) {
                slot.retire(current, &error);
                // The last handle but those of open streams: the connection closes when they are done.
                live = None;
            } else {
                // SETTINGS may have raised the limit.
                slot.wake_next();
            }
        }
        if let (Poll::Ready(Err(error)), Some(current)) = (&result, &live) {
            slot.retire(current, error);
        }
        result.map(|_| ())
    })
    .await;
    if let Some(current) = live {
        let is_current = slot
            .live
            .borrow()
            .as_ref()
            .is_some_and(|known| Rc::ptr_eq(known, &current));
        if is_current {
            slot.lost(current.was_used.get());
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_two_seconds() {
        let pauses: Vec<u128> = (0..8).map(|attempt| backoff(attempt).as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(backoff(u32::MAX), MAX_BACKOFF);
    }
}
