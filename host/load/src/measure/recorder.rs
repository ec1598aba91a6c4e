//! What one shard has measured since the last interval. Moved out whole once per interval and merged
//! off the shard; the boxes come back empty.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use hdrhistogram::Histogram;

use super::histogram::{add, time_histogram};
use crate::{
    net::failure::Failure,
    plan::PhasePlan,
    result::{FailedExchange, Samples, Series},
};

/// Distinct error keys kept per series; the rest is counted under [`OTHER_ERRORS`].
pub(crate) const MAX_ERROR_KEYS: usize = 64;
const OTHER_ERRORS: &str = "unknown/other";
/// Failed exchanges kept in full per interval and shard when raw samples are wanted; identical ones share an entry.
const MAX_RAW_FAILURES: usize = 4096;

/// Failed exchanges of a phase when they are all that is wanted.
const MAX_FAILED: usize = 100_000;

/// Which exchanges are kept one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Nothing,
    Failed,
    All,
}

impl Kept {
    pub(crate) fn of(plan: &PhasePlan) -> Self {
        if plan.raw {
            Self::All
        } else if plan.failures {
            Self::Failed
        } else {
            Self::Nothing
        }
    }
}

/// Measurements of one series.
#[derive(Debug, Default)]
pub(crate) struct SeriesRecord {
    /// Made at the first success: most of a histogram's memory is paid only by series in use.
    times: Option<Times>,
    pub(crate) sent: u64,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) received_bytes: u64,
    pub(crate) late: u64,
    pub(crate) retries: u64,
    pub(crate) watch_events: u64,
    errors: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Times {
    response: Histogram<u64>,
    service: Histogram<u64>,
}

impl SeriesRecord {
    /// One success.
    pub(crate) fn success(&mut self, response_ns: u64, service_ns: u64) {
        self.succeeded += 1;
        let times = self.times.get_or_insert_with(|| Times {
            response: time_histogram(),
            service: time_histogram(),
        });
        times.response.saturating_record(response_ns);
        times.service.saturating_record(service_ns);
    }

    /// One failure.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        self.failed += 1;
        count_error(&mut self.errors, failure.key(), 1);
    }

    fn is_untouched(&self) -> bool {
        self.sent == 0 && self.succeeded == 0 && self.failed == 0
    }

    fn clear(&mut self) {
        let times = self.times.take().map(|mut times| {
            times.response.reset();
            times.service.reset();
            times
        });
        *self = Self {
            times,
            ..Self::default()
        };
    }

    /// Adds this to the series of a result.
    pub(crate) fn add_to(&self, series: &mut Series) {
        if let Some(times) = &self.times {
            add(&mut series.response_time, &times.response);
            add(&mut series.service_time, &times.service);
        }
        series.sent += self.sent;
        series.succeeded += self.succeeded;
        series.failed += self.failed;
        series.received_bytes += self.received_bytes;
        for (key, count) in &self.errors {
            count_error(&mut series.errors, key.clone(), *count);
        }
        for (name, count) in [
            (crate::result::counter::LATE, self.late),
            (crate::result::counter::RETRIES, self.retries),
            (crate::result::counter::WATCH_EVENTS, self.watch_events),
        ] {
            if count > 0 {
                *series.counters.entry(name).or_default() += count;
            }
        }
    }
}

/// Counts an error under its key, or under the common one when there are too many keys.
pub(crate) fn count_error(errors: &mut BTreeMap<String, u64>, key: String, count: u64) {
    if errors.len() >= MAX_ERROR_KEYS && !errors.contains_key(&key) {
        *errors.entry(OTHER_ERRORS.to_owned()).or_default() += count;
    } else {
        *errors.entry(key).or_default() += count;
    }
}

/// Counters of a shard that belong to no series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardCounters {
    pub(crate) intended: u64,
    pub(crate) dropped: u64,
    pub(crate) goaways: u64,
    pub(crate) redials: u64,
    pub(crate) resent: u64,
    pub(crate) feed_starved: u64,
}

/// Everything a shard measured in an interval.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// By series index of the shard.
    pub(crate) series: Vec<SeriesRecord>,
    pub(crate) counters: ShardCounters,
    /// Actual behind intended send, when a client was free at the intended time.
    pub(crate) send_lag: Histogram<u64>,
    pub(crate) raw: Option<RawColumns>,
}

impl Recorder {
    pub(crate) fn new(series: usize, kept: Kept) -> Self {
        Self {
            series: std::iter::repeat_with(SeriesRecord::default)
                .take(series)
                .collect(),
            counters: ShardCounters::default(),
            send_lag: time_histogram(),
            raw: RawColumns::of(kept),
        }
    }

    /// Empties it for use in a later interval; keeps the memory.
    pub(crate) fn clear(&mut self) {
        for series in &mut self.series {
            if !series.is_untouched() {
                series.clear();
            }
        }
        self.counters = ShardCounters::default();
        self.send_lag.reset();
        if let Some(raw) = &mut self.raw {
            *raw = RawColumns {
                is_failed_only: raw.is_failed_only,
                ..RawColumns::default()
            };
        }
    }

    pub(crate) fn touched(&self) -> impl Iterator<Item = (usize, &SeriesRecord)> {
        self.series
            .iter()
            .enumerate()
            .filter(|(_, series)| !series.is_untouched())
    }
}

