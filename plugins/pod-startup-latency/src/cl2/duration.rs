//! Durations as Go reads and writes them, in nanoseconds.

/// What `time.ParseDuration` reads, without a sign: `1h30m`, `1.5s`, `100ms`, `0`.
///
/// # Errors
/// A sentence that quotes the text.
pub fn parse_go_duration(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a duration such as 1m30s or 500ms");
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total_ns = 0_f64;
    while !rest.is_empty() {
        let digits = rest
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let letters = after
            .find(|letter: char| letter.is_ascii_digit() || letter == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let unit_ns = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3_600e9,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        total_ns += number * unit_ns;
        rest = after;
    }
    // Go's limit: what an int64 of nanoseconds holds.
    if total_ns < i64::MAX as f64 {
        Ok(total_ns.round() as u64)
    } else {
        Err(format!("`{text}` is longer than 292 years"))
    }
}

/// As `time.Duration.String` writes it: `3.368478s`, `1m40s`, `0s`.
pub fn go_duration(ns: u64) -> String {
    match ns {
        0 => "0s".to_owned(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(ns, 3)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(ns, 6)),
        _ => {
            let minutes = ns / 60_000_000_000;
            let seconds = decimal(ns % 60_000_000_000, 9);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// `value` / 10^`places` without trailing zeros.
fn decimal(value: u64, places: u32) -> String {
    let unit = 10_u64.pow(places);
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let digits = format!("{rest:0width$}", width = places as usize);
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, ns) in [
            ("0", 0),
            ("0s", 0),
            ("20s", 20_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5m", 30_000_000_000),
            ("1m40.072897445s", 100_072_897_445),
            ("3us", 3_000),
            ("7µs", 7_000),
        ] {
            assert_eq!(parse_go_duration(text), Ok(ns), "{text}");
        }
        for text in [
            "", "5", "s", "-1s", "1d", "1 s", "1..2s", "3000000h", "1s5", "+",
        ] {
            assert!(parse_go_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn writes_what_go_writes() {
        for (ns, text) in [
            (0, "0s"),
            (999, "999ns"),
            (1_100, "1.1µs"),
            (602_367_000, "602.367ms"),
            (3_368_478_000, "3.368478s"),
            (60_010_000_000, "1m0.01s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(go_duration(ns), text);
        }
    }
}
