//! The `end` part of a run and the metrics in it.

use net_tool::{ErrorClass, Metric, Metrics, ToolError};
use serde::Deserialize;

/// `start`, as far as it says what was asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Start {
    test_start: Option<TestStart>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TestStart {
    /// Seconds; 0 where bytes or blocks were asked for.
    duration: Option<f64>,
}

/// `end`: totals of all streams.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct End {
    streams: Vec<Stream>,
    sum: Option<Sum>,
    sum_sent: Option<Sum>,
    sum_received: Option<Sum>,
    sum_sent_bidir_reverse: Option<Sum>,
    sum_received_bidir_reverse: Option<Sum>,
    cpu_utilization_percent: Option<Cpu>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stream {
    sender: Option<Sender>,
}

/// The sending half of a stream. Round trip times are in microseconds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sender {
    /// Whether this client sends, so that it knows the TCP state.
    sender: bool,
    mean_rtt: Option<f64>,
    min_rtt: Option<f64>,
    max_rtt: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Sum {
    seconds: f64,
    bytes: f64,
    bits_per_second: f64,
    retransmits: Option<f64>,
    jitter_ms: Option<f64>,
    lost_packets: Option<f64>,
    packets: Option<f64>,
    lost_percent: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cpu {
    host_total: f64,
    host_user: f64,
    host_system: f64,
    remote_total: f64,
    remote_user: f64,
    remote_system: f64,
}

/// A run shorter than this share of what was asked was interrupted.
const WHOLE_RUN: f64 = 0.9;

/// The metrics of a run that reported no error.
pub(crate) fn metrics(start: &Start, end: &End) -> Result<Vec<Metric>, ToolError> {
    let mut metrics = Metrics::default();
    let asked_seconds = start.test_start.as_ref().and_then(|test| test.duration);
    let received = match (&end.sum_received, &end.sum) {
        (Some(received), _) => received,
        // UDP before 3.10: one sum whose rate is the sender's.
        (None, Some(sum)) => return sum_alone(metrics, sum, asked_seconds),
        (None, None) => return Err(ToolError::no_data("iperf3 reports no totals")),
    };
    received.check("sum_received")?;
    whole(received, asked_seconds)?;
    if received.bytes == 0.0 {
        return Err(ToolError::no_data("0 bytes received"));
    }
    metrics.add("bandwidth_bits_per_second", received.bits_per_second)?;
    metrics.add("received_bytes", received.bytes)?;
    metrics.add("duration_seconds", received.seconds)?;
    if let Some(sent) = &end.sum_sent {
        sent.check("sum_sent")?;
        // A server that receives reports 0 sent: it does not know.
        if sent.bytes > 0.0 {
            metrics.add("sent_bandwidth_bits_per_second", sent.bits_per_second)?;
            metrics.add("sent_bytes", sent.bytes)?;
            metrics.add_some("retransmits", known(sent.retransmits))?;
        }
    }
    reverse(&mut metrics, end)?;
    datagrams(&mut metrics, received)?;
    round_trips(&mut metrics, &end.streams)?;
    if let Some(cpu) = &end.cpu_utilization_percent {
        let local = [cpu.host_total, cpu.host_user, cpu.host_system];
        let remote = [cpu.remote_total, cpu.remote_user, cpu.remote_system];
        for (name, parts) in [("cpu_local_percent", local), ("cpu_remote_percent", remote)] {
            // Without the other side's report its parts are all 0.
            if parts.iter().any(|&part| part != 0.0) {
                metrics.add(name, parts[0])?;
            }
        }
    }
    Ok(metrics.finish())
}

/// The other direction of `--bidir`.
fn reverse(metrics: &mut Metrics, end: &End) -> Result<(), ToolError> {
    let Some(received) = &end.sum_received_bidir_reverse else {
        return Ok(());
    };
    received.check("sum_received_bidir_reverse")?;
    if received.bytes == 0.0 {
        return Err(ToolError::no_data("0 bytes received in reverse"));
    }
    metrics.add(
        "reverse_bandwidth_bits_per_second",
        received.bits_per_second,
    )?;
    let sent = end.sum_sent_bidir_reverse.as_ref();
    let retransmits = sent.and_then(|sent| known(sent.retransmits));
    metrics.add_some("reverse_retransmits", retransmits)
}

/// What only UDP has.
fn datagrams(metrics: &mut Metrics, sum: &Sum) -> Result<(), ToolError> {
    metrics.add_some("jitter_seconds", sum.jitter_ms.map(|ms| ms / 1e3))?;
    let (Some(lost), Some(packets)) = (known(sum.lost_packets), sum.packets) else {
        return Ok(());
    };
    metrics.add("lost_packets", lost)?;
    metrics.add("packets", packets)?;
    metrics.add_some("lost_ratio", sum.lost_percent.map(|percent| percent / 1e2))
}

/// Over the streams on which this client sends: only there does it know the TCP state, elsewhere it writes 0.
fn round_trips(metrics: &mut Metrics, streams: &[Stream]) -> Result<(), ToolError> {
    let sending: Vec<_> = streams
        .iter()
        .filter_map(|stream| stream.sender.as_ref())
        .filter(|sender| sender.sender)
        .collect();
    let values = |field: fn(&Sender) -> Option<f64>| {
        sending
            .iter()
            .filter_map(|sender| field(sender))
            .filter(|&us| us > 0.0)
            .collect::<Vec<f64>>()
    };
    let means = values(|sender| sender.mean_rtt);
    if !means.is_empty() {
        #[expect(clippy::cast_precision_loss, reason = "there are at most 128 streams")]
        let mean_us = means.iter().sum::<f64>() / means.len() as f64;
        metrics.add("rtt_mean_seconds", mean_us / 1e6)?;
    }
    let least = values(|sender| sender.min_rtt).into_iter().reduce(f64::min);
    let most = values(|sender| sender.max_rtt).into_iter().reduce(f64::max);
    metrics.add_some("rtt_min_seconds", least.map(|us| us / 1e6))?;
    metrics.add_some("rtt_max_seconds", most.map(|us| us / 1e6))
}

/// UDP before 3.10: bytes and rate are the sender's, jitter and loss the receiver's. Datagrams are of one size, so
/// what arrived is what was sent without the share that was lost.
fn sum_alone(
    mut metrics: Metrics,
    sum: &Sum,
    asked_seconds: Option<f64>,
) -> Result<Vec<Metric>, ToolError> {
    sum.check("sum")?;
    whole(sum, asked_seconds)?;
    let (Some(lost), Some(packets)) = (known(sum.lost_packets), sum.packets) else {
        return Err(ToolError::no_data("iperf3 reports nothing received"));
    };
    if packets <= 0.0 || lost >= packets {
        return Err(ToolError::no_data("0 datagrams received"));
    }
    let arrived = 1.0 - lost / packets;
    metrics.add("bandwidth_bits_per_second", sum.bits_per_second * arrived)?;
    metrics.add("duration_seconds", sum.seconds)?;
    metrics.add("sent_bandwidth_bits_per_second", sum.bits_per_second)?;
    metrics.add("sent_bytes", sum.bytes)?;
    datagrams(&mut metrics, sum)?;
    Ok(metrics.finish())
}

fn whole(sum: &Sum, asked_seconds: Option<f64>) -> Result<(), ToolError> {
    match asked_seconds {
        Some(asked) if sum.seconds < asked * WHOLE_RUN => {
            let message = format!("the run took {} of {asked} s", sum.seconds);
            Err(ToolError::new(ErrorClass::Interrupted, message))
        }
        _ => Ok(()),
    }
}

/// A count, unless it is the -1 that stands for "unknown".
fn known(count: Option<f64>) -> Option<f64> {
    count.filter(|&count| count >= 0.0)
}

impl Sum {
    /// Whether rate, bytes and time fit together; a flipped digit mostly shows here.
    fn check(&self, name: &str) -> Result<(), ToolError> {
        if self.bytes == 0.0 && self.bits_per_second == 0.0 {
            return Ok(());
        }
        let rate = self.bytes * 8.0 / self.seconds;
        let fits = (self.bits_per_second - rate).abs() <= rate * 0.01;
        if self.seconds > 0.0 && fits {
            return Ok(());
        }
        Err(ToolError::malformed(format!(
            "{name}: {} bytes in {} s are not {} bit/s",
            self.bytes, self.seconds, self.bits_per_second
        )))
    }
}
