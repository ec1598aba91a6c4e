//! Values with qperf's units, in base units.
//!
//! A comma in a number separates thousands and stands only in counts; anywhere else it is not qperf's.

use net_tool::number::{decimal, grouped_count};

/// `1.59 GB/sec`, `8.21 Gb/sec`: 1000-based.
pub(crate) fn bits_per_second(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once(' ')?;
    let unit = unit.strip_suffix("/sec")?;
    let bits = match unit {
        "bits" => 1.0,
        "bytes" => 8.0,
        _ => match (unit.strip_suffix('b'), unit.strip_suffix('B')) {
            (Some(prefix), _) => power(1e3, prefix)?,
            (_, Some(prefix)) => power(1e3, prefix)? * 8.0,
            _ => return None,
        },
    };
    Some(decimal(number)? * bits)
}

/// `1.12 GB`, `64 bytes`, `64 KiB (65,536)`.
pub(crate) fn bytes(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once(' ')?;
    if let Some((unit, exact)) = unit.split_once(' ') {
        decimal(number)?;
        unit.strip_suffix("iB")?;
        let exact = exact.strip_prefix('(')?.strip_suffix(')')?;
        #[expect(clippy::cast_precision_loss, reason = "a message size is below 2^53")]
        return Some(grouped_count(exact)? as f64);
    }
    let factor = match unit {
        "bytes" => 1.0,
        _ => match unit.strip_suffix("iB") {
            Some(prefix) => power(1024.0, prefix)?,
            None => power(1e3, unit.strip_suffix('B')?)?,
        },
    };
    Some(decimal(number)? * factor)
}

/// `12.7 us`.
pub(crate) fn seconds(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once(' ')?;
    let parts = match unit {
        "ns" => 1e9,
        "us" => 1e6,
        "ms" => 1e3,
        "sec" => 1.0,
        _ => return None,
    };
    Some(decimal(number)? / parts)
}

/// `16.1 K/sec`, `20994 /sec`.
pub(crate) fn per_second(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once(' ')?;
    let factor = match unit.strip_suffix("/sec")? {
        "" => 1.0,
        prefix => power(1e3, prefix)?,
    };
    Some(decimal(number)? * factor)
}

/// `200 % cpus`: 100 is one core.
pub(crate) fn percent_of_core(text: &str) -> Option<f64> {
    decimal(text.strip_suffix(" % cpus")?)
}

fn power(base: f64, prefix: &str) -> Option<f64> {
    let exponent = ["K", "M", "G", "T"]
        .iter()
        .position(|known| *known == prefix)?;
    Some(base.powi(i32::try_from(exponent).ok()? + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_of_the_ladders() {
        for (text, value) in [
            ("1773502464 bytes/sec", Some(14_188_019_712.0)),
            ("859 MB/sec", Some(6_872_000_000.0)),
            ("2 TB/sec", Some(16e12)),
            ("8.5 Gb/sec", Some(8.5e9)),
            ("7 bits/sec", Some(7.0)),
            ("1,59 GB/sec", None),
            ("1,590 GB/sec", None),
            ("1.59 GiB/sec", None),
            ("1.59 GB", None),
            ("1.59", None),
            ("-1 GB/sec", None),
        ] {
            assert_eq!(bits_per_second(text), value, "{text}");
        }
        for (text, value) in [
            ("64 KiB (65,536)", Some(65_536.0)),
            ("64 KiB", Some(65_536.0)),
            ("64 bytes", Some(64.0)),
            ("1.5 KB", Some(1_500.0)),
            ("64 KiB (65,53)", None),
            ("64 KB (64,000)", None),
        ] {
            assert_eq!(bytes(text), value, "{text}");
        }
        for (text, value) in [
            ("18053 ns", Some(18_053e-9)),
            ("12.5 us", Some(12.5e-6)),
            ("3 ms", Some(3e-3)),
            ("2 sec", Some(2.0)),
            ("2 min", None),
        ] {
            assert_eq!(seconds(text), value, "{text}");
        }
        assert_eq!(per_second("16.5 K/sec"), Some(16_500.0));
        assert_eq!(per_second("20994 /sec"), Some(20_994.0));
        assert_eq!(percent_of_core("199 % cpus"), Some(199.0));
        assert_eq!(percent_of_core("199 %"), None);
    }
}
