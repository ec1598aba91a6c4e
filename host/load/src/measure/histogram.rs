//! The one kind of histogram in use: nanoseconds, 100 ns to 1 h, three significant digits, saturating.
//!
//! In files: HdrHistogram V2, deflated, as every HdrHistogram library reads it.

use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2DeflateSerializer},
};

/// Smallest distinguished time, nanoseconds.
pub const LOWEST_NS: u64 = 100;
/// Longest time, nanoseconds; longer ones count as this.
pub const HIGHEST_NS: u64 = 3_600_000_000_000;
/// Significant decimal digits kept.
pub const DIGITS: u8 = 3;

/// An empty histogram of times in nanoseconds.
#[must_use]
pub fn time_histogram() -> Histogram<u64> {
    match Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, DIGITS) {
        Ok(histogram) => histogram,
        // The bounds are constants and valid (a test holds them to it).
        Err(_) => unreachable!("constant bounds"),
    }
}

/// The value at or below which the share `q` (0 to 1) of the values lies; none when empty.
/// Nearest rank, as kperf's percentiles, exact to three digits.
#[must_use]
pub fn quantile(histogram: &Histogram<u64>, q: f64) -> Option<u64> {
    if histogram.is_empty() {
        return None;
    }
    Some(if q <= 0.0 {
        histogram.min()
    } else if q >= 1.0 {
        histogram.max()
    } else {
        histogram.value_at_quantile(q).min(histogram.max())
    })
}

/// HdrHistogram V2, deflated.
#[must_use]
pub fn encode(histogram: &Histogram<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    match V2DeflateSerializer::new().serialize(histogram, &mut bytes) {
        Ok(_) => bytes,
        // Writing into memory cannot fail, and the counts fit: they are below 2^63.
        Err(error) => {
            tracing::error!(%error, "histogram not encoded");
            Vec::new()
        }
    }
}

/// Why bytes are not a histogram.
#[derive(Debug, thiserror::Error)]
#[error("not a histogram in HdrHistogram V2 form: {0}")]
pub struct DecodeError(String);

/// Reads what [`encode`] wrote, or any HdrHistogram V2 or V2 deflate.
///
/// # Errors
/// When the bytes are neither.
pub fn decode(bytes: &[u8]) -> Result<Histogram<u64>, DecodeError> {
    Deserializer::new()
        .deserialize(&mut &*bytes)
        .map_err(|error| DecodeError(format!("{error:?}")))
}

/// Adds `from` to `into`, and says so when that loses something.
pub(crate) fn add(into: &mut Histogram<u64>, from: &Histogram<u64>) {
    if let Err(error) = into.add(from) {
        tracing::error!(?error, "histograms of different bounds do not merge");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_saturate_and_keep_three_digits() {
        let mut histogram = time_histogram();
        for value in [0, 1, 123_456_789, u64::MAX] {
            histogram.saturating_record(value);
        }
        assert_eq!(histogram.len(), 4);
        assert!(histogram.max() >= HIGHEST_NS);
        let mut histogram = time_histogram();
        histogram.saturating_record(123_456_789);
        let median = quantile(&histogram, 0.5).unwrap();
        assert!(median.abs_diff(123_456_789) <= 123_456);
    }

    #[test]
    fn files_keep_everything() {
        let mut histogram = time_histogram();
        for i in 0..10_000_u64 {
            histogram.saturating_record(i * i * 997);
        }
        let back = decode(&encode(&histogram)).unwrap();
        assert_eq!(back, histogram);
        let mut sum = time_histogram();
        add(&mut sum, &back);
        add(&mut sum, &back);
        assert_eq!(sum.len(), 20_000);
    }

    #[test]
    fn hostile_bytes_are_an_error() {
        for bytes in [&b""[..], b"%%%", b"\0\0\0", b"\x1c\x84\x93\x14\0\0\0\0"] {
            assert!(decode(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn quantiles_are_nearest_rank() {
        let mut histogram = time_histogram();
        assert_eq!(quantile(&histogram, 0.5), None);
        for i in 1..=100_u64 {
            histogram.saturating_record(i * 1_000_000);
        }
        let p99 = quantile(&histogram, 0.99).unwrap();
        assert!(p99.abs_diff(99_000_000) < 100_000, "{p99}");
        assert_eq!(quantile(&histogram, 1.0), Some(histogram.max()));
    }
}
