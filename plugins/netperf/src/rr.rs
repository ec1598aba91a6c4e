//! `TCP_RR`: one request, one response, and again.

use net_tool::{Host, Metric, Metrics, Output, ParamError, Plan, Tool, ToolError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::fields::{Fields, Kind, exit, read, whole_run};
use crate::server::{Ports, plan};

/// Transactions a second and their latency between two hosts over one TCP connection by netperf.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RrParams {
    /// How long to measure.
    #[schemars(range(min = 1, max = 86_400))]
    pub duration_seconds: u32,
    /// Size of a request.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub request_bytes: u32,
    /// Size of a response.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub response_bytes: u32,
    /// Also measure how busy both hosts are.
    pub cpu: bool,
    /// The server's port for control.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The server's port for the test's traffic.
    #[schemars(range(min = 1))]
    pub data_port: u16,
}

impl Default for RrParams {
    fn default() -> Self {
        Self {
            duration_seconds: 10,
            request_bytes: 1,
            response_bytes: 1,
            cpu: false,
            port: 12_865,
            data_port: 12_866,
        }
    }
}

/// netperf's `TCP_RR`. Results of `TCP_CRR`, which connects anew for each transaction, are read as well.
#[derive(Clone, Copy, Debug)]
pub struct TcpRr;

/// In microseconds, and the metric's part of a name.
const LATENCIES: [(&str, &str); 7] = [
    ("MIN_LATENCY", "min"),
    ("MEAN_LATENCY", "mean"),
    ("P50_LATENCY", "p50"),
    ("P90_LATENCY", "p90"),
    ("P99_LATENCY", "p99"),
    ("MAX_LATENCY", "max"),
    ("STDDEV_LATENCY", "stddev"),
];

impl Tool for TcpRr {
    type Params = RrParams;

    const NAME: &'static str = "netperf_tcp_rr";
    const MAIN_METRIC: &'static str = "transaction_rate_per_second";

    fn plan(params: &RrParams, server: &Host) -> Result<Plan, ParamError> {
        ParamError::within("durationSeconds", params.duration_seconds, 1, 86_400)?;
        ParamError::within("requestBytes", params.request_bytes, 1, 16_777_216)?;
        ParamError::within("responseBytes", params.response_bytes, 1, 16_777_216)?;
        let ports = Ports {
            control: params.port,
            data: params.data_port,
        };
        ports.check()?;
        let mut plan = plan(server, "TCP_RR", params.duration_seconds, params.cpu, ports);
        let mut selectors = vec!["THROUGHPUT", "THROUGHPUT_UNITS"];
        selectors.extend(LATENCIES.map(|(selector, _)| selector));
        selectors.extend([
            "TRANSACTION_RATE",
            "ELAPSED_TIME",
            "LOCAL_TRANSPORT_RETRANS",
            "REMOTE_TRANSPORT_RETRANS",
        ]);
        if params.cpu {
            selectors.extend(["LOCAL_CPU_UTIL", "REMOTE_CPU_UTIL"]);
        }
        // Last, so that a cut shows.
        selectors.push("PROTOCOL");
        plan.client.args([
            "--".to_owned(),
            "-r".to_owned(),
            format!("{},{}", params.request_bytes, params.response_bytes),
            "-P".to_owned(),
            format!(",{}", params.data_port),
            "-k".to_owned(),
            selectors.join(","),
        ]);
        Ok(plan)
    }

    fn parse(output: &Output) -> Result<Vec<Metric>, ToolError> {
        let args = Args::new(&output.args);
        let fields = read(output, Kind::RequestResponse, &args)?;
        let mut metrics = Metrics::default();
        let rate = rate(&fields)?;
        whole_run(&fields, &args)?;
        metrics.add("transaction_rate_per_second", rate)?;
        if fields.classic && fields.text("BURST_SIZE") == Some("0") {
            metrics.add("latency_mean_seconds", 1.0 / rate)?;
        }
        for (selector, name) in LATENCIES {
            let seconds = fields.number(selector)?.map(|us| us / 1e6);
            metrics.add_some(format!("latency_{name}_seconds"), seconds)?;
        }
        let retransmits = [
            fields.number("LOCAL_TRANSPORT_RETRANS")?,
            fields.number("REMOTE_TRANSPORT_RETRANS")?,
        ];
        if retransmits.iter().any(Option::is_some) {
            metrics.add("retransmits", retransmits.iter().flatten().sum())?;
        }
        for (selector, name) in [
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

/// Transactions a second. THROUGHPUT is something else when another unit was asked for.
fn rate(fields: &Fields) -> Result<f64, ToolError> {
    let rate = match fields.text("THROUGHPUT_UNITS") {
        Some("Trans/s") => fields.number("THROUGHPUT")?,
        _ => None,
    };
    let rate = match rate {
        Some(rate) => Some(rate),
        None => fields.number("TRANSACTION_RATE")?,
    };
    match rate {
        Some(rate) if rate > 0.0 => Ok(rate),
        Some(_) => Err(ToolError::no_data("0 transactions")),
        None => Err(ToolError::malformed("no rate of transactions")),
    }
}
