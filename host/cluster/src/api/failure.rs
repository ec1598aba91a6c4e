//! Why a call to the API server came to nothing.

use std::{error::Error, fmt, io, time::Duration};

use http::{HeaderMap, header::RETRY_AFTER};
use serde_json::Value;

use crate::grant::Denied;

/// Longest message kept, bytes: texts of servers are not ours to bound otherwise.
const MAX_MESSAGE_BYTES: usize = 1024;
/// Longest text in an error class, bytes; as in the load engine.
const MAX_CLASS_BYTES: usize = 256;

/// What kind of failure, as a stable slug.
///
/// | slug | when | retried |
/// | --- | --- | --- |
/// | `denied` | the run's grants do not cover the call; nothing was sent | no |
/// | `forbidden` | 403: the server's authorisation or an admission plugin refused | no |
/// | `unauthorized` | 401: the credentials are not accepted | no |
/// | `not-found` | 404 for an object (or its namespace) | no |
/// | `already-exists` | 409 with reason `AlreadyExists` | no |
/// | `conflict` | 409 otherwise: a resource version or a field manager | no |
/// | `invalid` | 400, 405, 406, 413, 415, 422, or a manifest or name that could not be sent | no |
/// | `no-such-kind` | discovery knows no such kind: a typo, or a CRD that is not installed | no |
/// | `throttled` | 429 | yes |
/// | `timeout` | 408, 504, or no answer within the client's deadline | with `Retry-After`, or if it may be repeated |
/// | `too-large` | more objects or bytes than the call allows | no |
/// | `unreachable` | no connection, or it broke | if nothing was sent, or it may be repeated |
/// | `interrupted` | the run is being stopped | no |
/// | `failed` | any other answer | 5xx with `Retry-After` |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Refused by the run's grants.
    Denied,
    /// Refused by the server (403).
    Forbidden,
    /// Credentials not accepted (401).
    Unauthorized,
    /// No such object (404).
    NotFound,
    /// The name is taken (409).
    AlreadyExists,
    /// Changed meanwhile, or owned by another field manager (409).
    Conflict,
    /// The request makes no sense to the server, or could not be formed.
    Invalid,
    /// No such kind.
    NoSuchKind,
    /// Too many requests (429).
    Throttled,
    /// No answer in time.
    Timeout,
    /// More than the call allows.
    TooLarge,
    /// No connection, or it broke.
    Unreachable,
    /// The run is being stopped.
    Interrupted,
    /// Any other answer.
    Failed,
}

impl Code {
    /// The slug.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Forbidden => "forbidden",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not-found",
            Self::AlreadyExists => "already-exists",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::NoSuchKind => "no-such-kind",
            Self::Throttled => "throttled",
            Self::Timeout => "timeout",
            Self::TooLarge => "too-large",
            Self::Unreachable => "unreachable",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiFailure {
    /// What kind of failure.
    pub code: Code,
    /// HTTP status, 0 without an answer.
    pub status: u16,
    /// As the load engine counts errors: `http/409`, `connection/connection refused`, `unknown/…`.
    pub class: String,
    /// What happened and, where that is not plain, what to do.
    pub message: String,
    /// How long the server asked to wait.
    pub retry_after: Option<Duration>,
    /// Whether the server may have acted on the request although there is no answer.
    pub may_have_happened: bool,
}

impl ApiFailure {
    /// One that is not an answer of the server.
    pub(crate) fn own(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            status: 0,
            class: format!("unknown/{code}"),
            message: bounded(message.into(), MAX_MESSAGE_BYTES),
            retry_after: None,
            may_have_happened: false,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::own(Code::Invalid, message)
    }

    pub(crate) fn interrupted() -> Self {
        Self::own(Code::Interrupted, "the run is being stopped")
    }

    /// No answer in time.
    pub(crate) fn deadline(what: &str, deadline: Duration) -> Self {
        Self {
            class: "connection/request deadline exceeded".to_owned(),
            may_have_happened: true,
            ..Self::own(
                Code::Timeout,
                format!("{what}: no answer within {} s", deadline.as_secs_f64()),
            )
        }
    }

    /// An answer that is not 2xx.
    pub(crate) fn answer(what: &str, status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(body).unwrap_or_default();
        let reason = value["reason"].as_str().unwrap_or_default();
        let code = match status {
            401 => Code::Unauthorized,
            403 => Code::Forbidden,
            404 => Code::NotFound,
            408 | 504 => Code::Timeout,
            409 if reason == "AlreadyExists" => Code::AlreadyExists,
            409 => Code::Conflict,
            400 | 405 | 406 | 413 | 415 | 422 => Code::Invalid,
            429 => Code::Throttled,
            _ => Code::Failed,
        };
        let said = match value["message"].as_str() {
            Some(message) if !message.is_empty() => message.to_owned(),
            _ => {
                // Not a Status: a proxy, or a path that leads nowhere.
                let text = String::from_utf8_lossy(body);
                let text = text.trim();
                format!("{what}: HTTP {status}: {}", bounded(text.to_owned(), 200))
            }
        };
        let retry_after = headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.trim().parse().ok())
            .or_else(|| value["details"]["retryAfterSeconds"].as_u64())
            .map(Duration::from_secs);
        Self {
            code,
            status,
            class: format!("http/{status}"),
            message: bounded(said, MAX_MESSAGE_BYTES),
            retry_after,
            may_have_happened: status >= 500,
        }
    }

