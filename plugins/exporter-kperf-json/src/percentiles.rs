//! kperf's percentiles: 0, 0.5, 0.9, 0.95, 0.99 and 1, nearest rank, in seconds.
//!
//! Enters: raw latencies, or a histogram's quantiles. Leaves: pairs of percentile and seconds; none without a value.
//! From raw data they are exact; from a histogram they carry its precision (three significant digits).

use crate::wit;

/// `[percentile, seconds]`, ascending.
pub(crate) type Pairs = Vec<[f64; 2]>;

const PERCENTILES: [f64; 6] = [0.0, 0.5, 0.9, 0.95, 0.99, 1.0];

/// Latencies in nanoseconds, ascending.
pub(crate) struct Latencies(Vec<u64>);

impl Latencies {
    pub(crate) fn new(mut values_ns: Vec<u64>) -> Self {
        values_ns.sort_unstable();
        Self(values_ns)
    }

    pub(crate) fn merged<'a>(parts: impl Iterator<Item = &'a Self>) -> Self {
        Self::new(parts.flat_map(|part| part.0.iter().copied()).collect())
    }

    pub(crate) fn seconds(self) -> Vec<f64> {
        self.0.into_iter().map(go_json::seconds).collect()
    }

    /// The index is `ceil(n × p)`, less one if it is above zero: kperf's rule, and no interpolation.
    pub(crate) fn percentiles(&self) -> Pairs {
        let count = self.0.len() as f64;
        PERCENTILES
            .iter()
            .filter_map(|&p| {
                let rank = (count * p).ceil() as usize;
                self.0
                    .get(rank.saturating_sub(1))
                    .map(|ns| [p, go_json::seconds(*ns)])
            })
            .collect()
    }
}

/// From quantiles: the one asked for, else the next above it.
pub(crate) fn of_histogram(histogram: &wit::Histogram) -> Pairs {
    if histogram.count == 0 {
        return Vec::new();
    }
    PERCENTILES
        .iter()
        .map(|&p| {
            let at_or_above = histogram
                .quantiles
                .iter()
                .find(|quantile| quantile.q >= p - 1e-9);
            let ns = match at_or_above {
                _ if p == 0.0 => histogram.min_ns,
                Some(quantile) if p < 1.0 => quantile.value_ns,
                _ => histogram.max_ns,
            };
            [p, go_json::seconds(ns)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank_of_a_hundred_values() {
        let latencies = Latencies::new(
            (1..=100)
                .rev()
                .map(|second| second * 1_000_000_000)
                .collect(),
        );
        assert_eq!(
            latencies.percentiles(),
            [
                [0.0, 1.0],
                [0.5, 50.0],
                [0.9, 90.0],
                [0.95, 95.0],
                [0.99, 99.0],
                [1.0, 100.0]
            ]
        );
    }

    #[test]
    fn one_value_is_every_percentile_and_none_is_no_percentile() {
        let one = Latencies::new(vec![5_000_000]);
        assert_eq!(one.percentiles(), PERCENTILES.map(|p| [p, 0.005]));
        assert!(Latencies::new(Vec::new()).percentiles().is_empty());
    }

    #[test]
    fn merging_sorts_again() {
        let (low, high) = (Latencies::new(vec![1, 9]), Latencies::new(vec![5]));
        assert_eq!(Latencies::merged([&low, &high].into_iter()).0, [1, 5, 9]);
    }

    #[test]
    fn a_histogram_gives_its_quantiles() {
        let quantile = |q, value_ns| wit::Quantile { q, value_ns };
        let histogram = wit::Histogram {
            count: 10,
            min_ns: 1_000,
            max_ns: 9_000,
            mean_ns: 5_000.0,
            stddev_ns: 1.0,
            quantiles: vec![
                quantile(0.0, 1_000),
                quantile(0.5, 5_000),
                quantile(0.75, 6_000),
                quantile(0.9, 7_000),
                quantile(0.95, 8_000),
                quantile(0.99, 8_500),
                quantile(0.999, 8_900),
                quantile(1.0, 9_000),
            ],
            hdr_v2_deflate: Vec::new(),
        };
        assert_eq!(
            of_histogram(&histogram),
            [
                [0.0, 1e-6],
                [0.5, 5e-6],
                [0.9, 7e-6],
                [0.95, 8e-6],
                [0.99, 8.5e-6],
                [1.0, 9e-6]
            ]
        );
        let empty = wit::Histogram {
            count: 0,
            ..histogram
        };
        assert!(of_histogram(&empty).is_empty());
    }
}
