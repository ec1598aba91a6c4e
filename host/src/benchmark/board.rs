//! Progress of a benchmark on stderr: what it says it does, and how far the objects are that it follows.

use std::{io::IsTerminal as _, sync::Arc, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

use super::trackers::Following;
use crate::live;

/// Between two drawings on a terminal.
const REDRAW: Duration = Duration::from_millis(200);
/// Between two lines elsewhere, and only when there is something new.
const LINE: Duration = Duration::from_secs(5);

/// Most trackers that are shown; the others go on unseen.
const MOST_TRACKERS: usize = 8;

/// What is to be shown. Whoever knows something writes it here; a task shows it.
pub(crate) struct Board {
    on_terminal: bool,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    what: String,
    done: u64,
    total: u64,
    followed: Vec<Arc<Following>>,
    shown: Vec<String>,
}

impl Board {
    pub(crate) fn new(plain: bool) -> Self {
        Self {
            on_terminal: !plain
                && std::io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none(),
            now: Mutex::default(),
        }
    }

    pub(crate) fn step(&self, what: String, done: u64, total: u64) {
        let mut now = self.now.lock();
        (now.what, now.done, now.total) = (one_line(&what), done, total);
    }

    pub(crate) fn follow(&self, tracker: &Arc<Following>) {
        self.now.lock().followed.push(Arc::clone(tracker));
    }

    /// No longer shows a tracker, and no longer keeps it alive.
    pub(crate) fn unfollow(&self, tracker: &Arc<Following>) {
        self.now
            .lock()
            .followed
            .retain(|known| !Arc::ptr_eq(known, tracker));
    }

    /// Forgets trackers, so that they end with their users.
    pub(crate) fn clear(&self) {
        self.now.lock().followed.clear();
    }

    /// Shows what is there until it is dropped.
    pub(crate) async fn show(&self) {
        if self.on_terminal {
            self.show_bars().await;
        } else {
            self.show_lines().await;
        }
    }

    async fn show_lines(&self) {
        loop {
            let lines = {
                let mut now = self.now.lock();
                let lines = now.lines();
                if lines == now.shown {
                    Vec::new()
                } else {
                    now.shown.clone_from(&lines);
                    lines
                }
            };
            for line in lines {
                live::say(line);
            }
            tokio::time::sleep(LINE).await;
        }
    }

    async fn show_bars(&self) {
        let bars = Bars::new();
        loop {
            bars.draw(&self.now.lock());
            tokio::time::sleep(REDRAW).await;
        }
    }
}

impl Now {
    fn shown_trackers(&self) -> &[Arc<Following>] {
        self.followed.get(..MOST_TRACKERS).unwrap_or(&self.followed)
    }

    fn lines(&self) -> Vec<String> {
        let step = match (self.what.as_str(), self.total) {
            ("", _) => None,
            (what, 0) => Some(what.to_owned()),
            (what, total) => Some(format!("{what} {}/{total}", self.done)),
        };
        let trackers = self.shown_trackers().iter().filter_map(|tracker| {
            let (seen, reached) = tracker.progress();
            (seen > 0).then(|| format!("  {}: {reached}", tracker.name()))
        });
        step.into_iter().chain(trackers).collect()
    }
}

/// The step's bar, and a line below it for each tracker. Cleared when dropped.
struct Bars {
    all: MultiProgress,
    step: ProgressBar,
    trackers: Mutex<Vec<ProgressBar>>,
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let step = all.add(ProgressBar::new(0));
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len}") {
            step.set_style(style.progress_chars("=> "));
        }
        Self {
            all,
            step,
            trackers: Mutex::default(),
        }
    }

    fn draw(&self, now: &Now) {
        self.step.set_length(now.total);
        self.step.set_position(now.done);
        self.step.set_message(now.what.clone());
        let mut bars = self.trackers.lock();
        let followed = now.shown_trackers();
        while bars.len() > followed.len() {
            if let Some(bar) = bars.pop() {
                bar.finish_and_clear();
            }
        }
        while bars.len() < followed.len() {
            let bar = self.all.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("  {prefix}: {msg}") {
                bar.set_style(style);
            }
            bars.push(bar);
        }
        for (bar, tracker) in bars.iter().zip(followed) {
            bar.set_prefix(tracker.name().to_owned());
            bar.set_message(tracker.progress().1);
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // What a terminal refuses to clear stays.
        self.all.clear().ok();
    }
}

/// A plugin's words on one line without control characters, at most 200 of them.
fn one_line(text: &str) -> String {
    text.chars()
        .take(200)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
