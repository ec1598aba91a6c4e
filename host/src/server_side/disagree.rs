//! Where the two sides do not fit together, and what the looks themselves had to say.
//!
//! The rules, for each verb and resource that the client sent and the server counted (watches left out, which count
//! when they end):
//!
//! - *Counts.* The server must have counted at least as many as there were answers that only an API server gives:
//!   successes, and refusals with 4xx other than 401 and 403, which it counts elsewhere, and 429, which comes from
//!   before it is known what was asked for. More is normal: others use the server too. Fewer is a warning. Nothing is
//!   compared unless every instance was seen at both looks and none began anew.
//! - *Times*, at the median and the 99th percentile of the client's service time, where at least 100 requests
//!   succeeded and at least 99.5 % of what the server counted was ours. The server's quantile is known only to lie in
//!   a bucket of its histogram. That the client's is more than twice the bucket's upper bound and 10 ms above it means
//!   that time was spent outside of the server's handlers; that the server's lower bound is more than one and a half times
//!   the client's and 10 ms above it means that the two did not measure the same. Both are warnings. With the
//!   simulator in this process, which shares the client's cores, times are not compared.

use kperf_cluster::server_metrics::{Origin, ScrapeError};
use kperf_load::measure;
use kperf_runtime::report as doc;

use super::{
    Observed, finding,
    sent::{Ours, Sent},
};
use crate::summary::time;

/// Fewer say nothing about a quantile.
const MIN_REQUESTS: u64 = 100;
/// Our share of what the server counted, at least.
const OURS: f64 = 0.995;
/// Differences below this are not worth a word.
const FLOOR_SECONDS: f64 = 0.010;
/// Of its cores in use: the server was the limit.
const BUSY: f64 = 0.9;

/// What the looks say by themselves.
pub(super) fn of_looks(observed: &Observed) -> Vec<doc::Finding> {
    let mut findings = Vec::new();
    let missing = if observed.asked { "warning" } else { "info" };
    let looks = [&observed.before, &observed.after];
    let seen = looks.iter().any(|look| !look.samples.is_empty());
    let mut said: Vec<String> = Vec::new();
    for failure in looks.iter().flat_map(|look| &look.failures) {
        // An address that only the cluster names, and that is not reached from here, is no failure.
        if failure.origin == Origin::Cluster && !failure.error.is_refusal() {
            let message = format!(
                "the cluster also names the API server instance {}, which cannot be reached from here; its numbers are missing ({})",
                failure.instance, failure.error
            );
            if !said.contains(&failure.instance) {
                said.push(failure.instance.clone());
                findings.push(finding("info", "instance-out-of-reach", message));
            }
            continue;
        }
        let text = failure.error.to_string();
        if said.contains(&text) {
            continue;
        }
        let code = match failure.error {
            ScrapeError::Forbidden { .. } => "metrics-forbidden",
            _ => "metrics-missing",
        };
        let message = format!("no numbers of the server at {}: {text}", failure.instance);
        findings.push(finding(
            if seen { "warning" } else { missing },
            code,
            message,
        ));
        said.push(text);
    }
    if looks
        .iter()
        .flat_map(|look| &look.samples)
        .any(|sample| sample.cut)
    {
        let message = "the server shows more kinds of requests than are kept; some are missing";
        findings.push(finding("warning", "metrics-cut", message.to_owned()));
    }
    if observed.begins_early && !observed.before.samples.is_empty() {
        let message = "the server could not be looked at between the agreement on a start and the start: its numbers also hold what was done to get the runners ready";
        findings.push(finding("info", "window-begins-early", message.to_owned()));
    }
    let changes = &observed.changes;
    for change in changes.instances.iter().filter(|change| change.restarted) {
        let message = format!(
            "the API server at {} began its counters anew during the run, as after a restart; what it did before that is missing from its numbers",
            change.instance
        );
        findings.push(finding("warning", "instance-restarted", message));
    }
    // One without the other look says it above.
    let failed = |instance: &String| {
        looks
            .iter()
            .flat_map(|look| &look.failures)
            .any(|failure| failure.instance == *instance)
    };
    let both_looks = looks.iter().all(|look| !look.samples.is_empty());
    for (instances, what) in [
        (&changes.came, "answered after the run only"),
        (&changes.went, "answered before the run only"),
    ] {
        for instance in instances
            .iter()
            .filter(|instance| both_looks && !failed(instance))
        {
            let message = format!(
                "the API server instance at {instance} {what}: it came or went, or a load balancer chooses among several; its numbers are missing"
            );
            findings.push(finding("warning", "instance-changed", message));
        }
    }
    if !observed.in_process {
        for change in &changes.instances {
            if let (Some(used), Some(cores)) = (change.cores_used(), change.cores)
                && cores > 0
                && used >= BUSY * f64::from(cores)
            {
                let message = format!(
                    "the API server at {} used {used:.1} of its {cores} cores all the time: it was the limit",
                    change.instance
                );
                findings.push(finding("info", "cpu-used-up", message));
            }
        }
    }
    findings
}

