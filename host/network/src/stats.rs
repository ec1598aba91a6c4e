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
    if samples.is_empty() {
        return None;
    }
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count;
    let ci95 = (samples.len() > 1).then(|| {
        let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
        let deviation = (squares / (count - 1.0)).sqrt();
        student_t_975(samples.len() - 1) * deviation / count.sqrt()
    });
    Some(Estimate {
        samples: samples.len() as u64,
        mean,
        ci95,
        min: samples.iter().copied().fold(f64::INFINITY, f64::min),
        max: samples.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    })
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
    fn one_sample_has_no_interval_and_none_no_mean() {
        assert_eq!(estimate(&[7.0]).unwrap().ci95, None);
        assert_eq!(estimate(&[]), None);
        assert_eq!(estimate(&[7.0, 7.0, 7.0]).unwrap().ci95, Some(0.0));
    }
}