/// Every exchange of an interval, times from the phase's start.
#[derive(Debug, Default)]
pub(crate) struct RawColumns {
    /// Only those that failed, as far as there is room.
    is_failed_only: bool,
    series: Vec<u32>,
    intended_ns: Vec<u64>,
    response_ns: Vec<u64>,
    service_ns: Vec<u64>,
    failure: Vec<u32>,
    failures: Vec<FailedExchange>,
}

impl RawColumns {
    fn of(kept: Kept) -> Option<Self> {
        match kept {
            Kept::Nothing => None,
            Kept::Failed | Kept::All => Some(Self {
                is_failed_only: kept == Kept::Failed,
                ..Self::default()
            }),
        }
    }

    pub(crate) fn push(
        &mut self,
        series: u32,
        intended_ns: u64,
        response_ns: u64,
        service_ns: u64,
        failure: Option<&Failure>,
    ) {
        if self.is_failed_only && (failure.is_none() || self.series.len() >= MAX_FAILED) {
            return;
        }
        self.series.push(series);
        self.intended_ns.push(intended_ns);
        self.response_ns.push(response_ns);
        self.service_ns.push(service_ns);
        let failure = failure.map_or(0, |failure| {
            intern(&mut self.failures, failure.to_exchange())
        });
        self.failure.push(failure);
    }

    /// Appends to the samples of a phase; `series_of` maps the shard's series to the phase's.
    pub(crate) fn append_to(&self, samples: &mut Samples, series_of: &[u32], start: SystemTime) {
        let failures: Vec<u32> = self
            .failures
            .iter()
            .map(|failure| intern(&mut samples.failures, failure.clone()))
            .collect();
        for (row, &series) in self.series.iter().enumerate() {
            if self.is_failed_only && samples.series.len() >= MAX_FAILED {
                break;
            }
            let at = |column: &[u64]| column.get(row).copied().unwrap_or_default();
            let failure = match self.failure.get(row).copied().unwrap_or_default() {
                0 => 0,
                number => failures
                    .get(number as usize - 1)
                    .copied()
                    .unwrap_or_default(),
            };
            samples
                .series
                .push(series_of.get(series as usize).copied().unwrap_or_default());
            samples
                .intended
                .push(start + Duration::from_nanos(at(&self.intended_ns)));
            samples.response_ns.push(at(&self.response_ns));
            samples.service_ns.push(at(&self.service_ns));
            samples.failure.push(failure);
        }
    }
}

/// The number (from 1) of a failure in a list; identical ones share it, and a full list ends in `other`.
fn intern(failures: &mut Vec<FailedExchange>, failure: FailedExchange) -> u32 {
    if let Some(position) = failures.iter().rposition(|known| *known == failure) {
        return position as u32 + 1;
    }
    if failures.len() >= MAX_RAW_FAILURES {
        return failures.len() as u32;
    }
    failures.push(if failures.len() + 1 == MAX_RAW_FAILURES {
        FailedExchange {
            class: "unknown",
            status: 0,
            message: "other".to_owned(),
        }
    } else {
        failure
    });
    failures.len() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::failure::Class;

    #[test]
    fn error_keys_are_bounded() {
        let mut record = SeriesRecord::default();
        for i in 0..200 {
            record.failure(&Failure::new(Class::Unknown, format!("e{i}")));
        }
        let mut series = Series::empty("x");
        record.add_to(&mut series);
        assert_eq!(series.errors.len(), MAX_ERROR_KEYS + 1);
        assert_eq!(series.errors.values().sum::<u64>(), 200);
        assert_eq!(series.errors[OTHER_ERRORS], 200 - MAX_ERROR_KEYS as u64);
    }

    #[test]
    fn only_successes_enter_histograms() {
        let mut record = SeriesRecord::default();
        record.failure(&Failure::http(429));
        record.success(2_000, 1_000);
        let mut series = Series::empty("x");
        record.add_to(&mut series);
        assert_eq!(series.response_time.len(), 1);
        assert_eq!((series.succeeded, series.failed), (1, 1));
        assert_eq!(series.errors["http/429"], 1);
    }

    #[test]
    fn a_cleared_recorder_is_empty() {
        let mut recorder = Recorder::new(2, Kept::All);
        recorder.series[1].sent = 1;
        recorder.series[1].success(5_000, 4_000);
        recorder.send_lag.saturating_record(7);
        recorder.clear();
        assert_eq!(recorder.touched().count(), 0);
        let mut series = Series::empty("x");
        recorder.series[1].add_to(&mut series);
        assert_eq!(series.response_time.len(), 0);
        assert!(recorder.send_lag.is_empty());
    }

    #[test]
    fn raw_failures_are_shared_across_shards() {
        let mut columns = RawColumns::default();
        columns.push(0, 1, 2, 3, Some(&Failure::http(500)));
        columns.push(0, 4, 5, 6, None);
        columns.push(0, 7, 8, 9, Some(&Failure::http(500)));
        let mut samples = Samples::default();
        columns.append_to(&mut samples, &[3], SystemTime::UNIX_EPOCH);
        columns.append_to(&mut samples, &[4], SystemTime::UNIX_EPOCH);
        assert_eq!(samples.failures.len(), 1);
        assert_eq!(samples.failure, [1, 0, 1, 1, 0, 1]);
        assert_eq!(samples.series, [3, 3, 3, 4, 4, 4]);
    }
}