/// What the client measured against what the server counted.
pub(super) fn of_loads(observed: &Observed, sent: &Sent) -> Vec<doc::Finding> {
    let mut findings = Vec::new();
    if !observed.changes.is_whole() {
        return findings;
    }
    let counters = observed.changes.counters();
    let all_seen = [&observed.before, &observed.after]
        .iter()
        .all(|look| look.failures.is_empty() && look.samples.iter().all(|sample| !sample.cut));
    for (key, ours) in &sent.0 {
        if key.verb == "WATCH" {
            continue;
        }
        let what = format!("{} {}", key.verb, key.what());
        let theirs = counters.requests.get(key).cloned().unwrap_or_default();
        if all_seen && theirs.count() < ours.answered as f64 {
            findings.push(finding(
                "warning",
                "fewer-requests",
                format!(
                    "{what}: {} were answered, but the server counted only {}; are there instances behind {} that were not asked, or another server before it?",
                    ours.answered,
                    theirs.count(),
                    observed
                        .changes
                        .instances
                        .first()
                        .map_or("its name", |change| change.instance.as_str()),
                ),
            ));
        }
        let is_ours = ours.answered as f64 >= OURS * theirs.times.count();
        if observed.in_process
            || ours.succeeded < MIN_REQUESTS
            || !is_ours
            || theirs.times.count() == 0.0
        {
            continue;
        }
        findings.extend(times(&what, ours, &theirs.times));
    }
    findings
}

/// At most one finding: the larger quantile says what the smaller one says.
fn times(
    what: &str,
    ours: &Ours,
    theirs: &kperf_cluster::server_metrics::Buckets,
) -> Option<doc::Finding> {
    for (q, name) in [(0.5, "half"), (0.99, "99 %")] {
        let (Some(here), Some(there)) = (measure::quantile(&ours.service, q), theirs.quantile(q))
        else {
            continue;
        };
        let here = here as f64 / 1e9;
        let shown = |seconds: f64| time((seconds * 1e9) as u64);
        if here > 2.0 * there.at_most && here > there.at_most + FLOOR_SECONDS {
            return Some(finding(
                "warning",
                "client-sees-more",
                format!(
                    "{what}: the server took at most {} for {name} of them, but here it was {}: the rest was spent on the network, in a proxy, in this client, or waiting for a core of the server",
                    shown(there.at_most),
                    shown(here)
                ),
            ));
        }
        if there.above > 1.5 * here && there.above > here + FLOOR_SECONDS {
            return Some(finding(
                "warning",
                "server-sees-more",
                format!(
                    "{what}: {name} of them took at most {} here, but the server says more than {}: the two did not measure the same requests",
                    shown(here),
                    shown(there.above)
                ),
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(text: &[(&str, u32)]) -> kperf_cluster::server_metrics::Buckets {
        kperf_cluster::server_metrics::Buckets::of(
            text.iter()
                .map(|(bound, count)| (*bound, f64::from(*count))),
        )
    }

    fn of(service_ms: u64) -> Ours {
        let mut service = measure::time_histogram();
        for _ in 0..1000 {
            service.saturating_record(service_ms * 1_000_000);
        }
        Ours {
            answered: 1000,
            succeeded: 1000,
            service,
        }
    }

    #[test]
    fn times_disagree_only_beyond_their_bucket() {
        // Between 25 and 50 ms.
        let server = buckets(&[("0.005", 0), ("0.025", 0), ("0.05", 1000), ("+Inf", 1000)]);
        let said = |ms| times("GET pods", &of(ms), &server).map(|finding| finding.code);
        assert_eq!(said(30), None);
        assert_eq!(said(99), None);
        assert_eq!(said(102).as_deref(), Some("server/client-sees-more"));
        assert_eq!(said(17), None);
        assert_eq!(said(10).as_deref(), Some("server/server-sees-more"));
        // Within the first bucket nothing is known below 5 ms; small differences are not worth a word.
        let quick = buckets(&[("0.005", 1000), ("+Inf", 1000)]);
        assert!(times("GET pods", &of(1), &quick).is_none());
        assert!(times("GET pods", &of(14), &quick).is_none());
        assert!(times("GET pods", &of(16), &quick).is_some());
        // Beyond the last bound there is no upper one.
        let slow = buckets(&[("0.005", 0), ("+Inf", 1000)]);
        assert!(times("GET pods", &of(60_000), &slow).is_none());
    }
}
