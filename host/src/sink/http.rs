//! Requests below one URL.
//!
//! Enters: a delivery of a plugin: method, path, headers, body. Leaves: the answer, whatever its status. The path
//! cannot climb out of the URL the user declared, redirects are not followed, credentials of the URL become a header
//! and are never printed. A try and all tries together have deadlines; what may be sent again is, with growing and
//! jittered pauses, only when the plugin allows it and only after failures that say nothing about the request.

use std::{
    fmt,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode,
    header::{self, AUTHORIZATION, RETRY_AFTER, USER_AGENT},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use kperf_runtime::{Delivery, Failure, Receipt, failure};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout_at};

use crate::https::{Https, Trust, chain, connections};

mod destination;

pub use destination::HttpDestination;

/// Deadlines and retries.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// For one try, connecting included.
    pub try_deadline: Duration,
    /// For all tries and the pauses between them.
    pub total_deadline: Duration,
    /// Most tries of a delivery that may be repeated.
    pub tries: u32,
    /// Pause before the second try; doubles with each further one.
    pub first_pause: Duration,
    /// Bytes of an answer that are kept; the rest is not read.
    pub reply_bytes: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            try_deadline: Duration::from_secs(10),
            total_deadline: Duration::from_secs(30),
            tries: 5,
            first_pause: Duration::from_millis(250),
            reply_bytes: 64 << 10,
        }
    }
}

/// Why there is no receipt.
#[derive(Debug, Error)]
pub(super) enum SendError {
    /// The delivery asks for what it may not have.
    #[error("{0}")]
    Denied(String),
    /// No try brought an answer.
    #[error("{last} ({})", attempts(*tries))]
    Unreachable {
        /// What the last try met.
        last: String,
        /// How many there were.
        tries: u32,
    },
}

fn attempts(tries: u32) -> String {
    if tries == 1 {
        "1 attempt".to_owned()
    } else {
        format!("{tries} attempts")
    }
}

impl SendError {
    pub(super) fn into_failure(self, to: &HttpDestination) -> Failure {
        match self {
            Self::Denied(_) => failure("denied", format!("{to}: not sent: {self}")),
            Self::Unreachable { .. } => failure("unreachable", format!("{to}: {self}")),
        }
    }
}

/// How a try ended without an answer to hand on.
struct Missed {
    why: String,
    retry_after: Option<Duration>,
    /// The answer, when there was one.
    receipt: Option<Receipt>,
}

/// Sends deliveries. TLS is set up with the first of them: most runs have none.
pub(super) struct Client {
    limits: HttpLimits,
    connections: OnceLock<Result<Https, String>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(limits: HttpLimits) -> Self {
        Self {
            limits,
            connections: OnceLock::new(),
        }
    }

    pub(super) async fn send(
        &self,
        to: &HttpDestination,
        delivery: Delivery,
    ) -> Result<Receipt, SendError> {
        let tries_allowed = if delivery.retry {
            self.limits.tries.max(1)
        } else {
            1
        };
        let request = prepared(to, delivery)?;
        let trust = if to.is_https {
            Trust::Machine
        } else {
            Trust::Nobody
        };
        let client = self.connections.get_or_init(|| connections(trust));
        let client = client.as_ref().map_err(|why| SendError::Unreachable {
            last: why.clone(),
            tries: 0,
        })?;
        let end = Instant::now() + self.limits.total_deadline;
        let mut tries = 0;
        loop {
            tries += 1;
            let try_end = end.min(Instant::now() + self.limits.try_deadline);
            let missed = match timeout_at(try_end, self.exchange(client, request.clone())).await {
                Ok(Ok(receipt)) => return Ok(receipt),
                Ok(Err(missed)) => missed,
                Err(_) => Missed {
                    why: "no answer before the deadline".to_owned(),
                    retry_after: None,
                    receipt: None,
                },
            };
            let pause = missed.retry_after.unwrap_or_else(|| self.pause(tries));
            let left = end.saturating_duration_since(Instant::now());
            if tries >= tries_allowed || pause >= left {
                return missed.receipt.ok_or(SendError::Unreachable {
                    last: missed.why,
                    tries,
                });
            }
            tracing::warn!(
                "{to}: attempt {tries} failed, again in {} ms: {}",
                pause.as_millis(),
                missed.why
            );
            sleep(pause).await;
        }
    }

    /// Doubles with every try; between half of it and the whole, so that many hosts do not come back at once.
    fn pause(&self, tries: u32) -> Duration {
        let whole = self
            .limits
            .first_pause
            .saturating_mul(1 << tries.saturating_sub(1).min(10));
        let clock = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let jitter = f64::from(clock.subsec_micros() % 1_000) / 1_000.0;
        whole.mul_f64(0.5 + jitter / 2.0)
    }

    async fn exchange(
        &self,
        client: &Https,
        request: Request<Full<Bytes>>,
    ) -> Result<Receipt, Missed> {
        let failed = |why: String| Missed {
            why,
            retry_after: None,
            receipt: None,
        };
        let response = client
            .request(request)
            .await
            .map_err(|error| failed(chain(&error)))?;
        let status = response.status();
        let retry_after = seconds(response.headers());
        let mut body = response.into_body();
        let mut kept = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame
                .map_err(|error| failed(format!("the answer broke off: {}", chain(&error))))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let room = self.limits.reply_bytes.saturating_sub(kept.len());
            kept.extend_from_slice(data.get(..room).unwrap_or(&data));
            if kept.len() >= self.limits.reply_bytes {
                break;
            }
        }
        let receipt = Receipt {
            status: u32::from(status.as_u16()),
            body: kept,
        };
        match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(Missed {
                why: format!("the answer was {status}"),
                retry_after,
                receipt: Some(receipt),
            }),
            _ => Ok(receipt),
        }
    }
}

fn seconds(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}

/// Headers that belong to the connection or are ours to set.
const REFUSED_HEADERS: [HeaderName; 10] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
];

/// The delivery as a request, checked.
fn prepared(to: &HttpDestination, delivery: Delivery) -> Result<Request<Full<Bytes>>, SendError> {
    let method = match delivery.method.as_str() {
        "GET" => Method::GET,
        "PUT" => Method::PUT,
        "POST" => Method::POST,
        "DELETE" => Method::DELETE,
        other => {
            return Err(SendError::Denied(format!(
                "the method `{other}` is none of GET, PUT, POST and DELETE"
            )));
        }
    };
    let uri = to.uri(&delivery.path)?;
    let mut request = Request::new(Full::new(Bytes::from(delivery.body)));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    for label in &delivery.headers {
        let name = HeaderName::try_from(label.key.as_str()).map_err(|_| {
            SendError::Denied(format!("`{}` is not the name of a header", label.key))
        })?;
        if REFUSED_HEADERS.contains(&name) || (name == AUTHORIZATION && to.authorization.is_some())
        {
            return Err(SendError::Denied(format!(
                "the header `{name}` is set by the host"
            )));
        }
        let value = HeaderValue::try_from(label.value.as_str()).map_err(|_| {
            SendError::Denied(format!("the value of the header `{name}` cannot be sent"))
        })?;
        headers.append(name, value);
    }
    if let Some(authorization) = &to.authorization {
        headers.insert(AUTHORIZATION, authorization.clone());
    }
    let agent = concat!("kperf-host/", env!("CARGO_PKG_VERSION"));
    headers
        .entry(USER_AGENT)
        .or_insert(HeaderValue::from_static(agent));
    Ok(request)
}

#[cfg(test)]
mod tests;
