//! The text for people: interval rows, a dashed line, then totals per stream and, with several streams, `[SUM]`.

use net_tool::{Metric, Metrics, ToolError, number::decimal};

/// One row of totals.
struct Row<'a> {
    /// `[5]` or `[SUM]`.
    id: &'a str,
    /// `[RX-C]`: the other direction of `--bidir`.
    reverse: bool,
    sends: bool,
    seconds: f64,
    bits_per_second: f64,
    /// Between the rate and the last word.
    rest: Vec<&'a str>,
}

pub(crate) fn parse(text: &str) -> Result<Vec<Metric>, ToolError> {
    if text.contains("Server listening on") {
        return Err(ToolError::malformed("this is the output of a server"));
    }
    let known = text
        .lines()
        .any(|line| line.starts_with("Connecting to host "));
    if !known {
        let first = text.lines().next().unwrap_or_default();
        if text.trim_start().starts_with("Usage:") {
            return Err(ToolError::said(first));
        }
        return Err(ToolError::malformed(format!("not iperf3's: {first}")));
    }
    let mut lines = text.lines().skip_while(|line| !is_dashes(line));
    let Some(_) = lines.next() else {
        return Err(ToolError::truncated("no totals"));
    };
    let mut rows = Vec::new();
    let mut done = false;
    for line in lines {
        if line == "iperf Done." {
            if done {
                return Err(ToolError::malformed("more than one result"));
            }
            done = true;
        } else if is_dashes(line) || line.starts_with("Connecting to host ") {
            return Err(ToolError::malformed("more than one result"));
        } else if line.ends_with("sender") || line.ends_with("receiver") {
            let row = row(line).ok_or_else(|| {
                ToolError::malformed(format!("not a row of totals: {}", line.trim()))
            })?;
            rows.push(row);
        }
    }
    if !done || !text.ends_with('\n') {
        return Err(ToolError::truncated("the last line is not `iperf Done.`"));
    }
    let received = total(&rows, false, false)?
        .ok_or_else(|| ToolError::malformed("no row of totals says `receiver`"))?;
    if received.bits_per_second == 0.0 {
        return Err(ToolError::no_data("0 bytes received"));
    }
    let mut metrics = Metrics::default();
    metrics.add("bandwidth_bits_per_second", received.bits_per_second)?;
    metrics.add("duration_seconds", received.seconds)?;
    if let Some(sent) = total(&rows, false, true)? {
        metrics.add("sent_bandwidth_bits_per_second", sent.bits_per_second)?;
        metrics.add_some("retransmits", sent.retransmits())?;
    }
    if let Some(received) = total(&rows, true, false)? {
        if received.bits_per_second == 0.0 {
            return Err(ToolError::no_data("0 bytes received in reverse"));
        }
        metrics.add(
            "reverse_bandwidth_bits_per_second",
            received.bits_per_second,
        )?;
    }
    if let Some(sent) = total(&rows, true, true)? {
        metrics.add_some("reverse_retransmits", sent.retransmits())?;
    }
    received.datagrams(&mut metrics)?;
    Ok(metrics.finish())
}

fn is_dashes(line: &str) -> bool {
    line.starts_with("- - - -") && line.bytes().all(|byte| byte == b'-' || byte == b' ')
}

/// The row for one direction and side: `[SUM]` if there are several streams.
fn total<'a, 'b>(
    rows: &'a [Row<'b>],
    reverse: bool,
    sends: bool,
) -> Result<Option<&'a Row<'b>>, ToolError> {
    let rows: Vec<_> = rows
        .iter()
        .filter(|row| row.reverse == reverse && row.sends == sends)
        .collect();
    let sums: Vec<_> = rows.iter().copied().filter(|row| row.id == "SUM").collect();
    match (sums.as_slice(), rows.as_slice()) {
        ([sum], [_, _, ..]) => Ok(Some(sum)),
        ([], []) => Ok(None),
        ([], [row]) => Ok(Some(row)),
        _ => Err(ToolError::malformed(
            "the rows of totals contradict one another",
        )),
    }
}

/// `[  5]   0.00-2.00   sec  3.32 GBytes  14.2 Gbits/sec    5             sender`
fn row(line: &str) -> Option<Row<'_>> {
    let (id, rest) = line.strip_prefix('[')?.split_once(']')?;
    let (role, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("TX-C", rest),
    };
    let reverse = match role {
        "TX-C" => false,
        "RX-C" => true,
        _ => return None,
    };
    let words: Vec<_> = rest.split_whitespace().collect();
    let [
        interval,
        "sec",
        amount,
        amount_unit,
        rate,
        rate_unit,
        rest @ ..,
        side,
    ] = words.as_slice()
    else {
        return None;
    };
    let sends = match *side {
        "sender" => true,
        "receiver" => false,
        _ => return None,
    };
    let (from, to) = interval.split_once('-')?;
    let seconds = decimal(to)? - decimal(from)?;
    // The amount is not used, rounded as it is; but it must be one.
    decimal(amount)?;
    amount_unit.strip_suffix("Bytes")?;
    Some(Row {
        id: id.trim(),
        reverse,
        sends,
        seconds,
        bits_per_second: decimal(rate)? * bits_of(rate_unit.strip_suffix("/sec")?)?,
        rest: rest.to_vec(),
    })
}

/// Bits in a unit: 1000-based for bits, 1024-based for bytes.
fn bits_of(unit: &str) -> Option<f64> {
    let (prefix, step, bits) = match (unit.strip_suffix("bits"), unit.strip_suffix("Bytes")) {
        (Some(prefix), _) => (prefix, 1e3_f64, 1.0),
        (_, Some(prefix)) => (prefix, 1024.0, 8.0),
        _ => return None,
    };
    let power = ["", "K", "M", "G", "T"]
        .iter()
        .position(|known| *known == prefix)?;
    Some(bits * step.powi(i32::try_from(power).ok()?))
}

impl Row<'_> {
    /// The number after the rate of a sending TCP stream.
    fn retransmits(&self) -> Option<f64> {
        match self.rest.as_slice() {
            [count] => decimal(count),
            _ => None,
        }
    }

    /// `0.006 ms  0/77 (0%)` after the rate of UDP.
    fn datagrams(&self, metrics: &mut Metrics) -> Result<(), ToolError> {
        let [jitter_ms, "ms", counts, _percent] = self.rest.as_slice() else {
            return Ok(());
        };
        let wrong = || ToolError::malformed("not a row of datagrams");
        let (lost, packets) = counts.split_once('/').ok_or_else(wrong)?;
        let jitter_ms = decimal(jitter_ms).ok_or_else(wrong)?;
        let lost = decimal(lost).ok_or_else(wrong)?;
        let packets = decimal(packets).ok_or_else(wrong)?;
        metrics.add("jitter_seconds", jitter_ms / 1e3)?;
        metrics.add("lost_packets", lost)?;
        metrics.add("packets", packets)?;
        if packets > 0.0 {
            metrics.add("lost_ratio", lost / packets)?;
        }
        Ok(())
    }
}
