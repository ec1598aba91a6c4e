//! Go's literals: integers in four bases, floats, characters, strings.

use serde_json::{Number, Value};

/// The value of a number as written, an integer unless it has a point or an exponent.
pub(crate) fn number(text: &str) -> Result<Value, String> {
    let bad = || format!("bad number syntax: {text:?}");
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.ends_with('i') && !digits.starts_with("0x") {
        return Err(format!("complex numbers are not supported: {text}"));
    }
    let lower = digits.to_ascii_lowercase();
    let radix = match lower.get(..2) {
        Some("0x") => 16,
        Some("0o") => 8,
        Some("0b") => 2,
        _ => 10,
    };
    if radix == 10 && lower.contains(['.', 'e']) {
        if !underscores_separate(&lower) || !lower.contains(|c: char| c.is_ascii_digit()) {
            return Err(bad());
        }
        let value: f64 = text.replace('_', "").parse().map_err(|_| bad())?;
        return Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| format!("{text} does not fit a float"));
    }
    if radix == 16 && lower.contains(['.', 'p']) {
        return Err(format!("hexadecimal floats are not supported: {text}"));
    }
    if !underscores_separate(&lower) {
        return Err(bad());
    }
    let plain = lower.replace('_', "");
    // A leading zero alone means octal.
    let (radix, plain) = match plain.as_str() {
        _ if radix != 10 => (radix, &plain[2..]),
        "0" => (10, "0"),
        zero if zero.starts_with('0') => (8, &zero[1..]),
        other => (10, other),
    };
    if plain.is_empty()
        || plain.starts_with(['+', '-'])
        || !plain.chars().all(|c| c.is_digit(radix))
    {
        return Err(bad());
    }
    let magnitude =
        u64::from_str_radix(plain, radix).map_err(|_| format!("{text} overflows int"))?;
    let value = if negative {
        0_i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    };
    value
        .map(Value::from)
        .ok_or_else(|| format!("{text} overflows int"))
}

/// `_` only between digits, or after the prefix of a base.
fn underscores_separate(digits: &str) -> bool {
    !digits.starts_with('_')
        && !digits.ends_with('_')
        && !digits.contains("__")
        && !digits.contains("_.")
        && !digits.contains("._")
}

/// The text of `"…"`.
pub(crate) fn quoted(token: &str) -> Result<String, String> {
    let inner = token
        .strip_prefix('"')
        .and_then(|token| token.strip_suffix('"'))
        .ok_or("invalid syntax")?;
    unescape(inner, '"')
}

/// The text of a raw string, from which Go drops carriage returns.
pub(crate) fn raw(token: &str) -> String {
    token.trim_matches('`').replace('\r', "")
}

/// The code point of `'…'`.
pub(crate) fn character(token: &str) -> Result<i64, String> {
    let inner = token
        .strip_prefix('\'')
        .and_then(|token| token.strip_suffix('\''))
        .ok_or("malformed character constant")?;
    let text = unescape(inner, '\'')?;
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(only), None) => Ok(i64::from(u32::from(only))),
        _ => Err(format!("malformed character constant: {token}")),
    }
}

fn unescape(inner: &str, quote: char) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.chars();
    let push = |bytes: &mut Vec<u8>, character: char| {
        bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    };
    while let Some(character) = rest.next() {
        if character != '\\' {
            push(&mut bytes, character);
            continue;
        }
        let escape = rest.next().ok_or("a string ends with \\")?;
        let plain = match escape {
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            '\\' => '\\',
            same if same == quote => same,
            'x' => {
                let code = digits(&mut rest, 2, 16, 0)?;
                // A byte, which need not be a character by itself.
                bytes.push(u8::try_from(code).map_err(|e| e.to_string())?);
                continue;
            }
            '0'..='7' => {
                let code = digits(&mut rest, 2, 8, escape.to_digit(8).unwrap_or(0))?;
                bytes.push(u8::try_from(code).map_err(|_| format!("\\{code:o} is above \\377"))?);
                continue;
            }
            'u' | 'U' => {
                let length = if escape == 'u' { 4 } else { 8 };
                let code = digits(&mut rest, length, 16, 0)?;
                char::from_u32(code).ok_or_else(|| format!("\\{escape}{code:x} is no character"))?
            }
            other => return Err(format!("unknown escape \\{other}")),
        };
        push(&mut bytes, plain);
    }
    String::from_utf8(bytes).map_err(|_| "a string is not valid UTF-8".to_owned())
}

/// `count` further digits, after a value that stands already.
fn digits(
    rest: &mut std::str::Chars<'_>,
    count: u32,
    radix: u32,
    mut value: u32,
) -> Result<u32, String> {
    for _ in 0..count {
        let digit = rest
            .next()
            .and_then(|character| character.to_digit(radix))
            .ok_or("an escape has too few digits")?;
        value = value
            .checked_mul(radix)
            .and_then(|value| value.checked_add(digit))
            .ok_or("an escape is too large")?;
    }
    Ok(value)
}
