//! Load on an HTTP echo server.

use net_tool::{Host, Metric, Output, ParamError, Plan, Tool, ToolError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::load::Load;
use crate::{Kind, parse};

/// Load on an HTTP echo server by fortio: requests a second and their latency.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpParams {
    /// How long to measure. With `requests`, how long that may take.
    #[schemars(range(min = 1, max = 86_400))]
    pub duration_seconds: u32,
    /// Stop after exactly so many requests instead of a time.
    #[schemars(range(min = 1, max = 1_000_000_000_000_u64))]
    pub requests: Option<u64>,
    /// Over all connections; 0 is as fast as they will go.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub requests_per_second: f64,
    /// Connections, each with one request at a time.
    #[schemars(range(min = 1, max = 10_000))]
    pub connections: u32,
    /// Percentiles of latency to report, each above 0 and below 100.
    #[schemars(length(min = 1, max = 100))]
    pub percentiles: Vec<f64>,
    /// Width of the narrowest bucket of the latency histogram. Latencies below it cannot be told apart.
    #[schemars(range(min = 0.000_000_001, max = 1))]
    pub resolution_seconds: f64,
    /// How long to wait for a connection and for an answer.
    #[schemars(range(min = 1, max = 3_600))]
    pub timeout_seconds: u32,
    /// Size of what is sent to be echoed.
    #[schemars(range(min = 1, max = 268_435_456))]
    pub payload_bytes: Option<u32>,
    /// Spread the requests of different connections evenly.
    pub uniform: bool,
    /// Vary the time between requests by 10 %.
    pub jitter: bool,
    /// Send faster after a delay, to keep the rate.
    pub catch_up: bool,
    /// Path and query of the requests. fortio's server understands for example `/echo?status=503:20` and
    /// `/echo?delay=5ms:50`.
    #[schemars(regex(pattern = "^/[!-~]{0,1023}$"))]
    pub path: String,
    /// Use each connection for many requests.
    pub keep_alive: bool,
    /// Speak HTTP/2 instead of HTTP/1.1.
    pub http2: bool,
    /// The server's port.
    #[schemars(range(min = 1))]
    pub port: u16,
}

impl Default for HttpParams {
    fn default() -> Self {
        Self {
            duration_seconds: 10,
            requests: None,
            requests_per_second: 1_000.0,
            connections: 4,
            percentiles: vec![50.0, 75.0, 90.0, 99.0, 99.9],
            resolution_seconds: 0.000_01,
            timeout_seconds: 3,
            payload_bytes: None,
            uniform: false,
            jitter: false,
            catch_up: true,
            path: "/echo".to_owned(),
            keep_alive: true,
            http2: false,
            port: 8_080,
        }
    }
}

impl HttpParams {
    fn load(&self) -> Load<'_> {
        Load {
            duration_seconds: self.duration_seconds,
            requests: self.requests,
            requests_per_second: self.requests_per_second,
            connections: self.connections,
            percentiles: &self.percentiles,
            resolution_seconds: self.resolution_seconds,
            timeout_seconds: self.timeout_seconds,
            payload_bytes: self.payload_bytes,
            uniform: self.uniform,
            jitter: self.jitter,
            catch_up: self.catch_up,
            port: self.port,
        }
    }
}

/// fortio against its own HTTP echo server.
#[derive(Clone, Copy, Debug)]
pub struct FortioHttp;

impl Tool for FortioHttp {
    type Params = HttpParams;

    const NAME: &'static str = "fortio_http";
    const MAIN_METRIC: &'static str = "requests_per_second";

    fn plan(params: &HttpParams, server: &Host) -> Result<Plan, ParamError> {
        let path = &params.path;
        let printable = path.bytes().all(|byte| byte.is_ascii_graphic());
        if !path.starts_with('/') || !printable || path.len() > 1_024 {
            let message = format!(
                "path is `{path}`; it must begin with / and have no blanks, such as `/echo?size=1024`"
            );
            return Err(ParamError::new("path", message));
        }
        let mut extra = Vec::new();
        if !params.keep_alive {
            extra.push("-keepalive=false".to_owned());
        }
        if params.http2 {
            extra.push("-h2".to_owned());
        }
        let url = format!("http://{}{path}", server.with_port(params.port));
        let load = params.load();
        load.plan(["-http-port", "-tcp-port"], &extra, url)
    }

    fn parse(output: &Output) -> Result<Vec<Metric>, ToolError> {
        parse(output, Kind::Http)
    }
}
