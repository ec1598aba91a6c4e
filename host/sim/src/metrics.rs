//! What `/metrics` shows: the request metrics of kube-apiserver that load tests read, and those of its process.

mod process;

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use self::process::Process;
use crate::{registry::Resource, store::Store};

/// Upper bounds of the duration histogram, seconds: those of kube-apiserver.
const BUCKETS: [f64; 21] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0,
];

/// What a request counts as.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    verb: &'static str,
    resource: Option<Arc<Resource>>,
    subresource: &'static str,
    scope: &'static str,
}

impl Sample {
    pub(crate) fn of(
        verb: &'static str,
        resource: &Arc<Resource>,
        subresource: Option<&str>,
        namespaced: bool,
        named: bool,
    ) -> Self {
        let subresource = ["binding", "eviction", "finalize", "log", "scale", "status"]
            .into_iter()
            .find(|s| Some(*s) == subresource)
            .unwrap_or_default();
        let scope = match (named || verb == "create", namespaced) {
            (true, _) => "resource",
            (false, true) => "namespace",
            (false, false) => "cluster",
        };
        Self {
            verb,
            resource: Some(Arc::clone(resource)),
            subresource,
            scope,
        }
    }
}

/// (collection address, verb, subresource, scope, code): cheap to hash, labels are made when read.
type Key = (usize, &'static str, &'static str, &'static str, u16);

#[derive(Debug, Default)]
struct Series {
    resource: Option<Arc<Resource>>,
    count: u64,
    seconds: f64,
    buckets: [u64; BUCKETS.len()],
    response_bytes: u64,
}

/// Counters of all requests.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Mutex<HashMap<Key, Series>>,
    /// Requests that the faults refused with 429.
    rejected: AtomicU64,
    process: Process,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            requests: Mutex::default(),
            rejected: AtomicU64::new(0),
            process: Process::new(),
        }
    }

    /// Counts the calling thread's CPU time as the server's.
    pub(crate) fn join_thread(&self) {
        self.process.join();
    }

    /// Counts a request that the faults refused with 429.
    pub(crate) fn reject(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self, sample: Sample, code: u16, took: Duration, bytes: u64) {
        let id = sample
            .resource
            .as_ref()
            .map_or(0, |r| Arc::as_ptr(r).addr());
        let key = (id, sample.verb, sample.subresource, sample.scope, code);
        let mut all = self.requests.lock();
        let series = all.entry(key).or_default();
        if series.resource.is_none() {
            series.resource = sample.resource;
        }
        series.count += 1;
        series.response_bytes += bytes;
        let seconds = took.as_secs_f64();
        series.seconds += seconds;
        if let Some(bucket) = BUCKETS
            .iter()
            .position(|b| seconds <= *b)
            .and_then(|i| series.buckets.get_mut(i))
        {
            *bucket += 1;
        }
    }

    /// Prometheus text exposition.
    pub(crate) fn render(&self, store: &Store, threads: usize) -> String {
        let mut requests = String::new();
        let mut durations = String::new();
        for ((_, verb, subresource, scope, code), series) in self.requests.lock().iter() {
            let (group, version, resource) = series.resource.as_ref().map_or(("", "", ""), |r| {
                (r.group.as_str(), r.version.as_str(), r.plural.as_str())
            });
            let verb = verb_label(verb);
            let labels = format!(
                "group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\""
            );
            // Writing to a String cannot fail.
            let _ = writeln!(
                requests,
                "apiserver_request_total{{code=\"{code}\",component=\"apiserver\",dry_run=\"\",{labels}}} {}",
                series.count
            );
            let mut total = 0;
            for (bound, count) in BUCKETS.iter().zip(series.buckets) {
                total += count;
                let _ = writeln!(
                    durations,
                    "apiserver_request_duration_seconds_bucket{{code=\"{code}\",component=\"apiserver\",dry_run=\"\",{labels},le=\"{bound}\"}} {total}"
                );
            }
            let with_code =
                format!("code=\"{code}\",component=\"apiserver\",dry_run=\"\",{labels}");
            let _ = writeln!(
                durations,
                "apiserver_request_duration_seconds_bucket{{{with_code},le=\"+Inf\"}} {}\napiserver_request_duration_seconds_sum{{{with_code}}} {}\napiserver_request_duration_seconds_count{{{with_code}}} {}",
                series.count, series.seconds, series.count
            );
        }
        let mut objects = String::new();
        for resource in store.registry().resources() {
            let _ = writeln!(
                objects,
                "apiserver_storage_objects{{resource=\"{}\"}} {}",
                resource.qualified(),
                resource.collection.len()
            );
        }
        let rejected = self.rejected.load(Ordering::Relaxed);
        let mut text = format!(
            "# HELP apiserver_request_total [STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.\n\
             # TYPE apiserver_request_total counter\n{requests}\
             # HELP apiserver_request_duration_seconds [STABLE] Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.\n\
             # TYPE apiserver_request_duration_seconds histogram\n{durations}\
             # HELP apiserver_storage_objects [STABLE] Number of stored objects at the time of last check split by kind.\n\
             # TYPE apiserver_storage_objects gauge\n{objects}\
             # HELP go_sched_gomaxprocs_threads The current runtime.GOMAXPROCS setting, or the number of operating system threads that can execute user-level Go code simultaneously.\n\
             # TYPE go_sched_gomaxprocs_threads gauge\ngo_sched_gomaxprocs_threads {threads}\n\
             # HELP apiserver_flowcontrol_rejected_requests_total [BETA] Number of requests rejected by API Priority and Fairness subsystem\n\
             # TYPE apiserver_flowcontrol_rejected_requests_total counter\n"
        );
        // As the real one: a row appears with its first request.
        if rejected > 0 {
            let _ = writeln!(
                text,
                "apiserver_flowcontrol_rejected_requests_total{{flow_schema=\"simulator-faults\",priority_level=\"simulator-faults\",reason=\"injected\"}} {rejected}"
            );
        }
        self.process.render(&mut text);
        text
    }
}

fn verb_label(verb: &str) -> &'static str {
    match verb {
        "get" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" => "POST",
        "update" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "other",
    }
}
