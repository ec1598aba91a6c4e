//! What comes back for one exchange: filled by the connection, awaited by the client.

use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
    time::Instant,
};

use super::{
    connection::{Connection, Lost},
    frame::ErrorCode,
    hpack::Response,
    machine::{End, Receiver},
};
use crate::net::{
    drain::{Drain, Step},
    exchange::{Answer, parse_retry_after, verdict},
    failure::{Class, Failure},
    socket::Stamp,
};

/// Made once per client, used for one exchange after the other.
#[derive(Debug, Default)]
pub(crate) struct Receipt {
    current: RefCell<Option<Current>>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Debug)]
struct Current {
    drain: Rc<RefCell<Drain>>,
    stamp: Rc<Stamp>,
    sent: Instant,
    /// The client wants to know of the headers, not only of the end.
    is_watch: bool,
    /// Status and receipt of the headers.
    head: Option<(u16, Instant)>,
    retry_after: Option<u64>,
    bytes: u64,
    end: Option<(Outcome, Instant)>,
}

#[derive(Debug)]
enum Outcome {
    End(End),
    Lost(Failure),
}

impl Receipt {
    /// A new exchange begins, on this connection.
    pub(crate) fn begin(
        &self,
        connection: &Connection,
        drain: &Rc<RefCell<Drain>>,
        sent: Instant,
        is_watch: bool,
    ) {
        *self.current.borrow_mut() = Some(Current {
            drain: Rc::clone(drain),
            stamp: Rc::clone(&connection.stamp),
            sent,
            is_watch,
            head: None,
            retry_after: None,
            bytes: 0,
            end: None,
        });
    }

    /// Waits for the headers of a success; false when it is over, or will be, without.
    pub(crate) async fn began_well(&self) -> bool {
        self.until(|current| {
            if current.end.is_some() {
                return Some(false);
            }
            current.head.map(|(status, _)| (200..300).contains(&status))
        })
        .await
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) {
        self.until(|current| current.end.as_ref().map(|_| ())).await;
    }

    async fn until<T: Default>(&self, is_there: impl Fn(&Current) -> Option<T>) -> T {
        poll_fn(|cx| {
            match self.current.borrow().as_ref() {
                None => return Poll::Ready(T::default()),
                Some(current) => {
                    if let Some(value) = is_there(current) {
                        return Poll::Ready(value);
                    }
                }
            }
            let mut waker = self.waker.borrow_mut();
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

    /// What came of the exchange, which is over or was held for as long as it should.
    pub(crate) fn answer(&self) -> Answer {
        let Some(current) = self.current.borrow_mut().take() else {
            return Answer::failed(Failure::unknown("no exchange"));
        };
        let status = current.head.map_or(0, |(status, _)| status);
        let is_success = (200..300).contains(&status);
        let drain = current.drain.borrow();
        let (failure, is_unprocessed) = match &current.end {
            // Held, and ended by us.
            None | Some((Outcome::End(End::Complete | End::Enough), _)) => {
                (verdict(status, &drain), false)
            }
            // kperf counts a status even when its body was cut off.
            Some(_) if status != 0 && !is_success => (Some(Failure::http(status)), false),
            Some((Outcome::Lost(failure), _)) => (Some(failure.clone()), false),
            Some((Outcome::End(end), _)) => {
                let (failure, is_unprocessed) = failed(*end);
                (Some(failure), is_unprocessed && status == 0)
            }
        };
        let ended = match (&current.head, &current.end) {
            // A watch is measured to its headers.
            (Some((_, at)), _) if current.is_watch && is_success => *at,
            (_, Some((_, at))) | (Some((_, at)), None) => *at,
            (None, None) => Instant::now(),
        };
        Answer {
            status,
            retry_after: current.retry_after,
            ended,
            bytes: current.bytes,
            failure,
            is_unprocessed,
        }
    }

    /// The connection is gone.
    pub(crate) fn lost(&self, lost: &Lost) {
        let began = self
            .current
            .borrow()
            .as_ref()
            .is_some_and(|current| current.head.is_some());
        // Nothing was received that would stamp it.
        self.finish(Outcome::Lost(lost.failure(began)), |_| Instant::now());
    }

    fn finish(&self, outcome: Outcome, at: impl FnOnce(&Current) -> Instant) {
        if let Some(current) = self.current.borrow_mut().as_mut() {
            current.end = Some((outcome, at(current)));
        }
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// How an end that is no answer counts, and whether the request may be sent again.
fn failed(end: End) -> (Failure, bool) {
    match end {
        End::Reset(code) => (
            Failure::new(Class::Http2Protocol, code.to_string()),
            code == ErrorCode::REFUSED_STREAM,
        ),
        End::Unprocessed => (
            Failure::new(
                Class::Http2Protocol,
                "GOAWAY before the request was processed",
            ),
            true,
        ),
        End::Malformed(violation) => (
            Failure::new(Class::Http2Protocol, violation.to_string()),
            false,
        ),
        End::WrongLength | End::Complete | End::Enough => {
            (Failure::connection("unexpected EOF"), false)
        }
    }
}

impl Receiver for Rc<Receipt> {
    fn head(&self, response: &Response<'_>) {
        let mut current = self.current.borrow_mut();
        let Some(current) = current.as_mut() else {
            return;
        };
        let at = current.stamp.received_after(current.sent);
        current.head = Some((response.status, at));
        if (200..300).contains(&response.status) {
            current
                .drain
                .borrow_mut()
                .begin(|| response.header("content-type"));
        } else {
            current.retry_after = response
                .header("retry-after")
                .and_then(|value| parse_retry_after(&value));
        }
        if current.is_watch {
            self.wake();
        }
    }

    fn data(&self, piece: &[u8]) -> Step {
        let mut current = self.current.borrow_mut();
        let Some(current) = current.as_mut() else {
            return Step::Done;
        };
        current.bytes += piece.len() as u64;
        match current.head {
            Some((200..300, _)) => current.drain.borrow_mut().take(piece),
            _ => Step::More,
        }
    }

    fn end(&self, end: End) {
        self.finish(Outcome::End(end), |current| {
            current.stamp.received_after(current.sent)
        });
    }
}
