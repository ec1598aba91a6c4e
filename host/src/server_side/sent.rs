//! The client's side of what is compared with the server's: how many requests of which kind were answered, and how soon.

use hdrhistogram::Histogram;
use kperf_cluster::server_metrics::RequestKey;
use kperf_load::measure;
use kperf_runtime::report as doc;

use super::classify::{Class, Classes, of_name};
use crate::report::MeasuredPhase;

/// One series.
#[derive(Clone, Debug)]
pub struct Sent {
    /// What its requests were for.
    pub(super) key: RequestKey,
    /// Answers that the server must have counted.
    pub(super) answered: u64,
    pub(super) succeeded: u64,
    pub(super) service: Histogram<u64>,
}

impl Sent {
    fn new<'a>(
        key: RequestKey,
        succeeded: u64,
        errors: impl Iterator<Item = (&'a str, u64)>,
        service: Histogram<u64>,
    ) -> Self {
        let refused: u64 = errors
            .filter(|(class, _)| only_of_api_server(class))
            .map(|(_, count)| count)
            .sum();
        Self {
            key,
            answered: succeeded + refused,
            succeeded,
            service,
        }
    }
}

/// What this process sent; series for several kinds of requests are left out.
#[must_use]
pub fn of_phases(phases: &[MeasuredPhase], classes: &Classes) -> Vec<Sent> {
    let series = phases.iter().flat_map(|phase| &phase.result.series);
    series
        .filter_map(|series| {
            let Some(Class::One(key)) = classes.of(&series.name) else {
                return None;
            };
            let errors = series.errors.iter();
            let errors = errors.map(|(class, count)| (class.as_str(), *count));
            let service = series.service_time.clone();
            Some(Sent::new(key, series.succeeded, errors, service))
        })
        .collect()
}

/// What others sent, from their report: series that are called as kperf calls them, by verb and path.
#[must_use]
pub fn of_report(series: &[doc::Series]) -> Vec<Sent> {
    series
        .iter()
        .filter_map(|series| {
            let key = of_name(&series.name)?;
            let errors = series.errors.iter();
            let errors = errors.map(|error| (error.name.as_str(), error.value));
            let service = measure::decode(&series.service_time.hdr_v2_deflate)
                .unwrap_or_else(|_| measure::time_histogram());
            Some(Sent::new(key, series.succeeded, errors, service))
        })
        .collect()
}

fn only_of_api_server(class: &str) -> bool {
    class
        .strip_prefix("http/")
        .and_then(|code| code.parse::<u16>().ok())
        .is_some_and(|code| (400..500).contains(&code) && !matches!(code, 401 | 403 | 429))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_others_are_not_counted() {
        for (class, counts) in [
            ("http/404", true),
            ("http/409", true),
            ("http/401", false),
            ("http/403", false),
            ("http/429", false),
            ("http/502", false),
            ("connection/dial timeout", false),
        ] {
            assert_eq!(only_of_api_server(class), counts, "{class}");
        }
    }
}
