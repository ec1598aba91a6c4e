//! When a failed call is worth another try, and how long to wait before it.

use std::time::Duration;

use kperf_load::Stop;

use super::failure::{ApiFailure, Code};

/// Bounds of the tries of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryLimits {
    /// Tries after the first.
    pub retries: u32,
    /// Wait before the first of them; doubled for each further one.
    pub first: Duration,
    /// Longest wait of ours; `Retry-After` may ask for more, up to `longest_asked`.
    pub longest: Duration,
    /// A server that asks for more says no.
    pub longest_asked: Duration,
}

impl Default for RetryLimits {
    fn default() -> Self {
        Self {
            // 35 seconds or so: an API server that is restarted, on a machine that is busy, is back by then.
            retries: 16,
            first: Duration::from_millis(50),
            longest: Duration::from_secs(5),
            longest_asked: Duration::from_secs(60),
        }
    }
}

/// Whether a second execution of a request changes nothing more than the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeatable {
    Yes,
    /// Only repeated when the server cannot have acted on it.
    No,
}

impl RetryLimits {
    /// How long to wait before try `retry` (from 1), or that there is none. `draw` from 0 to 1.
    pub(crate) fn wait(
        &self,
        failure: &ApiFailure,
        repeatable: Repeatable,
        retry: u32,
        draw: f64,
    ) -> Option<Duration> {
        if retry > self.retries {
            return None;
        }
        let asked = failure.retry_after;
        if asked.is_some_and(|asked| asked > self.longest_asked) {
            return None;
        }
        let worth_it = match failure.code {
            // Refused before anything was done, whatever the verb.
            Code::Throttled => true,
            Code::Unreachable | Code::Timeout | Code::Failed => {
                let heard = failure.status == 0 || asked.is_some();
                heard
                    && failure.code_allows_repeat()
                    && (repeatable == Repeatable::Yes || !failure.may_have_happened)
            }
            _ => false,
        };
        worth_it.then(|| {
            let doubled = self.first.saturating_mul(1 << (retry - 1).min(20));
            let own = doubled.min(self.longest);
            // Half fixed, half random: many that failed together do not come back together.
            let own = own.mul_f64(0.5 + 0.5 * draw.clamp(0.0, 1.0));
            own.max(asked.unwrap_or_default())
        })
    }
}

/// Whether another try of a call that may be repeated is worth it.
pub(crate) fn may_pass(failure: &ApiFailure) -> bool {
    RetryLimits::default()
        .wait(failure, Repeatable::Yes, 1, 0.0)
        .is_some()
}

impl ApiFailure {
    /// An answer that made no sense will make none the next time.
    fn code_allows_repeat(&self) -> bool {
        self.code != Code::Failed || self.status >= 500
    }
}

/// What a call came to, and how many tries it took after the first.
#[derive(Debug)]
pub(crate) struct Tried<T> {
    pub(crate) result: Result<T, ApiFailure>,
    pub(crate) retries: u32,
    /// Whether a try before the last may have been acted on although it failed.
    pub(crate) may_have_happened: bool,
}

/// Calls until it succeeds, is not worth another try, or the run is stopped.
pub(crate) async fn with_retries<T, F>(
    limits: &RetryLimits,
    repeatable: Repeatable,
    stop: &Stop,
    mut call: impl FnMut() -> F,
) -> Tried<T>
where
    F: Future<Output = Result<T, ApiFailure>>,
{
    let mut tried = Tried {
        result: call().await,
        retries: 0,
        may_have_happened: false,
    };
    while let Err(failure) = &tried.result {
        let Some(wait) = limits.wait(failure, repeatable, tried.retries + 1, draw()) else {
            break;
        };
        tokio::select! {
            biased;
            () = stop.stopped() => break,
            () = tokio::time::sleep(wait) => {}
        }
        tried.may_have_happened |= failure.may_have_happened;
        tried.retries += 1;
        tried.result = call().await;
    }
    tried
}

