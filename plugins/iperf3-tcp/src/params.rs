//! What a user may ask for, and the commands it makes.

use net_tool::{Host, Mesh, ParamError, Plan, Port, Purpose, Ready};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::command;

/// Bandwidth between two hosts over TCP by iperf3.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Params {
    /// How long to measure. With `bytes`, how long that may take.
    #[schemars(range(min = 1, max = 86_400))]
    pub duration_seconds: u32,
    /// How long to send before measuring, so that slow start is left out. Not with `bytes`.
    #[schemars(range(min = 0, max = 60))]
    pub omit_seconds: u32,
    /// Parallel connections.
    #[schemars(range(min = 1, max = 128))]
    pub streams: u32,
    /// Who sends.
    pub direction: Direction,
    /// Stop after so many bytes instead of a time.
    #[schemars(range(min = 1))]
    pub bytes: Option<u64>,
    /// Send no faster than this, in bits per second and connection.
    #[schemars(range(min = 1))]
    pub bitrate_bits_per_second: Option<u64>,
    /// Bytes of one write.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub write_size_bytes: Option<u32>,
    /// Socket buffer on both sides, in bytes.
    #[schemars(range(min = 1, max = 536_870_912))]
    pub window_bytes: Option<u32>,
    /// TCP maximum segment size, in bytes.
    #[schemars(range(min = 88, max = 9_216))]
    pub mss_bytes: Option<u32>,
    /// TCP congestion control algorithm, such as `cubic`.
    #[schemars(regex(pattern = "^[a-z][a-z0-9_]{0,15}$"))]
    pub congestion_control: Option<String>,
    /// Send without waiting for full segments.
    pub no_delay: bool,
    /// How long to wait for the connection.
    #[schemars(range(min = 1, max = 600))]
    pub connect_timeout_seconds: u32,
    /// The server's port, for control and data.
    #[schemars(range(min = 1))]
    pub port: u16,
}

/// Who sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The client sends.
    #[default]
    Forward,
    /// The server sends.
    Reverse,
    /// Both at once, over two connections a stream.
    Bidirectional,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            duration_seconds: 10,
            omit_seconds: 1,
            streams: 1,
            direction: Direction::Forward,
            bytes: None,
            bitrate_bits_per_second: None,
            write_size_bytes: None,
            window_bytes: None,
            mss_bytes: None,
            congestion_control: None,
            no_delay: false,
            connect_timeout_seconds: 5,
            port: 5201,
        }
    }
}

/// Between what the tool takes and what it is given, in seconds.
const MARGIN_SECONDS: u32 = 5;

impl Params {
    pub(crate) fn plan(&self, server: &Host) -> Result<Plan, ParamError> {
        self.check()?;
        let port = self.port.to_string();
        // Without forceflush the line that says it is ready stays in a buffer.
        let server_command = command(["-s", "-p", &port, "--forceflush"]);
        let mut client = command(["-c", server.as_str(), "-p", &port, "-J"]);
        let mut option = |name: &str, value: String| client.args([name.to_owned(), value]);
        match self.bytes {
            Some(bytes) => option("-n", bytes.to_string()),
            None => {
                option("-t", self.duration_seconds.to_string());
                if self.omit_seconds > 0 {
                    option("-O", self.omit_seconds.to_string());
                }
            }
        }
        option(
            "--connect-timeout",
            (u64::from(self.connect_timeout_seconds) * 1_000).to_string(),
        );
        if self.streams > 1 {
            option("-P", self.streams.to_string());
        }
        let numbers = [
            ("-b", self.bitrate_bits_per_second),
            ("-l", self.write_size_bytes.map(u64::from)),
            ("-w", self.window_bytes.map(u64::from)),
            ("-M", self.mss_bytes.map(u64::from)),
        ];
        for (name, value) in numbers {
            if let Some(value) = value {
                option(name, value.to_string());
            }
        }
        if let Some(algorithm) = &self.congestion_control {
            option("-C", algorithm.clone());
        }
        match self.direction {
            Direction::Forward => {}
            Direction::Reverse => client.args(["-R"]),
            Direction::Bidirectional => client.args(["--bidir"]),
        }
        if self.no_delay {
            client.args(["-N"]);
        }
        let omitted = if self.bytes.is_some() {
            0
        } else {
            self.omit_seconds
        };
        Ok(Plan {
            server: server_command,
            client,
            ports: vec![Port {
                number: self.port,
                purpose: Purpose::ControlAndData,
            }],
            // A bare connection counts as a client and makes the server report an error.
            ready: Ready::Line {
                text: format!("Server listening on {}", self.port),
            },
            time_limit_seconds: omitted
                + self.duration_seconds
                + self.connect_timeout_seconds
                + MARGIN_SECONDS,
            one_client_at_a_time: true,
            mesh: Mesh::Allowed,
        })
    }

    fn check(&self) -> Result<(), ParamError> {
        ParamError::within("durationSeconds", self.duration_seconds, 1, 86_400)?;
        ParamError::within("omitSeconds", self.omit_seconds, 0, 60)?;
        ParamError::within("streams", self.streams, 1, 128)?;
        ParamError::within(
            "connectTimeoutSeconds",
            self.connect_timeout_seconds,
            1,
            600,
        )?;
        ParamError::within("port", self.port, 1, u16::MAX)?;
        let numbers = [
            ("bytes", self.bytes, 1, u64::MAX),
            (
                "bitrateBitsPerSecond",
                self.bitrate_bits_per_second,
                1,
                u64::MAX,
            ),
            (
                "writeSizeBytes",
                self.write_size_bytes.map(u64::from),
                1,
                1_048_576,
            ),
            (
                "windowBytes",
                self.window_bytes.map(u64::from),
                1,
                536_870_912,
            ),
            ("mssBytes", self.mss_bytes.map(u64::from), 88, 9_216),
        ];
        for (key, value, least, most) in numbers {
            if let Some(value) = value {
                ParamError::within(key, value, least, most)?;
            }
        }
        if let Some(name) = &self.congestion_control {
            let mut bytes = name.bytes();
            let good = name.len() <= 16
                && bytes.next().is_some_and(|byte| byte.is_ascii_lowercase())
                && bytes
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            if !good {
                let message =
                    format!("congestionControl is `{name}`; it must be a name such as `cubic`");
                return Err(ParamError::new("congestionControl", message));
            }
        }
        Ok(())
    }
}
