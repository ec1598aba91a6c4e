//! Prometheus' text format (version 0.0.4), read as it arrives.
//!
//! Enters: bytes in pieces of any size. Leaves: the samples whose name is wanted. An API server shows some
//! megabytes, of which little is needed: of other lines only the name is looked at, and never more than a line
//! is kept. What is wanted is read strictly.

use std::borrow::Cow;

/// A longer line is not one of an API server.
const MAX_LINE_BYTES: usize = 64 << 10;

/// One line of numbers.
#[derive(Debug, PartialEq)]
pub(crate) struct Sample<'a> {
    pub(crate) name: &'a str,
    labels: Vec<(&'a str, Cow<'a, str>)>,
    pub(crate) value: f64,
}

impl Sample<'_> {
    /// The value of a label; a label that is not there is empty, as Prometheus has it.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels
            .iter()
            .find(|(key, _)| *key == name)
            .map_or("", |(_, value)| value)
    }
}

/// Why the text could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct TextError {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// Cuts the stream into lines and reads those that are wanted.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// The line that has begun.
    rest: Vec<u8>,
    line: usize,
}

impl Reader {
    /// Takes the next bytes.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        wanted: impl Fn(&str) -> bool,
        mut each: impl FnMut(&Sample<'_>),
    ) -> Result<(), TextError> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, after) = bytes.split_at(end);
            bytes = after.get(1..).unwrap_or_default();
            self.line += 1;
            let whole;
            let line = if self.rest.is_empty() {
                line
            } else {
                self.rest.extend_from_slice(line);
                whole = std::mem::take(&mut self.rest);
                &whole
            };
            read_line(line, &wanted, &mut each).map_err(|reason| TextError {
                line: self.line,
                reason,
            })?;
        }
        if self.rest.len() + bytes.len() > MAX_LINE_BYTES {
            return Err(TextError {
                line: self.line + 1,
                reason: format!("it is longer than {MAX_LINE_BYTES} bytes"),
            });
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// The text is over. The format ends every line, so an open one means that something is missing.
    pub(crate) fn finish(self) -> Result<(), TextError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(TextError {
            line: self.line + 1,
            reason: "the text ends within a line".to_owned(),
        })
    }
}

fn read_line(
    line: &[u8],
    wanted: &impl Fn(&str) -> bool,
    each: &mut impl FnMut(&Sample<'_>),
) -> Result<(), String> {
    let line = line.trim_ascii();
    if line.is_empty() || line.first() == Some(&b'#') {
        return Ok(());
    }
    let name_end = line
        .iter()
        .position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':')))
        .unwrap_or(line.len());
    let (name, rest) = line.split_at(name_end);
    let name = std::str::from_utf8(name).unwrap_or_default();
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err("it does not begin with the name of a metric".to_owned());
    }
    if !wanted(name) {
        return Ok(());
    }
    let rest = std::str::from_utf8(rest).map_err(|_| format!("{name}: not UTF-8"))?;
    let (labels, rest) = match rest.trim_start().strip_prefix('{') {
        Some(inside) => read_labels(inside).map_err(|reason| format!("{name}: {reason}"))?,
        None => (Vec::new(), rest),
    };
    let mut words = rest.split_ascii_whitespace();
    let value = words.next().unwrap_or_default();
    let value = value
        .parse()
        .map_err(|_| format!("{name}: {value:?} is not a number"))?;
    // A time stamp, which API servers do not give.
    if let Some(stamp) = words.next()
        && stamp.parse::<i64>().is_err()
    {
        return Err(format!("{name}: {stamp:?} is not a time stamp"));
    }
    if words.next().is_some() {
        return Err(format!("{name}: more follows its value"));
    }
    each(&Sample {
        name,
        labels,
        value,
    });
    Ok(())
}

type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// Labels and what follows their closing brace.
fn read_labels(mut text: &str) -> Result<(Labels<'_>, &str), String> {
    let mut labels = Vec::with_capacity(12);
    loop {
        text = text.trim_start();
        if let Some(after) = text.strip_prefix('}') {
            return Ok((labels, after));
        }
        let (key, after) = text
            .split_once('=')
            .ok_or("its labels have no closing brace")?;
        let after = after
            .trim_start()
            .strip_prefix('"')
            .ok_or_else(|| format!("the value of label {key} has no quotes"))?;
        let (value, after) =
            quoted(after).ok_or_else(|| format!("the value of label {key} does not end"))?;
        labels.push((key.trim(), value));
        text = after.trim_start();
        match text.strip_prefix(',') {
            Some(after) => text = after,
            None if text.starts_with('}') => {}
            None => return Err(format!("after label {key} there is no comma")),
        }
    }
}

