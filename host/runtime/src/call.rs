//! Who is called, and what a failed call means: traps of wasmtime become errors that name the limit.

use std::{sync::Arc, time::Duration};

use wasmtime::{Error, Trap};
use wasmtime_wasi::I32Exit;

use crate::{
    error::{Details, Phase, PluginError},
    guest::Guest,
    inspect::{Inspection, World},
    sink::Failure,
    text::one_line,
};

/// Longest text taken over from a plugin into an error.
const TEXT_BYTES: usize = 1000;

/// What every error about a plugin starts with.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The plugin's name, before `describe` where it came from.
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    pub(crate) world: World,
    pub(crate) inspection: Arc<Inspection>,
}

impl Identity {
    fn details(&self, phase: Phase) -> Details {
        Details {
            plugin: self.name.clone(),
            version: self.version.clone(),
            sha256_prefix: self.inspection.sha256.get(..12).map(str::to_owned),
            world: Some(self.world.as_str()),
            phase: Some(phase),
            ..Details::default()
        }
    }

    /// Something the host found wrong with what the plugin gave it.
    pub(crate) fn error(
        &self,
        phase: Phase,
        code: &'static str,
        message: impl Into<String>,
    ) -> PluginError {
        PluginError::new(Details {
            code,
            message: message.into(),
            ..self.details(phase)
        })
    }

    /// Something wasmtime found wrong before any call.
    pub(crate) fn engine_error(
        &self,
        phase: Phase,
        code: &'static str,
        message: impl Into<String>,
        error: &Error,
    ) -> PluginError {
        PluginError::new(Details {
            code,
            message: message.into(),
            causes: causes(error),
            ..self.details(phase)
        })
    }

    /// The plugin's own failure.
    pub(crate) fn failure(&self, phase: Phase, failure: &Failure, guest: &Guest) -> PluginError {
        let hints = failure
            .hints
            .iter()
            .filter(|hint| hint.key != "key")
            .take(4)
            .map(|hint| one_line(&hint.value, TEXT_BYTES))
            .collect::<Vec<_>>()
            .join("; ");
        PluginError::new(Details {
            code: "failure",
            plugin_code: Some(one_line(&failure.code, 64)),
            plugin_message: Some(one_line(&failure.message, TEXT_BYTES)),
            config_key: failure
                .hints
                .iter()
                .find(|hint| hint.key == "key")
                .map(|hint| one_line(&hint.value, 128)),
            message: format!(
                "{} [{}]",
                one_line(&failure.message, TEXT_BYTES),
                one_line(&failure.code, 64)
            ),
            stderr: guest.stderr.text(),
            hint: (!hints.is_empty()).then_some(hints),
            ..self.details(phase)
        })
    }

    /// A call that did not return. `deadline` is the one that was in force.
    pub(crate) fn trap(
        &self,
        phase: Phase,
        error: &Error,
        guest: &Guest,
        deadline: Duration,
    ) -> PluginError {
        let (code, message, hint) = self.explain(error, guest, deadline);
        PluginError::new(Details {
            code,
            message,
            hint,
            stderr: guest.stderr.text(),
            causes: causes(error),
            ..self.details(phase)
        })
    }

    fn explain(
        &self,
        error: &Error,
        guest: &Guest,
        deadline: Duration,
    ) -> (&'static str, String, Option<String>) {
        if let Some(Trap::Interrupt) = error.downcast_ref() {
            return self.explain_deadline(deadline);
        }
        if let Some(Trap::StackOverflow) = error.downcast_ref() {
            return (
                "stack",
                "it ran out of stack".to_owned(),
                Some("most likely an endless recursion".to_owned()),
            );
        }
        if let Some(refused) = guest.use_of.refused_bytes {
            return (
                "memory",
                format!(
                    "it needed {} MiB of memory, its limit is {} MiB",
                    refused.div_ceil(1 << 20),
                    guest.limits.memory_bytes >> 20
                ),
                Some(
                    "raise the limit with --plugin-memory if it is right to need that much".into(),
                ),
            );
        }
        if let Some(trap) = error.downcast_ref::<Trap>() {
            return match trap {
                Trap::MemoryOutOfBounds | Trap::HeapMisaligned | Trap::TableOutOfBounds => (
                    "out-of-bounds",
                    "it reached outside its memory".to_owned(),
                    None,
                ),
                Trap::UnreachableCodeReached => {
                    ("trap", "it gave up (a panic or an abort)".to_owned(), None)
                }
                Trap::CannotEnterComponent => (
                    "spent",
                    "it was called again after a call that did not end".to_owned(),
                    None,
                ),
                other => ("trap", format!("it trapped: {other}"), None),
            };
        }
        if let Some(exit) = error.downcast_ref::<I32Exit>() {
            return ("exit", format!("it exited with status {}", exit.0), None);
        }
        let text = causes(error);
        // The error type of this limit is private to wasmtime.
        if text
            .iter()
            .any(|cause| cause.contains("fuel allocated for hostcalls"))
        {
            let bytes = if self.world.is_generator() {
                guest.limits.generator_call_bytes
            } else {
                guest.limits.exporter_call_bytes
            };
            return (
                "too-much-data",
                format!("it handed over more than {} MiB in one call", bytes >> 20),
                None,
            );
        }
        if text.iter().any(|cause| cause.contains("component handles")) {
            return ("handles", "it holds too many handles".to_owned(), None);
        }
        let last = text.last().map_or("unknown reason", String::as_str);
        (
            "trap",
            format!("it trapped: {}", one_line(last, TEXT_BYTES)),
            None,
        )
    }

    /// A deadline that the caller kept itself.
    pub(crate) fn deadline(&self, phase: Phase, guest: &Guest, deadline: Duration) -> PluginError {
        let (code, message, hint) = self.explain_deadline(deadline);
        PluginError::new(Details {
            code,
            message,
            hint,
            stderr: guest.stderr.text(),
            ..self.details(phase)
        })
    }

    fn explain_deadline(&self, deadline: Duration) -> (&'static str, String, Option<String>) {
        (
            "deadline",
            format!(
                "it ran longer than its limit of {} ms for one call",
                deadline.as_millis()
            ),
            None,
        )
    }
}

/// The chain of an engine error, outermost first, each on one line.
fn causes(error: &Error) -> Vec<String> {
    error
        .chain()
        .map(|cause| one_line(&cause.to_string(), TEXT_BYTES))
        .collect()
}
