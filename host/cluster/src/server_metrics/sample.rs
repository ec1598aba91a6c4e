//! What one API server instance says of itself at one moment.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{buckets::Buckets, text};

/// The series that are kept; a histogram is three of them.
const WANTED: [&str; 13] = [
    "apiserver_current_inflight_requests",
    "apiserver_flowcontrol_rejected_requests_total",
    "apiserver_flowcontrol_request_wait_duration_seconds_bucket",
    "apiserver_flowcontrol_request_wait_duration_seconds_sum",
    "apiserver_request_duration_seconds_bucket",
    "apiserver_request_duration_seconds_sum",
    "apiserver_request_total",
    "etcd_request_duration_seconds_bucket",
    "etcd_request_duration_seconds_sum",
    "go_sched_gomaxprocs_threads",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
];

/// So many different rows of one family are kept; a server that shows more is not understood.
const MAX_ROWS: usize = 20_000;

pub(crate) fn wanted(name: &str) -> bool {
    WANTED.binary_search(&name).is_ok()
}

/// What a request was for, as the server labels it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey {
    /// `GET`, `LIST`, `WATCH`, `POST`, `PUT`, `PATCH`, `APPLY`, `DELETE`, `DELETECOLLECTION`, `CONNECT`.
    pub verb: String,
    /// API group, empty for the core group.
    pub group: String,
    /// Plural; empty for requests that are for no resource, such as `/metrics`.
    pub resource: String,
    /// Subresource, or empty.
    pub subresource: String,
}

impl RequestKey {
    /// Resource, group and subresource as people write them: `pods/log`, `deployments.apps`.
    #[must_use]
    pub fn what(&self) -> String {
        let mut what = self.resource.clone();
        if !self.group.is_empty() {
            what.push('.');
            what.push_str(&self.group);
        }
        if !self.subresource.is_empty() {
            what.push('/');
            what.push_str(&self.subresource);
        }
        what
    }
}

/// What API Priority and Fairness turned away.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RejectedKey {
    /// Priority level.
    pub priority_level: String,
    /// Flow schema.
    pub flow_schema: String,
    /// `queue-full`, `concurrency-limit`, `time-out`, `cancelled`.
    pub reason: String,
}

/// What API Priority and Fairness let wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WaitKey {
    /// Priority level.
    pub priority_level: String,
    /// Whether the request was carried out in the end.
    pub executed: bool,
}

/// What the server asked of etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EtcdKey {
    /// `get`, `list`, `create`, `update`, `delete`, …
    pub operation: String,
    /// Kind of object, as the server spells it.
    pub kind: String,
}

/// Requests of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requests {
    /// Count by status code.
    pub by_code: BTreeMap<String, f64>,
    /// From the first byte received to the last written, in seconds; for a watch, how long it was held.
    pub times: Buckets,
}

impl Requests {
    /// All codes together.
    #[must_use]
    pub fn count(&self) -> f64 {
        self.by_code.values().sum()
    }
}

/// Everything that only grows while an instance lives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// CPU time of the process, user and system; none when it is not shown.
    pub cpu_seconds: Option<f64>,
    /// Requests by what they were for.
    pub requests: BTreeMap<RequestKey, Requests>,
    /// Requests that API Priority and Fairness turned away.
    pub rejected: BTreeMap<RejectedKey, f64>,
    /// Seconds that requests waited in its queues.
    pub waits: BTreeMap<WaitKey, Buckets>,
    /// Seconds that etcd took.
    pub etcd: BTreeMap<EtcdKey, Buckets>,
}

