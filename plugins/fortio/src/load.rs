//! What a user may ask for of either kind, and the command it makes.

use net_tool::{Command, Mesh, ParamError, Plan, Port, Purpose, Ready};

/// The parameters that both kinds have, apart from their spelling in a configuration.
#[derive(Debug)]
pub(crate) struct Load<'a> {
    pub(crate) duration_seconds: u32,
    pub(crate) requests: Option<u64>,
    pub(crate) requests_per_second: f64,
    pub(crate) connections: u32,
    pub(crate) percentiles: &'a [f64],
    pub(crate) resolution_seconds: f64,
    pub(crate) timeout_seconds: u32,
    pub(crate) payload_bytes: Option<u32>,
    pub(crate) uniform: bool,
    pub(crate) jitter: bool,
    pub(crate) catch_up: bool,
    pub(crate) port: u16,
}

/// Between what the tool takes and what it is given, in seconds.
const MARGIN_SECONDS: u32 = 5;

impl Load<'_> {
    /// A plan; `extra` are options of the kind. All options must stand before the URL.
    pub(crate) fn plan(
        &self,
        server: [&str; 2],
        extra: &[String],
        url: String,
    ) -> Result<Plan, ParamError> {
        self.check()?;
        let percentiles: Vec<_> = self.percentiles.iter().map(f64::to_string).collect();
        let mut client = Command::new("fortio", ["load", "-loglevel", "error", "-json", "-"]);
        let mut option = |name: &str, value: String| client.args([name.to_owned(), value]);
        option("-qps", self.requests_per_second.to_string());
        option("-c", self.connections.to_string());
        match self.requests {
            Some(requests) => option("-n", requests.to_string()),
            None => option("-t", format!("{}s", self.duration_seconds)),
        }
        option("-r", self.resolution_seconds.to_string());
        option("-p", percentiles.join(","));
        option("-timeout", format!("{}s", self.timeout_seconds));
        if let Some(bytes) = self.payload_bytes {
            option("-payload-size", bytes.to_string());
        }
        for (flag, on) in [
            ("-uniform", self.uniform),
            ("-jitter", self.jitter),
            ("-nocatchup", !self.catch_up),
        ] {
            if on {
                client.args([flag]);
            }
        }
        client.args(extra.iter().cloned());
        client.args([url]);
        let [port_option, other_option] = server;
        let port = self.port.to_string();
        let server = Command::new(
            "fortio",
            [
                "server",
                port_option,
                &port,
                other_option,
                "disabled",
                "-grpc-port",
                "disabled",
                "-udp-port",
                "disabled",
                "-redirect-port",
                "disabled",
                // Its pages and its REST interface make requests to any host, for anybody.
                "-ui-path",
                "",
            ],
        );
        Ok(Plan {
            server,
            client,
            ports: vec![Port {
                number: self.port,
                purpose: Purpose::ControlAndData,
            }],
            ready: Ready::Connect { port: self.port },
            // A call that was sent at the end may still wait for its answer.
            time_limit_seconds: self.duration_seconds + 2 * self.timeout_seconds + MARGIN_SECONDS,
            one_client_at_a_time: false,
            mesh: Mesh::Allowed,
        })
    }

    fn check(&self) -> Result<(), ParamError> {
        ParamError::within("durationSeconds", self.duration_seconds, 1, 86_400)?;
        if let Some(requests) = self.requests {
            ParamError::within("requests", requests, 1, 1_000_000_000_000)?;
        }
        let rate = self.requests_per_second;
        ParamError::within("requestsPerSecond", rate, 0.0, 1e9)?;
        ParamError::within("connections", self.connections, 1, 10_000)?;
        ParamError::within("resolutionSeconds", self.resolution_seconds, 1e-9, 1.0)?;
        ParamError::within("timeoutSeconds", self.timeout_seconds, 1, 3_600)?;
        ParamError::within("port", self.port, 1, u16::MAX)?;
        if let Some(bytes) = self.payload_bytes {
            ParamError::within("payloadBytes", bytes, 1, 1 << 28)?;
        }
        if self.percentiles.is_empty() || self.percentiles.len() > 100 {
            let message = format!(
                "percentiles has {} entries; it must have 1 to 100",
                self.percentiles.len()
            );
            return Err(ParamError::new("percentiles", message));
        }
        for (index, percentile) in self.percentiles.iter().enumerate() {
            if !(*percentile > 0.0 && *percentile < 100.0) {
                let key = format!("percentiles[{index}]");
                let message = format!("{key} is {percentile}; it must be above 0 and below 100");
                return Err(ParamError::new(key, message));
            }
        }
        Ok(())
    }
}
