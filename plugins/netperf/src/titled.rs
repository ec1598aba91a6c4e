//! `-o` and `-O`: one row of values under titles, comma separated or in columns. With `-P 0` the row alone, whose
//! columns are those asked for.

use net_tool::ToolError;

use crate::args::Layout;
use crate::fields::Fields;
use crate::message::{is_banner, is_remark};

/// Selectors that are used here and their titles, which `-O` spreads over several lines.
pub(crate) const TITLES: [(&str, &str); 19] = [
    ("THROUGHPUT", "Throughput"),
    ("THROUGHPUT_UNITS", "Throughput Units"),
    ("MIN_LATENCY", "Minimum Latency Microseconds"),
    ("MEAN_LATENCY", "Mean Latency Microseconds"),
    ("P50_LATENCY", "50th Percentile Latency Microseconds"),
    ("P90_LATENCY", "90th Percentile Latency Microseconds"),
    ("P99_LATENCY", "99th Percentile Latency Microseconds"),
    ("MAX_LATENCY", "Maximum Latency Microseconds"),
    ("STDDEV_LATENCY", "Stddev Latency Microseconds"),
    ("TRANSACTION_RATE", "Transaction Rate Tran/s"),
    ("ELAPSED_TIME", "Elapsed Time (sec)"),
    ("LOCAL_TRANSPORT_RETRANS", "Local Transport Retransmissions"),
    (
        "REMOTE_TRANSPORT_RETRANS",
        "Remote Transport Retransmissions",
    ),
    ("LOCAL_SEND_SIZE", "Local Send Size"),
    ("LOCAL_CPU_UTIL", "Local CPU Util %"),
    ("REMOTE_CPU_UTIL", "Remote CPU Util %"),
    ("DIRECTION", "Direction"),
    ("PROTOCOL", "Protocol"),
    ("BURST_SIZE", "Initial Burst Requests"),
];

/// netperf has titles of up to four lines.
const MOST_TITLE_LINES: usize = 8;

/// The result, `None` if the text is not laid out like this.
///
/// # Errors
/// `malformed` if values and titles do not fit, `truncated` if the values are missing.
pub(crate) fn read(
    text: &str,
    selectors: Option<&(Layout, Vec<String>)>,
) -> Result<Option<Fields>, ToolError> {
    let mut lines: Vec<_> = text
        .lines()
        .filter(|line| !is_remark(line) && !is_banner(line))
        .collect();
    let titled = lines.iter().any(|line| line.contains("Throughput"));
    let Some(row) = lines.pop() else {
        return Ok(None);
    };
    if !titled {
        return match selectors {
            Some((Layout::Csv, names)) if lines.is_empty() => {
                by_order(names, &cells(row)).map(Some)
            }
            Some((Layout::Columns, names)) if lines.is_empty() => {
                by_order(names, &row.split_whitespace().collect::<Vec<_>>()).map(Some)
            }
            _ => Ok(None),
        };
    }
    if lines.is_empty() || row.contains("Throughput") {
        return Err(ToolError::truncated("the row of values is missing"));
    }
    let named = match lines.as_slice() {
        [titles] if titles.contains(',') => {
            let (titles, values) = (cells(titles), cells(row));
            if titles.len() != values.len() {
                let message = format!("{} titles, {} values", titles.len(), values.len());
                return Err(ToolError::malformed(message));
            }
            let titles = titles.into_iter().map(str::to_owned);
            titles.zip(values).collect()
        }
        titles if titles.len() > MOST_TITLE_LINES => {
            return Err(ToolError::malformed("too many lines of titles"));
        }
        titles => columns(titles, row),
    };
    let mut fields = Fields::default();
    for (title, value) in named {
        if let Some((selector, _)) = TITLES.iter().find(|(_, known)| *known == title) {
            fields.insert(selector, value)?;
        }
    }
    Ok(Some(fields))
}

fn by_order(names: &[String], values: &[&str]) -> Result<Fields, ToolError> {
    if names.len() != values.len() {
        let message = format!("{} names asked for, {} values", names.len(), values.len());
        return Err(ToolError::malformed(message));
    }
    let mut fields = Fields::default();
    for (name, value) in names.iter().zip(values) {
        fields.insert(name, value)?;
    }
    Ok(fields)
}

/// What stands between commas that are not in quotes.
fn cells(line: &str) -> Vec<&str> {
    let mut quoted = false;
    line.split(|char| {
        quoted ^= char == '"';
        char == ',' && !quoted
    })
    .map(str::trim)
    .collect()
}

/// A column begins where its value does; its title is what stands above that, read downwards.
fn columns<'a>(titles: &[&str], row: &'a str) -> Vec<(String, &'a str)> {
    let mut starts: Vec<usize> = Vec::new();
    let mut before = b' ';
    for (place, byte) in row.bytes().enumerate() {
        if before == b' ' && byte != b' ' {
            starts.push(place);
        }
        before = byte;
    }
    let part = |line: &str, index: usize| {
        let from = starts.get(index).copied().unwrap_or(usize::MAX);
        let to = starts.get(index + 1).copied().unwrap_or(line.len());
        line.get(from..to.min(line.len()).max(from))
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    row.split_whitespace()
        .enumerate()
        .map(|(index, value)| {
            let words: Vec<_> = titles.iter().map(|line| part(line, index)).collect();
            let title = words.join(" ");
            (
                title.split_whitespace().collect::<Vec<_>>().join(" "),
                value,
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_do_not_part() {
        assert_eq!(cells("a,\"b,c\",d"), ["a", "\"b,c\"", "d"]);
        assert_eq!(cells(""), [""]);
    }

    #[test]
    fn titles_run_downwards() {
        let titles = [
            "Minimum      Elapsed",
            "Latency      Time   ",
            "Microseconds (sec)  ",
        ];
        let found = columns(&titles, "14           2.00   ");
        assert_eq!(found[0], ("Minimum Latency Microseconds".to_owned(), "14"));
        assert_eq!(found[1], ("Elapsed Time (sec)".to_owned(), "2.00"));
    }

    #[test]
    fn titles_of_another_script_do_not_panic() {
        assert_eq!(columns(&["ééé"], "1 2").len(), 2);
    }
}
