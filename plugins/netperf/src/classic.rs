//! The table of each test: banner, titles, a blank line, one row of numbers. With `-P 0` the numbers alone.

use net_tool::ToolError;

use crate::args::Args;
use crate::fields::{Fields, Kind, is_numbers};
use crate::message::{is_banner, is_remark};

/// The result, `None` if the text is not laid out like this.
///
/// # Errors
/// `malformed` if there is more than one result, `truncated` if part of one is missing.
pub(crate) fn read(
    text: &str,
    kind: Kind,
    args: &Args,
    banner: Option<&str>,
    selected: bool,
) -> Result<Option<Fields>, ToolError> {
    let titles: Vec<_> = text
        .lines()
        .filter(|line| !is_remark(line) && !is_banner(line) && !is_numbers(line))
        .collect();
    let own_titles = titles.iter().any(|line| line.contains("Socket"));
    // Rows of numbers under other titles, or asked for otherwise, are not this table.
    if banner.is_some() && !own_titles || banner.is_none() && selected {
        return Ok(None);
    }
    let (width, width_with_cpu) = match kind {
        Kind::RequestResponse => (6, 10),
        Kind::Stream => (5, 9),
    };
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| is_numbers(line))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let mut results = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| row.len() == width || row.len() == width_with_cpu);
    let Some((place, row)) = results.next() else {
        return Ok(None);
    };
    if results.next().is_some() {
        return Err(ToolError::malformed("more than one result"));
    }
    let mut fields = Fields::default();
    fields.classic = true;
    let cpu = match (kind, row.as_slice()) {
        (Kind::RequestResponse, [_, _, _, _, elapsed, rate, cpu @ ..]) => {
            // The other side's socket sizes follow. Without them the row may be cut.
            if rows.get(place + 1).is_none_or(|next| next.len() != 2) {
                return Err(ToolError::truncated("the second row is missing"));
            }
            fields.insert("ELAPSED_TIME", elapsed)?;
            fields.insert("TRANSACTION_RATE", rate)?;
            let burst = match banner {
                Some(banner) => !banner.trim_end().ends_with("first burst 0"),
                None => !args.known || args.burst(),
            };
            fields.insert("BURST_SIZE", if burst { "" } else { "0" })?;
            cpu
        }
        (Kind::Stream, [_, _, _, elapsed, throughput, cpu @ ..]) => {
            fields.insert("ELAPSED_TIME", elapsed)?;
            fields.insert("THROUGHPUT", throughput)?;
            let unit = titles
                .iter()
                .find_map(|line| line.split_once("secs."))
                .and_then(|(_, rest)| rest.split_whitespace().next());
            if let Some(unit) = unit {
                fields.insert("THROUGHPUT_UNITS", unit)?;
            } else if banner.is_some() {
                return Err(ToolError::malformed("the titles do not say the unit"));
            }
            if banner.is_some_and(|banner| banner.contains("MAERTS")) {
                fields.insert("DIRECTION", "Receive")?;
            }
            cpu
        }
        _ => return Ok(None),
    };
    if let [local, remote, ..] = cpu {
        fields.insert("LOCAL_CPU_UTIL", local)?;
        fields.insert("REMOTE_CPU_UTIL", remote)?;
    }
    Ok(Some(fields))
}
