//! ClusterLoader2's file names: `<SummaryName>_<test>_<RFC 3339 time>.json`.
//!
//! Enters: names from plugins and users. Leaves: names that are one step of a path, at most 255 bytes, and different
//! from each other. The time is at the end, as ClusterLoader2 makes summaries when a test is over.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{summaries::Named, wit};

/// What file systems take.
const MAX_NAME_BYTES: usize = 255;

/// The end of the run to the second; the end of the year 9999 for what RFC 3339 cannot hold.
pub(crate) fn end_of_run(whole: &wit::Summary) -> Timestamp {
    let unix_s = whole.start_unix_us.saturating_add(whole.length_ns / 1_000) / 1_000_000;
    i64::try_from(unix_s)
        .ok()
        .and_then(|unix_s| Timestamp::from_second(unix_s).ok())
        .unwrap_or(Timestamp::MAX)
}

/// One name for each summary, in their order.
pub(crate) fn of(all: &[Named], at: Timestamp) -> Vec<String> {
    let at = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut taken = BTreeSet::new();
    all.iter()
        .map(|one| {
            let stem = one_step(&format!("{}_{}", one.name, one.test));
            let mut ending = format!("_{at}.json");
            let mut number = 1_u32;
            while !taken.insert(joined(&stem, &ending)) {
                number = number.saturating_add(1);
                ending = format!("_{at}_{number}.json");
            }
            joined(&stem, &ending)
        })
        .collect()
}

/// What separates steps of a path, and control characters, become `_`.
fn one_step(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '/' | '\\' => '_',
            c if c.is_control() => '_',
            c => c,
        })
        .collect()
}

/// Shortens the stem, never the ending.
fn joined(stem: &str, ending: &str) -> String {
    let room = MAX_NAME_BYTES.saturating_sub(ending.len());
    let end = stem.floor_char_boundary(room);
    format!("{}{ending}", stem.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf_data::PerfData;

    fn named(name: &str, test: &str) -> Named {
        Named {
            name: name.to_owned(),
            test: test.to_owned(),
            data: PerfData::new(Vec::new()),
        }
    }

    fn names(all: &[(&str, &str)]) -> Vec<String> {
        let all: Vec<Named> = all.iter().map(|(name, test)| named(name, test)).collect();
        of(&all, Timestamp::from_second(1_722_281_392).unwrap())
    }

    #[test]
    fn a_name_is_clusterloader2_s() {
        assert_eq!(
            names(&[("StatelessPodStartupLatency_PodStartupLatency", "test")]),
            ["StatelessPodStartupLatency_PodStartupLatency_test_2024-07-29T19:29:52Z.json"]
        );
    }

    #[test]
    fn hostile_names_stay_one_step_within_the_limit() {
        let long = "ü".repeat(300);
        let all = names(&[("../../etc", "a\\b\0c\nd"), (&long, ""), (&long, "x")]);
        assert_eq!(all[0], ".._.._etc_a_b_c_d_2024-07-29T19:29:52Z.json");
        for name in &all {
            assert!(name.len() <= MAX_NAME_BYTES, "{}", name.len());
            assert!(!name.contains('/') && !name.chars().any(char::is_control));
            assert!(name.ends_with(".json"));
        }
        assert_ne!(all[1], all[2], "cut names are told apart");
    }

    #[test]
    fn names_that_meet_are_numbered() {
        assert_eq!(
            names(&[("a/b", "t"), ("a_b", "t"), ("a\\b", "t")]),
            [
                "a_b_t_2024-07-29T19:29:52Z.json",
                "a_b_t_2024-07-29T19:29:52Z_2.json",
                "a_b_t_2024-07-29T19:29:52Z_3.json"
            ]
        );
    }
}
