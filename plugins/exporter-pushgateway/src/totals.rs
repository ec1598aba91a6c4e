//! What is known of a run at the moment of a push.
//!
//! Enters: intervals, one after another, or a whole phase. Leaves: totals by phase and series, the same shape
//! for both, so that a push on the way and the last one differ only in what is known. Bounded by the number of
//! series, not by the length of the run.

use std::collections::BTreeMap;

use kperf_sdk::Failure;

use crate::{latency::Latency, wit};

/// Totals of one phase.
#[derive(Debug, Default)]
pub(crate) struct PhaseTotals {
    pub(crate) length_ns: u64,
    /// By name.
    pub(crate) series: BTreeMap<String, SeriesTotals>,
    /// `late`, `dropped`, …
    pub(crate) counters: BTreeMap<String, u64>,
    /// Known at the end only.
    pub(crate) metrics: Vec<wit::Metric>,
}

/// Totals of one series.
#[derive(Debug, Default)]
pub(crate) struct SeriesTotals {
    pub(crate) labels: Vec<wit::Label>,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) received_bytes: u64,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) counters: BTreeMap<String, u64>,
    pub(crate) response_time: Latency,
    pub(crate) service_time: Latency,
}

/// By phase, in the order of their names.
pub(crate) type Totals = BTreeMap<String, PhaseTotals>;

/// Adds an interval to what its phase has so far.
///
/// # Errors
/// When a histogram cannot be read.
pub(crate) fn add_interval(
    totals: &mut Totals,
    interval: &wit::Interval,
    bounds: &[f64],
) -> Result<(), Failure> {
    let phase = totals.entry(interval.phase.clone()).or_default();
    phase.length_ns = phase.length_ns.saturating_add(interval.length_ns);
    add_counters(&mut phase.counters, &interval.counters);
    add_series(phase, &interval.series, bounds)
}

/// The totals of a run that is over.
///
/// # Errors
/// When a histogram cannot be read.
pub(crate) fn of_phases(phases: &[wit::Phase], bounds: &[f64]) -> Result<Totals, Failure> {
    let mut totals = Totals::new();
    for one in phases {
        let phase = totals.entry(one.name.clone()).or_default();
        phase.length_ns = phase.length_ns.saturating_add(one.length_ns);
        phase.metrics.extend(one.metrics.iter().cloned());
        add_counters(&mut phase.counters, &one.counters);
        add_series(phase, &one.series, bounds)?;
    }
    Ok(totals)
}

fn add_series(
    phase: &mut PhaseTotals,
    list: &[wit::Series],
    bounds: &[f64],
) -> Result<(), Failure> {
    for one in list {
        let series = phase.series.entry(one.name.clone()).or_default();
        if series.labels.is_empty() {
            series.labels.clone_from(&one.labels);
        }
        series.succeeded = series.succeeded.saturating_add(one.succeeded);
        series.failed = series.failed.saturating_add(one.failed);
        series.received_bytes = series.received_bytes.saturating_add(one.received_bytes);
        add_counters(&mut series.errors, &one.errors);
        add_counters(&mut series.counters, &one.counters);
        series
            .response_time
            .add(&Latency::read(&one.response_time, bounds)?);
        series
            .service_time
            .add(&Latency::read(&one.service_time, bounds)?);
    }
    Ok(())
}

fn add_counters(totals: &mut BTreeMap<String, u64>, counters: &[wit::Counter]) {
    for counter in counters {
        let total = totals.entry(counter.name.clone()).or_default();
        *total = total.saturating_add(counter.value);
    }
}
