//! ClusterLoader2's template functions, by its names.
//!
//! Numbers are `float64` inside, as there, and strings that are numbers are taken as numbers; what makes
//! ClusterLoader2 panic is an error here. Random functions draw from one stream that begins at a seed of the caller,
//! so that a run repeats; their values are not those of Go's generator.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Number, Value};

use super::{Arity, Functions};
use crate::print::print;
use crate::printf::quote;
use crate::truth::{integer, type_name};

/// Lists and random texts are no longer than this; their cost counts against the steps of a rendering, too.
const MAX_LENGTH: usize = 4 * 1024 * 1024;

/// Reads a file for `IncludeFile` and `IncludeEmbedFile`; `Err` says why it cannot be read.
pub type ReadFile = dyn Fn(&str) -> Result<String, String> + Send + Sync;

/// All of them. `read_file` is given the path as the template has it.
pub fn functions(seed: u64, read_file: Arc<ReadFile>) -> Functions {
    let mut functions = Functions::new();
    numbers(&mut functions);
    lists_and_texts(&mut functions);
    random(&mut functions, seed);
    for name in ["IncludeFile", "IncludeEmbedFile"] {
        let read_file = Arc::clone(&read_file);
        functions.insert(name, Arity::exactly(1), move |arguments| {
            let path = string(argument(arguments, 0))?;
            read_file(path)
                .map(Value::String)
                .map_err(|reason| format!("unable to read file: {reason}"))
        });
    }
    functions
}

fn argument(arguments: &[Value], index: usize) -> &Value {
    arguments.get(index).unwrap_or(&Value::Null)
}

fn string(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| {
        format!(
            "incorrect argument type: got: {} want: string",
            type_name(value)
        )
    })
}

fn to_float(value: &Value) -> Result<f64, String> {
    match value {
        Value::Number(number) => number.as_f64(),
        // No surrounding spaces and no words, which Rust takes alike.
        Value::String(text) => without_separators(text)
            .parse()
            .ok()
            .filter(|float: &f64| float.is_finite()),
        _ => None,
    }
    .ok_or_else(|| {
        let mut text = String::new();
        let _ = print(&mut text, value, 80);
        format!("cannot cast {text} to float64")
    })
}

/// Go takes `_` between the digits of a number.
fn without_separators(text: &str) -> Cow<'_, str> {
    let separates = |at: usize| {
        let digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
        at.checked_sub(1).is_some_and(digit) && digit(at + 1)
    };
    if text.contains('_') && text.match_indices('_').all(|(at, _)| separates(at)) {
        return Cow::Owned(text.replace('_', ""));
    }
    Cow::Borrowed(text)
}

fn from_float(value: f64) -> Result<Value, String> {
    Number::from_f64(value)
        .map(Value::Number)
        .ok_or_else(|| "the result is not a finite number".to_owned())
}

/// Go's `int(value)`, where that is defined.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the range is checked first"
)]
fn to_int(value: f64) -> Result<i64, String> {
    if value.is_finite() && (-9.2e18..=9.2e18).contains(&value) {
        return Ok(value as i64);
    }
    Err(format!("{value} does not fit an int"))
}

fn floats(arguments: &[Value]) -> Result<Vec<f64>, String> {
    arguments.iter().map(to_float).collect()
}

type Calculation = fn(&[f64]) -> Result<f64, String>;

