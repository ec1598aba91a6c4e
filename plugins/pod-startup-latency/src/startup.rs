//! Pod startup latency: four moments of a pod, the times between them, percentiles, thresholds.
//!
//! Enters: what a tracker saw of the pods. Leaves: times per transition, for all pods, for stateless and for stateful
//! ones. ClusterLoader2 has defined the moments in two ways, and numbers by one say nothing about the other:
//!
//! | moment | [`Definition::Api2024`] | [`Definition::Watch2026`] |
//! | --- | --- | --- |
//! | create | `metadata.creationTimestamp` of a pod that ran | the first event of the pod |
//! | schedule | the scheduler's Event: `eventTime`, else `firstTimestamp` | the first event with `spec.nodeName` |
//! | run | latest `startedAt` of its containers | the first event with phase `Running` |
//! | watch | receipt of the first event with phase `Running` | the same as run |
//!
//! The older one mixes the clocks of API server, scheduler, kubelet and tester, three of them cut to whole seconds;
//! the newer one reads this host's clock alone and does not see what happened before the first event.
//!
//! Where "run" of `api-2024` is not ClusterLoader2's: that took the containers that ran in the pod's first event with
//! phase `Running`. Here this is so for pods of one container. For pods of several, the containers are those of the
//! latest event before gathering, so that "run" is later when a container was restarted since, or started only after
//! the pod was `Running`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kperf_sdk::benchmark::tracking::Tracked;
use kperf_sdk::schemars::{self, JsonSchema};
use kperf_sdk::serde::Deserialize;
use serde_json::Value;

/// What create, schedule, run and watch mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(crate = "kperf_sdk::serde")]
pub enum Definition {
    /// ClusterLoader2 until March 2026: times that the API shows, and the receipt of `Running`.
    #[serde(rename = "api-2024")]
    Api2024,
    /// ClusterLoader2 since March 2026: receipt of watch events alone.
    #[default]
    #[serde(rename = "watch-2026")]
    Watch2026,
}

impl Definition {
    /// As the configuration and the report write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Api2024 => "api-2024",
            Self::Watch2026 => "watch-2026",
        }
    }

    /// The transitions it knows, in ClusterLoader2's words.
    pub fn transitions(self) -> impl Iterator<Item = &'static Transition> {
        TRANSITIONS
            .iter()
            .filter(move |transition| self == Self::Watch2026 || transition.name != "create_to_run")
    }
}

/// Order of the tracker's milestones.
pub const CREATE: usize = 0;
/// See [`CREATE`].
pub const SCHEDULE: usize = 1;
/// See [`CREATE`].
pub const RUN: usize = 2;

/// Order of what the tracker captures: `/spec/volumes`.
pub const VOLUMES: usize = 0;
/// `/status/containerStatuses`, for [`Definition::Api2024`] only.
pub const CONTAINER_STATUSES: usize = 1;

/// A moment of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It was created.
    Create,
    /// It was given a node.
    Schedule,
    /// Its containers run.
    Run,
    /// Somebody who watches knows that it runs.
    Watch,
}

/// Two moments, and what the time between them is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// ClusterLoader2's name.
    pub name: &'static str,
    from: Moment,
    to: Moment,
}

/// The transition that has thresholds.
pub const POD_STARTUP: &str = "pod_startup";

const TRANSITIONS: [Transition; 6] = [
    transition("create_to_schedule", Moment::Create, Moment::Schedule),
    transition("schedule_to_run", Moment::Schedule, Moment::Run),
    transition("run_to_watch", Moment::Run, Moment::Watch),
    transition("schedule_to_watch", Moment::Schedule, Moment::Watch),
    transition(POD_STARTUP, Moment::Create, Moment::Watch),
    transition("create_to_run", Moment::Create, Moment::Run),
];

const fn transition(name: &'static str, from: Moment, to: Moment) -> Transition {
    Transition { name, from, to }
}

/// When a pod's moments were, in nanoseconds on one axis: since 1970, or since the start of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moments {
    create: Option<i64>,
    schedule: Option<i64>,
    run: Option<i64>,
    watch: Option<i64>,
}

