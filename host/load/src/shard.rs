//! One thread: a runtime, connections, a source, and the clients that bring them together.
//!
//! A shard owns all it touches while it runs. Commands come in between phases; during a phase only two
//! things leave it: a recorder per interval and a report at the end. Within a phase these tasks share
//! one [`phase::Phase`]: the pacer (releases arrivals when they are due), the feeder (keeps requests
//! ready), one worker per client (sends, waits, records), the sweeper (deadlines) and the runner
//! (intervals, stop, end).

pub(crate) mod feed;
pub(crate) mod intervals;
pub(crate) mod lanes;
pub(crate) mod park;
pub(crate) mod phase;
pub(crate) mod run;
pub(crate) mod shapes;
pub(crate) mod worker;
