//! The state of pods that are waited for, in ClusterLoader2's words.

use std::fmt;

use kperf_sdk::benchmark::tracking::Tracked;

/// What a tracker captures of a pod.
pub const CAPTURES: [&str; 4] = [
    "/status/phase",
    "/status/conditions/[type=Ready]/status",
    "/spec/nodeName",
    "/metadata/deletionTimestamp",
];

/// Order of the tracker's milestones: ready, then deleted.
pub const READY: &str = "ready";
const DELETED: usize = 1;

/// How many pods are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodStates {
    /// Running and ready.
    pub running: u32,
    not_ready: u32,
    pending_scheduled: u32,
    not_scheduled: u32,
    /// Succeeded or failed.
    inactive: u32,
    terminating: u32,
    unknown: u32,
}

impl PodStates {
    /// Counts a pod as last seen.
    pub fn add(&mut self, pod: &Tracked) {
        let deleted = pod
            .stamps
            .get(DELETED)
            .is_some_and(|stamp| stamp.received_ns > 0);
        if deleted {
            return;
        }
        let captured = |at: usize| pod.captures.get(at).map_or("", String::as_str);
        let there = |at: usize| !matches!(captured(at), "" | "null" | "\"\"");
        let count = match captured(0) {
            "\"Succeeded\"" | "\"Failed\"" => &mut self.inactive,
            _ if there(3) => &mut self.terminating,
            "\"Running\"" if captured(1) == "\"True\"" => &mut self.running,
            "\"Running\"" => &mut self.not_ready,
            "\"Pending\"" | "" if there(2) => &mut self.pending_scheduled,
            "\"Pending\"" | "" => &mut self.not_scheduled,
            _ => &mut self.unknown,
        };
        *count += 1;
    }

    /// Pods that are there and not over.
    pub fn created(&self) -> u32 {
        self.running + self.not_ready + self.pending_scheduled + self.not_scheduled + self.unknown
    }

    /// Whether exactly so many run and are ready, and no others are on their way.
    pub fn are_exactly(&self, desired: u32) -> bool {
        self.running == desired && self.created() == desired && self.terminating == 0
    }

    /// As ClusterLoader2 logs it.
    pub fn describe(&self, desired: u32) -> impl fmt::Display {
        format!(
            "{} out of {desired} created, {} running, {} pending scheduled, {} not scheduled, {} inactive, \
             {} terminating, {} unknown, {} runningButNotReady",
            self.created(),
            self.running,
            self.pending_scheduled,
            self.not_scheduled,
            self.inactive,
            self.terminating,
            self.unknown,
            self.not_ready
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kperf_sdk::benchmark::tracking::Stamp;

    fn pod(captures: [&str; 4], deleted: bool) -> Tracked {
        let stamp = |reached: bool| Stamp {
            received_ns: u64::from(reached),
            api_unix_us: 0,
            exact: reached,
        };
        Tracked {
            namespace: "n".to_owned(),
            name: "p".to_owned(),
            uid: "u".to_owned(),
            sent_ns: 0,
            answered_ns: 0,
            stamps: vec![stamp(true), stamp(deleted)],
            captures: captures.map(str::to_owned).into(),
        }
    }

    #[test]
    fn every_pod_has_one_state() {
        let mut states = PodStates::default();
        for (captures, deleted) in [
            (["\"Running\"", "\"True\"", "\"n\"", ""], false),
            (["\"Running\"", "\"False\"", "\"n\"", ""], false),
            (["\"Pending\"", "", "\"n\"", ""], false),
            (["\"Pending\"", "", "", ""], false),
            (["\"Succeeded\"", "", "\"n\"", "\"t\""], false),
            (["\"Running\"", "\"True\"", "\"n\"", "\"t\""], false),
            (["\"Running\"", "\"True\"", "\"n\"", ""], true),
        ] {
            states.add(&pod(captures, deleted));
        }
        assert_eq!(
            states.describe(9).to_string(),
            "4 out of 9 created, 1 running, 1 pending scheduled, 1 not scheduled, 1 inactive, 1 terminating, \
             0 unknown, 1 runningButNotReady"
        );
        assert!(!states.are_exactly(1));
        let mut one = PodStates::default();
        one.add(&pod(["\"Running\"", "\"True\"", "\"n\"", ""], false));
        assert!(one.are_exactly(1) && !one.are_exactly(0) && !one.are_exactly(2));
        assert!(PodStates::default().are_exactly(0));
    }
}
