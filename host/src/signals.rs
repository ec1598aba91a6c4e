//! Ctrl-C and SIGTERM: first ask to stop, then give up what is in flight, then end.

use std::io;

use kperf_load::Stop;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{exit::Exit, live::say};

/// Listens on a thread of its own until the process ends.
pub fn install(stop: &Stop) {
    let stop = stop.clone();
    let listen = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
        else {
            return;
        };
        runtime.block_on(async {
            // One for all: a signal between two registrations would be lost.
            let Ok(mut signals) = Signals::new() else {
                return std::future::pending().await;
            };
            signals.next().await;
            stop.stop();
            say(
                "stopping: waiting for what is in flight; once more to give it up, results are kept",
            );
            signals.next().await;
            stop.abort();
            say("giving up what is in flight; once more to end without results");
            signals.next().await;
            std::process::exit(i32::from(Exit::Interrupted as u8));
        });
    };
    // Without the thread a signal ends the process at once, as it does by default.
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(listen)
        .ok();
}

/// Returns at the next Ctrl-C or SIGTERM.
pub async fn wait() {
    match Signals::new() {
        Ok(mut signals) => signals.next().await,
        Err(_) => std::future::pending().await,
    }
}

/// Ctrl-C and SIGTERM from the moment it is made, also while nobody waits.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::signal::{Signal, raise};

    use super::*;

    #[tokio::test]
    async fn a_signal_while_nobody_waits_is_not_lost() {
        let mut signals = Signals::new().unwrap();
        for _ in 0..3 {
            // Before the wait begins, as a quick second Ctrl-C is.
            raise(Signal::SIGTERM).unwrap();
            let next = tokio::time::timeout(Duration::from_secs(60), signals.next());
            next.await.expect("the signal was lost");
        }
    }
}
