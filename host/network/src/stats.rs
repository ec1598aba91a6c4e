//! Mean of several samples and how far it can be trusted.

use serde::{Deserialize, Serialize};

/// Several samples of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// How many samples.
    pub samples: u64,
    /// Their arithmetic mean, in the unit of the samples.
    pub mean: f64,
    /// Half the width of the 95 % confidence interval of the mean; absent for a single sample.
    pub ci95: Option<f64>,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// What the samples say; none says nothing.
#[must_use]
pub fn estimate(samples: &[f64]) -> Option<Estimate> {
    let (mean, variance) = mean_and_error(samples)?;
    let ci95 = variance.map(|variance| student_t_975(samples.len() - 1) * variance.sqrt());
    Some(Estimate {
        samples: samples.len() as u64,
        mean,
        ci95,
        min: samples.iter().copied().fold(f64::INFINITY, f64::min),
        max: samples.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    })
}

/// How far the mean of some samples is from a part of the mean of others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Mean of the first minus `part` times the mean of the second.
    pub value: f64,
    /// Half the width of its 95 % confidence interval (Welch); absent when one side has a single sample.
    pub ci95: Option<f64>,
}

impl Difference {
    /// Whether zero is outside of the interval, so that the sign is more than chance; none without an interval.
    #[must_use]
    pub fn is_certain(&self) -> Option<bool> {
        self.ci95.map(|half| self.value.abs() > half)
    }
}

/// Mean of `a` minus `part` times the mean of `b`. None when either has no samples.
#[must_use]
pub fn difference(a: &[f64], b: &[f64], part: f64) -> Option<Difference> {
    let (mean_a, error_a) = mean_and_error(a)?;
    let (mean_b, error_b) = mean_and_error(b)?;
    let ci95 = error_a.zip(error_b).map(|(of_a, of_b)| {
        let (of_a, of_b) = (of_a, part.powi(2) * of_b);
        let sum = of_a + of_b;
        if sum <= 0.0 {
            return 0.0;
        }
        // Welch and Satterthwaite. Rounded down, which makes the interval wider, never narrower.
        let freedom = sum.powi(2)
            / (of_a.powi(2) / (a.len() as f64 - 1.0) + of_b.powi(2) / (b.len() as f64 - 1.0));
        student_t_975((freedom as usize).max(1)) * sum.sqrt()
    });
    Some(Difference {
        value: mean_a - part * mean_b,
        ci95,
    })
}

/// Mean, and the variance of the mean where it can be told.
fn mean_and_error(samples: &[f64]) -> Option<(f64, Option<f64>)> {
    if samples.is_empty() {
        return None;
    }
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count;
    let variance = (samples.len() > 1).then(|| {
        let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
        squares / (count - 1.0) / count
    });
    Some((mean, variance))
}

/// Quantile 0.975 of Student's t distribution with 1 to 10 degrees of freedom.
const T_975: [f64; 10] = [
    12.706_205, 4.302_653, 3.182_446, 2.776_445, 2.570_582, 2.446_912, 2.364_624, 2.306_004,
    2.262_157, 2.228_139,
];

/// Quantile 0.975 of Student's t distribution: a table, and from there the expansion around the normal quantile
/// (Abramowitz and Stegun 26.7.5), which is good to five digits.
fn student_t_975(degrees: usize) -> f64 {
    if let Some(t) = degrees.checked_sub(1).and_then(|index| T_975.get(index)) {
        return *t;
    }
    let z: f64 = 1.959_963_985;
    let v = degrees as f64;
    z + (z.powi(3) + z) / (4.0 * v)
        + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * v.powi(2))
        + (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / (384.0 * v.powi(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_printed_tables() {
        for (degrees, t) in [
            (1, 12.706),
            (2, 4.303),
            (4, 2.776),
            (10, 2.228),
            (11, 2.201),
            (15, 2.131),
            (20, 2.086),
            (30, 2.042),
            (60, 2.000),
            (120, 1.980),
            (1_000_000, 1.960),
        ] {
            let ours = student_t_975(degrees);
            assert!((ours - t).abs() < 0.000_6, "{degrees}: {ours} is not {t}");
        }
    }

    #[test]
    fn known_samples() {
        // Deviation 1, five samples: t(4) / √5 times the deviation √2.5.
        let e = estimate(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert_eq!((e.samples, e.mean, e.min, e.max), (5, 3.0, 1.0, 5.0));
        assert!((e.ci95.unwrap() - 1.963_24).abs() < 1e-4, "{e:?}");
        let e = estimate(&[9.9, 10.1]).unwrap();
        assert!((e.ci95.unwrap() - 1.270_62).abs() < 1e-4, "{e:?}");
    }

    #[test]
    fn a_difference_has_welchs_interval() {
        // Welch's own kind of example: variances 2.5 and 10, five samples each, so errors 0.5 and 2 and
        // (2.5)² / (0.5²/4 + 2²/4) = 5.88 degrees of freedom, of which 5 are counted.
        let a = [1.0, 2.0, 3.0, 4.0, 5.0];
        let b = [2.0, 4.0, 6.0, 8.0, 10.0];
        let d = difference(&a, &b, 1.0).unwrap();
        assert_eq!(d.value, -3.0);
        assert!(
            (d.ci95.unwrap() - 2.570_582 * 2.5_f64.sqrt()).abs() < 1e-6,
            "{d:?}"
        );
        assert_eq!(d.is_certain(), Some(false));
        // Half of b is a, so its interval is that of two equal samples.
        let d = difference(&a, &b, 0.5).unwrap();
        assert_eq!(d.value, 0.0);
        assert!((d.ci95.unwrap() - 2.306_004).abs() < 1e-6, "{d:?}");
        assert_eq!(difference(&[1.0], &b, 1.0).unwrap().is_certain(), None);
        assert_eq!(difference(&[], &b, 1.0), None);
        let d = difference(&[2.0, 2.0], &[1.0, 1.0], 1.0).unwrap();
        assert_eq!((d.ci95, d.is_certain()), (Some(0.0), Some(true)));
    }

    #[test]
    fn one_sample_has_no_interval_and_none_no_mean() {
        assert_eq!(estimate(&[7.0]).unwrap().ci95, None);
        assert_eq!(estimate(&[]), None);
        assert_eq!(estimate(&[7.0, 7.0, 7.0]).unwrap().ci95, Some(0.0));
    }
}