impl Moments {
    fn of(&self, moment: Moment) -> Option<i64> {
        match moment {
            Moment::Create => self.create,
            Moment::Schedule => self.schedule,
            Moment::Run => self.run,
            Moment::Watch => self.watch,
        }
    }

    /// The time of a transition; negative ones are 0, as in ClusterLoader2. `None` if a moment is not known.
    fn latency_ns(&self, transition: &Transition) -> Option<u64> {
        let (from, to) = (self.of(transition.from)?, self.of(transition.to)?);
        Some(u64::try_from(to.saturating_sub(from)).unwrap_or(0))
    }
}

/// When the scheduler says it placed a pod, by namespace and name, in microseconds since 1970.
pub type ScheduledAt = BTreeMap<(String, String), i64>;

/// How to read what a tracker saw.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// What the moments are.
    pub definition: Definition,
    /// From the scheduler's Events; of no use to [`Definition::Watch2026`].
    pub scheduled_at: &'a ScheduledAt,
    /// When the run started, in microseconds since 1970: the receipt stamps count from there.
    pub start_unix_us: u64,
}

impl Reading<'_> {
    /// The moments of a pod.
    pub fn moments(&self, pod: &Tracked) -> Moments {
        let received = |milestone: usize| {
            let stamp = pod.stamps.get(milestone)?;
            // When the watch was away, the time of learning about it says nothing.
            (stamp.received_ns > 0 && stamp.exact).then_some(stamp.received_ns as i64)
        };
        match self.definition {
            Definition::Watch2026 => Moments {
                create: received(CREATE),
                schedule: received(SCHEDULE),
                run: received(RUN),
                watch: received(RUN),
            },
            Definition::Api2024 => {
                let Some(running) = received(RUN) else {
                    // ClusterLoader2 read creation times from pods that ran, and no others.
                    return Moments::default();
                };
                let key = (pod.namespace.clone(), pod.name.clone());
                Moments {
                    create: api_ns(pod, CREATE),
                    schedule: self.scheduled_at.get(&key).map(|at_us| at_us * 1_000),
                    run: started_at_ns(pod),
                    watch: Some((self.start_unix_us as i64).saturating_mul(1_000) + running),
                }
            }
        }
    }
}

fn api_ns(pod: &Tracked, milestone: usize) -> Option<i64> {
    let at_us = pod.stamps.get(milestone)?.api_unix_us;
    (at_us > 0).then(|| (at_us as i64).saturating_mul(1_000))
}

/// The latest start of a pod's containers: of a single one as the first `Running` event said, of several as the latest
/// event says.
fn started_at_ns(pod: &Tracked) -> Option<i64> {
    let statuses: Vec<Value> = pod
        .captures
        .get(CONTAINER_STATUSES)
        .and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or_default();
    if statuses.len() <= 1
        && let Some(at_ns) = api_ns(pod, RUN)
    {
        return Some(at_ns);
    }
    statuses
        .iter()
        .filter_map(|status| unix_us(status.pointer("/state/running/startedAt")?.as_str()?))
        .max()
        .map(|at_us| at_us.saturating_mul(1_000))
}

/// RFC 3339 in microseconds since 1970.
pub fn unix_us(text: &str) -> Option<i64> {
    text.parse::<Timestamp>()
        .ok()
        .map(Timestamp::as_microsecond)
}

/// Whether a pod's volumes hold nothing that outlives it. `volumes` is JSON; empty = it has none.
pub fn is_stateless(volumes: &str) -> bool {
    let volumes: Vec<Value> = serde_json::from_str(volumes).unwrap_or_default();
    let passing = [
        "emptyDir",
        "downwardAPI",
        "configMap",
        "secret",
        "projected",
    ];
    volumes.iter().all(|volume| {
        passing
            .iter()
            .any(|kind| volume.get(kind).is_some_and(|source| !source.is_null()))
    })
}

/// Which pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodSet {
    /// All of them.
    All,
    /// Those that hold nothing that outlives them.
    Stateless,
    /// The others.
    Stateful,
}

impl PodSet {
    /// The three that ClusterLoader2 reports.
    pub const EACH: [Self; 3] = [Self::All, Self::Stateless, Self::Stateful];