fn numbers(functions: &mut Functions) {
    let extreme = |name: &'static str, numbers: &[f64], pick: fn(f64, f64) -> f64| {
        let found = numbers.iter().copied().reduce(pick);
        found.ok_or_else(|| format!("{name} undefined"))
    };
    let calculations: [(&str, Arity, Calculation); 6] = [
        ("Add", Arity::at_least(0), |numbers| {
            Ok(numbers.iter().sum())
        }),
        ("Multiply", Arity::at_least(0), |numbers| {
            Ok(numbers.iter().product())
        }),
        ("Subtract", Arity::exactly(2), |numbers| match numbers {
            [left, right] => Ok(left - right),
            _ => Err("two numbers are needed".to_owned()),
        }),
        ("Divide", Arity::exactly(2), |numbers| match numbers {
            [_, right] if *right == 0.0 => Err("division by zero".to_owned()),
            [left, right] => Ok(left / right),
            _ => Err("two numbers are needed".to_owned()),
        }),
        ("Max", Arity::at_least(0), |_| Ok(0.0)),
        ("Min", Arity::at_least(0), |_| Ok(0.0)),
    ];
    for (name, arity, calculate) in calculations {
        let result = move |arguments: &[Value]| {
            let numbers = floats(arguments)?;
            match name {
                "Max" => extreme("maximum", &numbers, f64::max),
                "Min" => extreme("minimum", &numbers, f64::min),
                _ => calculate(&numbers),
            }
        };
        functions.insert(format!("{name}Float"), arity, move |arguments| {
            from_float(result(arguments)?)
        });
        functions.insert(format!("{name}Int"), arity, move |arguments| {
            to_int(result(arguments)?).map(Value::from)
        });
    }
    functions.insert("Ceil", Arity::exactly(1), |arguments| {
        from_float(to_float(argument(arguments, 0))?.ceil())
    });
    functions.insert("Mod", Arity::exactly(2), |arguments| {
        let left = to_int(to_float(argument(arguments, 0))?)?;
        let right = to_int(to_float(argument(arguments, 1))?)?;
        left.checked_rem(right)
            .map(Value::from)
            .ok_or_else(|| "division by zero".to_owned())
    });
}

fn length(value: &Value) -> Result<usize, String> {
    let count = to_int(to_float(value)?)?;
    usize::try_from(count)
        .ok()
        .filter(|count| *count <= MAX_LENGTH)
        .ok_or_else(|| format!("length {count} is not within 0 to {MAX_LENGTH}"))
}

fn lists_and_texts(functions: &mut Functions) {
    for name in ["Seq", "SliceOfZeros"] {
        functions.insert(name, Arity::exactly(1), |arguments| {
            Ok(vec![Value::from(0); length(argument(arguments, 0))?].into())
        });
    }
    functions.insert("Loop", Arity::exactly(1), |arguments| {
        let count = length(argument(arguments, 0))?;
        Ok((0..count).map(Value::from).collect::<Vec<_>>().into())
    });
    functions.insert("DefaultParam", Arity::exactly(2), |arguments| {
        let given = argument(arguments, 0);
        let default = argument(arguments, 1);
        Ok(if given.is_null() { default } else { given }.clone())
    });
    functions.insert("IfThenElse", Arity::exactly(3), |arguments| {
        let condition = argument(arguments, 0);
        let Value::Bool(condition) = condition else {
            let got = type_name(condition);
            return Err(format!("incorrect argument type: got: {got} want: bool"));
        };
        Ok(argument(arguments, if *condition { 1 } else { 2 }).clone())
    });
    functions.insert("Concat", Arity::at_least(0), |arguments| {
        let texts: Result<Vec<&str>, String> = arguments.iter().map(string).collect();
        Ok(texts?.concat().into())
    });
    functions.insert("Lowercase", Arity::exactly(1), |arguments| {
        Ok(string(argument(arguments, 0))?.to_lowercase().into())
    });
    functions.insert("StringSplit", Arity::exactly(1), |arguments| {
        let parts = string(argument(arguments, 0))?.split(',');
        Ok(parts.map(Value::from).collect::<Vec<_>>().into())
    });
    functions.insert("YamlQuote", Arity::exactly(2), |arguments| {
        let text = string(argument(arguments, 0))?;
        let tabs = argument(arguments, 1);
        let Some(tabs) = integer(tabs) else {
            let got = type_name(tabs);
            return Err(format!("incorrect argument type: got: {got} want: int"));
        };
        let tabs = usize::try_from(tabs)
            .ok()
            .filter(|tabs| *tabs <= 1_000)
            .ok_or_else(|| format!("an indent of {tabs} is not within 0 to 1000"))?;
        let indent = "  ".repeat(tabs);
        Ok(yaml_scalar(text)
            .replace('\n', &format!("\n{indent}"))
            .into())
    });
}

