//! Over all samples.

use std::collections::BTreeMap;

use net_tool::{Metric, Output, Tool, ToolError};

use crate::{Expected, Sample, samples};

/// Every sample of a benchmark parses to what its row says, also with both streams mixed into one.
///
/// # Panics
/// With all samples that do not.
pub fn assert_samples<T: Tool>() {
    let mut failures = Vec::new();
    let mut passed: BTreeMap<String, u32> = BTreeMap::new();
    for sample in samples() {
        if sample.benchmark != T::NAME {
            continue;
        }
        let mut bad = false;
        for (how, output) in variants(&sample) {
            if let Err(reason) = compare(&sample.expected, &T::parse(&output)) {
                failures.push(format!("{} ({how}): {reason}", sample.case));
                bad = true;
            }
        }
        if !bad {
            let kind = match &sample.expected {
                Expected::Metrics { .. } => "metrics",
                Expected::Error { error, .. } => error,
            };
            *passed.entry(kind.to_owned()).or_default() += 1;
        }
    }
    assert!(failures.is_empty(), "{}\n", failures.join("\n"));
    let total: u32 = passed.values().sum();
    assert!(total > 0, "no samples of {}", T::NAME);
    println!("{}: {total} samples {passed:?}", T::NAME);
}

/// Samples with numbers that are for another benchmark are errors here.
///
/// # Panics
/// With all samples that are not.
pub fn assert_strangers<T: Tool>() {
    let mut failures = Vec::new();
    let mut refused = 0;
    for sample in samples() {
        let stranger = sample.benchmark != T::NAME;
        if stranger && matches!(sample.expected, Expected::Metrics { .. }) {
            match T::parse(&sample.output) {
                Ok(metrics) => failures.push(format!("{}: {metrics:?}", sample.case)),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(failures.is_empty(), "{}\n", failures.join("\n"));
    println!("{}: {refused} samples of other benchmarks refused", T::NAME);
}

/// As captured, and mixed as a worker with one pipe may see it.
fn variants(sample: &Sample) -> Vec<(&'static str, Output)> {
    let output = &sample.output;
    let mut variants = vec![("as captured", output.clone())];
    if !output.stderr.is_empty() {
        let mixed = |stdout: String| Output {
            stdout,
            stderr: String::new(),
            ..output.clone()
        };
        let after = format!("{}{}", output.stdout, output.stderr);
        let before = format!("{}{}", output.stderr, output.stdout);
        variants.push(("stderr after stdout", mixed(after)));
        variants.push(("stderr before stdout", mixed(before)));
    }
    variants
}

fn compare(expected: &Expected, found: &Result<Vec<Metric>, ToolError>) -> Result<(), String> {
    match (expected, found) {
        (Expected::Error { error, says }, Err(found)) => {
            if found.class.as_str() == error && found.message.contains(says) {
                return Ok(());
            }
            Err(format!("expected {error}: …{says}…, found {found}"))
        }
        (Expected::Metrics { metrics }, Ok(found)) => {
            for want in metrics {
                let labels: Vec<_> = want.labels.clone().into_iter().collect();
                let same = found.iter().find(|metric| {
                    let mut theirs = metric.labels.clone();
                    theirs.sort();
                    metric.name == want.name && theirs == labels
                });
                let Some(metric) = same else {
                    return Err(format!("{} {labels:?} is missing", want.name));
                };
                // Conversions may differ in the last bits.
                let close = (metric.value - want.value).abs() <= want.value.abs() * 1e-12;
                if !close || metric.unit != want.unit {
                    return Err(format!(
                        "{} is {} {}, expected {} {}",
                        want.name, metric.value, metric.unit, want.value, want.unit
                    ));
                }
            }
            if found.len() == metrics.len() {
                return Ok(());
            }
            let extra: Vec<_> = found
                .iter()
                .filter(|metric| !metrics.iter().any(|want| want.name == metric.name))
                .collect();
            Err(format!(
                "{} metrics, not {}: {extra:?}",
                found.len(),
                metrics.len()
            ))
        }
        (Expected::Error { error, .. }, Ok(found)) => {
            Err(format!("expected {error}, found {found:?}"))
        }
        (Expected::Metrics { .. }, Err(found)) => Err(format!("expected metrics, found {found}")),
    }
}
