//! Bandwidth between two hosts by nuttcp: how it is run, and what the line of `-fparse` says.

use kperf_sdk::tool::prelude::*;

/// Parameters of a test.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(
    crate = "kperf_sdk::serde",
    rename_all = "camelCase",
    deny_unknown_fields,
    default
)]
struct Config {
    /// How long to send.
    #[schemars(range(min = 1, max = 3600))]
    duration_seconds: u32,
    /// Streams at once.
    #[schemars(range(min = 1, max = 64))]
    streams: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            duration_seconds: 10,
            streams: 1,
        }
    }
}

const CONTROL_PORT: u16 = 5000;
const DATA_PORT: u16 = 5101;

struct Nuttcp;

impl Tool for Nuttcp {
    type Config = Config;

    fn default_config() -> Option<Value> {
        serde_json::to_value(Config::default()).ok()
    }

    fn plan(server_host: &str, config: Config) -> Result<Plan, Failure> {
        let control = format!("-P{CONTROL_PORT}");
        let data = format!("-p{DATA_PORT}");
        let mut client = Command::new(
            "nuttcp",
            ["-fparse".to_owned(), format!("-T{}", config.duration_seconds)],
        );
        if config.streams > 1 {
            client.arguments.push(format!("-N{}", config.streams));
        }
        client
            .arguments
            .extend([control.clone(), data.clone(), server_host.to_owned()]);
        let mut plan = Plan::new(Command::new("nuttcp", ["-S", "--nofork", &control]), client)
            .port(CONTROL_PORT)
            .min_time_limit_ms(u64::from(config.duration_seconds) * 1000 + 10_000)
            .main_metric("bandwidth_bits_per_second");
        plan.ports.extend((0..config.streams).map(|stream| Port {
            number: DATA_PORT + stream,
            protocol: "tcp".to_owned(),
            purpose: "data".to_owned(),
        }));
        plan.one_client_at_a_time = true;
        Ok(plan)
    }

    fn parse(finished: &Output) -> Result<Vec<Reading>, ToolError> {
        if finished.timed_out {
            return Err(ToolError::new("timed_out", "ended at its time limit"));
        }
        if !finished.signal.is_empty() {
            let message = format!("ended by {}", finished.signal);
            return Err(ToolError::new("interrupted", message));
        }
        let said = || finished.stdout.lines().chain(finished.stderr.lines());
        if let Some(words) = said().find(|line| line.contains("Error: ")) {
            let class = match words {
                _ if words.contains("Connection refused") => "connection_refused",
                _ if words.contains("bad hostname") => "host_unresolved",
                _ if words.contains("Connection reset") || words.contains("server aborted") => {
                    "connection_lost"
                }
                _ => "malformed",
            };
            return Err(ToolError::new(class, words));
        }
        let line = said().find(|line| line.trim_start().starts_with("megabytes="));
        let Some(line) = line else {
            let class = if said().next().is_none() {
                "empty"
            } else {
                "malformed"
            };
            return Err(ToolError::new(class, "there is no line of results"));
        };
        let field = |name: &str| {
            let text = line
                .split_whitespace()
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
            text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0)
        };
        // The last field tells a whole line from one that was cut.
        let (Some(megabytes), Some(seconds), Some(rate)) =
            (field("megabytes"), field("real_seconds"), field("rate_Mbps"))
        else {
            return Err(ToolError::new("truncated", line));
        };
        if !line.contains("rx_cpu=") {
            return Err(ToolError::new("truncated", line));
        }
        if megabytes == 0.0 || seconds == 0.0 {
            return Err(ToolError::new("no_data", line));
        }
        let mut readings = vec![
            // Mbps is decimal, MBytes are binary.
            Reading::new("bandwidth_bits_per_second", rate * 1e6, "bit/s"),
            Reading::new("received_bytes", megabytes * 1_048_576.0, "byte"),
            Reading::new("duration_seconds", seconds, "s"),
        ];
        if let Some(retransmits) = field("retrans") {
            readings.push(Reading::new("retransmits", retransmits, "count"));
        }
        if let Some(rtt) = field("rtt_ms") {
            readings.push(Reading::new("rtt_mean_seconds", rtt / 1000.0, "s"));
        }
        Ok(readings)
    }
}

kperf_sdk::export_tool!(Nuttcp);

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "megabytes=1470.5000 real_seconds=1.00 rate_Mbps=12356.5159 tx_cpu=44 \
                        rx_cpu=39 retrans=0 rtt_ms=0.10\n";

    fn output(stdout: &str) -> Output {
        Output {
            arguments: Vec::new(),
            stdout: stdout.to_owned(),
            stderr: String::new(),
            exit_code: Some(0),
            signal: String::new(),
            timed_out: false,
            clipped: false,
        }
    }

    #[test]
    fn a_line_of_results() {
        let readings = Nuttcp::parse(&output(LINE)).unwrap();
        let value = |name: &str| readings.iter().find(|r| r.name == name).unwrap().value;
        assert_eq!(value("bandwidth_bits_per_second"), 12_356_515_900.0);
        assert_eq!(value("received_bytes"), 1_541_931_008.0);
        assert_eq!(value("retransmits"), 0.0);
    }

    #[test]
    fn what_is_no_result_is_an_error() {
        for (text, class) in [
            ("", "empty"),
            ("hello\n", "malformed"),
            ("megabytes=1470.5 real_sec", "truncated"),
            (
                "nuttcp-t: v6.1.2: Error: connect: Connection refused\n",
                "connection_refused",
            ),
            (
                "megabytes=0.0 real_seconds=1.00 rate_Mbps=0.0 tx_cpu=0 rx_cpu=0\n",
                "no_data",
            ),
        ] {
            assert_eq!(Nuttcp::parse(&output(text)).unwrap_err().class, class, "{text}");
        }
        for end in 1..LINE.find("rx_cpu=").unwrap() {
            assert!(Nuttcp::parse(&output(&LINE[..end])).is_err(), "{end}");
        }
    }
}