/// A text as YAML, with a line break at the end: plain where it stays the same text, else quoted, lines as a block.
fn yaml_scalar(text: &str) -> String {
    let odd = |c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}' || c == '\u{feff}';
    if text.contains('\n') {
        let block = !text.starts_with([' ', '\n', '\t'])
            && !text.contains(" \n")
            && !text.ends_with([' ', '\t'])
            && text.lines().all(|line| !line.contains(odd));
        if !block {
            return format!("{}\n", quote(text, false));
        }
        let (body, chomping) = match text.strip_suffix('\n') {
            None => (text, "-"),
            Some(body) if body.ends_with('\n') => (body, "+"),
            Some(body) => (body, ""),
        };
        let lines: Vec<String> = body
            .split('\n')
            .map(|line| match line {
                "" => String::new(),
                line => format!("  {line}"),
            })
            .collect();
        return format!("|{chomping}\n{}\n", lines.join("\n"));
    }
    if text.contains(odd) || means_something_else(text) {
        return format!("{}\n", quote(text, false));
    }
    if is_plain(text) {
        return format!("{text}\n");
    }
    format!("'{}'\n", text.replace('\'', "''"))
}

/// What a YAML reader takes for a number, a boolean, nothing, or a date.
fn means_something_else(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let word = matches!(
        lower.as_str(),
        "" | "~"
            | "null"
            | "true"
            | "false"
            | "yes"
            | "no"
            | "on"
            | "off"
            | "y"
            | "n"
            | ".nan"
            | ".inf"
            | "-.inf"
            | "+.inf"
            | "<<"
    );
    let starts = lower.trim_start_matches(['+', '-', '.']);
    word || (starts.starts_with(|c: char| c.is_ascii_digit())
        && lower
            .chars()
            .all(|c| c.is_ascii_hexdigit() || "+-._:xotz ".contains(c)))
}

fn is_plain(text: &str) -> bool {
    let indicator = |c: char| "#&*!|>'\"%@`:=".contains(c);
    !text.starts_with(|c: char| indicator(c) || c == ' ')
        && !["-", "---", "..."].contains(&text)
        && !["- ", "--- ", "... "]
            .iter()
            .any(|start| text.starts_with(start))
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.contains(|c: char| ",[]{}?".contains(c))
}

/// SplitMix64: small, and good enough to vary a workload.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below `count`, each as likely as the others.
    fn below(&mut self, count: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(count);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    fn text(&mut self, length: usize) -> String {
        const ALPHABET: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        (0..length)
            .map(|_| {
                let index = usize::try_from(self.below(ALPHABET.len() as u64)).unwrap_or(0);
                char::from(ALPHABET.get(index).copied().unwrap_or(b'0'))
            })
            .collect()
    }

    /// From `low` to `high`, both possible.
    fn between(&mut self, low: i64, high: i64) -> i64 {
        if low >= high {
            return low;
        }
        let span = high.abs_diff(low).saturating_add(1);
        low.wrapping_add_unsigned(self.below(span))
    }
}

/// FNV-1a, to make a seed of a text.
fn seed_of(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn random(functions: &mut Functions, seed: u64) {
    let random = Arc::new(Mutex::new(Random(seed)));
    let stream = Arc::clone(&random);
    functions.insert("RandInt", Arity::exactly(1), move |arguments| {
        let max = to_int(to_float(argument(arguments, 0))?)?;
        if max < 0 {
            return Err(format!("invalid argument: {max} is below 0"));
        }
        let mut random = stream.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(random.between(0, max).into())
    });
    let stream = Arc::clone(&random);
    functions.insert("RandIntRange", Arity::exactly(2), move |arguments| {
        let low = to_int(to_float(argument(arguments, 0))?)?;
        let high = to_int(to_float(argument(arguments, 1))?)?;
        let mut random = stream.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(random.between(low, high).into())
    });
    functions.insert("RandData", Arity::exactly(1), move |arguments| {
        let length = length(argument(arguments, 0))?;
        let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(random.text(length).into())
    });
    functions.insert("RandDataWithSeed", Arity::exactly(2), |arguments| {
        let length = length(argument(arguments, 0))?;
        let seed = seed_of(string(argument(arguments, 1))?);
        Ok(Random(seed).text(length).into())
    });
}
