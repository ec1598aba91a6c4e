//! Letting answers pile up before the sockets are read.
//!
//! The number of answers per read decides what a request costs. With four or more streams in flight per
//! connection, and no arrival due sooner, the thread sleeps a little before it waits for events, so
//! that one read brings several. With fewer in flight there is nothing to pile up and it would only cost.

use std::{
    cell::Cell,
    thread,
    time::{Duration, Instant},
};

/// Mean streams in flight per connection from which it pays.
const FEWEST_IN_FLIGHT: u32 = 4;
/// The sleep ends so much before an arrival, for the way back to the timer.
const MARGIN: Duration = Duration::from_micros(30);
/// Shorter sleeps cost more than they gather.
const SHORTEST: Duration = Duration::from_micros(10);

/// What the hook needs to know; the shard's tasks keep it current.
#[derive(Debug)]
pub(crate) struct Park {
    in_flight: Cell<u32>,
    connections: Cell<u32>,
    pile_up: Cell<Duration>,
    next_due: Cell<Option<Instant>>,
}

thread_local! {
    // The hook gets no arguments and runs on the shard's thread, so its state is the thread's.
    static PARK: Park = const {
        Park {
            in_flight: Cell::new(0),
            connections: Cell::new(1),
            pile_up: Cell::new(Duration::ZERO),
            next_due: Cell::new(None),
        }
    };
}

/// Sets what holds for a phase.
pub(crate) fn configure(pile_up: Duration, connections: u32) {
    PARK.with(|park| {
        park.pile_up.set(pile_up);
        park.connections.set(connections.max(1));
        park.next_due.set(None);
    });
}

/// One exchange more, or less, is in flight.
pub(crate) fn departed() {
    PARK.with(|park| park.in_flight.set(park.in_flight.get() + 1));
}
pub(crate) fn arrived() {
    PARK.with(|park| park.in_flight.set(park.in_flight.get().saturating_sub(1)));
}

/// Exchanges in flight on this thread.
pub(crate) fn in_flight() -> u32 {
    PARK.with(|park| park.in_flight.get())
}

/// When the pacer next has something to release.
pub(crate) fn set_next_due(moment: Option<Instant>) {
    PARK.with(|park| park.next_due.set(moment));
}

/// Runs before the reactor waits for events.
pub(crate) fn before_park() {
    PARK.with(|park| {
        let pile_up = park.pile_up.get();
        if pile_up.is_zero() || park.in_flight.get() < FEWEST_IN_FLIGHT * park.connections.get() {
            return;
        }
        let until_due = park
            .next_due
            .get()
            .map(|due| due.saturating_duration_since(Instant::now()));
        if let Some(pause) = pause(pile_up, until_due) {
            thread::sleep(pause);
        }
    });
}

/// How long to sleep, given the time until the next arrival.
fn pause(pile_up: Duration, until_due: Option<Duration>) -> Option<Duration> {
    let pause = match until_due {
        None => pile_up,
        Some(until_due) => pile_up.min(until_due.saturating_sub(MARGIN)),
    };
    (pause >= SHORTEST).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrival_is_never_slept_over() {
        let us = Duration::from_micros;
        assert_eq!(pause(us(100), None), Some(us(100)));
        assert_eq!(pause(us(100), Some(us(5000))), Some(us(100)));
        assert_eq!(pause(us(100), Some(us(90))), Some(us(60)));
        assert_eq!(pause(us(100), Some(us(35))), None);
        assert_eq!(pause(us(100), Some(Duration::ZERO)), None);
    }
}
