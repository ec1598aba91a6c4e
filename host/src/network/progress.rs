//! What happens in a run, as lines for people.

use kperf_network::orchestrator::Progress;

/// A line; none where there is nothing to say.
#[must_use]
pub fn progress_line(progress: Progress<'_>) -> Option<String> {
    Some(match progress {
        Progress::Registered { workers, expected } => format!("{workers} of {expected} workers"),
        Progress::Begins { task, done, total } => format!("[{}/{total}] {task}", done + 1),
        Progress::Ended { task, .. } => match &task.error {
            None => return None,
            Some(error) => format!(
                "{}: {}: {}: {}",
                task.key, task.state, error.class, error.message
            ),
        },
        Progress::Lost { worker } => format!("worker {worker} is lost"),
    })
}
