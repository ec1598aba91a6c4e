//! What a user may ask for, and the commands it makes.

use net_tool::{Command, Host, Mesh, ParamError, Plan, Port, Purpose, Ready};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bandwidth and one-way latency between two hosts over TCP by qperf.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Params {
    /// What to measure, one after the other.
    #[schemars(length(min = 1, max = 2))]
    pub tests: Vec<Test>,
    /// How long to measure, per test.
    #[schemars(range(min = 1, max = 86_400))]
    pub duration_seconds: u32,
    /// Size of a message of the bandwidth test.
    #[schemars(range(min = 1, max = 1_073_741_824))]
    pub bandwidth_message_bytes: u32,
    /// Size of a message of the latency test.
    #[schemars(range(min = 1, max = 1_073_741_824))]
    pub latency_message_bytes: u32,
    /// How long to keep trying to connect.
    #[schemars(range(min = 1, max = 600))]
    pub connect_timeout_seconds: u32,
    /// How long to wait for an answer of the other side.
    #[schemars(range(min = 1, max = 600))]
    pub answer_timeout_seconds: u32,
    /// The server's port for control.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The server's port for the tests' traffic.
    #[schemars(range(min = 1))]
    pub data_port: u16,
}

/// One of qperf's tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Test {
    /// `tcp_bw`: bandwidth from client to server.
    Bandwidth,
    /// `tcp_lat`: half of a round trip.
    Latency,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            tests: vec![Test::Bandwidth, Test::Latency],
            duration_seconds: 10,
            bandwidth_message_bytes: 65_536,
            latency_message_bytes: 1,
            connect_timeout_seconds: 5,
            answer_timeout_seconds: 5,
            port: 19_765,
            data_port: 19_766,
        }
    }
}

/// The program's name, on both sides.
const PROGRAM: &str = "qperf";

/// Between what the tool takes and what it is given, in seconds.
const MARGIN_SECONDS: u32 = 5;

impl Params {
    pub(crate) fn plan(&self, server: &Host) -> Result<Plan, ParamError> {
        self.check()?;
        let port = self.port.to_string();
        let mut client = Command::new(PROGRAM, ["-lp", &port, server.as_str()]);
        client.args([
            "-ip".to_owned(),
            self.data_port.to_string(),
            "-t".to_owned(),
            self.duration_seconds.to_string(),
            "-to".to_owned(),
            self.answer_timeout_seconds.to_string(),
            "-ws".to_owned(),
            self.connect_timeout_seconds.to_string(),
        ]);
        // Whole numbers of the smallest units, and the rows with processor use, bytes and messages.
        client.args(["-uu", "-v", "-vvs"]);
        let mut time_limit_seconds = self.connect_timeout_seconds + MARGIN_SECONDS;
        for test in &self.tests {
            let (name, message_bytes) = match test {
                Test::Bandwidth => ("tcp_bw", self.bandwidth_message_bytes),
                Test::Latency => ("tcp_lat", self.latency_message_bytes),
            };
            // An option holds for the tests after it.
            client.args(["-m", &message_bytes.to_string(), name]);
            time_limit_seconds += self.duration_seconds + self.answer_timeout_seconds;
        }
        Ok(Plan {
            server: Command::new(PROGRAM, ["-lp", &port]),
            client,
            ports: vec![
                Port {
                    number: self.port,
                    purpose: Purpose::Control,
                },
                Port {
                    number: self.data_port,
                    purpose: Purpose::Data,
                },
            ],
            // A bare connection costs the server one child, which ends with it.
            ready: Ready::Connect { port: self.port },
            time_limit_seconds,
            one_client_at_a_time: true,
            mesh: Mesh::Refused("qperf opens data connections beside its control connection"),
        })
    }

    fn check(&self) -> Result<(), ParamError> {
        ParamError::within("durationSeconds", self.duration_seconds, 1, 86_400)?;
        for (key, value) in [
            ("connectTimeoutSeconds", self.connect_timeout_seconds),
            ("answerTimeoutSeconds", self.answer_timeout_seconds),
        ] {
            ParamError::within(key, value, 1, 600)?;
        }
        for (key, value) in [
            ("bandwidthMessageBytes", self.bandwidth_message_bytes),
            ("latencyMessageBytes", self.latency_message_bytes),
        ] {
            ParamError::within(key, value, 1, 1 << 30)?;
        }
        ParamError::within("port", self.port, 1, u16::MAX)?;
        ParamError::within("dataPort", self.data_port, 1, u16::MAX)?;
        if self.port == self.data_port {
            let message = format!(
                "dataPort must differ from port, which is {} as well",
                self.port
            );
            return Err(ParamError::new("dataPort", message));
        }
        let twice = matches!(self.tests.as_slice(), [first, second] if first == second);
        if self.tests.is_empty() || self.tests.len() > 2 || twice {
            let message = "tests must be `bandwidth`, `latency` or both, each once";
            return Err(ParamError::new("tests", message));
        }
        Ok(())
    }
}
