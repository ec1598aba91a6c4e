//! A load that runs while the benchmark goes on, wherever it comes from: waited for, stopped, and what it came to.

use std::{sync::Arc, time::Duration};

use kperf_cluster::Session;
use kperf_load::{Stop, measure, result::Ended};
use kperf_runtime::{
    BoxFuture, Failure,
    benchmark::{LoadHandle, LoadOutcome},
    failure,
};
use tokio::sync::oneshot;

use super::interrupted;
use crate::report::MeasuredPhase;

/// What all phases of a load came to.
pub(super) fn outcome(phases: &[MeasuredPhase]) -> LoadOutcome {
    let mut response = measure::time_histogram();
    let (mut sent, mut succeeded, mut failed) = (0, 0, 0);
    let mut length = Duration::ZERO;
    let mut ended = &Ended::Completed;
    for phase in phases {
        for series in &phase.result.series {
            // Same bounds by construction.
            response.add(&series.response_time).ok();
            sent += series.sent;
            succeeded += series.succeeded;
            failed += series.failed;
        }
        length += phase.result.length;
        // A phase that does not complete is the last.
        ended = &phase.result.ended;
    }
    let seconds = length.as_secs_f64();
    LoadOutcome {
        sent,
        succeeded,
        failed,
        length_ns: u64::try_from(length.as_nanos()).unwrap_or(u64::MAX),
        achieved_rate: if seconds > 0.0 {
            sent as f64 / seconds
        } else {
            0.0
        },
        response_p50_ns: measure::quantile(&response, 0.5).unwrap_or(0),
        response_p99_ns: measure::quantile(&response, 0.99).unwrap_or(0),
        reason: match ended {
            Ended::Failed(error) => error.message.clone(),
            _ => String::new(),
        },
        ended: match ended {
            Ended::Completed => "completed",
            Ended::Interrupted => "interrupted",
            Ended::Failed(_) => "failed",
        }
        .to_owned(),
    }
}

/// What a load will have come to.
pub(super) type Coming = oneshot::Receiver<Result<LoadOutcome, Failure>>;

/// A load that was started.
pub(super) struct Running {
    stop: Stop,
    outcome: Coming,
    /// What it came to, once somebody has looked.
    ended: Option<Result<LoadOutcome, Failure>>,
    session: Arc<Session>,
    /// Nobody waits for it any more.
    drop: fn(&Stop),
}

impl Running {
    /// Returns once the load has begun. It ends with the run; `drop` ends it when nobody waits for it any more.
    pub(super) async fn begun(
        stop: Stop,
        has_begun: oneshot::Receiver<()>,
        outcome: Coming,
        session: &Arc<Session>,
        drop: fn(&Stop),
    ) -> Result<Box<dyn LoadHandle>, Failure> {
        let handle = Self {
            stop,
            outcome,
            ended: None,
            session: Arc::clone(session),
            drop,
        };
        match has_begun.await {
            Ok(()) => {
                // A load that nobody waits for ends with the run all the same.
                let (ends, run) = (handle.stop.clone(), session.stop().clone());
                tokio::spawn(async move {
                    run.stopped().await;
                    ends.stop();
                    run.aborted().await;
                    ends.abort();
                });
                Ok(Box::new(handle))
            }
            // It ended before it began, and says why.
            Err(_) => match handle.end().await {
                Ok(_) => Err(failure("failed", "the load ended before it began")),
                Err(failure) => Err(failure),
            },
        }
    }

    /// Its end, or that of the run, which is then the load's too.
    async fn end(mut self) -> Result<LoadOutcome, Failure> {
        if let Some(ended) = self.ended.take() {
            return ended;
        }
        tokio::select! {
            biased;
            ended = &mut self.outcome => of_thread(ended),
            () = self.session.stop().stopped() => {
                self.stop.stop();
                Err(interrupted())
            }
        }
    }

    async fn ended_within(&mut self, timeout: Duration) -> Result<bool, Failure> {
        if self.ended.is_some() {
            return Ok(true);
        }
        tokio::select! {
            biased;
            ended = &mut self.outcome => {
                self.ended = Some(of_thread(ended));
                Ok(true)
            }
            () = self.session.stop().stopped() => Err(interrupted()),
            () = tokio::time::sleep(timeout) => Ok(false),
        }
    }
}

fn of_thread(
    ended: Result<Result<LoadOutcome, Failure>, oneshot::error::RecvError>,
) -> Result<LoadOutcome, Failure> {
    ended.unwrap_or_else(|_| Err(failure("failed", "the load's thread panicked")))
}

impl Drop for Running {
    fn drop(&mut self) {
        // Of a load that has ended this means nothing.
        (self.drop)(&self.stop);
    }
}

impl LoadHandle for Running {
    fn ended_within(&mut self, timeout_ms: u64) -> BoxFuture<'_, Result<bool, Failure>> {
        Box::pin(self.ended_within(Duration::from_millis(timeout_ms)))
    }

    fn wait(self: Box<Self>) -> BoxFuture<'static, Result<LoadOutcome, Failure>> {
        Box::pin(self.end())
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<LoadOutcome, Failure>> {
        self.stop.stop();
        Box::pin(self.end())
    }
}