/// From 0 to 1, different each time. Not seeded: it only spreads retries.
fn draw() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    let bits = RandomState::new().hash_one(0u8) >> 11;
    bits as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: Code, status: u16) -> ApiFailure {
        ApiFailure {
            status,
            may_have_happened: status == 0 || status >= 500,
            ..ApiFailure::own(code, "x")
        }
    }

    #[test]
    fn what_is_tried_again() {
        let limits = RetryLimits::default();
        let after = |mut failure: ApiFailure, seconds| {
            failure.retry_after = Some(Duration::from_secs(seconds));
            failure
        };
        let never_sent = ApiFailure {
            may_have_happened: false,
            ..failure(Code::Unreachable, 0)
        };
        for (name, failure, if_repeatable, if_not) in [
            ("429", failure(Code::Throttled, 429), true, true),
            ("500", failure(Code::Failed, 500), false, false),
            (
                "500 + Retry-After",
                after(failure(Code::Failed, 500), 1),
                true,
                false,
            ),
            (
                "504 + Retry-After",
                after(failure(Code::Timeout, 504), 1),
                true,
                false,
            ),
            ("broken", failure(Code::Unreachable, 0), true, false),
            ("never sent", never_sent, true, true),
            ("no answer", failure(Code::Timeout, 0), true, false),
            (
                "asked too much",
                after(failure(Code::Throttled, 429), 3600),
                false,
                false,
            ),
            ("409", failure(Code::Conflict, 409), false, false),
            ("404", failure(Code::NotFound, 404), false, false),
            ("not JSON", failure(Code::Failed, 0), false, false),
            ("denied", failure(Code::Denied, 0), false, false),
        ] {
            let again = |repeatable| limits.wait(&failure, repeatable, 1, 0.5).is_some();
            assert_eq!(again(Repeatable::Yes), if_repeatable, "{name}");
            assert_eq!(again(Repeatable::No), if_not, "{name}");
        }
    }

    #[test]
    fn waits_double_and_are_bounded() {
        let limits = RetryLimits {
            retries: 10,
            ..RetryLimits::default()
        };
        let refused = failure(Code::Throttled, 429);
        let wait = |retry, draw| limits.wait(&refused, Repeatable::No, retry, draw);
        assert_eq!(wait(1, 1.0), Some(Duration::from_millis(50)));
        assert_eq!(wait(1, 0.0), Some(Duration::from_millis(25)));
        assert_eq!(wait(3, 1.0), Some(Duration::from_millis(200)));
        assert_eq!(wait(10, 1.0), Some(Duration::from_secs(5)));
        assert_eq!(wait(11, 1.0), None);
        let asked = ApiFailure {
            retry_after: Some(Duration::from_secs(7)),
            ..refused
        };
        assert_eq!(
            limits.wait(&asked, Repeatable::No, 1, 0.3),
            Some(Duration::from_secs(7))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_restarts_is_waited_for() {
        let start = tokio::time::Instant::now();
        let tried = with_retries(
            &RetryLimits::default(),
            Repeatable::Yes,
            &Stop::new(),
            || async move {
                if start.elapsed() < Duration::from_secs(20) {
                    Err(failure(Code::Unreachable, 0))
                } else {
                    Ok(())
                }
            },
        )
        .await;
        assert_eq!(tried.result, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_waiting() {
        let stop = Stop::new();
        stop.stop();
        let tried: Tried<()> =
            with_retries(&RetryLimits::default(), Repeatable::Yes, &stop, || async {
                Err(failure(Code::Throttled, 429))
            })
            .await;
        assert_eq!(tried.retries, 0);
        assert_eq!(tried.result.unwrap_err().code, Code::Throttled);
    }

    #[tokio::test(start_paused = true)]
    async fn tries_are_counted() {
        let mut left = 3;
        let tried = with_retries(
            &RetryLimits::default(),
            Repeatable::Yes,
            &Stop::new(),
            || {
                left -= 1;
                let failed = left > 0;
                async move {
                    if failed {
                        Err(failure(Code::Unreachable, 0))
                    } else {
                        Ok(7)
                    }
                }
            },
        )
        .await;
        assert_eq!((tried.result, tried.retries), (Ok(7), 2));
        assert!(tried.may_have_happened);
    }
}
