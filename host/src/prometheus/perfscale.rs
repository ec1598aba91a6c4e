//! Inputs of KubeVirt's perfscale-audit: its keys, and its results as queries.
//!
//! perfscale-audit has its queries in its code and asks them all; here those are asked that have an expectation.
//! What it does wrong is not repeated: a missed limit changes the exit code, a ratio is a limit of
//! `other metric × ratio`, and no values are not 0. URL, credentials, TLS and window are those of the command line: a
//! warning names each such key of the file, and the flag that stands for it. Other keys are refused.

use std::time::Duration;

use serde_json::Value;

use super::queries::{MAX_INTERVAL, Queries, Query};

const KEYS: [&str; 2] = ["prometheusScrapeInterval", "thresholdExpectations"];

/// Keys without a meaning here, and what has it.
const IGNORED: [(&str, &str); 8] = [
    ("startTime", WINDOW),
    ("endTime", WINDOW),
    ("duration", WINDOW),
    ("prometheusURL", "--prometheus says which one is asked"),
    ("prometheusUserName", "give --prometheus-basic-auth-file"),
    ("prometheusPassword", "give --prometheus-basic-auth-file"),
    ("prometheusBearerToken", "give --prometheus-token-file"),
    (
        "prometheusVerifyTLS",
        "certificates are verified unless --prometheus-insecure-skip-tls-verify is given",
    ),
];
const WINDOW: &str = "the window is that of the run, or --start, --end and --last of `audit`";

/// Whether a document is such an input.
pub(super) fn is_input(value: &Value) -> bool {
    value.as_object().is_some_and(|keys| {
        !keys.contains_key("queries") && keys.contains_key("thresholdExpectations")
    })
}

/// Its expectations as queries with limits.
pub(super) fn queries(input: &Value) -> Result<Queries, String> {
    let mut warnings = Vec::new();
    for (key, value) in input.as_object().into_iter().flatten() {
        match IGNORED.iter().find(|(ignored, _)| ignored == key) {
            // As files have it that say nothing by it. Values are never shown: some are secrets.
            Some(_) if value.is_null() || value == "" => {}
            Some((_, instead)) => warnings.push(format!("{key}: is ignored; {instead}")),
            None if KEYS.contains(&key.as_str()) => {}
            None => return Err(format!("{key}: is no key of perfscale-audit")),
        }
    }
    let scrape_interval = match &input["prometheusScrapeInterval"] {
        Value::Null => Duration::from_secs(30),
        nanoseconds => nanoseconds
            .as_u64()
            .map(Duration::from_nanos)
            .filter(|interval| (Duration::from_millis(100)..=MAX_INTERVAL).contains(interval))
            .ok_or(
                "prometheusScrapeInterval: is not a number of nanoseconds, from 100000000 to 86400000000000 (a day)",
            )?,
    };
    let expectations = input["thresholdExpectations"]
        .as_object()
        .ok_or("thresholdExpectations: is not a map of metrics")?;
    let mut queries = Vec::new();
    for (name, expectation) in expectations {
        let failed = |reason: &str| format!("thresholdExpectations.{name}: {reason}");
        let known = |name: &str| {
            query(name).ok_or_else(|| failed(&format!("perfscale-audit has no metric {name}")))
        };
        let mut query = known(name)?;
        let other = expectation["metric"].as_str().unwrap_or_default();
        let limit = if other.is_empty() {
            expectation["value"]
                .as_f64()
                .ok_or_else(|| failed("value: is not a number"))?
        } else {
            // value / other metric must be at most the ratio.
            let ratio = expectation["ratio"]
                .as_f64()
                .ok_or_else(|| failed("ratio: is not a number"))?;
            query.expr = format!("({}) / ({})", query.expr, known(other)?.expr);
            query.name = format!("{name}/{other}");
            query.unit = String::new();
            ratio
        };
        query.limits.push(query.limit(&format!("<= {limit}"))?);
        queries.push(query);
    }
    if queries.is_empty() {
        return Err("thresholdExpectations: there is none".to_owned());
    }
    Ok(Queries {
        scrape_interval,
        settle: scrape_interval,
        queries,
        warnings,
    })
}

