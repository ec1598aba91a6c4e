//! `kperf:core/logging`: a plugin's words in the host's log, bounded and made safe to print.

use crate::{
    guest::Guest,
    text::one_line,
    v0_1::kperf::core::{
        logging::{Host, Level},
        vocabulary::{self, Label},
    },
};

/// What one instance may still log.
pub(crate) struct LogBudget {
    /// Who speaks: the plugin's name, or where it came from.
    pub(crate) plugin: String,
    pub(crate) messages_left: u32,
    pub(crate) message_bytes: usize,
}

impl vocabulary::Host for Guest {}

impl Host for Guest {
    fn enabled(&mut self, level: Level) -> wasmtime::Result<bool> {
        Ok(self.log.messages_left > 0 && is_enabled(level))
    }

    fn emit(&mut self, level: Level, message: String, fields: Vec<Label>) -> wasmtime::Result<()> {
        if self.log.messages_left == 0 || !is_enabled(level) {
            return Ok(());
        }
        let log = &mut self.log;
        log.messages_left -= 1;
        let mut line = one_line(&message, log.message_bytes);
        for field in fields {
            let room = log.message_bytes.saturating_sub(line.len());
            if room == 0 {
                break;
            }
            line.push(' ');
            line.push_str(&one_line(&format!("{}={}", field.key, field.value), room));
        }
        let plugin = log.plugin.as_str();
        match level {
            Level::Trace => tracing::trace!(target: "plugin", plugin, "{line}"),
            Level::Debug => tracing::debug!(target: "plugin", plugin, "{line}"),
            Level::Info => tracing::info!(target: "plugin", plugin, "{line}"),
            Level::Warn => tracing::warn!(target: "plugin", plugin, "{line}"),
            Level::Error => tracing::error!(target: "plugin", plugin, "{line}"),
        }
        if log.messages_left == 0 {
            tracing::warn!(target: "plugin", plugin, "has used up its log; further messages are dropped");
        }
        Ok(())
    }
}

fn is_enabled(level: Level) -> bool {
    match level {
        Level::Trace => tracing::enabled!(target: "plugin", tracing::Level::TRACE),
        Level::Debug => tracing::enabled!(target: "plugin", tracing::Level::DEBUG),
        Level::Info => tracing::enabled!(target: "plugin", tracing::Level::INFO),
        Level::Warn => tracing::enabled!(target: "plugin", tracing::Level::WARN),
        Level::Error => tracing::enabled!(target: "plugin", tracing::Level::ERROR),
    }
}
