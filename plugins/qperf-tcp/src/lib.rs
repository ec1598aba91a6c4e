//! Bandwidth and one-way latency between two hosts by qperf: what to run, and how to read what it wrote.
//!
//! qperf writes text only, its errors included, all to standard output. Known is 0.4.11.

mod blocks;
mod params;
mod units;

pub use params::{Params, Test};

use net_tool::{Exit, Host, Metric, Metrics, Output, ParamError, Plan, Tool, ToolError};

use blocks::{Block, blocks};

/// qperf's `tcp_bw` and `tcp_lat`.
#[derive(Clone, Copy, Debug)]
pub struct QperfTcp;

impl Tool for QperfTcp {
    type Params = Params;

    const NAME: &'static str = "qperf_tcp";
    const MAIN_METRIC: &'static str = "bandwidth_bits_per_second";

    fn plan(params: &Params, server: &Host) -> Result<Plan, ParamError> {
        params.plan(server)
    }

    fn parse(output: &Output) -> Result<Vec<Metric>, ToolError> {
        output.check()?;
        let blocks = blocks(output)?;
        let mut metrics = Metrics::default();
        let mut strangers = Vec::new();
        for block in &blocks {
            // A loop (`-oo`) repeats its test.
            let repeated = blocks
                .iter()
                .filter(|other| other.test == block.test)
                .count()
                > 1;
            match block.test {
                "tcp_bw" => bandwidth(&mut metrics, block, repeated, &output.exit)?,
                "tcp_lat" => latency(&mut metrics, block, repeated, &output.exit)?,
                other => strangers.push(other),
            }
        }
        for asked in ["tcp_bw", "tcp_lat"] {
            let found = blocks.iter().any(|block| block.test == asked);
            if !found && output.args.iter().any(|arg| arg == asked) {
                let message = format!("there is no result of {asked}, which was asked for");
                return Err(ToolError::truncated(message));
            }
        }
        let metrics = metrics.finish();
        if metrics.is_empty() {
            let tests = strangers.join(", ");
            return Err(match strangers.as_slice() {
                // These measure nothing.
                ["conf" | "quit", ..] => ToolError::no_data(format!("{tests} measures nothing")),
                _ => ToolError::malformed(format!("{tests}: neither tcp_bw nor tcp_lat")),
            });
        }
        output.check_exit_code()?;
        Ok(metrics)
    }
}

fn bandwidth(
    metrics: &mut Metrics,
    block: &Block<'_>,
    repeated: bool,
    exit: &Exit,
) -> Result<(), ToolError> {
    let size = loop_label(block, repeated)?;
    let label: Vec<_> = size
        .iter()
        .map(|size| ("message_bytes", size.as_str()))
        .collect();
    let rate = main(block, "bw", units::bits_per_second, exit)?;
    metrics.add_labelled("bandwidth_bits_per_second", rate, &label)?;
    // With `-un` rows are named after the node instead of what it does.
    for (name, rows) in [
        ("sent_bytes", ["send_bytes", "loc_send_bytes"]),
        ("received_bytes", ["recv_bytes", "rem_recv_bytes"]),
    ] {
        if let Some(bytes) = block.first(&rows, units::bytes)? {
            metrics.add_labelled(name, bytes, &label)?;
        }
    }
    let cpus = [
        ["send_cpus_used", "loc_cpus_used"],
        ["recv_cpus_used", "rem_cpus_used"],
    ];
    of_both(metrics, block, size.as_deref(), cpus)
}

fn latency(
    metrics: &mut Metrics,
    block: &Block<'_>,
    repeated: bool,
    exit: &Exit,
) -> Result<(), ToolError> {
    let size = loop_label(block, repeated)?;
    let seconds = main(block, "latency", units::seconds, exit)?;
    let mut labels = vec![("path", "one_way")];
    labels.extend(size.iter().map(|size| ("message_bytes", size.as_str())));
    metrics.add_labelled("latency_mean_seconds", seconds, &labels)?;
    let cpus = [
        ["loc_cpus_used", "send_cpus_used"],
        ["rem_cpus_used", "recv_cpus_used"],
    ];
    of_both(metrics, block, size.as_deref(), cpus)
}

/// What both tests report, told apart by the label `test`.
fn of_both(
    metrics: &mut Metrics,
    block: &Block<'_>,
    size: Option<&str>,
    [local, remote]: [[&str; 2]; 2],
) -> Result<(), ToolError> {
    let mut labels = vec![("test", block.test)];
    labels.extend(size.map(|size| ("message_bytes", size)));
    for (name, value) in [
        (
            "message_rate_per_second",
            block.first(&["msg_rate"], units::per_second)?,
        ),
        (
            "cpu_local_percent",
            block.first(&local, units::percent_of_core)?,
        ),
        (
            "cpu_remote_percent",
            block.first(&remote, units::percent_of_core)?,
        ),
    ] {
        if let Some(value) = value {
            metrics.add_labelled(name, value, &labels)?;
        }
    }
    Ok(())
}

/// The row a test is run for. It is there even where others are left out for being 0.
fn main(
    block: &Block<'_>,
    row: &str,
    unit: fn(&str) -> Option<f64>,
    exit: &Exit,
) -> Result<f64, ToolError> {
    match block.first(&[row], unit)? {
        Some(value) if value > 0.0 => Ok(value),
        Some(_) => Err(ToolError::no_data(format!("{}: {row} is 0", block.test))),
        None if *exit == Exit::Code(0) && block.rows.is_empty() => {
            Err(ToolError::no_data(format!("{}: no result", block.test)))
        }
        None => Err(ToolError::truncated(format!(
            "{}: no row `{row}`",
            block.test
        ))),
    }
}

/// The message size that tells the rounds of a loop apart, in bytes.
fn loop_label(block: &Block<'_>, repeated: bool) -> Result<Option<String>, ToolError> {
    if !repeated {
        return Ok(None);
    }
    let size = block.first(&["msg_size"], units::bytes)?;
    let size = size.map(|bytes| format!("{bytes:.0}"));
    size.map(Some).ok_or_else(|| {
        ToolError::malformed(format!(
            "{} is there more than once without msg_size (-vu), which would tell the rounds apart",
            block.test
        ))
    })
}

kperf_sdk::export_tool!(net_tool::Component<QperfTcp>, name = "qperf_tcp");
