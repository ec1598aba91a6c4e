//! What was seen, as metrics of the report. However large the cluster, there are a few hundred at most.

use kperf_cluster::server_metrics::{Buckets, Counters, RequestKey, Requests};
use kperf_runtime::report as doc;

use super::Observed;
use crate::report::labels;

/// So many kinds of requests, of rejections, of queues and of etcd's operations have rows of their own.
const MAX_ROWS: usize = 40;
/// What the rest is called.
pub(crate) const OTHERS: &str = "(others)";
/// Quantiles that are given; estimates, see [`Buckets::quantile`].
const QUANTILES: [(f64, &str); 3] = [(0.5, "0.5"), (0.9, "0.9"), (0.99, "0.99")];

/// Collects metrics.
#[derive(Default)]
struct Metrics(Vec<doc::Metric>);

impl Metrics {
    fn add(&mut self, name: &str, value: f64, unit: &str, pairs: &[(&str, &str)]) {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        self.0.push(doc::Metric {
            name: name.to_owned(),
            value,
            unit: unit.to_owned(),
            labels: labels(&pairs),
        });
    }

    fn maybe(&mut self, name: &str, value: Option<f64>, unit: &str, pairs: &[(&str, &str)]) {
        if let Some(value) = value {
            self.add(name, value, unit, pairs);
        }
    }

    fn times(&mut self, name: &str, times: &Buckets, pairs: &[(&str, &str)]) {
        for (q, text) in QUANTILES {
            let labels = [pairs, &[("quantile", text)]].concat();
            self.maybe(
                name,
                times.quantile(q).map(|estimate| estimate.value),
                "seconds",
                &labels,
            );
        }
        let labels = [pairs, &[("quantile", "mean")]].concat();
        self.maybe(name, times.mean(), "seconds", &labels);
    }
}

/// Everything as metrics; empty when nothing was seen.
pub(super) fn metrics(observed: &Observed) -> Vec<doc::Metric> {
    let mut metrics = Metrics::default();
    instances(observed, &mut metrics);
    let counters = observed.changes.counters();
    requests(&counters, &mut metrics);
    fairness(&counters, &mut metrics);
    etcd(&counters, &mut metrics);
    intervals(observed, &mut metrics);
    metrics.0
}

fn instances(observed: &Observed, metrics: &mut Metrics) {
    for change in &observed.changes.instances {
        let instance = [("instance", change.instance.as_str())];
        metrics.maybe(
            "server-cores",
            change.cores.map(f64::from),
            "cores",
            &instance,
        );
        metrics.maybe(
            "server-cpu",
            change.counters.cpu_seconds,
            "seconds",
            &instance,
        );
        metrics.maybe("server-cores-used", change.cores_used(), "cores", &instance);
        metrics.add(
            "server-observed-time",
            change.elapsed.as_secs_f64(),
            "seconds",
            &instance,
        );
        metrics.add(
            "server-answered",
            change.counters.answered(),
            "requests",
            &instance,
        );
        // The memory of this process says nothing about a server in it.
        if !observed.in_process {
            for (when, bytes) in [
                ("before", change.resident_before),
                ("after", change.resident_after),
                ("max", change.resident_max),
            ] {
                let labels = [instance[0], ("when", when)];
                metrics.maybe("server-memory", bytes, "bytes", &labels);
            }
        }
    }
}

fn requests(counters: &Counters, metrics: &mut Metrics) {
    let rows = largest(
        counters
            .requests
            .iter()
            // What is for no resource, looking at the metrics among it, is not the run's.
            .filter(|(key, requests)| !key.resource.is_empty() && requests.count() > 0.0)
            .map(|(key, requests)| (key.clone(), requests.clone())),
        Requests::count,
        |rest, requests| {
            for (code, count) in &requests.by_code {
                *rest.by_code.entry(code.clone()).or_default() += count;
            }
            rest.times.add(&requests.times);
        },
        RequestKey {
            verb: OTHERS.to_owned(),
            resource: OTHERS.to_owned(),
            ..RequestKey::default()
        },
    );
    for (key, requests) in &rows {
        let what = key.what();
        let labels = [("verb", key.verb.as_str()), ("resource", what.as_str())];
        metrics.add("server-requests", requests.count(), "requests", &labels);
        for (code, count) in &requests.by_code {
            let refused = code.parse::<u16>().is_ok_and(|code| code >= 400);
            if refused && *count > 0.0 {
                let labels = [&labels[..], &[("code", code.as_str())]].concat();
                metrics.add("server-requests-failed", *count, "requests", &labels);
            }
        }
        metrics.times("server-latency", &requests.times, &labels);
    }
}

