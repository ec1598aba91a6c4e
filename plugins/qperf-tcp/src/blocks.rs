//! `NAME:` at the start of a line, then indented rows `name  =  value unit`.

use std::collections::BTreeMap;

use net_tool::{ErrorClass, Output, ToolError};

/// More than any loop runs.
const MOST_TESTS: usize = 1_000;

/// Results of one test.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    pub(crate) test: &'a str,
    /// Name to value with unit.
    pub(crate) rows: BTreeMap<&'a str, &'a str>,
}

impl Block<'_> {
    /// The first of some rows that is there, in its base unit.
    ///
    /// # Errors
    /// `malformed` if its unit is not one of qperf's.
    pub(crate) fn first(
        &self,
        names: &[&str],
        unit: fn(&str) -> Option<f64>,
    ) -> Result<Option<f64>, ToolError> {
        let row = names
            .iter()
            .find_map(|name| Some((name, self.rows.get(name)?)));
        let Some((name, text)) = row else {
            return Ok(None);
        };
        unit(text).map(Some).ok_or_else(|| {
            ToolError::malformed(format!("{}: `{text}` is no value of {name}", self.test))
        })
    }
}

/// All tests of an output in which every line is qperf's.
///
/// # Errors
/// qperf's own message if there is one; `truncated` if the last line has no end; `malformed` for other lines.
pub(crate) fn blocks(output: &Output) -> Result<Vec<Block<'_>>, ToolError> {
    if let Some(error) = message(output) {
        return Err(error);
    }
    if !output.stdout.ends_with('\n') {
        return Err(ToolError::truncated("the last line has no end"));
    }
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for line in output.stdout.lines() {
        if blocks.len() > MOST_TESTS {
            return Err(ToolError::malformed(format!(
                "more than {MOST_TESTS} tests"
            )));
        }
        if let Some(test) = test_name(line) {
            blocks.push(Block {
                test,
                rows: BTreeMap::new(),
            });
        } else if let Some((name, value)) = row(line) {
            let Some(block) = blocks.last_mut() else {
                return Err(ToolError::malformed(format!("not under a test: {line}")));
            };
            if block.rows.insert(name, value).is_some() {
                let message = format!("{}: {name} is there twice", block.test);
                return Err(ToolError::malformed(message));
            }
        } else {
            return Err(ToolError::malformed(format!("not qperf's: {line}")));
        }
    }
    Ok(blocks)
}

/// The message with which qperf ended.
fn message(output: &Output) -> Option<ToolError> {
    output
        .lines()
        .filter(|line| test_name(line).is_none() && row(line).is_none())
        .filter_map(|line| Some(ToolError::new(ErrorClass::of_message(line)?, line)))
        .min_by_key(|error| error.class)
}

fn test_name(line: &str) -> Option<&str> {
    let name = line.strip_suffix(':')?;
    let good = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    (good && !name.is_empty()).then_some(name)
}

fn row(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix("    ")?.split_once(" =  ")?;
    let name = name.trim_end();
    let good = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    (good && !name.is_empty()).then_some((name, value.trim()))
}
