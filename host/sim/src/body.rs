//! Bodies of answers: whole, in shared parts, streamed by a watch, or broken on purpose.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::server::ConnectionState;

/// How long the first half of a body may travel before the cut: what is still queued then is lost.
const CUT_AFTER: Duration = Duration::from_millis(5);

/// The body of an answer.
pub(crate) enum Body {
    Whole(Bytes),
    Parts {
        parts: std::vec::IntoIter<Bytes>,
        left_bytes: u64,
    },
    Stream(Stream),
    Broken {
        first: Bytes,
        total_bytes: u64,
        end: BrokenEnd,
        timer: Option<Pin<Box<tokio::time::Sleep>>>,
    },
}

/// Chunks made one after another; `None` ends the body.
pub(crate) struct Stream {
    next: NextChunk,
}

type NextChunk = Pin<Box<dyn Future<Output = Option<(Bytes, Box<dyn ChunkSource>)>> + Send>>;

/// Makes chunks of a streamed body.
pub(crate) trait ChunkSource: Send {
    /// The next chunk and what makes the one after it.
    fn next(self: Box<Self>) -> NextChunk;
}

/// How a broken body ends.
pub(crate) enum BrokenEnd {
    /// The stream alone is cut.
    Truncate,
    /// The whole connection is reset.
    Reset(Arc<ConnectionState>),
}

/// Why a body stopped short.
#[derive(Debug, thiserror::Error)]
#[error("the simulator cut this answer short, as its faults ask")]
pub(crate) struct CutShort;

impl Body {
    pub(crate) fn parts(parts: Vec<Bytes>) -> Self {
        let left_bytes = parts.iter().map(|p| p.len() as u64).sum();
        Self::Parts {
            parts: parts.into_iter(),
            left_bytes,
        }
    }

    pub(crate) fn stream(source: Box<dyn ChunkSource>) -> Self {
        Self::Stream(Stream {
            next: source.next(),
        })
    }

    /// Length, unless it is a stream.
    pub(crate) fn len(&self) -> Option<u64> {
        match self {
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::Parts { left_bytes, .. } => Some(*left_bytes),
            Self::Stream(_) => None,
            Self::Broken { total_bytes, .. } => Some(*total_bytes),
        }
    }

    /// The first half of this body, then nothing good.
    pub(crate) fn broken(self, end: BrokenEnd) -> Self {
        let Some(total_bytes) = self.len() else {
            return Self::Broken {
                first: Bytes::new(),
                total_bytes: 1,
                end,
                timer: None,
            };
        };
        let bytes = match self {
            Self::Whole(bytes) => bytes,
            Self::Parts { parts, .. } => Bytes::from(parts.fold(Vec::new(), |mut all, part| {
                all.extend_from_slice(&part);
                all
            })),
            Self::Stream(_) | Self::Broken { .. } => Bytes::new(),
        };
        let half = bytes.len() / 2;
        Self::Broken {
            first: bytes.slice(..half),
            total_bytes,
            end,
            timer: None,
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        match &mut *self {
            Self::Whole(bytes) => {
                if bytes.is_empty() {
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))))
            }
            Self::Parts { parts, left_bytes } => match parts.next() {
                Some(part) => {
                    *left_bytes -= part.len() as u64;
                    Poll::Ready(Some(Ok(Frame::data(part))))
                }
                None => Poll::Ready(None),
            },
            Self::Stream(stream) => match stream.next.as_mut().poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => {
                    *self = Self::Whole(Bytes::new());
                    Poll::Ready(None)
                }
                Poll::Ready(Some((chunk, source))) => {
                    stream.next = source.next();
                    Poll::Ready(Some(Ok(Frame::data(chunk))))
                }
            },
            Self::Broken {
                first, end, timer, ..
            } => {
                if !first.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(std::mem::take(first)))));
                }
                let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(CUT_AFTER)));
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                match end {
                    BrokenEnd::Truncate => Poll::Ready(Some(Err(CutShort))),
                    BrokenEnd::Reset(connection) => {
                        connection.reset();
                        // The connection is dropped, and this with it.
                        Poll::Pending
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Parts { left_bytes, .. } => *left_bytes == 0,
            Self::Stream(_) | Self::Broken { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.len()
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
