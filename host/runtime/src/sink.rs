//! `kperf:report/sink`: where an exporter's bytes go. The host behind [`Sinks`] does the work; this
//! file bounds what reaches it.

use std::{future::Future, pin::Pin};

use wasmtime::component::{Linker, Resource, ResourceType};

pub use crate::v0_1::kperf::{
    core::vocabulary::Failure,
    report::sink::{Delivery, Receipt},
};
use crate::{
    guest::Guest,
    v0_1::kperf::report::{measures, sink},
};

/// A future that can move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The destinations one exporter was given. Names are checked here: a plugin may ask for any.
pub trait Sinks: Send + Sync {
    /// Opens a destination that is a file, standard output or a directory. `file` is the name of a file in a
    /// directory, one step of a path and checked as such, and empty for the others.
    ///
    /// # Errors
    /// `no-such-sink`, `wrong-kind` or `io`.
    fn open(&self, name: &str, file: &str) -> Result<Box<dyn Output>, Failure>;

    /// Sends to a destination that is a URL; any status is a receipt.
    ///
    /// # Errors
    /// `no-such-sink`, `wrong-kind`, `denied` or `unreachable`.
    fn send<'a>(
        &'a self,
        name: &'a str,
        delivery: Delivery,
    ) -> BoxFuture<'a, Result<Receipt, Failure>>;
}

/// An open file or standard output. Dropped without [`Output::finish`], it must leave nothing behind.
pub trait Output: Send {
    /// Takes one chunk, at most `Limits::chunk_bytes`.
    ///
    /// # Errors
    /// `io`.
    fn write(&mut self, chunk: &[u8]) -> Result<(), Failure>;

    /// Makes what was written permanent.
    ///
    /// # Errors
    /// `io`.
    fn finish(self: Box<Self>) -> Result<(), Failure>;
}

/// The host's side of the resource `output`; `None` once finished or failed.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct OpenOutput(Option<Box<dyn Output>>);

/// A failure of the host towards a plugin.
#[must_use]
pub fn failure(code: &str, message: impl Into<String>) -> Failure {
    Failure {
        code: code.to_owned(),
        message: message.into(),
        hints: Vec::new(),
    }
}

/// Most bytes of a file's name, which is what file systems take.
const FILE_NAME_BYTES: usize = 255;

/// Lets through what is one step of a path, whatever the file system: no separator of any system, no step up, no
/// control character. Empty is no name; it stands for a destination that is a file itself.
fn checked_file_name(file: &str) -> Result<(), Failure> {
    let wrong = if file == "." || file == ".." {
        "is not the name of a file"
    } else if file.contains(['/', '\\']) {
        "has a separator in it"
    } else if file.chars().any(char::is_control) {
        "has a control character in it"
    } else if file.len() > FILE_NAME_BYTES {
        "is longer than 255 bytes"
    } else {
        return Ok(());
    };
    let shown: String = file.chars().take(64).collect();
    Err(failure(
        "bad-name",
        format!("{shown:?} {wrong}: a file in a directory is named by one step"),
    ))
}

impl measures::Host for Guest {}

impl sink::Host for Guest {
    async fn open(
        &mut self,
        name: String,
        file: String,
    ) -> wasmtime::Result<Result<Resource<OpenOutput>, Failure>> {
        if let Err(failure) = checked_file_name(&file) {
            return Ok(Err(failure));
        }
        let limit = self.limits.open_outputs;
        if self.outputs_open >= limit {
            return Ok(Err(failure(
                "too-many-outputs",
                format!("{limit} outputs are open, more are not allowed"),
            )));
        }
        let Some(sinks) = &self.sinks else {
            return Ok(Err(failure("no-such-sink", "there are no sinks")));
        };
        match sinks.open(&name, &file) {
            Ok(output) => {
                self.outputs_open += 1;
                Ok(Ok(self.table.push(OpenOutput(Some(output)))?))
            }
            Err(failure) => Ok(Err(failure)),
        }
    }

    async fn send(
        &mut self,
        name: String,
        request: Delivery,
    ) -> wasmtime::Result<Result<Receipt, Failure>> {
        let limit = self.limits.delivery_bytes;
        let size = request.body.len();
        if size > limit {
            return Ok(Err(failure(
                "too-large",
                format!("a body of {size} bytes is above the limit of {limit}"),
            )));
        }
        let Some(sinks) = self.sinks.clone() else {
            return Ok(Err(failure("no-such-sink", "there are no sinks")));
        };
        let mut receipt = sinks.send(&name, request).await;
        if let Ok(receipt) = &mut receipt {
            receipt.body.truncate(self.limits.receipt_bytes);
        }
        Ok(receipt)
    }
}

impl sink::HostOutput for Guest {
    async fn write(
        &mut self,
        output: Resource<OpenOutput>,
        chunk: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Failure>> {
        let limit = self.limits.chunk_bytes;
        if chunk.len() > limit {
            return Ok(Err(failure(
                "too-large",
                format!(
                    "a chunk of {} bytes is above the limit of {limit}",
                    chunk.len()
                ),
            )));
        }
        let open = self.table.get_mut(&output)?;
        Ok(match &mut open.0 {
            None => Err(failure("closed", "the output is finished")),
            Some(open) => open.write(&chunk),
        })
    }

    async fn finish(
        &mut self,
        output: Resource<OpenOutput>,
    ) -> wasmtime::Result<Result<(), Failure>> {
        Ok(match self.table.get_mut(&output)?.0.take() {
            None => Err(failure("closed", "the output is finished")),
            Some(open) => open.finish(),
        })
    }

    async fn drop(&mut self, output: Resource<OpenOutput>) -> wasmtime::Result<()> {
        self.outputs_open = self.outputs_open.saturating_sub(1);
        self.table.delete(output)?;
        Ok(())
    }
}

/// Sinks for `describe`, which must do nothing but describe: every use is a trap that says so.
pub(crate) fn add_refusals_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut sink = linker.instance("kperf:report/sink@0.1.0")?;
    sink.resource("output", ResourceType::host::<OpenOutput>(), |_, _| Ok(()))?;
    for function in [
        "open",
        "send",
        "[method]output.write",
        "[method]output.finish",
    ] {
        sink.func_new(function, |_, _, _, _| {
            Err(wasmtime::Error::msg("describe must not use a sink"))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_one_step() {
        for good in [
            "",
            "a.json",
            "...",
            "..a",
            "a b_2024-07-29T19:29:52Z.json",
            "ü",
            "-",
        ] {
            assert!(checked_file_name(good).is_ok(), "{good:?}");
        }
        let long = "a".repeat(256);
        for bad in [
            ".",
            "..",
            "/",
            "a/b",
            "../a",
            "/etc/passwd",
            "a\\b",
            "a\0",
            "a\n",
            "\u{85}",
            &long,
        ] {
            let failure = checked_file_name(bad).unwrap_err();
            assert_eq!(failure.code, "bad-name", "{bad:?}");
            assert!(failure.message.len() < 200 && !failure.message.contains('\n'));
        }
        assert!(checked_file_name(&"a".repeat(255)).is_ok());
    }
}