/// Pods of KubeVirt, by container.
fn container(name: &str) -> Option<&'static str> {
    Some(match name {
        "VirtAPI" => "virt-api",
        "VirtController" => "virt-controller",
        "VirtHandler" => "virt-handler",
        _ => return None,
    })
}

/// The query behind a name of perfscale-audit's results.
fn query(name: &str) -> Option<Query> {
    percentile(name)
        .or_else(|| request_count(name))
        .or_else(|| phase_count(name))
        .or_else(|| memory(name))
        .or_else(|| cpu(name))
}

/// `vmiCreationToRunningSecondsP99`
fn percentile(name: &str) -> Option<Query> {
    let (of, percentile) = name.rsplit_once("SecondsP")?;
    let (from, phase) = match of {
        "vmiCreationToRunning" => ("creation", "Running"),
        "vmiDeletionToSucceeded" => ("deletion", "Succeeded"),
        "vmiDeletionToFailed" => ("deletion", "Failed"),
        _ => return None,
    };
    let percentile: u32 = percentile.parse().ok().filter(|p| (1..100).contains(p))?;
    let q = f64::from(percentile) / 100.0;
    let expr = format!(
        "histogram_quantile({q}, sum by (le) (increase(kubevirt_vmi_phase_transition_time_from_{from}_seconds_bucket{{phase=\"{phase}\"}}[$window])))"
    );
    Some(Query::new(name, expr, "seconds"))
}

/// `PATCH-virtualmachineinstances-count`
fn request_count(name: &str) -> Option<Query> {
    let (verb, resource) = name.strip_suffix("-count")?.split_once('-')?;
    let is_verb = !verb.is_empty() && verb.chars().all(|letter| letter.is_ascii_uppercase());
    let is_resource = !resource.is_empty()
        && resource
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "-./".contains(letter));
    if !is_verb || !is_resource {
        return None;
    }
    let expr = format!(
        "sum(increase(kubevirt_rest_client_requests_total{{pod=~\"virt-controller.*|virt-handler.*|virt-operator.*|virt-api.*\",verb=\"{verb}\",resource=\"{resource}\"}}[$window]))"
    );
    Some(Query::new(name, expr, "requests"))
}

/// `Running-phase-count`
fn phase_count(name: &str) -> Option<Query> {
    let phase = name.strip_suffix("-phase-count")?;
    if phase.is_empty() || !phase.chars().all(|letter| letter.is_ascii_alphanumeric()) {
        return None;
    }
    let expr = format!("sum(node:kubevirt_vmi_phase:sum{{phase=\"{phase}\"}})");
    Some(Query::new(name, expr, "objects"))
}

/// `avgVirtAPIMemoryUsageInMB`; of virt-handler per node and VMI.
fn memory(name: &str) -> Option<Query> {
    let (how, component) = name.strip_suffix("MemoryUsageInMB")?.split_at_checked(3)?;
    if !matches!(how, "avg" | "min" | "max") {
        return None;
    }
    let container = container(component)?;
    let used = format!(
        "{how}_over_time(container_memory_rss{{namespace=\"kubevirt\",container=\"{container}\"}}[$window])"
    );
    let expr = match container {
        // Of the leader alone.
        "virt-controller" => format!("max({used}) / 1024 / 1024"),
        "virt-handler" => format!("avg({} / 1024 / 1024)", per_vmi(&used)),
        _ => format!("avg({used}) / 1024 / 1024"),
    };
    Some(Query::new(name, expr, "MB"))
}

/// `avgVirtControllerCPUUsage`
fn cpu(name: &str) -> Option<Query> {
    let (how, component) = name.strip_suffix("CPUUsage")?.split_at_checked(3)?;
    let container = container(component)?;
    if !matches!(how, "avg" | "min" | "max") || (how != "avg" && container != "virt-handler") {
        return None;
    }
    let used = format!(
        "rate(container_cpu_usage_seconds_total{{namespace=\"kubevirt\",container=\"{container}\"}}[$window])"
    );
    let expr = match container {
        "virt-controller" => format!("max({used})"),
        "virt-handler" => format!("{how}({})", per_vmi(&used)),
        _ => format!("avg({used})"),
    };
    Some(Query::new(name, expr, "cores"))
}

