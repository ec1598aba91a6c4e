//! Prometheus' HTTP API, as far as it is asked: `query` and `query_range`.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::Value;
use thiserror::Error;

use super::Access;
use crate::https::{Https, Trust, chain, connections};

/// For one query; Prometheus gives up by itself after two minutes.
const DEADLINE: Duration = Duration::from_secs(60);
/// Of an answer.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// Before a query that could not be answered is asked a second time.
const PAUSE: Duration = Duration::from_millis(500);

/// Why a query has no answer.
#[derive(Clone, Debug, Error)]
pub enum ClientError {
    /// URL, credentials or certificates that cannot be used.
    #[error("Prometheus: {0}")]
    Access(String),
    /// No connection, or it broke.
    #[error("query {query}: cannot reach Prometheus at {url}: {reason}")]
    Unreachable {
        /// Name of the query.
        query: String,
        /// Base URL.
        url: String,
        /// What happened.
        reason: String,
    },
    /// Prometheus said no.
    #[error("query {query}: {reason}")]
    Refused {
        /// Name of the query.
        query: String,
        /// What it said.
        reason: String,
        /// Whether the query itself is wrong.
        is_bad: bool,
    },
}

impl ClientError {
    /// Whether the query is wrong, rather than Prometheus away.
    #[must_use]
    pub fn is_bad_query(&self) -> bool {
        matches!(self, Self::Refused { is_bad: true, .. })
    }

    /// Whether Prometheus is away.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether the user's flags or file are wrong.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        self.is_bad_query() || matches!(self, Self::Access(_))
    }
}

/// A series and its values in time, by seconds since 1970. What is no number is left out.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) labels: Vec<(String, String)>,
    pub(super) values: Vec<(f64, f64)>,
}

/// What an answer says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) series: Vec<Series>,
    /// Prometheus' own words.
    pub(super) warnings: Vec<String>,
}

/// Asks one Prometheus.
pub struct Client {
    http: Https,
    access: Access,
    /// Without a slash at its end.
    base: String,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The URL or a file cannot be used.
    pub fn new(access: &Access) -> Result<Self, ClientError> {
        let unusable = |reason: &str| ClientError::Access(format!("--prometheus: {reason}"));
        let uri: Uri = access
            .url
            .parse()
            .map_err(|_| unusable("is not a URL, as http://HOST:9090"))?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(unusable("is not an http:// or https:// URL")),
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.is_empty() {
            return Err(unusable("has no host"));
        }
        if authority.contains('@') {
            return Err(unusable(
                "holds a user name or password; give them with --prometheus-basic-auth-file",
            ));
        }
        if uri.query().is_some() {
            return Err(unusable(
                "has a query; give scheme, host, port and path only",
            ));
        }
        let client = Self {
            http: connections(trust(access, is_https)?).map_err(ClientError::Access)?,
            base: access.url.trim_end_matches('/').to_owned(),
            access: access.clone(),
        };
        client.authorization()?;
        Ok(client)
    }

    /// The query at one moment.
    pub(super) async fn instant(
        &self,
        name: &str,
        expression: &str,
        at: SystemTime,
    ) -> Result<Answer, ClientError> {
        let form = [("query", expression.to_owned()), ("time", unix(at))];
        self.ask(name, "/api/v1/query", &form).await
    }

    /// The query at every step of a window.
    pub(super) async fn range(
        &self,
        name: &str,
        expression: &str,
        (start, end): (SystemTime, SystemTime),
        step: Duration,
    ) -> Result<Answer, ClientError> {
        let form = [
            ("query", expression.to_owned()),
            ("start", unix(start)),
            ("end", unix(end)),
            ("step", format!("{}", step.as_secs_f64())),
        ];
        self.ask(name, "/api/v1/query_range", &form).await
    }

    /// Asks, and once more when Prometheus was away or busy.
    async fn ask(
        &self,
        name: &str,
        path: &str,
        form: &[(&str, String)],
    ) -> Result<Answer, ClientError> {
        match self.ask_once(name, path, form).await {
            Err(error) if !error.is_usage() => {
                tracing::debug!("{error}; asking again");
                tokio::time::sleep(PAUSE).await;
                self.ask_once(name, path, form).await
            }
            answer => answer,
        }
    }

