//! The functions every template has.

use std::borrow::{Borrow, Cow};
use std::cmp::Ordering;

use serde_json::Value;

use crate::functions::Arity;
use crate::print::{TooLong, print};
use crate::printf::printf;
use crate::truth::{equal, integer, is_true, order, type_name};

/// `and` and `or`, which leave arguments unevaluated, are in the interpreter.
const BUILTINS: [(&str, Arity); 17] = [
    ("and", Arity::at_least(1)),
    ("eq", Arity::at_least(1)),
    ("ge", Arity::exactly(2)),
    ("gt", Arity::exactly(2)),
    ("html", Arity::at_least(0)),
    ("index", Arity::at_least(1)),
    ("le", Arity::exactly(2)),
    ("len", Arity::exactly(1)),
    ("lt", Arity::exactly(2)),
    ("ne", Arity::exactly(2)),
    ("not", Arity::exactly(1)),
    ("or", Arity::at_least(1)),
    ("print", Arity::at_least(0)),
    ("printf", Arity::at_least(1)),
    ("println", Arity::at_least(0)),
    ("slice", Arity::at_least(1)),
    ("urlquery", Arity::at_least(0)),
];

pub(crate) fn is_builtin(name: &str) -> bool {
    arity(name).is_some()
}

pub(crate) fn arity(name: &str) -> Option<Arity> {
    BUILTINS
        .iter()
        .find(|(builtin, _)| *builtin == name)
        .map(|(_, arity)| *arity)
}

/// Calls a built-in function with as many arguments as it takes; no text it makes is longer than `max_bytes`.
pub(crate) fn call(name: &str, arguments: &[&Value], max_bytes: usize) -> Result<Value, String> {
    let too_long = |TooLong| format!("text longer than {max_bytes} bytes");
    match (name, arguments) {
        ("eq", [left, rest @ ..]) => {
            if rest.is_empty() {
                return Err("missing argument for comparison".to_owned());
            }
            for right in rest {
                if equal(left, right)? {
                    return Ok(true.into());
                }
            }
            Ok(false.into())
        }
        ("ne", [left, right]) => Ok((!equal(left, right)?).into()),
        ("lt", [left, right]) => Ok((order(left, right)? == Some(Ordering::Less)).into()),
        ("le", [left, right]) => Ok(at_most(left, right)?.into()),
        ("gt", [left, right]) => Ok((!at_most(left, right)?).into()),
        ("ge", [left, right]) => Ok((order(left, right)? != Some(Ordering::Less)).into()),
        ("not", [value]) => Ok((!is_true(value)).into()),
        ("len", [value]) => length(value).map(Value::from),
        ("index", [item, indexes @ ..]) => index(item, indexes),
        ("slice", [item, indexes @ ..]) => slice(item, indexes),
        ("print", values) => print_all(values, max_bytes)
            .map(Value::String)
            .map_err(too_long),
        ("println", values) => {
            let mut out = String::new();
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                print(&mut out, value, max_bytes).map_err(too_long)?;
            }
            out.push('\n');
            Ok(out.into())
        }
        ("printf", [format, values @ ..]) => match format {
            Value::String(format) => printf(format, values, max_bytes).map(Value::String),
            other => Err(format!(
                "wrong type for value; expected string; got {}",
                type_name(other)
            )),
        },
        ("html", values) => {
            let text = print_all(&with_no_value(values), max_bytes).map_err(too_long)?;
            Ok(escape_html(&text).into())
        }
        ("urlquery", values) => {
            let text = print_all(&with_no_value(values), max_bytes).map_err(too_long)?;
            Ok(escape_query(&text).into())
        }
        _ => Err(format!("{name} does not take these arguments")),
    }
}

fn at_most(left: &Value, right: &Value) -> Result<bool, String> {
    Ok(matches!(
        order(left, right)?,
        Some(Ordering::Less | Ordering::Equal)
    ))
}

