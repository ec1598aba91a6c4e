//! The requests that are ready to be sent, fetched from the source before they are needed.
//!
//! The source is somebody else's code: whatever it returns is checked before it is used, and a panic in
//! it ends the phase, not the process.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::uri::PathAndQuery;

use crate::request::{Outcomes, Source, SourceError, parse_path};

/// Requests asked for at once: at first, at most, and of a source that wants outcomes (its answers are
/// the fresher the fewer are prefetched).
const FIRST_LIMIT: u32 = 64;
const MAX_LIMIT: u32 = 256;
const REACTIVE_LIMIT: u32 = 16;
const MIN_LIMIT: u32 = 8;
/// Paths and bodies kept ready: with large bodies, fewer requests are.
const MAX_READY_BYTES: usize = 16 << 20;
/// A call should not hold the thread longer than this.
pub(crate) const CALL_BUDGET: Duration = Duration::from_micros(200);
/// Outcomes kept at most until the source hears them.
const MAX_OUTCOMES: u32 = 256;

/// One request, as the source wants it.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) template: u32,
    pub(crate) path: Option<PathAndQuery>,
    pub(crate) body: Option<Bytes>,
    pub(crate) tag: u64,
}

impl Item {
    fn bytes(&self) -> usize {
        self.path.as_ref().map_or(0, |path| path.as_str().len())
            + self.body.as_ref().map_or(0, Bytes::len)
    }
}

/// What the source still has to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// It had nothing; it is asked again after the next outcomes, or after a while.
    Dry,
    Done,
}

/// The source of one shard and what it has given.
pub(crate) struct Feed {
    source: Box<dyn Source>,
    templates: usize,
    ready: VecDeque<Item>,
    ready_bytes: usize,
    state: State,
    limit: u32,
    /// Requests that may still be asked for.
    remaining: u64,
    wants_outcomes: bool,
    owns_arrivals: bool,
    outcomes: Outcomes,
    /// The source failed when asked ahead of need: what it had given before is sent first.
    failed: Option<SourceError>,
}

impl Feed {
    /// `total`: requests this shard will send at most.
    pub(crate) fn new(source: Box<dyn Source>, total: u64) -> Self {
        let wants_outcomes = source.wants_outcomes();
        Self {
            templates: source.templates().len(),
            owns_arrivals: source.owns_arrivals(),
            wants_outcomes,
            source,
            ready: VecDeque::new(),
            ready_bytes: 0,
            state: State::Open,
            limit: if wants_outcomes {
                REACTIVE_LIMIT
            } else {
                FIRST_LIMIT
            },
            remaining: total,
            outcomes: Outcomes::default(),
            failed: None,
        }
    }

    pub(crate) fn wants_outcomes(&self) -> bool {
        self.wants_outcomes
    }

    pub(crate) fn owns_arrivals(&self) -> bool {
        self.owns_arrivals
    }

    /// Nothing is ready and nothing will come.
    pub(crate) fn is_over(&self) -> bool {
        self.ready.is_empty() && !self.can_give() && self.failed.is_none()
    }

    fn can_give(&self) -> bool {
        self.state != State::Done && self.remaining > 0
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.ready.len()
    }

    /// Whether it should be refilled soon: below half a call, or below `low_water`, which a source that
    /// wants outcomes ignores.
    pub(crate) fn is_below(&self, low_water: usize) -> bool {
        let half = self.limit as usize / 2;
        let mark = if self.wants_outcomes {
            half
        } else {
            half.max(low_water)
        };
        self.state == State::Open
            && self.remaining > 0
            && self.ready.len() < mark
            && self.ready_bytes < MAX_READY_BYTES
    }

    /// The source had nothing when it was last asked.
    pub(crate) fn is_dry(&self) -> bool {
        self.state == State::Dry && self.remaining > 0
    }

    pub(crate) fn take(&mut self) -> Option<Item> {
        let item = self.ready.pop_front()?;
        self.ready_bytes -= item.bytes();
        Some(item)
    }

    /// Gives back an item that was not sent after all.
    pub(crate) fn untake(&mut self, item: Item) {
        self.ready_bytes += item.bytes();
        self.ready.push_front(item);
    }

    /// Tells what became of a request; the source hears it at the next refill.
    pub(crate) fn note(&mut self, outcome: &Outcome, captured: impl FnOnce(&mut Vec<u8>) -> usize) {
        let outcomes = &mut self.outcomes;
        outcomes.count += 1;
        outcomes.tag.push(outcome.tag);
        outcomes.template.push(outcome.template);
        outcomes.status.push(outcome.status);
        outcomes.service_ns.push(outcome.service_ns);
        outcomes.size.push(outcome.size);
        let length = captured(&mut outcomes.arena);
        outcomes
            .capture_len
            .push(u32::try_from(length).unwrap_or(0));
        if self.state == State::Dry {
            self.state = State::Open;
        }
    }

