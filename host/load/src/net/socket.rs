//! A TCP socket that knows when the kernel received what it last read.
//!
//! Sits under TLS. Reads in pieces of up to 64 KiB into a buffer of its own (rustls takes 4 KiB at a
//! time, and a TLS record is up to 16 KiB), so that one system call brings many answers. The moment of
//! the newest read is kept in a [`Stamp`] that the exchanges of the connection look at.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    os::fd::AsRawFd,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Instant, SystemTime},
};

use tokio::{
    io::{AsyncBufRead, AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

/// When the newest bytes of a connection came in.
#[derive(Debug)]
pub(crate) struct Stamp {
    received: Cell<Instant>,
}

impl Stamp {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            received: Cell::new(Instant::now()),
        })
    }

    /// The newest receipt, but not before `sent`: an answer cannot precede its request.
    pub(crate) fn received_after(&self, sent: Instant) -> Instant {
        self.received.get().max(sent)
    }
}

/// The socket.
#[derive(Debug)]
pub(crate) struct Socket {
    io: TcpStream,
    buffer: Box<[u8]>,
    /// Unread part of the buffer.
    start: usize,
    end: usize,
    stamp: Rc<Stamp>,
    /// Room for the kernel's time stamp; empty = not asked for, or not supported.
    control: Vec<u8>,
}

impl Socket {
    /// Wraps a connected stream.
    pub(crate) fn new(stream: TcpStream, buffer_bytes: usize, kernel_timestamps: bool) -> Self {
        let control = if kernel_timestamps {
            kernel::enable(&stream)
        } else {
            Vec::new()
        };
        Self {
            io: stream,
            buffer: vec![0; buffer_bytes].into_boxed_slice(),
            start: 0,
            end: 0,
            stamp: Stamp::new(),
            control,
        }
    }

    pub(crate) fn stamp(&self) -> Rc<Stamp> {
        Rc::clone(&self.stamp)
    }
}

/// One read, and the moment it stands for.
fn receive(
    stream: &TcpStream,
    buffer: &mut [u8],
    control: &mut [u8],
    stamp: &Stamp,
) -> io::Result<usize> {
    let (count, kernel_time) = if control.is_empty() {
        (stream.try_read(buffer)?, None)
    } else {
        stream.try_io(Interest::READABLE, || {
            kernel::receive(stream.as_raw_fd(), buffer, control)
        })?
    };
    let now = Instant::now();
    // One pair of clock reads turns the kernel's wall time into ours; a wall clock that was set back
    // meanwhile gives an age of zero.
    let age = kernel_time.and_then(|time| SystemTime::now().duration_since(time).ok());
    let received = age.and_then(|age| now.checked_sub(age)).unwrap_or(now);
    stamp.received.set(received);
    Ok(count)
}

impl AsyncBufRead for Socket {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        while this.start == this.end {
            ready!(this.io.poll_read_ready(cx))?;
            match receive(&this.io, &mut this.buffer, &mut this.control, &this.stamp) {
                Ok(0) => return Poll::Ready(Ok(&[])),
                Ok(count) => {
                    // A short read emptied the socket: the next one would only say so. What arrives
                    // after it raises a new edge.
                    if count < this.buffer.len() {
                        let empty = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                        let _ = this.io.try_io(Interest::READABLE, empty);
                    }
                    (this.start, this.end) = (0, count);
                }
                // The readiness was old; the next turn waits.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let unread = this.buffer.get(this.start..this.end).unwrap_or_default();
        Poll::Ready(Ok(unread))
    }

    fn consume(self: Pin<&mut Self>, bytes: usize) {
        let this = self.get_mut();
        this.start = this.end.min(this.start + bytes);
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let unread = ready!(self.as_mut().poll_fill_buf(cx))?;
        let count = unread.len().min(out.remaining());
        out.put_slice(unread.get(..count).unwrap_or_default());
        self.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    //! Receive time stamps by SO_TIMESTAMPNS: each read says when its newest segment came in.

    use std::{
        io::{self, IoSliceMut},
        os::fd::RawFd,
        time::{Duration, SystemTime},
    };

    use nix::sys::{
        socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt::ReceiveTimestampns},
        time::TimeSpec,
    };
    use tokio::net::TcpStream;

    /// Room for the control message, or none when the kernel will not stamp.
    pub(super) fn enable(stream: &TcpStream) -> Vec<u8> {
        match setsockopt(stream, ReceiveTimestampns, &true) {
            Ok(()) => nix::cmsg_space!(TimeSpec),
            Err(error) => {
                tracing::debug!(%error, "no receive time stamps from the kernel");
                Vec::new()
            }
        }
    }

    pub(super) fn receive(
        fd: RawFd,
        buffer: &mut [u8],
        control: &mut [u8],
    ) -> io::Result<(usize, Option<SystemTime>)> {
        let mut parts = [IoSliceMut::new(buffer)];
        let message = recvmsg::<()>(fd, &mut parts, Some(control), MsgFlags::empty())?;
        let time = message.cmsgs().ok().and_then(|mut messages| {
            messages.find_map(|message| match message {
                ControlMessageOwned::ScmTimestampns(time) => {
                    let seconds = u64::try_from(time.tv_sec()).ok()?;
                    let nanoseconds = u64::try_from(time.tv_nsec()).ok()?;
                    SystemTime::UNIX_EPOCH.checked_add(
                        Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds),
                    )
                }
                _ => None,
            })
        });
        Ok((message.bytes, time))
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::{io, os::fd::RawFd, time::SystemTime};

    use tokio::net::TcpStream;

    pub(super) fn enable(_: &TcpStream) -> Vec<u8> {
        Vec::new()
    }

    pub(super) fn receive(
        _: RawFd,
        _: &mut [u8],
        _: &mut [u8],
    ) -> io::Result<(usize, Option<SystemTime>)> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
