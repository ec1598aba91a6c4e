//! When: from a phase's plan to the moment each request is due.
//!
//! In go the rate, the shard's number and the time; out come arrivals with their intended times.
//! Nothing is accumulated: the time of an arrival follows from its index alone, so a slow server, a
//! late wake-up or a paused process cannot shift the schedule. Times are nanoseconds from the phase's
//! start; [`clock`] is the only place that asks the operating system for them.

pub(crate) mod clock;
pub(crate) mod dispatch;
pub(crate) mod schedule;
pub(crate) mod timer;
