//! What all runners of a group agree on beforehand: the file `group.json`.

use std::{collections::BTreeSet, time::Duration};

use kperf_cluster::grant::Grant;
use serde::{Deserialize, Serialize};

/// Identifies the format and its version.
pub(crate) const SCHEMA: &str = "kperf-host/runner-group/v1";

/// Everything about a group that its runners, and whoever asks for its results, need to know besides the profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Format and version.
    pub(crate) schema: String,
    /// Name of the group.
    pub name: String,
    /// Id of its run.
    pub run: String,
    /// Runners.
    pub count: u32,
    /// Every runner derives its own from it.
    pub seed: u64,
    /// Of the load profile.
    pub description: String,
    /// Limits on the merged result, as written.
    pub thresholds: Vec<String>,
    /// Whether reports hold every exchange.
    pub raw_data: bool,
    /// Parts that a report may have.
    pub report_parts: u32,
    /// How long those that are ready wait for the others, milliseconds.
    pub ready_timeout_ms: u64,
    /// Digest of the profile.
    pub(crate) profile_sha256: String,
    /// Components that do not come with the program.
    pub components: Vec<Shipped>,
    /// Where the runners have rights for their load: what has to be removed with the group.
    #[serde(default)]
    pub(crate) reach: Reach,
}

/// Where the load of a group may do something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reach {
    /// In these namespaces.
    pub(crate) namespaces: BTreeSet<String>,
    /// In the whole cluster.
    pub(crate) everywhere: bool,
}

impl Reach {
    pub(crate) fn of(grants: &[Grant]) -> Self {
        let namespaces = grants.iter().filter_map(Grant::namespace);
        Self {
            namespaces: namespaces.map(str::to_owned).collect(),
            everywhere: grants.iter().any(|grant| grant.namespace().is_none()),
        }
    }
}

/// A component on its way to the runners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipped {
    /// As the profile names it, beside the profile.
    pub file: String,
    /// Of the component, lower-case hexadecimal.
    pub sha256: String,
    /// Of the component.
    pub bytes: u64,
    /// Files it comes in.
    pub parts: u32,
}

impl Plan {
    /// A plan without components yet.
    #[must_use]
    pub fn new(name: impl Into<String>, run: impl Into<String>, count: u32, seed: u64) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            name: name.into(),
            run: run.into(),
            count,
            seed,
            description: String::new(),
            thresholds: Vec::new(),
            raw_data: false,
            report_parts: 1,
            ready_timeout_ms: 60_000,
            profile_sha256: String::new(),
            components: Vec::new(),
            reach: Reach::default(),
        }
    }

    /// As its file.
    #[must_use]
    pub fn text(&self) -> String {
        // Texts and numbers: nothing that JSON cannot express.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// How long those that are ready wait for the others.
    #[must_use]
    pub fn ready_timeout(&self) -> Duration {
        Duration::from_millis(self.ready_timeout_ms)
    }

    /// The seed of one runner: unlike the others', the same in every repetition, below 2^53.
    #[must_use]
    pub fn seed_of(&self, runner: u32) -> u64 {
        // A step of SplitMix64, so that neighbours have nothing in common.
        let mut mixed = self
            .seed
            .wrapping_add(u64::from(runner).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) & ((1 << 53) - 1)
    }

    /// Between two looks of one runner. All of them together look 500 times a second at most, however many there are.
    pub(crate) fn poll(&self) -> Duration {
        Duration::from_secs_f64((f64::from(self.count) / 500.0).max(0.25))
    }

    /// Over how long the reports are spread, so that no more than 200 a second are written.
    pub(crate) fn spread(&self) -> Duration {
        Duration::from_secs_f64(f64::from(self.count) / 200.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_all_different_and_come_again() {
        let plan = Plan::new("g", "r", 1000, 7);
        let mut seeds: Vec<u64> = (0..1000).map(|runner| plan.seed_of(runner)).collect();
        assert_eq!(plan.seed_of(3), seeds[3]);
        assert!(seeds.iter().all(|seed| *seed < 1 << 53));
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 1000);
    }

    #[test]
    fn looks_and_writes_are_bounded_for_all_together() {
        for (count, poll, spread) in [(5, 0.25, 0.025), (1000, 2.0, 5.0), (10_000, 20.0, 50.0)] {
            let plan = Plan::new("g", "r", count, 0);
            assert_eq!(plan.poll().as_secs_f64(), poll);
            assert_eq!(plan.spread().as_secs_f64(), spread);
        }
    }
}
