//! Faults on request: what the server does wrong, how often, and switching it at run time.
//!
//! Grammar of [`Faults::from_str`]: terms separated by commas, each at most once.
//!
//! | term | meaning |
//! | --- | --- |
//! | `latency=5ms` | every answer waits so long |
//! | `jitter=2ms` | every answer waits a random time below this, besides `latency` |
//! | `stall=1s@3s` | once, 3 s after the first request, all answers are held until 1 s has passed |
//! | `429=0.1:1s` | this share of requests is refused with 429 and `Retry-After: 1` (default 1 s) |
//! | `5xx=0.01` | this share is answered 500, 503 or 504, evenly |
//! | `reset=0.001` | this share loses its TCP connection by RST, half of them in the middle of the body |
//! | `goaway=50` | after so many requests a connection says GOAWAY and finishes what is in flight |
//! | `truncate=0.01` | this share of bodies ends half way (HTTP/2 RST_STREAM, HTTP/1.1 short body) |
//! | `seed=7` | seed of all random choices |
//!
//! Durations are a number and `ns`, `us`, `ms`, `s` or `m`; shares go from 0 to 1.
//! The i-th request meets the same fault in every run with the same seed. Health endpoints are exempt.

use std::{
    str::FromStr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::RwLock;

/// What goes wrong, and how often. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Every answer waits so long.
    pub latency: Duration,
    /// Upper bound of a random wait added to `latency`.
    pub jitter: Duration,
    /// One stall of all answers.
    pub stall: Option<Stall>,
    /// Share of requests refused with 429.
    pub too_many_requests_share: f64,
    /// `Retry-After` of those; rounded up to whole seconds.
    pub retry_after: Duration,
    /// Share answered with 500, 503 or 504.
    pub server_error_share: f64,
    /// Share whose connection is reset.
    pub reset_share: f64,
    /// Requests on a connection before it says GOAWAY; 0 = never.
    pub goaway_every: u64,
    /// Share of bodies that end half way.
    pub truncate_share: f64,
    /// Seed of the random choices.
    pub seed: u64,
}

/// All answers are held for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// How long.
    pub length: Duration,
    /// How long after the first request it begins.
    pub after: Duration,
}

/// Why [`Faults`] could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultsError {
    /// A key that is none.
    #[error(
        "unknown fault {0:?}; known are latency, jitter, stall, 429, 5xx, reset, goaway, truncate and seed"
    )]
    UnknownKey(String),
    /// The same key twice.
    #[error("the fault {0} is given twice")]
    Twice(String),
    /// A value of the wrong form.
    #[error("the fault {key}={value} is not of the form {form}")]
    BadValue {
        /// The key.
        key: String,
        /// What stood behind it.
        value: String,
        /// What should stand there.
        form: &'static str,
    },
}

impl FromStr for Faults {
    type Err = FaultsError;

    fn from_str(text: &str) -> Result<Self, FaultsError> {
        let mut faults = Self::default();
        let mut seen = Vec::new();
        for term in text.split(',').map(str::trim).filter(|t| !t.is_empty()) {
            let (key, value) = term.split_once('=').unwrap_or((term, ""));
            if seen.contains(&key) {
                return Err(FaultsError::Twice(key.to_owned()));
            }
            seen.push(key);
            let bad = |form| FaultsError::BadValue {
                key: key.to_owned(),
                value: value.to_owned(),
                form,
            };
            match key {
                "latency" => faults.latency = duration(value).ok_or_else(|| bad("latency=5ms"))?,
                "jitter" => faults.jitter = duration(value).ok_or_else(|| bad("jitter=2ms"))?,
                "stall" => {
                    let stall = value.split_once('@').and_then(|(length, after)| {
                        Some(Stall {
                            length: duration(length)?,
                            after: duration(after)?,
                        })
                    });
                    faults.stall = Some(stall.ok_or_else(|| bad("stall=1s@3s"))?);
                }
                "429" => {
                    let (part, wait) = value.split_once(':').unwrap_or((value, "1s"));
                    let form = "429=0.1:1s with a share from 0 to 1";
                    faults.too_many_requests_share = share(part).ok_or_else(|| bad(form))?;
                    faults.retry_after = duration(wait).ok_or_else(|| bad(form))?;
                }
                "5xx" => {
                    faults.server_error_share =
                        share(value).ok_or_else(|| bad("5xx=0.01 with a share from 0 to 1"))?;
                }
                "reset" => {
                    faults.reset_share =
                        share(value).ok_or_else(|| bad("reset=0.001 with a share from 0 to 1"))?;
                }
                "goaway" => {
                    faults.goaway_every = value
                        .parse()
                        .ok()
                        .filter(|n| *n > 0)
                        .ok_or_else(|| bad("goaway=50 with a number of requests from 1"))?;
                }
                "truncate" => {
                    faults.truncate_share = share(value)
                        .ok_or_else(|| bad("truncate=0.01 with a share from 0 to 1"))?;
                }
                "seed" => faults.seed = value.parse().map_err(|_| bad("seed=7"))?,
                other => return Err(FaultsError::UnknownKey(other.to_owned())),
            }
        }
        Ok(faults)
    }
}

