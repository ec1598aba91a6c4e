//! `printf`: Go's verbs for JSON values, with flags, width and precision, and Go's marks for what does not fit.

use serde_json::Value;

use crate::print::{self, print};
use crate::truth::{float, integer, type_name};

/// Go refuses wider fields too.
const MAX_WIDTH: usize = 1_000_000;

#[derive(Clone, Copy, Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

struct Formatter {
    out: String,
    max_bytes: usize,
}

/// The text of `printf format values…`; texts above `max_bytes` are an error.
pub(crate) fn printf(format: &str, values: &[&Value], max_bytes: usize) -> Result<String, String> {
    let mut formatter = Formatter {
        out: String::new(),
        max_bytes,
    };
    let mut values = values.iter();
    let mut rest = format.chars().peekable();
    while let Some(character) = rest.next() {
        if character != '%' {
            formatter.out.push(character);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = rest.next_if(|next| "-+# 0".contains(*next)) {
            match flag {
                '-' => {
                    spec.minus = true;
                    spec.zero = false;
                }
                '+' => spec.plus = true,
                '#' => spec.sharp = true,
                ' ' => spec.space = true,
                _ => spec.zero = !spec.minus,
            }
        }
        spec.width = digits(&mut rest)?;
        if rest.next_if_eq(&'.').is_some() {
            spec.precision = Some(digits(&mut rest)?.unwrap_or(0));
        }
        match rest.next() {
            None => formatter.out.push_str("%!(NOVERB)"),
            Some('%') => formatter.out.push('%'),
            Some(unsupported @ ('*' | '[')) => {
                return Err(format!(
                    "{unsupported:?} in a format is not supported: {format:?}"
                ));
            }
            Some(verb) => match values.next() {
                None => formatter.out.push_str(&format!("%!{verb}(MISSING)")),
                Some(value) => formatter.value(value, verb, spec)?,
            },
        }
        formatter.check()?;
    }
    let extra: Vec<&&Value> = values.collect();
    if !extra.is_empty() {
        formatter.out.push_str("%!(EXTRA ");
        for (index, value) in extra.into_iter().enumerate() {
            if index > 0 {
                formatter.out.push_str(", ");
            }
            formatter.typed(value)?;
        }
        formatter.out.push(')');
    }
    Ok(formatter.out)
}

fn digits(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Option<usize>, String> {
    let mut value: Option<usize> = None;
    while let Some(digit) = rest.peek().and_then(|next| next.to_digit(10)) {
        rest.next();
        let next = value.unwrap_or(0) * 10 + digit as usize;
        if next > MAX_WIDTH {
            return Err(format!("a width or precision above {MAX_WIDTH}"));
        }
        value = Some(next);
    }
    Ok(value)
}

impl Formatter {
    fn check(&self) -> Result<(), String> {
        if self.out.len() > self.max_bytes {
            return Err(format!("text longer than {} bytes", self.max_bytes));
        }
        Ok(())
    }

    fn plain(&mut self, value: &Value) -> Result<(), String> {
        print(&mut self.out, value, self.max_bytes)
            .map_err(|print::TooLong| format!("text longer than {} bytes", self.max_bytes))
    }

    /// `int=3`, and `<nil>` for nil.
    fn typed(&mut self, value: &Value) -> Result<(), String> {
        if !value.is_null() {
            self.out.push_str(type_name(value));
            self.out.push('=');
        }
        self.plain(value)
    }

    fn value(&mut self, value: &Value, verb: char, spec: Spec) -> Result<(), String> {
        if verb == 'T' {
            self.pad(type_name(value), spec);
            return Ok(());
        }
        if verb == 'v' && spec.sharp {
            return Err("%#v is not supported".to_owned());
        }
        match (value, verb) {
            (Value::Null, 'v') => self.pad("<nil>", spec),
            (Value::Bool(value), 'v' | 't') => {
                self.pad(if *value { "true" } else { "false" }, spec);
            }
            (Value::Number(_), _) => return self.number(value, verb, spec),
            (Value::String(text), 'v' | 's' | 'q' | 'x' | 'X') => self.string(text, verb, spec),
            (Value::Array(items), _) if verb != 'p' => {
                self.out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.out.push(' ');
                    }
                    self.value(item, verb, spec)?;
                    self.check()?;
                }
                self.out.push(']');
            }
            (Value::Object(entries), _) if verb != 'p' => {
                self.out.push_str("map[");
                for (index, (key, item)) in print::sorted(entries).into_iter().enumerate() {
                    if index > 0 {
                        self.out.push(' ');
                    }
                    self.value(&Value::String(key.clone()), verb, spec)?;
                    self.out.push(':');
                    self.value(item, verb, spec)?;
                    self.check()?;
                }
                self.out.push(']');
            }
            _ => return self.bad_verb(value, verb),
        }
        Ok(())
    }

    fn bad_verb(&mut self, value: &Value, verb: char) -> Result<(), String> {
        self.out.push_str("%!");
        self.out.push(verb);
        self.out.push('(');
        self.typed(value)?;
        self.out.push(')');
        Ok(())
    }

    fn string(&mut self, text: &str, verb: char, spec: Spec) {
        let shortened: String;
        let text = match spec.precision {
            Some(precision) if text.chars().count() > precision => {
                shortened = text.chars().take(precision).collect();
                &shortened
            }
            _ => text,
        };
        match verb {
            'q' => {
                let raw = spec.sharp
                    && !text.contains(|c: char| {
                        c == '`' || c == '\u{7f}' || (c.is_control() && c != '\t')
                    });
                let quoted = if raw {
                    format!("`{text}`")
                } else {
                    quote(text, spec.plus)
                };
                self.pad(&quoted, spec);
            }
            'x' | 'X' => {
                let separator = if spec.space { " " } else { "" };
                let prefix = match (spec.sharp, verb) {
                    (false, _) => "",
                    (true, 'x') => "0x",
                    (true, _) => "0X",
                };
                let bytes: Vec<String> = text
                    .bytes()
                    .map(|byte| match verb {
                        'x' => format!("{byte:02x}"),
                        _ => format!("{byte:02X}"),
                    })
                    .collect();
                let text = if bytes.is_empty() {
                    String::new()
                } else if separator.is_empty() {
                    format!("{prefix}{}", bytes.concat())
                } else {
                    let bytes: Vec<String> = bytes.iter().map(|b| format!("{prefix}{b}")).collect();
                    bytes.join(separator)
                };
                self.pad(&text, spec);
            }
            _ => self.pad(text, spec),
        }
    }

    fn number(&mut self, value: &Value, verb: char, spec: Spec) -> Result<(), String> {
        if let Some(number) = integer(value) {
            let (radix, prefix) = match verb {
                'v' | 'd' => (10, ""),
                'b' => (2, "0b"),
                'o' => (8, "0"),
                'O' => (8, "0o"),
                'x' => (16, "0x"),
                'X' => (16, "0X"),
                'c' => {
                    let character = u32::try_from(number).ok().and_then(char::from_u32);
                    let text = character.unwrap_or(char::REPLACEMENT_CHARACTER).to_string();
                    self.pad(&text, spec);
                    return Ok(());
                }
                'q' => {
                    let character = u32::try_from(number).ok().and_then(char::from_u32);
                    let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
                    let text = quote(&character.to_string(), spec.plus);
                    let inner = text.trim_matches('"').replace("\\\"", "\"");
                    let inner = match character {
                        '\'' => "\\'".to_owned(),
                        '"' => "\"".to_owned(),
                        _ => inner,
                    };
                    self.pad(&format!("'{inner}'"), spec);
                    return Ok(());
                }
                'U' => {
                    let text = format!("U+{:04X}", number);
                    self.pad(&text, spec);
                    return Ok(());
                }
                _ => return self.bad_verb(value, verb),
            };
            let prefix = if spec.sharp || verb == 'O' {
                prefix
            } else {
                ""
            };
            let mut digits = in_radix(number.unsigned_abs(), radix, verb == 'X');
            if spec.precision == Some(0) && number == 0 {
                self.pad(
                    "",
                    Spec {
                        zero: false,
                        ..spec
                    },
                );
                return Ok(());
            }
            if let Some(precision) = spec.precision {
                digits = format!("{digits:0>precision$}");
            }
            let prefix = if verb == 'o' && digits.starts_with('0') {
                ""
            } else {
                prefix
            };
            let zero = spec.zero && spec.precision.is_none();
            let sign = sign(number < 0, spec);
            // Go counts the zeros without the prefix.
            let width = spec.width.unwrap_or(0).saturating_sub(sign.len());
            if zero && digits.len() < width {
                digits = format!("{digits:0>width$}");
            }
            self.pad(
                &format!("{sign}{prefix}{digits}"),
                Spec {
                    zero: false,
                    ..spec
                },
            );
            return Ok(());
        }
        let Some(number) = float(value).filter(|_| "vgGeEfF".contains(verb)) else {
            return self.bad_verb(value, verb);
        };
        let verb = if verb == 'v' { 'g' } else { verb };
        let text = print::float(number.abs(), verb, spec.precision);
        let sign = sign(number.is_sign_negative(), spec);
        let width = spec.width.unwrap_or(0).saturating_sub(sign.len());
        let text = if spec.zero {
            format!("{sign}{text:0>width$}")
        } else {
            format!("{sign}{text}")
        };
        self.pad(
            &text,
            Spec {
                zero: false,
                ..spec
            },
        );
        Ok(())
    }

    fn pad(&mut self, text: &str, spec: Spec) {
        let missing = spec.width.unwrap_or(0).saturating_sub(text.chars().count());
        if spec.minus {
            self.out.push_str(text);
            self.out.extend(std::iter::repeat_n(' ', missing));
        } else {
            let fill = if spec.zero { '0' } else { ' ' };
            self.out.extend(std::iter::repeat_n(fill, missing));
            self.out.push_str(text);
        }
    }
}

