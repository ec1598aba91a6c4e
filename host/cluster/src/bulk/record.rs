//! What a bulk measured, in the load engine's terms.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use kperf_load::{
    request::SourceError,
    result::{Counters, Ended, PhaseResult, Series, counter},
};

use super::BulkOutcome;
use crate::{
    api::{ApiFailure, Code},
    operation::Performed,
};

/// Messages kept of each class of failures.
const MAX_MESSAGES: usize = 20;
/// Classes kept apart, as in the load engine.
const MAX_CLASSES: usize = 64;
const OTHER_CLASSES: &str = "unknown/other";

/// Everything measured so far.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Intended start of the first action.
    pub(super) start: Option<(Instant, SystemTime)>,
    last_answer: Option<Instant>,
    series: BTreeMap<String, Series>,
    messages: BTreeMap<String, Vec<String>>,
    pub(super) actions: u64,
    pub(super) started_actions: u64,
    pub(super) late: u64,
    pub(super) starved: u64,
    /// What ended the bulk early.
    pub(super) error: Option<ApiFailure>,
}

impl Record {
    /// An operation that was sent. `intended` is when it should have been.
    pub(super) fn sent(&mut self, performed: &Performed, intended: Instant, is_late: bool) {
        let ns = |from: Instant| {
            let time = performed.answered.saturating_duration_since(from);
            u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
        };
        let series = self
            .series
            .entry(performed.series.clone())
            .or_insert_with(|| Series::empty(&performed.series));
        series.sent += 1;
        for (name, count) in [
            (counter::RETRIES, u64::from(performed.retries)),
            (counter::LATE, u64::from(is_late)),
        ] {
            if count > 0 {
                *series.counters.entry(name).or_default() += count;
            }
        }
        match &performed.result {
            Ok(body) => {
                series.succeeded += 1;
                series.received_bytes += body.len() as u64;
                series.response_time.saturating_record(ns(intended));
                series.service_time.saturating_record(ns(performed.sent));
            }
            Err(failure) => {
                series.failed += 1;
                let class = bounded_class(&series.errors, &failure.class);
                *series.errors.entry(class).or_default() += 1;
                self.message(failure);
            }
        }
        self.last_answer = self.last_answer.max(Some(performed.answered));
    }

    /// An operation that could not be sent: counted where it would have gone is unknown.
    pub(super) fn unsent(&mut self, failure: &ApiFailure) {
        const NAME: &str = "not sent";
        let series = self
            .series
            .entry(NAME.to_owned())
            .or_insert_with(|| Series::empty(NAME));
        series.failed += 1;
        let class = bounded_class(&series.errors, &failure.class);
        *series.errors.entry(class).or_default() += 1;
        self.message(failure);
    }

    fn message(&mut self, failure: &ApiFailure) {
        if self.messages.len() >= MAX_CLASSES && !self.messages.contains_key(&failure.class) {
            return;
        }
        let messages = self.messages.entry(failure.class.clone()).or_default();
        if messages.len() < MAX_MESSAGES {
            messages.push(failure.message.clone());
        }
    }

    /// Operations that succeeded, and that failed.
    pub(super) fn progress(&self) -> (u64, u64) {
        self.series.values().fold((0, 0), |(done, failed), series| {
            (done + series.succeeded, failed + series.failed)
        })
    }

    pub(super) fn into_outcome(self, name: &str) -> BulkOutcome {
        let (start, start_time) = self
            .start
            .unwrap_or_else(|| (Instant::now(), SystemTime::now()));
        let length = self
            .last_answer
            .map_or(Duration::ZERO, |last| last.saturating_duration_since(start));
        let series: Vec<Series> = self.series.into_values().collect();
        let sum = |count: fn(&Series) -> u64| series.iter().map(count).sum::<u64>();
        let retries = |series: &Series| {
            series
                .counters
                .get(counter::RETRIES)
                .copied()
                .unwrap_or_default()
        };
        let counters: Counters = [
            (counter::INTENDED, self.actions),
            (counter::SENT, sum(|series| series.sent)),
            (counter::LATE, self.late),
            (
                counter::DROPPED,
                self.actions.saturating_sub(self.started_actions),
            ),
            (counter::RETRIES, sum(retries)),
            (counter::FEED_STARVED, self.starved),
        ]
        .into();
        let ended = match &self.error {
            Some(failure) if failure.code != Code::Interrupted => Ended::Failed(SourceError {
                code: failure.code.to_string(),
                message: failure.message.clone(),
            }),
            Some(_) => Ended::Interrupted,
            None => Ended::Completed,
        };
        BulkOutcome {
            actions: self.actions,
            succeeded: sum(|series| series.succeeded),
            failed: sum(|series| series.failed),
            late: self.late,
            retries: sum(retries),
            messages: self.messages,
            error: self.error,
            phase: PhaseResult {
                name: name.to_owned(),
                start: start_time,
                length,
                series,
                counters,
                shards: Vec::new(),
                raw: None,
                ended,
            },
        }
    }
}

fn bounded_class(errors: &BTreeMap<String, u64>, class: &str) -> String {
    if errors.len() >= MAX_CLASSES && !errors.contains_key(class) {
        OTHER_CLASSES.to_owned()
    } else {
        class.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn performed(sent: Instant, ms: u64, result: Result<&'static str, ApiFailure>) -> Performed {
        Performed {
            series: "POST /x".into(),
            sent,
            answered: sent + Duration::from_millis(ms),
            retries: 1,
            result: result.map(Into::into),
        }
    }

    #[test]
    fn two_clocks() {
        let start = Instant::now();
        let mut record = Record {
            start: Some((start, SystemTime::now())),
            actions: 2,
            started_actions: 2,
            ..Record::default()
        };
        let sent = start + Duration::from_millis(30);
        record.sent(&performed(sent, 10, Ok("abc")), start, true);
        let failure = ApiFailure {
            class: "http/409".into(),
            ..ApiFailure::own(Code::Conflict, "no")
        };
        record.sent(&performed(sent, 20, Err(failure)), start, false);
        let outcome = record.into_outcome("x");
        assert_eq!((outcome.succeeded, outcome.failed), (1, 1));
        assert_eq!(outcome.phase.length, Duration::from_millis(50));
        assert_eq!(outcome.phase.ended, Ended::Completed);
        let series = &outcome.phase.series[0];
        assert_eq!(series.response_time.max() / 1_000_000, 40);
        assert_eq!(series.service_time.max() / 1_000_000, 10);
        assert_eq!(series.errors["http/409"], 1);
        assert_eq!(series.counters[counter::LATE], 1);
        assert_eq!(outcome.retries, 2);
        assert_eq!(outcome.messages["http/409"], ["no"]);
    }

    #[test]
    fn messages_and_classes_are_bounded() {
        let mut record = Record::default();
        for i in 0..1000 {
            let failure = ApiFailure {
                class: format!("unknown/{}", i % 100),
                ..ApiFailure::own(Code::Failed, "m")
            };
            record.unsent(&failure);
        }
        let class = ApiFailure {
            class: "unknown/0".into(),
            ..ApiFailure::own(Code::Failed, "m")
        };
        for _ in 0..100 {
            record.unsent(&class);
        }
        let outcome = record.into_outcome("x");
        assert_eq!(outcome.failed, 1100);
        assert_eq!(outcome.messages["unknown/0"].len(), MAX_MESSAGES);
        assert_eq!(outcome.phase.series[0].errors.len(), MAX_CLASSES + 1);
    }
}
