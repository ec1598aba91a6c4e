//! What happens to the bytes of a body: counted, watched, or captured up to a bound. Never kept.

use super::{failure::Failure, watch::WatchScanner};
use crate::request::ExchangeKind;

/// So much of an answer is looked at for captures.
pub(crate) const MAX_CAPTURE_BYTES: usize = 1 << 20;

/// What a piece of body means for the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Go on reading.
    More,
    /// The exchange is over; what follows is not wanted.
    Done,
}

/// The consumer of one body after the other.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    kind: ExchangeKind,
    wants_capture: bool,
    captured: Vec<u8>,
    watch: Option<WatchScanner>,
}

impl Drain {
    /// A new exchange.
    pub(crate) fn reset(&mut self, kind: ExchangeKind, wants_capture: bool) {
        self.kind = kind;
        self.wants_capture = wants_capture;
        self.captured.clear();
        self.watch = None;
    }

    /// The headers of a 2xx are there; the content type is asked for only when it matters.
    pub(crate) fn begin(&mut self, content_type: impl FnOnce() -> Option<Vec<u8>>) {
        self.captured.clear();
        if self.kind != ExchangeKind::Request {
            self.watch = Some(WatchScanner::new(&content_type().unwrap_or_default()));
        }
    }

    /// What was captured of the body.
    pub(crate) fn captured(&self) -> &[u8] {
        &self.captured
    }

    /// A piece of a 2xx body.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Step {
        if self.wants_capture {
            let room = MAX_CAPTURE_BYTES.saturating_sub(self.captured.len());
            self.captured
                .extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
        }
        match &mut self.watch {
            None => Step::More,
            Some(watch) => {
                watch.take(bytes);
                let is_over = watch.failure().is_some()
                    || (self.kind == ExchangeKind::WatchList && watch.is_initial_end());
                if is_over { Step::Done } else { Step::More }
            }
        }
    }

    /// The body of a 2xx is over: whether that makes a success.
    pub(crate) fn finish(&self) -> Option<Failure> {
        let watch = self.watch.as_ref()?;
        if let Some(failure) = watch.failure() {
            return Some(failure.clone());
        }
        match self.kind {
            ExchangeKind::WatchList if !watch.is_initial_end() => {
                Some(Failure::unknown("don't receive bookmark"))
            }
            _ => None,
        }
    }

    /// Events seen on a watch.
    pub(crate) fn events(&self) -> u64 {
        self.watch.as_ref().map_or(0, WatchScanner::events)
    }
}