impl Counters {
    /// What came since `earlier`, and whether the server began anew in between. What is then known is what came
    /// since that, which is at least so much.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> (Self, bool) {
        self.without(earlier)
            .map_or_else(|| (self.clone(), true), |counters| (counters, false))
    }

    /// None when a counter went back.
    fn without(&self, earlier: &Self) -> Option<Self> {
        let less = |now: f64, before: f64| (now >= before).then_some(now - before);
        let nothing = Buckets::default();
        let mut since = Self {
            cpu_seconds: match (self.cpu_seconds, earlier.cpu_seconds) {
                (Some(now), Some(before)) => Some(less(now, before)?),
                (now, _) => now,
            },
            ..Self::default()
        };
        for (key, requests) in &self.requests {
            let before = earlier.requests.get(key);
            let mut by_code = BTreeMap::new();
            for (code, count) in &requests.by_code {
                let known = before.and_then(|before| before.by_code.get(code)).copied();
                by_code.insert(code.clone(), less(*count, known.unwrap_or(0.0))?);
            }
            let times = requests
                .times
                .since(before.map_or(&nothing, |before| &before.times))?;
            since
                .requests
                .insert(key.clone(), Requests { by_code, times });
        }
        for (key, count) in &self.rejected {
            let known = earlier.rejected.get(key).copied().unwrap_or(0.0);
            since.rejected.insert(key.clone(), less(*count, known)?);
        }
        for (key, times) in &self.waits {
            let times = times.since(earlier.waits.get(key).unwrap_or(&nothing))?;
            since.waits.insert(key.clone(), times);
        }
        for (key, times) in &self.etcd {
            let times = times.since(earlier.etcd.get(key).unwrap_or(&nothing))?;
            since.etcd.insert(key.clone(), times);
        }
        // A counter that is no longer there began anew as well.
        let kept = earlier
            .requests
            .keys()
            .all(|key| self.requests.contains_key(key));
        kept.then_some(since)
    }

    /// Adds another instance's, or a later time's.
    pub fn add(&mut self, other: &Self) {
        if let Some(seconds) = other.cpu_seconds {
            *self.cpu_seconds.get_or_insert(0.0) += seconds;
        }
        for (key, requests) in &other.requests {
            let known = self.requests.entry(key.clone()).or_default();
            for (code, count) in &requests.by_code {
                *known.by_code.entry(code.clone()).or_default() += count;
            }
            known.times.add(&requests.times);
        }
        for (key, count) in &other.rejected {
            *self.rejected.entry(key.clone()).or_default() += count;
        }
        for (key, times) in &other.waits {
            self.waits.entry(key.clone()).or_default().add(times);
        }
        for (key, times) in &other.etcd {
            self.etcd.entry(key.clone()).or_default().add(times);
        }
    }

    /// Requests for resources, watches left out: those count when they end.
    #[must_use]
    pub fn answered(&self) -> f64 {
        self.requests
            .iter()
            .filter(|(key, _)| key.verb != "WATCH" && !key.resource.is_empty())
            .map(|(_, requests)| requests.count())
            .sum()
    }

    /// Times of the same requests, all together.
    #[must_use]
    pub fn times(&self) -> Buckets {
        let mut all = Buckets::default();
        for (key, requests) in &self.requests {
            if key.verb != "WATCH" && key.verb != "CONNECT" && !key.resource.is_empty() {
                all.add(&requests.times);
            }
        }
        all
    }
}

/// One instance at one moment.
#[derive(Clone, Debug)]
pub struct InstanceSample {
    /// Address and port it was asked at.
    pub instance: String,
    /// When its answer began.
    pub taken: Instant,
    /// How long the whole answer took.
    pub took: Duration,
    /// The server's clock then, seconds since 1970; none when it does not say.
    pub server_time: Option<f64>,
    /// When its process started, seconds since 1970: what tells instances apart.
    pub start_time: Option<f64>,
    /// Threads that may run Go code at once.
    pub gomaxprocs: Option<f64>,
    /// Resident memory.
    pub resident_bytes: Option<f64>,
    /// Requests it was working on, by kind (`readOnly`, `mutating`).
    pub inflight: BTreeMap<String, f64>,
    /// What only grows.
    pub counters: Counters,
    /// Whether there were more rows than are kept.
    pub cut: bool,
}

impl InstanceSample {
    pub(crate) fn new(instance: String, taken: Instant, server_time: Option<f64>) -> Self {
        Self {
            instance,
            taken,
            took: Duration::ZERO,
            server_time,
            start_time: None,
            gomaxprocs: None,
            resident_bytes: None,
            inflight: BTreeMap::new(),
            counters: Counters::default(),
            cut: false,
        }
    }

    /// Cores the instance may use at once; none when it does not say.
    #[must_use]
    pub fn cores(&self) -> Option<u32> {
        self.gomaxprocs.map(|threads| threads as u32)
    }

    /// Whether this and another sample are of one process.
    #[must_use]
    pub fn is_same_process(&self, other: &Self) -> bool {
        match (self.start_time, other.start_time) {
            (Some(ours), Some(theirs)) => ours.total_cmp(&theirs).is_eq(),
            _ => self.instance == other.instance,
        }
    }

