//! The client's side of what is compared with the server's: how many requests of which kind were answered, and how soon.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use kperf_cluster::server_metrics::RequestKey;
use kperf_load::measure;
use kperf_runtime::report as doc;

use super::classify::{Class, Classes, of_name};
use crate::report::MeasuredPhase;

/// What was sent, by what it was for.
#[derive(Debug, Default)]
pub struct Sent(pub(super) BTreeMap<RequestKey, Ours>);

/// One kind of request.
#[derive(Debug)]
pub(super) struct Ours {
    /// Answers that the server must have counted.
    pub(super) answered: u64,
    pub(super) succeeded: u64,
    pub(super) service: Histogram<u64>,
}

impl Sent {
    /// Adds what this process sent; series for several kinds of requests are left out.
    pub fn add_phases(&mut self, phases: &[MeasuredPhase], classes: &Classes) {
        for series in phases.iter().flat_map(|phase| &phase.result.series) {
            if let Some(Class::One(key)) = classes.of(&series.name) {
                let errors = series.errors.iter();
                let errors = errors.map(|(class, count)| (class.as_str(), *count));
                self.add(key, series.succeeded, errors, &series.service_time);
            }
        }
    }

    /// Adds what others sent, from their report: series that are called as kperf calls them, by verb and path.
    pub fn add_report(&mut self, series: &[doc::Series]) {
        for series in series {
            if let Some(key) = of_name(&series.name) {
                let errors = series.errors.iter();
                let errors = errors.map(|error| (error.name.as_str(), error.value));
                let service = measure::decode(&series.service_time.hdr_v2_deflate)
                    .unwrap_or_else(|_| measure::time_histogram());
                self.add(key, series.succeeded, errors, &service);
            }
        }
    }

    fn add<'a>(
        &mut self,
        key: RequestKey,
        succeeded: u64,
        errors: impl Iterator<Item = (&'a str, u64)>,
        service: &Histogram<u64>,
    ) {
        let refused: u64 = errors
            .filter(|(class, _)| only_of_api_server(class))
            .map(|(_, count)| count)
            .sum();
        let ours = self.0.entry(key).or_insert_with(|| Ours {
            answered: 0,
            succeeded: 0,
            service: measure::time_histogram(),
        });
        ours.answered += succeeded + refused;
        ours.succeeded += succeeded;
        // Same bounds by construction.
        ours.service.add(service).ok();
    }
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
