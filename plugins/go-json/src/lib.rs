//! JSON as Go's `encoding/json` writes it with an indent of two spaces.
//!
//! Enters: anything serialisable. Leaves: the bytes a Go program would have written for the same values, so that
//! text comparisons and parsers made for kperf's files keep working. Differences from serde_json's pretty printing:
//! floats have no `.0` and turn to exponents below 1e-6 and from 1e21, `&`, `<`, `>` and two line separators are
//! escaped in strings, and the text ends with a line feed.

use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, PrettyFormatter, Serializer};

/// Writes `value` and a line feed.
///
/// # Errors
/// What the writer says.
pub fn write<W: io::Write, T: Serialize>(mut to: W, value: &T) -> io::Result<()> {
    let mut serializer =
        Serializer::with_formatter(&mut to, GoFormatter(PrettyFormatter::with_indent(b"  ")));
    value.serialize(&mut serializer)?;
    to.write_all(b"\n")
}

struct GoFormatter<'a>(PrettyFormatter<'a>);

impl Formatter for GoFormatter<'_> {
    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(float(value).as_bytes())
    }

    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, found)) = rest
            .char_indices()
            .find_map(|(at, c)| html_escape(c).map(|text| (at, (c, text))))
        {
            let (plain, tail) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            writer.write_all(found.1.as_bytes())?;
            rest = tail.strip_prefix(found.0).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        self.0.write_char_escape(writer, escape)
    }

    fn begin_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

/// Go escapes these so that JSON can stand inside HTML and JavaScript.
fn html_escape(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("\\u0026"),
        '<' => Some("\\u003c"),
        '>' => Some("\\u003e"),
        '\u{2028}' => Some("\\u2028"),
        '\u{2029}' => Some("\\u2029"),
        _ => None,
    }
}

/// The shortest digits that read back as `value`, with an exponent where Go writes one.
fn float(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return format!("{value}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}

/// Seconds as `time.Duration.Seconds` computes them, to the last bit.
pub fn seconds(ns: u64) -> f64 {
    (ns / 1_000_000_000) as f64 + (ns % 1_000_000_000) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written<T: Serialize>(value: &T) -> String {
        let mut bytes = Vec::new();
        write(&mut bytes, value).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// What Go's `json.Marshal` prints for each.
    #[test]
    fn floats_are_go_s() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (-0.5, "-0.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.001234567, "0.001234567"),
            (1e-6, "0.000001"),
            (9.99e-7, "9.99e-7"),
            (1e-9, "1e-9"),
            (1.5e-10, "1.5e-10"),
            (123_456_789.0, "123456789"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.25e22, "1.25e+22"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(float(value), text);
        }
    }

    #[test]
    fn seconds_keep_every_nanosecond() {
        assert_eq!(float(seconds(367_139_837)), "0.367139837");
        assert_eq!(float(seconds(60_000_000_001)), "60.000000001");
        assert_eq!(float(seconds(120)), "1.2e-7");
    }

    #[test]
    fn strings_escape_what_go_escapes() {
        assert_eq!(
            written(&"a?b=1&c=<d>\u{2028}\u{2029}\"\\\n\r\t\u{8}\u{c}\u{1f}\u{7f}é/"),
            "\"a?b=1\\u0026c=\\u003cd\\u003e\\u2028\\u2029\\\"\\\\\\n\\r\\t\\b\\f\\u001f\u{7f}é/\"\n"
        );
    }

    #[test]
    fn layout_is_two_spaces_and_a_line_feed() {
        let pairs: Vec<[f64; 2]> = vec![[0.0, 0.001], [1.0, 2.0]];
        assert_eq!(
            written(&pairs),
            "[\n  [\n    0,\n    0.001\n  ],\n  [\n    1,\n    2\n  ]\n]\n"
        );
        assert_eq!(written(&Vec::<u8>::new()), "[]\n");
    }
}
