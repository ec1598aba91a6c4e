//! How Go prints values: `%v` and the floats of all verbs.

use std::fmt::Write as _;

use serde_json::Value;

/// What printing of values beyond this length would end in anyway: an error about the output's length.
pub(crate) struct TooLong;

/// Appends `%v` of a value; stops early when `out` grows beyond `max_bytes`.
pub(crate) fn print(out: &mut String, value: &Value, max_bytes: usize) -> Result<(), TooLong> {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::String(text) => out.push_str(text),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => out.push_str(&shortest(float)),
            None => out.push_str(&number.to_string()),
        },
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                print(out, item, max_bytes)?;
            }
            out.push(']');
        }
        Value::Object(entries) => {
            out.push_str("map[");
            for (index, (key, item)) in sorted(entries).into_iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                print(out, item, max_bytes)?;
            }
            out.push(']');
        }
    }
    if out.len() > max_bytes {
        return Err(TooLong);
    }
    Ok(())
}

/// The entries in the order of their keys, which the map itself need not have.
pub(crate) fn sorted(entries: &serde_json::Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

/// A float as `%v` has it: the fewest digits that mean it, with an exponent from a million on.
pub(crate) fn shortest(value: f64) -> String {
    let (negative, digits, exponent) = decimal(value);
    general(negative, &digits, exponent, 6)
}

/// The shortest digits that mean a value, and the power of ten of the first: 12.5 is `125` and 1.
fn decimal(value: f64) -> (bool, String, i32) {
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = mantissa.replace('.', "");
    (
        value.is_sign_negative(),
        digits,
        exponent.parse().unwrap_or(0),
    )
}

/// `%g` of given digits: an exponent below -4 and from `limit` on.
fn general(negative: bool, digits: &str, exponent: i32, limit: i32) -> String {
    let sign = if negative { "-" } else { "" };
    if exponent < -4 || exponent >= limit {
        let (first, rest) = digits.split_at(digits.len().min(1));
        let point = if rest.is_empty() { "" } else { "." };
        return format!("{sign}{first}{point}{rest}{}", exponent_text(exponent, 'e'));
    }
    let mut text = sign.to_owned();
    if exponent < 0 {
        text.push_str("0.");
        for _ in exponent..-1 {
            text.push('0');
        }
        text.push_str(digits);
        return text;
    }
    let whole = usize::try_from(exponent).unwrap_or(0) + 1;
    if digits.len() <= whole {
        text.push_str(digits);
        text.extend(std::iter::repeat_n('0', whole - digits.len()));
    } else {
        text.push_str(&digits[..whole]);
        text.push('.');
        text.push_str(&digits[whole..]);
    }
    text
}

fn exponent_text(exponent: i32, letter: char) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{letter}{sign}{:02}", exponent.unsigned_abs())
}

/// `%e`, `%f`, `%g` and their capitals, without a sign for positive values.
pub(crate) fn float(value: f64, verb: char, precision: Option<usize>) -> String {
    let lower = verb.to_ascii_lowercase();
    let text = match (lower, precision) {
        ('f', precision) => format!("{value:.*}", precision.unwrap_or(6)),
        ('e', precision) => {
            let text = format!("{value:.*e}", precision.unwrap_or(6));
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let mut whole = mantissa.to_owned();
            let _ = write!(
                whole,
                "{}",
                exponent_text(exponent.parse().unwrap_or(0), 'e')
            );
            whole
        }
        (_, None) => {
            let (negative, digits, exponent) = decimal(value);
            general(negative, &digits, exponent, 6)
        }
        (_, Some(precision)) => {
            let precision = precision.max(1);
            let text = format!("{:.*e}", precision - 1, value.abs());
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let digits = mantissa.replace('.', "");
            let kept = digits.trim_end_matches('0');
            let kept = if kept.is_empty() { "0" } else { kept };
            let limit = i32::try_from(precision).unwrap_or(i32::MAX);
            let limit = if limit > i32::try_from(kept.len()).unwrap_or(i32::MAX)
                && kept.len()
                    >= 1_usize.saturating_add_signed(exponent.parse::<isize>().unwrap_or(0))
            {
                i32::try_from(kept.len()).unwrap_or(limit)
            } else {
                limit
            };
            general(
                value.is_sign_negative(),
                kept,
                exponent.parse().unwrap_or(0),
                limit,
            )
        }
    };
    if verb.is_ascii_uppercase() {
        return text.to_ascii_uppercase();
    }
    text
}