fn share(text: &str) -> Option<f64> {
    text.parse()
        .ok()
        .filter(|share: &f64| (0.0..=1.0).contains(share))
}

fn duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let seconds = match unit {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

/// Changes faults while the server runs. Clones control the same server.
#[derive(Clone, Debug)]
pub struct FaultControl(Arc<FaultState>);

impl FaultControl {
    pub(crate) fn new(state: Arc<FaultState>) -> Self {
        Self(state)
    }

    /// Replaces all faults. A stall in them counts from the next request.
    pub fn set(&self, faults: Faults) {
        self.0.set(faults);
    }

    /// Holds all answers from now on for `length`.
    pub fn stall(&self, length: Duration) {
        let until = self.0.nanos(Instant::now() + length);
        self.0.stalled_until_ns.fetch_max(until, Ordering::SeqCst);
        self.0.active.store(true, Ordering::SeqCst);
    }
}

/// The faults in force, shared by all threads.
#[derive(Debug)]
pub(crate) struct FaultState {
    epoch: Instant,
    /// Whether anything at all may go wrong: one load on the path of a healthy server.
    active: AtomicBool,
    faults: RwLock<Faults>,
    requests: AtomicU64,
    /// Start and end of the configured stall; set by the first request.
    window: RwLock<OnceLock<(Instant, Instant)>>,
    stalled_until_ns: AtomicU64,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) delay: Duration,
    pub(crate) fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    TooManyRequests { retry_after_secs: u64 },
    ServerError(u16),
    Reset { mid_body: bool },
    Truncate,
}

impl FaultState {
    pub(crate) fn new(faults: Faults) -> Self {
        let state = Self {
            epoch: Instant::now(),
            active: AtomicBool::new(false),
            faults: RwLock::default(),
            requests: AtomicU64::new(0),
            window: RwLock::default(),
            stalled_until_ns: AtomicU64::new(0),
        };
        state.set(faults);
        state
    }

