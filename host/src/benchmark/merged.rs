//! The merged report of a runner group as phases of the run, as if this process had measured them.

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use hdrhistogram::Histogram;
use kperf_load::{
    measure::{self, Level, Verdict},
    request::SourceError,
    result::{Counters, Ended, FailedExchange, PhaseResult, Samples, Series, counter},
};
use kperf_runtime::report as doc;

use super::loads::phase_name;
use crate::report::MeasuredPhase;

/// Everything that the engine counts.
const COUNTERS: [&str; 10] = [
    counter::INTENDED,
    counter::SENT,
    counter::LATE,
    counter::DROPPED,
    counter::RETRIES,
    counter::WATCH_EVENTS,
    counter::GOAWAYS,
    counter::REDIALS,
    counter::RESENT,
    counter::FEED_STARVED,
];

/// The phases, called by their load.
pub(super) fn phases(load: &str, merged: &doc::Summary) -> Vec<MeasuredPhase> {
    let several = merged.phases.len() > 1;
    let level = match merged.verdict.as_str() {
        "certified" => Level::Certified,
        "invalid" => Level::Invalid,
        _ => Level::Suspect,
    };
    merged
        .phases
        .iter()
        .enumerate()
        .map(|(number, phase)| MeasuredPhase {
            result: result(phase_name(load, number, several), phase, merged),
            settings: phase
                .settings
                .iter()
                .map(|label| (label.key.clone(), label.value.clone()))
                .collect(),
            // The findings are the whole group's.
            verdict: Verdict {
                level,
                findings: Vec::new(),
            },
            metrics: Some(phase.metrics.clone()),
        })
        .collect()
}

fn result(name: String, phase: &doc::Phase, merged: &doc::Summary) -> PhaseResult {
    PhaseResult {
        name,
        start: UNIX_EPOCH + Duration::from_micros(phase.start_unix_us),
        length: Duration::from_nanos(phase.length_ns),
        series: phase.series.iter().map(series).collect(),
        counters: counters(&phase.counters),
        shards: Vec::new(),
        raw: phase.raw.as_ref().map(|raw| samples(raw, &phase.failures)),
        ended: ended(&phase.ended, merged),
    }
}

fn ended(text: &str, merged: &doc::Summary) -> Ended {
    match text {
        "completed" => Ended::Completed,
        "failed" => {
            let why = merged.findings.iter().find_map(|finding| {
                let code = finding.code.strip_prefix(FAILED)?;
                Some((code, &finding.message))
            });
            let (code, message) = why.map_or_else(
                || ("failed".to_owned(), "a runner's load failed".to_owned()),
                |(code, message)| (code.to_owned(), message.clone()),
            );
            Ended::Failed(SourceError { code, message })
        }
        _ => Ended::Interrupted,
    }
}

/// Findings of this kind say why a phase failed, and come with it.
pub(super) const FAILED: &str = "plugin/";

fn series(one: &doc::Series) -> Series {
    Series {
        name: one.name.clone(),
        response_time: times(&one.response_time),
        service_time: times(&one.service_time),
        sent: one.sent,
        succeeded: one.succeeded,
        failed: one.failed,
        received_bytes: one.received_bytes,
        errors: one
            .errors
            .iter()
            .map(|error| (error.name.clone(), error.value))
            .collect(),
        counters: counters(&one.counters),
    }
}

fn times(one: &doc::Histogram) -> Histogram<u64> {
    if one.count == 0 {
        return measure::time_histogram();
    }
    measure::decode(&one.hdr_v2_deflate).unwrap_or_else(|error| {
        // Runners of this version write them, and merging has read them.
        tracing::error!(%error, "times of a runner group are lost");
        measure::time_histogram()
    })
}

fn counters(all: &[doc::Counter]) -> Counters {
    let mut counters = BTreeMap::new();
    for one in all {
        if let Some(known) = COUNTERS.iter().find(|known| **known == one.name) {
            *counters.entry(*known).or_default() += one.value;
        }
    }
    counters
}

fn samples(raw: &doc::Samples, failures: &[doc::FailedExchange]) -> Samples {
    Samples {
        series: raw.series.clone(),
        intended: raw
            .intended_unix_us
            .iter()
            .map(|us| UNIX_EPOCH + Duration::from_micros(*us))
            .collect(),
        response_ns: raw.response_ns.clone(),
        service_ns: raw.service_ns.clone(),
        failure: raw.failure.clone(),
        failures: failures
            .iter()
            .map(|failure| FailedExchange {
                class: match failure.class.as_str() {
                    "http" => "http",
                    "http2-protocol" => "http2-protocol",
                    "connection" => "connection",
                    _ => "unknown",
                },
                status: u16::try_from(failure.status).unwrap_or_default(),
                message: failure.message.clone(),
            })
            .collect(),
    }
}