fn per_vmi(used: &str) -> String {
    format!("sum by (node) ({used}) / sum by (node) (node:kubevirt_vmi_phase:sum)")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn expectations_become_queries_with_limits() {
        let input = json!({
            "duration": "10m",
            "prometheusURL": "http://127.0.0.1:9090",
            "prometheusScrapeInterval": 1_000_000_000_u64,
            "thresholdExpectations": {
                "vmiCreationToRunningSecondsP50": {"value": 45},
                "PATCH-virtualmachineinstances-count": {"metric": "CREATE-pods-count", "ratio": 2.5, "value": 0},
                "avgVirtHandlerMemoryUsageInMB": {"value": 150.5},
                "avgVirtControllerCPUUsage": {"value": 1},
                "Running-phase-count": {"value": 100},
            },
        });
        assert!(is_input(&input));
        let made = queries(&input).unwrap();
        assert_eq!(made.scrape_interval, Duration::from_secs(1));
        assert_eq!(made.queries.len(), 5);
        let of = |name: &str| {
            made.queries
                .iter()
                .find(|query| query.name == name)
                .unwrap()
        };
        let creation = of("vmiCreationToRunningSecondsP50");
        assert!(
            creation.expr.starts_with("histogram_quantile(0.5, "),
            "{}",
            creation.expr
        );
        assert!(creation.limits[0].expression().ends_with("<= 45"));
        let ratio = of("PATCH-virtualmachineinstances-count/CREATE-pods-count");
        assert!(ratio.expr.contains(") / (sum"), "{}", ratio.expr);
        assert!(ratio.limits[0].expression().ends_with("<= 2.5"));
    }

    #[test]
    fn every_ignored_key_is_named_without_its_value() {
        let made = queries(&json!({
            "startTime": "2026-11-28T19:00:00Z",
            "endTime": null,
            "duration": "10m",
            "prometheusURL": "http://s3cret:9090",
            "prometheusUserName": "",
            "prometheusPassword": "s3cret",
            "prometheusBearerToken": "s3cret",
            "prometheusVerifyTLS": false,
            "thresholdExpectations": {"Running-phase-count": {"value": 100}},
        }))
        .unwrap();
        let named: Vec<&str> = made
            .warnings
            .iter()
            .filter_map(|warning| Some(warning.split_once(": is ignored; ")?.0))
            .collect();
        assert_eq!(
            named,
            [
                "duration",
                "prometheusBearerToken",
                "prometheusPassword",
                "prometheusURL",
                "prometheusVerifyTLS",
                "startTime"
            ]
        );
        assert!(!made.warnings.concat().contains("s3cret"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (input, reason) in [
            (json!({"thresholdExpectations": {}}), "there is none"),
            (
                json!({"thresholdExpectations": {"x": {"value": 1}}}),
                "has no metric x",
            ),
            (
                json!({"thresholdExpectations": {"Running-phase-count": {}}}),
                "value: is not a number",
            ),
            (
                json!({"thresholdExpectations": {}, "typo": 1}),
                "typo: is no key",
            ),
            (
                json!({"thresholdExpectations": {}, "prometheusScrapeInterval": "30s"}),
                "is not a number of nanoseconds",
            ),
            (
                json!({"thresholdExpectations": {}, "prometheusScrapeInterval": u64::MAX}),
                "to 86400000000000",
            ),
        ] {
            let error = queries(&input).unwrap_err();
            assert!(error.contains(reason), "{input}: {error}");
        }
        for name in [
            "GET-a\"b-count",
            "-phase-count",
            "midVirtAPIMemoryUsageInMB",
            "avgVirtXCPUUsage",
        ] {
            assert!(query(name).is_none(), "{name}");
        }
    }
}
