//! A result as selectors and values, whatever its layout was.

use std::collections::BTreeMap;

use net_tool::{ErrorClass, Exit, Output, ToolError, number::decimal};

use crate::args::{Args, Layout};
use crate::message::{is_banner, message};
use crate::{classic, titled};

/// Which test's result is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    RequestResponse,
    Stream,
}

/// Values by selector, as text.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    values: BTreeMap<String, String>,
    /// Whether the result is a classic table.
    pub(crate) classic: bool,
}

impl Fields {
    /// # Errors
    /// `malformed` if the selector is there already.
    pub(crate) fn insert(&mut self, selector: &str, value: &str) -> Result<(), ToolError> {
        let old = self.values.insert(selector.to_owned(), value.to_owned());
        if old.is_some() {
            return Err(ToolError::malformed(format!("{selector} is there twice")));
        }
        Ok(())
    }

    pub(crate) fn text(&self, selector: &str) -> Option<&str> {
        self.values.get(selector).map(String::as_str)
    }

    /// A number; `None` where netperf writes -1 or nan, which mean "not measured".
    ///
    /// # Errors
    /// `malformed` if it is no number at all.
    pub(crate) fn number(&self, selector: &str) -> Result<Option<f64>, ToolError> {
        let Some(text) = self.text(selector) else {
            return Ok(None);
        };
        let unsigned = text.strip_prefix('-');
        match (unsigned, decimal(unsigned.unwrap_or(text))) {
            (None, Some(value)) => Ok(Some(value)),
            (Some(_), Some(1.0)) => Ok(None),
            _ if unsigned.unwrap_or(text) == "nan" => Ok(None),
            _ => Err(ToolError::malformed(format!("{selector} is `{text}`"))),
        }
    }
}

/// Reads a result of one kind.
///
/// # Errors
/// netperf's own message; `malformed` for another kind of output, `truncated` for a part of one.
pub(crate) fn read(output: &Output, kind: Kind, args: &Args) -> Result<Fields, ToolError> {
    output.check()?;
    if let Some(error) = message(output) {
        return Err(error);
    }
    let text = &output.stdout;
    let selectors = args.selectors();
    let banner = one_banner(text, kind)?;
    let has_keys = text.lines().any(is_key_value);
    let fields = if has_keys {
        key_values(text)?
    } else if let Some(fields) = classic::read(text, kind, args, banner, selectors.is_some())? {
        fields
    } else if let Some(fields) = titled::read(text, selectors.as_ref())? {
        fields
    } else if banner.is_some() || text.lines().any(is_numbers) {
        return Err(ToolError::truncated("the result is missing"));
    } else {
        let first = output.lines().find(|line| !line.trim().is_empty());
        let first = first.unwrap_or_default();
        return Err(ToolError::malformed(format!("not netperf's: {first}")));
    };
    if !text.ends_with('\n') {
        return Err(ToolError::truncated("the last line has no end"));
    }
    if let Some((layout, selectors)) = &selectors
        && (*layout == Layout::KeyValue) == has_keys
    {
        complete(&fields, selectors)?;
    }
    match fields.text("PROTOCOL") {
        None | Some("TCP") => {}
        Some(other) => {
            let message = format!("the protocol is {other}, not TCP");
            return Err(ToolError::malformed(message));
        }
    }
    Ok(fields)
}

/// Refuses a run that took less than it was given, as after SIGINT, which netperf does not mention.
///
/// # Errors
/// `interrupted` with both times.
pub(crate) fn whole_run(fields: &Fields, args: &Args) -> Result<(), ToolError> {
    let elapsed = fields.number("ELAPSED_TIME")?;
    if let (Some(elapsed), Some(asked)) = (elapsed, args.seconds())
        && elapsed < asked * 0.9
    {
        let message = format!("the run took {elapsed} of {asked} s");
        return Err(ToolError::new(ErrorClass::Interrupted, message));
    }
    Ok(())
}

/// Refuses numbers beside a failure that netperf reported in words that are not known.
///
/// # Errors
/// As [`Output::check_exit_code`].
pub(crate) fn exit(output: &Output) -> Result<(), ToolError> {
    match output.exit {
        Exit::Code(_) => output.check_exit_code(),
        _ => Ok(()),
    }
}

/// `NAME=value`, the name in capitals.
pub(crate) fn is_key_value(line: &str) -> bool {
    key_value(line).is_some()
}

fn key_value(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let good = name.starts_with(|first: char| first.is_ascii_uppercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    good.then_some((name, value))
}

/// A line of numbers alone.
pub(crate) fn is_numbers(line: &str) -> bool {
    let mut words = line.split_whitespace().peekable();
    words.peek().is_some()
        && words.all(|word| {
            let word = word.strip_prefix('-').unwrap_or(word);
            decimal(word).is_some() || word == "nan"
        })
}

fn key_values(text: &str) -> Result<Fields, ToolError> {
    let mut fields = Fields::default();
    for (name, value) in text.lines().filter_map(key_value) {
        fields.insert(name, value)?;
    }
    Ok(fields)
}

/// Everything asked for must be there, or the text stops too early. Names that netperf does not know are left out by
/// it, so only those count that are used here.
fn complete(fields: &Fields, selectors: &[String]) -> Result<(), ToolError> {
    let all = selectors.iter().any(|name| name == "ALL");
    let last_of_all = ["COMMAND_LINE"];
    let needed = selectors
        .iter()
        .map(String::as_str)
        .filter(|name| titled::TITLES.iter().any(|(selector, _)| selector == name));
    let mut needed = needed.chain(last_of_all.into_iter().filter(|_| all));
    match needed.find(|name| fields.text(name).is_none()) {
        Some(missing) => {
            let message = format!("{missing}, which was asked for, is missing");
            Err(ToolError::truncated(message))
        }
        None => Ok(()),
    }
}

fn one_banner(text: &str, kind: Kind) -> Result<Option<&str>, ToolError> {
    let mut banners = text.lines().filter(|line| is_banner(line));
    let Some(banner) = banners.next() else {
        return Ok(None);
    };
    if banners.next().is_some() {
        return Err(ToolError::malformed("more than one result"));
    }
    let test = banner.split(" from ").next().unwrap_or_default();
    let upper = test.to_uppercase();
    let fits = match kind {
        Kind::RequestResponse => upper.contains("TCP") && upper.contains("REQUEST/RESPONSE"),
        Kind::Stream => upper.contains("TCP STREAM") || upper.contains("TCP MAERTS"),
    };
    if fits {
        return Ok(Some(banner));
    }
    Err(ToolError::malformed(format!("another test: {test}")))
}
