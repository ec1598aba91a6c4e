//! Progress of work that is counted in objects: a bar on a terminal, else a line every few seconds.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

use super::{Live, say};

/// Between two lines where there is no bar.
const PAUSE: Duration = Duration::from_secs(2);

/// One step after the other, each with a name.
#[derive(Debug)]
pub struct Steps {
    bar: Option<ProgressBar>,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    at: Option<Instant>,
    text: String,
}

impl Live {
    /// For work outside of phases.
    #[must_use]
    pub fn steps(&self) -> Steps {
        let bar = self.on_terminal.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Steps {
            bar,
            said: Mutex::default(),
        }
    }
}

impl Steps {
    /// How far it is. What comes too soon after the last line is not printed without a bar.
    pub fn now(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
            bar.tick();
            return;
        }
        let mut said = self.said.lock();
        let is_soon = said.at.is_some_and(|at| at.elapsed() < PAUSE);
        if !is_soon && said.text != text {
            say(&text);
            said.at = Some(Instant::now());
            said.text = text;
        }
    }

    /// `WHAT: 12 of 200`.
    pub fn count(&self, what: &str, done: u64, total: u64) {
        self.now(format!("{what}: {done} of {total}"));
    }

    /// A line that stays.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => say(text),
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
