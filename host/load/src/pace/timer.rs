//! A timer finer than the runtime's millisecond wheel.
//!
//! Linux: a timerfd on the shard's reactor, armed once per wake-up and never read (re-arming resets
//! it). Elsewhere: the runtime's own timer.

use std::time::Instant;

/// One timer of one task.
#[derive(Debug)]
pub struct Timer {
    #[cfg(target_os = "linux")]
    fine: Option<linux::Fine>,
}

impl Timer {
    /// Must be called on the runtime that waits.
    #[allow(clippy::new_without_default, reason = "it needs a runtime around it")]
    #[must_use]
    pub fn new() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            fine: linux::Fine::new()
                .inspect_err(
                    |error| tracing::warn!(%error, "no fine timer; pacing falls back to 1 ms"),
                )
                .ok(),
        }
    }

    /// Waits until a moment; at once if it has passed. May wake early by a few microseconds: ask the clock.
    pub async fn sleep_until(&self, moment: Instant) {
        #[cfg(target_os = "linux")]
        if let Some(fine) = &self.fine
            && fine.sleep_until(moment).await.is_ok()
        {
            return;
        }
        tokio::time::sleep_until(moment.into()).await;
    }
}

/// Lets the kernel wake this thread within a microsecond of what it asked for; the default slack of
/// 50 µs blurs both the pacing and the pile-up.
pub(crate) fn sharpen_thread_timers() {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_timerslack(1_000) {
        tracing::warn!(%error, "timer slack stays at the kernel's default");
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        io,
        os::fd::{AsFd, AsRawFd, RawFd},
        time::{Duration, Instant},
    };

    use nix::sys::{
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    };
    use tokio::io::{Interest, unix::AsyncFd};

    /// Owns its descriptor for life and never changes it, which is all that `AsyncFd` relies on.
    #[derive(Debug)]
    struct Descriptor(TimerFd);

    impl AsRawFd for Descriptor {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_fd().as_raw_fd()
        }
    }

    #[derive(Debug)]
    pub(super) struct Fine(AsyncFd<Descriptor>);

    impl Fine {
        pub(super) fn new() -> io::Result<Self> {
            let timer = TimerFd::new(
                ClockId::CLOCK_MONOTONIC,
                TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
            )?;
            #[expect(
                deprecated,
                reason = "its successor is unsafe; the promise that one asks for is kept by Descriptor"
            )]
            let timer = AsyncFd::with_interest(Descriptor(timer), Interest::READABLE)?;
            Ok(Self(timer))
        }

        pub(super) async fn sleep_until(&self, moment: Instant) -> io::Result<()> {
            loop {
                let left = moment.saturating_duration_since(Instant::now());
                if left < Duration::from_micros(1) {
                    return Ok(());
                }
                self.0.get_ref().0.set(
                    Expiration::OneShot(TimeSpec::from_duration(left)),
                    TimerSetTimeFlags::empty(),
                )?;
                // An expiry of an earlier, abandoned sleep may still be noted: then the loop goes round once.
                self.0.readable().await?.clear_ready();
            }
        }
    }
}
