//! Quantities as Kubernetes writes them: `100m`, `1.5`, `128Mi`, `2e3`.

use serde_json::Value;

/// The quantity in thousandths of its unit; `None` when it is none, or negative.
pub(super) fn milli(quantity: &Value) -> Option<u64> {
    let text = match quantity {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
        "Ei" => 1_152_921_504_606_846_976.0,
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            10f64.powi(exponent)
        }
    };
    // A cast saturates, and what is more than u64 fits nowhere anyway.
    Some((number * factor * 1000.0).ceil() as u64)
}

/// The quantity in whole units, rounded up.
pub(super) fn whole(quantity: &Value) -> Option<u64> {
    milli(quantity).map(|n| n.div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_spellings() {
        for (text, expected) in [
            ("100m", 100),
            ("1", 1000),
            ("1.5", 1500),
            ("2k", 2_000_000),
            ("1Ki", 1_024_000),
            ("1e3", 1_000_000),
            ("0", 0),
        ] {
            assert_eq!(milli(&json!(text)), Some(expected), "{text}");
        }
        assert_eq!(milli(&json!(2)), Some(2000));
        assert_eq!(whole(&json!("256Gi")), Some(256 << 30));
        for bad in ["", "x", "-1", "1Xi", "1e", "1 Gi"] {
            assert_eq!(milli(&json!(bad)), None, "{bad}");
        }
    }
}
