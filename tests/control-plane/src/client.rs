//! A small blocking client for setting a cluster up and asking it questions; load never goes through it.

use std::{fmt, io::Read, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use serde_json::Value;
use ureq::{
    Agent,
    http::{HeaderValue, Method, Request},
    tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider},
};

use crate::kubeconfig::{Access, Target};

/// Talks to an API server as one user.
pub struct Client {
    agent: Agent,
    url: String,
    token: Option<String>,
}

/// What the server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub text: String,
}

impl Answer {
    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// This answer, if its status says success.
    ///
    /// # Errors
    /// The status and the body otherwise.
    pub fn success(self) -> anyhow::Result<Self> {
        anyhow::ensure!(
            (200..300).contains(&self.status),
            "{}: {}",
            self.status,
            self.text.trim()
        );
        Ok(self)
    }
}

/// An answer whose body is still to be read, as that of a watch.
pub struct Opened {
    /// The HTTP status.
    pub status: u16,
    /// Names (in lower case) and values of the headers.
    pub headers: Vec<(String, String)>,
    /// The body, as it arrives.
    pub body: Box<dyn Read + Send>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client for the current context of a kubeconfig that holds a certificate or a token.
    ///
    /// # Errors
    /// The kubeconfig cannot be read, or asks for another way of authenticating ([`crate::Unsupported`]).
    pub fn from_kubeconfig(path: &Path) -> anyhow::Result<Self> {
        Self::new(&Target::read(path)?)
    }

    pub(crate) fn new(target: &Target) -> anyhow::Result<Self> {
        let roots = [Certificate::from_pem(target.ca_pem.as_bytes())?];
        let mut tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(RootCerts::new_with_certs(&roots));
        let mut token = None;
        match &target.access {
            Access::Token(secret) => token = Some(format!("Bearer {secret}")),
            Access::Certificate(identity) => {
                let chain = [Certificate::from_pem(identity.certificate_pem.as_bytes())?];
                let key = PrivateKey::from_pem(identity.key_pem.as_bytes())?;
                tls = tls.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
            }
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(15)))
            .tls_config(tls.build())
            .build()
            .new_agent();
        Ok(Self {
            agent,
            url: target.url.trim_end_matches('/').to_owned(),
            token,
        })
    }

    /// GET of a path such as `/api/v1/nodes`.
    ///
    /// # Errors
    /// No answer came; an answer of any status is none.
    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, None)
    }

    /// POST of an object.
    ///
    /// # Errors
    /// No answer came.
    pub fn post(&self, path: &str, object: &Value) -> anyhow::Result<Answer> {
        self.send(Method::POST, path, Some(object))
    }

    /// DELETE of a path.
    ///
    /// # Errors
    /// No answer came.
    pub fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::DELETE, path, None)
    }

    /// Sends a request with these headers and no others of its own (but for the credentials), and returns when the
    /// head of the answer is there. Everything, the body included, may take as long as `limit`.
    ///
    /// # Errors
    /// No answer came.
    pub fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
        limit: Duration,
    ) -> anyhow::Result<Opened> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", token);
        }
        let limit = Some(limit);
        let agent = &self.agent;
        let response = match body {
            Some(body) => {
                let request = agent.configure_request(request.body(body)?);
                agent.run(request.timeout_global(limit).build())
            }
            None => {
                let request = agent.configure_request(request.body(())?);
                agent.run(request.timeout_global(limit).build())
            }
        }
        .with_context(|| format!("{method} {path}"))?;
        let (head, body) = response.into_parts();
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Ok(Opened {
            status: head.status.as_u16(),
            headers: head
                .headers
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), text(value)))
                .collect(),
            body: Box::new(body.into_reader()),
        })
    }

    fn send(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        let mut request = Request::builder()
            .method(&method)
            .uri(format!("{}{path}", self.url))
            .header("accept", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", token);
        }
        let what = || format!("{method} {path}");
        let mut response = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json");
                self.agent.run(request.body(body.to_string())?)
            }
            None => self.agent.run(request.body(())?),
        }
        .with_context(what)?;
        Ok(Answer {
            status: response.status().as_u16(),
            text: response.body_mut().read_to_string().with_context(what)?,
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}