    /// Whether anything of an API server was there at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.gomaxprocs.is_none()
            && self.start_time.is_none()
            && self.counters == Counters::default()
    }

    /// Takes one line over.
    pub(crate) fn take(&mut self, sample: &text::Sample<'_>) {
        let value = sample.value;
        if !value.is_finite() {
            return;
        }
        let counters = &mut self.counters;
        let label = |name: &str| sample.label(name).to_owned();
        match sample.name {
            "go_sched_gomaxprocs_threads" => self.gomaxprocs = Some(value),
            "process_cpu_seconds_total" => counters.cpu_seconds = Some(value),
            "process_resident_memory_bytes" => self.resident_bytes = Some(value),
            "process_start_time_seconds" => self.start_time = Some(value),
            "apiserver_current_inflight_requests" => {
                *self.inflight.entry(label("request_kind")).or_default() += value;
            }
            "apiserver_request_total" => {
                if let Some(requests) =
                    row(&mut counters.requests, request_key(sample), &mut self.cut)
                {
                    *requests.by_code.entry(label("code")).or_default() += value;
                }
            }
            "apiserver_request_duration_seconds_bucket"
            | "apiserver_request_duration_seconds_sum" => {
                if let Some(requests) =
                    row(&mut counters.requests, request_key(sample), &mut self.cut)
                {
                    times(&mut requests.times, sample);
                }
            }
            "apiserver_flowcontrol_rejected_requests_total" => {
                let key = RejectedKey {
                    priority_level: label("priority_level"),
                    flow_schema: label("flow_schema"),
                    reason: label("reason"),
                };
                if let Some(count) = row(&mut counters.rejected, key, &mut self.cut) {
                    *count += value;
                }
            }
            "apiserver_flowcontrol_request_wait_duration_seconds_bucket"
            | "apiserver_flowcontrol_request_wait_duration_seconds_sum" => {
                let key = WaitKey {
                    priority_level: label("priority_level"),
                    executed: sample.label("execute") == "true",
                };
                if let Some(waits) = row(&mut counters.waits, key, &mut self.cut) {
                    times(waits, sample);
                }
            }
            "etcd_request_duration_seconds_bucket" | "etcd_request_duration_seconds_sum" => {
                let key = EtcdKey {
                    operation: label("operation"),
                    kind: etcd_kind(sample),
                };
                if let Some(took) = row(&mut counters.etcd, key, &mut self.cut) {
                    times(took, sample);
                }
            }
            _ => {}
        }
    }
}

/// The row of a key, unless there are too many.
fn row<'a, K: Ord, V: Default>(
    rows: &'a mut BTreeMap<K, V>,
    key: K,
    cut: &mut bool,
) -> Option<&'a mut V> {
    if rows.len() >= MAX_ROWS && !rows.contains_key(&key) {
        *cut = true;
        return None;
    }
    Some(rows.entry(key).or_default())
}

fn times(times: &mut Buckets, sample: &text::Sample<'_>) {
    if sample.name.ends_with("_sum") {
        times.add_sum(sample.value);
    } else {
        times.add_bucket(sample.label("le"), sample.value);
    }
}

fn request_key(sample: &text::Sample<'_>) -> RequestKey {
    RequestKey {
        verb: sample.label("verb").to_owned(),
        group: sample.label("group").to_owned(),
        resource: sample.label("resource").to_owned(),
        subresource: sample.label("subresource").to_owned(),
    }
}