    fn set(&self, faults: Faults) {
        *self.faults.write() = faults;
        *self.window.write() = OnceLock::new();
        let quiet = Faults {
            seed: faults.seed,
            retry_after: faults.retry_after,
            ..Faults::default()
        };
        self.active.store(faults != quiet, Ordering::SeqCst);
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The fate of the next request; `None` when nothing is to go wrong.
    pub(crate) fn next(&self) -> Option<Verdict> {
        if !self.active.load(Ordering::Relaxed) {
            return None;
        }
        let faults = *self.faults.read();
        if let Some(stall) = faults.stall {
            self.window.read().get_or_init(|| {
                let start = Instant::now() + stall.after;
                (start, start + stall.length)
            });
        }
        let index = self.requests.fetch_add(1, Ordering::Relaxed);
        Some(verdict(&faults, index))
    }

    /// When answers may flow again, if they may not now.
    pub(crate) fn stalled_until(&self) -> Option<Instant> {
        if !self.active.load(Ordering::Relaxed) {
            return None;
        }
        let now = Instant::now();
        let by_control = self.stalled_until_ns.load(Ordering::SeqCst);
        if by_control > self.nanos(now) {
            return Some(self.epoch + Duration::from_nanos(by_control));
        }
        self.window
            .read()
            .get()
            .filter(|(start, end)| *start <= now && now < *end)
            .map(|(_, end)| *end)
    }

    /// Requests after which a connection says GOAWAY; 0 = never.
    pub(crate) fn goaway_every(&self) -> u64 {
        if self.active.load(Ordering::Relaxed) {
            self.faults.read().goaway_every
        } else {
            0
        }
    }
}

fn verdict(faults: &Faults, index: u64) -> Verdict {
    let mut state = mix(faults.seed ^ mix(index));
    let mut draw = || {
        state = mix(state);
        // 53 bits make every f64 in [0, 1) of that grid equally likely.
        #[allow(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let unit = (state >> 11) as f64 / (1u64 << 53) as f64;
        unit
    };
    let delay = faults.latency + faults.jitter.mul_f64(draw());
    let fault = if draw() < faults.reset_share {
        Some(Fault::Reset {
            mid_body: draw() < 0.5,
        })
    } else if draw() < faults.too_many_requests_share {
        let wait = faults.retry_after;
        Some(Fault::TooManyRequests {
            retry_after_secs: wait.as_secs() + u64::from(wait.subsec_nanos() > 0),
        })
    } else if draw() < faults.server_error_share {
        Some(Fault::ServerError(match draw() {
            u if u < 1.0 / 3.0 => 500,
            u if u < 2.0 / 3.0 => 503,
            _ => 504,
        }))
    } else if draw() < faults.truncate_share {
        Some(Fault::Truncate)
    } else {
        None
    };
    Verdict { delay, fault }
}

/// The finaliser of SplitMix64: a cheap, well-mixed function of 64 bits.
pub(crate) fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_grammar() {
        let faults: Faults =
            "latency=5ms,jitter=2ms,stall=1s@3s,429=0.1:2s,5xx=0.01,reset=0.001,goaway=50,truncate=0.02,seed=7"
                .parse()
                .unwrap();
        assert_eq!(
            faults,
            Faults {
                latency: Duration::from_millis(5),
                jitter: Duration::from_millis(2),
                stall: Some(Stall {
                    length: Duration::from_secs(1),
                    after: Duration::from_secs(3)
                }),
                too_many_requests_share: 0.1,
                retry_after: Duration::from_secs(2),
                server_error_share: 0.01,
                reset_share: 0.001,
                goaway_every: 50,
                truncate_share: 0.02,
                seed: 7,
            }
        );
        assert_eq!("".parse::<Faults>(), Ok(Faults::default()));
    }

    #[test]
    fn errors_name_key_and_form() {
        for (text, part) in [
            ("latncy=5ms", "latncy"),
            ("latency=5", "latency=5ms"),
            ("latency=", "latency=5ms"),
            ("429=1.5", "share"),
            ("429=0.5:x", "429=0.1:1s"),
            ("stall=1s", "stall=1s@3s"),
            ("goaway=0", "from 1"),
            ("reset=NaN", "share"),
            ("jitter=-1ms", "jitter"),
            ("latency=99999999999999999999999m", "latency"),
            ("seed=1,seed=2", "twice"),
        ] {
            let error = text.parse::<Faults>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn shares_are_held_and_the_seed_decides() {
        let faults: Faults = "429=0.1,5xx=0.05,reset=0.02,truncate=0.01,seed=3"
            .parse()
            .unwrap();
        let all: Vec<Verdict> = (0..20_000).map(|i| verdict(&faults, i)).collect();
        let again: Vec<Verdict> = (0..20_000).map(|i| verdict(&faults, i)).collect();
        assert_eq!(all, again);
        let refused = all
            .iter()
            .filter(|v| matches!(v.fault, Some(Fault::TooManyRequests { .. })))
            .count();
        let errors = all
            .iter()
            .filter(|v| matches!(v.fault, Some(Fault::ServerError(_))))
            .count();
        let resets = all
            .iter()
            .filter(|v| matches!(v.fault, Some(Fault::Reset { .. })))
            .count();
        assert!((1700..2200).contains(&refused), "{refused}");
        assert!((750..1050).contains(&errors), "{errors}");
        assert!((300..500).contains(&resets), "{resets}");
        let other = Faults { seed: 4, ..faults };
        assert_ne!(
            all,
            (0..20_000).map(|i| verdict(&other, i)).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_healthy_server_draws_nothing() {
        let state = FaultState::new(Faults::default());
        assert_eq!(state.next(), None);
        assert_eq!(state.stalled_until(), None);
        FaultControl::new(Arc::new(state)).set("seed=3".parse().unwrap());
    }
}
