//! A recording of what the API server tells of pods and of the scheduler's Events, made beside a run by a client of
//! our own; and nearest-rank percentiles. Shares no code with what it is compared with.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kperf_control_plane::Client;
use serde_json::Value;

/// Times of one pod, in nanoseconds since 1970.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pod {
    /// Receipt of the first event, the first with a node, the first that says `Running`.
    pub(crate) seen: [Option<i128>; 3],
    /// `creationTimestamp`.
    pub(crate) created: Option<i128>,
    /// `startedAt` of the only container, as the first event that says `Running` has it.
    pub(crate) started: Option<i128>,
    /// `eventTime` of the scheduler's Event.
    pub(crate) placed: Option<i128>,
}

pub(crate) type Pods = BTreeMap<(String, String), Pod>;

pub(crate) struct Recording {
    pods: Arc<Mutex<Pods>>,
}

impl Recording {
    /// Begins; the watches stand when it returns, and end by themselves.
    pub(crate) fn start(client: &Client) -> Self {
        let pods = Arc::new(Mutex::new(Pods::new()));
        let of_pods = "/api/v1/pods?watch=1&labelSelector=group%3Dtest-pod";
        let of_events = "/api/v1/events?watch=1&fieldSelector=reason%3DScheduled";
        watch(client, of_pods, Arc::clone(&pods), note_pod);
        watch(client, of_events, Arc::clone(&pods), note_event);
        Self { pods }
    }

    /// What there was of pods in namespaces that begin with `prefix`.
    pub(crate) fn pods(&self, prefix: &str) -> Pods {
        let mut pods = self.pods.lock().unwrap().clone();
        pods.retain(|(namespace, _), pod| namespace.starts_with(prefix) && pod.created.is_some());
        pods
    }
}

fn watch(client: &Client, path: &str, pods: Arc<Mutex<Pods>>, note: fn(&mut Pods, &Value, i128)) {
    let accept = [("accept", "application/json")];
    let opened = client
        .open("GET", path, &accept, None, Duration::from_secs(120))
        .unwrap();
    assert_eq!(opened.status, 200);
    thread::spawn(move || {
        for line in BufReader::new(opened.body).lines() {
            let Ok(line) = line else { return };
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let now = i128::try_from(now.as_nanos()).unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            note(&mut pods.lock().unwrap(), &event["object"], now);
        }
    });
}

fn note_pod(pods: &mut Pods, object: &Value, now: i128) {
    let metadata = &object["metadata"];
    let pod = pods
        .entry((text(&metadata["namespace"]), text(&metadata["name"])))
        .or_default();
    pod.seen[0].get_or_insert(now);
    pod.created = time(&metadata["creationTimestamp"]);
    if object["spec"]["nodeName"].is_string() {
        pod.seen[1].get_or_insert(now);
    }
    if object["status"]["phase"] == "Running" && pod.seen[2].is_none() {
        pod.seen[2] = Some(now);
        let container = &object["status"]["containerStatuses"][0];
        pod.started = time(&container["state"]["running"]["startedAt"]);
    }
}

fn note_event(pods: &mut Pods, event: &Value, _: i128) {
    assert_eq!(event["reportingComponent"], "default-scheduler", "{event}");
    let of = &event["involvedObject"];
    let pod = pods.entry((text(&of["namespace"]), text(&of["name"])));
    pod.or_default().placed = time(&event["eventTime"]);
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// RFC 3339 in UTC, as the API server writes it, by hand.
fn time(value: &Value) -> Option<i128> {
    let text = value.as_str()?.strip_suffix('Z')?;
    let (date, clock) = text.split_once('T')?;
    let mut date = date.split('-').map(|part| part.parse::<i128>().unwrap());
    let (year, month, day) = (date.next()?, date.next()?, date.next()?);
    let mut clock = clock.split(':');
    let hours: i128 = clock.next()?.parse().ok()?;
    let minutes: i128 = clock.next()?.parse().ok()?;
    let (seconds, fraction) = {
        let last = clock.next()?;
        last.split_once('.').unwrap_or((last, "0"))
    };
    let seconds: i128 = seconds.parse().ok()?;
    let nanos: i128 = format!("{fraction:0<9}").parse().ok()?;
    // Days since 1970: years that begin in March, so that the leap day is the last.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000_000_000 + nanos)
}

/// The element `ceil(n * percent / 100) - 1` of the sorted values.
pub(crate) fn percentile(values: &[i128], percent: usize) -> i128 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}

#[test]
fn times_are_read_and_percentiles_ranked() {
    let at = |text: &str| time(&Value::from(text));
    assert_eq!(at("1970-01-01T00:00:00Z"), Some(0));
    assert_eq!(
        at("2024-02-29T12:34:56.5Z"),
        Some(1_709_210_096_500_000_000)
    );
    assert_eq!(
        at("2026-11-25T00:00:01.000002Z"),
        Some(1_795_564_801_000_002_000)
    );
    assert_eq!(at("now"), None);
    let ten: Vec<i128> = (1..=10).rev().collect();
    assert_eq!([50, 90, 99].map(|p| percentile(&ten, p)), [5, 9, 10]);
}
