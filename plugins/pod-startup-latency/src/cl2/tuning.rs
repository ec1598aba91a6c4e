//! Tuning sets: when each action of a phase is to start.
//!
//! Enters: a load and how many actions there are. Leaves: absolute times from the start of the step, computed from
//! the action's number, so that nothing drifts (ClusterLoader2 sleeps between actions and falls behind its rate).

use kperf_sdk::random::Random;

/// One tuning set's load. Rates are actions per second.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    /// Evenly spaced.
    Qps {
        /// Actions per second.
        qps: f64,
    },
    /// Gaps uniform between 0 and twice the mean.
    Randomized {
        /// Actions per second on average.
        average_qps: f64,
    },
    /// Bursts, and a pause from the start of one to the start of the next.
    Stepped {
        /// Actions of a burst.
        burst_size: u32,
        /// From burst to burst.
        step_delay_ns: u64,
    },
    /// Evenly spaced over a time.
    TimeLimited {
        /// All actions start within it.
        time_limit_ns: u64,
    },
    /// Each action at a uniformly chosen time.
    RandomizedTimeLimited {
        /// All actions start within it.
        time_limit_ns: u64,
    },
    /// Closed loop: as fast as so many workers go.
    ParallelismLimited {
        /// Actions at once.
        limit: u32,
    },
    /// A token bucket that all phases with this tuning set share.
    GlobalQps {
        /// Tokens per second.
        qps: f64,
        /// Most tokens that can be saved up.
        burst: u32,
    },
    /// Exponential gaps.
    Poisson {
        /// Actions per second on average.
        expected_per_second: f64,
    },
}

const NS_PER_SEC: f64 = 1e9;

/// When each of `actions` starts, in nanoseconds from the start of the step and in the order of the actions; only
/// the times of [`Load::RandomizedTimeLimited`] do not ascend. Empty for the two loads that no schedule describes:
/// [`Load::ParallelismLimited`], and [`Load::GlobalQps`], whose times its [`TokenBucket`] knows.
pub fn schedule(load: &Load, actions: usize, random: &mut Random) -> Vec<u64> {
    let mut gaps = |mut next_gap: Box<dyn FnMut(&mut Random) -> f64>| {
        let mut at_sec = 0.0;
        let mut times = Vec::with_capacity(actions);
        for _ in 0..actions {
            times.push((at_sec * NS_PER_SEC) as u64);
            at_sec += next_gap(random);
        }
        times
    };
    match *load {
        Load::Qps { qps } => (0..actions)
            .map(|number| (number as f64 / qps * NS_PER_SEC) as u64)
            .collect(),
        Load::Randomized { average_qps } => {
            gaps(Box::new(move |random| 2.0 * random.unit() / average_qps))
        }
        Load::Poisson {
            expected_per_second,
        } => gaps(Box::new(move |random| {
            -(1.0 - random.unit()).ln() / expected_per_second
        })),
        Load::Stepped {
            burst_size,
            step_delay_ns,
        } => (0..actions as u64)
            .map(|number| (number / u64::from(burst_size.max(1))).saturating_mul(step_delay_ns))
            .collect(),
        Load::TimeLimited { time_limit_ns } => (0..actions as u128)
            .map(|number| (number * u128::from(time_limit_ns) / actions as u128) as u64)
            .collect(),
        Load::RandomizedTimeLimited { time_limit_ns } => {
            (0..actions).map(|_| random.below(time_limit_ns)).collect()
        }
        Load::ParallelismLimited { .. } | Load::GlobalQps { .. } => Vec::new(),
    }
}

/// The bucket of a [`Load::GlobalQps`]: it outlives phases and steps, as ClusterLoader2's does.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenBucket {
    qps: f64,
    burst: f64,
    /// Negative when taken in advance.
    tokens: f64,
    at_ns: u64,
}

impl TokenBucket {
    /// A full one.
    pub fn new(qps: f64, burst: u32) -> Self {
        let burst = f64::from(burst.max(1));
        Self {
            qps,
            burst,
            tokens: burst,
            at_ns: 0,
        }
    }

