//! A small HTTP client on one connection, and a simulator to point it at.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kperf_sim::{Seed, Sim, SimConfig};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinHandle};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

pub(crate) struct Client {
    sender: Sender,
    authority: String,
    pub(crate) authorization: Option<String>,
    /// Ends with the connection.
    pub(crate) connection: JoinHandle<Result<(), hyper::Error>>,
}

pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }
}

pub(crate) fn small() -> SimConfig {
    SimConfig {
        seed_objects: "nodes=2,namespaces=2,pods=5,configmaps=3"
            .parse::<Seed>()
            .unwrap(),
        ..SimConfig::default()
    }
}

pub(crate) fn start(config: SimConfig) -> Sim {
    Sim::start(config).unwrap()
}

impl Client {
    pub(crate) async fn new(sim: &Sim) -> Self {
        Self::connect(sim, Protocol::Http2, false).await
    }

    pub(crate) async fn connect(sim: &Sim, protocol: Protocol, certificate: bool) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(sim.ca_pem().as_bytes()).unwrap())
            .unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut tls = if certificate {
            let chain =
                vec![CertificateDer::from_pem_slice(sim.client_cert_pem().as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(sim.client_key_pem().as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        } else {
            builder.with_no_client_auth()
        };
        tls.alpn_protocols = vec![match protocol {
            Protocol::Http1 => b"http/1.1".to_vec(),
            Protocol::Http2 => b"h2".to_vec(),
        }];
        let tcp = TcpStream::connect(sim.address()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(tls))
            .connect(name, tcp)
            .await
            .unwrap();
        let io = TokioIo::new(stream);
        let (sender, connection) = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
                (Sender::Http1(sender), tokio::spawn(connection))
            }
            Protocol::Http2 => {
                let (sender, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                        .await
                        .unwrap();
                (Sender::Http2(sender), tokio::spawn(connection))
            }
        };
        let authorization = (!certificate).then(|| format!("Bearer {}", sim.token()));
        Self {
            sender,
            authority: sim.address().to_string(),
            authorization,
            connection,
        }
    }

    pub(crate) async fn open(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let uri = match self.sender {
            Sender::Http1(_) => path.to_owned(),
            Sender::Http2(_) => format!("https://{}{path}", self.authority),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header("host", &self.authority);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        for (key, value) in headers {
            request = request.header(*key, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, hyper::Error> {
        let response = self.open(method, path, headers, body).await?;
        let (head, body) = response.into_parts();
        Ok(Answer {
            code: head.status,
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await.unwrap()
    }

    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, &[], body.to_string())
            .await
            .unwrap()
    }

    pub(crate) async fn put(&mut self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, &[], body.to_string())
            .await
            .unwrap()
    }

    pub(crate) async fn patch(&mut self, path: &str, kind: &str, body: &str) -> Answer {
        self.send(
            Method::PATCH,
            path,
            &[("content-type", kind)],
            body.to_owned(),
        )
        .await
        .unwrap()
    }

    pub(crate) async fn delete(&mut self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await.unwrap()
    }

    /// Opens a watch and reads it event by event.
    pub(crate) async fn watch(&mut self, path: &str) -> Events {
        let response = self.open(Method::GET, path, &[], "").await.unwrap();
        assert_eq!(response.status(), 200);
        Events {
            body: response.into_body(),
            rest: Vec::new(),
        }
    }
}

pub(crate) struct Events {
    body: Incoming,
    rest: Vec<u8>,
}

impl Events {
    /// The next event as (type, object); `None` at the end of the watch.
    pub(crate) async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let mut event: Value = serde_json::from_slice(&line).unwrap();
                return Some((
                    event["type"].as_str().unwrap().to_owned(),
                    event["object"].take(),
                ));
            }
            let frame = self.body.frame().await?.unwrap();
            self.rest.extend_from_slice(&frame.into_data().unwrap());
        }
    }
}