fn fairness(counters: &Counters, metrics: &mut Metrics) {
    for (key, count) in counters
        .rejected
        .iter()
        .filter(|(_, count)| **count > 0.0)
        .take(MAX_ROWS)
    {
        let labels = [
            ("priority-level", key.priority_level.as_str()),
            ("flow-schema", key.flow_schema.as_str()),
            ("reason", key.reason.as_str()),
        ];
        metrics.add("server-rejected", *count, "requests", &labels);
    }
    for (key, waits) in counters
        .waits
        .iter()
        .filter(|(_, waits)| waits.count() > 0.0)
        .take(MAX_ROWS)
    {
        let executed = if key.executed { "true" } else { "false" };
        let labels = [
            ("priority-level", key.priority_level.as_str()),
            ("executed", executed),
        ];
        metrics.times("server-queue-wait", waits, &labels);
    }
}

fn etcd(counters: &Counters, metrics: &mut Metrics) {
    let rows = largest(
        counters
            .etcd
            .iter()
            .filter(|(_, times)| times.count() > 0.0)
            .map(|(key, times)| {
                let key = (key.operation.clone(), key.kind.clone());
                (key, times.clone())
            }),
        Buckets::count,
        |rest, times| rest.add(times),
        (OTHERS.to_owned(), OTHERS.to_owned()),
    );
    for ((operation, kind), times) in &rows {
        let labels = [("operation", operation.as_str()), ("type", kind.as_str())];
        metrics.add("server-etcd-requests", times.count(), "requests", &labels);
        metrics.times("server-etcd-latency", times, &labels);
    }
}

/// The rows with the largest counts, descending; the rest is one row at the end.
fn largest<K: Ord, V: Clone>(
    rows: impl Iterator<Item = (K, V)>,
    count: impl Fn(&V) -> f64,
    join: impl Fn(&mut V, &V),
    others: K,
) -> Vec<(K, V)> {
    let mut rows: Vec<(K, V)> = rows.collect();
    rows.sort_by(|(one_key, one), (other_key, other)| {
        count(other)
            .total_cmp(&count(one))
            .then_with(|| one_key.cmp(other_key))
    });
    if rows.len() > MAX_ROWS {
        let mut rest = rows.drain(MAX_ROWS - 1..).map(|(_, row)| row);
        if let Some(mut all) = rest.next() {
            rest.for_each(|row| join(&mut all, &row));
            rows.push((others, all));
        }
    }
    rows
}

fn intervals(observed: &Observed, metrics: &mut Metrics) {
    for point in observed.points.iter().flatten() {
        let at = format!("{:.3}", point.at.as_secs_f64());
        let length = format!("{:.3}", point.elapsed.as_secs_f64());
        let labels = [
            ("instance", point.instance.as_str()),
            ("at", at.as_str()),
            ("length", length.as_str()),
        ];
        let seconds = point.elapsed.as_secs_f64().max(1e-9);
        metrics.maybe(
            "server-interval-cores-used",
            point.cpu_seconds.map(|cpu| cpu / seconds),
            "cores",
            &labels,
        );
        if !observed.in_process {
            metrics.maybe(
                "server-interval-memory",
                point.resident_bytes,
                "bytes",
                &labels,
            );
        }
        metrics.add(
            "server-interval-rate",
            point.requests / seconds,
            "requests-per-second",
            &labels,
        );
        let p99 = point.times.quantile(0.99).map(|estimate| estimate.value);
        metrics.maybe("server-interval-latency-p99", p99, "seconds", &labels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_seen_is_nothing_said() {
        assert!(metrics(&Observed::default()).is_empty());
    }

    #[test]
    fn many_kinds_of_requests_become_few_rows() {
        let mut counters = Counters::default();
        for number in 0..200_u32 {
            let key = RequestKey {
                verb: "GET".to_owned(),
                resource: format!("r{number:03}"),
                ..RequestKey::default()
            };
            let requests = counters.requests.entry(key).or_default();
            requests
                .by_code
                .insert("200".to_owned(), f64::from(number + 1));
        }
        let mut made = Metrics::default();
        requests(&counters, &mut made);
        let counts: Vec<&doc::Metric> = made
            .0
            .iter()
            .filter(|metric| metric.name == "server-requests")
            .collect();
        assert_eq!(counts.len(), MAX_ROWS);
        assert_eq!(counts[0].value, 200.0);
        assert_eq!(counts[MAX_ROWS - 1].labels[1].value, OTHERS);
        let sum: f64 = counts.iter().map(|metric| metric.value).sum();
        assert_eq!(sum, 200.0 * 201.0 / 2.0);
    }
}
