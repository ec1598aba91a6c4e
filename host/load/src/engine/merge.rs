//! Puts the pieces of all shards together: an interval as soon as the last shard has delivered it, and
//! the whole phase from the intervals. Runs on the caller's thread, never on a shard's.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, mpsc},
    time::{Duration, SystemTime},
};

use crate::{
    measure::recorder::{Recorder, ShardCounters},
    plan::PhasePlan,
    request::SourceError,
    result::{Counters, Ended, Interval, PhaseResult, Samples, Series, ShardReport, counter},
    shard::{intervals::Piece, run::Report},
};

/// A phase in the making.
pub(crate) struct Merge {
    name: String,
    shards: u32,
    start: SystemTime,
    series: Vec<Series>,
    by_name: BTreeMap<Arc<str>, u32>,
    parts: BTreeMap<u32, Part>,
    pending: BTreeMap<u32, Pending>,
    next_index: u32,
    last_end_ns: u64,
    counters: ShardCounters,
    reports: Vec<ShardReport>,
    done: BTreeSet<u32>,
    last_answer_ns: u64,
    raw: Option<Samples>,
    ended: Ended,
}

/// A shard's side of it.
struct Part {
    /// Its series as the phase's.
    series: Vec<u32>,
    recycle: mpsc::Sender<Box<Recorder>>,
    /// Intervals delivered so far.
    delivered: u32,
}

/// An interval that some shards have not delivered yet.
#[derive(Default)]
struct Pending {
    series: BTreeMap<u32, Series>,
    counters: ShardCounters,
    in_flight: u64,
    end_ns: u64,
}

impl Merge {
    pub(crate) fn new(plan: &PhasePlan, shards: u32) -> Self {
        Self {
            name: plan.name.clone(),
            shards,
            start: SystemTime::now(),
            series: Vec::new(),
            by_name: BTreeMap::new(),
            parts: BTreeMap::new(),
            pending: BTreeMap::new(),
            next_index: 0,
            last_end_ns: 0,
            counters: ShardCounters::default(),
            reports: Vec::new(),
            done: BTreeSet::new(),
            last_answer_ns: 0,
            raw: (plan.raw || plan.failures).then(Samples::default),
            ended: Ended::Completed,
        }
    }

    /// A failure of a source, or of ours. The first one is told.
    pub(crate) fn fail(&mut self, error: SourceError) {
        if !self.has_failed() {
            self.ended = Ended::Failed(error);
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.ended, Ended::Failed(_))
    }

    pub(crate) fn started(&mut self, start: SystemTime) {
        self.start = start;
    }

    /// Series are merged by name, in the order of the templates of the first shard.
    pub(crate) fn add_shard(
        &mut self,
        shard: u32,
        names: &[Arc<str>],
        recycle: mpsc::Sender<Box<Recorder>>,
    ) {
        let mut series = Vec::with_capacity(names.len());
        for name in names {
            let next = self.series.len() as u32;
            let index = *self.by_name.entry(Arc::clone(name)).or_insert(next);
            if index == next {
                self.series.push(Series::empty(name));
            }
            series.push(index);
        }
        self.parts.insert(
            shard,
            Part {
                series,
                recycle,
                delivered: 0,
            },
        );
    }

    pub(crate) fn is_done(&self, shard: u32) -> bool {
        self.done.contains(&shard)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.done.len() >= self.shards as usize
    }

    pub(crate) fn take(&mut self, report: Report, on_interval: &mut dyn FnMut(Interval)) {
        match report {
            Report::Ready { .. } => {}
            Report::Interval { shard, piece } => self.add(shard, piece),
            Report::Done {
                shard,
                piece,
                report,
                ended,
                last_answer_ns,
            } => {
                self.add(shard, piece);
                self.reports.push(report);
                self.done.insert(shard);
                self.last_answer_ns = self.last_answer_ns.max(last_answer_ns);
                match ended {
                    Ended::Completed => {}
                    Ended::Interrupted if !self.has_failed() => self.ended = Ended::Interrupted,
                    Ended::Interrupted => {}
                    Ended::Failed(error) => self.fail(error),
                }
            }
        }
        self.emit(on_interval);
    }