/// Go's `fmt.Sprint`: a space between operands of which neither is a string.
fn print_all(values: &[impl Borrow<Value>], max_bytes: usize) -> Result<String, TooLong> {
    let mut out = String::new();
    let mut before: Option<&Value> = None;
    for value in values {
        let value = value.borrow();
        if before.is_some_and(|before| !before.is_string() && !value.is_string()) {
            out.push(' ');
        }
        print(&mut out, value, max_bytes)?;
        before = Some(value);
    }
    Ok(out)
}

/// What the escaping functions see for nil.
fn with_no_value<'v>(values: &[&'v Value]) -> Vec<Cow<'v, Value>> {
    values
        .iter()
        .map(|value| match value {
            Value::Null => Cow::Owned(Value::from("<no value>")),
            value => Cow::Borrowed(*value),
        })
        .collect()
}

fn length(value: &Value) -> Result<usize, String> {
    match value {
        Value::String(text) => Ok(text.len()),
        Value::Array(items) => Ok(items.len()),
        Value::Object(entries) => Ok(entries.len()),
        Value::Null => Err("len of nil pointer".to_owned()),
        other => Err(format!("len of type {}", type_name(other))),
    }
}

/// A position within what is `length` long, or at its end where `to_end`.
fn position(index: &Value, length: usize, to_end: bool) -> Result<usize, String> {
    let Some(number) = integer(index) else {
        return Err(match index {
            Value::Null => "cannot index slice/array with nil".to_owned(),
            other => format!("cannot index slice/array with type {}", type_name(other)),
        });
    };
    usize::try_from(number)
        .ok()
        .filter(|position| *position < length + usize::from(to_end))
        .ok_or_else(|| format!("index out of range: {number}"))
}

fn index(item: &Value, indexes: &[&Value]) -> Result<Value, String> {
    if item.is_null() {
        return Err("index of untyped nil".to_owned());
    }
    let mut item = item;
    let mut rest = indexes.iter();
    for index in rest.by_ref() {
        item = match item {
            Value::Array(items) => {
                let at = position(index, items.len(), false)?;
                items.get(at).unwrap_or(&Value::Null)
            }
            Value::Object(entries) => {
                let Value::String(key) = index else {
                    return Err(match index {
                        Value::Null => "value is nil; should be of type string".to_owned(),
                        other => format!("value has type {}; should be string", type_name(other)),
                    });
                };
                entries.get(key).unwrap_or(&Value::Null)
            }
            Value::String(text) => {
                let at = position(index, text.len(), false)?;
                let byte = text.as_bytes().get(at).copied().unwrap_or_default();
                return match rest.next() {
                    None => Ok(byte.into()),
                    Some(_) => Err("can't index item of type uint8".to_owned()),
                };
            }
            Value::Null => return Err("index of nil pointer".to_owned()),
            other => return Err(format!("can't index item of type {}", type_name(other))),
        };
    }
    Ok(item.clone())
}

fn slice(item: &Value, indexes: &[&Value]) -> Result<Value, String> {
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()));
    }
    let length = match item {
        Value::Null => return Err("slice of untyped nil".to_owned()),
        Value::String(_) if indexes.len() == 3 => {
            return Err("cannot 3-index slice a string".to_owned());
        }
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        other => return Err(format!("can't slice item of type {}", type_name(other))),
    };
    let mut bounds = [0, length, length];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = position(index, length, true)?;
    }
    let [from, to, cap] = bounds;
    for (low, high) in [(from, to), (to, cap)] {
        if low > high {
            return Err(format!("invalid slice index: {low} > {high}"));
        }
    }
    match item {
        Value::String(text) => text
            .get(from..to)
            .map(Value::from)
            .ok_or_else(|| format!("slice {from} {to} cuts a character in two")),
        Value::Array(items) => Ok(items.get(from..to).unwrap_or_default().to_vec().into()),
        _ => Ok(Value::Null),
    }
}

fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => out.push(char::REPLACEMENT_CHARACTER),
            other => out.push(other),
        }
    }
    out
}

fn escape_query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