    /// What ClusterLoader2 puts before the measurement's name: nothing for all pods.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Stateless => "Stateless",
            Self::Stateful => "Stateful",
        }
    }
}

/// The times of one transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latencies {
    /// ClusterLoader2's name.
    pub transition: &'static str,
    /// Nanoseconds and place in [`Startup::pods`], ascending.
    pub sorted: Vec<(u64, usize)>,
    /// Pods of the set that lack one of the two moments.
    pub missing: usize,
}

impl Latencies {
    /// Nearest rank, as ClusterLoader2: the element `ceil(n·percent/100) - 1`; 0 if there is none.
    pub fn percentile_ns(&self, percent: usize) -> u64 {
        let rank = (self.sorted.len() * percent).div_ceil(100);
        self.sorted
            .get(rank.saturating_sub(1))
            .map_or(0, |(ns, _)| *ns)
    }

    /// The longest ones, ascending.
    pub fn worst(&self, count: usize) -> &[(u64, usize)] {
        let from = self.sorted.len().saturating_sub(count);
        self.sorted.get(from..).unwrap_or_default()
    }
}

/// A number of pods, as it is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Of the metric.
    pub name: &'static str,
    /// What the pods lack the time of.
    pub transition: Option<&'static str>,
    /// How many.
    pub pods: usize,
}

/// What became of the pods.
#[derive(Clone, Debug, Default)]
pub struct Startup {
    /// `namespace/name`.
    pub pods: Vec<String>,
    moments: Vec<Moments>,
    stateless: Vec<bool>,
    never_ran: Vec<usize>,
}

impl Startup {
    /// Adds a pod.
    pub fn add(&mut self, pod: &Tracked, reading: &Reading<'_>) {
        let ran = pod
            .stamps
            .get(RUN)
            .is_some_and(|stamp| stamp.received_ns > 0);
        if !ran {
            self.never_ran.push(self.pods.len());
        }
        self.pods.push(format!("{}/{}", pod.namespace, pod.name));
        self.moments.push(reading.moments(pod));
        let volumes = pod.captures.get(VOLUMES).map_or("", String::as_str);
        self.stateless.push(is_stateless(volumes));
    }

    /// Pods that no event showed running.
    pub fn never_ran(&self) -> impl ExactSizeIterator<Item = &str> {
        self.never_ran
            .iter()
            .map(|&at| self.pods.get(at).map_or("", String::as_str))
    }

    /// What is counted of a set: all pods as `pods`, and those without the time of a transition, where there are any.
    pub fn counts(&self, definition: Definition, set: PodSet) -> Vec<Count> {
        let all = Count {
            name: "pods",
            transition: None,
            pods: self.count(set),
        };
        let lacking = definition.transitions().map(|transition| Count {
            name: "pods_without_times",
            transition: Some(transition.name),
            pods: self.latencies(transition, set).missing,
        });
        let lacking = lacking.filter(|count| count.pods > 0);
        std::iter::once(all).chain(lacking).collect()
    }

    /// How many pods of a set were seen.
    pub fn count(&self, set: PodSet) -> usize {
        (0..self.pods.len())
            .filter(|&at| self.is_in(at, set))
            .count()
    }

    fn is_in(&self, pod: usize, set: PodSet) -> bool {
        let stateless = self.stateless.get(pod).copied().unwrap_or(true);
        match set {
            PodSet::All => true,
            PodSet::Stateless => stateless,
            PodSet::Stateful => !stateless,
        }
    }

    /// The times of one transition over one set.
    pub fn latencies(&self, transition: &Transition, set: PodSet) -> Latencies {
        let mut sorted = Vec::with_capacity(self.pods.len());
        let mut missing = 0;
        for (at, moments) in self.moments.iter().enumerate() {
            if !self.is_in(at, set) {
                continue;
            }
            match moments.latency_ns(transition) {
                Some(ns) => sorted.push((ns, at)),
                None => missing += 1,
            }
        }
        sorted.sort_unstable();
        Latencies {
            transition: transition.name,
            sorted,
            missing,
        }
    }
}

#[cfg(test)]
mod tests;
