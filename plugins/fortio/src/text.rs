//! The text for people, which goes to standard error: a sentence at each step, a histogram, how calls ended.

use net_tool::number::{decimal, go_duration_seconds};
use net_tool::{Output, ToolError};

use crate::Kind;
use crate::run::{Asked, Run};

/// What is found line by line.
#[derive(Default)]
struct Found<'a> {
    asked_seconds: Option<f64>,
    /// `Ended after …`: seconds, calls, calls a second.
    ended: Option<(f64, u64, f64)>,
    /// `Aggregated Function Time`: calls, mean, deviation, least, most.
    times: Option<(u64, [f64; 4])>,
    percentiles: Vec<(f64, f64)>,
    kind: Option<Kind>,
    endings: Vec<(String, u64)>,
    connections: Option<u64>,
    bytes: Option<(u64, u64)>,
    all_done: Option<&'a str>,
}

/// # Errors
/// `truncated` if it does not run to its last line, `malformed` if it is another text or two of them.
pub(crate) fn result(output: &Output) -> Result<Run, ToolError> {
    let mut found = Found::default();
    // Other histograms follow, with percentiles of their own.
    let mut in_times = false;
    let mut known = false;
    for line in output.lines() {
        if line.starts_with("Fortio ") && line.contains(" running at ") {
            known = true;
            found.asked_seconds = line
                .split_once(" procs, for ")
                .and_then(|(_, rest)| rest.split(':').next())
                .and_then(go_duration_seconds);
        } else if let Some(rest) = line.strip_prefix("Ended after ") {
            once(&found.ended)?;
            found.ended = Some(ended(rest).ok_or_else(|| wrong(line))?);
        } else if let Some(rest) = line.strip_prefix("Aggregated Function Time : count ") {
            once(&found.times)?;
            found.times = Some(times(rest).ok_or_else(|| wrong(line))?);
            in_times = true;
        } else if let Some(rest) = line.strip_prefix("# target ") {
            if in_times {
                let one = percentile(rest).ok_or_else(|| wrong(line))?;
                found.percentiles.push(one);
            }
        } else if line.starts_with("Error cases ") {
            in_times = false;
        } else if let Some(rest) = line.strip_prefix("Sockets used: ") {
            once(&found.connections)?;
            found.connections = first_count(rest);
        } else if let Some(rest) = line.strip_prefix("Total Bytes sent: ") {
            once(&found.bytes)?;
            found.bytes = Some(bytes(rest).ok_or_else(|| wrong(line))?);
        } else if let Some((kind, ending, calls)) = ending(line) {
            if found.kind.is_some_and(|known| known != kind) {
                return Err(wrong(line));
            }
            found.kind = Some(kind);
            found.endings.push((ending, calls));
        } else if let Some(rest) = line.strip_prefix("All done ") {
            once(&found.all_done)?;
            found.all_done = Some(rest);
        }
    }
    if !known {
        let first = output.lines().find(|line| !line.trim().is_empty());
        let message = format!("not fortio's: {}", first.unwrap_or_default());
        return Err(ToolError::malformed(message));
    }
    found.run(output)
}

impl Found<'_> {
    fn run(self, output: &Output) -> Result<Run, ToolError> {
        let cut = || ToolError::truncated("the text ends before its last line");
        let all_done = self.all_done.ok_or_else(cut)?;
        let last = if output.stderr.is_empty() {
            &output.stdout
        } else {
            &output.stderr
        };
        if !last.ends_with('\n') {
            return Err(cut());
        }
        let (Some((duration_seconds, calls, calls_per_second)), Some((timed, times)), Some(kind)) =
            (self.ended, self.times, self.kind)
        else {
            return Err(ToolError::malformed("part of the text is missing"));
        };
        if timed != calls || first_count(all_done) != Some(calls) {
            return Err(ToolError::malformed("counts of calls differ"));
        }
        let [mean_seconds, stddev_seconds, min_seconds, max_seconds] = times;
        Ok(Run {
            kind,
            asked: self.asked_seconds.map_or(Asked::Unknown, Asked::Seconds),
            duration_seconds,
            calls,
            calls_per_second,
            min_seconds,
            mean_seconds,
            max_seconds,
            stddev_seconds,
            percentiles: self.percentiles,
            endings: self.endings,
            sent_bytes: self.bytes.map(|(sent, _)| sent),
            received_bytes: self.bytes.map(|(_, received)| received),
            connections: self.connections,
        })
    }
}

fn once<T>(found: &Option<T>) -> Result<(), ToolError> {
    if found.is_some() {
        return Err(ToolError::malformed("more than one result"));
    }
    Ok(())
}

fn wrong(line: &str) -> ToolError {
    ToolError::malformed(format!("not as fortio writes it: {line}"))
}

fn first_count(text: &str) -> Option<u64> {
    text.split(' ').next()?.parse().ok()
}

/// `1.001134168s : 100 calls. qps=99.887`
fn ended(text: &str) -> Option<(f64, u64, f64)> {
    let (duration, rest) = text.split_once(" : ")?;
    let (calls, rate) = rest.split_once(" calls. qps=")?;
    Some((
        go_duration_seconds(duration)?,
        calls.parse().ok()?,
        decimal(rate)?,
    ))
}

/// `100 avg 0.00029977295 +/- 0.000273 min 8.9122e-05 max 0.002785604 sum 0.029977295`
fn times(text: &str) -> Option<(u64, [f64; 4])> {
    let words: Vec<_> = text.split(' ').collect();
    let [
        count,
        "avg",
        mean,
        "+/-",
        deviation,
        "min",
        least,
        "max",
        most,
        "sum",
        sum,
    ] = words.as_slice()
    else {
        return None;
    };
    decimal(sum)?;
    let seconds = [
        decimal(mean)?,
        decimal(deviation)?,
        decimal(least)?,
        decimal(most)?,
    ];
    Some((count.parse().ok()?, seconds))
}

/// `50% 0.000544561`
fn percentile(text: &str) -> Option<(f64, f64)> {
    let (percent, seconds) = text.split_once("% ")?;
    Some((decimal(percent)?, decimal(seconds)?))
}

/// `2448, received: 2448`
fn bytes(text: &str) -> Option<(u64, u64)> {
    let (sent, received) = text.split_once(", received: ")?;
    Some((sent.parse().ok()?, received.parse().ok()?))
}

/// `Code 200 : 100 (100.0 %)`, `tcp short read : 2 (1.3 %)`
fn ending(line: &str) -> Option<(Kind, String, u64)> {
    let (kind, rest) = match (line.strip_prefix("Code "), line.strip_prefix("tcp ")) {
        (Some(rest), _) => (Kind::Http, rest),
        (_, Some(rest)) => (Kind::Tcp, rest),
        _ => return None,
    };
    let (ending, rest) = rest.rsplit_once(" : ")?;
    let (calls, share) = rest.split_once(" (")?;
    share.strip_suffix(" %)")?;
    Some((kind, ending.trim().to_owned(), calls.parse().ok()?))
}
