//! The seam between shards and protocols: a call goes in, an answer with its stamps comes out.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::{Pin, pin},
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, uri::PathAndQuery};

use super::{drain::Drain, failure::Failure, http2::Head};

/// What the requests of a template have in common.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) method: Method,
    /// With the target's path prefix.
    pub(crate) path: PathAndQuery,
    pub(crate) headers: HeaderMap,
    /// Method, origin and headers as HTTP/2 sends them.
    pub(crate) head: Head,
    pub(crate) body: Bytes,
}

/// One request, ready to go.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) common: &'a Common,
    /// Its own path and body, where they differ from the template's.
    pub(crate) own_path: Option<PathAndQuery>,
    pub(crate) own_body: Option<&'a Bytes>,
}

impl Call<'_> {
    pub(crate) fn path(&self) -> &PathAndQuery {
        self.own_path.as_ref().unwrap_or(&self.common.path)
    }

    pub(crate) fn body(&self) -> &Bytes {
        self.own_body.unwrap_or(&self.common.body)
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Answer {
    /// 0 without an answer.
    pub(crate) status: u16,
    /// Retry-After in whole seconds.
    pub(crate) retry_after: Option<u64>,
    /// When it was over: the receipt of the last byte, or the moment of giving up.
    pub(crate) ended: Instant,
    /// Bytes of body.
    pub(crate) bytes: u64,
    pub(crate) failure: Option<Failure>,
    /// The server has not seen the request, or says so: it may be sent again.
    pub(crate) is_unprocessed: bool,
}

impl Answer {
    /// An exchange that ended without an answer.
    pub(crate) fn failed(failure: Failure) -> Self {
        Self {
            status: 0,
            retry_after: None,
            ended: Instant::now(),
            bytes: 0,
            failure: Some(failure),
            is_unprocessed: false,
        }
    }
}

/// Integer Retry-After; dates are not retried, as in kperf.
pub(crate) fn parse_retry_after(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// The client whose exchange it is: told of the send, asked how long to hold.
pub(crate) trait Client {
    /// The request goes out now; the deadline runs from here.
    fn depart(&self) -> Instant;
    /// Holds a watch for a time, or until the run is stopped. The deadline does not run meanwhile.
    fn hold(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + '_>>;
}

/// Why an exchange is given up from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancel {
    Deadline,
    Abort,
}

/// The state of one client's exchange that others may look at and end.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    is_active: Cell<bool>,
    /// When waiting for a stream began, then when the request was sent.
    since: Cell<Option<Instant>>,
    sent: Cell<Option<Instant>>,
    cancel: Cell<Option<Cancel>>,
    waker: RefCell<Option<Waker>>,
}

impl Flight {
    pub(crate) fn begin(&self, now: Instant) {
        self.is_active.set(true);
        self.since.set(Some(now));
        self.sent.set(None);
        self.cancel.set(None);
    }

    /// The request goes out now. The actual send is the first one, if it is sent again at the server's
    /// wish: it is one request with one latency. True the first time.
    pub(crate) fn mark_sent(&self, now: Instant) -> bool {
        self.since.set(Some(now));
        let is_first = self.sent.get().is_none();
        if is_first {
            self.sent.set(Some(now));
        }
        is_first
    }

    /// The actual send, if it came to that.
    pub(crate) fn sent(&self) -> Option<Instant> {
        self.sent.get()
    }

    pub(crate) fn finish(&self) {
        self.is_active.set(false);
        self.since.set(None);
    }

    /// The deadline does not run while a retry is waited for or a watch is held.
    pub(crate) fn pause(&self) {
        self.since.set(None);
    }

    /// Waits for the server again, after a pause.
    pub(crate) fn resume(&self) {
        self.since.set(Some(Instant::now()));
    }

    /// Since when it has been waiting for the server or a stream; none when idle or paused.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since.get()
    }

    /// Gives the exchange up.
    pub(crate) fn cancel(&self, why: Cancel) {
        if self.is_active.get() && self.cancel.get().is_none() {
            self.cancel.set(Some(why));
            if let Some(waker) = self.waker.borrow().as_ref() {
                waker.wake_by_ref();
            }
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.get().is_some()
    }

    /// Runs an exchange until it is over or given up.
    pub(crate) async fn guard(&self, exchange: impl Future<Output = Answer>) -> Answer {
        let mut exchange = pin!(exchange);
        std::future::poll_fn(|cx| {
            // First: an answer that is there counts.
            let result = exchange.as_mut().poll(cx);
            if result.is_ready() {
                return result;
            }
            if let Some(why) = self.cancel.get() {
                return Poll::Ready(Answer::failed(match (why, self.sent.get()) {
                    (Cancel::Deadline, Some(_)) => Failure::deadline(),
                    (Cancel::Deadline, None) => Failure::no_stream_in_time(),
                    (Cancel::Abort, _) => Failure::aborted(),
                }));
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
}

/// How a response with this status ends: kperf counts 2xx alone as success.
pub(crate) fn verdict(status: u16, drain: &Drain) -> Option<Failure> {
    if (200..300).contains(&status) {
        drain.finish()
    } else {
        Some(Failure::http(status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_seconds_are_a_retry() {
        let with = |value: &str| parse_retry_after(value.as_bytes());
        assert_eq!(with("1"), Some(1));
        assert_eq!(with(" 10 "), Some(10));
        assert_eq!(with("1.5"), None);
        assert_eq!(with("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert_eq!(with("-1"), None);
        assert_eq!(parse_retry_after(&[0xff]), None);
    }
}