    /// Many outcomes wait to be heard.
    pub(crate) fn is_full_of_outcomes(&self) -> bool {
        self.outcomes.count >= MAX_OUTCOMES
    }

    /// Lets the source hear what became of its requests.
    pub(crate) fn report(&mut self) -> Result<(), SourceError> {
        if self.outcomes.count == 0 {
            return Ok(());
        }
        let outcomes = std::mem::take(&mut self.outcomes);
        guarded(|| self.source.observe(outcomes))
    }

    /// The same, once enough have come together.
    pub(crate) fn report_if_many(&mut self) -> Result<(), SourceError> {
        if self.is_full_of_outcomes() {
            self.report()
        } else {
            Ok(())
        }
    }

    /// Asks the source once for more. A failure is told when nothing is ready any more.
    pub(crate) fn refill(&mut self) -> Result<(), SourceError> {
        if self.failed.is_none()
            && let Err(error) = self.ask()
        {
            self.state = State::Done;
            self.failed = Some(error);
        }
        match (self.ready.is_empty(), &self.failed) {
            (true, Some(error)) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn ask(&mut self) -> Result<(), SourceError> {
        if self.wants_outcomes {
            self.report()?;
        }
        if !self.can_give() {
            return Ok(());
        }
        let limit = u32::try_from(self.remaining)
            .unwrap_or(u32::MAX)
            .min(self.limit);
        let started = Instant::now();
        let batch = guarded(|| self.source.next(limit))?;
        let took = started.elapsed();
        batch.check_limit(limit)?;
        batch.check_columns(self.templates)?;
        self.adapt(took, batch.count);
        self.remaining -= u64::from(batch.count);
        self.state = match (batch.done, batch.count) {
            (true, _) => State::Done,
            (false, 0) => State::Dry,
            (false, _) => State::Open,
        };
        let arena = Bytes::from(batch.arena);
        let mut start = 0;
        for row in 0..batch.count as usize {
            let at = |column: &[u32]| column.get(row).copied().unwrap_or_default();
            let path_end = start + at(&batch.path_len) as usize;
            let end = path_end + at(&batch.body_len) as usize;
            let path = if path_end > start {
                Some(parse_path(row, arena.slice(start..path_end))?)
            } else {
                None
            };
            let item = Item {
                template: at(&batch.template),
                path,
                body: (end > path_end).then(|| arena.slice(path_end..end)),
                tag: batch.tag.get(row).copied().unwrap_or_default(),
            };
            self.ready_bytes += item.bytes();
            self.ready.push_back(item);
            start = end;
        }
        Ok(())
    }

    /// Keeps a call within its budget.
    fn adapt(&mut self, took: Duration, count: u32) {
        if self.wants_outcomes {
            return;
        }
        if took > CALL_BUDGET {
            self.limit = (self.limit / 2).max(MIN_LIMIT);
        } else if took < CALL_BUDGET / 4 && count == self.limit {
            self.limit = (self.limit * 2).min(MAX_LIMIT);
        }
    }

    /// The next arrival times of a source that owns them.
    pub(crate) fn schedule(&mut self) -> Result<Vec<u64>, SourceError> {
        let times = guarded(|| self.source.schedule(MAX_LIMIT))?;
        if times.len() > MAX_LIMIT as usize {
            return Err(SourceError {
                code: "malformed-schedule".to_owned(),
                message: format!(
                    "{} arrival times came, but at most {MAX_LIMIT} were asked for",
                    times.len()
                ),
            });
        }
        Ok(times)
    }
}

/// What became of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) tag: u64,
    pub(crate) template: u32,
    pub(crate) status: u32,
    pub(crate) service_ns: u64,
    pub(crate) size: u64,
}

/// Calls foreign code; a panic in it becomes an error.
pub(crate) fn guarded<T>(call: impl FnOnce() -> Result<T, SourceError>) -> Result<T, SourceError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        Err(SourceError {
            code: "panic".to_owned(),
            message: format!("the source of requests panicked: {text}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{
        Batch, Template,
        tests::{Fixed, template},
    };

    struct Scripted(
        Vec<Template>,
        Box<dyn FnMut(u32) -> Result<Batch, SourceError>>,
    );

    impl Source for Scripted {
        fn templates(&self) -> &[Template] {
            &self.0
        }
        fn next(&mut self, limit: u32) -> Result<Batch, SourceError> {
            (self.1)(limit)
        }
    }

    fn scripted(next: impl FnMut(u32) -> Result<Batch, SourceError> + 'static) -> Feed {
        Feed::new(
            Box::new(Scripted(vec![template("a")], Box::new(next))),
            u64::MAX,
        )
    }

    #[test]
    fn paths_and_bodies_are_cut_from_the_arena() {
        let mut feed = scripted(|_| {
            Ok(Batch {
                count: 2,
                template: vec![],
                path_len: vec![2, 0],
                body_len: vec![3, 1],
                tag: vec![7, 8],
                arena: b"/xABCD".to_vec(),
                done: true,
            })
        });
        feed.refill().unwrap();
        let first = feed.take().unwrap();
        assert_eq!(first.path.unwrap().as_str(), "/x");
        assert_eq!((&first.body.unwrap()[..], first.tag), (&b"ABC"[..], 7));
        let second = feed.take().unwrap();
        assert!(second.path.is_none());
        assert_eq!(&second.body.unwrap()[..], b"D");
        assert!(feed.is_over());
    }

    #[test]
    fn large_bodies_are_not_hoarded() {
        let mut feed = scripted(|_| {
            Ok(Batch {
                count: 1,
                body_len: vec![5 << 20],
                arena: vec![b'x'; 5 << 20],
                ..Batch::default()
            })
        });
        let mut calls = 0;
        while feed.is_below(512) {
            feed.refill().unwrap();
            calls += 1;
        }
        assert_eq!(calls, 4);
        let item = feed.take().unwrap();
        assert!(feed.is_below(512));
        feed.untake(item);
        assert!(!feed.is_below(512));
    }

    #[test]
    fn a_panic_is_an_error() {
        let mut feed = scripted(|_| panic!("boom"));
        let error = feed.refill().unwrap_err();
        assert_eq!(error.code, "panic");
        assert!(error.message.contains("boom"));
    }

    #[test]
    fn what_was_given_before_a_failure_is_sent_first() {
        let mut calls = 0;
        let mut feed = scripted(move |_| {
            calls += 1;
            assert_eq!(calls, 1, "trapped");
            Ok(Batch {
                count: 2,
                ..Batch::default()
            })
        });
        feed.refill().unwrap();
        feed.refill().unwrap();
        assert!(!feed.is_below(99) && !feed.is_over());
        assert!(feed.take().is_some() && feed.take().is_some());
        assert!(!feed.is_over());
        assert_eq!(feed.refill().unwrap_err().code, "panic");
    }

    #[test]
    fn too_many_requests_are_refused() {
        let mut feed = scripted(|_| {
            Ok(Batch {
                count: 1_000_000,
                ..Batch::default()
            })
        });
        let error = feed.refill().unwrap_err();
        assert_eq!(error.code, "malformed-batch");
        assert!(error.message.contains("at most 64"));
    }

    #[test]
    fn no_more_is_asked_for_than_will_be_sent() {
        let mut feed = Feed::new(Box::new(Fixed::new(vec![template("a")], u64::MAX)), 70);
        feed.refill().unwrap();
        feed.refill().unwrap();
        assert_eq!(feed.len(), 70);
        feed.refill().unwrap();
        assert_eq!(feed.len(), 70);
        while feed.take().is_some() {}
        assert!(feed.is_over());
    }

    #[test]
    fn a_dry_source_is_asked_again_after_outcomes() {
        let mut feed = scripted(|_| Ok(Batch::default()));
        feed.refill().unwrap();
        assert!(feed.is_dry() && !feed.is_below(0) && !feed.is_over());
        let outcome = Outcome {
            tag: 1,
            template: 0,
            status: 200,
            service_ns: 5,
            size: 0,
        };
        feed.note(&outcome, |_| 0);
        assert!(feed.is_below(0));
    }

    #[test]
    fn reactive_sources_hear_before_they_give() {
        let source = Fixed::new(vec![template("a")], u64::MAX).reactive();
        let heard = source.heard();
        let mut feed = Feed::new(Box::new(source), u64::MAX);
        feed.refill().unwrap();
        assert_eq!(feed.len(), REACTIVE_LIMIT as usize);
        let outcome = Outcome {
            tag: 9,
            template: 0,
            status: 201,
            service_ns: 5,
            size: 3,
        };
        feed.note(&outcome, |arena| {
            arena.extend_from_slice(b"[1]");
            3
        });
        feed.refill().unwrap();
        assert_eq!(heard.borrow()[0].tag, [9]);
        assert_eq!(heard.borrow()[0].capture_len, [3]);
    }
}