    /// Adds a shard's interval to the phase's.
    fn add(&mut self, shard: u32, piece: Piece) {
        let Some(part) = self.parts.get_mut(&shard) else {
            return;
        };
        part.delivered = piece.index + 1;
        let mut recorder = piece.recorder;
        let pending = self.pending.entry(piece.index).or_default();
        for (number, record) in recorder.touched() {
            let Some(&index) = part.series.get(number) else {
                continue;
            };
            let Some(whole) = self.series.get(index as usize) else {
                continue;
            };
            let series = pending
                .series
                .entry(index)
                .or_insert_with(|| Series::empty(&whole.name));
            record.add_to(series);
        }
        add_counters(&mut pending.counters, recorder.counters);
        pending.in_flight += piece.in_flight;
        pending.end_ns = pending.end_ns.max(piece.end_ns);
        if let (Some(samples), Some(raw)) = (&mut self.raw, &recorder.raw) {
            raw.append_to(samples, &part.series, self.start);
        }
        recorder.clear();
        // The shard may be done and not want it.
        let _ = part.recycle.send(recorder);
    }

    /// Gives out the intervals that all shards have delivered.
    fn emit(&mut self, on_interval: &mut dyn FnMut(Interval)) {
        loop {
            let index = self.next_index;
            let is_whole = self
                .parts
                .iter()
                .all(|(shard, part)| part.delivered > index || self.done.contains(shard));
            if !is_whole {
                return;
            }
            let Some(pending) = self.pending.remove(&index) else {
                return;
            };
            for (&number, series) in &pending.series {
                if let Some(whole) = self.series.get_mut(number as usize) {
                    whole.merge(series);
                }
            }
            add_counters(&mut self.counters, pending.counters);
            let series: Vec<Series> = pending.series.into_values().collect();
            let begin_ns = std::mem::replace(&mut self.last_end_ns, pending.end_ns);
            self.next_index += 1;
            on_interval(Interval {
                phase: self.name.clone(),
                index,
                start: self.start + Duration::from_nanos(begin_ns),
                length: Duration::from_nanos(pending.end_ns.saturating_sub(begin_ns)),
                counters: counters(pending.counters, &series),
                series,
                in_flight: pending.in_flight,
            });
        }
    }

    /// The phase as far as it got.
    pub(crate) fn finish(mut self) -> PhaseResult {
        // Only when a shard died: what the others delivered still counts.
        self.done.extend(0..self.shards);
        self.emit(&mut |_| {});
        self.reports.sort_by_key(|report| report.shard);
        PhaseResult {
            name: self.name,
            start: self.start,
            length: Duration::from_nanos(self.last_answer_ns),
            counters: counters(self.counters, &self.series),
            series: self.series,
            shards: self.reports,
            raw: self.raw,
            ended: self.ended,
        }
    }
}

fn add_counters(into: &mut ShardCounters, from: ShardCounters) {
    into.intended += from.intended;
    into.dropped += from.dropped;
    into.goaways += from.goaways;
    into.redials += from.redials;
    into.resent += from.resent;
    into.feed_starved += from.feed_starved;
}

/// Phase counters by name; those of the series summed up. All are there, also at zero.
fn counters(shards: ShardCounters, series: &[Series]) -> Counters {
    let sum = |name| {
        series
            .iter()
            .map(|series| series.counters.get(name).copied().unwrap_or_default())
            .sum()
    };
    BTreeMap::from([
        (counter::INTENDED, shards.intended),
        (counter::SENT, series.iter().map(|series| series.sent).sum()),
        (counter::LATE, sum(counter::LATE)),
        (counter::DROPPED, shards.dropped),
        (counter::RETRIES, sum(counter::RETRIES)),
        (counter::GOAWAYS, shards.goaways),
        (counter::REDIALS, shards.redials),
        (counter::RESENT, shards.resent),
        (counter::FEED_STARVED, shards.feed_starved),
    ])
}