/// What stands before the closing quote, and what after it.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut plain: Option<String> = None;
    let mut from = 0;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => {
                let piece = text.get(from..at)?;
                let value = match plain {
                    Some(mut before) => {
                        before.push_str(piece);
                        Cow::Owned(before)
                    }
                    None => Cow::Borrowed(piece),
                };
                return Some((value, text.get(at + 1..)?));
            }
            b'\\' => {
                let before = plain.get_or_insert_default();
                before.push_str(text.get(from..at)?);
                match bytes.next()?.1 {
                    b'n' => before.push('\n'),
                    b'"' => before.push('"'),
                    b'\\' => before.push('\\'),
                    // Anything else stands for itself, backslash included.
                    _ => {
                        from = at;
                        continue;
                    }
                }
                from = at + 2;
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = Vec<(String, Vec<(String, String)>, f64)>;

    fn read(text: &str, piece: usize) -> Result<Read, TextError> {
        let mut reader = Reader::default();
        let mut all = Vec::new();
        for bytes in text.as_bytes().chunks(piece) {
            reader.feed(
                bytes,
                |name| name != "unwanted",
                |sample| {
                    let labels = sample
                        .labels
                        .iter()
                        .map(|(key, value)| ((*key).to_owned(), value.to_string()))
                        .collect();
                    all.push((sample.name.to_owned(), labels, sample.value));
                },
            )?;
        }
        reader.finish()?;
        Ok(all)
    }

    #[test]
    fn lines_are_read_whatever_the_pieces() {
        let text = "# HELP a Something \"quoted\" {.\n# TYPE a counter\na 1\n\
            a{le=\"+Inf\",code=\"200\"} 3.5e+06\n\na{x=\"a\\\"b\\\\c\\nd\\e\",} NaN 1700000000000\r\n\
            unwanted{this is not even a label\n  b { y = \"ü,}\" } -Inf\n";
        let whole = read(text, text.len()).unwrap();
        assert_eq!(whole.len(), 4);
        assert_eq!(whole[0], ("a".to_owned(), vec![], 1.0));
        assert_eq!(whole[1].1[0], ("le".to_owned(), "+Inf".to_owned()));
        assert_eq!(whole[1].2, 3_500_000.0);
        assert_eq!(whole[2].1, [("x".to_owned(), "a\"b\\c\nd\\e".to_owned())]);
        assert!(whole[2].2.is_nan());
        assert_eq!(whole[3].1, [("y".to_owned(), "ü,}".to_owned())]);
        assert_eq!(whole[3].2, f64::NEG_INFINITY);
        for piece in [1, 2, 3, 7] {
            let pieces = read(text, piece).unwrap();
            assert_eq!(format!("{pieces:?}"), format!("{whole:?}"), "{piece}");
        }
    }

    #[test]
    fn what_is_no_metric_is_refused_with_its_line() {
        for (text, reason) in [
            ("a 1\n<html>\n", "line 2: it does not begin with the name"),
            ("a\n", "a: \"\" is not a number"),
            ("a one\n", "a: \"one\" is not a number"),
            ("a 1 soon\n", "a: \"soon\" is not a time stamp"),
            ("a 1 2 3\n", "a: more follows its value"),
            ("a{b=\"c\" 1\n", "a: after label b there is no comma"),
            ("a{b=\"c 1\n", "a: the value of label b does not end"),
            ("a{b=c} 1\n", "a: the value of label b has no quotes"),
            ("a{ 1\n", "a: its labels have no closing brace"),
            ("a{b=\"\\\n", "a: the value of label b does not end"),
            ("a 1\na 2", "line 2: the text ends within a line"),
        ] {
            let error = read(text, 5).unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
        let endless = "a".repeat(MAX_LINE_BYTES + 1);
        let error = read(&endless, 4096).unwrap_err().to_string();
        assert!(error.contains("longer than"), "{error}");
    }
}