    /// When each of `actions` may start, in nanoseconds from `now_ns`, the start of the step.
    pub fn take(&mut self, actions: usize, now_ns: u64) -> Vec<u64> {
        let passed_sec = now_ns.saturating_sub(self.at_ns) as f64 / NS_PER_SEC;
        self.tokens = (self.tokens + passed_sec * self.qps).min(self.burst);
        self.at_ns = now_ns;
        let saved = self.tokens;
        self.tokens -= actions as f64;
        (1..=actions)
            .map(|taken| ((taken as f64 - saved).max(0.0) / self.qps * NS_PER_SEC) as u64)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: u64 = 1_000_000_000;

    fn times(load: Load, actions: usize) -> Vec<u64> {
        schedule(&load, actions, &mut Random::new(7))
    }

    #[test]
    fn qps_is_even_and_does_not_drift() {
        assert_eq!(times(Load::Qps { qps: 1.0 }, 3), [0, SEC, 2 * SEC]);
        assert_eq!(times(Load::Qps { qps: 0.5 }, 2), [0, 2 * SEC]);
        let many = times(Load::Qps { qps: 30.0 }, 30_001);
        assert_eq!(many.last(), Some(&(1000 * SEC)));
        assert!(times(Load::Qps { qps: 1.0 }, 0).is_empty());
    }

    #[test]
    fn steps_come_in_bursts() {
        let load = Load::Stepped {
            burst_size: 2,
            step_delay_ns: 5 * SEC,
        };
        assert_eq!(times(load, 5), [0, 0, 5 * SEC, 5 * SEC, 10 * SEC]);
    }

    #[test]
    fn a_time_limit_is_divided_evenly() {
        let load = Load::TimeLimited {
            time_limit_ns: 10 * SEC,
        };
        assert_eq!(times(load, 4), [0, 2_500_000_000, 5 * SEC, 7_500_000_000]);
    }

    #[test]
    fn random_times_lie_within_the_limit() {
        let load = Load::RandomizedTimeLimited {
            time_limit_ns: 10 * SEC,
        };
        let drawn = times(load.clone(), 10_000);
        assert!(drawn.iter().all(|&at| at < 10 * SEC));
        let mean = drawn.iter().sum::<u64>() as f64 / 10_000.0 / 1e9;
        assert!((4.8..5.2).contains(&mean), "{mean}");
        assert_eq!(
            drawn,
            times(load.clone(), 10_000),
            "the same seed draws the same"
        );
        assert_ne!(drawn, schedule(&load, 10_000, &mut Random::new(8)));
    }

    #[test]
    fn random_gaps_have_the_mean_and_the_shape_asked_for() {
        let gaps = |load| {
            let at = times(load, 20_001);
            assert_eq!(at.first(), Some(&0));
            at.windows(2)
                .map(|pair| (pair[1] - pair[0]) as f64 / 1e9)
                .collect::<Vec<_>>()
        };
        let mean = |gaps: &[f64]| gaps.iter().sum::<f64>() / gaps.len() as f64;
        let uniform = gaps(Load::Randomized { average_qps: 10.0 });
        assert!((0.098..0.102).contains(&mean(&uniform)));
        assert!(uniform.iter().all(|&gap| gap <= 0.2));
        let exponential = gaps(Load::Poisson {
            expected_per_second: 10.0,
        });
        assert!((0.097..0.103).contains(&mean(&exponential)));
        // e^-1 of exponential gaps are longer than the mean.
        let longer = exponential.iter().filter(|&&gap| gap > 0.1).count();
        assert!((7_100..7_620).contains(&longer), "{longer}");
    }

    #[test]
    fn a_bucket_is_shared_over_time() {
        let mut bucket = TokenBucket::new(2.0, 3);
        // Three saved tokens at once, then two a second.
        assert_eq!(bucket.take(5, 0), [0, 0, 0, SEC / 2, SEC]);
        // Two were taken in advance; at 1 s they are paid off and none is left.
        assert_eq!(bucket.take(2, SEC), [SEC / 2, SEC]);
        // After a long time it is full, and no fuller.
        assert_eq!(bucket.take(4, 100 * SEC), [0, 0, 0, SEC / 2]);
    }

    #[test]
    fn two_loads_have_no_schedule() {
        assert!(times(Load::ParallelismLimited { limit: 3 }, 5).is_empty());
        assert!(times(Load::GlobalQps { qps: 1.0, burst: 1 }, 5).is_empty());
    }
}
