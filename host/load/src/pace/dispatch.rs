//! Which arrival is handed out next: due arrivals, the bounded backlog, late and dropped ones.
//!
//! Pure logic: it is told the time and how many clients are free. Waiting arrivals are kept as ranges
//! of indices, so a backlog of a million costs nothing. When the backlog is full the newest arrivals
//! are dropped, as a queue in front of a server would, so that what waits longest is still measured.

use std::{collections::VecDeque, ops::Range};

use super::schedule::Arrivals;

/// The arrivals of one shard in one phase.
#[derive(Debug)]
pub(crate) struct Dispatch {
    /// None: closed loop, a request is due whenever a client is free.
    arrivals: Option<Arrivals>,
    /// Most arrivals of this shard.
    limit: u64,
    duration_ns: u64,
    tick_ns: u64,
    max_backlog: u64,
    /// First arrival that has not come due.
    next: u64,
    waiting: VecDeque<Range<u64>>,
    waiting_len: u64,
    intended: u64,
    dropped: u64,
}

/// An arrival handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) intended_ns: u64,
}

/// Limits of a shard's part of a phase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) total: u64,
    pub(crate) duration_ns: u64,
    pub(crate) tick_ns: u64,
    pub(crate) max_backlog: u64,
}

impl Dispatch {
    pub(crate) fn new(arrivals: Option<Arrivals>, limits: Limits) -> Self {
        Self {
            arrivals,
            limit: limits.total,
            duration_ns: limits.duration_ns,
            tick_ns: limits.tick_ns,
            max_backlog: limits.max_backlog,
            next: 0,
            waiting: VecDeque::new(),
            waiting_len: 0,
            intended: 0,
            dropped: 0,
        }
    }

    /// The times a source gives, when it owns them.
    pub(crate) fn arrivals_mut(&mut self) -> Option<&mut Arrivals> {
        self.arrivals.as_mut()
    }

    /// Takes note of what has come due by `now_ns`. `free` clients were free all along.
    fn come_due(&mut self, now_ns: u64, free: u64) {
        let Some(arrivals) = &self.arrivals else {
            return;
        };
        // With a tick, an arrival is released at the end of the tick it falls into.
        let now_ns = match self.tick_ns {
            0 => now_ns,
            // The phase's last tick is cut short by its end: what is due in it goes out at its own time.
            tick if (now_ns / tick + 1).saturating_mul(tick) >= self.duration_ns => now_ns,
            tick => now_ns / tick * tick,
        };
        // The phase's time is over for an arrival intended at its very end.
        let now_ns = now_ns.min(self.duration_ns.saturating_sub(1));
        let due = arrivals.due(now_ns).min(self.limit);
        if due <= self.next {
            return;
        }
        let new = due - self.next;
        let room = self
            .max_backlog
            .saturating_add(free)
            .saturating_sub(self.waiting_len);
        let admitted = new.min(room);
        if admitted > 0 {
            let end = self.next + admitted;
            match self.waiting.back_mut() {
                Some(last) if last.end == self.next => last.end = end,
                _ => self.waiting.push_back(self.next..end),
            }
        }
        self.waiting_len += admitted;
        self.intended += new;
        self.dropped += new - admitted;
        self.next = due;
        if self.waiting.is_empty() {
            self.forget();
        }
    }

    /// Whether something could be handed out now.
    pub(crate) fn is_due(&mut self, now_ns: u64, free: u64) -> bool {
        if self.arrivals.is_none() {
            return self.next < self.limit && now_ns < self.duration_ns;
        }
        self.come_due(now_ns, free);
        // What came due in time may leave a little late: the phase calls `end` when that is over.
        self.waiting_len > 0
    }

