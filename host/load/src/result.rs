//! What a phase measured. Histograms are whole, so results of shards, pods and days merge without loss.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use hdrhistogram::Histogram;

use crate::{
    measure::{
        histogram::{add, time_histogram},
        recorder::count_error,
    },
    request::SourceError,
};

/// Measurements of one kind of request.
#[derive(Clone, Debug)]
pub struct Series {
    /// As the template named it.
    pub name: String,
    /// Successes, from the intended send, nanoseconds.
    pub response_time: Histogram<u64>,
    /// Successes, from the actual send, nanoseconds.
    pub service_time: Histogram<u64>,
    /// Requests sent.
    pub sent: u64,
    /// 2xx, body read to its end.
    pub succeeded: u64,
    /// Everything else that was sent.
    pub failed: u64,
    /// Bytes of bodies received.
    pub received_bytes: u64,
    /// Failures by class: `http/429`, `connection/connection refused`, … bounded in number.
    pub errors: BTreeMap<String, u64>,
    /// Others by name: `late`, `retries`, `watch-events`.
    pub counters: BTreeMap<&'static str, u64>,
}

impl Series {
    /// One that has measured nothing yet.
    #[must_use]
    pub fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            response_time: time_histogram(),
            service_time: time_histogram(),
            sent: 0,
            succeeded: 0,
            failed: 0,
            received_bytes: 0,
            errors: BTreeMap::new(),
            counters: BTreeMap::new(),
        }
    }

    /// Adds what another one measured; the name stays.
    pub fn merge(&mut self, other: &Self) {
        add(&mut self.response_time, &other.response_time);
        add(&mut self.service_time, &other.service_time);
        self.sent += other.sent;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.received_bytes += other.received_bytes;
        for (key, count) in &other.errors {
            count_error(&mut self.errors, key.clone(), *count);
        }
        for (name, count) in &other.counters {
            *self.counters.entry(name).or_default() += count;
        }
    }
}

/// What happened around the requests, by name; see [`counter`] for the names.
pub type Counters = BTreeMap<&'static str, u64>;

/// Names of phase counters.
pub mod counter {
    /// Arrivals that came due.
    pub const INTENDED: &str = "intended";
    /// Requests sent (a retry is not another one).
    pub const SENT: &str = "sent";
    /// Sent more than max(1 ms, tick) after the intended time.
    pub const LATE: &str = "late";
    /// Arrivals never sent: the backlog was full, or the phase's time was over.
    pub const DROPPED: &str = "dropped";
    /// Retries after 429 and 5xx.
    pub const RETRIES: &str = "retries";
    /// Events of watch streams, in the counters of a series.
    pub const WATCH_EVENTS: &str = "watch-events";
    /// Connections that said GOAWAY.
    pub const GOAWAYS: &str = "goaways";
    /// Connections opened again during the phase.
    pub const REDIALS: &str = "redials";
    /// Requests sent again because the server said it had not processed them.
    pub const RESENT: &str = "resent";
    /// Times a request was due, a client free, and the source had nothing ready.
    pub const FEED_STARVED: &str = "feed-starved";
}

/// One interval, merged over shards. Series without a request are left out.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Name of the phase.
    pub phase: String,
    /// From 0 over the phase.
    pub index: u32,
    /// Wall clock at its start.
    pub start: SystemTime,
    /// Its length as measured.
    pub length: Duration,
    /// Series with at least one request.
    pub series: Vec<Series>,
    /// Phase counters within the interval.
    pub counters: Counters,
    /// Requests in flight at its end.
    pub in_flight: u64,
}

/// How a phase ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As planned.
    Completed,
    /// Stopped from outside.
    Interrupted,
    /// A source failed.
    Failed(SourceError),
}

/// What one shard says of itself.
#[derive(Clone, Debug)]
pub struct ShardReport {
    /// Number from 0.
    pub shard: u32,
    /// CPU of its thread, user and system, during the phase.
    pub cpu_user: Duration,
    /// System time.
    pub cpu_system: Duration,
    /// Wall time of the phase on this shard.
    pub wall: Duration,
    /// Intended to actual send when a client was free at the intended time: our own lag, nanoseconds.
    pub send_lag: Histogram<u64>,
}

/// Every exchange, as columns; only when [`crate::plan::PhasePlan::raw`] is set.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Index into [`PhaseResult::series`].
    pub series: Vec<u32>,
    /// Intended send time.
    pub intended: Vec<SystemTime>,
    /// From the intended send.
    pub response_ns: Vec<u64>,
    /// From the actual send.
    pub service_ns: Vec<u64>,
    /// 0 = success, else 1 + index into `failures`.
    pub failure: Vec<u32>,
    /// What went wrong.
    pub failures: Vec<FailedExchange>,
}

/// One failed exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedExchange {
    /// `http`, `http2-protocol`, `connection` or `unknown`.
    pub class: &'static str,
    /// HTTP status, 0 without one.
    pub status: u16,
    /// What was said; empty for `http`.
    pub message: String,
}

/// Everything a phase measured; there is always one, whatever went wrong.
#[derive(Clone, Debug)]
pub struct PhaseResult {
    /// Name of the phase.
    pub name: String,
    /// Wall clock at its start.
    pub start: SystemTime,
    /// First intended send to last answer.
    pub length: Duration,
    /// In the order of the templates, merged by name.
    pub series: Vec<Series>,
    /// Phase counters.
    pub counters: Counters,
    /// One per shard.
    pub shards: Vec<ShardReport>,
    /// Every exchange, when asked for.
    pub raw: Option<Samples>,
    /// How it ended.
    pub ended: Ended,
}
