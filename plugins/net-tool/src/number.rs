//! Numbers as tools print them.

/// A plain decimal number: digits, at most one point, an optional exponent. No sign, no comma, no `nan`: what a tool
/// prints as `-1` or `-nan` was not measured.
pub fn decimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_ok = exponent
        .is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)));
    if !digits(whole) || !digits(fraction) || !exponent_ok {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// A whole number, possibly with thousands commas (`17,032`).
pub fn grouped_count(text: &str) -> Option<u64> {
    let mut groups = text.split(',');
    let first = groups.next()?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let commas = text.contains(',');
    if first.is_empty() || !digits(first) || (commas && first.len() > 3) {
        return None;
    }
    if !groups.all(|group| group.len() == 3 && digits(group)) {
        return None;
    }
    text.replace(',', "").parse().ok()
}

/// Seconds in a duration as Go writes it: `1m40.5s`, `300ms`, `2h0m0s`.
pub fn go_duration_seconds(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("μs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    if text == "0" {
        return Some(0.0);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let (number, tail) = rest.split_at_checked(end)?;
        let end = tail
            .find(|char: char| char.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(end)?;
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += decimal(number)? * factor;
        rest = tail;
    }
    (!text.is_empty()).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals() {
        for (text, value) in [
            ("0", Some(0.0)),
            ("1.59", Some(1.59)),
            ("4.5e-05", Some(4.5e-05)),
            ("1e999", None),
            ("-1", None),
            ("+1", None),
            ("nan", None),
            ("inf", None),
            ("1,5", None),
            ("1.", None),
            (".5", None),
            ("", None),
            ("1e", None),
            ("1.2.3", None),
            ("0x10", None),
            ("1_000", None),
        ] {
            assert_eq!(decimal(text), value, "{text}");
        }
    }

    #[test]
    fn counts_with_thousands_commas() {
        for (text, value) in [
            ("17,032", Some(17_032)),
            ("65,536", Some(65_536)),
            ("1,234,567", Some(1_234_567)),
            ("64", Some(64)),
            ("17032", Some(17_032)),
            ("1,5", None),
            ("1234,567", None),
            (",123", None),
            ("1,,234", None),
            ("", None),
            ("99,999,999,999,999,999,999", None),
        ] {
            assert_eq!(grouped_count(text), value, "{text}");
        }
    }

    #[test]
    fn durations_of_go() {
        for (text, value) in [
            ("10s", Some(10.0)),
            ("1.5s", Some(1.5)),
            ("1m40s", Some(100.0)),
            ("2h0m0s", Some(7200.0)),
            ("300ms", Some(0.3)),
            ("0s", Some(0.0)),
            ("exactly 50 calls", None),
            ("until stop", None),
            ("s", None),
            ("10", None),
            ("", None),
        ] {
            let found = go_duration_seconds(text);
            match (found, value) {
                (Some(found), Some(value)) => assert!((found - value).abs() < 1e-9, "{text}"),
                _ => assert_eq!(found, value, "{text}"),
            }
        }
    }
}
