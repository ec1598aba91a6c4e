//! A whole bulk in one call: one operation an action, with news of how far it is.

use std::{sync::Arc, time::Duration};

use super::{Action, Bulk, BulkOptions, BulkOutcome};
use crate::{api::ApiFailure, operation::Operation, session::Session};

/// Between two reports of progress.
const NEWS: Duration = Duration::from_millis(200);
/// Operations handed over at once.
const PORTION: usize = 100;

/// Does each operation at a pace. `progress` is told, a few times a second, how many have succeeded and failed.
/// Operations are asked for as they are needed, so that not all bodies are in memory at once.
///
/// # Errors
/// Options that make no sense. What became of the operations is in the outcome, also when something ended it early.
pub async fn perform_each(
    session: &Arc<Session>,
    options: &BulkOptions,
    operations: impl Iterator<Item = Operation> + Send,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<BulkOutcome, ApiFailure> {
    let bulk = Bulk::start(session, options)?;
    let shared = Arc::clone(&bulk.shared);
    let mut operations = operations.map(|operation| Action {
        at_ns: 0,
        operations: vec![operation],
    });
    let work = async move {
        loop {
            let portion: Vec<Action> = operations.by_ref().take(PORTION).collect();
            // Why it takes no more is in the outcome.
            if portion.is_empty() || bulk.push(portion).await.is_err() {
                break;
            }
        }
        bulk.finish().await
    };
    let mut news = tokio::time::interval(NEWS);
    news.tick().await;
    tokio::pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => {
                progress(outcome.succeeded, outcome.failed);
                return Ok(outcome);
            }
            _ = news.tick() => {
                let (succeeded, failed) = shared.record.lock().progress();
                progress(succeeded, failed);
            }
        }
    }
}
