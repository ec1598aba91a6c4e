//! Diagnostics: `kperf_sdk::info!("opened {n} templates")`.
//!
//! The host forwards messages to its log, bounded in size and number; they are never part of a result. Nothing
//! is formatted when the host would not keep the level.

pub use crate::bindings::kperf::core::logging::Level;

/// Whether a message of this level would be kept.
#[cfg(target_arch = "wasm32")]
pub fn enabled(level: Level) -> bool {
    crate::bindings::kperf::core::logging::enabled(level)
}

/// Logs one message; use the macros.
#[cfg(target_arch = "wasm32")]
pub fn emit(level: Level, message: &str) {
    crate::bindings::kperf::core::logging::emit(level, message, &[]);
}

/// Whether a message of this level would be kept; natively, always.
#[cfg(not(target_arch = "wasm32"))]
pub fn enabled(_level: Level) -> bool {
    true
}

/// Logs one message; natively, for [`testing::logs`](crate::testing::logs).
#[cfg(not(target_arch = "wasm32"))]
pub fn emit(level: Level, message: &str) {
    crate::testing::keep_log(level, message);
}

/// Logs at a level, formatting only if it would be kept: `log!(Level::Info, "…")`.
#[macro_export]
macro_rules! log {
    ($level:expr, $($message:tt)+) => {{
        let level = $level;
        if $crate::log::enabled(level) {
            $crate::log::emit(level, &::std::format!($($message)+));
        }
    }};
}

/// Logs what only the plugin's author wants to see, in great number.
#[macro_export]
macro_rules! trace {
    ($($message:tt)+) => { $crate::log!($crate::log::Level::Trace, $($message)+) };
}

/// Logs what helps to find a mistake.
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => { $crate::log!($crate::log::Level::Debug, $($message)+) };
}

/// Logs what a user may want to know.
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => { $crate::log!($crate::log::Level::Info, $($message)+) };
}

/// Logs what a user should look at.
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => { $crate::log!($crate::log::Level::Warn, $($message)+) };
}

/// Logs what went wrong.
#[macro_export]
macro_rules! error {
    ($($message:tt)+) => { $crate::log!($crate::log::Level::Error, $($message)+) };
}
