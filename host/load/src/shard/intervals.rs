//! Cuts a phase into intervals: each takes the recorder and leaves an empty one.

use std::sync::mpsc;

use hdrhistogram::Histogram;

use super::{lanes::Lanes, park, phase::Phase};
use crate::{
    measure::{
        histogram::{add, time_histogram},
        recorder::{Kept, Recorder},
    },
    pace::clock::Clock as _,
};

/// An interval of one shard.
pub(crate) struct Piece {
    pub(crate) index: u32,
    pub(crate) recorder: Box<Recorder>,
    pub(crate) in_flight: u64,
    /// From the phase's start.
    pub(crate) end_ns: u64,
}

/// Counters that only grow.
#[derive(Clone, Copy)]
struct Cumulated {
    intended: u64,
    dropped: u64,
    goaways: u64,
    redials: u64,
}

impl Cumulated {
    fn now(phase: &Phase, lanes: &Lanes) -> Self {
        let (intended, dropped) = phase.dispatch.borrow().counts();
        Self {
            intended,
            dropped,
            goaways: lanes.counts.goaways.get(),
            redials: lanes.counts.redials.get(),
        }
    }
}

/// Where the cutting stands.
pub(super) struct Intervals {
    index: u32,
    recycled: mpsc::Receiver<Box<Recorder>>,
    before: Cumulated,
    series: usize,
    kept: Kept,
    /// Of the whole phase.
    pub(super) send_lag: Histogram<u64>,
}

impl Intervals {
    pub(super) fn new(
        phase: &Phase,
        lanes: &Lanes,
        recycled: mpsc::Receiver<Box<Recorder>>,
        series: usize,
        kept: Kept,
    ) -> Self {
        Self {
            index: 0,
            recycled,
            before: Cumulated::now(phase, lanes),
            series,
            kept,
            send_lag: time_histogram(),
        }
    }

    /// Moves the recorder out and puts an empty one in its place.
    pub(super) fn take(&mut self, phase: &Phase, lanes: &Lanes) -> Piece {
        let fresh = self
            .recycled
            .try_recv()
            .unwrap_or_else(|_| Box::new(Recorder::new(self.series, self.kept)));
        let mut recorder = phase.recorder.replace(fresh);
        let now = Cumulated::now(phase, lanes);
        let before = std::mem::replace(&mut self.before, now);
        recorder.counters.intended = now.intended.saturating_sub(before.intended);
        recorder.counters.dropped = now.dropped.saturating_sub(before.dropped);
        recorder.counters.goaways = now.goaways.saturating_sub(before.goaways);
        recorder.counters.redials = now.redials.saturating_sub(before.redials);
        add(&mut self.send_lag, &recorder.send_lag);
        let piece = Piece {
            index: self.index,
            recorder,
            in_flight: u64::from(park::in_flight()),
            end_ns: phase.clock.now_ns(),
        };
        self.index += 1;
        piece
    }
}
