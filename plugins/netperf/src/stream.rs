//! `TCP_STREAM`: as many bytes as will go, and `TCP_MAERTS`, the same the other way.

use net_tool::{Host, Metric, Metrics, Output, ParamError, Plan, Tool, ToolError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::fields::{Fields, Kind, exit, read, whole_run};
use crate::server::{Ports, plan};

/// Bandwidth between two hosts over one TCP connection by netperf.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StreamParams {
    /// How long to measure.
    #[schemars(range(min = 1, max = 86_400))]
    pub duration_seconds: u32,
    /// Who sends.
    pub direction: Direction,
    /// Bytes of one write; the sender's socket buffer by default.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub message_bytes: Option<u32>,
    /// Socket buffer on both sides, in bytes; the system's by default.
    #[schemars(range(min = 1, max = 536_870_912))]
    pub socket_buffer_bytes: Option<u32>,
    /// Send without waiting for full segments.
    pub no_delay: bool,
    /// Also measure how busy both hosts are.
    pub cpu: bool,
    /// The server's port for control.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The server's port for the test's traffic.
    #[schemars(range(min = 1))]
    pub data_port: u16,
}

/// Who sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The client sends: `TCP_STREAM`.
    #[default]
    Forward,
    /// The server sends: `TCP_MAERTS`.
    Reverse,
}

impl Default for StreamParams {
    fn default() -> Self {
        Self {
            duration_seconds: 10,
            direction: Direction::Forward,
            message_bytes: None,
            socket_buffer_bytes: None,
            no_delay: false,
            cpu: false,
            port: 12_865,
            data_port: 12_866,
        }
    }
}

/// netperf's `TCP_STREAM` and `TCP_MAERTS`.
#[derive(Clone, Copy, Debug)]
pub struct TcpStream;

impl Tool for TcpStream {
    type Params = StreamParams;

    const NAME: &'static str = "netperf_tcp_stream";
    const MAIN_METRIC: &'static str = "bandwidth_bits_per_second";

    fn plan(params: &StreamParams, server: &Host) -> Result<Plan, ParamError> {
        ParamError::within("durationSeconds", params.duration_seconds, 1, 86_400)?;
        for (key, value, most) in [
            ("messageBytes", params.message_bytes, 16_777_216),
            ("socketBufferBytes", params.socket_buffer_bytes, 536_870_912),
        ] {
            if let Some(value) = value {
                ParamError::within(key, value, 1, most)?;
            }
        }
        let ports = Ports {
            control: params.port,
            data: params.data_port,
        };
        ports.check()?;
        let (test, size_option) = match params.direction {
            Direction::Forward => ("TCP_STREAM", "-m"),
            Direction::Reverse => ("TCP_MAERTS", "-M"),
        };
        let mut plan = plan(server, test, params.duration_seconds, params.cpu, ports);
        let client = &mut plan.client;
        client.args(["-f", "m", "--", "-P", &format!(",{}", params.data_port)]);
        if let Some(bytes) = params.message_bytes {
            client.args([size_option, &bytes.to_string()]);
        }
        if let Some(bytes) = params.socket_buffer_bytes {
            let bytes = bytes.to_string();
            client.args(["-s", &bytes, "-S", &bytes]);
        }
        if params.no_delay {
            client.args(["-D"]);
        }
        let mut selectors = vec![
            "THROUGHPUT",
            "THROUGHPUT_UNITS",
            "ELAPSED_TIME",
            "LOCAL_TRANSPORT_RETRANS",
            "REMOTE_TRANSPORT_RETRANS",
            "LOCAL_SEND_SIZE",
        ];
        if params.cpu {
            selectors.extend(["LOCAL_CPU_UTIL", "REMOTE_CPU_UTIL"]);
        }
        // Last, so that a cut shows.
        selectors.push("PROTOCOL");
        client.args(["-k", &selectors.join(",")]);
        Ok(plan)
    }

    fn parse(output: &Output) -> Result<Vec<Metric>, ToolError> {
        let args = Args::new(&output.args);
        let fields = read(output, Kind::Stream, &args)?;
        let mut metrics = Metrics::default();
        let throughput = match fields.number("THROUGHPUT")? {
            Some(throughput) if throughput > 0.0 => throughput,
            Some(_) => return Err(ToolError::no_data("the throughput is 0")),
            None => return Err(ToolError::malformed("no throughput")),
        };
        let bits = bits_of_unit(&fields, &args)?;
        whole_run(&fields, &args)?;
        metrics.add("bandwidth_bits_per_second", throughput * bits)?;
        let senders = if server_sends(&fields, &args)? {
            "REMOTE_TRANSPORT_RETRANS"
        } else {
            "LOCAL_TRANSPORT_RETRANS"
        };
        for (selector, name) in [
            (senders, "retransmits"),
            ("ELAPSED_TIME", "duration_seconds"),
            ("LOCAL_CPU_UTIL", "cpu_local_percent"),
            ("REMOTE_CPU_UTIL", "cpu_remote_percent"),
        ] {
            metrics.add_some(name, fields.number(selector)?)?;
        }
        exit(output)?;
        Ok(metrics.finish())
    }
}

fn server_sends(fields: &Fields, args: &Args) -> Result<bool, ToolError> {
    if let Some(direction) = fields.text("DIRECTION") {
        return Ok(direction.starts_with("Rec"));
    }
    if let Some(bytes) = fields.number("LOCAL_SEND_SIZE")? {
        return Ok(bytes == 0.0);
    }
    Ok(args.test().is_some_and(|test| test == "TCP_MAERTS"))
}

/// Bits in the unit of THROUGHPUT: bits are 1000-based, bytes 1024-based. Where the output does not name it, it is the
/// one asked for, else 10^6 bits.
fn bits_of_unit(fields: &Fields, args: &Args) -> Result<f64, ToolError> {
    let Some(unit) = fields.text("THROUGHPUT_UNITS") else {
        if !fields.classic && !args.known {
            return Err(ToolError::malformed("the unit of THROUGHPUT is missing"));
        }
        let letter = args.unit().unwrap_or("m");
        let bits = match letter {
            "b" => 1.0,
            "k" => 1e3,
            "m" => 1e6,
            "g" => 1e9,
            "B" => 8.0,
            "K" => 8.0 * 1_024.0,
            "M" => 8.0 * 1_048_576.0,
            "G" => 8.0 * 1_073_741_824.0,
            _ => return Err(ToolError::malformed(format!("`{letter}` is no unit of -f"))),
        };
        return Ok(bits);
    };
    let plain = unit
        .strip_suffix("/sec")
        .or_else(|| unit.strip_suffix("/s"));
    let bits = match plain {
        Some("10^0bits" | "bits") => 1.0,
        Some("10^3bits") => 1e3,
        Some("10^6bits") => 1e6,
        Some("10^9bits") => 1e9,
        Some("Bytes" | "bytes") => 8.0,
        Some("KBytes") => 8.0 * 1_024.0,
        Some("MBytes") => 8.0 * 1_048_576.0,
        Some("GBytes") => 8.0 * 1_073_741_824.0,
        _ => {
            let message = format!("`{unit}` is no unit of bandwidth");
            return Err(ToolError::malformed(message));
        }
    };
    Ok(bits)
}
