//! Durations as Go reads them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};

/// A duration in a workload: Go's spelling (`30m`, `1h30m`, `1.5s`) or a bare number of nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct GoDuration {
    /// May be negative, which no key of a workload allows.
    pub ns: i64,
}

impl GoDuration {
    /// Whole seconds.
    pub const fn from_secs(seconds: i64) -> Self {
        Self {
            ns: seconds.saturating_mul(1_000_000_000),
        }
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = GoDuration;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a duration such as \"30s\", or a number of nanoseconds")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<GoDuration, E> {
                let ns = parse_go_duration(text).map_err(E::custom)?;
                Ok(GoDuration { ns })
            }

            fn visit_i64<E: Error>(self, ns: i64) -> Result<GoDuration, E> {
                Ok(GoDuration { ns })
            }

            fn visit_u64<E: Error>(self, ns: u64) -> Result<GoDuration, E> {
                let ns = i64::try_from(ns).map_err(|_| E::custom("longer than 292 years"))?;
                Ok(GoDuration { ns })
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for GoDuration {
    fn schema_name() -> Cow<'static, str> {
        "GoDuration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                {"type": "string", "pattern": "^[+-]?([0-9.]+(ns|us|µs|μs|ms|s|m|h))+$|^[+-]?0$"},
                {"type": "integer"}
            ]
        })
    }
}

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Nanoseconds of a text as Go's `time.ParseDuration` takes it.
///
/// # Errors
/// In Go's words, when it is none or longer than 292 years.
pub fn parse_go_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid duration {text:?}");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total_ns = 0_u64;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let length = after
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(length);
        if unit.is_empty() {
            return Err(format!("missing unit in duration {text:?}"));
        }
        let unit_ns = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, ns)| *ns)
            .ok_or_else(|| format!("unknown unit {unit:?} in duration {text:?}"))?;
        let whole: u64 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| invalid())?
        };
        total_ns = whole
            .checked_mul(unit_ns)
            .and_then(|ns| ns.checked_add(fraction_ns(fraction, unit_ns)))
            .and_then(|ns| ns.checked_add(total_ns))
            .ok_or_else(invalid)?;
        rest = after;
    }
    if negative {
        0_i64.checked_sub_unsigned(total_ns).ok_or_else(invalid)
    } else {
        i64::try_from(total_ns).map_err(|_| invalid())
    }
}

fn digits(text: &str) -> (&str, &str) {
    let length = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(length)
}

/// Whole nanoseconds of `0.<fraction>` units, what is below cut off.
fn fraction_ns(fraction: &str, unit_ns: u64) -> u64 {
    let (mut value, mut scale) = (0_u128, 1_u128);
    // An hour is 3.6e12 ns: digits beyond the 18th cannot matter.
    for digit in fraction.chars().take(18).filter_map(|c| c.to_digit(10)) {
        value = value * 10 + u128::from(digit);
        scale *= 10;
    }
    u64::try_from(value * u128::from(unit_ns) / scale).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_reads_them() {
        for (text, ns) in [
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("30m", 1_800_000_000_000),
            ("1h", 3_600_000_000_000),
            ("1h30m10s", 5_410_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("+5s", 5_000_000_000),
            ("-5s", -5_000_000_000),
            ("10ms", 10_000_000),
            ("7us", 7_000),
            ("7µs", 7_000),
            ("7μs", 7_000),
            ("9ns", 9),
            ("1.0000000005s", 1_000_000_000),
            ("0.3333333333333333333h", 1_200_000_000_000 - 1),
            ("5s4s", 9_000_000_000),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(parse_go_duration(text), Ok(ns), "{text}");
        }
    }

    #[test]
    fn what_go_refuses() {
        for (text, reason) in [
            ("", "invalid duration \"\""),
            ("-", "invalid duration \"-\""),
            ("30", "missing unit in duration \"30\""),
            ("1m30", "missing unit in duration \"1m30\""),
            ("s", "invalid duration \"s\""),
            (".s", "invalid duration \".s\""),
            ("1d", "unknown unit \"d\" in duration \"1d\""),
            ("1 s", "unknown unit \" s\" in duration \"1 s\""),
            ("1M", "unknown unit \"M\" in duration \"1M\""),
            ("--1s", "invalid duration \"--1s\""),
            (
                "9223372036854775808ns",
                "invalid duration \"9223372036854775808ns\"",
            ),
            ("3000000h", "invalid duration \"3000000h\""),
        ] {
            assert_eq!(parse_go_duration(text), Err(reason.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_bare_number_is_nanoseconds() {
        let read = |json: &str| serde_json::from_str::<GoDuration>(json);
        assert_eq!(read("30").unwrap().ns, 30);
        assert_eq!(read("\"30s\"").unwrap(), GoDuration::from_secs(30));
        assert!(read("1.5").is_err());
        assert!(
            read("\"30\"")
                .unwrap_err()
                .to_string()
                .contains("missing unit")
        );
    }
}
