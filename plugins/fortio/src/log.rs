//! What fortio logs. From 1.5x on each line is a JSON object, before that it is `time level file> text`.

use net_tool::{ErrorClass, Output, ToolError};
use serde::Deserialize;

#[derive(Deserialize)]
struct Line {
    level: String,
    msg: String,
    err: Option<String>,
}

/// fortio's refusal of its command line. It is followed by all its options, which are not read.
pub(crate) fn usage(output: &Output) -> Option<ToolError> {
    const BEGINNINGS: [&str; 5] = [
        "flag provided but not defined:",
        "flag needs an argument:",
        "invalid value ",
        "invalid boolean value ",
        "Error: ",
    ];
    output
        .lines()
        .find(|line| BEGINNINGS.iter().any(|begin| line.starts_with(begin)))
        .map(|line| ToolError::new(ErrorClass::Usage, line))
}

/// Why fortio ended without a result.
pub(crate) fn abort(output: &Output) -> Option<ToolError> {
    let last_words = output
        .lines()
        .find(|line| line.starts_with("Aborting because of "))?;
    if let Some(class) = ErrorClass::of_message(last_words) {
        return Some(ToolError::new(class, last_words));
    }
    // Often it says no more than that there was an error; the cause was logged before.
    Some(reason(output).unwrap_or_else(|| ToolError::no_data(last_words)))
}

/// The first cause of a known kind in the log.
pub(crate) fn reason(output: &Output) -> Option<ToolError> {
    output.lines().filter_map(complaint).find_map(|words| {
        let class = ErrorClass::of_message(&words)?;
        Some(ToolError::new(class, words))
    })
}

/// The words of a line that complains.
fn complaint(line: &str) -> Option<String> {
    if let Ok(line) = serde_json::from_str::<Line>(line) {
        let bad = matches!(line.level.as_str(), "warn" | "err" | "crit" | "fatal");
        return bad.then(|| match line.err {
            Some(err) => format!("{}: {err}", line.msg),
            None => line.msg,
        });
    }
    let (start, words) = line.split_once("> ")?;
    let level = start.split(' ').nth(1)?;
    matches!(level, "W" | "E" | "C" | "F").then(|| words.to_owned())
}