/// Older servers say `type="*core.Pod"`, newer ones `group` and `resource`.
fn etcd_kind(sample: &text::Sample<'_>) -> String {
    let kind = sample.label("type");
    if !kind.is_empty() {
        return kind.trim_start_matches('*').to_owned();
    }
    match (sample.label("resource"), sample.label("group")) {
        (resource, "") => resource.to_owned(),
        (resource, group) => format!("{resource}.{group}"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The sample that a server's text makes.
    pub(crate) fn sample(instance: &str, text: &str) -> InstanceSample {
        let mut sample = InstanceSample::new(instance.to_owned(), Instant::now(), None);
        let mut reader = text::Reader::default();
        reader
            .feed(text.as_bytes(), wanted, |line| sample.take(line))
            .unwrap();
        sample
    }

    const REAL: &str = r#"
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="namespace",subresource="",verb="LIST",version="v1"} 4
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="cluster",subresource="",verb="LIST",version="v1"} 2
apiserver_request_total{code="404",component="apiserver",dry_run="",group="apps",resource="deployments",scope="resource",subresource="scale",verb="GET",version="v1"} 1
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="",scope="",subresource="/metrics",verb="GET",version=""} 9
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="cluster",subresource="",verb="WATCH",version="v1"} 3
apiserver_request_duration_seconds_bucket{component="apiserver",dry_run="",group="",resource="pods",scope="cluster",subresource="",verb="LIST",version="v1",le="0.05"} 5
apiserver_request_duration_seconds_bucket{component="apiserver",dry_run="",group="",resource="pods",scope="cluster",subresource="",verb="LIST",version="v1",le="+Inf"} 6
apiserver_request_duration_seconds_sum{component="apiserver",dry_run="",group="",resource="pods",scope="cluster",subresource="",verb="LIST",version="v1"} 0.3
apiserver_flowcontrol_rejected_requests_total{flow_schema="global-default",priority_level="global-default",reason="queue-full"} 7
apiserver_flowcontrol_request_wait_duration_seconds_bucket{execute="true",flow_schema="a",priority_level="workload-low",le="+Inf"} 8
etcd_request_duration_seconds_bucket{operation="get",type="*core.Pod",le="+Inf"} 10
etcd_request_duration_seconds_bucket{group="apps",operation="list",resource="deployments",le="+Inf"} 11
apiserver_current_inflight_requests{request_kind="readOnly"} 2
go_sched_gomaxprocs_threads 8
process_cpu_seconds_total 12.5
process_resident_memory_bytes 2.5e+08
process_start_time_seconds 1.70000000012e+09
"#;

    #[test]
    fn what_a_server_shows_is_understood() {
        let sample = sample("a", REAL);
        assert_eq!(sample.cores(), Some(8));
        assert_eq!(sample.resident_bytes, Some(250_000_000.0));
        assert_eq!(sample.counters.cpu_seconds, Some(12.5));
        assert_eq!(sample.inflight["readOnly"], 2.0);
        let requests = &sample.counters.requests;
        assert_eq!(requests.len(), 4);
        let list = requests.iter().find(|(key, _)| key.verb == "LIST").unwrap();
        assert_eq!((list.0.what().as_str(), list.1.count()), ("pods", 6.0));
        assert_eq!(list.1.times.mean(), Some(0.3 / 6.0));
        let get = requests
            .iter()
            .find(|(key, _)| key.group == "apps")
            .unwrap();
        assert_eq!(get.0.what(), "deployments.apps/scale");
        assert_eq!(sample.counters.answered(), 7.0);
        let rejected: Vec<_> = sample.counters.rejected.iter().collect();
        assert_eq!(
            (rejected[0].0.reason.as_str(), *rejected[0].1),
            ("queue-full", 7.0)
        );
        let waits: Vec<_> = sample.counters.waits.iter().collect();
        assert!(waits[0].0.executed && waits[0].1.count() == 8.0);
        let kinds: Vec<_> = sample.counters.etcd.keys().map(|key| &key.kind).collect();
        assert_eq!(kinds, ["core.Pod", "deployments.apps"]);
    }

    #[test]
    fn counters_that_went_back_began_anew() {
        let before = sample("a", REAL).counters;
        let later = REAL
            .replace(
                "process_cpu_seconds_total 12.5",
                "process_cpu_seconds_total 14",
            )
            .replace("version=\"v1\"} 4\n", "version=\"v1\"} 10\n");
        let after = sample("a", &later).counters;
        let (since, anew) = after.since(&before);
        assert!(!anew);
        assert_eq!(since.cpu_seconds, Some(1.5));
        assert_eq!(since.answered(), 6.0);

        let (since, anew) = before.since(&after);
        assert!(anew);
        assert_eq!(since, before);
        // A server that began anew and was asked nothing yet.
        assert!(Counters::default().since(&before).1);
    }

    #[test]
    fn rows_are_bounded() {
        let mut sample = InstanceSample::new("a".to_owned(), Instant::now(), None);
        for number in 0..=MAX_ROWS {
            let line = format!("apiserver_request_total{{resource=\"r{number}\"}} 1\n");
            text::Reader::default()
                .feed(line.as_bytes(), wanted, |line| sample.take(line))
                .unwrap();
        }
        assert!(sample.cut);
        assert_eq!(sample.counters.requests.len(), MAX_ROWS);
    }
}
