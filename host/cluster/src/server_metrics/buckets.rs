//! Prometheus' histograms: counts of how many were at or below each bound.

/// Cumulative counts by upper bound. Quantiles of it are estimates: within a bucket nothing is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Bound and how many were at or below it; ascending.
    bounds: Vec<(f64, f64)>,
    sum: f64,
}

/// A quantile between the bounds of its bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Interpolated as Prometheus' `histogram_quantile` does: as if values lay evenly in their bucket.
    pub value: f64,
    /// It is above this.
    pub above: f64,
    /// And at most this; infinite beyond the last bound.
    pub at_most: f64,
}

impl Buckets {
    /// From bounds as they are written, with their cumulative counts.
    #[must_use]
    pub fn of<'a>(counts: impl IntoIterator<Item = (&'a str, f64)>) -> Self {
        let mut buckets = Self::default();
        for (bound, count) in counts {
            buckets.add_bucket(bound, count);
        }
        buckets
    }

    /// Adds to the count at a bound. A bound that is no number is passed over.
    pub(crate) fn add_bucket(&mut self, bound: &str, count: f64) {
        let Ok(bound) = bound.parse::<f64>() else {
            return;
        };
        match self
            .bounds
            .binary_search_by(|(known, _)| known.total_cmp(&bound))
        {
            Ok(at) => {
                if let Some((_, known)) = self.bounds.get_mut(at) {
                    *known += count;
                }
            }
            Err(at) => self.bounds.insert(at, (bound, count)),
        }
    }

    /// Adds to the sum of the values.
    pub(crate) fn add_sum(&mut self, sum: f64) {
        self.sum += sum;
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> f64 {
        self.bounds.last().map_or(0.0, |(_, count)| *count)
    }

    /// Sum of the values.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Their mean; none without values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0.0).then(|| self.sum / count)
    }

    /// Adds another. Where servers of different versions have different bounds, those that both have are kept.
    pub fn add(&mut self, other: &Self) {
        self.sum += other.sum;
        if self.bounds.is_empty() {
            self.bounds.clone_from(&other.bounds);
        } else if !other.bounds.is_empty() {
            self.bounds.retain_mut(|(bound, count)| {
                let theirs = other.at(*bound);
                *count += theirs.unwrap_or(0.0);
                theirs.is_some()
            });
        }
    }

    /// What came since `earlier`; none when that was more, which means that the server began anew.
    #[must_use]
    pub(crate) fn since(&self, earlier: &Self) -> Option<Self> {
        let mut bounds = Vec::with_capacity(self.bounds.len());
        for (bound, count) in &self.bounds {
            let before = earlier.at(*bound).unwrap_or(0.0);
            if before > *count {
                return None;
            }
            bounds.push((*bound, count - before));
        }
        Some(Self {
            bounds,
            sum: (self.sum - earlier.sum).max(0.0),
        })
    }

    fn at(&self, bound: f64) -> Option<f64> {
        let at = self
            .bounds
            .binary_search_by(|(known, _)| known.total_cmp(&bound))
            .ok()?;
        self.bounds.get(at).map(|(_, count)| *count)
    }

    /// The `q`-quantile, 0 to 1; none without values.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Estimate> {
        let count = self.count();
        if count <= 0.0 {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * count;
        let (mut above, mut below) = (0.0, 0.0);
        for (bound, cumulative) in &self.bounds {
            if *cumulative >= rank && *cumulative > below {
                let value = if bound.is_infinite() {
                    above
                } else {
                    above + (bound - above) * ((rank - below) / (cumulative - below)).max(0.0)
                };
                return Some(Estimate {
                    value,
                    above,
                    at_most: *bound,
                });
            }
            (above, below) = (*bound, *cumulative);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(counts: &[(&str, f64)]) -> Buckets {
        Buckets::of(counts.iter().copied())
    }

    #[test]
    fn quantiles_are_those_of_prometheus() {
        let times = buckets(&[
            ("+Inf", 100.0),
            ("0.1", 50.0),
            ("0.2", 90.0),
            ("0.005", 0.0),
        ]);
        // As `histogram_quantile` has them.
        for (q, value, above, at_most) in [
            (0.5, 0.1, 0.005, 0.1),
            (0.25, 0.0525, 0.005, 0.1),
            (0.7, 0.15, 0.1, 0.2),
            (0.99, 0.2, 0.2, f64::INFINITY),
            (0.0, 0.005, 0.005, 0.1),
        ] {
            let estimate = times.quantile(q).unwrap();
            assert!((estimate.value - value).abs() < 1e-9, "{q}: {estimate:?}");
            assert_eq!((estimate.above, estimate.at_most), (above, at_most), "{q}");
        }
        assert_eq!(Buckets::default().quantile(0.5), None);
        assert_eq!(buckets(&[("+Inf", 0.0)]).quantile(0.5), None);
    }

    #[test]
    fn what_came_since() {
        let before = buckets(&[("0.1", 5.0), ("+Inf", 6.0)]);
        let after = buckets(&[("0.1", 7.0), ("+Inf", 9.0)]);
        let between = after.since(&before).unwrap();
        assert_eq!(between, buckets(&[("0.1", 2.0), ("+Inf", 3.0)]));
        assert_eq!(before.since(&after), None);
        assert_eq!(after.since(&Buckets::default()), Some(after.clone()));
    }

    #[test]
    fn bounds_that_both_have_are_kept() {
        let mut sum = buckets(&[("0.1", 1.0), ("0.5", 2.0), ("+Inf", 3.0)]);
        sum.add(&buckets(&[("0.1", 10.0), ("0.9", 20.0), ("+Inf", 30.0)]));
        assert_eq!(sum, buckets(&[("0.1", 11.0), ("+Inf", 33.0)]));
        let mut empty = Buckets::default();
        empty.add(&sum);
        assert_eq!(empty, sum);
    }
}
