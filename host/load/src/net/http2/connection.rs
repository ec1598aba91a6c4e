//! The machine of one connection with its socket: a task moves bytes between them, exchanges open
//! streams beside it.

use std::{
    cell::{Cell, RefCell},
    fmt, io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncBufRead as _, AsyncWrite as _};

use super::{
    machine::{GoAway, Machine, Violation},
    receipt::Receipt,
};
use crate::net::{
    dial::Stream,
    exchange::Call,
    failure::{Class, Failure},
    socket::Stamp,
};

/// Why a connection is over.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The server closed it after a goodbye.
    GoAway(GoAway),
    /// The server closed it without a word.
    Closed,
    Io(io::Error),
    /// The server broke a rule of the protocol.
    Violation(Violation),
}

impl Lost {
    /// What that means for an exchange; `began` when its headers had arrived.
    pub(crate) fn failure(&self, began: bool) -> Failure {
        match self {
            // The words of Go's client, which kperf counts by.
            Self::GoAway(goaway) => Failure::new(
                Class::Http2Protocol,
                format!(
                    "http2: server sent GOAWAY and closed the connection; ErrCode={}, debug={:?}",
                    goaway.code, goaway.debug
                ),
            ),
            Self::Closed => Failure::from_io(&io::ErrorKind::UnexpectedEof.into(), began),
            Self::Io(error) => Failure::from_io(error, began),
            Self::Violation(violation) => Failure::new(Class::Http2Protocol, violation.to_string()),
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GoAway(goaway) => write!(
                f,
                "the server said goodbye: {} {:?}",
                goaway.code, goaway.debug
            ),
            Self::Closed => f.write_str("the server closed the connection"),
            Self::Io(error) => error.fmt(f),
            Self::Violation(violation) => {
                write!(f, "the server broke HTTP/2's rules: {violation}")
            }
        }
    }
}

/// A connection as exchanges see it.
#[derive(Debug)]
pub(crate) struct Connection {
    machine: RefCell<Machine<Rc<Receipt>>>,
    pub(crate) stamp: Rc<Stamp>,
    /// It has carried a request: losing it is no sign of a server that refuses us.
    pub(crate) was_used: Cell<bool>,
    /// It gets no new streams and ends with its last one.
    is_retired: Cell<bool>,
    driver: RefCell<Option<Waker>>,
}

/// A stream; cancelled when dropped before its end.
#[derive(Debug)]
pub(crate) struct OpenStream<'a> {
    connection: &'a Connection,
    id: u32,
}

impl Drop for OpenStream<'_> {
    fn drop(&mut self) {
        let mut machine = self.connection.machine.borrow_mut();
        if machine.cancel(self.id) {
            drop(machine);
            self.connection.wake_driver();
        }
    }
}

impl Connection {
    pub(crate) fn new(stamp: Rc<Stamp>) -> Self {
        Self {
            machine: RefCell::new(Machine::new()),
            stamp,
            was_used: Cell::new(false),
            is_retired: Cell::new(false),
            driver: RefCell::new(None),
        }
    }

    /// Streams that may be opened now.
    pub(crate) fn room(&self) -> usize {
        self.machine.borrow().room()
    }

    pub(crate) fn is_established(&self) -> bool {
        self.machine.borrow().is_established()
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.machine.borrow().is_usable()
    }

    pub(crate) fn had_goaway(&self) -> bool {
        self.machine.borrow().goaway().is_some()
    }

    /// Takes no more streams and ends with the last one.
    pub(crate) fn retire(&self) {
        self.is_retired.set(true);
        self.wake_driver();
    }

    /// Sends a call. The caller has seen to it that there is room.
    pub(crate) fn open(&self, call: &Call<'_>, receipt: Rc<Receipt>) -> OpenStream<'_> {
        self.was_used.set(true);
        let id = self.machine.borrow_mut().open(
            &call.common.head,
            call.path().as_str().as_bytes(),
            call.body().clone(),
            call.common.method != http::Method::HEAD,
            receipt,
        );
        self.wake_driver();
        OpenStream {
            connection: self,
            id,
        }
    }

    fn wake_driver(&self) {
        if let Some(driver) = self.driver.borrow().as_ref() {
            driver.wake_by_ref();
        }
    }

    /// Moves bytes both ways until there is nothing to move. Ready when the connection is over: all
    /// exchanges have been told.
    pub(crate) fn poll(&self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<Lost> {
        {
            let mut driver = self.driver.borrow_mut();
            if !driver
                .as_ref()
                .is_some_and(|known| known.will_wake(cx.waker()))
            {
                *driver = Some(cx.waker().clone());
            }
        }
        let wrote = self.write(stream, cx);
        // Also when writing failed: what the server said before, a goodbye perhaps, is still to be read.
        let moved = self
            .read(stream, cx)
            .and(wrote)
            // Acknowledgements, and what is due to a new window.
            .and_then(|()| self.write(stream, cx));
        let lost = match moved {
            Err(lost) => lost,
            Ok(()) if self.is_retired.get() && self.machine.borrow().open_streams() == 0 => {
                self.machine.borrow_mut().say_goodbye(None);
                // Politeness only: what cannot be written now is not waited for.
                let _ = self.write(stream, cx);
                let _ = Pin::new(stream).poll_shutdown(cx);
                return Poll::Ready(Lost::Closed);
            }
            Ok(()) => return Poll::Pending,
        };
        let lost = self.explain(lost, stream, cx);
        let abandoned = self.machine.borrow_mut().abandon();
        for receipt in abandoned {
            receipt.lost(&lost);
        }
        Poll::Ready(lost)
    }

    fn read(&self, stream: &mut Stream, cx: &mut Context<'_>) -> Result<(), Lost> {
        loop {
            match Pin::new(&mut *stream).poll_fill_buf(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) => return Err(Lost::Io(error)),
                Poll::Ready(Ok([])) => return Err(Lost::Closed),
                Poll::Ready(Ok(bytes)) => {
                    let count = bytes.len();
                    let result = self.machine.borrow_mut().receive(bytes);
                    Pin::new(&mut *stream).consume(count);
                    result.map_err(Lost::Violation)?;
                }
            }
        }
    }

    fn write(&self, stream: &mut Stream, cx: &mut Context<'_>) -> Result<(), Lost> {
        let mut machine = self.machine.borrow_mut();
        while !machine.output().is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, machine.output()) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) => return Err(Lost::Io(error)),
                Poll::Ready(Ok(0)) => return Err(Lost::Io(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => machine.written(count),
            }
        }
        match Pin::new(stream).poll_flush(cx) {
            Poll::Ready(Err(error)) => Err(Lost::Io(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// A server that says goodbye and closes is lost to the goodbye; one that breaks a rule is told.
    fn explain(&self, lost: Lost, stream: &mut Stream, cx: &mut Context<'_>) -> Lost {
        let goaway = self.machine.borrow().goaway().cloned();
        match (lost, goaway) {
            (Lost::Violation(violation), _) => {
                self.machine.borrow_mut().say_goodbye(Some(violation));
                let _ = self.write(stream, cx);
                Lost::Violation(violation)
            }
            (_, Some(goaway)) => Lost::GoAway(goaway),
            (lost, None) => lost,
        }
    }
}
