//! How a run is ended from outside, by Ctrl-C for example.

use std::sync::Arc;

use tokio::sync::watch;

/// How far a run is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StopState {
    Running,
    Stopped,
    Aborted,
}

/// Ends a phase from any thread. Clones share one state, which never goes back.
#[derive(Clone, Debug)]
pub struct Stop {
    state: Arc<watch::Sender<StopState>>,
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

impl Stop {
    /// Not stopped.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(StopState::Running)),
        }
    }

    /// Ends the handing out of requests; what is in flight is waited for, up to its deadline.
    pub fn stop(&self) {
        self.raise(StopState::Stopped);
    }

    /// Ends it and gives up what is in flight.
    pub fn abort(&self) {
        self.raise(StopState::Aborted);
    }

    /// Whether [`Stop::stop`] or [`Stop::abort`] was called.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.state.borrow() != StopState::Running
    }

    /// Whether [`Stop::abort`] was called.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        *self.state.borrow() == StopState::Aborted
    }

    /// Waits for [`Stop::stop`] or [`Stop::abort`].
    pub async fn stopped(&self) {
        self.at_least(StopState::Stopped).await;
    }

    /// Waits for [`Stop::abort`].
    pub async fn aborted(&self) {
        self.at_least(StopState::Aborted).await;
    }

    async fn at_least(&self, state: StopState) {
        let mut receiver = self.state.subscribe();
        // The sender lives as long as `self`, so there is no error to wait out.
        let _ = receiver.wait_for(|current| *current >= state).await;
    }

    fn raise(&self, to: StopState) {
        self.state.send_if_modified(|state| {
            let is_higher = to > *state;
            *state = to.max(*state);
            is_higher
        });
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<StopState> {
        let mut receiver = self.state.subscribe();
        if *receiver.borrow() != StopState::Running {
            receiver.mark_changed();
        }
        receiver
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abort_stays_an_abort() {
        let stop = Stop::new();
        assert!(!stop.is_stopped());
        stop.abort();
        stop.clone().stop();
        assert_eq!(*stop.subscribe().borrow(), StopState::Aborted);
    }
}
