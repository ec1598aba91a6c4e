//! A latency distribution as Prometheus wants it.
//!
//! Enters: the typed report's histogram, whose counts are in HdrHistogram's V2 encoding. Leaves: counts by bucket,
//! sum, count and quantiles in seconds. A value is counted in the first bucket whose bound is not below it, within
//! the histogram's precision (three significant digits), which can move a value that lies next to a bound.

use std::{collections::BTreeMap, io::Cursor};

use hdrhistogram::{Histogram, serialization::Deserializer};
use kperf_sdk::Failure;

use crate::wit;

/// One distribution. `default` is an empty one without buckets, which takes the buckets of the first it is added to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Latency {
    /// Upper bound in seconds and values above the bound before it.
    buckets: Vec<(f64, u64)>,
    count: u64,
    sum_seconds: f64,
    quantiles: Vec<(f64, f64)>,
}

impl Latency {
    /// Reads the whole histogram; `bounds` are in seconds, ascending. Without bounds only the sums and quantiles
    /// are taken, and nothing is decoded.
    ///
    /// # Errors
    /// `invalid-report` when the encoded histogram cannot be read or holds another number of values than it says.
    pub(crate) fn read(histogram: &wit::Histogram, bounds: &[f64]) -> Result<Self, Failure> {
        let mut latency = if bounds.is_empty() || histogram.count == 0 {
            Self {
                buckets: bounds.iter().map(|bound| (*bound, 0)).collect(),
                ..Self::default()
            }
        } else {
            let decoded = decode(&histogram.hdr_v2_deflate)?;
            if decoded.len() != histogram.count {
                let message = format!(
                    "a histogram of {} values has {} in its encoded form",
                    histogram.count,
                    decoded.len()
                );
                return Err(Failure::new("invalid-report", message));
            }
            let values: Vec<(u64, u64)> = decoded
                .iter_recorded()
                .map(|step| {
                    (
                        decoded.lowest_equivalent(step.value_iterated_to()),
                        step.count_at_value(),
                    )
                })
                .collect();
            Self::from_values(bounds, &values)
        };
        latency.count = histogram.count;
        latency.sum_seconds = histogram.mean_ns * histogram.count as f64 / 1e9;
        latency.quantiles = histogram
            .quantiles
            .iter()
            .map(|one| (one.q, seconds(one.value_ns)))
            .collect();
        Ok(latency)
    }

    /// Values in nanoseconds with how often each was seen.
    pub(crate) fn from_values(bounds: &[f64], values: &[(u64, u64)]) -> Self {
        let mut buckets: Vec<(f64, u64)> = bounds.iter().map(|bound| (*bound, 0)).collect();
        let (mut count, mut sum_seconds) = (0, 0.0);
        for &(value_ns, times) in values {
            let value = seconds(value_ns);
            let at = buckets.partition_point(|(bound, _)| *bound < value);
            if let Some((_, bucket)) = buckets.get_mut(at) {
                *bucket += times;
            }
            count += times;
            sum_seconds += value * times as f64;
        }
        Self {
            buckets,
            count,
            sum_seconds,
            quantiles: Vec::new(),
        }
    }

    /// Adds counts. Quantiles cannot be added: those of `newer` hold, if it has any.
    pub(crate) fn add(&mut self, newer: &Self) {
        if self.buckets.is_empty() {
            self.buckets.clone_from(&newer.buckets);
        } else {
            let counts: BTreeMap<u64, u64> = newer
                .buckets
                .iter()
                .map(|(bound, n)| (bound.to_bits(), *n))
                .collect();
            for (bound, count) in &mut self.buckets {
                *count = count.saturating_add(counts.get(&bound.to_bits()).copied().unwrap_or(0));
            }
        }
        self.count = self.count.saturating_add(newer.count);
        self.sum_seconds += newer.sum_seconds;
        if newer.count > 0 {
            self.quantiles.clone_from(&newer.quantiles);
        }
    }

