//! How a scenario ends: with its load.

use kperf_sdk::benchmark::prelude::*;

/// How often work beside the load looks whether the load has ended.
pub const LOOK_MS: u64 = 250;

/// What became of the work beside the load.
#[derive(Debug)]
pub enum Work {
    /// It went on until the load ended; one sentence of it.
    Done(String),
    /// It failed, and the load went on without it.
    Failed(Failure),
}

impl Work {
    /// A failure of the work is kept for the verdict; that the run is being stopped ends everything.
    ///
    /// # Errors
    /// `interrupted`, and what the run was not granted.
    pub fn of(result: Result<String, Failure>) -> Result<Self, Failure> {
        match result {
            Ok(text) => Ok(Self::Done(text)),
            Err(failure) if matches!(failure.code.as_str(), "interrupted" | "denied") => {
                Err(failure)
            }
            Err(failure) => Ok(Self::Failed(failure)),
        }
    }
}

/// Waits for the load, and says how it all went.
///
/// # Errors
/// The load could not be done to its end.
pub fn wait(phase: &load::Phase, work: Work) -> Result<Verdict, Failure> {
    let outcome = phase.wait()?;
    if outcome.ended != "completed" {
        return Err(Failure::new(
            "load",
            format!("the load {}: {}", outcome.ended, outcome.reason),
        ));
    }
    let load = format!(
        "{} of {} requests succeeded",
        outcome.succeeded, outcome.sent
    );
    Ok(match work {
        Work::Done(text) if text.is_empty() => Verdict::passed(load),
        Work::Done(text) => Verdict::passed(format!("{load}; {text}")),
        Work::Failed(failure) => Verdict::failed(format!(
            "{load}, but the workload beside them failed: {}",
            failure.message
        )),
    })
}