    /// No answer, or half of one.
    pub(crate) fn connection(what: &str, error: &(dyn Error + 'static)) -> Self {
        let cause = Cause::of(error);
        let text = cause
            .class
            .strip_prefix("connection/")
            .unwrap_or(&cause.deepest)
            .to_owned();
        let hint = if cause.never_sent {
            "; is the API server up and its address right?"
        } else {
            ""
        };
        Self {
            class: bounded(cause.class, MAX_CLASS_BYTES),
            may_have_happened: !cause.never_sent,
            ..Self::own(Code::Unreachable, format!("{what}: {text}{hint}"))
        }
    }
}

impl From<Denied> for ApiFailure {
    fn from(denied: Denied) -> Self {
        Self::own(Code::Denied, denied.to_string())
    }
}

/// What stands at the root of a client's error.
struct Cause {
    class: String,
    deepest: String,
    never_sent: bool,
}

impl Cause {
    fn of(error: &(dyn Error + 'static)) -> Self {
        let mut class = None;
        let mut never_sent = false;
        let mut deepest = error.to_string();
        let mut next = Some(error);
        while let Some(cause) = next {
            deepest = cause.to_string();
            if let Some(client) = cause.downcast_ref::<hyper_util::client::legacy::Error>() {
                never_sent |= client.is_connect();
            }
            if let Some(http) = cause.downcast_ref::<hyper::Error>()
                && (http.is_incomplete_message() || http.is_closed() || http.is_canceled())
            {
                class = Some("connection/EOF");
            }
            let io = cause.downcast_ref::<io::Error>();
            if let Some(known) = io.and_then(|io| class_of(io.kind())) {
                class = Some(known);
            }
            // The source of an `io::Error` skips the error it wraps.
            next = match io.and_then(io::Error::get_ref) {
                Some(wrapped) => Some(wrapped as _),
                None => cause.source(),
            };
        }
        Self {
            class: class.map_or_else(|| format!("unknown/{deepest}"), str::to_owned),
            deepest,
            never_sent,
        }
    }
}

/// The load engine's words.
fn class_of(kind: io::ErrorKind) -> Option<&'static str> {
    use io::ErrorKind as K;
    Some(match kind {
        K::ConnectionRefused => "connection/connection refused",
        K::ConnectionReset | K::ConnectionAborted => "connection/connection reset by peer",
        K::UnexpectedEof | K::BrokenPipe => "connection/EOF",
        K::TimedOut => "connection/i/o timeout",
        K::HostUnreachable => "connection/no route to host",
        K::NetworkUnreachable => "connection/network is unreachable",
        K::AddrNotAvailable => "connection/cannot assign requested address",
        K::InvalidData => "connection/tls",
        _ => return None,
    })
}

fn bounded(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> ApiFailure {
        ApiFailure::answer("GET /x", status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn answers_become_codes() {
        for (status, body, code) in [
            (401, "{}", "unauthorized"),
            (403, "{}", "forbidden"),
            (404, "{}", "not-found"),
            (409, r#"{"reason":"AlreadyExists"}"#, "already-exists"),
            (409, r#"{"reason":"Conflict"}"#, "conflict"),
            (422, "{}", "invalid"),
            (429, "{}", "throttled"),
            (504, "{}", "timeout"),
            (500, "{}", "failed"),
            (418, "short and stout", "failed"),
        ] {
            let failure = answer(status, body);
            assert_eq!(failure.code.as_str(), code);
            assert_eq!(failure.class, format!("http/{status}"));
        }
    }

    #[test]
    fn the_server_is_quoted_and_bounded() {
        let failure = answer(404, r#"{"message":"pods \"a\" not found"}"#);
        assert_eq!(failure.to_string(), "pods \"a\" not found");
        let failure = answer(502, &"<html>ü".repeat(1000));
        assert!(
            failure
                .message
                .starts_with("GET /x: HTTP 502: <html>ü<html>")
        );
        assert!(failure.message.len() < 300);
    }

    #[test]
    fn waiting_times_come_from_header_or_body() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "3".parse().unwrap());
        let failure = ApiFailure::answer("x", 429, &headers, b"");
        assert_eq!(failure.retry_after, Some(Duration::from_secs(3)));
        let failure = answer(500, r#"{"details":{"retryAfterSeconds":2}}"#);
        assert_eq!(failure.retry_after, Some(Duration::from_secs(2)));
        assert_eq!(answer(500, "{}").retry_after, None);
    }

    #[test]
    fn broken_connections_have_the_engines_words() {
        let error = io::Error::other(io::Error::from(io::ErrorKind::ConnectionReset));
        let failure = ApiFailure::connection("PUT /x", &error);
        assert_eq!(failure.class, "connection/connection reset by peer");
        assert_eq!(failure.code, Code::Unreachable);
        assert!(failure.may_have_happened);
    }
}