    async fn ask_once(
        &self,
        name: &str,
        path: &str,
        form: &[(&str, String)],
    ) -> Result<Answer, ClientError> {
        let unreachable = |reason: String| ClientError::Unreachable {
            query: name.to_owned(),
            url: self.base.clone(),
            reason,
        };
        let mut request = Request::new(Full::new(Bytes::from(encoded(form))));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = format!("{}{path}", self.base)
            .parse()
            .map_err(|error: http::uri::InvalidUri| ClientError::Access(error.to_string()))?;
        let headers = request.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("kperf-host/", env!("CARGO_PKG_VERSION"))),
        );
        if let Some(authorization) = self.authorization()? {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        let exchange = async {
            let response = self
                .http
                .request(request)
                .await
                .map_err(|error| chain(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
            let body = body.collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    format!("its answer has more than {MAX_ANSWER_BYTES} bytes; ask for fewer series or a longer step")
                } else {
                    error.to_string()
                }
            })?;
            Ok::<_, String>((status, body.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(DEADLINE, exchange)
            .await
            .map_err(|_| unreachable(format!("no answer within {} s", DEADLINE.as_secs())))?
            .map_err(unreachable)?;
        let refused = |reason: String, is_bad: bool| ClientError::Refused {
            query: name.to_owned(),
            reason,
            is_bad,
        };
        let answer: Value = serde_json::from_slice(&body).map_err(|_| {
            refused(
                match status {
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => format!(
                        "Prometheus answers {status}: check --prometheus-token-file or --prometheus-basic-auth-file"
                    ),
                    _ => format!("the answer is {status} and not JSON: is {} a Prometheus?", self.base),
                },
                false,
            )
        })?;
        if answer["status"] != "success" {
            let kind = answer["errorType"].as_str().unwrap_or("error");
            let error = answer["error"].as_str().unwrap_or("no reason given");
            let is_bad = kind == "bad_data" || status == StatusCode::BAD_REQUEST;
            return Err(refused(format!("{kind}: {error}"), is_bad));
        }
        read(&answer).map_err(|reason| refused(reason, true))
    }

    /// Read anew each time, so that a rotated token takes effect.
    fn authorization(&self) -> Result<Option<HeaderValue>, ClientError> {
        let read = |flag: &str, path: &Path| {
            std::fs::read_to_string(path)
                .map(|text| text.trim().to_owned())
                .map_err(|error| ClientError::Access(format!("{flag} {}: {error}", path.display())))
        };
        let (flag, value) = match (&self.access.token_file, &self.access.basic_auth_file) {
            (Some(path), _) => {
                let flag = "--prometheus-token-file";
                (flag, format!("Bearer {}", read(flag, path)?))
            }
            (None, Some(path)) => {
                let flag = "--prometheus-basic-auth-file";
                let text = read(flag, path)?;
                if !text.contains(':') {
                    return Err(ClientError::Access(format!(
                        "{flag} {}: must hold USER:PASSWORD",
                        path.display()
                    )));
                }
                (flag, format!("Basic {}", STANDARD.encode(text)))
            }
            (None, None) => return Ok(None),
        };
        let mut value = HeaderValue::from_str(&value).map_err(|_| {
            ClientError::Access(format!("{flag}: what it holds cannot be sent as a header"))
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn unix(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:.3}", since.as_secs_f64())
}

fn encoded(form: &[(&str, String)]) -> String {
    form.iter()
        .map(|(key, value)| format!("{key}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
        .collect::<Vec<_>>()
        .join("&")
}

/// The series of a successful answer.
fn read(answer: &Value) -> Result<Answer, String> {
    let data = &answer["data"];
    let pair = |value: &Value| {
        let at = value[0].as_f64()?;
        let number: f64 = value[1].as_str()?.parse().ok()?;
        Some((at, number))
    };
    let of = |series: &Value, values: Vec<(f64, f64)>| Series {
        labels: series["metric"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, _)| *key != "__name__")
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
        // What is no number, as 0/0, was not measured.
        values: values
            .into_iter()
            .filter(|(_, value)| !value.is_nan())
            .collect(),
    };
    let result = data["result"].as_array();
    let series = match data["resultType"].as_str().unwrap_or_default() {
        "vector" => result
            .into_iter()
            .flatten()
            .map(|series| of(series, pair(&series["value"]).into_iter().collect()))
            .collect(),
        "matrix" => result
            .into_iter()
            .flatten()
            .map(|series| {
                let values = series["values"].as_array();
                of(
                    series,
                    values.into_iter().flatten().filter_map(pair).collect(),
                )
            })
            .collect(),
        "scalar" => vec![of(
            &Value::Null,
            pair(&data["result"]).into_iter().collect(),
        )],
        other => {
            return Err(format!(
                "gives a {other}, which has no numbers; ask for a vector or a scalar"
            ));
        }
    };
    let warnings = answer["warnings"].as_array();
    Ok(Answer {
        series,
        warnings: warnings
            .into_iter()
            .flatten()
            .filter_map(|warning| warning.as_str().map(str::to_owned))
            .collect(),
    })
}

/// What its certificate is checked against.
fn trust(access: &Access, is_https: bool) -> Result<Trust, ClientError> {
    if access.insecure_skip_tls_verify {
        return Ok(Trust::Anybody);
    }
    let Some(path) = &access.ca_file else {
        return Ok(if is_https {
            Trust::Machine
        } else {
            Trust::Nobody
        });
    };
    let failed = |error: &dyn std::fmt::Display| {
        ClientError::Access(format!("--prometheus-ca-file {}: {error}", path.display()))
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| failed(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    if roots.is_empty() {
        return Err(failed(&"holds no certificate in PEM form"));
    }
    Ok(Trust::Authorities(roots))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_read() {
        let vector = json!({"status": "success", "warnings": ["partial"], "data": {"resultType": "vector", "result": [
            {"metric": {"__name__": "up", "job": "a"}, "value": [1.5, "2"]},
            {"metric": {"job": "b"}, "value": [1.5, "NaN"]},
        ]}});
        let answer = read(&vector).unwrap();
        assert_eq!(answer.warnings, ["partial"]);
        assert_eq!(
            answer.series[0].labels,
            [("job".to_owned(), "a".to_owned())]
        );
        assert_eq!(answer.series[0].values, [(1.5, 2.0)]);
        assert!(answer.series[1].values.is_empty());
        let matrix = json!({"data": {"resultType": "matrix", "result": [
            {"metric": {}, "values": [[1, "1e3"], [2, "+Inf"]]},
        ]}});
        assert_eq!(
            read(&matrix).unwrap().series[0].values,
            [(1.0, 1000.0), (2.0, f64::INFINITY)]
        );
        let scalar = json!({"data": {"resultType": "scalar", "result": [1, "5"]}});
        assert_eq!(read(&scalar).unwrap().series[0].values, [(1.0, 5.0)]);
        let string = json!({"data": {"resultType": "string", "result": [1, "five"]}});
        assert!(read(&string).unwrap_err().contains("has no numbers"));
    }

    #[test]
    fn access_is_checked_and_keeps_its_secrets() {
        let of = |url: &str| {
            Client::new(&Access {
                url: url.to_owned(),
                ..Access::default()
            })
            .map(|_| ())
            .map_err(|error| error.to_string())
        };
        assert_eq!(of("http://127.0.0.1:9090/prefix/"), Ok(()));
        for url in ["127.0.0.1:9090", "ftp://a", "http://a?b", "http:///x"] {
            assert!(of(url).is_err(), "{url}");
        }
        let message = of("https://me:s3cret@prometheus").unwrap_err();
        assert!(!message.contains("s3cret"), "{message}");

        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("auth");
        std::fs::write(&file, "s3cret\n").unwrap();
        let access = Access {
            url: "http://127.0.0.1:9090".to_owned(),
            basic_auth_file: Some(file.clone()),
            ..Access::default()
        };
        let message = Client::new(&access).unwrap_err().to_string();
        assert!(
            message.contains("USER:PASSWORD") && !message.contains("s3cret"),
            "{message}"
        );
        let access = Access {
            basic_auth_file: None,
            token_file: Some(file),
            ..access
        };
        let client = Client::new(&access).unwrap();
        assert_eq!(client.authorization().unwrap().unwrap(), "Bearer s3cret");
        assert!(!format!("{client:?}").contains("s3cret"));
    }

    #[test]
    fn expressions_survive_the_form() {
        let form = encoded(&[("query", "a{b=\"c+d\"} > 1 and x&y".to_owned())]);
        assert_eq!(form, "query=a%7Bb%3D%22c%2Bd%22%7D%20%3E%201%20and%20x%26y");
    }
}
