//! How far a network run is, on stderr: a bar over its tasks on a terminal, else a line for each.

use std::sync::Arc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kperf_network::{TaskRecord, orchestrator::Progress};

use crate::{
    live::{Live, say},
    network,
};

/// What an orchestrator tells its progress to.
pub type Callback = Arc<dyn Fn(Progress<'_>) + Send + Sync>;

/// Shows the progress of one run.
#[derive(Clone, Debug)]
pub struct TaskProgress {
    /// On a terminal.
    bar: Option<ProgressBar>,
    main_metric: String,
}

impl TaskProgress {
    /// `main_metric` is shown of every task.
    #[must_use]
    pub fn new(live: &Live, main_metric: &str) -> Self {
        let bar = (!live.is_plain()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) =
                ProgressStyle::with_template("[{bar:30}] {pos}/{len} {elapsed} (left {eta}) {msg}")
            {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        Self {
            bar,
            main_metric: main_metric.to_owned(),
        }
    }

    /// For the orchestrator.
    #[must_use]
    pub fn callback(&self) -> Callback {
        let shown = self.clone();
        Arc::new(move |progress| shown.show(progress))
    }

    /// The run is over, or cut short.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn show(&self, progress: Progress<'_>) {
        match (progress, &self.bar) {
            (Progress::Registered { workers, expected }, None) => {
                say(format_args!("{workers} of {expected} workers"));
            }
            (Progress::Registered { workers, expected }, Some(bar)) => {
                bar.set_message(format!("{workers} of {expected} workers"));
            }
            (Progress::Begins { task, done, total }, None) => {
                say(format_args!("[{}/{total}] {task}", done + 1));
            }
            (Progress::Begins { task, done, total }, Some(bar)) => {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
                bar.set_message(task.to_string());
            }
            (Progress::Ended { task, .. }, None) => say(format_args!("  {}", self.outcome(task))),
            (Progress::Ended { task, done, .. }, Some(bar)) => {
                bar.set_position(done as u64);
                if task.error.is_some() {
                    bar.println(format!("{}: {}", task.key, self.outcome(task)));
                }
            }
            (Progress::Lost { worker }, None) => say(format_args!("worker {worker} is lost")),
            (Progress::Lost { worker }, Some(bar)) => {
                bar.println(format!("worker {worker} is lost"));
            }
        }
    }

    fn outcome(&self, task: &TaskRecord) -> String {
        if let Some(error) = &task.error {
            return format!("{}: {}", error.class, error.message);
        }
        let main = task
            .readings
            .iter()
            .find(|reading| reading.name == self.main_metric);
        main.map_or_else(
            || task.state.to_string(),
            |reading| network::in_unit(reading.value, &reading.unit),
        )
    }
}
