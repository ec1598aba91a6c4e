//! Destinations the user declared: files, standard output, URLs.
//!
//! A plugin knows them by name only; [`BeginContext::sink`](crate::exporter::BeginContext) is the one to use unless the
//! configuration names another. Natively they are kept in memory; see [`testing::sink`](crate::testing::sink).

use std::io;

pub use crate::bindings::kperf::report::sink::{Delivery, Receipt};
use crate::failure::{Failure, Label};

/// Most that one `write` of the host takes.
const CHUNK_BYTES: usize = 1 << 20;
/// Below this a call into the host costs more than the copy.
const BUFFER_BYTES: usize = 64 << 10;

#[cfg(target_arch = "wasm32")]
use crate::bindings::kperf::report::sink as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::host_sink as host;

/// A file or standard output: buffered, and kept only once [`finish`](Output::finish) succeeds.
#[derive(Debug)]
pub struct Output {
    output: host::Output,
    buffer: Vec<u8>,
}

impl Output {
    /// Opens a destination that is a file or standard output.
    ///
    /// Failure codes: `no-such-sink`, `wrong-kind`, `io`.
    pub fn open(name: &str) -> Result<Self, Failure> {
        Ok(Self {
            output: host::open(name, "")?,
            buffer: Vec::with_capacity(BUFFER_BYTES),
        })
    }

    /// Opens a file in a destination that is a directory; `file` is its name there, without separators.
    ///
    /// Failure codes: `no-such-sink`, `wrong-kind`, `bad-name`, `io`.
    pub fn open_in(name: &str, file: &str) -> Result<Self, Failure> {
        Ok(Self {
            output: host::open(name, file)?,
            buffer: Vec::with_capacity(BUFFER_BYTES),
        })
    }

    /// Makes what was written permanent: the file appears, whole. Dropping the output instead keeps nothing.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.flush_buffer()?;
        self.output.finish()
    }

    fn flush_buffer(&mut self) -> Result<(), Failure> {
        for chunk in self.buffer.chunks(CHUNK_BYTES) {
            self.output.write(chunk)?;
        }
        self.buffer.clear();
        Ok(())
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush_buffer().map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush_buffer().map_err(io::Error::other)
    }
}

/// Writes a whole file in one go.
pub fn write(name: &str, bytes: &[u8]) -> Result<(), Failure> {
    let mut output = Output::open(name)?;
    io::Write::write_all(&mut output, bytes)?;
    output.finish()
}

/// Sends to a destination that is a URL, with the host's deadline, TLS and retries.
///
/// Any status is a receipt; [`Receipt::success`] makes others than 2xx a failure. Failure codes:
/// `no-such-sink`, `wrong-kind`, `denied`, `unreachable`.
pub fn send(name: &str, delivery: &Delivery) -> Result<Receipt, Failure> {
    host::send(name, delivery)
}

impl Delivery {
    /// A request with this method, below the destination's URL; not repeated after a failure unless
    /// [`retried`](Delivery::retried).
    pub fn new(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
            retry: false,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(Label {
            key: name.into(),
            value: value.into(),
        });
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Lets the host send it again after a failure that says nothing about it (connection errors, 429, 502, 503, 504).
    #[must_use]
    pub fn retried(mut self) -> Self {
        self.retry = true;
        self
    }
}

impl Receipt {
    /// The receipt of a 2xx answer; a failure `refused` with status and the start of the body otherwise.
    pub fn success(self) -> Result<Self, Failure> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let start: String = String::from_utf8_lossy(&self.body)
            .chars()
            .take(300)
            .collect();
        let message = format!("the destination answered {}: {}", self.status, start.trim());
        Err(Failure::new("refused", message).hint("status", self.status.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use std::io::Write;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        testing::reset();
        let mut output = Output::open("report").unwrap();
        write!(output, "half").unwrap();
        drop(output);
        assert_eq!(testing::sink("report"), None);
        let large = vec![7; 3 * CHUNK_BYTES + 5];
        write("report", &large).unwrap();
        assert_eq!(testing::sink("report"), Some(large));
    }

    #[test]
    fn receipts_other_than_2xx_are_failures() {
        testing::reset();
        testing::answer(202, b"");
        testing::answer(400, b"bad metric line");
        let delivery = Delivery::new("PUT", "/metrics/job/a")
            .body("a 1\n")
            .retried();
        assert_eq!(
            send("gateway", &delivery)
                .unwrap()
                .success()
                .unwrap()
                .status,
            202
        );
        let failure = send("gateway", &delivery).unwrap().success().unwrap_err();
        assert_eq!(failure.code, "refused");
        assert!(
            failure.message.contains("bad metric line"),
            "{}",
            failure.message
        );
        assert_eq!(testing::deliveries("gateway"), [delivery.clone(), delivery]);
    }
}
