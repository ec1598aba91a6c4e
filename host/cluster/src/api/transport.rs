//! One request and its answer: connections, deadlines, bounds. Nothing is retried here.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use serde_json::Value;
use tower::{BoxError, ServiceBuilder};

use super::failure::{ApiFailure, Code};

/// Media type of objects.
pub(crate) const JSON: &str = "application/json";
/// Largest body read, bytes, where the caller sets no bound of its own.
pub(crate) const MAX_BODY_BYTES: usize = 64 << 20;
/// Longest wait for an answer: as long as kube-apiserver lets a request take.
const DEADLINE: Duration = Duration::from_secs(60);

/// A request in parts.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: &'a str,
    pub(crate) accept: &'static str,
    /// Of `body`; empty without one.
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
    /// Largest answer, bytes.
    pub(crate) max_body_bytes: usize,
}

/// kube's client without its retries, which would hide what we are to count.
#[derive(Clone)]
pub(crate) struct Transport {
    client: kube::Client,
    deadline: Duration,
}

impl Transport {
    pub(crate) fn new(mut config: kube::Config) -> Result<Self, ApiFailure> {
        config.default_retry = false;
        let client = connect(config).map_err(|error| {
            ApiFailure::invalid(format!("no client can be made of the target: {error}"))
        })?;
        Ok(Self {
            client,
            deadline: DEADLINE,
        })
    }

    pub(crate) fn client(&self) -> &kube::Client {
        &self.client
    }

    pub(crate) fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// Sends and reads the answer to its end; anything but 2xx is a failure.
    pub(crate) async fn send(&self, outgoing: &Outgoing<'_>) -> Result<Bytes, ApiFailure> {
        self.exchange(outgoing).await.map(|(_, body)| body)
    }

    /// The same with the headers of the answer.
    pub(crate) async fn exchange(
        &self,
        outgoing: &Outgoing<'_>,
    ) -> Result<(HeaderMap, Bytes), ApiFailure> {
        let what = || {
            let path = outgoing.path.split('?').next().unwrap_or_default();
            format!("{} {path}", outgoing.method)
        };
        let mut request = Request::builder()
            .method(outgoing.method.clone())
            .uri(outgoing.path)
            .header(header::ACCEPT, outgoing.accept);
        if !outgoing.content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, outgoing.content_type);
        }
        let request = request
            .body(Body::from(outgoing.body.to_vec()))
            .map_err(|error| ApiFailure::invalid(format!("{}: {error}", what())))?;
        let exchange = async {
            let response = self
                .client
                .send(request)
                .await
                .map_err(|error| ApiFailure::connection(&what(), &error))?;
            let (head, body) = response.into_parts();
            let body = match Limited::new(body, outgoing.max_body_bytes).collect().await {
                Ok(collected) => collected.to_bytes(),
                Err(error) if error.is::<LengthLimitError>() => {
                    return Err(ApiFailure::own(
                        Code::TooLarge,
                        format!(
                            "{}: the answer has more than {} bytes; select fewer objects",
                            what(),
                            outgoing.max_body_bytes
                        ),
                    ));
                }
                Err(error) => return Err(ApiFailure::connection(&what(), error.as_ref())),
            };
            Ok((head.status.as_u16(), head.headers, body))
        };
        let (status, headers, body): (u16, HeaderMap, Bytes) =
            match tokio::time::timeout(self.deadline, exchange).await {
                Ok(answer) => answer?,
                Err(_) => return Err(ApiFailure::deadline(&what(), self.deadline)),
            };
        if (200..300).contains(&status) {
            Ok((headers, body))
        } else {
            Err(ApiFailure::answer(&what(), status, &headers, &body))
        }
    }

    pub(crate) async fn get_json(
        &self,
        path: &str,
        accept: &'static str,
    ) -> Result<Value, ApiFailure> {
        let body = self
            .send(&Outgoing {
                method: Method::GET,
                path,
                accept,
                content_type: "",
                body: Bytes::new(),
                max_body_bytes: MAX_BODY_BYTES,
            })
            .await?;
        parse(path, &body)
    }
}

/// A body as JSON.
pub(crate) fn parse(what: &str, body: &[u8]) -> Result<Value, ApiFailure> {
    serde_json::from_slice(body).map_err(|error| {
        ApiFailure::own(
            Code::Failed,
            format!("{what}: the answer is not JSON: {error}; is this an API server?"),
        )
    })
}

/// A client whose connections send at once: kube's own leave Nagle's algorithm on, and the last part
/// of a larger object then waits for the acknowledgement of the first, up to 40 ms.
fn connect(config: kube::Config) -> Result<kube::Client, kube::Error> {
    if config.proxy_url.is_some() {
        return Ok(ClientBuilder::try_from(config)?.build());
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(config.connect_timeout);
    let connector = config.rustls_https_connector_with_connector(tcp)?;
    // Its pool has no bound: every request in flight has a connection of its own.
    let http = HttpClient::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(kube::Client::new(service, config.default_namespace))
}