    /// Buckets as Prometheus counts them, each including those below, ending with `+Inf`.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let below = self.buckets.iter().scan(0_u64, |sum, (bound, count)| {
            *sum = sum.saturating_add(*count);
            Some((*bound, *sum))
        });
        below.chain(std::iter::once((f64::INFINITY, self.count)))
    }

    pub(crate) fn quantiles(&self) -> &[(f64, f64)] {
        &self.quantiles
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn sum_seconds(&self) -> f64 {
        self.sum_seconds
    }
}

fn decode(hdr_v2_deflate: &[u8]) -> Result<Histogram<u64>, Failure> {
    Deserializer::new()
        .deserialize(&mut Cursor::new(hdr_v2_deflate))
        .map_err(|error| {
            Failure::new(
                "invalid-report",
                format!("a histogram of the report cannot be decoded: {error:?}"),
            )
        })
}

pub(crate) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
pub(crate) mod tests {
    use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};

    use super::*;

    /// A histogram as the host reports it.
    pub(crate) fn reported(values_ns: &[u64]) -> wit::Histogram {
        let mut hdr = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
        for value_ns in values_ns {
            hdr.record(*value_ns).unwrap();
        }
        let mut hdr_v2_deflate = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&hdr, &mut hdr_v2_deflate)
            .unwrap();
        let quantiles = [0.0, 0.5, 0.9, 0.99, 1.0];
        wit::Histogram {
            count: hdr.len(),
            min_ns: hdr.min(),
            max_ns: hdr.max(),
            mean_ns: hdr.mean(),
            stddev_ns: hdr.stdev(),
            quantiles: quantiles
                .into_iter()
                .map(|q| wit::Quantile {
                    q,
                    value_ns: hdr.value_at_quantile(q),
                })
                .collect(),
            hdr_v2_deflate,
        }
    }

    #[test]
    fn values_on_a_bound_are_counted_below_it() {
        let latency = Latency::read(
            &reported(&[1_000_000, 1_000_000, 1_100_000, 5_000_000_000]),
            &[0.001, 0.01],
        )
        .unwrap();
        let cumulative: Vec<(f64, u64)> = latency.cumulative().collect();
        assert_eq!(cumulative, [(0.001, 2), (0.01, 3), (f64::INFINITY, 4)]);
        assert_eq!(latency.count(), 4);
        assert!(
            (latency.sum_seconds() - 5.0031).abs() < 0.005,
            "{}",
            latency.sum_seconds()
        );
    }

    #[test]
    fn an_empty_histogram_has_its_buckets_at_zero() {
        let latency = Latency::read(&reported(&[]), &[0.1]).unwrap();
        assert_eq!(
            latency.cumulative().collect::<Vec<_>>(),
            [(0.1, 0), (f64::INFINITY, 0)]
        );
    }

    #[test]
    fn adding_sums_counts_and_keeps_the_newest_quantiles() {
        let mut sum = Latency::default();
        sum.add(&Latency::read(&reported(&[1_000_000]), &[0.01, 1.0]).unwrap());
        sum.add(&Latency::read(&reported(&[100_000_000, 2_000_000_000]), &[0.01, 1.0]).unwrap());
        sum.add(&Latency::read(&reported(&[]), &[0.01, 1.0]).unwrap());
        assert_eq!(
            sum.cumulative().collect::<Vec<_>>(),
            [(0.01, 1), (1.0, 2), (f64::INFINITY, 3)]
        );
        let (q, slowest) = *sum.quantiles().last().unwrap();
        assert_eq!(q, 1.0);
        assert!((slowest - 2.0).abs() < 0.01);
    }

    #[test]
    fn a_broken_encoding_is_an_error_and_never_a_panic() {
        let good = reported(&[1, 2, 3]);
        for broken in [
            vec![],
            vec![0xff; 40],
            good.hdr_v2_deflate.get(..10).unwrap().to_vec(),
        ] {
            let histogram = wit::Histogram {
                hdr_v2_deflate: broken,
                ..good.clone()
            };
            assert_eq!(
                Latency::read(&histogram, &[0.1]).unwrap_err().code,
                "invalid-report"
            );
        }
        let lying = wit::Histogram { count: 4, ..good };
        assert!(
            Latency::read(&lying, &[0.1])
                .unwrap_err()
                .message
                .contains("4 values")
        );
    }
}
