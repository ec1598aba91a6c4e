//! Truth, equality, order and types of values, by Go's rules.

use std::cmp::Ordering;

use serde_json::Value;

/// Whether `{{if value}}` takes its branch: everything but the zero of a type and what is empty.
pub(crate) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
    }
}

/// The type's name as `%T` prints it.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int",
        Value::Number(number) if number.is_u64() => "uint64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// An integer, whatever its sign and size.
pub(crate) fn integer(value: &Value) -> Option<i128> {
    let number = value.as_number()?;
    number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from))
}

/// A number that is no integer.
pub(crate) fn float(value: &Value) -> Option<f64> {
    value.as_number().filter(|number| number.is_f64())?.as_f64()
}

fn incompatible(left: &Value, right: &Value) -> String {
    format!(
        "incompatible types for comparison: {} and {}",
        type_name(left),
        type_name(right)
    )
}

/// `eq left right`.
pub(crate) fn equal(left: &Value, right: &Value) -> Result<bool, String> {
    match (left, right) {
        (Value::Null, _) | (_, Value::Null) => Ok(left.is_null() && right.is_null()),
        (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
        (Value::String(left), Value::String(right)) => Ok(left == right),
        (Value::Number(_), Value::Number(_)) => {
            if let (Some(left), Some(right)) = (integer(left), integer(right)) {
                return Ok(left == right);
            }
            match (float(left), float(right)) {
                (Some(left), Some(right)) => Ok(left == right),
                _ => Err(incompatible(left, right)),
            }
        }
        (Value::Array(_), Value::Array(_)) | (Value::Object(_), Value::Object(_)) => Err(format!(
            "values of type {} cannot be compared",
            type_name(left)
        )),
        _ => Err(incompatible(left, right)),
    }
}

/// How `left` stands to `right`; `None` for not-a-number.
pub(crate) fn order(left: &Value, right: &Value) -> Result<Option<Ordering>, String> {
    for value in [left, right] {
        if !matches!(value, Value::Number(_) | Value::String(_)) {
            return Err(format!(
                "a value of type {} has no order: only numbers and strings have",
                type_name(value)
            ));
        }
    }
    if let (Value::String(left), Value::String(right)) = (left, right) {
        return Ok(Some(left.cmp(right)));
    }
    if let (Some(left), Some(right)) = (integer(left), integer(right)) {
        return Ok(Some(left.cmp(&right)));
    }
    match (float(left), float(right)) {
        (Some(left), Some(right)) => Ok(left.partial_cmp(&right)),
        _ => Err(incompatible(left, right)),
    }
}