fn sign(negative: bool, spec: Spec) -> &'static str {
    match (negative, spec.plus, spec.space) {
        (true, _, _) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        (false, false, false) => "",
    }
}

fn in_radix(number: u128, radix: u32, capitals: bool) -> String {
    match radix {
        2 => format!("{number:b}"),
        8 => format!("{number:o}"),
        16 if capitals => format!("{number:X}"),
        16 => format!("{number:x}"),
        _ => number.to_string(),
    }
}

/// Go's `strconv.Quote`; `ascii` escapes everything beyond ASCII.
pub(crate) fn quote(text: &str, ascii: bool) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        let code = u32::from(character);
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            _ if code < 0x20 || code == 0x7f => out.push_str(&format!("\\x{code:02x}")),
            _ if code < 0x7f => out.push(character),
            _ if !ascii && is_printable(character) => out.push(character),
            _ if code < 0x1_0000 => out.push_str(&format!("\\u{code:04x}")),
            _ => out.push_str(&format!("\\U{code:08x}")),
        }
    }
    out.push('"');
    out
}

/// Near enough to Go's: not controls, not spaces other than the plain one, not private or unassigned marks.
fn is_printable(character: char) -> bool {
    !character.is_control()
        && !character.is_whitespace()
        && !matches!(u32::from(character), 0xad | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f
            | 0xe000..=0xf8ff | 0xfeff | 0xfff0..=0xfffb | 0xf_0000..)
}