    /// Hands out the oldest arrival that is due; the caller has asked [`Self::is_due`].
    pub(crate) fn take(&mut self, now_ns: u64) -> Option<Arrival> {
        if self.arrivals.is_none() {
            if self.next >= self.limit {
                return None;
            }
            self.next += 1;
            self.intended += 1;
            return Some(Arrival {
                intended_ns: now_ns,
            });
        }
        let range = self.waiting.front_mut()?;
        let index = range.start;
        range.start += 1;
        if range.is_empty() {
            self.waiting.pop_front();
        }
        self.waiting_len -= 1;
        let intended_ns = self.arrivals.as_ref()?.intended_ns(index)?;
        self.forget();
        Some(Arrival { intended_ns })
    }

    fn forget(&mut self) {
        let oldest = self.waiting.front().map_or(self.next, |range| range.start);
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.forget_before(oldest);
        }
    }

    /// When the next arrival is to be released; none in a closed loop, at the end, or when unknown.
    pub(crate) fn next_release_ns(&self) -> Option<u64> {
        if self.next >= self.limit {
            return None;
        }
        let intended = self.arrivals.as_ref()?.intended_ns(self.next)?;
        if intended >= self.duration_ns {
            return None;
        }
        let tick_end = match self.tick_ns {
            0 => intended,
            tick => intended.div_ceil(tick).saturating_mul(tick),
        };
        Some(if tick_end >= self.duration_ns {
            intended
        } else {
            tick_end
        })
    }

    /// Nothing will be handed out any more, whatever the time.
    pub(crate) fn is_exhausted(&self) -> bool {
        if self.waiting_len > 0 {
            return false;
        }
        if self.next >= self.limit {
            return true;
        }
        match &self.arrivals {
            None => false,
            Some(arrivals) => match arrivals.intended_ns(self.next) {
                Some(intended) => intended >= self.duration_ns,
                None => match arrivals {
                    Arrivals::Rate(_) => false,
                    Arrivals::Listed(listed) => listed.is_ended(),
                },
            },
        }
    }

    /// Ends the handing out at `now_ns`: what came due and was not sent is dropped.
    pub(crate) fn end(&mut self, now_ns: u64) {
        // Arrivals of a tick that is not complete had their time all the same.
        self.tick_ns = 0;
        self.come_due(now_ns, 0);
        self.dropped += self.waiting_len;
        self.waiting.clear();
        self.waiting_len = 0;
        self.limit = self.limit.min(self.next);
    }

    /// Ends the handing out because there is nothing left to send: what waits was never meant.
    pub(crate) fn end_of_requests(&mut self) {
        self.intended -= self.waiting_len;
        self.waiting.clear();
        self.waiting_len = 0;
        self.limit = self.limit.min(self.next);
    }

    /// Arrivals that came due so far, and those dropped among them.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.intended, self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::schedule::{ConstantRate, Listed};

    const MS: u64 = 1_000_000;

    fn open(rate: f64, limits: Limits) -> Dispatch {
        Dispatch::new(Some(Arrivals::Rate(ConstantRate::new(rate, 0, 1))), limits)
    }

    fn limits() -> Limits {
        Limits {
            total: u64::MAX,
            duration_ns: u64::MAX,
            tick_ns: 0,
            max_backlog: u64::MAX,
        }
    }

    fn drain(dispatch: &mut Dispatch, now: u64, free: u64) -> Vec<u64> {
        let mut out = Vec::new();
        while dispatch.is_due(now, free) {
            out.push(dispatch.take(now).unwrap().intended_ns);
        }
        out
    }

    #[test]
    fn a_stall_makes_arrivals_late_and_keeps_their_times() {
        let mut dispatch = open(1000.0, limits());
        assert_eq!(drain(&mut dispatch, 0, 1), [0]);
        let late = drain(&mut dispatch, 5 * MS, 0);
        assert_eq!(late, [MS, 2 * MS, 3 * MS, 4 * MS, 5 * MS]);
        assert_eq!(dispatch.next_release_ns(), Some(6 * MS));
        assert_eq!(dispatch.counts(), (6, 0));
    }

    #[test]
    fn a_full_backlog_drops_the_newest() {
        let mut dispatch = open(
            1000.0,
            Limits {
                max_backlog: 2,
                ..limits()
            },
        );
        assert!(dispatch.is_due(3 * MS, 0)); // 0..=3 due, 0 and 1 wait, 2 and 3 dropped
        assert_eq!(dispatch.take(3 * MS).unwrap().intended_ns, 0);
        assert!(dispatch.is_due(4 * MS, 0)); // 4 fits again
        assert_eq!(drain(&mut dispatch, 4 * MS, 0), [MS, 4 * MS]);
        assert_eq!(dispatch.counts(), (5, 2));
    }

    #[test]
    fn a_free_client_needs_no_backlog() {
        let mut dispatch = open(
            1000.0,
            Limits {
                max_backlog: 0,
                ..limits()
            },
        );
        assert_eq!(drain(&mut dispatch, MS, 2), [0, MS]);
        assert_eq!(drain(&mut dispatch, 2 * MS, 0), [0_u64; 0]);
        assert_eq!(dispatch.counts(), (3, 1));
    }

    #[test]
    fn ticks_release_together_and_keep_intended_times() {
        let mut dispatch = open(
            10_000.0,
            Limits {
                tick_ns: MS,
                ..limits()
            },
        );
        assert_eq!(drain(&mut dispatch, 0, 99), [0]);
        assert_eq!(drain(&mut dispatch, MS - 1, 99), [0_u64; 0]);
        assert_eq!(dispatch.next_release_ns(), Some(MS));
        let tick = drain(&mut dispatch, MS, 99);
        assert_eq!(tick.len(), 10);
        assert_eq!(tick[0], 100_000);
    }

    #[test]
    fn duration_ends_the_handing_out_and_counts_what_was_not_sent() {
        let mut dispatch = open(
            1000.0,
            Limits {
                duration_ns: 10 * MS,
                ..limits()
            },
        );
        assert_eq!(drain(&mut dispatch, 4 * MS, 1).len(), 5);
        dispatch.end(10 * MS);
        assert!(!dispatch.is_due(10 * MS, 1));
        // 10 arrivals in [0, 10 ms): 5 sent, 5 dropped.
        assert_eq!(dispatch.counts(), (10, 5));
        assert!(dispatch.is_exhausted());
    }

    #[test]
    fn the_last_tick_goes_out_before_the_phase_ends() {
        let mut dispatch = open(
            10_000.0,
            Limits {
                tick_ns: MS,
                duration_ns: 3 * MS,
                ..limits()
            },
        );
        let mut sent = 0;
        while let Some(at) = dispatch.next_release_ns() {
            assert!(at < 3 * MS, "{at}");
            sent += drain(&mut dispatch, at, 99).len();
        }
        dispatch.end(3 * MS);
        assert_eq!((sent, dispatch.counts()), (30, (30, 0)));
    }

    #[test]
    fn total_is_exact_in_both_loops() {
        let limits = Limits {
            total: 3,
            ..limits()
        };
        let mut dispatch = open(1000.0, limits);
        assert_eq!(drain(&mut dispatch, 100 * MS, 0).len(), 3);
        assert!(dispatch.is_exhausted());
        let mut dispatch = Dispatch::new(None, limits);
        assert_eq!(drain(&mut dispatch, 7, 0), [7, 7, 7]);
        assert!(dispatch.is_exhausted());
        assert_eq!(dispatch.counts(), (3, 0));
    }

    #[test]
    fn listed_arrivals_end_when_the_source_says_so() {
        let mut listed = Listed::default();
        assert!(listed.extend(&[10, 20]));
        let mut dispatch = Dispatch::new(Some(Arrivals::Listed(listed)), limits());
        assert_eq!(drain(&mut dispatch, 15, 1), [10]);
        assert!(!dispatch.is_exhausted());
        assert_eq!(drain(&mut dispatch, 25, 1), [20]);
        assert!(!dispatch.is_exhausted());
        let Some(Arrivals::Listed(listed)) = dispatch.arrivals_mut() else {
            panic!("listed");
        };
        listed.end();
        assert!(dispatch.is_exhausted());
    }
}
