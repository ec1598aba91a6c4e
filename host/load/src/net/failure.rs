//! Why an exchange failed, in kperf's classes and wording, without URLs, so that the number of
//! distinct texts stays small.

use std::{borrow::Cow, io};

use crate::result::FailedExchange;

/// kperf's classes of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Http,
    Http2Protocol,
    Connection,
    Unknown,
}

impl Class {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Http2Protocol => "http2-protocol",
            Self::Connection => "connection",
            Self::Unknown => "unknown",
        }
    }
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    class: Class,
    /// HTTP status, 0 without one.
    status: u16,
    message: Cow<'static, str>,
}

/// Longest message kept: texts of servers and libraries are not ours to bound otherwise.
const MAX_MESSAGE_BYTES: usize = 256;

impl Failure {
    pub(crate) fn new(class: Class, message: impl Into<Cow<'static, str>>) -> Self {
        let mut message = message.into();
        if message.len() > MAX_MESSAGE_BYTES {
            let end = message.floor_char_boundary(MAX_MESSAGE_BYTES);
            message = message.get(..end).unwrap_or_default().to_owned().into();
        }
        Self {
            class,
            status: 0,
            message,
        }
    }

    pub(crate) fn http(status: u16) -> Self {
        Self {
            class: Class::Http,
            status,
            message: Cow::Borrowed(""),
        }
    }

    pub(crate) fn connection(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Class::Connection, message)
    }

    pub(crate) fn unknown(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Class::Unknown, message)
    }

    /// The client gave up waiting.
    pub(crate) fn deadline() -> Self {
        Self::connection("request deadline exceeded")
    }

    /// The deadline passed before a stream was free.
    pub(crate) fn no_stream_in_time() -> Self {
        Self::connection("request deadline exceeded while waiting for a stream")
    }

    /// The run was aborted while the exchange was in flight.
    pub(crate) fn aborted() -> Self {
        Self::unknown("aborted")
    }

    /// `class/message`, the key of error counts.
    pub(crate) fn key(&self) -> String {
        match self.class {
            Class::Http => format!("http/{}", self.status),
            class => format!("{}/{}", class.as_str(), self.message),
        }
    }

    pub(crate) fn to_exchange(&self) -> FailedExchange {
        FailedExchange {
            class: self.class.as_str(),
            status: self.status,
            message: self.message.clone().into_owned(),
        }
    }

    /// From an I/O error; `began` when part of the answer had arrived.
    pub(crate) fn from_io(error: &io::Error, began: bool) -> Self {
        use io::ErrorKind as K;
        let text = match error.kind() {
            K::ConnectionRefused => "connection refused",
            K::ConnectionReset | K::ConnectionAborted => "connection reset by peer",
            // How the HTTP libraries report the end of the socket in the middle of things.
            K::UnexpectedEof | K::BrokenPipe if began => "unexpected EOF",
            K::UnexpectedEof | K::BrokenPipe => "EOF",
            K::TimedOut => "i/o timeout",
            K::HostUnreachable => "no route to host",
            K::NetworkUnreachable => "network is unreachable",
            K::AddrNotAvailable => "cannot assign requested address",
            K::InvalidData => return Self::connection(format!("tls: {error}")),
            _ => return Self::unknown(error.to_string()),
        };
        Self::connection(text)
    }

    /// From an HTTP/1.1 error.
    pub(crate) fn from_http1(error: &hyper::Error, began: bool) -> Self {
        let mut source: Option<&(dyn std::error::Error + 'static)> =
            std::error::Error::source(error);
        while let Some(cause) = source {
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                return Self::from_io(io, began);
            }
            source = cause.source();
        }
        if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            return Self::from_io(&io::ErrorKind::UnexpectedEof.into(), began);
        }
        Self::unknown(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kperfs() {
        let io = |kind: io::ErrorKind, began| Failure::from_io(&kind.into(), began).key();
        assert_eq!(
            io(io::ErrorKind::ConnectionRefused, false),
            "connection/connection refused"
        );
        assert_eq!(
            io(io::ErrorKind::ConnectionReset, true),
            "connection/connection reset by peer"
        );
        assert_eq!(
            io(io::ErrorKind::UnexpectedEof, true),
            "connection/unexpected EOF"
        );
        assert_eq!(io(io::ErrorKind::BrokenPipe, false), "connection/EOF");
        assert_eq!(Failure::http(429).key(), "http/429");
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let failure = Failure::unknown("ü".repeat(500));
        assert!(failure.key().len() <= MAX_MESSAGE_BYTES + "unknown/".len());
    }
}
